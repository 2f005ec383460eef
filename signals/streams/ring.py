"""The last samples of a stream, by their numbers."""

import numpy as np


class Ring:
    """Keeps the newest `n_kept` samples of each channel; numbers count from the first sample that was appended."""

    def __init__(self, n_chans: int, n_kept: int, *, first: int = 0) -> None:
        """first: number of the first sample to come."""
        self._x = np.empty((n_chans, 2 * n_kept), dtype=np.float32)
        self._n_kept, self._at = n_kept, 0
        self.stop = first
        """Number of the next sample."""

    @property
    def first(self) -> int:
        """Number of the oldest sample that is kept."""
        return self.stop - self._at

    def append(self, x: np.ndarray) -> None:
        """Add samples, shape (n_chans, n_times)."""
        for begin in range(0, x.shape[1], self._n_kept):
            part = x[:, begin : begin + self._n_kept]
            if self._at + part.shape[1] > self._x.shape[1]:
                self._x[:, : self._n_kept] = self._x[:, self._at - self._n_kept : self._at].copy()
                self._at = self._n_kept
            self._x[:, self._at : self._at + part.shape[1]] = part
            self._at += part.shape[1]
            self.stop += part.shape[1]

    def read(self, start: int, stop: int) -> np.ndarray:
        """Return samples [start, stop), a copy; raises ValueError for some that are not kept."""
        if not self.first <= start <= stop <= self.stop:
            raise ValueError(f"samples {(start, stop)} are not within the {(self.first, self.stop)} that are kept")
        return self._x[:, start - self.first : stop - self.first].copy()
