"""How much of a channel and of a window can be trusted, and why not."""

from dataclasses import dataclass

import numpy as np

from signals.description.artifacts import BIT
from signals.description.robust import robust_z
from signals.window import INTERPOLATED, MEASURED

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
    "bad_channels": "Too many channels are of poor quality.",
    "noise": "The signal-to-noise ratio is too low.",
}
"""Reasons against a window."""

GOOD = "good"
"""The decision on a window without a reason against it."""


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What a window may have and still be good."""

    lost_share: float = 0.3
    """Largest share of measured channel-seconds that is flat, clipped or missing."""
    artifact_ratio: float = 0.7
    """Largest share of measured channel-seconds with any artifact."""
    least_quality: float = 0.3
    """Least quality of a channel (`channel_quality`); below it the channel is bad."""
    bad_share: float = 0.5
    """Largest share of measured channels that are bad."""
    snr_db: float = 0.0
    """Least signal-to-noise ratio; noise as dense as the signal reads 0 or less."""


def channel_quality(x: np.ndarray, artifact_mask: np.ndarray, ch_state: np.ndarray) -> np.ndarray:
    """Return a score per channel, float32 in [0, 1], shape (..., n_chans): 1 is clean.

    The mean over seconds of what the flags leave (`WEIGHTS`), times exp(-excess / 3), where excess is by how much the
    channel's deviation (`deviation_z`) passes 3. An interpolated channel counts half, an absent one 0. x has shape
    (..., n_chans, n_times), µV; artifact_mask (..., n_chans, n_seconds); ch_state (..., n_chans).
    """
    excess = np.maximum(np.abs(deviation_z(x, ch_state)) - 3.0, 0.0)
    known = np.where(ch_state == MEASURED, 1.0, np.where(ch_state == INTERPOLATED, 0.5, 0.0))
    return (trust(artifact_mask) * np.exp(-np.nan_to_num(excess) / 3.0) * known).astype(np.float32)


def lead_quality(x: np.ndarray, artifact_mask: np.ndarray, ch_state: np.ndarray) -> np.ndarray:
    """Return the score of leads, float32 in [0, 1], shape (n_chans,): `trust`, half of it where a lead was derived.

    Leads differ in size by where they look from, so that none is unusual for it; `x` is not looked at.
    """
    known = np.where(ch_state == MEASURED, 1.0, np.where(ch_state == INTERPOLATED, 0.5, 0.0))
    return (trust(artifact_mask) * known).astype(np.float32)


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
    finite = np.isfinite(x)
    present = x if finite.all() else np.where(finite, x, 0.0)
    n_present = np.count_nonzero(finite, axis=-1)
    with np.errstate(invalid="ignore", divide="ignore"):
        size = np.sqrt(np.square(present).sum(axis=-1) / n_present)
    size = np.log(np.maximum(size, 1e-3))
    return robust_z(size, among=(ch_state == MEASURED) & (n_present > 0), least=_LEAST_SPREAD)


def channel_snr_db(freqs: np.ndarray, density: np.ndarray, *, h_freq: float) -> np.ndarray:
    """Return each channel's signal-to-noise ratio in dB, float32, shape (n_chans,); nan where it cannot be measured.

    Signal is the power density of 1-30 Hz above the noise density, noise the median density from 35 Hz to `h_freq`
    (effective low-pass edge), taken as white, which mains tones do not move. Hence 0 dB means that the signal band
    holds twice the noise floor; where no signal stands out it is cut off at -20 dB. `density` is Welch's
    (`signals.spectrograms.welch`), shape (n_chans, n_freqs); a channel without any, or a band that ends below 35 Hz,
    cannot be measured.
    """
    signal = density[:, (freqs >= 1) & (freqs < 30)].mean(axis=-1)
    above = (freqs >= 35) & (freqs <= h_freq)
    if not above.any():
        return np.full(len(density), np.nan, dtype=np.float32)
    noise = np.median(density[:, above], axis=-1) + 1e-12
    ratio = 10 * np.log10(np.maximum(signal / noise - 1.0, 1e-2))
    return np.where(signal > 0, ratio, np.nan).astype(np.float32)


def artifact_ratio(artifact_mask: np.ndarray) -> np.ndarray:
    """Return each channel's share of seconds with an artifact (`SPOILT`), float32, shape (n_chans,)."""
    return ((artifact_mask & SPOILT) != 0).mean(axis=-1).astype(np.float32)


def quality_verdict(
    *,
    artifact_mask: np.ndarray,
    ch_state: np.ndarray,
    quality: np.ndarray,
    snr_db: np.ndarray,
    limits: Limits = Limits(),
) -> str:
    """Return `GOOD` for a window, or the reasons against it (keys of `REASONS`), joined by "+".

    All arguments are a window's own, by channel; only measured channels count. A signal-to-noise ratio of nan is no
    reason against a window.
    """
    measured = ch_state == MEASURED
    if not measured.any():
        return "no_measured_channels"
    flags = artifact_mask[measured]
    against = {
        "signal_lost": ((flags & LOST) != 0).mean() > limits.lost_share,
        "artifacts": window_artifact_ratio(artifact_ratio(artifact_mask), ch_state) > limits.artifact_ratio,
        "bad_channels": (quality[measured] < limits.least_quality).mean() > limits.bad_share,
        "noise": window_snr_db(snr_db, ch_state) < limits.snr_db,
    }
    return "+".join(reason for reason, holds in against.items() if holds) or GOOD


def window_artifact_ratio(ratio: np.ndarray, ch_state: np.ndarray) -> float:
    """Return a window's share of channel-seconds with an artifact: the mean over measured channels, nan without any."""
    measured = ch_state == MEASURED
    return float(ratio[measured].mean(dtype=np.float64)) if measured.any() else float("nan")


def window_snr_db(snr_db: np.ndarray, ch_state: np.ndarray) -> float:
    """Return a window's signal-to-noise ratio, dB: the median over measured channels, nan without any."""
    known = snr_db[(ch_state == MEASURED) & ~np.isnan(snr_db)]
    return float(np.median(known)) if known.size else float("nan")
