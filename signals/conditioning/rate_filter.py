"""Band, mains and change of rate in one pass: overlap-save with two FFTs of different lengths.

An FFT of k x down samples at the native rate and an inverse one of k x up samples at the new rate span the same time,
so multiplying the bins by a response and changing their number filters and resamples at once, by the exact ratio of the
rates and with zero phase. The response is that of two FIRs, the anti-alias low-pass on the common lattice of both rates
and the band filter at the new rate. Their reach is finite: what lies further away than that changes an output only
through the anti-alias filter's stop band. Rates whose common period is long take the polyphase way through the same two
FIRs instead.
"""

from dataclasses import dataclass
from functools import cache, cached_property, lru_cache

import numpy as np
from scipy import fft

from signals.conditioning.filters import (
    ANTIALIAS_DB,
    antialias_taps,
    band_taps,
    mains_harmonics,
    resampling_ratio,
)

MAX_PERIOD_S = 4.0
"""Longest common period of the two rates for the FFT way; every rate of whole Hz has 1 s or less, halves 2 s."""
_MAX_FFT = 1 << 17  # samples: longer transforms leave the cache
_GROUP = 4  # channels at a time: their spectra stay in the cache


@dataclass(frozen=True, kw_only=True)
class RateFilter:
    """From the native rate to another, within a band and without mains."""

    native_sfreq: float
    sfreq: float
    band: tuple[float, float]
    mains_hz: float | None
    antialias_db: float = ANTIALIAS_DB
    """Attenuation of what cannot be represented at both rates, dB."""

    @cached_property
    def ratio(self) -> tuple[int, int]:
        """(up, down): output sample m lies at native sample m x down / up."""
        return resampling_ratio(self.native_sfreq, self.sfreq)

    @cached_property
    def taps(self) -> np.ndarray:
        """The FIR for band and mains, at the new rate."""
        return band_taps(self.sfreq, *self.band, mains_harmonics(self.mains_hz, self.band[1]))

    @cached_property
    def is_periodic(self) -> bool:
        """Whether the rates share a period short enough for the FFT way."""
        return self.ratio[1] <= MAX_PERIOD_S * self.native_sfreq * (1 + 1e-9)

    @property
    def _antialias(self) -> np.ndarray:
        return antialias_taps(*self.ratio, attenuation_db=self.antialias_db)

    @cached_property
    def reach_s(self) -> float:
        """Furthest sample that an output depends on, seconds."""
        up = self.ratio[0]
        return len(self.taps) // 2 / self.sfreq + len(self._antialias) // 2 / (up * self.native_sfreq)

    @cached_property
    def _halo(self) -> int:
        """Steps of a common period (`down` native samples, `up` new ones) that cover the reach."""
        return int(np.ceil(self.reach_s * self.native_sfreq / self.ratio[1]))

    def span(self, start: int, stop: int) -> tuple[int, int]:
        """Return the native range [first, last) that outputs [start, stop) are made of; it may begin below zero."""
        up, down = self.ratio
        if self.is_periodic:
            return (start // up - self._halo) * down, (-(-stop // up) + self._halo) * down
        reach = int(np.ceil(self.reach_s * self.native_sfreq)) + 1
        return start * down // up - reach, -(-stop * down // up) + reach

    def apply(self, x: np.ndarray, start: int, stop: int, *, offsets: np.ndarray | None = None) -> np.ndarray:
        """Return outputs [start, stop), float32, shape (n_chans, stop - start).

        x holds exactly the native samples `span(start, stop)`, shape (n_chans, last - first); `offsets`, shape
        (n_chans,), are taken off it first. Raises ValueError for another length.
        """
        first, last = self.span(start, stop)
        if x.shape[-1] != last - first:
            raise ValueError(f"n_times={x.shape[-1]} is not the span of {last - first} native samples")
        x = np.asarray(x, dtype=np.float32)
        offsets = np.zeros(len(x)) if offsets is None else offsets
        offsets = offsets.astype(np.float32)[:, None]
        up = self.ratio[0]
        _keep_freed_memory()
        if self.is_periodic:
            skip = start % up
            return self._transform(x, offsets, self.ratio, self._halo, n_out=skip + stop - start)[:, skip:]
        reach = len(self.taps) // 2
        y = polyphase(x - offsets, *self.ratio, self._antialias, first=first, start=start - reach, stop=stop + reach)
        return self._transform(y, np.zeros_like(offsets), (1, 1), reach, n_out=stop - start)

    def _transform(
        self, x: np.ndarray, offsets: np.ndarray, ratio: tuple[int, int], halo: int, *, n_out: int
    ) -> np.ndarray:
        """Return the first n_out outputs of x - offsets that have a whole halo before them."""
        up, down = ratio
        n_steps = -(-n_out // up)
        n_ffts, k = _fft_plan(up, down, halo, n_steps)
        hop = k - 2 * halo
        response = self._response(up, down, k)
        out = np.empty((len(x), n_ffts, hop * up), dtype=np.float32)
        # What lies beyond x only outputs beyond n_out would see, but they share a transform with the last ones.
        padded = np.zeros((_GROUP, ((n_ffts - 1) * hop + k) * down), dtype=np.float32)
        n_in = min(x.shape[1], padded.shape[1])
        row, sample = padded.strides
        windows = np.lib.stride_tricks.as_strided(
            padded, (_GROUP, n_ffts, k * down), (row, hop * down * sample, sample), writeable=False
        )
        for i in range(0, len(x), _GROUP):
            n_rows = min(_GROUP, len(x) - i)
            np.subtract(x[i : i + n_rows, :n_in], offsets[i : i + n_rows], out=padded[:n_rows, :n_in])
            # All rows, also where the last group fills them in part: four transforms at a time run as one.
            bins = fft.rfft(windows, axis=-1, workers=1)[..., : response.size // 2]
            parts = bins.view(np.float32)  # real times complex would be complex times complex
            parts *= response
            y = fft.irfft(bins, n=k * up, axis=-1, overwrite_x=True, workers=1)
            out[i : i + n_rows] = y[:n_rows, :, halo * up : (halo + hop) * up]
        return out.reshape(len(x), -1)[:, :n_out]

    def _response(self, up: int, down: int, k: int) -> np.ndarray:
        antialias_db = self.antialias_db if up != down else None
        return _response(self.sfreq, self.band, self.mains_hz, up, down, k, antialias_db)


@cache
def _keep_freed_memory() -> None:
    """Let this process keep the memory of large arrays that it frees.

    glibc gives it back to the kernel at each free, and faults it in anew page by page, until an array of that size has
    been freed once. This one is never touched. At 500 Hz the chain takes a quarter less time with it.
    """
    np.empty(31 << 20, dtype=np.uint8)


@lru_cache(maxsize=256)
def _fft_plan(up: int, down: int, halo: int, n_steps: int) -> tuple[int, int]:
    """Return (number of transforms, steps in each) that make `n_steps` at the least cost, counted as n log n."""
    best, plan = np.inf, (0, 0)
    k = 2 * halo
    while True:
        k = fft.next_fast_len(k + 1, real=True)
        n_ffts = -(-n_steps // (k - 2 * halo))
        cost = n_ffts * k * (down * np.log2(k * down) + up * np.log2(k * up))
        if cost < best:
            best, plan = cost, (n_ffts, k)
        if n_ffts == 1 or k * max(up, down) > _MAX_FFT:
            return plan


@lru_cache(maxsize=64)
def _response(
    sfreq: float, band: tuple[float, float], mains_hz: float | None, up: int, down: int, k: int,
    antialias_db: float | None,
) -> np.ndarray:  # fmt: skip
    """Return the real response at the bins that both transforms share, the lengths' ratio included.

    float32, each value twice: once for the real, once for the imaginary part of its bin.
    """
    n_native, n_new = k * down, k * up
    taps = band_taps(sfreq, *band, mains_harmonics(mains_hz, band[1]))
    centred = np.roll(np.pad(taps, (0, n_new - taps.size)), -(taps.size // 2))
    response = fft.rfft(centred).real
    if antialias_db is None:
        return np.repeat(response, 2).astype(np.float32)
    # The bin at the lower Nyquist frequency is left out: it lies in the stop band, and its phase is not defined.
    n_bins = (min(n_native, n_new) + 1) // 2
    lowpass = antialias_taps(up, down, attenuation_db=antialias_db)
    top = 2.0 * n_bins / (n_native * up)  # of the lattice's Nyquist frequency
    spectrum = _zoomed(lowpass, top, n_bins)
    centre = np.exp(1j * np.pi * (lowpass.size // 2) * top * np.arange(n_bins) / n_bins)
    return np.repeat(response[:n_bins] * (spectrum * centre).real * (up / down), 2).astype(np.float32)


def _zoomed(x: np.ndarray, top: float, n_bins: int) -> np.ndarray:
    """Return the spectrum of x at `n_bins` frequencies from 0 up to `top` of Nyquist, that excluded.

    Bluestein's chirp transform (1970, doi:10.1109/TAU.1970.1162132), as in `scipy.signal.zoom_fft`.
    """
    chirp = np.exp(-0.5j * np.pi * (top / n_bins) * np.arange(max(n_bins, x.size), dtype=np.float64) ** 2)
    n_fft = fft.next_fast_len(n_bins + x.size - 1)
    kernel = np.zeros(n_fft, dtype=np.complex128)
    kernel[:n_bins] = chirp[:n_bins].conj()
    kernel[n_fft - x.size + 1 :] = chirp[x.size - 1 : 0 : -1].conj()
    bins = fft.fft(x * chirp[: x.size], n_fft) * fft.fft(kernel)
    return np.asarray(fft.ifft(bins)[:n_bins] * chirp[:n_bins])


def polyphase(
    x: np.ndarray, up: int, down: int, taps: np.ndarray, *, first: int, start: int, stop: int
) -> np.ndarray:  # fmt: skip
    """Return resampled samples [start, stop) of a signal whose native samples [first, ...) are x.

    `taps` is a symmetric low-pass of odd length on the lattice of both rates, with a sum of 1. The signal counts as
    zero outside of x.
    """
    ahead = start * down - first * up + taps.size // 2  # lattice steps from the first tap at x[0] to output `start`
    if ahead < 0:
        raise ValueError(f"output {start} lies before the reach of native sample {first}")
    n_skip = -(-ahead // down)
    kernel = np.concatenate([np.zeros(n_skip * down - ahead), taps * up]).astype(x.dtype)
    from scipy.signal import upfirdn  # importing it takes a second, and few rates come here

    y = upfirdn(kernel, x, up, down, axis=-1)[..., n_skip : n_skip + stop - start]
    return np.pad(y, [(0, 0)] * (y.ndim - 1) + [(0, stop - start - y.shape[-1])])
