"""Windows whose class is decided by one burst at a known time, on known channels, in a known band: planted evidence.

Every window is background with a decoy, a larger burst elsewhere in time and place, in a band that decides nothing. A
window of class "theta" or "beta" holds one burst of that band too, and nothing else tells it from class "none". The
same window without the burst, and a mask of where the burst is, travel with it.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from signals.electrodes import POSITIONS
from signals.modality import EEG_1020
from synthetic.subject.background import alpha, ongoing
from synthetic.subject.sources import SOURCES, near
from synthetic.subject.sources import field as scalp_field
from synthetic.subject.subjects import draw_subject

CLASSES = ("none", "theta", "beta")
BURST_HZ = {"theta": (5.0, 7.0), "beta": (15.0, 20.0)}
"""Frequencies that a class's burst is drawn from."""
DECOY_HZ = ((1.5, 3.0), (28.0, 38.0))
"""Frequencies of decoys, below and above everything that decides."""
FOCI = ("F3", "F4", "F7", "F8", "C3", "C4", "T3", "T4", "P3", "P4", "T5", "T6")
REACH = 0.5
"""Share of a burst's largest amplitude from which on a channel counts as one that shows it."""
_EDGE_S, _GAP_S = 0.2, 0.5
_GRID = np.asarray(EEG_1020.positions)


@dataclass(frozen=True, kw_only=True)
class Design:
    """Sizes of a planted task; amplitudes are peaks over the background's RMS."""

    window_s: float = 6.0
    burst_s: float = 1.5
    decoy_s: float = 1.2
    burst: tuple[float, float] = (1.8, 2.8)
    decoy: tuple[float, float] = (3.2, 4.6)
    sfreq: float = EEG_1020.sfreq

    @property
    def n_times(self) -> int:
        """Samples of a window."""
        return round(self.window_s * self.sfreq)


@dataclass(frozen=True, kw_only=True)
class Burst:
    """A burst and where it is."""

    start_s: float
    stop_s: float
    rate_hz: float
    channels: np.ndarray = field(repr=False)
    """bool, shape (n_chans,): those that show at least `REACH` of its largest amplitude."""
    data: np.ndarray = field(repr=False)
    """float32, shape (n_chans, n_times): the burst alone."""
    is_left: bool = True
    """Side of the head that it comes from."""


@dataclass(frozen=True, kw_only=True)
class PlantedWindow:
    """A window of EEG_1020 with its truth; the background's RMS is 1 on the median channel."""

    data: np.ndarray = field(repr=False)
    """float32, shape (n_chans, n_times)."""
    label: int
    """Number in `CLASSES`."""
    burst: Burst | None
    """What decides the class; None for "none"."""
    decoy: Burst

    @property
    def without(self) -> np.ndarray:
        """The same window without the deciding burst, shape (n_chans, n_times)."""
        return self.data if self.burst is None else self.data - self.burst.data

    def mask(self, sfreq: float) -> np.ndarray:
        """Return where the evidence is, bool, shape (n_chans, n_times); nowhere without a burst."""
        inside = np.zeros(self.data.shape, dtype=bool)
        if self.burst is not None:
            start, stop = round(self.burst.start_s * sfreq), round(self.burst.stop_s * sfreq)
            inside[self.burst.channels, start:stop] = True
        return inside


def backgrounds(seed: int | Sequence[int], n: int, design: Design) -> np.ndarray:
    """Return windows of `n` people without any burst, float32, shape (n, n_chans, n_times), RMS 1."""
    rng, rows = np.random.default_rng(seed), []
    for _ in range(n):
        subject, n_times, sfreq = draw_subject(rng), design.n_times, design.sfreq
        x = ongoing(rng, positions=_GRID, subject=subject, n_times=n_times, sfreq=sfreq)
        x = x + alpha(rng, positions=_GRID, subject=subject, n_times=n_times, sfreq=sfreq)[0]
        x = x - x.mean(axis=0)
        rows.append((x / np.median(x.std(axis=1))).astype(np.float32))
    return np.stack(rows)


def draw_window(
    rng: np.random.Generator, bank: np.ndarray, design: Design, *, label: int | None = None
) -> PlantedWindow:  # fmt: skip
    """Return a window on one of the bank's backgrounds, of a drawn class where none is given."""
    calm = bank[rng.integers(len(bank))] * np.float32(rng.choice([-1.0, 1.0]))
    label = int(rng.integers(len(CLASSES))) if label is None else label
    decoy, burst = _draw_decoy(rng, design), None
    while label and (burst is None or _meet(burst, decoy)):  # both anew: a decoy may leave no room
        decoy = _draw_decoy(rng, design)
        burst = _draw_burst(rng, design, BURST_HZ[CLASSES[label]], design.burst_s, design.burst)
    data = calm + decoy.data if burst is None else calm + decoy.data + burst.data
    return PlantedWindow(data=data, label=label, burst=burst, decoy=decoy)


def draw_batch(
    rng: np.random.Generator, bank: np.ndarray, n: int, design: Design
) -> tuple[np.ndarray, np.ndarray]:  # fmt: skip
    """Return (windows float32 (n, n_chans, n_times), labels int64 (n,))."""
    drawn = [draw_window(rng, bank, design) for _ in range(n)]
    return np.stack([window.data for window in drawn]), np.array([window.label for window in drawn])


def _draw_decoy(rng: np.random.Generator, design: Design) -> Burst:
    return _draw_burst(rng, design, DECOY_HZ[rng.integers(len(DECOY_HZ))], design.decoy_s, design.decoy)


def _draw_burst(
    rng: np.random.Generator, design: Design, band_hz: tuple[float, float], length_s: float, size: tuple[float, float]
) -> Burst:
    rate, start_s = float(rng.uniform(*band_hz)), float(rng.uniform(0.25, design.window_s - length_s - 0.25))
    focus = np.array(POSITIONS[FOCI[rng.integers(len(FOCI))]]) + rng.normal(0, 0.08, 3)
    scalp = scalp_field(_GRID, near(SOURCES, focus, 0.3))
    scalp = scalp - scalp.mean()
    scalp = scalp / np.abs(scalp).max()
    t = np.arange(design.n_times) / design.sfreq
    envelope = np.clip(np.minimum(t - start_s, start_s + length_s - t) / _EDGE_S, 0, 1)
    wave = rng.uniform(*size) * envelope * np.sin(2 * np.pi * rate * t + rng.uniform(0, 2 * np.pi))
    return Burst(
        start_s=start_s, stop_s=start_s + length_s, rate_hz=rate, channels=np.abs(scalp) >= REACH,
        data=np.outer(scalp, wave).astype(np.float32), is_left=bool(focus[0] < 0),
    )  # fmt: skip


def _meet(a: Burst, b: Burst) -> bool:
    """Return whether bursts come near each other in time or share a channel."""
    return bool(min(a.stop_s, b.stop_s) - max(a.start_s, b.start_s) > -_GAP_S or (a.channels & b.channels).any())
