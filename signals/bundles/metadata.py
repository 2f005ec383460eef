"""Numbers and categories beside a signal: which there are, how they are read, and what is refused.

What names a person, a hospital or a device is refused: models learn who was recorded where, and cheat (Zech et al.
2018). Absent numbers are NaN, absent categories -1; in a table of both (`Metadata.table`) all of them are NaN.
"""

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from signals.recording.details import FIELD_OF, Details
from signals.window import Window

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
Person = Mapping[str, float | str | None]
"""Values of one person by field."""


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


def refuse_identifier(name: str) -> None:
    """Raise ValueError for a field whose name holds a word that identifies a person, a place or a device."""
    words = re.findall(r"[a-z]+", re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name).lower())
    if found := sorted(set(words) & set(REFUSED)):
        raise ValueError(f"field {name!r} is refused as an input: {found[0]!r} states who, where or with what device")


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
        """Names of all fields: numbers, then categories."""
        return [number.name for number in self.numbers] + [category.name for category in self.categories]

    def arrays(self, people: Sequence[Person]) -> tuple[np.ndarray, np.ndarray]:
        """Return (numbers, levels) of people: float32 (n_people, n_numbers), int64 (n_people, n_categories).

        A field that is missing or None, and a number that cannot be, is absent. Raises ValueError for an unknown field,
        also where it identifies, and for an unknown level.
        """
        known = set(self.names)
        for person in people:
            for name in sorted(set(person) - known):
                refuse_identifier(name)
                raise ValueError(f"unknown field {name!r}; fields are {', '.join(sorted(known))}")
        numbers = [[_number(field, person.get(field.name)) for field in self.numbers] for person in people]
        levels = [[_level(field, person.get(field.name)) for field in self.categories] for person in people]
        return (
            np.array(numbers, dtype=np.float32).reshape(len(people), len(self.numbers)),
            np.array(levels, dtype=np.int64).reshape(len(people), len(self.categories)),
        )

    def table(self, people: Sequence[Person]) -> np.ndarray:
        """Return people's fields as one array, float32, shape (n_people, n_fields), columns as `names`, NaN if absent.

        A category is the number of its level. Raises as `arrays`.
        """
        numbers, levels = self.arrays(people)
        return np.concatenate([numbers, np.where(levels < 0, np.nan, levels).astype(np.float32)], axis=1)


FIELDS = Metadata()
"""Every field that records can hold (`signals.recording.details.Details`)."""


def metadata_of(names: Sequence[str]) -> Metadata:
    """Return some of `FIELDS`, in their order; raises ValueError for any other name, also where it identifies."""
    for name in names:
        refuse_identifier(name)
    if unknown := sorted(set(names) - set(FIELDS.names)):
        raise ValueError(f"unknown field {unknown[0]!r}; fields are {', '.join(FIELDS.names)}")
    return Metadata(
        numbers=tuple(number for number in FIELDS.numbers if number.name in names),
        categories=tuple(category for category in FIELDS.categories if category.name in names),
    )


def detail_of(field: str) -> str:
    """Return under which name of `signals.recording.details.KEEPABLE` a field is kept."""
    return next(name for name, known in FIELD_OF.items() if known == field)


def people_of(windows: Sequence[Window], names: Sequence[str]) -> list[dict[str, float | str | None]]:
    """Return what windows hold of fields, None where they hold nothing."""
    return [{name: None if (value := getattr(window, name)) == "" else value for name in names} for window in windows]


def stated(person: Person) -> Details:
    """Return fields that somebody states of a person as details; raises ValueError as `Metadata.arrays`, and for a
    number that cannot be."""
    FIELDS.arrays([person])
    known: dict[str, Any] = {}
    for name, value in person.items():
        if isinstance(value, int | float) and not math.isfinite(value):
            raise ValueError(f"{name}={value} must be a finite number")
        known |= {} if value is None else {name: value if isinstance(value, str) else round(value)}
    return Details(**known)


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
