"""Electrode pops: steps of one or two channels between two quiet levels."""

import numpy as np

_ROUNDING = 1e-5
"""More than what sums in float32 are off by, over the largest sample."""


def pops(x: np.ndarray, n_second: int, *, least_uv: float, usual: float, ratio: float) -> np.ndarray:
    """Return where pops lie, bool, same shape (..., n_chans, n_times) as x: float32, µV, finite.

    A pop is a jump over `least_uv` between the means of the 100 ms before and after it, of which over half happens
    within 20 ms: that leaves out the flanks of slow waves. It is over `ratio` times the deviation inside of both
    stretches and over `usual` robust deviations of its channel, and at most one other channel shows half of it.
    """
    n_side, n_gap = max(2, int(round(0.1 * n_second))), max(1, int(round(0.008 * n_second)))
    reach = n_side + 2 * n_gap  # from the onset of the stretch before a jump to that of the stretch after it
    rows = np.ascontiguousarray(x).reshape(-1, x.shape[-1])
    found = np.zeros(rows.shape, dtype=bool)
    # Large steps are few: all else is computed there only, the costliest last.
    row, at = _large_steps(rows, n_side, reach, least_uv)
    if not row.size:
        return found.reshape(x.shape)
    stretches = np.lib.stride_tricks.sliding_window_view(rows, n_side, axis=-1)
    before, after = _levels(stretches[row, at]), _levels(stretches[row, at + reach])
    jump = np.abs(after - before)
    kept = (jump > least_uv) & (np.abs(rows[row, at + reach] - rows[row, at + n_side - 1]) > 0.5 * jump)
    row, at, jump, before, after = (values[kept] for values in (row, at, jump, before, after))
    unrest = np.maximum(_unrest(stretches[row, at + reach], after) + _unrest(stretches[row, at], before), 0.0)
    kept = jump.astype(np.float64) ** 2 > ratio**2 * unrest
    row, at, jump = row[kept], at[kept], jump[kept]
    n_chans = x.shape[-2]
    window = (row - row % n_chans)[:, None] + np.arange(n_chans)  # the rows of all channels
    before, after = (_levels(stretches[window, start[:, None]]) for start in (at, at + reach))
    others = np.abs(after - before)
    kept = np.count_nonzero(others > 0.5 * jump[:, None], axis=1) <= 2
    row, at, jump = row[kept], at[kept], jump[kept]
    kept = jump > usual * _usual_deviation(rows, row, n_second)
    found[row[kept], at[kept] + n_side + n_gap] = True
    return found.reshape(x.shape)


def _large_steps(rows: np.ndarray, n_side: int, reach: int, least_uv: float) -> tuple[np.ndarray, np.ndarray]:
    """Return row and place of all jumps over `least_uv` with half of it in one step, and of some that nearly are.

    A place is the onset of the stretch before. Sums in float32 are fast; by what they are off, the limit is lower.
    """
    n = rows.shape[-1] + 1 - n_side - reach
    if n <= 0:
        return np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.int64)
    least = n_side * (least_uv - _ROUNDING * float(max(rows.max(), -rows.min())))
    sums = _moving_sums(rows, n_side)
    large = np.abs(sums[:, reach:] - sums[:, :n]) > least
    large &= np.abs(rows[:, reach : reach + n] - rows[:, n_side - 1 : n_side - 1 + n]) > 0.5 * least_uv
    row, at = np.divmod(np.flatnonzero(large), n)
    return row, at


def _moving_sums(rows: np.ndarray, n: int) -> np.ndarray:
    """Return the sum of n samples from each one on, shape (n_rows, n_times + 1 - n), by way of 1, 2, 4, ... samples."""
    n_sums, first, part, width = rows.shape[-1] + 1 - n, 0, rows, 1
    total = np.zeros((len(rows), n_sums), dtype=rows.dtype)
    while True:
        if n & width:
            total += part[:, first : first + n_sums]
            first += width
        if 2 * width > n:
            return total
        part, width = part[:, width:] + part[:, :-width], 2 * width


def _levels(stretches: np.ndarray) -> np.ndarray:
    """Return the mean of each stretch, float32, shape (...,)."""
    return np.asarray(stretches.mean(axis=-1, dtype=np.float64).astype(np.float32))


def _unrest(stretches: np.ndarray, levels: np.ndarray) -> np.ndarray:
    """Return the power of each stretch around its level, float64, shape (...,), µV²."""
    return np.asarray(np.square(stretches, dtype=np.float64).mean(axis=-1) - levels.astype(np.float64) ** 2)


def _usual_deviation(rows: np.ndarray, row: np.ndarray, n_second: int) -> np.ndarray:
    """Return the robust deviation of channels, one value per entry of `row`: the median over their seconds."""
    chosen, index = np.unique(row, return_inverse=True)
    seconds = rows[chosen].reshape(len(chosen), rows.shape[-1] // n_second, n_second)
    inner = np.median(np.abs(seconds - np.median(seconds, axis=-1, keepdims=True)), axis=-1)
    return np.asarray((1.4826 * np.median(inner, axis=-1))[index])
