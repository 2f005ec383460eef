"""The brain without a pattern: 1/f activity, slowing, beta, mu, alpha that blocks, sleep, suppression."""

from dataclasses import replace

import numpy as np
from scipy import fft

from signals.electrodes import POSITIONS
from signals.noise import aperiodic, shaped_noise
from synthetic.subject.sources import SOURCES, bump, field, mixing, near, slow_noise
from synthetic.subject.subjects import Subject
from synthetic.subject.truth import Event

OTHER_VARIANTS = (
    "alpha", "slow", "theta", "attenuated", "burst-suppression", "spindles", "artifacts", "sporadic-sharp",
)  # fmt: skip


def ongoing(
    rng: np.random.Generator, *, positions: np.ndarray, subject: Subject, n_times: int, sfreq: float
) -> np.ndarray:
    """Return background activity without alpha, µV, float32, shape (n_chans, n_times).

    The added delta and the loss of fast activity are strongest around the subject's focus.
    """
    freqs = fft.rfftfreq(n_times, 1 / sfreq)
    lesion = near(SOURCES, np.array(subject.focus), 0.6)[:, None] * subject.asymmetry
    frontal = near(SOURCES, np.array(POSITIONS["Fz"]), 0.7)[:, None]
    left, right = (near(SOURCES, np.array(POSITIONS[name]), 0.3)[:, None] for name in ("C3", "C4"))
    slow = 0.6 * bump(freqs, subject.delta_hz, 0.6) + 0.4 * bump(freqs, 2.2 * subject.delta_hz + 1.5, 1.2)
    power = aperiodic(freqs, exponent=subject.exponent) * (1 - 0.7 * lesion * (freqs > 7))
    power = power + (subject.slowing * (0.7 + 2 * lesion)) * slow
    power = power + (0.4 + frontal) * subject.beta * bump(freqs, 19.0, 3.5)
    power = power + (left + right) * subject.mu * bump(freqs, subject.alpha_hz + 0.7, 0.8)
    sources = shaped_noise(rng, power, n_times)
    swell = np.exp(0.18 * slow_noise(rng, 1, n_times, sfreq, cutoff_hz=0.15))
    return (subject.background_uv * mixing(positions)).astype(np.float32) @ sources * swell


def alpha(
    rng: np.random.Generator, *, positions: np.ndarray, subject: Subject, n_times: int, sfreq: float
) -> tuple[np.ndarray, list[Event]]:
    """Return posterior alpha, µV, shape (n_chans, n_times), and when the eyes were closed; it blocks when they open."""
    power = bump(fft.rfftfreq(n_times, 1 / sfreq), subject.alpha_hz, 0.6)
    own = shaped_noise(rng, np.broadcast_to(power, (4, power.size)), n_times)
    maps = np.stack([field(positions, near(SOURCES, np.array(POSITIONS[n]), 0.3)) for n in ("O1", "O2", "POz")])
    rows = np.sqrt(0.5) * own[:3] + np.sqrt(0.5) * own[3]
    closed, events, at = np.full(n_times, 0.12, np.float32), [], float(rng.uniform(-8, 8))
    while at < n_times / sfreq:
        length = float(rng.uniform(6, 25))
        start, stop = max(at, 0.0), min(at + length, n_times / sfreq)
        if stop > start:
            closed[int(start * sfreq) : int(stop * sfreq)] = 1.0
            events.append(Event("eyes_closed", start, stop - start))
        at += length + float(rng.uniform(3, 15))
    return 0.6 * subject.alpha_uv * (maps.T.astype(np.float32) @ rows) * _smooth(closed, 0.3 * sfreq), events


def other_subject(rng: np.random.Generator, subject: Subject, variant: str) -> Subject:
    """Return the subject in the state of brain that a variant of "Other" shows."""
    if variant == "alpha":
        return replace(
            subject, slowing=0.1 * subject.slowing, asymmetry=0.0, alpha_uv=float(rng.uniform(18, 55)),
            alpha_hz=float(rng.normal(9.8, 0.8)), background_uv=min(subject.background_uv, 18.0),
            blink_hz=float(rng.uniform(0.03, 0.3)),
        )  # fmt: skip
    if variant == "slow":
        return replace(subject, slowing=float(rng.uniform(1.0, 3.0)), alpha_uv=0.0)
    if variant == "theta":
        return replace(subject, slowing=float(rng.uniform(0.8, 2.0)), delta_hz=float(rng.uniform(2.2, 3.0)))
    if variant == "attenuated":
        return replace(subject, background_uv=float(rng.uniform(2.5, 8)), alpha_uv=0.0)
    if variant == "artifacts":
        return replace(
            subject, muscle_hz=float(rng.uniform(0.1, 0.5)), muscle_uv=float(rng.uniform(15, 60)),
            eye_movement_hz=float(rng.uniform(0, 0.5)), drift_uv=float(rng.uniform(10, 60)),
        )  # fmt: skip
    return subject


def burst_suppression(rng: np.random.Generator, n_times: int, sfreq: float) -> tuple[np.ndarray, list[Event]]:
    """Return the envelope of bursts (1 to 4 s) on suppression (2 to 10 s), shape (n_times,), and the bursts."""
    floor = float(rng.uniform(0.05, 0.2))
    envelope, events, at = np.full(n_times, floor, np.float32), [], float(rng.uniform(0, 3))
    while at < n_times / sfreq - 1:
        length = min(float(rng.uniform(1, 4)), n_times / sfreq - at)
        envelope[int(at * sfreq) : int((at + length) * sfreq)] = float(rng.uniform(1.0, 1.8))
        events.append(Event("burst", at, length))
        at += length + float(rng.uniform(2, 10))
    return _smooth(envelope, 0.15 * sfreq), events


def spindles(
    rng: np.random.Generator, *, positions: np.ndarray, n_times: int, sfreq: float
) -> tuple[np.ndarray, list[Event]]:
    """Return sleep spindles (11 to 15 Hz, 0.5 to 1.5 s) with vertex waves, µV, shape (n_chans, n_times), and when."""
    t = np.arange(n_times) / sfreq
    wave, events, at = np.zeros(n_times), [], float(rng.uniform(0, 5))
    pitch, height = float(rng.uniform(11.5, 14.5)), float(rng.uniform(12, 35))
    while at < n_times / sfreq - 2:
        length = float(rng.uniform(0.6, 1.6))
        centre = at + length / 2
        shape = np.exp(-0.5 * ((t - centre) / (length / 4)) ** 2)
        wave += height * rng.uniform(0.6, 1.3) * shape * np.sin(2 * np.pi * pitch * (t - centre))
        if rng.random() < 0.5:
            wave -= height * rng.uniform(1, 2.5) * np.exp(-0.5 * ((t - at + 0.2) / 0.06) ** 2)
        events.append(Event("spindle", at, length))
        at += length + float(rng.uniform(2, 9))
    centre_xyz = np.array(POSITIONS["Cz"]) + np.array([0.0, rng.uniform(-0.1, 0.4), 0.0])
    return np.outer(field(positions, near(SOURCES, centre_xyz, 0.4)), wave).astype(np.float32), events


def _smooth(envelope: np.ndarray, width: float) -> np.ndarray:
    """Return a moving average over `width` samples, edges held."""
    n = max(1, int(width)) | 1
    padded = np.pad(envelope, n // 2, mode="edge")
    sums = np.cumsum(np.concatenate([[0.0], padded]))
    return ((sums[n:] - sums[:-n]) / n).astype(np.float32)
