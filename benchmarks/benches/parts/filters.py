"""What the filters do to tones of known answer, at many rates, and how far they are from SciPy in float64."""

import itertools

import numpy as np
from scipy import signal

from benchmarks.harness import figure
from signals.conditioning.filters import antialias_taps, band_taps, effective_band
from signals.conditioning.rate_filter import RateFilter

RATES = (128.0, 160.0, 173.61, 200.0, 250.0, 256.0, 257.0, 499.0, 500.0, 512.0, 1000.0)
NEW_SFREQ = 256.0
_SECONDS, _EDGE_S = 24.0, 6.0


def filters() -> None:
    """Print ripple, delay, alias, distance from SciPy and from the whole, by native rate, without mains."""
    print("  native Hz  pass to Hz  ripple dB  delay us  alias dB  SciPy     blocks")
    worst = np.zeros(5)
    for sfreq in RATES:
        band = effective_band(0.5, 128.0, native_sfreq=sfreq, sfreq=NEW_SFREQ)
        chain = RateFilter(native_sfreq=sfreq, sfreq=NEW_SFREQ, band=band, mains_hz=None)
        inside = [_tone(chain, freq) for freq in np.geomspace(0.5, band[1], 40)]
        outside = [_tone(chain, freq)[2] for freq in np.linspace(128.5, sfreq / 2 - 0.5, 12)] if sfreq > 258 else [0.0]
        row = np.array([
            max(abs(20 * np.log10(gain)) for gain, _, _ in inside), max(delay for _, delay, _ in inside),
            max(outside), *_distances(chain),
        ])  # fmt: skip
        alias = f"{20 * np.log10(max(row[2], 1e-9)):9.0f}" if sfreq > 258 else "        -"
        print(f"  {sfreq:<11g}{band[1]:<12g}{row[0]:8.4f}{1e6 * row[1]:10.3f}{alias}{row[3]:10.1e}{row[4]:10.1e}")
        worst = np.maximum(worst, row)
    figure("filter_ripple_db", worst[0], "dB")
    figure("filter_alias_db", 20 * np.log10(worst[2]), "dB")
    figure("filter_vs_scipy", worst[3], "of the largest sample")
    figure("filter_blocks_vs_whole", worst[4], "of the largest sample")


def _cut(x: np.ndarray, first: int, last: int) -> np.ndarray:
    inside = x[:, max(first, 0) : min(last, x.shape[1])]
    return np.pad(inside, [(0, 0), (max(-first, 0), max(last - x.shape[1], 0))])


def _tone(chain: RateFilter, freq: float) -> tuple[float, float, float]:
    """Return gain, delay in seconds and largest sample of a tone of size 1, the ends left out."""
    x = np.cos(2 * np.pi * freq * np.arange(round(_SECONDS * chain.native_sfreq)) / chain.native_sfreq)[None]
    start, stop = round(_EDGE_S * NEW_SFREQ), round((_SECONDS - _EDGE_S) * NEW_SFREQ)
    y = chain.apply(_cut(x, *chain.span(start, stop)), start, stop)[0]
    t = np.arange(start, stop) / NEW_SFREQ
    basis = np.column_stack([np.cos(2 * np.pi * freq * t), np.sin(2 * np.pi * freq * t)])
    (a, b), *_ = np.linalg.lstsq(basis, y, rcond=None)
    return float(np.hypot(a, b)), abs(float(np.arctan2(b, a))) / (2 * np.pi * freq), float(np.abs(y).max())


def _distances(chain: RateFilter) -> tuple[float, float]:
    """Return how far noise comes out from SciPy's float64 reference, and blocks of odd lengths from the whole."""
    up, down = chain.ratio
    n_times = round(60 * chain.native_sfreq)
    x = np.random.default_rng(0).standard_normal((2, n_times))
    n_out, n_edge = n_times * up // down, round(_EDGE_S * NEW_SFREQ)
    reference = signal.resample_poly(x, up, down, axis=-1, window=antialias_taps(up, down)) if up != down else x
    reference = signal.oaconvolve(reference, band_taps(NEW_SFREQ, *chain.band)[None], mode="same", axes=-1)
    whole = chain.apply(_cut(x, *chain.span(0, n_out)), 0, n_out)
    edges = [0, *range(1001, n_out, 3517), n_out]
    blocks = [chain.apply(_cut(x, *chain.span(a, b)), a, b) for a, b in itertools.pairwise(edges)]
    scale = np.abs(x).max()
    apart = np.abs(whole - reference[:, :n_out])[:, n_edge:-n_edge].max()
    return float(apart / scale), float(np.abs(np.concatenate(blocks, axis=1) - whole).max() / scale)
