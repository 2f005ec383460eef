"""Scores and verdicts: how much of a channel and of a window can be trusted, and why not."""

from dataclasses import dataclass

import numpy as np

from signals.description.artifacts import BIT
from signals.description.bad_channels import bad_channels
from signals.description.robust import robust_z
from signals.modality import MODALITIES
from signals.spectrograms import welch
from signals.window import INTERPOLATED, MEASURED, Window

WEIGHTS: dict[str, float] = {
    "flat": 1.0,
    "gap": 1.0,
    "clipped": 0.9,
    "pop": 0.6,
    "muscle": 0.6,
    "drift": 0.6,
    "line": 0.4,
    "blink": 0.2,
    "amplitude": 0.2,
}
"""What each flag takes from a second's trust; several multiply."""

LOST = BIT["flat"] | BIT["gap"] | BIT["clipped"]
"""Seconds whose signal is not there."""

_LEAST_SPREAD = 0.4  # of log std between channels, 49%

SPOILT = LOST | BIT["pop"] | BIT["muscle"] | BIT["drift"]
"""Seconds with an artifact. Blinks, mains (a notch removes them) and size alone are none: discharges are large."""

REASONS: dict[str, str] = {
    "no_measured_channels": "Not one channel was recorded.",
    "signal_lost": "Too many seconds are flat, clipped or missing.",
    "artifacts": "Too many seconds hold artifacts.",
    "bad_channels": "Too many channels are bad.",
    "noise": "The signal-to-noise ratio is too low.",
}
"""Why a verdict is not ok."""


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What a window may have and still be ok."""

    lost_share: float = 0.3
    """Largest share of measured channel-seconds that is flat, clipped or missing."""
    artifact_ratio: float = 0.7
    """Largest share of measured channel-seconds with any artifact."""
    bad_share: float = 0.5
    """Largest share of measured channels that are bad."""
    snr_db: float = 0.0
    """Least signal-to-noise ratio; noise as dense as the signal reads 0 or less."""


@dataclass(frozen=True, kw_only=True)
class WindowVerdict:
    """What is said of one window. It informs; nothing is dropped here."""

    ok: bool
    """No reason against it."""
    reasons: tuple[str, ...]
    """Keys of `REASONS`."""
    snr_db: float
    """See `snr_db`; nan if no channel can be measured."""
    artifact_ratio: float
    """Share of measured channel-seconds with an artifact; nan if no channel is measured."""


def channel_quality(x: np.ndarray, artifact_mask: np.ndarray, ch_state: np.ndarray) -> np.ndarray:
    """Return a score a channel, float32 in [0, 1], shape (..., n_chans): 1 is clean.

    The mean over seconds of what the flags leave (`WEIGHTS`), times exp(-excess / 3), where excess is by how much the
    channel's deviation (`deviation_z`) passes 3. An interpolated channel counts half, an absent one 0. x has shape
    (..., n_chans, n_times), µV; artifact_mask (..., n_chans, n_seconds); ch_state (..., n_chans).
    """
    excess = np.maximum(np.abs(deviation_z(x, ch_state)) - 3.0, 0.0)
    known = np.where(ch_state == MEASURED, 1.0, np.where(ch_state == INTERPOLATED, 0.5, 0.0))
    return (trust(artifact_mask) * np.exp(-np.nan_to_num(excess) / 3.0) * known).astype(np.float32)


def trust(artifact_mask: np.ndarray) -> np.ndarray:
    """Return the mean over seconds of what the flags leave (`WEIGHTS`), float32 in [0, 1], shape (...,).

    artifact_mask has shape (..., n_seconds). It is the whole score of a sensor that is no EEG.
    """
    left = np.ones(artifact_mask.shape, dtype=np.float32)
    for kind, weight in WEIGHTS.items():
        left *= np.where(artifact_mask & BIT[kind], np.float32(1.0 - weight), np.float32(1.0))
    return np.asarray(left.mean(axis=-1))


def deviation_z(x: np.ndarray, ch_state: np.ndarray) -> np.ndarray:
    """Return how unusual each channel's size is among the measured ones, robust z of log std, shape (..., n_chans).

    A spread of less than `_LEAST_SPREAD` counts as that, so that in an even montage a focal discharge is no deviation.
    nan where a channel has no sample.
    """
    present = np.where(np.isfinite(x), x, 0.0)
    n_present = np.isfinite(x).sum(axis=-1)
    with np.errstate(invalid="ignore", divide="ignore"):
        size = np.sqrt(np.square(present).sum(axis=-1) / n_present)
    size = np.log(np.maximum(size, 1e-3))
    return robust_z(size, among=(ch_state == MEASURED) & (n_present > 0), least=_LEAST_SPREAD)


def snr_db(x: np.ndarray, sfreq: float, ch_state: np.ndarray, *, h_freq: float | None = None) -> float:
    """Return the window's signal-to-noise ratio in dB, the median over measured channels; nan without any.

    Signal is the power density of 1-30 Hz above the noise density, noise the median density from 35 Hz to `h_freq`
    (effective low-pass edge, by default 0.45 sfreq), taken as white, which mains tones do not move. Hence 0 dB means
    that the signal band holds twice the noise floor; where no signal stands out it is cut off at -20 dB.
    x has shape (n_chans, n_times), µV.
    """
    h_freq = 0.45 * sfreq if h_freq is None else min(h_freq, 0.45 * sfreq)
    usable = np.nan_to_num(x[ch_state == MEASURED])
    usable = usable[usable.std(axis=-1) > 0] if usable.size else usable
    if not len(usable) or h_freq <= 35.0:
        return float("nan")
    freqs, density = welch(usable, sfreq)
    signal = density[:, (freqs >= 1) & (freqs < 30)].mean(axis=-1)
    noise = np.median(density[:, (freqs >= 35) & (freqs <= h_freq)], axis=-1) + 1e-12
    return float(np.median(10 * np.log10(np.maximum(signal / noise - 1.0, 1e-2))))


def verdict(
    x: np.ndarray,
    sfreq: float,
    *,
    artifact_mask: np.ndarray,
    ch_state: np.ndarray,
    bad: np.ndarray,
    h_freq: float | None = None,
    limits: Limits = Limits(),
) -> WindowVerdict:
    """Return the verdict on one window from its samples (n_chans, n_times), flags, channel states and bad channels.

    Only measured channels count. A nan signal-to-noise ratio is no reason against a window.
    """
    measured = ch_state == MEASURED
    if not measured.any():
        return WindowVerdict(
            ok=False, reasons=("no_measured_channels",), snr_db=float("nan"), artifact_ratio=float("nan")
        )
    flags = artifact_mask[measured]
    ratio, snr = float(((flags & SPOILT) != 0).mean()), snr_db(x, sfreq, ch_state, h_freq=h_freq)
    against = {
        "signal_lost": ((flags & LOST) != 0).mean() > limits.lost_share,
        "artifacts": ratio > limits.artifact_ratio,
        "bad_channels": bad[measured].mean() > limits.bad_share,
        "noise": snr < limits.snr_db,
    }
    reasons = tuple(reason for reason, holds in against.items() if holds)
    return WindowVerdict(ok=not reasons, reasons=reasons, snr_db=snr, artifact_ratio=ratio)


def window_verdict(window: Window, *, limits: Limits = Limits()) -> WindowVerdict:
    """Return the verdict on a window's EEG, also of one that comes out of a shard.

    Bad channels are those that `signals.description.bad_channels` finds in the window alone; a window of less than 4
    s, or with fewer than 6 measured channels, has none.
    """
    ch_state = window.eeg_state
    measured = np.flatnonzero(ch_state == MEASURED)
    positions = np.asarray(MODALITIES[window.modality].positions)[measured]
    bad = np.zeros(ch_state.shape, dtype=bool)
    bad[measured[list(bad_channels([window.data[measured]], window.sfreq, positions=positions))]] = True
    return verdict(
        window.data, window.sfreq, artifact_mask=window.artifact_mask, ch_state=ch_state, bad=bad,
        h_freq=window.band[1], limits=limits,
    )  # fmt: skip
