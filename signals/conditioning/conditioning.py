"""A stretch of a recording at the modality's rate and band, in blocks with a halo that equal the recording taken whole.

The chain harmonises the channels, then filters and resamples in one pass (`signals.conditioning.rate_filter`). All
of it is linear, so channels are combined on the side where there are fewer of them. Its reach is finite, so output
samples [start, stop) depend on a known range of native samples: `Conditioner.span` gives it, the caller brings the
samples as `Native`, from a file or a stream, and `Conditioner.condition` returns the `Conditioned` signal. Beyond a
segment's ends the signal is continued by odd reflection.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from signals.conditioning.filters import ANTIALIAS_DB, reflect
from signals.conditioning.gaps import BRIDGE_S, fill
from signals.conditioning.rate_filter import RateFilter
from signals.montage.montage import Harmoniser


@dataclass(frozen=True, kw_only=True)
class Native:
    """Samples at the rate they were recorded at: a range of one gap-free segment."""

    x: np.ndarray
    """float32, shape (n_picks, n_times), in the source's unit, NaN where missing."""
    first: int
    """Number of the first sample in the segment."""
    n_segment: int
    """Samples of the whole segment; for a stream that has not ended, any number beyond `Conditioner.span`."""


@dataclass(frozen=True, kw_only=True)
class Conditioned:
    """A stretch of a segment at the target rate."""

    x: np.ndarray
    """float32, shape (n_chans, n_times), in the source's unit."""
    missing: np.ndarray
    """bool, same shape: where the source had no samples."""
    start: int
    """Number of the first sample in the segment, at the target rate."""

    def cut(self, start: int, n_times: int) -> "Conditioned":
        """Return `n_times` samples from sample `start` of the segment on, as views."""
        within = slice(start - self.start, start - self.start + n_times)
        return Conditioned(x=self.x[:, within], missing=self.missing[:, within], start=start)


@dataclass(frozen=True, kw_only=True)
class Conditioner:
    """Channels, rate and band of one recording."""

    harmoniser: Harmoniser
    native_sfreq: float
    sfreq: float
    band: tuple[float, float]
    mains_hz: float | None
    offsets: tuple[float, ...]
    """One per pick, in the source's unit, taken off before the filters.

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

    def span(self, start: int, stop: int, n_native: int) -> tuple[int, int]:
        """Return the native range [first, last) in a segment of `n_native` that outputs [start, stop) depend on."""
        first, last = self.rate_filter.span(start, stop)
        return max(first, 0), min(last, n_native)

    def wide_span(self, start: int, stop: int, n_native: int) -> tuple[int, int]:
        """Return the range that is needed where a loss reaches an end of `span`: `BRIDGE_S` more on each side."""
        n_bridge = round(BRIDGE_S * self.native_sfreq)
        first, last = self.span(start, stop, n_native)
        return max(first - n_bridge, 0), min(last + n_bridge, n_native)

    def condition(self, native: Native, start: int, stop: int) -> Conditioned:
        """Return the modality's channels, samples [start, stop) of the segment at the target rate.

        `native` holds the harmoniser's used picks over the range that `span` gives for these samples, or, where a
        sample at an end of that is missing, `wide_span`. Raises ValueError for a range that holds less.
        """
        first, last = self.rate_filter.span(start, stop)
        n_native, used = native.n_segment, self.harmoniser.used
        offsets = np.array(self.offsets)[used]
        x, missing = self._filled(native, start, stop, offsets)
        matrix = self.harmoniser.matrix[:, used]
        fewer_after = len(matrix) <= len(used)
        if fewer_after:
            x, offsets = _combine(matrix, x), matrix @ offsets
        x = _continue(x, max(-first, 0), max(last - n_native, 0))
        y = self.rate_filter.apply(x, start, stop, offsets=offsets)
        y = y if fewer_after else _combine(matrix, y)
        return Conditioned(x=y, missing=self._missing_after(missing, max(first, 0), start, stop), start=start)

    def _filled(
        self, native: Native, start: int, stop: int, levels: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray | None]:
        """Return the native samples of the span without gaps, and which were missing, None where none was."""
        first, last = self.span(start, stop, native.n_segment)
        covered = (native.first, native.first + native.x.shape[-1])
        if covered[0] > first or covered[1] < last:
            raise ValueError(f"native samples {covered} do not hold the span {first, last} of outputs {start, stop}")
        within = slice(first - native.first, last - native.first)
        x = native.x.astype(np.float32, copy=False)
        if not np.isnan(x[:, within].min(initial=0.0)):  # three times as fast as a sum
            return x[:, within], None
        missing = np.isnan(x)
        wide = self.wide_span(start, stop, native.n_segment)
        if (missing[:, within.start].any() and covered[0] > wide[0]) or (
            missing[:, within.stop - 1].any() and covered[1] < wide[1]
        ):
            raise ValueError(f"samples are missing at an end of {covered}: outputs {start, stop} need {wide}")
        from_start, to_end = covered[0] == 0, covered[1] == native.n_segment
        x = fill(x, missing, self.native_sfreq, levels=levels, from_start=from_start, to_end=to_end)
        return x[:, within], missing[:, within]

    def _missing_after(self, missing: np.ndarray | None, first: int, start: int, stop: int) -> np.ndarray:
        """Return where outputs [start, stop) stand for missing samples, bool, shape (n_chans, stop - start).

        A sample stands for the time until the next one, so that no lost sample goes without a mark at any rate.
        `missing` has shape (n_picks, n_native) and begins at native sample `first`; None where nothing is missing.
        """
        depends = self.harmoniser.depends[:, self.harmoniser.used]
        if missing is None:
            return np.zeros((len(depends), stop - start), dtype=bool)
        up, down = self.rate_filter.ratio
        edges = np.arange(start, stop + 1) * down
        n_missing = np.cumsum(np.pad(missing, [(0, 0), (1, 0)]), axis=1, dtype=np.int32)
        at = np.clip(np.stack([edges[:-1] // up, -(-edges[1:] // up)]) - first, 0, missing.shape[1])
        source_missing = n_missing[:, at[1]] > n_missing[:, at[0]]
        return np.asarray((depends.astype(np.float32) @ source_missing.astype(np.float32)) > 0)


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
