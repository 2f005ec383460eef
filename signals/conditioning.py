"""A stretch of a recording at the modality's rate and band, in blocks with a halo that equal the recording taken whole.

The chain harmonises the channels, resamples, then applies one FIR. All of it is linear; the last two have
a finite reach, so output samples [start, stop) depend on a known range of native samples. Beyond a segment's ends the
signal is continued by odd reflection.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from signals.filters import (
    antialias_taps,
    band_taps,
    filter_zero_phase,
    mains_harmonics,
    reflect,
    resample,
    resampling_ratio,
)
from signals.montage import Harmoniser


@dataclass(frozen=True, kw_only=True)
class Conditioner:
    """Channels, rate and band of one recording."""

    harmoniser: Harmoniser
    native_sfreq: float
    sfreq: float
    band: tuple[float, float]
    mains_hz: float | None
    offsets: tuple[float, ...]
    """One a pick, in the source's unit, taken off before anything else.

    Polyphase filters let a thousandth of a constant through as tones at the difference of the rates, and float32 loses
    digits on offsets of thousands of µV. One number for the whole recording, or blocks would differ.
    """

    @cached_property
    def taps(self) -> np.ndarray:
        """The FIR at the target rate."""
        return band_taps(self.sfreq, *self.band, mains_harmonics(self.mains_hz, self.band[1]))

    @cached_property
    def ratio(self) -> tuple[int, int]:
        """(up, down) from the native to the target rate."""
        return resampling_ratio(self.native_sfreq, self.sfreq)

    @cached_property
    def _halo_steps(self) -> int:
        # One step is `down` native samples or `up` new ones: blocks begin on whole steps, so the phases agree.
        up, down = self.ratio
        new_samples = len(self.taps) // 2 + len(antialias_taps(up, down)) // (2 * down) + 1
        return -(-new_samples // up) + 1

    def n_times(self, n_native: int) -> int:
        """Return how many samples a segment of `n_native` samples has at the target rate."""
        up, down = self.ratio
        return n_native * up // down

    def block(
        self, read: Callable[[int, int], np.ndarray], n_native: int, start: int, stop: int
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return the modality's channels, samples [start, stop) at the target rate, and where the source had none.

        `read(first, last)` gives native samples of the harmoniser's used picks in a gap-free segment of `n_native`,
        shape (n_picks, last - first), NaN where missing. Both results have shape (n_chans, stop - start): float32 in
        the source's unit, and bool.
        """
        up, down = self.ratio
        first_step = start // up - self._halo_steps
        last_step = -(-stop // up) + self._halo_steps
        first, last = first_step * down, last_step * down
        used = self.harmoniser.used
        x = read(max(first, 0), min(last, n_native)).astype(np.float32)
        missing = np.isnan(x)
        if missing.any():
            x = _fill(x, missing)
        x = self.harmoniser.matrix[:, used] @ (x - np.array(self.offsets, dtype=np.float32)[used, None])
        x = _continue(x, max(-first, 0), max(last - n_native, 0))
        y = filter_zero_phase(resample(x, self.native_sfreq, self.sfreq), self.taps)
        skip = start - first_step * up
        y = y[..., skip : skip + stop - start]
        source_missing = _missing_at(missing, max(first, 0), np.arange(start, stop) * down // up)
        return y, (self.harmoniser.depends[:, used].astype(np.float32) @ source_missing.astype(np.float32)) > 0


def _continue(x: np.ndarray, before: int, after: int) -> np.ndarray:
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
    if not missing.any():
        return np.zeros((missing.shape[0], native_index.size), dtype=bool)
    return missing[:, np.clip(native_index - first, 0, missing.shape[1] - 1)]
