"""What stands in a folder of the HMS competition before anything is made of it: rows, files, and what does not fit."""

from dataclasses import dataclass
from pathlib import Path

from signals.readers.layouts.hms import HmsError, HmsLabel, HmsTest, read_test, read_train
from signals.readers.layouts.parquet import open_parquet
from signals.recording.recording import UnreadableError
from signals.tasks import SIX_CLASS

_SLACK_S = 0.01  # a file may fall short of its last sample


@dataclass(frozen=True, kw_only=True)
class TrainPart:
    """The labels that can be trained on, and those whose files lack."""

    n_labels: int
    n_eegs: int
    n_patients: int
    without_eeg: tuple[HmsLabel, ...]
    """Rows whose EEG is not there: left out."""
    without_spectrogram: tuple[HmsLabel, ...]
    """Rows whose spectrogram is not there: kept, their spectrogram is NaN."""


@dataclass(frozen=True, kw_only=True)
class AskedPart:
    """The EEGs that are asked for, in the table's order."""

    rows: tuple[HmsTest, ...]
    without_spectrogram: tuple[HmsTest, ...]


def eeg_path(root: Path, part: str, eeg_id: str) -> Path:
    """Return where the EEG of a row lies; `part` is "train" or "test"."""
    return root / f"{part}_eegs" / f"{eeg_id}.parquet"


def check_train(root: Path) -> TrainPart:
    """Return what a folder has to train on.

    Raises HmsError, naming the row, for a table that cannot be used (`read_train`), for a label that ends after its
    EEG, and where no EEG of the table is there. An EEG that cannot be read is left to whoever reads it.
    """
    path = _table(root, "train.csv")
    rows = read_train(path)
    lengths: dict[str, float | None] = {}
    for row in rows:
        if row.eeg_id not in lengths:
            lengths[row.eeg_id] = _seconds(eeg_path(root, "train", row.eeg_id))
        length = lengths[row.eeg_id]
        ends_s = row.eeg_offset_s + SIX_CLASS.window_s
        if length is not None and not (row.eeg_offset_s >= 0 and ends_s <= length + _SLACK_S):
            raise HmsError(
                f"{path} line {row.line}: the 50 s at {row.eeg_offset_s:g} s do not lie within eeg_id {row.eeg_id}, "
                f"which has {length:.1f} s"
            )
    there = [row for row in rows if eeg_path(root, "train", row.eeg_id).is_file()]
    if not there:
        raise HmsError(f"{root / 'train_eegs'} holds none of the {len(lengths)} EEGs of train.csv")
    return TrainPart(
        n_labels=len(there),
        n_eegs=len({row.eeg_id for row in there}),
        n_patients=len({row.patient_id for row in there}),
        without_eeg=tuple(row for row in rows if not eeg_path(root, "train", row.eeg_id).is_file()),
        without_spectrogram=tuple(row for row in there if not _has_spectrogram(root, "train", row)),
    )


def check_test(root: Path) -> AskedPart:
    """Return what a folder asks for; raises HmsError, naming the row, for an EEG that is not there."""
    path = _table(root, "test.csv")
    rows = read_test(path)
    if not rows:
        raise HmsError(f"{path} has no rows")
    for row in rows:
        if not eeg_path(root, "test", row.eeg_id).is_file():
            raise HmsError(f"{path} line {row.line}: test_eegs/{row.eeg_id}.parquet does not exist")
    return AskedPart(
        rows=tuple(rows),
        without_spectrogram=tuple(row for row in rows if not _has_spectrogram(root, "test", row)),
    )


def _table(root: Path, name: str) -> Path:
    if not (root / name).is_file():
        raise HmsError(f"{root} is no folder of the HMS layout: it has no {name}")
    return root / name


def _has_spectrogram(root: Path, part: str, row: HmsLabel | HmsTest) -> bool:
    return (root / f"{part}_spectrograms" / f"{row.spectrogram_id}.parquet").is_file()


def _seconds(path: Path) -> float | None:
    """Return the length of an EEG, None where it is not there or cannot be read."""
    try:
        return open_parquet(path).duration_s
    except (UnreadableError, OSError):
        return None
