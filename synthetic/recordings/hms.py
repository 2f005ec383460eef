"""A small synthetic data set in the layout of the HMS competition, with the traps that its readers must pass.

Stretches of NaN in the EEG, a null EKG, several labels a recording with overlapping windows, another order of the
spectrogram's columns in every other file, several patients with more than one recording, a test part without labels.
"""

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from signals.electrodes import CHAINS
from signals.modality import EEG_1020
from signals.readers.layouts.hms import SPECTROGRAM_S
from signals.spectrograms import REGIONAL_FREQS, regional
from signals.tasks import SIX_CLASS
from synthetic.recordings.recordings import SEGMENT_S, SyntheticRecording, record
from synthetic.recordings.sites import Site, electrode_of
from synthetic.subject.subjects import draw_subject
from synthetic.synthesize import label_plan

HMS_SITE = Site(
    site_id="hms", file_format="edf", montage="clinical-19", sfreq=200.0, mains_hz=60.0, mains_uv=1.0,
    reference="linked ears",
)  # fmt: skip
COLUMNS = ("eeg_id", "eeg_sub_id", "eeg_label_offset_seconds", "spectrogram_id", "spectrogram_sub_id",
           "spectrogram_label_offset_seconds", "label_id", "patient_id", "expert_consensus",
           "label_source", *SIX_CLASS.vote_columns)  # fmt: skip
"""The competition's columns, and who voted: nobody."""
OVERLAP_S = 6.0
"""A second label lies so long after each label but the last: neighbouring windows overlap, as in the original."""
NAN_S = (20.0, 22.5)
"""Stretch without samples in the first recording of each patient, all EEG channels."""
_LEAD_S = (SPECTROGRAM_S - SEGMENT_S) / 2


@dataclass(frozen=True)
class HmsFolder:
    """What was written."""

    root: Path
    n_eegs: int
    n_labels: int
    patient_ids: tuple[int, ...]


def write_hms(
    root: Path, *, seed: int, n_patients: int = 2, recordings_per_patient: int = 2, segments_per_recording: int = 2
) -> HmsFolder:
    """Write train.csv, train_eegs/, train_spectrograms/, test.csv, test_eegs/ and test_spectrograms/ below `root`.

    The test part repeats the first 50 s of each patient's first recording under another id. Same arguments, same
    samples and tables.
    """
    rng = np.random.default_rng(seed)
    ids = iter(rng.choice(10**9, size=3 * n_patients * recordings_per_patient + n_patients, replace=False))
    plan = label_plan(rng, n_patients * recordings_per_patient, segments_per_recording)
    train: list[tuple[object, ...]] = []
    test: list[tuple[int, int, int]] = []
    patients: list[int] = []
    for _ in range(n_patients):
        subject, patient_id = draw_subject(rng), int(next(ids))
        patients.append(patient_id)
        for number in range(recordings_per_patient):
            recording = record(rng, site=HMS_SITE, subject=subject, labels=plan.pop())
            (data,) = recording.stretches
            eeg_id, spectrogram_id = int(next(ids)), int(next(ids))
            _write_spectrogram(
                root / "train_spectrograms" / f"{spectrogram_id}.parquet", data, shuffled=number % 2 == 1
            )
            train += _train_rows(recording, eeg_id, spectrogram_id, patient_id, first_label_id=10**9 + len(train))
            if number == 0:
                test.append((int(next(ids)), spectrogram_id, patient_id))
                first = data[:, : int(SEGMENT_S * HMS_SITE.sfreq)]
                _write_eeg(root / "test_eegs" / f"{test[-1][0]}.parquet", first)
                _write_spectrogram(root / "test_spectrograms" / f"{spectrogram_id}.parquet", first, shuffled=False)
                data = _with_nan(data)
            _write_eeg(root / "train_eegs" / f"{eeg_id}.parquet", data)
    _write_csv(root / "train.csv", COLUMNS, train)
    _write_csv(root / "test.csv", ("eeg_id", "spectrogram_id", "patient_id"), test)
    return HmsFolder(root, n_patients * recordings_per_patient, len(train), tuple(patients))


def _train_rows(
    recording: SyntheticRecording, eeg_id: int, spectrogram_id: int, patient_id: int, *, first_label_id: int
) -> list[tuple[object, ...]]:
    """Return the rows of train.csv of one recording."""
    return [
        (eeg_id, sub_id, onset, spectrogram_id, sub_id, onset, first_label_id + sub_id, patient_id, label, "synthetic",
         *votes)
        for sub_id, (onset, label, votes) in enumerate(_label_rows(recording))
    ]  # fmt: skip


def _label_rows(recording: SyntheticRecording) -> list[tuple[float, str, tuple[int, ...]]]:
    """Return onset, class and votes of each label, most of them twice."""
    segments = list(zip(recording.segment_onsets_s, recording.labels, recording.votes, strict=True))
    again = [(onset + OVERLAP_S, label, votes) for onset, label, votes in segments[:-1]]
    return sorted([*segments, *again])


def _with_nan(data: np.ndarray) -> np.ndarray:
    holed = data.copy()
    start, stop = (int(second * HMS_SITE.sfreq) for second in NAN_S)
    holed[:-1, start:stop] = np.nan
    holed[-1] = np.nan  # the EKG is the last channel
    return holed


def _write_eeg(path: Path, data: np.ndarray) -> None:
    """Write channels as float32 columns in the competition's order; `data` is in the site's."""
    names = [electrode_of(name) for name in HMS_SITE.ch_names]
    _write_parquet(path, {name: data[names.index(name)] for name in (*EEG_1020.ch_names, "EKG")})


def _write_spectrogram(path: Path, data: np.ndarray, *, shuffled: bool) -> None:
    """Write the regional spectrogram, mirrored beyond the EEG's ends: a label's 50 s are the middle of its 600 s."""
    power = regional(data[:-1], [electrode_of(name) for name in HMS_SITE.ch_names[:-1]], HMS_SITE.sfreq)
    # 275 s are 137.5 columns of 2 s: the EEG begins half a column late.
    n_lead = int(_LEAD_S // 2)
    padded = np.pad(power, [(0, 0), (0, 0), (n_lead, n_lead + 1)], mode="symmetric")
    columns: dict[str, np.ndarray] = {
        f"{region}_{freq:.2f}": row
        for region, rows in zip(CHAINS, padded, strict=True)
        for freq, row in zip(REGIONAL_FREQS, rows, strict=True)
    }
    if shuffled:
        columns = dict(sorted(columns.items(), reverse=True))
    _write_parquet(path, {"time": 2 * np.arange(padded.shape[-1], dtype=np.int64) + 1} | columns)


def _write_parquet(path: Path, columns: dict[str, np.ndarray]) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    path.parent.mkdir(parents=True, exist_ok=True)
    arrays = {name: x if x.dtype == np.int64 else x.astype(np.float32) for name, x in columns.items()}
    pq.write_table(pa.table(arrays), path)


def _write_csv(path: Path, columns: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(columns)
        writer.writerows(rows)
