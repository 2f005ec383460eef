"""The tables and spectrograms of the HMS competition (Harmful Brain Activity Classification, Kaggle 2024).

    train.csv                                     a row a label: where it lies in EEG and spectrogram, votes, patient
    train_eegs/<eeg_id>.parquet                   200 Hz, read by `signals.readers.layouts.parquet`
    train_spectrograms/<spectrogram_id>.parquet   `time` and {LL,RL,LP,RP}_<Hz> columns, a row every 2 s
    test.csv, test_eegs/, test_spectrograms/      the same without labels

Columns are found by name everywhere: public copies differ in their order.
"""

import csv
import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np

from signals.electrodes import CHAINS
from signals.tasks import SIX_CLASS

SPECTROGRAM_S, SPECTROGRAM_STEP_S = 600.0, 2.0
_COLUMN = re.compile(rf"({'|'.join(CHAINS)})_(\d+(?:\.\d+)?)")


class HmsError(ValueError):
    """A table or spectrogram that cannot be used; the message says where and why."""


@dataclass(frozen=True, kw_only=True)
class HmsLabel:
    """One labelled 50-s window of train.csv."""

    label_id: str
    eeg_id: str
    spectrogram_id: str
    patient_id: str
    eeg_offset_s: float
    spectrogram_offset_s: float
    expert_consensus: str
    votes: tuple[float, ...]
    """In the order of SIX_CLASS.vote_columns."""
    line: int
    """Number of the row's line in the table."""
    label_source: str = "experts"
    """Who voted, one of `signals.windows.labels.LABEL_SOURCES`: the competition's experts, but where the table has a
    column `label_source`, as generated ones have."""


@dataclass(frozen=True, kw_only=True)
class HmsTest:
    """One row of test.csv: an EEG of 50 s and the ten minutes of spectrogram around it."""

    eeg_id: str
    spectrogram_id: str
    patient_id: str
    line: int
    """Number of the row's line in the table."""


_TEXT = ("label_id", "eeg_id", "spectrogram_id", "patient_id", "expert_consensus")
_NUMBERS = ("eeg_label_offset_seconds", "spectrogram_label_offset_seconds", *SIX_CLASS.vote_columns)


def read_train(path: Path) -> list[HmsLabel]:
    """Return the rows of a train.csv; raises HmsError naming line and column for what cannot be used.

    An EEG that two rows give to different patients is refused: its windows would stand in two folds.
    """
    rows = [_label(path, number, row) for number, row in _rows(path, (*_TEXT, *_NUMBERS))]
    first: dict[str, HmsLabel] = {}
    for row in rows:
        before = first.setdefault(row.eeg_id, row)
        if before.patient_id != row.patient_id:
            raise HmsError(
                f"{path} line {row.line}: eeg_id {row.eeg_id} is of patient_id {row.patient_id}, on line "
                f"{before.line} of {before.patient_id}: a recording has one patient"
            )
    return rows


def read_test(path: Path) -> list[HmsTest]:
    """Return the rows of a test.csv in order; raises HmsError, also for an EEG that is asked for twice."""
    names = ("eeg_id", "spectrogram_id", "patient_id")
    rows = [HmsTest(**{name: row[name].strip() for name in names}, line=n) for n, row in _rows(path, names)]
    first: dict[str, int] = {}
    for row in rows:
        if not row.eeg_id:
            raise HmsError(f"{path} line {row.line}: eeg_id is empty")
        if first.setdefault(row.eeg_id, row.line) != row.line:
            raise HmsError(f"{path} line {row.line}: eeg_id {row.eeg_id} stands on line {first[row.eeg_id]} already")
    return rows


def is_spectrogram(columns: Iterable[str]) -> bool:
    """Return whether these are the columns of a spectrogram file."""
    names = set(columns)
    return "time" in names and sum(bool(_COLUMN.fullmatch(name)) for name in names) > len(names) / 2


def read_spectrogram(path: Path, offset_s: float) -> tuple[np.ndarray, np.ndarray]:
    """Return Hz, shape (n_freqs,), and ten minutes of a spectrogram, float32, shape (4, n_freqs, 300).

    `offset_s` is a label's `spectrogram_offset_s`; regions stand in the order LL, RL, LP, RP, frequencies rise (100 of
    0.59 to 19.92 Hz in the competition's files), column k lies at offset_s + 2 k + 1 s. Values are as in the file; rows
    that it lacks are NaN. Raises HmsError for other columns, for regions of different frequencies and for unreadable
    files.
    """
    try:
        freqs, times, power = _spectrogram(str(path), path.stat().st_mtime_ns)
    except OSError as error:
        raise HmsError(f"{path.name} is no readable parquet file: {type(error).__name__}") from error
    within = (times >= offset_s) & (times < offset_s + SPECTROGRAM_S)
    step = ((times[within] - offset_s) / SPECTROGRAM_STEP_S).astype(int)
    filled = np.full((*power.shape[:2], int(SPECTROGRAM_S / SPECTROGRAM_STEP_S)), np.nan, dtype=np.float32)
    filled[:, :, step] = power[:, :, within]
    return freqs, filled


@lru_cache(maxsize=4)  # the labels of a recording lie in one spectrogram; an hour of it is 3 MB
def _spectrogram(path: str, mtime_ns: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return Hz, seconds of the rows, and power, float32, shape (4, n_freqs, n_rows); `mtime_ns` keeps it honest."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    name = Path(path).name
    try:
        with pq.ParquetFile(path) as file:
            columns = _columns(Path(path), file.schema_arrow.names)
        names = [name for region in columns.values() for _, name in region]
        table = pq.read_table(path, columns=["time", *names])
    except (pa.ArrowException, OSError) as error:
        raise HmsError(f"{name} is no readable parquet file: {type(error).__name__}") from error
    power = np.stack([table[name].to_numpy() for name in names]).astype(np.float32)
    freqs = np.array([freq for freq, _ in columns["LL"]])
    return freqs, table["time"].to_numpy(), power.reshape(len(columns), len(freqs), -1)


def _columns(path: Path, names: Iterable[str]) -> dict[str, list[tuple[float, str]]]:
    """Return (Hz, column) of each region in rising order."""
    columns: dict[str, list[tuple[float, str]]] = {region: [] for region in CHAINS}
    names = list(names)
    for name in names:
        if found := _COLUMN.fullmatch(name):
            columns[found[1]].append((float(found[2]), name))
    columns = {region: sorted(named) for region, named in columns.items()}
    rasters = {tuple(freq for freq, _ in named) for named in columns.values()}
    if "time" not in names or len(rasters) != 1 or rasters == {()}:
        raise HmsError(f"{path.name}: needs a column 'time' and {', '.join(CHAINS)} with the same frequencies each")
    return columns


def _rows(path: Path, needed: tuple[str, ...]) -> Iterable[tuple[int, dict[str, str]]]:
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file)
            if lacking := sorted(set(needed) - set(reader.fieldnames or ())):
                raise HmsError(f"{path} lacks the columns {', '.join(lacking)}")
            for number, row in enumerate(reader, start=2):
                if None in row or None in row.values():
                    raise HmsError(f"{path} line {number}: not as many fields as the header")
                yield number, row
    except (UnicodeDecodeError, csv.Error) as error:
        raise HmsError(f"{path} is no readable csv: {error}") from error


def _label(path: Path, number: int, row: dict[str, str]) -> HmsLabel:
    values = {}
    for column in _NUMBERS:
        try:
            values[column] = float(row[column])
        except ValueError:
            raise HmsError(f"{path} line {number}: {column}={row[column]!r} is no number") from None
    votes = tuple(values[column] for column in SIX_CLASS.vote_columns)
    if not min(votes) >= 0 or not 0 < sum(votes) < np.inf:
        raise HmsError(f"{path} line {number}: vote counts {votes} must not be negative, and one must be above 0")
    return HmsLabel(
        **{key: row[key].strip() for key in _TEXT},
        eeg_offset_s=values["eeg_label_offset_seconds"],
        spectrogram_offset_s=values["spectrogram_label_offset_seconds"],
        votes=votes,
        line=number,
        label_source=row.get("label_source") or "experts",
    )
