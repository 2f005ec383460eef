"""A long EDF recording, made fast and in little memory, for measuring how readers and pipelines bear it."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from signals.electrodes import POSITIONS, electrode_positions
from signals.modality import EEG_1020
from synthetic.recordings.files import write_edf
from synthetic.subject.background import ongoing
from synthetic.subject.subjects import draw_subject

_LOOPS_S = (31, 37, 41)
_BLOCK_S = 16


def long_recording(path: Path, *, hours: float, n_chans: int, sfreq: int, seed: int) -> None:
    """Write an EDF file of background EEG, 0.1 µV a digit, whole seconds, the 19 channels of the 10-20 system first.

    The signal is the sum of three endless loops of 31, 37 and 41 s, so it is continuous and repeats after 13 hours.
    Raises ValueError for fewer than 1 or more channels than there are electrode names, or for less than a second.
    """
    ch_names = [*EEG_1020.ch_names, *(name for name in POSITIONS if name not in EEG_1020.ch_names)]
    n_records = int(hours * 3600)
    if not 1 <= n_chans <= len(ch_names):
        raise ValueError(f"n_chans={n_chans} is not between 1 and {len(ch_names)}")
    if n_records < 1:
        raise ValueError(f"hours={hours} is less than one second")
    write_edf(
        path, _blocks(ch_names[:n_chans], n_records, sfreq, seed), file_format="edf", ch_names=ch_names[:n_chans],
        sfreq=sfreq, patient="long", record_onsets_s=range(n_records), reference="average",
    )  # fmt: skip


def _blocks(ch_names: list[str], n_records: int, sfreq: int, seed: int) -> Iterator[np.ndarray]:
    """Yield digital blocks of at most _BLOCK_S seconds, int16, shape (n_chans, n_times)."""
    rng = np.random.default_rng(seed)
    subject, positions = draw_subject(rng), electrode_positions(ch_names)
    loops = []
    for length_s in _LOOPS_S:
        uv = ongoing(rng, positions=positions, subject=subject, n_times=length_s * sfreq, sfreq=float(sfreq))
        loops.append(np.clip(np.rint(uv * 10 / np.sqrt(len(_LOOPS_S))), -10_000, 10_000).astype(np.int16))
    for start in range(0, n_records, _BLOCK_S):
        times = np.arange(start * sfreq, min(start + _BLOCK_S, n_records) * sfreq)
        yield sum((loop[:, times % loop.shape[1]] for loop in loops[1:]), loops[0][:, times % loops[0].shape[1]])
