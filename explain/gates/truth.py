"""Does an explanation point at evidence whose place is known? Pointing game, AUPRC, IoU, and what amplitude gives.

Everything is counted on cells of one channel by one step (`explain.explanation.STEP_S`); only evidence for the class,
above 0, counts.
"""

from dataclasses import dataclass, field

import numpy as np

from explain.explanation import STEP_S, Explanation, in_steps

MARGIN_S = 0.25
"""How far the strongest step may lie outside of the evidence, on either side."""


@dataclass(frozen=True, kw_only=True)
class Truth:
    """Where the evidence of one window is."""

    start_s: float
    stop_s: float
    channels: np.ndarray = field(repr=False)
    """bool, shape (n_chans,)."""
    rate_hz: float
    is_left: bool

    def cells(self, n_steps: int) -> np.ndarray:
        """Return the cells that lie in the evidence by half or more, bool, shape (n_chans, n_steps)."""
        starts = np.arange(n_steps) * STEP_S
        inside = np.minimum(starts + STEP_S, self.stop_s) - np.maximum(starts, self.start_s)
        return np.asarray(self.channels[:, None] & (inside >= STEP_S / 2)[None])


@dataclass(frozen=True, kw_only=True)
class Hits:
    """How one explanation does on one window; nan where it does not tell such parts apart."""

    time: float
    hemisphere: float
    channel: float
    band: float
    auprc: float
    """Average precision of cells over the share of cells that are evidence."""
    iou: float
    gain: float
    """Average precision less that of the better of amplitude and line length."""


def hits(explanation: Explanation, truth: Truth, x: np.ndarray, *, sfreq: float, x_left: np.ndarray) -> Hits:
    """Return how an explanation of window x (n_chans, n_times) does; x_left (n_chans,) has the channels' place,
    below 0 on the left."""
    found = np.maximum(explanation.channels_steps, 0)
    cells = truth.cells(found.shape[1])
    precision = average_precision(found, cells)
    by_amplitude = max(average_precision(each, cells) for each in trivial_maps(x, sfreq))
    nan = float("nan")
    return Hits(
        time=_time(found.sum(axis=0), truth),
        hemisphere=_hemisphere(found.sum(axis=1), truth, x_left) if explanation.has_channels else nan,
        channel=float(truth.channels[found.sum(axis=1).argmax()]) if explanation.has_channels else nan,
        band=_band(explanation, truth) if explanation.bands else nan,
        auprc=precision / cells.mean(),
        iou=overlap(found, cells),
        gain=precision - by_amplitude,
    )


def trivial_maps(x: np.ndarray, sfreq: float) -> tuple[np.ndarray, np.ndarray]:
    """Return what draws amplitude and nothing else: the mean |x| and the line length of each cell."""
    length = np.abs(np.diff(x, axis=1, prepend=x[:, :1]))
    return in_steps(np.abs(x), sfreq), in_steps(length, sfreq)


def average_precision(scores: np.ndarray, positive: np.ndarray) -> float:
    """Return the area below precision over recall, cells of equal score counted together (as scikit-learn does).

    Raises ValueError where no cell is positive.
    """
    scores, positive = scores.ravel(), positive.ravel()
    if not positive.any():
        raise ValueError("no cell is evidence: precision and recall are undefined")
    order = np.argsort(-scores, kind="stable")
    found = np.cumsum(positive[order])
    last = np.flatnonzero(np.diff(scores[order], append=-np.inf))
    precision = found[last] / (last + 1)
    return float((np.diff(found[last], prepend=0) * precision).sum() / positive.sum())


def overlap(scores: np.ndarray, positive: np.ndarray) -> float:
    """Return intersection over union of the evidence with as many of the strongest cells as it has."""
    n = int(positive.sum())
    chosen = np.zeros(scores.size, dtype=bool)
    chosen[np.argsort(-scores.ravel(), kind="stable")[:n]] = True
    both = int((chosen & positive.ravel()).sum())
    return both / max(2 * n - both, 1)


def _time(per_step: np.ndarray, truth: Truth) -> float:
    at = (int(per_step.argmax()) + 0.5) * STEP_S
    return float(per_step.max() > 0 and truth.start_s - MARGIN_S <= at <= truth.stop_s + MARGIN_S)


def _hemisphere(per_channel: np.ndarray, truth: Truth, x_left: np.ndarray) -> float:
    left, right = per_channel[x_left < 0].sum(), per_channel[x_left > 0].sum()
    return float(left > right) if truth.is_left else float(right > left)


def _band(explanation: Explanation, truth: Truth) -> float:
    low, high = explanation.bands[int(explanation.per_band.argmax())]
    return float(low <= truth.rate_hz < high)
