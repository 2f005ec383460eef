"""What a file of arrays or columns seems to hold: guesses for the draft of a card, each with its reason."""

import csv
import gzip
import itertools
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from signals.electrodes import canonical_electrode
from signals.readers.layouts.arrays import Contents, contents_of
from signals.readers.layouts.hdf5 import Array, arrays, is_hdf5, open_hdf5, value
from signals.readers.matlab import check_matlab

_RATE_NAME = re.compile(r"(.*[/_.])?(fs|f_s|sr|srate|sfreq|rate|samp\w*|freq\w*|eeg_?rate)", re.IGNORECASE)
_CLOCK_NAME = re.compile(r"time\w*|t|stamp\w*|clock|date\w*", re.IGNORECASE)
_COUNTER_NAME = re.compile(r".*(count|index|packet|sample).*", re.IGNORECASE)
_USUAL_HZ = (100, 125, 128, 200, 250, 256, 300, 500, 512, 1000, 1024, 2000, 2048)
_MOST_ROWS = 5000
_MOST_CHANNELS = 600


@dataclass(frozen=True, kw_only=True)
class Guess:
    """The layout section of a card, and what nobody but the laboratory knows."""

    keys: Mapping[str, object]
    """As in the section `layout`."""
    questions: Mapping[str, str] = field(default_factory=dict)
    """By key, what to check or to fill in."""


def guess_layout(path: Path) -> Guess | None:
    """Return what seems to be a file's layout, None where nothing in it looks like a recording.

    Raises UnreadableError or OSError for a damaged file.
    """
    name = path.name.lower()
    if name.endswith((".csv", ".csv.gz", ".txt")):
        return _of_table(path)
    if name.endswith(".parquet"):
        return _of_parquet(path)
    if is_hdf5(path):
        with open_hdf5(path) as file:
            form = "mat" if name.endswith(".mat") else "h5"
            listed = Contents(form, tuple(arrays(file)), lambda part: value(file, file[part]), _no_samples)
            return _of_arrays(listed, path)
    if name.endswith(".mat"):
        check_matlab(path)
    return _of_arrays(contents_of(path), path) if name.endswith((".mat", ".npz", ".npy")) else None


def _no_samples(name: str, time_axis: int) -> Any:
    raise KeyError(name)


def _of_arrays(contents: Contents, path: Path) -> Guess | None:
    """Take the largest array of two dimensions; its longer side is time."""
    flat = [array for array in contents.found if len(array.shape) == 2 and min(array.shape) <= _MOST_CHANNELS]
    signals = [array for array in flat if max(array.shape) > 2 * min(array.shape)]
    if not signals:
        return None
    array = max(signals, key=lambda each: each.shape[0] * each.shape[1])
    axis = int(array.shape[1] > array.shape[0])
    n_chans = array.shape[1 - axis]
    is_stem = array.name == path.stem.rpartition("_")[2]
    keys: dict[str, object] = {
        "formats": contents.form, "variable": "{stem}" if is_stem else re.escape(array.name), "axis": axis,
    }  # fmt: skip
    questions = {"axis": f"the array is {array.shape[0]} x {array.shape[1]}, and its longer side was taken for time"}
    if contents.form == "npy":
        del keys["variable"]
    if is_stem:
        questions["variable"] = f"{array.name}, as the end of the file's name"
    if others := [each.name for each in signals if each is not array]:
        questions["variable"] = f"the largest of {len(signals)}; also there: {', '.join(others[:5])}"
    rate = next((each for each in contents.found if _is_rate(each)), None)
    keys["rate"] = rate.name if rate else 0
    questions["rate"] = "the number that seems to hold it" if rate else "Hz; no number in the file seems to hold it"
    labels = _label_array(contents, n_chans)
    if labels:
        keys["channels_from"] = labels
        questions["channels_from"] = "the only text with a line per channel"
    else:
        keys["channels"] = [""] * n_chans
        questions["channels"] = f'labels of the {n_chans} channels in the array\'s order, "" for what is none'
    return Guess(keys=keys, questions={**questions, "unit": "V, mV or µV"})


def _is_rate(array: Array) -> bool:
    return int(np.prod(array.shape)) == 1 and _RATE_NAME.fullmatch(array.name) is not None


def _label_array(contents: Contents, n_chans: int) -> str:
    found = []
    for name in contents.texts:
        texts = contents.read_value(name)
        if isinstance(texts, list) and len(texts) == n_chans and all(isinstance(text, str) for text in texts):
            found.append(name)
    return found[0] if len(found) == 1 else ""


def _of_table(path: Path) -> Guess | None:
    opener = gzip.open if path.suffix.lower() == ".gz" else open
    with opener(path, "rt", encoding="utf-8-sig", errors="replace", newline="") as file:
        lines = (line for line in file if line.strip() and not line.startswith("%"))
        rows = [[cell.strip() for cell in row] for row in csv.reader(itertools.islice(lines, _MOST_ROWS))]
    if len(rows) < 3 or len({len(row) for row in rows[:-1]}) != 1:
        return None
    has_header = any(_number(cell) is None for cell in rows[0])
    names = rows[0] if has_header else [f"#{k + 1}" for k in range(len(rows[0]))]
    body = rows[1 if has_header else 0 : -1]
    columns = {name: [_number(row[k]) for row in body] for k, name in enumerate(names)}
    return _of_columns(
        "csv", {name: _array(cells) for name, cells in columns.items() if any(c is not None for c in cells)}
    )


def _of_parquet(path: Path) -> Guess | None:
    import pyarrow.parquet as pq

    with pq.ParquetFile(path) as file:
        head = next(file.iter_batches(_MOST_ROWS), None)
    if head is None:
        return None
    kinds = {each.name: str(each.type) for each in head.schema}
    numeric = [name for name, kind in kinds.items() if kind.startswith(("int", "uint", "float", "double", "half"))]
    return _of_columns(
        "parquet", {name: np.asarray(head.column(name).to_numpy(zero_copy_only=False), float) for name in numeric}
    )


def _of_columns(form: str, columns: Mapping[str, np.ndarray]) -> Guess | None:
    """Take steady columns for counters and clocks, named electrodes for channels, and ask about the others."""
    counter, clock = _counter(columns), _clock(columns)
    taken = {counter[0] if counter else "", clock}
    rest = [name for name in columns if name not in taken]
    electrodes = [name for name in rest if canonical_electrode(name)]
    channels = electrodes or [name for name in rest if _varies(columns[name])]
    if not channels:
        return None
    keys: dict[str, object] = {"formats": form}
    questions = {"unit": "V, mV or µV"}
    rate = _rate_of(columns[clock]) if clock else None
    keys["rate"] = rate or 0
    questions["rate"] = f"by the column {clock!r}" if rate else "Hz; no column of times gives it"
    if counter:
        keys["counter"] = list(counter)
        questions["counter"] = "counts up and begins again: a jump becomes a gap"
    if clock and rate:
        keys["clock"] = clock
    keys["channels"] = {name: name if electrodes else "" for name in channels}
    questions["channels"] = "the columns named as electrodes" if electrodes else "which electrode is in which column?"
    return Guess(keys=keys, questions=questions)


def _counter(columns: Mapping[str, np.ndarray]) -> tuple[str, int] | None:
    for name, x in columns.items():
        steps = np.diff(x)
        if len(x) < 3 or not _COUNTER_NAME.fullmatch(name) or not np.isfinite(x).all():
            continue
        wraps = steps[steps < 0]
        if wraps.size and (steps == 1).mean() > 0.9:
            return name, int(1 - wraps.min())
    return None


def _clock(columns: Mapping[str, np.ndarray]) -> str:
    for name, x in columns.items():
        if _CLOCK_NAME.fullmatch(name) and np.isfinite(x).all() and (np.diff(x) >= 0).all() and x[-1] > x[0]:
            return name
    return ""


def _rate_of(stamps: np.ndarray) -> float | None:
    """Return the rate that a clock of seconds or milliseconds runs at, rounded where it is close to a usual one."""
    per_second = (len(stamps) - 1) / float(stamps[-1] - stamps[0])
    rate = per_second * 1000 if per_second < 20 else per_second
    usual = [
        r for r in (100, 125, 128, 200, 250, 256, 300, 500, 512, 1000, 1024, 2000, 2048) if abs(rate / r - 1) < 0.02
    ]
    return float(usual[0]) if usual else round(rate, 2) if 30 <= rate <= 100_000 else None


def _varies(x: np.ndarray) -> bool:
    finite = x[np.isfinite(x)]
    return len(finite) > 2 and bool((np.diff(finite) != 0).mean() > 0.3)


def _array(cells: Sequence[float | None]) -> np.ndarray:
    return np.array([np.nan if cell is None else cell for cell in cells], dtype=np.float64)


def _number(cell: str) -> float | None:
    try:
        return float(cell)
    except ValueError:
        return None
