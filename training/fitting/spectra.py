"""Regional spectrograms of windows: those of ten minutes that records carry, or else of the window itself."""

from collections import OrderedDict
from collections.abc import Sequence

import numpy as np

from signals.spectrograms import regional
from signals.window import ABSENT, Window
from signals.windows.surroundings import SPECTROGRAM_SHAPE, log_power
from training.corpus.corpus import Corpus

_MOST_KEPT = 8192


class Spectrograms:
    """Spectrograms by the number of a window; those that have to be computed are, once, for as many as are kept.

    Where the shards carry ten minutes, all have 300 columns: a window whose record lacks them has its own 50 s in the
    middle and NaN around. Where no window of the shards carries any, all have the window's own columns.
    """

    def __init__(self, shards: Corpus) -> None:
        self.shards = shards
        self._kept: OrderedDict[int, np.ndarray] = OrderedDict()

    def batch(self, windows: Sequence[int] | np.ndarray) -> np.ndarray:
        """Return log10 power in µV²/Hz, float32, shape (n, 4, 100, n_columns), NaN where a region is absent."""
        return np.stack([self._of(int(number)) for number in windows])

    def _of(self, number: int) -> np.ndarray:
        window = self.shards.window(number)
        if window.spectrogram is not None:
            return window.spectrogram
        if number not in self._kept:
            own = own_spectrogram(window, self.shards.manifest.modality.ch_names)
            self._kept[number] = surrounded(own) if self.shards.has_spectrograms else own
            if len(self._kept) > _MOST_KEPT:
                self._kept.popitem(last=False)
        return self._kept[number]


def own_spectrogram(window: Window, ch_names: Sequence[str]) -> np.ndarray:
    """Return the spectrogram of a window's own samples, log10 µV²/Hz, float32, shape (4, 100, n_columns).

    A chain with an absent electrode is NaN. Raises ValueError for a montage without the chains' electrodes.
    """
    x = np.where((window.ch_state == ABSENT)[:, None], np.float32(np.nan), window.data)
    return log_power(regional(x, ch_names, window.sfreq))


def surrounded(own: np.ndarray) -> np.ndarray:
    """Return a window's own spectrogram in the middle of ten minutes of which nothing else is known (NaN)."""
    whole = np.full(SPECTROGRAM_SHAPE, np.nan, dtype=np.float32)
    first = (whole.shape[-1] - own.shape[-1]) // 2
    whole[..., first : first + own.shape[-1]] = own
    return whole
