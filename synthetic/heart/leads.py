"""Twelve leads of a generated heart over time, their noise, and the exact truth of every wave."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from signals.modality import ECG_12, lead_vectors
from synthetic.heart.person import CONDITIONS, Heart, Part, draw_heart
from synthetic.heart.truth import QRS, P, T, Wave

_LEADS = np.array(list(lead_vectors().values()))
_ECTOPIC = Part(0.0, 0.07, 0.16, (-0.9, 1.1, 0.6))
_ECTOPIC_T = Part(0.2, 0.32, 0.42, (0.4, -0.5, -0.3))
_ATRIAL_HZ = {"fibrillation": (5.0, 8.0), "flutter": (4.6, 5.2)}
WITHOUT_P = frozenset({"fibrillation", "flutter"})


@dataclass(frozen=True, kw_only=True)
class NoiseLevels:
    """Sizes of what disturbs a recording, mV."""

    wander: float = 0.08
    mains: float = 0.005
    mains_hz: float = 50.0
    muscle: float = 0.008
    motion: float = 0.0
    """Steps of single electrodes."""


@dataclass(frozen=True, kw_only=True)
class HeartRecord:
    """A generated recording with its truth."""

    x_mv: np.ndarray
    """float64, shape (12, n_times), leads of `signals.modality.ECG_12`."""
    sfreq: float
    waves: tuple[Wave, ...]
    """In order of their onsets; waves that the recording cuts are left out."""
    condition: str

    @property
    def statements(self) -> tuple[str, ...]:
        """SNOMED codes of what was generated."""
        return CONDITIONS[self.condition]


def generate(
    rng: np.random.Generator, condition: str, *, duration_s: float = 10.0, sfreq: float = 500.0,
    noise: NoiseLevels = NoiseLevels(), heart: Heart | None = None,
) -> HeartRecord:  # fmt: skip
    """Return a recording of a person in a condition; a `heart` of that condition may be given."""
    heart = heart or draw_heart(rng, condition)
    t = np.arange(round(duration_s * sfreq)) / sfreq
    dipole = np.zeros((len(t), 3))
    waves: list[Wave] = []
    for at_s, is_ectopic in _beats(rng, heart, condition, duration_s):
        parts = _parts(heart, is_ectopic=is_ectopic, has_p=condition not in WITHOUT_P)
        for kind, group in parts.items():
            for part in group:
                dipole += part.field(t - at_s)
            largest = max(group, key=lambda part: float(np.linalg.norm(part.vector_mv)))
            span = (min(p.start_s for p in group) + at_s, max(p.stop_s for p in group) + at_s)
            if span[0] >= 0 and span[1] < duration_s:
                waves.append(Wave(kind, span[0], largest.peak_s + at_s, span[1]))
        if any(heart.st_mv) and not is_ectopic:
            dipole += Part(heart.qrs_s - 0.02, heart.qrs_s + 0.04, heart.t.peak_s, heart.st_mv).field(t - at_s)
    dipole += _atria(rng, condition, t)
    x = _LEADS @ dipole.T
    return HeartRecord(
        x_mv=x + _noise(rng, t, sfreq, noise), sfreq=sfreq, condition=condition,
        waves=tuple(sorted(waves, key=lambda wave: wave.onset_s)),
    )  # fmt: skip


def _beats(rng: np.random.Generator, heart: Heart, condition: str, duration_s: float) -> list[tuple[float, bool]]:
    """Return QRS onsets, from before the recording to after it, and whether each beat is ectopic."""
    rr = 60.0 / heart.rate_bpm
    beats: list[tuple[float, bool]] = []
    at = -rng.uniform(0.0, rr) - 0.5
    least = heart.t.stop_s + 0.02 - (0.0 if condition in WITHOUT_P else heart.p.start_s)
    while at < duration_s + 1.0:
        is_ectopic = condition == "ventricular ectopy" and bool(beats) and not beats[-1][1] and rng.random() < 0.25
        beats.append((at, is_ectopic))
        step = rr * (1.0 + heart.rr_sd * float(np.clip(rng.normal(), -2, 2)))
        at += max(1.3 * step if is_ectopic else step, least)
    return beats


def _parts(heart: Heart, *, is_ectopic: bool, has_p: bool) -> dict[str, tuple[Part, ...]]:
    if is_ectopic:
        return {QRS: (_ECTOPIC,), T: (_ECTOPIC_T,)}
    return ({P: (heart.p,)} if has_p else {}) | {QRS: heart.qrs, T: (heart.t,)}


def _atria(rng: np.random.Generator, condition: str, t: np.ndarray) -> np.ndarray:
    """Return the dipole of fibrillating or fluttering atria, mV, shape (n_times, 3); zeros elsewhere."""
    if condition not in _ATRIAL_HZ:
        return np.zeros((len(t), 3))
    hz = rng.uniform(*_ATRIAL_HZ[condition])
    wobble = 0.0 if condition == "flutter" else 0.6
    phase = 2 * np.pi * np.cumsum(hz * (1 + wobble * 0.3 * np.sin(2 * np.pi * 0.7 * t + rng.uniform(0, 6)))) * (t[1])
    wave = (
        (phase / np.pi) % 2 - 1
        if condition == "flutter"
        else np.sin(phase) * (1 + wobble * np.sin(2 * np.pi * 0.3 * t))
    )
    return wave[:, None] * np.array([0.02, 0.09, -0.03]) * rng.uniform(0.7, 1.2)


def _noise(rng: np.random.Generator, t: np.ndarray, sfreq: float, levels: NoiseLevels) -> np.ndarray:
    """Return noise of nine electrodes seen by the leads, mV, shape (12, n_times): limb leads stay exactly dependent."""
    electrodes = np.zeros((9, len(t)))  # right arm, left arm, left leg, V1-V6
    for row in electrodes:
        for hz in rng.uniform(0.05, 0.4, 3):
            row += levels.wander / 3 * np.sin(2 * np.pi * hz * t + rng.uniform(0, 2 * np.pi))
        row += levels.mains * rng.uniform(0.5, 1.5) * np.sin(2 * np.pi * levels.mains_hz * t + rng.uniform(0, 6.3))
        white = rng.normal(0.0, levels.muscle, len(t))
        row += white - np.convolve(white, np.ones(max(round(0.05 * sfreq), 1)) / max(round(0.05 * sfreq), 1), "same")
        if levels.motion:
            row += levels.motion * np.cumsum(rng.random(len(t)) < 0.3 / sfreq) * rng.choice([-1, 1])
    right, left, leg = electrodes[:3]
    one, two = left - right, leg - right
    limb = [one, two, two - one, -(one + two) / 2, one - two / 2, two - one / 2]
    return np.vstack([*limb, electrodes[3:] - (right + left + leg) / 3])


def lead_rows(names: Sequence[str]) -> list[int]:
    """Return the rows of leads by name."""
    return [ECG_12.ch_names.index(name) for name in names]
