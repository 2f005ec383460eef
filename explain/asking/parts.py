"""Parts of a window, channels by stretch by band, and the window with parts replaced by another signal."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

BANDS: dict[str, tuple[float, float]] = {
    "B1": (0.5, 4.0), "B2": (4.0, 8.0), "B3": (8.0, 13.0), "B4": (13.0, 25.0), "B5": (25.0, 45.0),
}  # fmt: skip
"""Delta, theta, alpha, beta and low gamma, Hz."""
REGIONS: dict[str, tuple[str, ...]] = {
    "left front": ("Fp1", "F3", "F7"), "right front": ("Fp2", "F4", "F8"),
    "left side": ("T3", "C3"), "right side": ("T4", "C4"),
    "left back": ("T5", "P3", "O1"), "right back": ("T6", "P4", "O2"),
    "midline": ("Fz", "Cz", "Pz"),
}  # fmt: skip
"""Neighbouring electrodes that explain together; channels of none of them are regions of their own."""
EDGE_S = 0.1
"""Over how long a replaced stretch fades in and out, so that its edges are no event of their own."""


@dataclass(frozen=True, kw_only=True)
class Part:
    """What may be replaced."""

    channels: tuple[int, ...]
    start_s: float
    stop_s: float
    band_hz: tuple[float, float] | None = None
    """None for everything."""


def regions_of(ch_names: Sequence[str]) -> dict[str, tuple[int, ...]]:
    """Return the channels of each region that has any, by number; every channel is in exactly one."""
    found = {
        name: tuple(i for i, channel in enumerate(ch_names) if channel in inside) for name, inside in REGIONS.items()
    }
    known = {i for channels in found.values() for i in channels}
    own = {ch_names[i]: (i,) for i in range(len(ch_names)) if i not in known}
    return {name: channels for name, channels in {**found, **own}.items() if channels}


def weight(part: Part, n_times: int, sfreq: float) -> np.ndarray:
    """Return how far a part replaces each sample, 0 to 1, shape (n_times,).

    Stretches that lie side by side add up to 1; at the window's own ends nothing fades.
    """
    t = (np.arange(n_times) + 0.5) / sfreq
    rise = np.clip((t - part.start_s) / EDGE_S + 0.5, 0, 1) if part.start_s > 0 else np.ones(n_times)
    ends = part.stop_s < n_times / sfreq
    fall = np.clip((part.stop_s - t) / EDGE_S + 0.5, 0, 1) if ends else np.ones(n_times)
    return np.asarray(rise * fall, dtype=np.float32)


def in_band(x: np.ndarray, band_hz: tuple[float, float] | None, sfreq: float) -> np.ndarray:
    """Return what of a signal (..., n_times) lies in [low, high) Hz; all of it for None."""
    if band_hz is None:
        return x
    spectrum = np.fft.rfft(x, axis=-1)
    freqs = np.fft.rfftfreq(x.shape[-1], 1 / sfreq)
    spectrum[..., (freqs < band_hz[0]) | (freqs >= band_hz[1])] = 0
    return np.fft.irfft(spectrum, n=x.shape[-1], axis=-1).astype(x.dtype)


class Replacer:
    """A window whose parts give way to a background's; what a part changes is computed once."""

    def __init__(self, x: np.ndarray, background: np.ndarray, sfreq: float) -> None:
        """Take window and background, both shape (n_chans, n_times); raises ValueError where they differ in shape."""
        if x.shape != background.shape:
            raise ValueError(f"background has shape {background.shape}, the window {x.shape}")
        self.x, self.sfreq = x, sfreq
        self._bands: dict[tuple[float, float] | None, np.ndarray] = {None: background - x}
        self._changes: dict[Part, tuple[list[int], slice, np.ndarray]] = {}

    def without(self, parts: Sequence[Part]) -> np.ndarray:
        """Return the window with these parts replaced; parts of one band must not overlap."""
        return self._moved(self.x.copy(), parts, 1)

    def only(self, parts: Sequence[Part], *, within: Sequence[Part]) -> np.ndarray:
        """Return the window with `within` replaced but for `parts`, which lie in it."""
        return self._moved(self.without(within), parts, -1)

    def _moved(self, out: np.ndarray, parts: Sequence[Part], sign: int) -> np.ndarray:
        for part in parts:
            rows, inside, change = self._change(part)
            out[rows, inside] += sign * change
        return out

    def _change(self, part: Part) -> tuple[list[int], slice, np.ndarray]:
        """Return which rows and samples a part changes, and by how much, shape (n_rows, n_samples)."""
        if part not in self._changes:
            if part.band_hz not in self._bands:
                self._bands[part.band_hz] = in_band(self._bands[None], part.band_hz, self.sfreq)
            share, rows = weight(part, self.x.shape[1], self.sfreq), list(part.channels)
            touched = np.flatnonzero(share)
            inside = slice(int(touched[0]), int(touched[-1]) + 1) if touched.size else slice(0, 0)
            self._changes[part] = rows, inside, self._bands[part.band_hz][rows, inside] * share[inside]
        return self._changes[part]
