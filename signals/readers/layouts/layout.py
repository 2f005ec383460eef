"""How a source lays recordings into files that hold numbers but say nothing of electrodes: .mat, .npz, .csv, ...

A `Layout` is data: the package's own stand in `signals.readers.layouts.known`, those of a site come with its card, a
section of a YAML or TOML file (`layout_of`), and are given to whoever opens the file.
"""

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from difflib import get_close_matches
from typing import Any

ARRAYS = ("mat", "npz", "npy", "h5")
"""Formats of named arrays."""
TABLES = ("csv", "parquet")
"""Formats of named columns; "csv" is all delimited text."""


@dataclass(frozen=True, kw_only=True)
class Layout:
    """Where a recording lies in a file, and what its numbers mean.

    A file is of a layout if its format fits, and if it has the array or all columns that the layout names.
    """

    name: str
    formats: tuple[str, ...]
    """Of ARRAYS or of TABLES."""
    ch_names: tuple[str, ...] = ()
    """Channel labels: in order of the array's channels, where an empty label leaves one out, or of `columns`."""
    ch_names_from: str = ""
    """Name of the array of text that holds the labels instead."""
    sfreq: float | None = None
    """Hz; a file that says another rate is refused."""
    sfreq_from: str = ""
    """Regular expression of the name of the number that holds the rate; compared where `sfreq` is given too."""
    unit: str = ""
    """As in `signals.readers.channels.units`; empty where nobody says it."""
    offset: float = 0.0
    """What the samples of no voltage read, in the file's unit; subtracted."""
    reference: str = ""
    """What the channels were recorded against, where that is known."""
    notes: tuple[str, ...] = ()
    """Remarks that every recording of this layout carries."""
    variable: str = ""
    """Arrays: regular expression of the array's whole name; {stem} is the last part of the file's stem. Empty: the only
    two-dimensional array with as many channels as there are labels, and with more samples than channels."""
    time_axis: int = 1
    """Arrays: 0 for samples x channels, 1 for channels x samples."""
    columns: tuple[str, ...] = ()
    """Tables: the column of each channel, by its name or, in a file without a header line, as "#1", "#2", ...; empty
    where columns have the channels' labels."""
    optional: tuple[str, ...] = ()
    """Tables: further channels, read where there are columns of their names."""
    signature: tuple[str, ...] = ()
    """Tables: further columns that the file must have."""
    counter: tuple[str, int] | None = None
    """Tables: column of a packet counter and its period; a jump is a gap of so many samples."""
    clock: str = ""
    """Tables: column of time stamps in seconds, milliseconds or as dates; a jump is a gap, and the rate is compared."""
    drop_empty_rows: bool = False
    """Tables: whether rows without any channel are no samples, but remarks of the device."""

    def __post_init__(self) -> None:
        kinds = {"arrays" if form in ARRAYS else "tables" if form in TABLES else "" for form in self.formats}
        if len(kinds) != 1 or "" in kinds:
            raise ValueError(f"layout {self.name!r}: formats={self.formats} are not of {ARRAYS}, nor of {TABLES}")
        if not (any(self.ch_names) or self.ch_names_from):
            raise ValueError(f"layout {self.name!r} needs channels: ch_names, or ch_names_from for arrays")
        if not (self.sfreq or self.sfreq_from) or (self.sfreq is not None and not 0 < self.sfreq < 1e9):
            raise ValueError(f"layout {self.name!r} needs a sampling rate above 0, got {self.sfreq}")
        if self.columns and len(self.columns) != len(self.ch_names):
            raise ValueError(f"layout {self.name!r}: {len(self.columns)} columns for {len(self.ch_names)} channels")
        if self.time_axis not in (0, 1) or not math.isfinite(self.offset):
            raise ValueError(f"layout {self.name!r}: time_axis={self.time_axis} or offset={self.offset}")

    @property
    def channel_columns(self) -> tuple[str, ...]:
        """Columns of `ch_names`, in their order."""
        return self.columns or self.ch_names


def layouts_of(form: str, declared: Sequence[Layout]) -> tuple[Layout, ...]:
    """Return the layouts of a format in the order in which they are tried, those that a site declares first."""
    from signals.readers.layouts.known import LAYOUTS

    return tuple(layout for layout in (*declared, *LAYOUTS) if form in layout.formats)


class LayoutError(ValueError):
    """A section that describes no layout; `key` is the one that is at fault, empty where several contradict."""

    def __init__(self, message: str, key: str = "") -> None:
        super().__init__(message)
        self.key = key


_SPELLINGS = {"rate": "sfreq", "rate_from": "sfreq_from", "channels_from": "ch_names_from", "axis": "time_axis"}
_LISTS = {"formats", "ch_names", "notes", "columns", "optional", "signature"}


def layout_of(section: Mapping[str, object], *, name: str) -> Layout:
    """Return the layout that a plain mapping describes, as it comes from a YAML or TOML file.

    Keys are the fields of `Layout`, or shorter: "rate" (a number, or the name of what holds it), "channels" (a list of
    labels, or a mapping of columns to labels), "axis". Raises LayoutError with the key and the rule.
    """
    values: dict[str, Any] = {"name": name}
    types = {field.name: field.type for field in fields(Layout)}
    for key, given in section.items():
        if key == "channels":
            values |= _channels(given, name)
            continue
        target = _SPELLINGS.get(key, key)
        if key == "rate" and isinstance(given, str):
            target = "sfreq_from"
        if target not in types or target == "name":
            close = get_close_matches(key, [*types, *_SPELLINGS, "channels"], n=1)
            hint = f"; is {close[0]!r} meant?" if close else ""
            raise LayoutError(f"layout {name!r}: unknown key {key!r}{hint}", key)
        values[target] = _value(target, given, name, key)
    if isinstance(formats := values.get("formats"), str):
        values["formats"] = (formats,)
    try:
        return Layout(**values)
    except TypeError as error:
        raise LayoutError(f"layout {name!r}: {error}") from error
    except ValueError as error:
        raise LayoutError(str(error)) from error


def _channels(given: object, name: str) -> dict[str, tuple[str, ...]]:
    if isinstance(given, Mapping) and all(isinstance(part, str) for pair in given.items() for part in pair):
        return {"columns": tuple(given), "ch_names": tuple(given.values())}
    if isinstance(given, list | tuple) and all(isinstance(label, str) for label in given):
        return {"ch_names": tuple(given)}
    raise LayoutError(
        f"layout {name!r}: channels is neither a list of labels nor a mapping of columns to labels", "channels"
    )


def _value(target: str, given: object, name: str, key: str) -> Any:
    """Return a value in the type of its field."""
    if target in _LISTS:
        items = (given,) if isinstance(given, str) else given
        if isinstance(items, list | tuple) and all(isinstance(item, str) for item in items):
            return tuple(items)
        raise LayoutError(f"layout {name!r}: {key} is no list of text", key)
    if target == "counter":
        if isinstance(given, list | tuple) and len(given) == 2 and isinstance(given[1], int) and given[1] > 1:
            return (str(given[0]), given[1])
        raise LayoutError(f"layout {name!r}: {key} is not [column, period]", key)
    if target in ("sfreq", "offset"):
        if isinstance(given, int | float) and not isinstance(given, bool):
            return float(given)
        raise LayoutError(f"layout {name!r}: {key}={given!r} is no number", key)
    wanted = {"time_axis": int, "drop_empty_rows": bool}.get(target, str)
    if type(given) is not wanted:
        raise LayoutError(f"layout {name!r}: {key}={given!r} is not of type {wanted.__name__}", key)
    if target in ("variable", "sfreq_from"):
        try:
            re.compile(str(given))
        except re.error as error:
            raise LayoutError(f"layout {name!r}: {key}={given!r} is no regular expression: {error}", key) from error
    return given
