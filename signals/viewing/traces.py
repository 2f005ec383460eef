"""Samples of a recording as a screen shows them: one axis of time, a montage, a filter, gaps as NaN."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from signals.conditioning.gaps import bridge
from signals.recording.recording import Recording
from signals.viewing.filters import ViewFilter
from signals.viewing.montages import ViewMontage


@dataclass(frozen=True, kw_only=True)
class Traces:
    """A recording seen through a montage and a filter."""

    recording: Recording
    montage: ViewMontage
    filter: ViewFilter

    @property
    def sfreq(self) -> float:
        """Samples per second."""
        return self.filter.sfreq

    @property
    def n_rows(self) -> int:
        """Traces."""
        return len(self.montage.rows)

    @cached_property
    def segments(self) -> tuple[tuple[int, int], ...]:
        """First sample and number of samples of each segment, on the axis that begins with the recording."""
        found = []
        for number, segment in enumerate(self.recording.segments):
            n_times = self.recording.n_times(self.montage.picks[0], number) if self.montage.picks else 0
            found.append((round(segment.onset_s * self.sfreq), n_times))
        return tuple(found)

    @property
    def n_times(self) -> int:
        """Samples from the beginning to the end, gaps counted."""
        return max((first + n for first, n in self.segments), default=0)

    def read(self, start: int, stop: int) -> np.ndarray:
        """Return samples [start, stop), float32, shape (n_rows, stop - start), µV; NaN in gaps and beyond the ends."""
        out = np.full((self.n_rows, stop - start), np.nan, dtype=np.float32)
        for number, (first, n_times) in enumerate(self.segments):
            low, high = max(start, first), min(stop, first + n_times)
            if low < high and self.n_rows:
                out[:, low - start : high - start] = self._within(number, low - first, high - first)
        return out

    def _within(self, segment: int, start: int, stop: int) -> np.ndarray:
        """Return samples of one segment; before its beginning the first sample is held, so that the filter rests."""
        picks, reach = self.montage.picks, self.filter.reach
        first = max(start - reach, 0)
        x = self.recording.read(picks, segment=segment, start=first, stop=stop)
        missing = np.isnan(x)
        is_whole = not missing.any()
        x = x if is_whole else bridge(x, missing)
        x = np.pad(x, [(0, 0), (reach - (start - first), 0)], mode="edge")
        level = x[:, :1]
        y = self.filter.apply(self.montage.matrix @ (x - level))
        if not is_whole:
            lost = self.montage.depends.astype(np.float32) @ missing[:, start - first :].astype(np.float32)
            y[lost > 0] = np.nan
        return y

    def has_samples(self, start: int, stop: int) -> bool:
        """Return whether any of these samples was recorded."""
        return any(first < stop and start < first + n for first, n in self.segments)
