"""Ink and grid of a scanned page, apart: the trace is dark in every colour, the grid in some, a shadow in none.

Both are relative to the paper around them, so that uneven light goes. Images are uint8, shape (height, width, 3).
"""

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

_BLOCK = 16
"""Pixels of a side of the squares that paper's brightness is taken from: each holds bare paper."""
_LEAST_INK = 0.25
"""Darkness that is no ink's, whatever the page."""


class UnreadablePageError(ValueError):
    """A picture that is not read as an electrocardiogram; its message is one line."""


@dataclass(frozen=True)
class Darkness:
    """How dark each pixel is against its paper, float32, shape (height, width): 0 bare, 1 black."""

    ink: np.ndarray
    """In the colour that is brightest there: coloured lines hardly count."""
    grid: np.ndarray
    """In the colour that is darkest there, 0 where there is ink."""
    level: float
    """Half of the usual ink."""


def darkness(image: np.ndarray) -> Darkness:
    """Return ink and grid of an image; raises UnreadablePageError where nothing is drawn on it."""
    brightest, darkest = image.max(axis=2).astype(np.float32), image.min(axis=2).astype(np.float32)
    ink = np.clip(1 - brightest / _paper(brightest), 0, 1)
    dark = ink[ink > _LEAST_INK]
    if dark.size < 1e-4 * ink.size:
        raise UnreadablePageError("no trace found: nothing on the page is dark against its paper")
    level = max(0.5 * float(np.quantile(dark, 0.8)), 0.8 * _LEAST_INK)
    grid = np.clip(1 - darkest / _paper(darkest), 0, 1)
    grid[ndimage.binary_dilation(ink > 0.6 * level, iterations=2)] = 0
    return Darkness(ink, np.minimum(grid, 0.5), level)


def _paper(values: np.ndarray) -> np.ndarray:
    """Return the brightness of bare paper at each pixel."""
    height, width = values.shape
    padded = np.pad(values, ((0, -height % _BLOCK), (0, -width % _BLOCK)), mode="edge")
    blocks = padded.reshape(padded.shape[0] // _BLOCK, _BLOCK, -1, _BLOCK)
    bright = np.quantile(blocks, 0.8, axis=(1, 3)) if blocks.size < 1 else np.partition(
        blocks.transpose(0, 2, 1, 3).reshape(blocks.shape[0], blocks.shape[2], -1), int(0.8 * _BLOCK**2), axis=-1
    )[..., int(0.8 * _BLOCK**2)]  # fmt: skip
    smooth = ndimage.gaussian_filter(ndimage.median_filter(bright, 3), 0.7)
    at_y = (np.arange(height) + 0.5) / _BLOCK - 0.5
    at_x = (np.arange(width) + 0.5) / _BLOCK - 0.5
    return np.maximum(_between(_between(smooth, at_y).T, at_x).T, 8.0)


def _between(values: np.ndarray, at: np.ndarray) -> np.ndarray:
    """Return rows of an array at fractional places, linearly."""
    low = np.clip(np.floor(at).astype(int), 0, len(values) - 2)
    share = np.clip(at - low, 0, 1).astype(np.float32)[:, None]
    return np.asarray(values[low] * (1 - share) + values[low + 1] * share)
