"""Numbers and categories beside a signal: which there are, how they are read, and what is refused.

What names a person, a hospital or a device is refused: models learn who was recorded where, and cheat (Zech et al.
2018). Absent numbers are NaN, absent categories -1.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

REFUSED = (
    "id", "identifier", "name", "patient", "subject", "person", "site", "hospital", "clinic", "ward", "center",
    "centre", "device", "machine", "scanner", "serial", "model", "manufacturer", "vendor", "nurse", "doctor",
    "physician", "technician", "operator", "validated", "birth", "birthdate", "dob", "date", "time", "timestamp",
    "address", "zip", "postcode", "phone", "email", "ssn", "mrn", "insurance", "record", "recording", "file",
    "filename", "path", "uid", "uuid", "accession",
)  # fmt: skip
"""Words that no field's name may hold."""
MOST_LEVELS = 12
"""More levels than that name somebody."""


@dataclass(frozen=True)
class Number:
    """A number and what is usual of it, so that nothing is fitted."""

    name: str
    mean: float
    spread: float
    low: float
    high: float
    """Values outside of [low, high] count as absent."""


@dataclass(frozen=True)
class Category:
    """A category and its levels, in the order of their numbers."""

    name: str
    levels: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Metadata:
    """The fields that a model reads; raises ValueError for one that identifies."""

    numbers: tuple[Number, ...] = (
        Number("age", 60.0, 17.0, 0.0, 120.0),
        Number("height_cm", 170.0, 10.0, 40.0, 230.0),
        Number("weight_kg", 75.0, 16.0, 1.0, 350.0),
    )
    categories: tuple[Category, ...] = (Category("sex", ("female", "male")),)

    def __post_init__(self) -> None:
        names = self.names
        if len(set(names)) < len(names):
            raise ValueError(f"fields {names} must have different names")
        for name in names:
            refuse_identifier(name)
        for field in self.categories:
            if not 2 <= len(field.levels) <= MOST_LEVELS:
                raise ValueError(
                    f"category {field.name!r} has {len(field.levels)} levels: 2 to {MOST_LEVELS} are a property of "
                    "people, more identify somebody"
                )
        for number in self.numbers:
            if not (number.spread > 0 and number.low < number.high):
                raise ValueError(f"number {number.name!r} needs a spread above 0 and low below high")

    @property
    def names(self) -> list[str]:
        """Names of all fields."""
        return [number.name for number in self.numbers] + [category.name for category in self.categories]

    def tensors(self, rows: Sequence[Mapping[str, float | str | None]]) -> tuple[Tensor, Tensor]:
        """Return (numerical_metadata, categorical_metadata) of people: float32 (B, n), int64 (B, m).

        A field that is missing or None, and a number that cannot be, is absent. Raises ValueError for an unknown field,
        also where it identifies, and for an unknown level.
        """
        known = set(self.names)
        for row in rows:
            for name in sorted(set(row) - known):
                refuse_identifier(name)
                raise ValueError(f"unknown field {name!r}; fields are {', '.join(sorted(known))}")
        numbers = [[_number(field, row.get(field.name)) for field in self.numbers] for row in rows]
        levels = [[_level(field, row.get(field.name)) for field in self.categories] for row in rows]
        shape = len(rows), len(self.numbers)
        return (
            torch.tensor(numbers, dtype=torch.float32).reshape(shape),
            torch.tensor(levels, dtype=torch.int64).reshape(len(rows), len(self.categories)),
        )


def refuse_identifier(name: str) -> None:
    """Raise ValueError for a field whose name holds a word that identifies a person, a place or a device."""
    words = re.findall(r"[a-z]+", re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name).lower())
    if found := sorted(set(words) & set(REFUSED)):
        raise ValueError(f"field {name!r} is refused as an input: {found[0]!r} states who, where or with what device")


def _number(field: Number, value: float | str | None) -> float:
    if value is None or isinstance(value, str):
        if isinstance(value, str):
            raise ValueError(f"{field.name}={value!r} must be a number")
        return float("nan")
    return float(value) if field.low <= value <= field.high else float("nan")


def _level(field: Category, value: float | str | None) -> int:
    if value is None:
        return -1
    if value not in field.levels:
        raise ValueError(f"{field.name}={value!r} is none of {', '.join(field.levels)}")
    return field.levels.index(str(value))
