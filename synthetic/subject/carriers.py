"""Real recordings without labels as backgrounds: stretches of them, and the states of a sick brain laid over them.

A carrier has what a simulation has not: real fields, real changes from second to second, real artifacts. People at
rest are not patients of intensive care, so a carrier is slowed, attenuated or made asymmetric before it is used.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

import numpy as np
from scipy import fft

from signals.modality import EEG_1020
from signals.shards.manifest import read_manifest
from signals.shards.records import decode_window
from signals.shards.tfrecord import read_shard
from signals.window import MEASURED, Window
from synthetic.subject.sources import near, slow_noise

MIN_MEASURED = 10
"""Fewest measured channels of a carrier."""
RMS_UV = (2.0, 150.0)
"""Median RMS over channels that a carrier may have."""
MAX_UV, PEAK = 500.0, 9.0
"""What 99.8% of a carrier's samples stay below, µV and times its RMS: patterns would hide behind torn electrodes and
endless blinks."""


@dataclass(frozen=True, kw_only=True)
class Carrier:
    """A stretch of a real recording in the channels of EEG_1020 at their rate."""

    data: np.ndarray = field(repr=False)
    """µV, float32, shape (n_chans, n_times), average reference, finite."""
    ch_state: np.ndarray = field(repr=False)
    """uint8, shape (n_chans,), as in `signals.window.Window`."""
    site_id: str
    subject_id: str
    recording_id: str


def read_carriers(shards: Path, *, length_s: float, hop_s: float, without: Sequence[str] = ()) -> list[Carrier]:
    """Return stretches of `length_s` every `hop_s` from a shard set whose windows tile recordings; labels are not read.

    `without`: sites to leave out. Raises ManifestError for what is no shard set, and ValueError for one of other
    channels or one that has no stretch of that length.
    """
    manifest = read_manifest(shards)
    if manifest.modality.ch_names != EEG_1020.ch_names:
        raise ValueError(f"{shards} holds {manifest.modality.name} windows, carriers are {EEG_1020.name}")
    windows: dict[str, list[Window]] = {}
    for shard in manifest.shards:
        if shard.site_id not in without:
            for record in read_shard(shards / shard.path):
                window = decode_window(record)
                windows.setdefault(window.recording_id, []).append(window)
    carriers = [c for _, group in sorted(windows.items()) for c in stretches(group, length_s=length_s, hop_s=hop_s)]
    if not carriers:
        raise ValueError(f"{shards} has no usable stretch of {length_s} s: windows must tile recordings that long")
    return carriers


def stretches(windows: Iterable[Window], *, length_s: float, hop_s: float) -> Iterator[Carrier]:
    """Yield stretches of one recording's windows where they follow each other without a gap."""
    ordered = sorted(windows, key=lambda window: window.start_s)
    runs: list[list[Window]] = [ordered[:1]] if ordered else []
    for before, after in pairwise(ordered):
        if abs(after.start_s - before.start_s - before.data.shape[1] / before.sfreq) < 1e-3:
            runs[-1].append(after)
        else:
            runs.append([after])
    for run in runs:
        data, sfreq = np.concatenate([window.data for window in run], axis=1), run[0].sfreq
        state = np.min([window.ch_state for window in run], axis=0).astype(np.uint8)
        length, hop = int(length_s * sfreq), int(hop_s * sfreq)
        for start in range(0, data.shape[1] - length + 1, hop):
            part = np.nan_to_num(data[:, start : start + length])
            if usable(part, state):
                yield Carrier(
                    data=part, ch_state=state, site_id=run[0].site_id, subject_id=run[0].subject_id,
                    recording_id=run[0].recording_id,
                )  # fmt: skip


def usable(data: np.ndarray, ch_state: np.ndarray) -> bool:
    """Return whether a stretch may carry a pattern: enough electrodes, EEG's size, few and moderate artifacts."""
    measured = data[ch_state == MEASURED]
    if len(measured) < MIN_MEASURED:
        return False
    rms = float(np.median(measured.std(axis=1)))
    return RMS_UV[0] <= rms <= RMS_UV[1] and float(np.quantile(np.abs(measured), 0.998)) <= min(MAX_UV, PEAK * rms)


def sickened(
    rng: np.random.Generator,
    data: np.ndarray,
    sfreq: float,
    *,
    positions: np.ndarray,
    focus: np.ndarray,
    slowing: float,
    asymmetry: float,
) -> np.ndarray:
    """Return a background (n_chans, n_times) with fast activity taken and slow activity added, same RMS, float32.

    `slowing` 0 changes nothing, 1 takes nearly all above 8 Hz and steepens 1/f; around `focus` (a direction)
    `asymmetry` adds to it. Slow activity is what the recording has there, made larger, so its fields stay real.
    """
    n_times = data.shape[1]
    freqs = np.maximum(fft.rfftfreq(n_times, 1 / sfreq), 1 / n_times)
    size = slowing * rng.uniform(0.7, 1.3) + asymmetry * near(positions, focus, 0.7)
    corner = float(rng.uniform(2.0, 6.0))
    # A power law above the corner: 1/f gets steeper by up to 1.6 (in amplitude), electrode by electrode.
    tilt = (np.maximum(freqs, corner) / corner) ** (-1.6 * np.clip(size, 0, 1.2))[:, None]
    centre, width = float(rng.uniform(0.8, 3.5)), float(rng.uniform(0.3, 1.2))
    swell = 1 + (rng.uniform(0, 2.0) * size)[:, None] * np.exp(-0.5 * ((freqs - centre) / width) ** 2)
    changed = fft.irfft(fft.rfft(data, axis=1) * tilt * swell, n=n_times, axis=1)
    ratio = data.std() / max(float(changed.std()), 1e-6)
    wax = np.exp(rng.uniform(0, 0.35) * slow_noise(rng, 1, n_times, sfreq, cutoff_hz=0.12))
    return np.asarray(changed * ratio * wax, dtype=np.float32)
