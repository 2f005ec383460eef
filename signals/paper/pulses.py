"""Calibration pulses of a flat page: they give gain and speed, the rows, each row's 0 mV and where its traces begin."""

from dataclasses import dataclass
from itertools import product

import numpy as np
from scipy import ndimage, signal

from signals.paper.grid import FLAT_PX_PER_MM, Flat
from signals.paper.ink import UnreadablePageError
from signals.paper.layout import GAINS, LEAD_IN_MM, SPEEDS, PaperScale

_LEAST_SCORE = 0.62
_SEARCH_MM = 110.0
"""From the left side of what is seen."""
_LEAST_ROWS = 3
_APART_MM = 4.0
"""Least distance of two rows."""


@dataclass(frozen=True)
class Rows:
    """Where rows lie on a flat page, in its pixels."""

    scale: PaperScale
    x0_px: np.ndarray
    """Place of each row's first sample."""
    level_px: np.ndarray
    """Place of each row's 0 mV."""
    score: float
    """How well the pulses agree with their drawing, 0-1."""

    @property
    def px_per_s(self) -> float:
        """Pixels of the flat page per second."""
        return self.scale.speed * FLAT_PX_PER_MM


def find_rows(flat: Flat, *, speed: float | None = None, gain: float | None = None) -> Rows:
    """Return the rows that calibration pulses begin; raises UnreadablePageError where there are none.

    A speed or gain that is given is taken as it is, and pulses of others are not looked for.
    """
    part = np.minimum(flat.ink[:, : round(_SEARCH_MM * FLAT_PX_PER_MM)] / flat.level, 1.0)
    near = ndimage.maximum_filter(part, 3)
    found = [
        rows
        for s, g in product(SPEEDS if speed is None else (speed,), GAINS if gain is None else (gain,))
        if (rows := _of_scale(part, near, PaperScale(s, g))) is not None
    ]
    if not found:
        raise UnreadablePageError(
            "no calibration pulses of 1 mV and 0.2 s found at the left of the rows: gain, speed and rows are unknown"
        )
    return max(found, key=lambda rows: rows.score)


def _of_scale(part: np.ndarray, near: np.ndarray, scale: PaperScale) -> Rows | None:
    """Return the rows whose pulses are of a scale, one above the other."""
    on, off, foot = _drawing(scale)
    if near.shape[0] < on.shape[0] or near.shape[1] < on.shape[1]:
        return None
    score = signal.fftconvolve(near, on[::-1, ::-1], "valid") - signal.fftconvolve(part, off[::-1, ::-1], "valid")
    peaks = _peaks(score)
    if not len(peaks):
        return None
    best = peaks[np.argmax(score[peaks[:, 0], peaks[:, 1]])]
    aligned = peaks[np.abs(peaks[:, 1] - best[1]) <= 2.0 * FLAT_PX_PER_MM]
    if len(aligned) < _LEAST_ROWS:
        return None
    aligned = aligned[np.argsort(aligned[:, 0])]
    placed = np.array([_placed(part, scale, (y + foot[0], x + foot[1])) for y, x in aligned])
    width = scale.pulse_mm[0] + LEAD_IN_MM
    return Rows(
        scale, placed[:, 1] + width * FLAT_PX_PER_MM, placed[:, 0],
        float(np.median(score[aligned[:, 0], aligned[:, 1]])),
    )  # fmt: skip


def _placed(part: np.ndarray, scale: PaperScale, foot: tuple[float, float]) -> tuple[float, float]:
    """Return the foot (y, x) of a pulse's rising edge between pixels, from the middles of its lines' ink."""
    width, height = (mm * FLAT_PX_PER_MM for mm in scale.pulse_mm)
    y, x, reach = round(foot[0]), round(foot[1]), round(FLAT_PX_PER_MM)
    sides = slice(max(y - round(0.75 * height), 0), max(y - round(0.25 * height), 1))
    edges = [_middle(part[sides, x + at - reach : x + at + reach + 1].sum(axis=0)) for at in (0, round(width))]
    at_x = x + (edges[0] + edges[1] + round(width) - width) / 2
    feet = np.concatenate([np.arange(x - reach, x - 3), np.arange(x + round(width) + 4, x + round(width) + reach + 1)])
    return y + _middle(part[y - reach : y + reach + 1, feet].sum(axis=1)), at_x


def _middle(ink: np.ndarray) -> float:
    """Return the centre of what stands above the least, from the middle of the array."""
    above = ink - ink.min()
    return float((above * (np.arange(len(ink)) - len(ink) // 2)).sum() / max(above.sum(), 1e-9))


def _drawing(scale: PaperScale) -> tuple[np.ndarray, np.ndarray, tuple[float, float]]:
    """Return weights of where a pulse has ink and where it has none, each of sum 1, and the rising edge's foot."""
    width, height = (round(mm * FLAT_PX_PER_MM) for mm in scale.pulse_mm)
    lead, pad = round(0.7 * LEAD_IN_MM * FLAT_PX_PER_MM), round(1.5 * FLAT_PX_PER_MM)
    on = np.zeros((height + 2 * pad + 1, width + 2 * lead + 1), dtype=np.float32)
    top, bottom, left, right = pad, pad + height, lead, lead + width
    on[top, left : right + 1] = on[top : bottom + 1, left] = on[top : bottom + 1, right] = 1
    on[bottom, : left + 1] = on[bottom, right:] = 1
    reach = ndimage.binary_dilation(on > 0, iterations=round(0.6 * FLAT_PX_PER_MM))
    off = ndimage.binary_dilation(on > 0, iterations=round(1.5 * FLAT_PX_PER_MM)) & ~reach
    return on / on.sum(), off.astype(np.float32) / off.sum(), (float(bottom), float(left))


def _peaks(score: np.ndarray) -> np.ndarray:
    """Return places (y, x) of local maxima above the limit."""
    size = round(_APART_MM * FLAT_PX_PER_MM)
    largest = ndimage.maximum_filter(score, (2 * size + 1, 2 * size + 1))
    return np.argwhere((score == largest) & (score > _LEAST_SCORE))
