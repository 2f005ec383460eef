"""The grid of a page: how many pixels a millimetre is, how the page is turned, and the page made flat.

Lines a millimetre apart are a carrier in two directions. Its frequency is a peak of the picture's spectrum: period and
rotation at once. Its phase, square by square, is the place on the paper in millimetres, so that perspective and a
curled page are seen as well; a smooth map from paper to picture is fitted to it, and the ink is read through the map.
"""

import heapq
from dataclasses import dataclass

import numpy as np
from scipy import fft, ndimage

from signals.paper.ink import Darkness, UnreadablePageError

_TILE = 48
"""Pixels of a side of the squares that the phase is taken over."""
_PERIODS_PX = (2.5, 30.0)
"""Of lines a millimetre apart, and of those five apart in a coarse picture."""
_WIDTH_MM = (110.0, 420.0)
"""Of a page."""
_MOST_SPECTRUM_PX = 2048
_LEAST_PROMINENCE = 8.0
FLAT_PX_PER_MM = 12.0


@dataclass(frozen=True)
class Flat:
    """A page's ink as if scanned without turn and tilt."""

    ink: np.ndarray
    """As in `Darkness`, shape (height, width), FLAT_PX_PER_MM pixels a millimetre."""
    level: float
    px_per_mm: float
    """Of the picture."""
    rotation_deg: float
    """Of the page in the picture, anticlockwise, within 45°."""


def flatten(dark: Darkness) -> Flat:
    """Return a page's ink, flat; raises UnreadablePageError where there is no grid of millimetres."""
    across, down = _carriers(dark.grid)
    tiles_u, tiles_v = _phases(dark.grid, across), _phases(dark.grid, down)
    good = np.isfinite(tiles_u) & np.isfinite(tiles_v)
    if good.sum() < 40:
        raise UnreadablePageError("no grid found: lines a millimetre apart are seen on too little of the page")
    rows, columns = np.nonzero(good)
    xy = np.stack([(columns + 0.5) * _TILE - 0.5, (rows + 0.5) * _TILE - 0.5], axis=1)
    uv = np.stack([tiles_u[good], tiles_v[good]], axis=1)
    to_picture = _Map(uv, xy)
    period = 1 / np.hypot(*across)
    margin = _TILE / period
    low, high = uv.min(axis=0) - margin, uv.max(axis=0) + margin
    n = np.ceil((high - low) * FLAT_PX_PER_MM).astype(int)
    u, v = (low[axis] + (np.arange(n[axis]) + 0.5) / FLAT_PX_PER_MM for axis in (0, 1))
    x, y = to_picture.on_lattice(u, v)
    ink = ndimage.map_coordinates(dark.ink, [y, x], order=1, mode="constant", cval=0.0)
    return Flat(ink, dark.level, float(period), -float(np.degrees(np.arctan2(across[1], across[0]))))


def _carriers(grid: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the frequencies (x, y) in 1/pixel of lines that follow each other to the right and downwards."""
    height, width = (min(n, _MOST_SPECTRUM_PX) for n in grid.shape)
    top, left = (grid.shape[0] - height) // 2, (grid.shape[1] - width) // 2
    part = grid[top : top + height, left : left + width]
    window = np.hanning(height)[:, None].astype(np.float32) * np.hanning(width)[None, :].astype(np.float32)
    size = np.abs(fft.rfft2((part - part.mean()) * window))
    fy, fx = np.meshgrid(fft.fftfreq(height), fft.rfftfreq(width), indexing="ij")
    radius = np.hypot(fx, fy)
    in_reach = (radius > 1 / _PERIODS_PX[1]) & (radius < 1 / _PERIODS_PX[0])
    across = _peak(size, in_reach & (np.abs(fy) <= fx), fx, fy)
    beside = np.abs(fx * across[0] + fy * across[1]) < 0.12 * radius * np.hypot(*across)
    near = np.abs(radius / np.hypot(*across) - 1) < 0.15
    down = _peak(size, in_reach & beside & near, fx, fy)
    down = down if down[1] > 0 else -down
    # Of blurred pictures the lines five apart may be the stronger ones: the page's width decides.
    for factor in (1.0, 5.0):
        if _WIDTH_MM[0] <= max(grid.shape) * np.hypot(*across) * factor <= _WIDTH_MM[1]:
            return across * factor, down * factor
    width_mm = max(grid.shape) * np.hypot(*across)
    raise UnreadablePageError(
        f"no grid found: by its strongest lines the page would be {width_mm:.0f} mm wide, "
        f"not {_WIDTH_MM[0]:.0f}-{_WIDTH_MM[1]:.0f}"
    )


def _peak(size: np.ndarray, allowed: np.ndarray, fx: np.ndarray, fy: np.ndarray) -> np.ndarray:
    """Return the frequency of the largest value among those allowed, between bins."""
    values = np.where(allowed, size, 0.0)
    row, column = np.unravel_index(np.argmax(values), values.shape)
    if not values[row, column] > _LEAST_PROMINENCE * np.median(size[allowed]):
        raise UnreadablePageError("no grid found: nothing on the page repeats every millimetre")
    place = []
    for axis, at in ((0, row), (1, column)):
        n = size.shape[axis]
        sides = [size[(at + d) % n, column] if axis == 0 else size[row, min(at + d, n - 1)] for d in (-1, 0, 1)]
        bend = sides[0] - 2 * sides[1] + sides[2]
        place.append(0.5 * (sides[0] - sides[2]) / bend if bend else 0.0)
    step_y, step_x = fy[1, 0] - fy[0, 0], fx[0, 1] - fx[0, 0]
    return np.array([fx[row, column] + place[1] * step_x, fy[row, column] + place[0] * step_y])


def _phases(grid: np.ndarray, carrier: np.ndarray) -> np.ndarray:
    """Return the place of each square's centre along a carrier in its periods, nan where the lines are not seen."""
    n_rows, n_columns = (n // _TILE for n in grid.shape)
    part = grid[: n_rows * _TILE, : n_columns * _TILE]
    x, y = np.arange(part.shape[1]), np.arange(part.shape[0])
    wave_x, wave_y = (np.exp(-2j * np.pi * f * at).astype(np.complex64) for f, at in zip(carrier, (x, y), strict=True))
    by_column = (part * wave_x).reshape(len(y), n_columns, _TILE).sum(axis=2)
    sums = (by_column * wave_y[:, None]).reshape(n_rows, _TILE, n_columns).sum(axis=1)
    size = np.abs(sums)
    seen = size > 0.3 * np.quantile(size, 0.8)
    turns = _unwrapped(np.angle(sums) / (2 * np.pi), np.where(seen, size, 0.0))
    centre_x, centre_y = ((np.arange(n) + 0.5) * _TILE - 0.5 for n in (n_columns, n_rows))
    return np.asarray(carrier[0] * centre_x + carrier[1] * centre_y[:, None] + turns)


def _unwrapped(turns: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Return phases in turns without jumps, from the middle outwards, the surest neighbour first; nan for weight 0.

    Parts that no neighbour leads to go on from the nearest square that is known.
    """
    shape, result = turns.shape, np.full(turns.shape, np.nan)
    central = np.where(weight > 0.6 * weight.max(), np.hypot(*(np.indices(shape).T - np.array(shape) / 2).T), np.inf)
    start = _place(np.argmin(central), shape)
    near = float(turns[start])
    while True:
        _spread(turns, weight, result, start, near)
        missing = (weight > 0) & ~np.isfinite(result)
        if not missing.any():
            return result
        away, places = ndimage.distance_transform_edt(~np.isfinite(result), return_indices=True)
        start = _place(np.argmin(np.where(missing, away, np.inf)), shape)
        near = float(result[places[0][start], places[1][start]])


def _place(index: np.integer, shape: tuple[int, ...]) -> tuple[int, int]:
    row, column = np.unravel_index(index, shape)
    return int(row), int(column)


def _spread(turns: np.ndarray, weight: np.ndarray, result: np.ndarray, start: tuple[int, int], near: float) -> None:
    """Fill in the squares that neighbours of a first one lead to; `near` is what the first one's phase is close to."""
    queue = [(-float(weight[start]), start, near)]
    while queue:
        _, (row, column), near = heapq.heappop(queue)
        if np.isfinite(result[row, column]):
            continue
        here = turns[row, column]
        result[row, column] = here + round(near - here)
        for r, c in ((row - 1, column), (row + 1, column), (row, column - 1), (row, column + 1)):
            if 0 <= r < turns.shape[0] and 0 <= c < turns.shape[1] and weight[r, c] > 0:
                heapq.heappush(queue, (-float(weight[r, c]), (r, c), float(result[row, column])))


class _Map:
    """A cubic map from paper, mm, to the picture, fitted to places that are known on both; outliers are left out."""

    _POWERS = tuple((i, j) for i in range(4) for j in range(4 - i))

    def __init__(self, uv: np.ndarray, xy: np.ndarray) -> None:
        self.centre, self.half = uv.mean(axis=0), np.ptp(uv, axis=0) / 2 + 1e-9
        terms = self._terms(*((uv - self.centre) / self.half).T)
        kept = np.ones(len(uv), dtype=bool)
        for _ in range(3):
            self.weights = np.linalg.lstsq(terms[kept], xy[kept], rcond=None)[0]
            error = np.hypot(*(terms @ self.weights - xy).T)
            kept = error <= max(4 * float(np.median(error[kept])), 0.3)

    @staticmethod
    def _terms(u: np.ndarray, v: np.ndarray) -> np.ndarray:
        return np.stack([u**i * v**j for i, j in _Map._POWERS], axis=-1)

    def on_lattice(self, u: np.ndarray, v: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return x and y in the picture of all pairs of places, shape (len(v), len(u)) each."""
        powers_u = np.stack([((u - self.centre[0]) / self.half[0]) ** i for i in range(4)])
        powers_v = np.stack([((v - self.centre[1]) / self.half[1]) ** j for j in range(4)])
        table = np.zeros((2, 4, 4))
        for (i, j), weight in zip(self._POWERS, self.weights, strict=True):
            table[:, i, j] = weight
        x, y = (powers_v.T @ (one.T @ powers_u) for one in table)
        return x.astype(np.float32), y.astype(np.float32)
