"""Comma-separated recordings (.csv, .csv.gz, OpenBCI's .txt): a form says which column is which channel.

Forms that a header line alone makes certain stand in CSV_FORMS. Columns such as "EXG Channel 0" say nothing about the
electrode: a laboratory declares its own wiring (`declare`, or `Corpus.csv_forms` in the pipeline).
"""

import gzip
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from fnmatch import fnmatch
from functools import lru_cache, partial
from pathlib import Path

import numpy as np

from signals.readers.matrix import Matrix, cut_segments, matrix_reader
from signals.readers.units import channel_notes, scaling_of
from signals.recording.recording import Recording, UnreadableError

OPENBCI_MAGIC = (b"%OpenBCI", b"%OBCI")
_RATE = re.compile(r"%\s*sample rate\s*=\s*([\d.]+)", re.IGNORECASE)
_MISSING = {"", "na", "nan", "null"}


@dataclass(frozen=True, kw_only=True)
class CsvForm:
    """How one device's columns become channels. A file is of this form if its header line has all these columns."""

    name: str
    columns: tuple[tuple[str, str], ...]
    """(column, channel label) pairs."""
    sfreq: float
    unit: str
    signature: tuple[str, ...]
    """Further columns that the header line must have."""
    counter: tuple[str, int] | None = None
    """Column of a packet counter and its period: a jump is a gap of so many samples."""
    pattern: str = "*"
    """Glob over the whole path of the files that this form speaks of."""
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not self.columns or self.sfreq <= 0:
            raise ValueError(f"form {self.name!r} needs columns and a sampling rate above 0, got {self.sfreq}")


_EMOTIV = ("AF3", "F7", "F3", "FC5", "T7", "P7", "O1", "O2", "P8", "T8", "FC6", "F4", "F8", "AF4")

CSV_FORMS: tuple[CsvForm, ...] = (
    # Emotiv EPOC as in van Hees et al., Zenodo 2018: about 4200 µV of offset stay in (the high-pass takes them out);
    # the packet counter runs from 0 to 128.
    CsvForm(
        name="emotiv-epoc", columns=tuple((name, name) for name in _EMOTIV), sfreq=128.0, unit="µV",
        signature=("COUNTER", "CQ_AF3"), counter=("COUNTER", 129), notes=("dc_offset",),
    ),
)  # fmt: skip

_declared: dict[str, CsvForm] = {}
"""Forms of laboratories by name; they go before CSV_FORMS."""


def declare(form: CsvForm) -> None:
    """Add a form for this process; the same form may be declared again. Raises ValueError for another of its name."""
    known = _declared.get(form.name) or next((f for f in CSV_FORMS if f.name == form.name), None)
    if known not in (None, form):
        raise ValueError(f"another csv form is called {form.name!r} already")
    _declared[form.name] = form


def openbci_form(name: str, electrodes: Sequence[str], *, pattern: str, sfreq: float = 250.0) -> CsvForm:
    """Return the form of OpenBCI GUI logs of files that match `pattern`: electrode k at "EXG Channel k"."""
    return CsvForm(
        name=name, columns=tuple((f"EXG Channel {k}", electrode) for k, electrode in enumerate(electrodes)),
        sfreq=sfreq, unit="µV", signature=("Sample Index",), counter=("Sample Index", 256), pattern=pattern,
        notes=("dc_offset",),
    )  # fmt: skip


def open_delimited(path: Path) -> Recording:
    """Return the recording in a .csv or .csv.gz file of a declared form; empty and NA cells are NaN.

    Raises UnreadableError: "unsupported_format" where no form fits the header line, "corrupt_header" for cells that are
    no numbers, "no_samples", "not_what_it_says" for a .gz that is none.
    """
    form, _ = _recognise(path)
    load = partial(_load, str(path), path.stat().st_mtime_ns)
    n_times = load().shape[1]
    starts, segments = cut_segments(n_times, form.sfreq, _jumps(load(), form))
    ch_names = tuple(label for _, label in form.columns)
    scalings = [scaling_of(label, form.unit) for label in ch_names]
    return Recording(
        uri=str(path),
        reader=f"csv/{form.name}",
        ch_names=ch_names,
        sensor_types=tuple(scaling.sensor_type for scaling in scalings),
        sfreqs=(form.sfreq,) * len(ch_names),
        segments=tuple(segments),
        read_samples=matrix_reader(Matrix(load, tuple(scaling.factor for scaling in scalings), tuple(starts))),
        notes=(*form.notes, *channel_notes(ch_names, scalings), *(["gaps"] * (len(segments) > 1))),
    )


def _lines(path: Path) -> Iterator[str]:
    """Yield the lines of a plain or gzipped text file, those that begin with % left out."""
    opener = gzip.open if path.suffix.lower() == ".gz" else open
    try:
        with opener(path, "rt", encoding="utf-8-sig", errors="strict") as file:
            yield from (line for line in file if not line.startswith("%"))
    except (gzip.BadGzipFile, EOFError, UnicodeDecodeError) as error:
        raise UnreadableError("not_what_it_says", f"{type(error).__name__}: {error}") from error


def _recognise(path: Path) -> tuple[CsvForm, list[str]]:
    header = [name.strip().strip('"') for name in next(_lines(path), "").split(",")]
    for form in (*_declared.values(), *CSV_FORMS):
        wanted = {column for column, _ in form.columns} | set(form.signature)
        if wanted <= set(header) and fnmatch(str(path), form.pattern):
            _refuse_other_rate(path, form)
            return form, header
    # The names are not told: without a header line they are the first row of a file that may say anything.
    raise UnreadableError("unsupported_format", f"no declared form fits its {len(header)} columns; declare one")


def _refuse_other_rate(path: Path, form: CsvForm) -> None:
    if path.suffix.lower() == ".gz":
        return
    with path.open("rb") as file:
        head = file.read(2048).decode("latin-1")
    if (said := _RATE.search(head)) and head.startswith("%") and float(said[1]) != form.sfreq:
        raise UnreadableError("unsupported_format", f"it says {said[1]} Hz, the form {form.name} {form.sfreq:g} Hz")


@lru_cache(maxsize=2)
def _load(path: str, mtime_ns: int) -> np.ndarray:
    """Return the channels, then the counter if the form has one, float64, shape (n_rows, n_times)."""
    form, header = _recognise(Path(path))
    wanted = [column for column, _ in form.columns] + ([form.counter[0]] if form.counter else [])
    columns = [header.index(column) for column in wanted]
    table = _table(Path(path), columns, None)
    if table is None:  # slower by far: only files with empty cells need it
        table = _table(Path(path), columns, _cell)
    if table is None:
        raise UnreadableError("corrupt_header", "cells that are neither numbers nor empty, or rows that are cut")
    if table.shape[0] == 0:
        raise UnreadableError("no_samples", "a header line without rows")
    return np.ascontiguousarray(table.T)


def _table(path: Path, columns: list[int], converter: Callable[[str], float] | None) -> np.ndarray | None:
    """Return the columns, shape (n_times, n_columns), or None where a cell cannot be converted."""
    lines = _lines(path)
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


def _cell(text: str) -> float:
    return np.nan if text.strip().lower() in _MISSING else float(text)


def _jumps(table: np.ndarray, form: CsvForm) -> list[tuple[int, float]]:
    """Return (first sample after it, seconds lost) of each jump of the packet counter."""
    if form.counter is None:
        return []
    steps = np.nan_to_num(np.diff(table[len(form.columns)]), nan=1.0)
    lost = np.mod(steps - 1, form.counter[1])
    return [(int(at) + 1, float(lost[at]) / form.sfreq) for at in np.flatnonzero(lost)]
