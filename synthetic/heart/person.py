"""A person's heart: the dipole of each wave, its timing, and what a condition changes of it.

A wave's part is a bump in time, cos² of compact support, times a vector (left, foot, back); the leads see it through
the vectors of Dower (`signals.modality.lead_vectors`). Compact support makes onsets and offsets exact.
"""

from dataclasses import dataclass, replace

import numpy as np


@dataclass(frozen=True)
class Part:
    """One deflection of a beat, relative to the QRS complex's onset."""

    start_s: float
    peak_s: float
    stop_s: float
    vector_mv: tuple[float, float, float]
    """Dipole at the peak: left, foot, back, as leads see it in mV."""

    def field(self, t: np.ndarray) -> np.ndarray:
        """Return the dipole at times relative to the QRS onset, mV, shape (n_times, 3)."""
        half = np.where(t < self.peak_s, self.peak_s - self.start_s, self.stop_s - self.peak_s)
        phase = np.clip((t - self.peak_s) / half, -1.0, 1.0)
        return np.cos(0.5 * np.pi * phase)[:, None] ** 2 * np.array(self.vector_mv)

    def turned(self, rotation: np.ndarray) -> "Part":
        """Return the part with its vector multiplied by a matrix."""
        x, y, z = (rotation @ np.array(self.vector_mv)).tolist()
        return replace(self, vector_mv=(x, y, z))


@dataclass(frozen=True, kw_only=True)
class Heart:
    """One person's beat."""

    p: Part
    qrs: tuple[Part, ...]
    t: Part
    st_mv: tuple[float, float, float] = (0.0, 0.0, 0.0)
    """Dipole between the QRS complex and the T wave's peak."""
    rate_bpm: float = 70.0
    rr_sd: float = 0.03
    """Standard deviation of the intervals as a share of their mean."""

    @property
    def qrs_s(self) -> float:
        """Length of the QRS complex."""
        return max(part.stop_s for part in self.qrs)


CONDITIONS: dict[str, tuple[str, ...]] = {
    "normal": ("426783006",), "fibrillation": ("164889003",), "flutter": ("164890007",),
    "ventricular ectopy": ("427172004", "426783006"), "first-degree block": ("270492004", "426783006"),
    "left bundle": ("733534002", "426783006"), "right bundle": ("713427006", "426783006"),
    "infarction": ("164865005", "426783006"), "t inversion": ("59931005", "426783006"),
    "hypertrophy": ("164873001", "426783006"), "bradycardia": ("426177001",), "tachycardia": ("427084000",),
}  # fmt: skip
"""What can be generated, and the statements (SNOMED) that it means."""


def draw_heart(rng: np.random.Generator, condition: str) -> Heart:
    """Return a person's heart in a condition; raises ValueError for an unknown one."""
    if condition not in CONDITIONS:
        raise ValueError(f"condition={condition!r} is none of {', '.join(CONDITIONS)}")
    heart = _normal(rng)
    change = _CHANGES.get(condition)
    return heart if change is None else change(rng, heart)


def _normal(rng: np.random.Generator) -> Heart:
    size, turn = rng.lognormal(0.0, 0.2), _rotation(rng, 0.25)
    q, r, s = rng.uniform(0.012, 0.02), rng.uniform(0.03, 0.045), rng.uniform(0.02, 0.03)
    qrs = (
        Part(0.0, q, 2 * q, (-0.12, -0.08, -0.22)),
        Part(q, q + r / 2, q + r, (1.0, 0.75, 0.25)),
        Part(q + 0.7 * r, q + r, q + r + s, (0.05, -0.1, 0.45)),
    )
    pr, p_s = rng.uniform(0.13, 0.18), rng.uniform(0.08, 0.11)
    t_start, t_s = rng.uniform(0.16, 0.2), rng.uniform(0.16, 0.21)
    heart = Heart(
        p=Part(-pr, -pr + p_s / 2, -pr + p_s, (0.09, 0.14, -0.02)),
        qrs=qrs,
        t=Part(t_start, t_start + 0.6 * t_s, t_start + t_s, (0.26, 0.2, -0.14)),
        rate_bpm=rng.uniform(60, 90),
        rr_sd=rng.uniform(0.01, 0.05),
    )
    grown = size * turn
    return replace(
        heart, p=heart.p.turned(grown), qrs=tuple(part.turned(grown) for part in qrs), t=heart.t.turned(grown)
    )


def _rotation(rng: np.random.Generator, sd: float) -> np.ndarray:
    """Return a random small rotation, angles of `sd` radians."""
    a, b, c = rng.normal(0.0, sd, 3)
    about_x = np.array([[1, 0, 0], [0, np.cos(a), -np.sin(a)], [0, np.sin(a), np.cos(a)]])
    about_y = np.array([[np.cos(b), 0, np.sin(b)], [0, 1, 0], [-np.sin(b), 0, np.cos(b)]])
    about_z = np.array([[np.cos(c), -np.sin(c), 0], [np.sin(c), np.cos(c), 0], [0, 0, 1]])
    return np.asarray(about_x @ about_y @ about_z)


def _later(part: Part, by_s: float) -> Part:
    return replace(part, start_s=part.start_s + by_s, peak_s=part.peak_s + by_s, stop_s=part.stop_s + by_s)


def _block(rng: np.random.Generator, heart: Heart) -> Heart:
    return replace(heart, p=_later(heart.p, -rng.uniform(0.09, 0.16)), rate_bpm=min(heart.rate_bpm, 75.0))


def _bundle(rng: np.random.Generator, heart: Heart, end: tuple[float, float, float]) -> Heart:
    """Return the heart with a slow last part of the QRS complex towards `end`, and a T wave against it."""
    stop, size = rng.uniform(0.13, 0.16), float(np.linalg.norm(heart.qrs[1].vector_mv))
    x, y, z = (size * np.array(end)).tolist()
    late = Part(0.03, 0.6 * stop, stop, (x, y, z))
    against = Part(0.0, 0.1, 0.2, (-0.35 * x, -0.35 * y, -0.35 * z))
    shifted = _later(heart.t, stop - heart.qrs_s)
    t = replace(shifted, vector_mv=tuple((np.array(shifted.vector_mv) * 0.3 + against.vector_mv).tolist()))
    return replace(heart, qrs=(*heart.qrs, late), t=t)


def _infarction(rng: np.random.Generator, heart: Heart) -> Heart:
    st = _rotation(rng, 0.4) @ np.array([0.05, 0.05, -rng.uniform(0.2, 0.4)])
    deep = replace(heart.qrs[0], stop_s=0.05, peak_s=0.025, vector_mv=(-0.1, -0.1, 0.5))
    return replace(heart, qrs=(deep, *heart.qrs[1:]), st_mv=tuple(st.tolist()))


def _inverted(rng: np.random.Generator, heart: Heart) -> Heart:
    return replace(heart, t=heart.t.turned(-np.eye(3) * rng.uniform(0.7, 1.2)))


def _large(rng: np.random.Generator, heart: Heart) -> Heart:
    grown = np.eye(3) * rng.uniform(1.7, 2.3)
    return replace(heart, qrs=tuple(part.turned(grown) for part in heart.qrs), t=heart.t.turned(-0.6 * np.eye(3)))


_CHANGES = {
    "first-degree block": _block,
    "left bundle": lambda rng, heart: _bundle(rng, heart, (0.9, -0.1, 0.7)),
    "right bundle": lambda rng, heart: _bundle(rng, heart, (-0.4, 0.0, -0.6)),
    "infarction": _infarction,
    "t inversion": _inverted,
    "hypertrophy": _large,
    "bradycardia": lambda rng, heart: replace(heart, rate_bpm=float(rng.uniform(40, 54))),
    "tachycardia": lambda rng, heart: replace(heart, t=_later(heart.t, -0.05), rate_bpm=float(rng.uniform(105, 120))),
    "fibrillation": lambda rng, heart: replace(heart, rate_bpm=float(rng.uniform(70, 110)), rr_sd=0.2),
    "flutter": lambda rng, heart: replace(heart, rate_bpm=float(rng.uniform(70, 75)), rr_sd=0.002),
}
