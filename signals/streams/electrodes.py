"""Which electrodes of a stream measure anything, second by second: rules that look at nothing but that second."""

import numpy as np

SMALLEST_UV, LARGEST_UV = 0.3, 1000.0
"""Standard deviation of a second around its trend: below, nothing is connected; above, it is no EEG."""
MOST_MISSING = 0.5


def good_in_second(x_uv: np.ndarray) -> np.ndarray:
    """Return which channels of a second measure something, bool, shape (n_chans,).

    `x_uv` has shape (n_chans, n_times), µV, NaN where missing. A straight trend is taken off first, so that a slow
    drift of the electrode's offset is no signal.
    """
    missing = np.isnan(x_uv)
    x = np.where(missing, 0.0, x_uv).astype(np.float64)
    n = (~missing).sum(axis=1).astype(np.float64)
    t = np.where(missing, 0.0, np.arange(x.shape[1]) - (x.shape[1] - 1) / 2)
    enough = n > (1 - MOST_MISSING) * x.shape[1]
    n = np.maximum(n, 2)
    mean_x, mean_t = x.sum(axis=1) / n, t.sum(axis=1) / n
    of_x, of_t = np.where(missing, 0, x - mean_x[:, None]), np.where(missing, 0, t - mean_t[:, None])
    slope = (of_x * of_t).sum(axis=1) / np.maximum((of_t**2).sum(axis=1), 1e-12)
    rest = of_x - slope[:, None] * of_t
    std = np.sqrt((rest**2).sum(axis=1) / n)
    return np.asarray(enough & (std >= SMALLEST_UV) & (std <= LARGEST_UV))
