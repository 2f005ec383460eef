"""A stretch of a recording at the modality's rate and band, in blocks with a halo that equal the recording taken whole.

The chain harmonises the channels, then filters and resamples in one pass (`signals.conditioning.rate_filter`). All
of it is linear, so channels are combined on the side where there are fewer of them. Its reach is finite, so output
samples [start, stop) depend on a known range of native samples. Beyond a segment's ends the signal is continued by
odd reflection.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from signals.conditioning.filters import ANTIALIAS_DB, reflect
from signals.conditioning.rate_filter import RateFilter
from signals.montage.montage import Harmoniser


@dataclass(frozen=True, kw_only=True)
class Conditioner:
    """Channels, rate and band of one recording."""

    harmoniser: Harmoniser
    native_sfreq: float
    sfreq: float
    band: tuple[float, float]
    mains_hz: float | None
    offsets: tuple[float, ...]
    """One a pick, in the source's unit, taken off before the filters.

    Transforms in float32 lose digits on offsets of thousands of µV. One number for the whole recording, or blocks would
    differ.
    """
    antialias_db: float = ANTIALIAS_DB
    """Attenuation of what both rates cannot hold, dB."""

    @cached_property
    def rate_filter(self) -> RateFilter:
        """The time axis of the chain."""
        return RateFilter(
            native_sfreq=self.native_sfreq,
            sfreq=self.sfreq,
            band=self.band,
            mains_hz=self.mains_hz,
            antialias_db=self.antialias_db,
        )

    def n_times(self, n_native: int) -> int:
        """Return how many samples a segment of `n_native` samples has at the target rate."""
        up, down = self.rate_filter.ratio
        return n_native * up // down

    def block(
        self, read: Callable[[int, int], np.ndarray], n_native: int, start: int, stop: int
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return the modality's channels, samples [start, stop) at the target rate, and where the source had none.

        `read(first, last)` gives native samples of the harmoniser's used picks in a gap-free segment of `n_native`,
        shape (n_picks, last - first), NaN where missing. Both results have shape (n_chans, stop - start): float32 in
        the source's unit, and bool.
        """
        first, last = self.rate_filter.span(start, stop)
        used = self.harmoniser.used
        x = read(max(first, 0), min(last, n_native)).astype(np.float32, copy=False)
        missing = np.isnan(x) if np.isnan(x.sum()) else None
        if missing is not None:
            x = _fill(x, missing)
        matrix = self.harmoniser.matrix[:, used]
        offsets = np.array(self.offsets)[used]
        fewer_after = len(matrix) <= len(used)
        if fewer_after:
            x, offsets = _combine(matrix, x), matrix @ offsets
        x = _continue(x, max(-first, 0), max(last - n_native, 0))
        y = self.rate_filter.apply(x, start, stop, offsets=offsets)
        y = y if fewer_after else _combine(matrix, y)
        if missing is None:
            return y, np.zeros(y.shape, dtype=bool)
        up, down = self.rate_filter.ratio
        source_missing = _missing_at(missing, max(first, 0), np.arange(start, stop) * down // up)
        return y, (self.harmoniser.depends[:, used].astype(np.float32) @ source_missing.astype(np.float32)) > 0


def _combine(matrix: np.ndarray, x: np.ndarray) -> np.ndarray:
    """Return matrix @ x; channels that are only put into another order are not multiplied."""
    if np.count_nonzero(matrix) == len(matrix) and (matrix.max(axis=1) == 1.0).all():
        order = matrix.argmax(axis=1)
        return x if np.array_equal(order, np.arange(len(x))) else x[order]
    return np.asarray(matrix @ x)


def _continue(x: np.ndarray, before: int, after: int) -> np.ndarray:
    if not (before or after):
        return x
    longest = x.shape[-1] - 1
    y = reflect(x, min(before, longest), min(after, longest))
    # A segment shorter than the reach is continued once and then held.
    return np.pad(y, [(0, 0), (max(before - longest, 0), max(after - longest, 0))], mode="edge")


def _fill(x: np.ndarray, missing: np.ndarray) -> np.ndarray:
    filled = x.copy()
    index = np.arange(x.shape[-1])
    for channel, absent in zip(filled, missing, strict=True):
        if absent.all():
            channel[:] = 0.0
        elif absent.any():
            channel[absent] = np.interp(index[absent], index[~absent], channel[~absent])
    return filled


def _missing_at(missing: np.ndarray, first: int, native_index: np.ndarray) -> np.ndarray:
    return missing[:, np.clip(native_index - first, 0, missing.shape[1] - 1)]
