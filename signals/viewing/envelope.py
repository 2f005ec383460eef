"""Minimum and maximum of stretches of samples: what a pixel column shows of them, so that no extreme is lost."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np

from signals.viewing.traces import Traces

BIN = 64
"""Samples of a bin: a column of the overview is a whole number of them."""
_BLOCK_BINS = 1 << 11


@dataclass(frozen=True, kw_only=True)
class Envelope:
    """Smallest and largest sample of each bin, float32, shape (n_rows, n_bins); NaN where a bin holds none."""

    low: np.ndarray
    high: np.ndarray

    @property
    def n_bytes(self) -> int:
        """Memory."""
        return int(self.low.nbytes + self.high.nbytes)

    def columns(self, n_bins: int, first: int, n_columns: int) -> np.ndarray:
        """Return columns [first, first + n_columns) of `n_bins` bins each, shape (n_rows, n_columns, 2)."""
        return _stacked(*(_reduced(x, n_bins, first, n_columns, f) for x, f in self._parts()))

    def _parts(self) -> tuple[tuple[np.ndarray, np.ufunc], ...]:
        return (self.low, np.fmin), (self.high, np.fmax)


def columns_of(x: np.ndarray, step: int) -> np.ndarray:
    """Return the extremes of every `step` samples, float32, shape (n_rows, n_columns, 2); the last may hold fewer."""
    n_columns = -(-x.shape[-1] // step)
    return _stacked(*(_reduced(x, step, 0, n_columns, f) for f in (np.fmin, np.fmax)))


def envelope_of(
    traces: Traces,
    *,
    mapped: Callable[[Callable[[int], None], Iterable[int]], Iterable[None]] = map,
    progress: Callable[[float], None] = lambda share: None,
) -> Envelope:
    """Return the envelope of a whole recording, read in blocks by `mapped`; `progress` gets the share that is done."""
    n_bins, n_block = -(-traces.n_times // BIN), _BLOCK_BINS * BIN
    low, high = (np.full((traces.n_rows, n_bins), np.nan, dtype=np.float32) for _ in range(2))

    def block(start: int) -> None:
        if traces.has_samples(start, start + n_block):
            fill(low, high, start, traces.read(start, min(start + n_block, traces.n_times)))

    starts = range(0, traces.n_times, n_block)
    for number, _ in enumerate(mapped(block, starts)):
        progress((number + 1) / len(starts))
    return Envelope(low=low, high=high)


def fill(low: np.ndarray, high: np.ndarray, start: int, x: np.ndarray) -> None:
    """Write the extremes of samples that begin at `start`, a multiple of BIN, into their bins."""
    n_bins = -(-x.shape[-1] // BIN)
    at = slice(start // BIN, start // BIN + n_bins)
    low[:, at] = _reduced(x, BIN, 0, n_bins, np.fmin)
    high[:, at] = _reduced(x, BIN, 0, n_bins, np.fmax)


def _stacked(low: np.ndarray, high: np.ndarray) -> np.ndarray:
    return np.stack([low, high], axis=-1)


def _reduced(x: np.ndarray, step: int, first: int, n_columns: int, reduce: np.ufunc) -> np.ndarray:
    """Return `reduce` over every `step` entries from first x step on; NaN beyond the end."""
    part = x[:, first * step : (first + n_columns) * step]
    if missing := n_columns * step - part.shape[-1]:
        part = np.pad(part, [(0, 0), (0, missing)], constant_values=np.nan)
    return np.asarray(reduce.reduce(part.reshape(len(x), n_columns, step), axis=-1))
