"""From leads in mV to waves with their onsets and offsets, by a network that labels samples."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import torch
from scipy import signal

from model.delineation.network import CLASSES, SFREQ, Delineator

MIN_S: dict[str, float] = {"P": 0.03, "QRS": 0.03, "T": 0.06}
"""Shortest wave of each kind; what is shorter is none."""
JOIN_S = 0.024
"""A break of a wave that is not longer is none: a notch."""
_WANDER_HZ, _EDGE_S = 0.5, 2.0
"""Lower edge of what the network sees, and how far a lead is continued for its filter."""
_BATCH = 32


@dataclass(frozen=True)
class Found:
    """A wave of one lead."""

    kind: str
    onset_s: float
    offset_s: float


def prepared(x_mv: np.ndarray, sfreq: float) -> np.ndarray:
    """Return leads, (n_leads, n_times), as the network reads them: `SFREQ`, without wander, of unit spread, float32.

    Missing samples are 0. Raises ValueError for less than a second.
    """
    if x_mv.shape[-1] < sfreq:
        raise ValueError(f"n_times={x_mv.shape[-1]} is less than a second at {sfreq:g} Hz")
    x = np.nan_to_num(np.asarray(x_mv, dtype=np.float64))
    if sfreq != SFREQ:
        ratio = np.gcd(round(sfreq), round(SFREQ))
        x = signal.resample_poly(x, round(SFREQ) // ratio, round(sfreq) // ratio, axis=-1, padtype="line")
    highpass = signal.butter(2, _WANDER_HZ, "highpass", fs=SFREQ, output="sos")
    x = signal.sosfiltfilt(highpass, x, axis=-1, padlen=min(x.shape[-1] - 1, round(_EDGE_S * SFREQ)))
    return (x / np.maximum(x.std(axis=-1, keepdims=True), 1e-6)).astype(np.float32)


def probabilities(model: Delineator, x: np.ndarray) -> np.ndarray:
    """Return the probability of each class, float32, shape (n_leads, n_classes, n_times), of `prepared` leads."""
    model.eval()
    with torch.inference_mode():
        parts = [
            model(torch.from_numpy(x[start : start + _BATCH])).softmax(1).numpy() for start in range(0, len(x), _BATCH)
        ]
    return np.concatenate(parts)


def delineate(model: Delineator, x_mv: np.ndarray, sfreq: float) -> list[list[Found]]:
    """Return the waves of each lead of a recording, mV, shape (n_leads, n_times), in order of their onsets."""
    return [waves_of(prob) for prob in probabilities(model, prepared(x_mv, sfreq))]


def waves_of(prob: np.ndarray) -> list[Found]:
    """Return the waves of one lead from class probabilities, shape (n_classes, n_times), in order of their onsets.

    A wave is a run of samples of its class, notches (`JOIN_S`) included, that is long enough (`MIN_S`).
    """
    likeliest = prob.argmax(axis=0)
    found = []
    for number, kind in enumerate(CLASSES[1:], start=1):
        for start, stop in _joined(_runs(likeliest == number), round(JOIN_S * SFREQ)):
            if stop - start >= MIN_S[kind] * SFREQ:
                found.append(Found(kind, start / SFREQ, stop / SFREQ))
    return sorted(found, key=lambda wave: wave.onset_s)


def _runs(inside: np.ndarray) -> Iterable[tuple[int, int]]:
    edges = np.flatnonzero(np.diff(np.r_[0, inside.astype(int), 0]))
    return zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True)


def _joined(runs: Iterable[tuple[int, int]], longest: int) -> list[tuple[int, int]]:
    joined: list[tuple[int, int]] = []
    for start, stop in runs:
        if joined and start - joined[-1][1] <= longest:
            joined[-1] = (joined[-1][0], stop)
        else:
            joined.append((start, stop))
    return joined
