"""A synthetic patient: everything that stays the same between the segments of one person."""

from dataclasses import dataclass

import numpy as np

from signals.electrodes import POSITIONS

_LATERAL_FOCI = ("F3", "F7", "C3", "T3", "T5", "P3", "O1")


@dataclass(frozen=True, kw_only=True)
class Subject:
    """A patient's brain, eyes, muscles and heart."""

    background_uv: float
    """Standard deviation of the background on the average electrode."""
    exponent: float
    """Of the 1/f^exponent background."""
    slowing: float
    """Power of added delta and theta over that of the 1/f background; high in the sick."""
    delta_hz: float
    alpha_hz: float
    alpha_uv: float
    beta: float
    """Power of beta over that of the 1/f background."""
    mu: float
    """Power of the central mu rhythm over that of the 1/f background."""
    focus: tuple[float, float, float]
    """Direction of the lesion that lateralised patterns come from."""
    asymmetry: float
    """0: both hemispheres alike; 1: much slower and flatter around the focus."""
    rate_hz: float
    """Habitual rate of periodic discharges."""
    rhythm_hz: float
    """Habitual rate of rhythmic delta."""
    prominence: float
    """Habitual peak of patterns over the background's standard deviation."""
    blink_hz: float
    """Mean rate of blinks."""
    eye_movement_hz: float
    muscle_hz: float
    muscle_uv: float
    heart_hz: float
    heart_uv: float
    """Height of the heart's QRS complex on the scalp."""
    drift_uv: float


def draw_subject(rng: np.random.Generator) -> Subject:
    """Return a patient; most are of an intensive care unit: slow, weak alpha, few blinks."""
    sick = float(rng.beta(3, 1.5))
    focus = np.array(POSITIONS[_LATERAL_FOCI[rng.integers(len(_LATERAL_FOCI))]]) + rng.normal(0, 0.12, 3)
    focus[0] = -abs(focus[0]) if rng.random() < 0.5 else abs(focus[0])
    x, y, z = focus / np.linalg.norm(focus)
    return Subject(
        background_uv=float(np.clip(rng.lognormal(np.log(24), 0.5), 6, 80)),
        exponent=float(rng.normal(2.0, 0.35)),
        slowing=float(sick * rng.gamma(2.0, 0.6)),
        delta_hz=float(rng.uniform(1.0, 3.0)),
        alpha_hz=float(rng.normal(9.8, 0.8) - 2.0 * sick),
        alpha_uv=float((1 - sick) ** 2 * rng.uniform(10, 45)),
        beta=float(rng.gamma(1.5, 0.04)),
        mu=float((1 - sick) * rng.gamma(1.5, 0.06)),
        focus=(float(x), float(y), float(z)),
        asymmetry=float(rng.beta(1.2, 2.5)),
        rate_hz=float(np.exp(rng.uniform(np.log(0.5), np.log(2.3)))),
        rhythm_hz=float(np.exp(rng.uniform(np.log(0.8), np.log(3.2)))),
        prominence=float(rng.lognormal(np.log(5.0), 0.4)),
        blink_hz=float((1.15 - sick) * rng.uniform(0.0, 0.3)),
        eye_movement_hz=float((1.1 - sick) * rng.uniform(0.0, 0.12)),
        muscle_hz=float(rng.gamma(1.0, 0.03)),
        muscle_uv=float(rng.uniform(5, 40)),
        heart_hz=float(rng.uniform(0.9, 1.8)),
        heart_uv=float(rng.choice([0.0, 1.0]) * rng.exponential(4)),
        drift_uv=float(rng.exponential(8)),
    )
