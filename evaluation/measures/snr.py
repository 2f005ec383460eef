"""Signal-to-noise ratio of a reconstructed signal, as the George B. Moody Challenge 2024 defines it.

10 log10 of the reference's sum of squares over the error's, after the shift in time and in voltage that fits best.
"""

import numpy as np

MOST_SHIFT_S, MOST_SHIFT_MV = 0.5, 1.0


def snr_db(
    reference: np.ndarray, estimate: np.ndarray, sfreq: float, *, most_shift_s: float = MOST_SHIFT_S,
    most_shift_mv: float = MOST_SHIFT_MV,
) -> float:  # fmt: skip
    """Return the ratio of one lead in dB, mV, shape (n_times,) each; inf where nothing differs.

    Samples where the reference is nan do not count; an estimate that is nan counts as 0. Shifts are whole samples, and
    the mean difference within its limit. nan where the reference has no sample, or is 0 throughout.
    """
    if reference.shape != estimate.shape or reference.ndim != 1:
        raise ValueError(f"shapes {reference.shape} and {estimate.shape} are not one lead, twice")
    known = np.isfinite(reference)
    power = float(np.square(reference[known]).sum())
    if not power:
        return float("nan")
    guess = np.where(np.isfinite(estimate), estimate, 0.0)
    shifts = range(-round(most_shift_s * sfreq), round(most_shift_s * sfreq) + 1)
    noise = min(_noise(reference, guess, known, shift, most_shift_mv) for shift in shifts)
    return float(10 * np.log10(power / noise)) if noise else float("inf")


def _noise(reference: np.ndarray, guess: np.ndarray, known: np.ndarray, shift: int, most_mv: float) -> float:
    """Return the error's sum of squares where the estimate comes `shift` samples earlier, its ends held."""
    at = np.clip(np.flatnonzero(known) + shift, np.flatnonzero(known)[0], np.flatnonzero(known)[-1])
    error = reference[known] - guess[at]
    return float(np.square(error - np.clip(error.mean(), -most_mv, most_mv)).sum())
