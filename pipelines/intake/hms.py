"""HMS - Harmful Brain Activity Classification (Kaggle 2024): the folder as it is downloaded, or a part of it.

A row of train.csv labels the 50 s that begin at `eeg_label_offset_seconds`, and says where the ten minutes around them
lie in which spectrogram. Rows of one recording with the same onset are one window: their votes are added, and the
first one's spectrogram counts. A row of test.csv is the first 50 s of its EEG, without a label.
"""

import logging
from functools import lru_cache
from pathlib import Path

from signals.readers.layouts.hms import HmsLabel, read_test, read_train
from signals.sites.card import Known, SiteCard
from signals.tasks import SIX_CLASS
from signals.windows.labels import Label

logger = logging.getLogger(__name__)


def known_train(path: str) -> Known:
    """Return the patient and the labels of an EEG from the train.csv beside its folder."""
    folder, eeg_id = Path(path).parent, Path(path).stem
    known = _train(folder.parent / "train.csv").get(eeg_id)
    if known is None:
        _warn_once(folder)
    return known or Known()


def known_test(path: str) -> Known:
    """Return the patient of an EEG from the test.csv beside its folder."""
    return _test(Path(path).parent.parent / "test.csv").get(Path(path).stem) or Known()


@lru_cache(maxsize=4)
def _warn_once(folder: Path) -> None:
    logger.warning("train.csv is missing or lacks EEGs of train_eegs: each stays without labels and patient")


@lru_cache(maxsize=4)
def _train(path: Path) -> dict[str, Known]:
    if not path.is_file():
        return {}
    rows: dict[str, list[HmsLabel]] = {}
    for row in read_train(path):
        rows.setdefault(row.eeg_id, []).append(row)
    folder = path.parent / "train_spectrograms"
    return {
        eeg_id: Known(subject=group[0].patient_id, labels=_labels(group, folder), label_source=group[0].label_source)
        for eeg_id, group in rows.items()
    }


@lru_cache(maxsize=4)
def _test(path: Path) -> dict[str, Known]:
    if not path.is_file():
        return {}
    folder = path.parent / "test_spectrograms"
    return {
        row.eeg_id: Known(
            subject=row.patient_id,
            labels=(Label(onset_s=0.0, label="", spectrogram_uri=str(folder / f"{row.spectrogram_id}.parquet")),),
        )
        for row in read_test(path)
    }


def _labels(rows: list[HmsLabel], folder: Path) -> tuple[Label, ...]:
    """Return one label an onset, in order of time."""
    votes: dict[float, tuple[float, ...]] = {}
    for row in rows:
        before = votes.get(row.eeg_offset_s, (0.0,) * len(row.votes))
        votes[row.eeg_offset_s] = tuple(a + b for a, b in zip(before, row.votes, strict=True))
    consensus = {row.eeg_offset_s: SIX_CLASS.class_of(row.expert_consensus) or row.expert_consensus for row in rows}
    first = {row.eeg_offset_s: row for row in reversed(rows)}
    return tuple(
        Label(
            onset_s=onset,
            label=consensus[onset],
            votes=votes[onset],
            spectrogram_uri=str(folder / f"{first[onset].spectrogram_id}.parquet"),
            spectrogram_offset_s=first[onset].spectrogram_offset_s,
        )
        for onset in sorted(votes)
    )


_SIDES = ("train_spectrograms/*.parquet", "test_spectrograms/*.parquet", "train.csv", "test.csv",
          "sample_submission.csv", "example_figures/*")  # fmt: skip

HMS = (
    SiteCard(site_id="hms", files=("train_eegs/*.parquet",), mains_hz=60.0, known=known_train, side_files=_SIDES,
             tables=("../train.csv",)),
    SiteCard(site_id="hms", files=("test_eegs/*.parquet",), mains_hz=60.0, known=known_test, side_files=_SIDES,
             tables=("../test.csv",)),
)  # fmt: skip
"""The two parts of the folder; any other card goes before them."""
