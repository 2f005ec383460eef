"""The filters of a screen: what a reader switches on and off while looking, causal as in clinical systems.

A first-order high-pass (the time constant of an EEG machine: 0.5 Hz is 0.32 s), a Butterworth low-pass of second order
and a notch. They decay, so their responses are cut where they have fallen to e^-20 of their slowest time constant: a
page that is read with `reach` samples before it equals the recording filtered whole.
"""

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy import fft

HIGH_PASS_HZ = (0.1, 0.3, 0.5, 1.0, 1.6, 5.0)
LOW_PASS_HZ = (10.0, 15.0, 30.0, 35.0, 50.0, 70.0, 100.0)
NOTCH_HZ = (0.0, 50.0, 60.0)
"""What may be chosen; 0 is no notch."""
_NOTCH_Q = 30.0
_DECAY = 20.0
_NYQUIST_SHARE = 0.98
_LEAST_FFT = 1 << 12

Coefficients = tuple[float, float, float]
Section = tuple[Coefficients, Coefficients]
"""Numerator and denominator of a second-order section."""


@dataclass(frozen=True, kw_only=True)
class ViewFilter:
    """High-pass, low-pass and notch at one sampling rate; a low-pass or notch above the rate's reach is left out."""

    sfreq: float
    l_freq: float
    h_freq: float
    notch_hz: float = 0.0

    def __post_init__(self) -> None:
        for name, value, choices in (
            ("l_freq", self.l_freq, HIGH_PASS_HZ), ("h_freq", self.h_freq, LOW_PASS_HZ),
            ("notch_hz", self.notch_hz, NOTCH_HZ),
        ):  # fmt: skip
            if value not in choices:
                raise ValueError(f"{name}={value:g} Hz is none of {', '.join(f'{c:g}' for c in choices)}")

    @cached_property
    def sections(self) -> tuple[Section, ...]:
        """The filters in a row, as bilinear transforms of their analogue forms."""
        highest = _NYQUIST_SHARE * self.sfreq / 2
        parts = [_high_pass(min(self.l_freq, 0.5 * highest) / self.sfreq)]
        if self.h_freq < highest:
            parts.append(_low_pass(self.h_freq / self.sfreq))
        if 0 < self.notch_hz < highest:
            parts.append(_notch(self.notch_hz / self.sfreq))
        return tuple(parts)

    @cached_property
    def taps(self) -> np.ndarray:
        """The response, float32: causal, as long as it lasts."""
        slowest_s = max(1 / (2 * np.pi * self.l_freq), _NOTCH_Q / (np.pi * self.notch_hz) if self.notch_hz else 0.0)
        n_taps = int(np.ceil(_DECAY * slowest_s * self.sfreq)) + 1
        return np.array(_filtered([1.0] + [0.0] * (n_taps - 1), self.sections), dtype=np.float32)

    @property
    def reach(self) -> int:
        """Samples before a stretch that it depends on."""
        return len(self.taps) - 1

    def apply(self, x: np.ndarray) -> np.ndarray:
        """Return x filtered, float32, without its first `reach` samples; shape (n_rows, n_times - reach).

        Overlap-save, row by row, so that spectra stay in the cache. Raises ValueError where x is not longer than that.
        """
        if x.shape[-1] <= self.reach:
            raise ValueError(f"n_times={x.shape[-1]} is not longer than the reach of {self.reach} samples")
        n_out, n_fft = x.shape[-1] - self.reach, self._n_fft(x.shape[-1])
        hop = n_fft - self.reach
        n_ffts = -(-n_out // hop)
        response = fft.rfft(self.taps, n_fft)
        out = np.empty((len(x), n_out), dtype=np.float32)
        padded = np.zeros((n_ffts - 1) * hop + n_fft, dtype=np.float32)
        frames = np.lib.stride_tricks.sliding_window_view(padded, n_fft)[::hop]
        for row, result in zip(x, out, strict=True):
            # A constant does not pass; without it float32 keeps its digits.
            np.subtract(row, row[0], out=padded[: x.shape[-1]])
            bins = fft.rfft(frames, axis=-1)
            bins *= response
            y = fft.irfft(bins, n_fft, axis=-1, overwrite_x=True)
            result[:] = y[:, self.reach :].reshape(-1)[:n_out]
        return out

    def _n_fft(self, n_times: int) -> int:
        """Return the length of a transform: all samples, or a few times the response where they are many."""
        longest = max(_LEAST_FFT, 1 << (8 * len(self.taps) - 1).bit_length())
        return int(fft.next_fast_len(n_times, real=True)) if n_times < longest else longest


def _high_pass(share: float) -> Section:
    """Return a first-order high-pass; `share` is the edge over the sampling rate."""
    k = math.tan(math.pi * share)
    return (1 / (1 + k), -1 / (1 + k), 0.0), (1.0, (k - 1) / (k + 1), 0.0)


def _low_pass(share: float) -> Section:
    """Return a Butterworth low-pass of second order."""
    k = math.tan(math.pi * share)
    norm = 1 / (1 + math.sqrt(2) * k + k * k)
    b = k * k * norm
    return (b, 2 * b, b), (1.0, 2 * (k * k - 1) * norm, (1 - math.sqrt(2) * k + k * k) * norm)


def _notch(share: float) -> Section:
    gain = 1 / (1 + math.tan(math.pi * share / _NOTCH_Q))
    middle = -2 * math.cos(2 * math.pi * share) * gain
    return (gain, middle, gain), (1.0, middle, 2 * gain - 1)


def _filtered(x: list[float], sections: tuple[Section, ...]) -> list[float]:
    """Return x through second-order sections, in Python: short, and scipy.signal takes a second to import."""
    for (b0, b1, b2), (_, a1, a2) in sections:
        first = second = 0.0  # transposed direct form II
        y = []
        for value in x:
            out = b0 * value + first
            first = b1 * value - a1 * out + second
            second = b2 * value - a2 * out
            y.append(out)
        x = y
    return x
