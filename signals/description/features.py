"""Numbers that describe each channel of a window: time, frequency, wavelets, and sharp waves."""

import numpy as np

from signals.spectrograms import welch

BANDS: dict[str, tuple[float, float]] = {
    "delta": (0.5, 4.0),
    "theta": (4.0, 8.0),
    "alpha": (8.0, 13.0),
    "beta": (13.0, 30.0),
    "gamma": (30.0, 45.0),
}
"""Hz, lower edge included. Gamma ends below mains and every site's low-pass, so that sites stay comparable."""

WAVELET, WAVELET_LEVEL = "db4", 6
_WAVELET_BANDS = (f"a{WAVELET_LEVEL}", *(f"d{level}" for level in range(WAVELET_LEVEL, 0, -1)))

FEATURES: tuple[str, ...] = (
    "mean", "std", "skewness", "kurtosis", "zero_crossings_per_s", "hjorth_mobility", "hjorth_complexity",
    "line_length_uv_per_s",
    *(f"{band}_log10_uv2" for band in BANDS),
    *(f"{band}_relative" for band in BANDS),
    "spectral_entropy", "spectral_edge_95_hz", "peak_hz",
    *(f"wavelet_{band}_log10_uv2" for band in _WAVELET_BANDS),
    "sharp_waves_per_s",
)  # fmt: skip
"""Columns of `features`, in order."""

_POWER_FLOOR_UV2 = 1e-6  # 1 nV RMS: keeps the logarithm of a flat channel finite


Spectrum = tuple[np.ndarray, np.ndarray]
"""Hz, shape (n_freqs,), and power density, shape (..., n_chans, n_freqs), µV²/Hz."""


def spectrum(x: np.ndarray, sfreq: float) -> Spectrum:
    """Return the spectrum that the features of a window are read off: Welch's, of what `features` takes."""
    x = _filled(np.asarray(x, dtype=np.float32))
    return welch(x - x.mean(axis=-1, keepdims=True), sfreq)


def features(x: np.ndarray, sfreq: float, *, of: Spectrum | None = None) -> np.ndarray:
    """Return one row of `FEATURES` per channel, float32, shape (..., n_chans, n_features).

    x has shape (..., n_chans, n_times), µV, at least 2 s long. NaN samples count as the channel's mean. What is not
    defined on a flat or empty channel (shape, ratios, places in the spectrum) is nan there; powers end at 1e-6 µV².
    `of` is the window's `spectrum`, for who has it already. Raises ValueError for a window shorter than 2 s.
    """
    if x.shape[-1] < 2 * sfreq:
        raise ValueError(f"n_times={x.shape[-1]} is shorter than 2 s at sfreq={sfreq}")
    x = _filled(np.asarray(x, dtype=np.float32))
    mean = x.mean(axis=-1, keepdims=True)
    centred = x - mean
    with np.errstate(divide="ignore", invalid="ignore"):
        columns = [mean[..., 0], *_shape(centred, sfreq), *_spectral(*(of or welch(centred, sfreq)))]
    columns += [*_wavelet_powers(centred), sharp_waves(centred, sfreq) * (sfreq / x.shape[-1])]
    return np.stack(columns, axis=-1).astype(np.float32)


def sharp_waves(
    x: np.ndarray,
    sfreq: float,
    *,
    z_min: float = 6.0,
    sharpness_min_uv: float = 25.0,
    duration_s: tuple[float, float] = (0.02, 0.2),
) -> np.ndarray:
    """Return the number of spikes and sharp waves of each channel, int64, shape (..., n_chans).

    x has shape (..., n_chans, n_times), µV, without NaN. The sharpness at t is x(t) less the mean of x 30 ms before and
    after, a band-pass around 16 Hz that slow waves do not pass. A sharp wave is a sharpness of either sign that is the
    largest within 100 ms, over `z_min` robust deviations (1.4826 MAD) of its channel and over `sharpness_min_uv`, and
    whose width at half height lies in `duration_s` of base length (half of it at half height; spikes last 20-70 ms,
    sharp waves 70-200 ms: IFCN glossary, Kane 2017, doi:10.1016/j.cnp.2017.07.002).
    """
    rows = x.reshape(-1, x.shape[-1])
    found, _, _ = sharp_peaks(rows, sfreq, z_min=z_min, sharpness_min_uv=sharpness_min_uv, duration_s=duration_s)
    return np.bincount(found, minlength=len(rows)).reshape(x.shape[:-1])


def sharp_peaks(
    rows: np.ndarray,
    sfreq: float,
    *,
    z_min: float = 6.0,
    sharpness_min_uv: float = 25.0,
    duration_s: tuple[float, float] = (0.02, 0.2),
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return row, sample and sharpness (µV) of each sharp wave as `sharp_waves` defines it; rows (n_rows, n_times)."""
    lag, reach = max(1, int(round(0.03 * sfreq))), max(2, int(round(0.1 * sfreq)))
    sharpness = np.abs(rows[:, lag:-lag] - 0.5 * (rows[:, : -2 * lag] + rows[:, 2 * lag :]))
    # A median takes longer than all the rest, so it is taken only where a peak over the floor is still possible: half
    # of the values must lie below the peak over the factor.
    peak, factor = sharpness.max(axis=-1, keepdims=True), z_min * 1.4826
    possible = np.flatnonzero(
        (peak[:, 0] > sharpness_min_uv)
        & (2 * np.count_nonzero(sharpness <= peak / factor, axis=-1) >= sharpness.shape[-1])
    )
    sharpness = sharpness[possible]
    floor = np.maximum(factor * np.median(sharpness, axis=-1, keepdims=True), sharpness_min_uv)
    middle = sharpness[:, reach:-reach]
    peaks = (middle > floor) & (middle > sharpness[:, reach - 1 : -reach - 1])
    peaks &= middle >= sharpness[:, reach + 1 : sharpness.shape[-1] - reach + 1]
    row, at = np.nonzero(peaks)
    around = np.lib.stride_tricks.sliding_window_view(sharpness, 2 * reach + 1, axis=-1)[row, at]
    below = around <= 0.5 * around[:, reach : reach + 1]
    left = np.argmax(below[:, reach::-1], axis=1)  # samples to the first one under half height; 0: none within reach
    right = np.argmax(below[:, reach:], axis=1)
    width_s = (left + right - 1) / sfreq
    found = (np.argmax(around, axis=1) == reach) & (left > 0) & (right > 0)
    found &= (width_s >= duration_s[0] / 2) & (width_s <= duration_s[1] / 2)
    return possible[row[found]], at[found] + reach + lag, around[found, reach]


def _filled(x: np.ndarray) -> np.ndarray:
    """Return x with NaN replaced by the channel's mean, and an all-NaN channel by zeros."""
    missing = ~np.isfinite(x)
    if not missing.any():
        return x
    present = np.where(missing, 0, x)
    mean = present.sum(axis=-1, keepdims=True) / np.maximum((~missing).sum(axis=-1, keepdims=True), 1)
    return np.where(missing, mean, present).astype(x.dtype)


def _shape(centred: np.ndarray, sfreq: float) -> list[np.ndarray]:
    """Return std, skewness, excess kurtosis, zero crossings, Hjorth's (1970) mobility and complexity, line length."""
    squares = centred * centred
    m2 = squares.mean(axis=-1)
    m3 = (squares * centred).mean(axis=-1)
    m4 = (squares * squares).mean(axis=-1)
    positive = centred >= 0
    crossings = np.count_nonzero(positive[..., 1:] != positive[..., :-1], axis=-1)
    step = np.diff(centred, axis=-1)
    bend = np.diff(step, axis=-1)
    step_var, bend_var = step.var(axis=-1), bend.var(axis=-1)
    undefined = np.where(m2 > _POWER_FLOOR_UV2, 0.0, np.nan)
    return [
        np.sqrt(m2),
        m3 / m2**1.5 + undefined,
        m4 / m2**2 - 3.0 + undefined,
        crossings * (sfreq / centred.shape[-1]),
        np.sqrt(step_var / m2) + undefined,
        np.sqrt(bend_var / step_var) / np.sqrt(step_var / m2) + undefined,
        np.abs(step).mean(axis=-1) * sfreq,
    ]


def _spectral(freqs: np.ndarray, density: np.ndarray) -> list[np.ndarray]:
    """Return log and relative band powers, entropy, 95% edge and peak of a spectrum."""
    low, high = BANDS["delta"][0], BANDS["gamma"][1]
    inside = (freqs >= low) & (freqs < high)
    freqs, density = freqs[inside], density[..., inside]
    edges = np.searchsorted(freqs, [band[0] for band in BANDS.values()])
    powers = np.add.reduceat(density, edges, axis=-1) * np.float32(freqs[1] - freqs[0])
    total = powers.sum(axis=-1)
    undefined = np.where(total > _POWER_FLOOR_UV2, 0.0, np.nan)
    share = density / density.sum(axis=-1, keepdims=True)
    entropy = -(share * np.log(np.maximum(share, 1e-30))).sum(axis=-1) / np.log(len(freqs))
    edge_95 = freqs[np.argmax(np.cumsum(share, axis=-1) >= 0.95, axis=-1)]
    peak = freqs[np.argmax(density, axis=-1)]
    logs = np.log10(np.maximum(powers, _POWER_FLOOR_UV2))
    return [
        *np.moveaxis(logs, -1, 0),
        *np.moveaxis(powers / total[..., None] + undefined[..., None], -1, 0),
        *(value + undefined for value in (entropy, edge_95, peak)),
    ]


def _wavelet_powers(centred: np.ndarray) -> list[np.ndarray]:
    """Return log10 of each subband's energy a sample, µV²: at 256 Hz 0-2, 2-4, 4-8, 8-16, 16-32, 32-64, 64-128 Hz."""
    import pywt

    bands = pywt.wavedec(centred, WAVELET, mode="periodization", level=WAVELET_LEVEL, axis=-1)
    energies = (np.square(band).sum(axis=-1) / centred.shape[-1] for band in bands)
    return [np.log10(np.maximum(energy, _POWER_FLOOR_UV2)) for energy in energies]
