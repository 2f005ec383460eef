"""P, Q, R, S and T of one beat's samples by the places of its extremes: what a delineator of pictures must beat."""

import numpy as np

from signals.modality import ECG_12

LEAST_MV = {"P": 0.04, "Q": 0.05, "R": 0.05, "S": 0.05, "T": 0.05}
"""What is smaller is no wave."""


def beat_points(x_mv: np.ndarray, sfreq: float, *, qrs_s: float) -> list[tuple[str, str, float, float]]:
    """Return (lead, wave, seconds, mV) of a beat of twelve leads, shape (12, n_times), whose QRS begins near qrs_s.

    The complex lasts as long as the slope over leads stays above a tenth of its largest; P is the largest deflection
    in the 200 ms before it, T in the 400 ms from 60 ms behind it on; what is small is no wave.
    """
    from scipy import ndimage

    smooth = ndimage.gaussian_filter1d(x_mv, 0.004 * sfreq, axis=1)
    slope = np.sqrt(np.square(np.gradient(smooth, axis=1)).sum(axis=0))
    first, last = (round((qrs_s + edge) * sfreq) for edge in (-0.02, 0.18))
    fast = np.flatnonzero(slope[first:last] > 0.1 * slope[first:last].max()) + first
    on, off = int(fast[0]), int(fast[-1])
    level = smooth[:, max(on - round(0.02 * sfreq), 0) : on + 1].mean(axis=1)
    found = []
    for lead, x in zip(ECG_12.ch_names, smooth - level[:, None], strict=True):
        p = _largest(np.abs(x), on - round(0.2 * sfreq), on - round(0.02 * sfreq))
        t = _largest(np.abs(x), off + round(0.06 * sfreq), min(off + round(0.4 * sfreq), len(x)))
        places = {"P": p, **complex_places(x, on, off), "T": t}
        for wave, at in places.items():
            is_down = wave in ("Q", "S")
            if abs(x[at]) >= LEAST_MV[wave] and not (is_down and x[at] > 0):
                found.append((lead, wave, at / sfreq, float(x[at])))
    return found


def complex_places(x: np.ndarray, on: int, off: int) -> dict[str, int]:
    """Return R, the highest sample of a complex, and Q and S, the lowest before and behind it."""
    r = _largest(x, on, off + 1)
    return {"Q": _largest(-x, on, r + 1), "R": r, "S": _largest(-x, r, off + 1)}


def _largest(x: np.ndarray, first: int, last: int) -> int:
    first = min(max(first, 0), len(x) - 1)
    return first + int(np.argmax(x[first : max(last, first + 1)]))
