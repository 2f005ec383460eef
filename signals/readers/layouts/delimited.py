"""Comma-separated recordings (.csv, .csv.gz, OpenBCI's .txt): a layout says which column is which channel.

Columns such as "EXG Channel 0" say nothing about the electrode: a laboratory declares its own wiring
(`signals.readers.layouts.layout`). A text is decoded once, into a matrix that stays in memory.
"""

import gzip
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache, partial
from pathlib import Path

import numpy as np

from signals.readers.channels.units import channel_notes, scaling_of
from signals.readers.layouts.layout import Layout, layouts_of
from signals.readers.matrix import Matrix, cut_segments, matrix_reader
from signals.recording.recording import Recording, UnreadableError

OPENBCI_MAGIC = (b"%OpenBCI", b"%OBCI")
_RATE = re.compile(r"%\s*sample rate\s*=\s*([\d.]+)", re.IGNORECASE)
_NUMBERED = re.compile(r"#(\d+)")
_MISSING = {"", "na", "nan", "null"}
_RATE_TOLERANCE = 0.02
"""Clocks of headsets are coarse, and packets come in bunches."""
_PAUSE_S = 0.5
"""A jump of the clock by less is no pause but late packets."""


@dataclass(frozen=True)
class _Table:
    """The columns of a file that a layout asks for."""

    values: np.ndarray
    """float64, shape (n_columns, n_times): channels, then the counter and the clock where the layout has them."""
    is_cut: bool
    """Whether the last row was cut short, and left out."""


def open_delimited(path: Path, declared: Sequence[Layout] = ()) -> Recording:
    """Return the recording in a .csv, .csv.gz or .txt file of a declared or known layout; empty and NA cells are NaN.

    Raises UnreadableError: "unsupported_format" where no layout fits the header line or the clock runs at another rate,
    "corrupt_header" for cells that are no numbers, "no_samples", "not_what_it_says" for a .gz that is none.
    """
    layout, columns = _recognise(path, declared)
    stamp = path.stat().st_mtime_ns
    table = _load(str(path), stamp, layout, columns)
    n_chans, n_times = len(layout.ch_names), table.values.shape[1]
    starts, segments = cut_segments(n_times, _sfreq(layout), _jumps(table.values, layout))
    scalings = [scaling_of(label, layout.unit) for label in layout.ch_names]
    factors = tuple(scaling.factor for scaling in scalings)
    load = partial(_channels, str(path), stamp, layout, columns)
    return Recording(
        uri=str(path),
        reader=f"csv/{layout.name}",
        ch_names=layout.ch_names,
        sensor_types=tuple(scaling.sensor_type for scaling in scalings),
        sfreqs=(_sfreq(layout),) * n_chans,
        segments=tuple(segments),
        read_samples=matrix_reader(Matrix(load, factors, tuple(starts), offset=layout.offset)),
        reference=layout.reference,
        notes=(
            *layout.notes,
            *channel_notes(layout.ch_names, scalings),
            *(["truncated_last_record"] * table.is_cut),
            *(["gaps"] * (len(segments) > 1)),
        ),
    )


def _sfreq(layout: Layout) -> float:
    if layout.sfreq is None:
        raise UnreadableError("unsupported_format", f"layout {layout.name} gives no rate, and a table holds none")
    return layout.sfreq


def _lines(path: Path) -> Iterator[str]:
    """Yield the lines of a plain or gzipped text file, those that begin with % left out."""
    opener = gzip.open if path.suffix.lower() == ".gz" else open
    try:
        with opener(path, "rt", encoding="utf-8-sig", errors="strict") as file:
            yield from (line for line in file if not line.startswith("%"))
    except (gzip.BadGzipFile, EOFError, UnicodeDecodeError) as error:
        raise UnreadableError("not_what_it_says", f"{type(error).__name__}: {error}") from error


def _fields(line: str) -> list[str]:
    return [field.strip().strip('"') for field in line.split(",")]


def _recognise(path: Path, declared: Sequence[Layout]) -> tuple[Layout, tuple[int, ...]]:
    """Return the layout of a file, and the column numbers of its channels, its counter and its clock."""
    header = _fields(next(_lines(path), ""))
    for layout in layouts_of("csv", declared):
        wanted = [*layout.channel_columns, *layout.signature, *_extras(layout)]
        numbers = [_column(name, header) for name in wanted]
        if None not in numbers:
            _refuse_other_rate(path, layout)
            n_signature = len(layout.signature)
            first = len(layout.channel_columns)
            found = [number for number in numbers if number is not None]
            return layout, (*found[:first], *found[first + n_signature :])
    # Names are not quoted: without a header line they are the first row of a file that may say anything.
    raise UnreadableError("unsupported_format", f"no declared layout fits its {len(header)} columns; declare one")


def _extras(layout: Layout) -> list[str]:
    return ([layout.counter[0]] if layout.counter else []) + ([layout.clock] if layout.clock else [])


def _column(name: str, header: list[str]) -> int | None:
    """Return the number of a column, from 0, by its name or as "#1"; the latter only where the first row is numbers."""
    if numbered := _NUMBERED.fullmatch(name):
        number = int(numbered[1]) - 1
        return number if number < len(header) and _is_number(header[0]) else None
    return header.index(name) if name in header else None


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _refuse_other_rate(path: Path, layout: Layout) -> None:
    if path.suffix.lower() == ".gz":
        return
    with path.open("rb") as file:
        head = file.read(2048).decode("latin-1")
    if (stated := _RATE.search(head)) and head.startswith("%") and float(stated[1]) != layout.sfreq:
        raise UnreadableError(
            "unsupported_format", f"it says {stated[1]} Hz, the layout {layout.name} {layout.sfreq:g} Hz"
        )


def _channels(path: str, mtime_ns: int, layout: Layout, columns: tuple[int, ...]) -> np.ndarray:
    return _load(path, mtime_ns, layout, columns).values[: len(layout.ch_names)]


@lru_cache(maxsize=2)
def _load(path: str, mtime_ns: int, layout: Layout, columns: tuple[int, ...]) -> _Table:
    """Return the columns that the layout asks for; `mtime_ns` keeps the cache honest."""
    n_numbers = len(columns) - bool(layout.clock)
    has_header = not any(_NUMBERED.fullmatch(name) for name in layout.channel_columns)
    plain = not layout.clock and not layout.drop_empty_rows
    rows, is_cut = (_numbers(Path(path), columns, has_header, None), False) if plain else (None, False)
    if rows is None:  # slower by far: only files with empty cells, dates or a cut end need it
        rows, is_cut = _cells(Path(path), columns, n_numbers, has_header)
    if layout.drop_empty_rows:
        rows = rows[~np.isnan(rows[:, : len(layout.ch_names)]).all(axis=1)]
    if rows.shape[0] == 0:
        raise UnreadableError("no_samples", "a header line without rows")
    return _Table(np.ascontiguousarray(rows.T), is_cut)


def _numbers(
    path: Path, columns: Sequence[int], has_header: bool, converter: Callable[[str], float] | None
) -> np.ndarray | None:
    """Return the columns, shape (n_times, n_columns), or None where a cell cannot be converted."""
    lines = _lines(path)
    if has_header:
        next(lines)
    first = next(lines, None)
    if first is None:
        return np.empty((0, len(columns)))
    rest = (line for part in ([first], lines) for line in part)
    try:
        return np.loadtxt(rest, delimiter=",", quotechar='"', usecols=columns, converters=converter, ndmin=2)
    except UnreadableError:
        raise
    except ValueError:
        return None


def _cells(path: Path, columns: Sequence[int], n_numbers: int, has_header: bool) -> tuple[np.ndarray, bool]:
    """Return the columns cell by cell, shape (n_times, n_columns), and whether the last row was cut and left out."""
    lines = _lines(path)
    if has_header:
        next(lines)
    rows: list[list[float]] = []
    broken_at: int | None = None
    for number, line in enumerate(lines):
        if broken_at is not None:
            raise UnreadableError("corrupt_header", "cells that are neither numbers nor empty, or rows that are cut")
        if not line.strip():
            continue
        try:
            cells = _fields(line)
            row = [_cell(cells[column]) for column in columns[:n_numbers]]
            rows.append(row + [_stamp(cells[column]) for column in columns[n_numbers:]])
        except (ValueError, IndexError):
            broken_at = number
    if broken_at is not None and not rows:
        raise UnreadableError("corrupt_header", "cells that are neither numbers nor empty, or rows that are cut")
    return np.array(rows, dtype=np.float64).reshape(len(rows), len(columns)), broken_at is not None


def _cell(text: str) -> float:
    return np.nan if text.strip().lower() in _MISSING else float(text)


def _stamp(text: str) -> float:
    """Return a time stamp in the unit that its number has; of a date, in seconds."""
    try:
        return float(text)
    except ValueError:
        return datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()


def _jumps(table: np.ndarray, layout: Layout) -> list[tuple[int, float]]:
    """Return (first sample after it, seconds lost) of each jump of the packet counter or of the clock."""
    sfreq, jumps = _sfreq(layout), []
    if layout.counter is not None:
        steps = np.nan_to_num(np.diff(table[len(layout.ch_names)]), nan=1.0)
        # A number that comes twice is a packet that was sent twice, rather than a whole period of lost ones.
        lost = np.where(steps == 0, 0, np.mod(steps - 1, layout.counter[1]))
        jumps += [(int(at) + 1, float(lost[at]) / sfreq) for at in np.flatnonzero(lost)]
    if layout.clock:
        jumps += _clock_jumps(table[-1], sfreq)
    return jumps


def _clock_jumps(stamps: np.ndarray, sfreq: float) -> list[tuple[int, float]]:
    """Return the pauses by the clock. Raises UnreadableError where samples between them come at another rate."""
    if len(stamps) < 2 or not np.isfinite(stamps).all():
        return []
    usual = float(np.mean(np.sort(np.diff(stamps))[: -(len(stamps) // 100) or None]))  # pauses aside
    per_second = 1000.0 if 500 < usual * sfreq < 2000 else 1.0
    steps = np.diff(stamps) / per_second
    pauses = np.flatnonzero(steps > max(_PAUSE_S, 8 * usual / per_second))
    measured_s = float(steps.sum() - steps[pauses].sum()) / max(len(steps) - len(pauses), 1)
    if not 1 - _RATE_TOLERANCE < measured_s * sfreq < 1 + _RATE_TOLERANCE:
        raise UnreadableError(
            "unsupported_format", f"samples come every {measured_s:.4g} s by the clock, not at {sfreq:g} Hz"
        )
    return [(int(at) + 1, float(steps[at]) - 1 / sfreq) for at in pauses]
