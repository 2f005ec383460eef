"""What was read of a page, drawn over the page: for a person who checks it."""

import numpy as np

from signals.modality import ECG_12
from signals.paper.digitise import Digitised
from signals.paper.grid import FLAT_PX_PER_MM
from signals.paper.layout import LAYOUTS

_COARSE = 3
"""Pixels of the flat page per pixel of the picture."""
_BARE = 0.25
"""Share of full ink that is none."""
_COLOURS = ((214, 39, 40), (31, 119, 180))
"""Of one lead and the next."""


def overlay(page: Digitised) -> np.ndarray:
    """Return the flat page's ink in grey and each lead in colour over it, uint8, shape (height, width, 3)."""
    height, width = (n // _COARSE for n in page.flat.ink.shape)
    ink = page.flat.ink[: height * _COARSE, : width * _COARSE].reshape(height, _COARSE, width, _COARSE)
    dark = np.minimum(ink.mean(axis=(1, 3)) / (2 * page.flat.level), 1.0)
    picture = np.repeat(np.round(255 - 110 * np.where(dark < _BARE, 0.0, dark))[..., None], 3, axis=2).astype(np.uint8)
    for number, place in enumerate(LAYOUTS[page.layout].stretches(page.scale.shown_s)):
        at = np.arange(round(place.start_s * page.sfreq), round(place.stop_s * page.sfreq))
        x = page.rows.x0_px[place.row] + at / page.sfreq * page.scale.speed * FLAT_PX_PER_MM
        values = page.x_mv[ECG_12.ch_names.index(place.lead), at]
        y = page.rows.level_px[place.row] - values * page.scale.gain * FLAT_PX_PER_MM
        _line(picture, x / _COARSE, y / _COARSE, _COLOURS[number % len(_COLOURS)])
    return picture


def _line(picture: np.ndarray, x: np.ndarray, y: np.ndarray, colour: tuple[int, int, int]) -> None:
    """Draw a line whose x grows, one pixel wide; it breaks where y is nan."""
    known = np.isfinite(y)
    for at in np.flatnonzero(known[:-1] & known[1:]):
        top, bottom = sorted((y[at], y[at + 1]))
        rows = slice(max(int(top), 0), max(int(bottom) + 1, 0))
        picture[rows, max(int(x[at]), 0)] = colour
