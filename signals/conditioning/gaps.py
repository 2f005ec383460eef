"""What stands in for missing samples, so that filters and detectors run over them."""

from collections.abc import Iterator

import numpy as np

BRIDGE_S = 20.0
"""Longest loss that a straight line bridges; beyond a longer one's ends the signal fades out within half of it.

A line needs both ends of a loss, a fade one: what stands in for a sample depends on nothing further away than this, so
that blocks equal the whole however long a loss is. The fade is slow enough for the band-pass from 0.5 Hz: of a level of
1,000 µV, 5 µV reach the samples beside the loss.
"""


def bridge(x: np.ndarray, missing: np.ndarray) -> np.ndarray:
    """Return a copy of x, shape (..., n_times), with straight lines across what is missing; zeros if nothing is left.

    A gap at an end takes the nearest sample that is there.
    """
    bridged, at = x.copy(), np.arange(x.shape[-1])
    for index in zip(*np.nonzero(missing.any(axis=-1)), strict=True):
        holes, row = missing[index], bridged[index]
        row[holes] = 0.0 if holes.all() else np.interp(at[holes], at[~holes], row[~holes])
    return bridged


def fill(
    x: np.ndarray, missing: np.ndarray, sfreq: float, *, levels: np.ndarray, from_start: bool, to_end: bool
) -> np.ndarray:
    """Return a copy of x, shape (n_chans, n_times), in which every missing sample depends on its surroundings alone.

    Losses of up to `BRIDGE_S` are bridged as by `bridge`. In longer ones the signal fades from either end to the
    channel's level, `levels`, shape (n_chans,). `from_start` and `to_end` tell whether x begins and ends where its
    segment does: a loss that reaches another end of x counts as longer, which is right for samples `BRIDGE_S` or more
    away from that end.
    """
    n_bridge = round(BRIDGE_S * sfreq)
    filled, n_times = bridge(x, missing), x.shape[-1]
    for row, level, holes in zip(filled, levels, missing, strict=True):
        for start, stop in _runs(holes):
            is_cut = (start == 0 and not from_start) or (stop == n_times and not to_end)
            if stop - start > n_bridge or is_cut or stop - start == n_times:
                row[start:stop] = level + _fades(row, start, stop, level, n_bridge // 2)
    return filled


def _runs(flags: np.ndarray) -> Iterator[tuple[int, int]]:
    """Yield [start, stop) of each run of true values."""
    edges = np.flatnonzero(np.diff(np.concatenate([[0], flags.astype(np.int8), [0]])))
    yield from zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True)


def _fades(row: np.ndarray, start: int, stop: int, level: float, n_fade: int) -> np.ndarray:
    """Return what the samples beside a loss leave in it, less the level, float64, shape (stop - start,)."""
    away = np.arange(1, stop - start + 1)
    fade = np.where(away < n_fade, 0.5 + 0.5 * np.cos(np.pi * away / max(n_fade, 1)), 0.0)
    left = row[start - 1] - level if start > 0 else 0.0
    right = row[stop] - level if stop < len(row) else 0.0
    return np.asarray(left * fade + right * fade[::-1])
