"""One stretch of a trace on a flat page: the run of ink that belongs to it in every column, and its height.

A column of pixels may hold runs of ink of several traces and of text. The path through them that moves least, and
stays near its row, is the trace (Viterbi). Where the trace is steep its run is long.
"""

from dataclasses import dataclass

import numpy as np

from signals.paper.grid import FLAT_PX_PER_MM

_PER_MM = 1 / FLAT_PX_PER_MM
_GAP_COST, _LEVEL_COST, _MISS_COST, _MOVE_COST = 1.5, 0.01, 0.6, 0.05
"""Of a millimetre that the path jumps over, of one away from the row per column, of a column without ink, and of one
that the middle moves."""
_FREE_START = 0.1
_FINE = 4
_BEND = 2
"""Columns to either side that a bend is seen over."""


@dataclass(frozen=True)
class Runs:
    """Runs of ink, all columns in turn, in pixels from the top of what was looked at."""

    first: np.ndarray
    """Place of the first run of each column in the arrays below, shape (n_columns + 1,)."""
    top: np.ndarray
    """Upper edge, where ink passes half its level."""
    bottom: np.ndarray


def runs_of(ink: np.ndarray, level: float) -> Runs:
    """Return the runs of a part of a page above a level, with edges between pixels."""
    columns = np.ascontiguousarray(ink.T)
    inked = np.pad(columns > level, ((0, 0), (1, 1))).astype(np.int8)
    step = np.diff(inked, axis=1)
    at_column, begin = np.nonzero(step == 1)
    _, stop = np.nonzero(step == -1)
    padded = np.pad(columns, ((0, 0), (1, 1)))  # pixel i at i + 1
    inside, outside = padded[at_column, begin + 1], padded[at_column, begin]
    top = begin - _share(inside, outside, level)
    inside, outside = padded[at_column, stop], padded[at_column, stop + 1]
    bottom = stop - 1 + _share(inside, outside, level)
    first = np.searchsorted(at_column, np.arange(len(columns) + 1))
    return Runs(first, top, bottom)


def _share(inside: np.ndarray, outside: np.ndarray, level: float) -> np.ndarray:
    """Return how far from the inner pixel's centre to the outer one's the ink falls to the level."""
    return np.asarray((inside - level) / np.maximum(inside - outside, 1e-6))


def follow(runs: Runs, level_px: float) -> tuple[np.ndarray, np.ndarray]:
    """Return upper and lower edge of the trace in each column, nan where it has no ink, shape (n_columns,) each."""
    n_columns = len(runs.first) - 1
    top, bottom = np.full(n_columns, np.nan), np.full(n_columns, np.nan)
    # Upper edge, lower edge, cost. It may begin anywhere: a stretch may be cut out of the middle of a beat.
    states = [(level_px, level_px, 0.0)]
    back: list[list[tuple[int, int]]] = []  # of each state: the one before, and its run, -1 for none
    for column in range(n_columns):
        here, links = [], []
        for run in range(runs.first[column], runs.first[column + 1]):
            a, b = runs.top[run], runs.bottom[run]
            ease = 1.0 if column else _FREE_START
            costs = [cost + ease * _step(state_a, state_b, a, b) for state_a, state_b, cost in states]
            best = min(range(len(costs)), key=costs.__getitem__)
            away = max(a - level_px, level_px - b, 0.0) * _PER_MM
            here.append((a, b, costs[best] + _LEVEL_COST * away))
            links.append((best, run))
        best = min(range(len(states)), key=lambda i: states[i][2])
        here.append((states[best][0], states[best][1], states[best][2] + _MISS_COST))
        links.append((best, -1))
        states = here
        back.append(links)
    state = min(range(len(states)), key=lambda i: states[i][2])
    for column in range(n_columns - 1, -1, -1):
        before, run = back[column][state]
        if run >= 0:
            top[column], bottom[column] = runs.top[run], runs.bottom[run]
        state = before
    return top, bottom


def _step(a0: float, b0: float, a1: float, b1: float) -> float:
    gap = max(a1 - b0, a0 - b1, 0.0)
    return _PER_MM * (_GAP_COST * gap + _MOVE_COST * abs(a1 + b1 - a0 - b0) / 2)


def heights(top: np.ndarray, bottom: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return columns, _FINE to a pixel, and the trace's place in each, pixels, from the edges of its ink.

    Columns without ink are left out. Ink is the trace widened by a round pen (a dilation). The pen's shape is taken off
    both edges: the upper one is then right wherever the trace bends down, the lower one wherever it bends up, both
    where it is straight.
    """
    radius = float(np.nanquantile(bottom - top, 0.1)) / 2
    inked = np.flatnonzero(np.isfinite(top))
    columns = np.arange(inked[0] * _FINE, inked[-1] * _FINE + 1) / _FINE
    upper = -_without_pen(-np.interp(columns, inked, top[inked]), radius)
    lower = _without_pen(np.interp(columns, inked, bottom[inked]), radius)
    middle = (upper + lower) / 2
    bend = _BEND * _FINE
    around = np.pad(middle, bend, mode="edge")
    bends_down = middle <= (around[: -2 * bend] + around[2 * bend :]) / 2  # y points down
    place = np.where(upper >= lower, middle, np.where(bends_down, upper, lower))
    has_ink = np.isfinite(top)[np.round(columns).astype(int)]
    return columns[has_ink], place[has_ink]


def _without_pen(edge: np.ndarray, radius: float) -> np.ndarray:
    """Return an edge of larger values outside, less the disc that widened it: an erosion."""
    reach = int(radius * _FINE)
    padded = np.pad(edge, reach, constant_values=np.inf)
    shifted = [
        padded[reach + d : reach + d + len(edge)] - np.sqrt(radius**2 - (d / _FINE) ** 2)
        for d in range(-reach, reach + 1)
    ]
    return np.asarray(np.minimum.reduce(shifted))
