"""Ways to fill hidden samples in without training: what a model is measured against, and what it may start from.

Each takes a window (n_chans, n_times) and a mask, True at hidden samples, and returns the window with estimates there.
Hidden samples are never read. Channels that are not measured are left as they are given.
"""

from functools import lru_cache
from typing import Literal

import numpy as np
import torch
from scipy.linalg import solveh_banded

from model.pretraining import masking
from signals.montage.splines import spline_kernel
from signals.window import MEASURED

AR_ORDER = 24
"""Coefficients of the autoregressive filler: 94 ms at 256 Hz."""
AR_RIDGE = 3e-4
"""Of its least squares, in units of the channel's power: band-limited signals would make gaps swing wildly without."""
SPATIAL_RIDGE = 0.03
"""Of the regression on other channels, in units of their mean power."""
REGULARISATION = 1e-5
"""Of the splines, MNE's."""


Filling = Literal["line", "ar", "window"]
"""What a model's estimate starts from: the line across the gap, `ar_fill`, or `window_fill`."""


def fill_to_start(x: np.ndarray, mask: np.ndarray, ch_state: np.ndarray, filling: Filling) -> np.ndarray:
    """Return the window with hidden samples filled in the way that a recipe names, float32, shape of `x`."""
    if filling == "line":
        return fill_hidden(x, mask)
    return ar_fill(x, mask, ch_state) if filling == "ar" else window_fill(x, mask, ch_state)


def window_fill(x: np.ndarray, mask: np.ndarray, ch_state: np.ndarray) -> np.ndarray:
    """Return what the window itself tells of its gaps: other channels, and the channel's own past and future.

    Where several channels are hidden at the same samples, ridge regression from the channels that are never hidden is
    fitted to the samples at which everything is visible; what it leaves of a hidden channel is filled in by `ar_fill`.
    Without such channels, or with too few samples to fit, `ar_fill` does all. Channels that are hidden entirely, which
    no window tells anything of, stay 0.
    """
    measured = ch_state == MEASURED
    hidden = measured & mask.any(axis=-1)
    partly = hidden & ~mask.all(axis=-1)
    sources = measured & ~hidden
    shown = ~mask[partly].any(axis=0)
    if not sources.any() or not partly.any() or shown.sum() < 4 * sources.sum():
        return ar_fill(x, mask, ch_state)
    seen = x[np.ix_(sources, shown)].astype(np.float64)
    products = seen @ seen.T
    ridge = SPATIAL_RIDGE * products.trace() / len(products) + np.finfo(np.float64).tiny
    weights = np.linalg.solve(products + ridge * np.eye(len(products)), seen @ x[np.ix_(partly, shown)].T).T
    guess = (weights @ x[sources]).astype(np.float32)
    rest = np.array(x, dtype=np.float32)
    rest[partly] = np.where(mask[partly], 0, x[partly] - guess)
    filled = fill_hidden(x, mask)
    filled[partly] = np.where(mask[partly], guess + ar_fill(rest, mask, ch_state)[partly], x[partly])
    return filled


def fill_hidden(x: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Return the window with the line across each gap, float32, shape of `x` (`model.pretraining.masking`)."""
    line = masking.fill_hidden(torch.from_numpy(np.asarray(x, dtype=np.float32))[None], torch.from_numpy(mask)[None])
    return np.asarray(line[0].numpy())


def visible_mean(x: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Return, at hidden samples, the mean of the channel's visible ones, shape of `x`."""
    means = np.where(mask, 0, x).sum(-1, keepdims=True) / np.maximum((~mask).sum(-1, keepdims=True), 1)
    return np.where(mask, means, x)


def spline_fill(x: np.ndarray, mask: np.ndarray, ch_state: np.ndarray, positions: np.ndarray) -> np.ndarray:
    """Return spherical splines (Perrin et al. 1989) through the measured channels that are visible at each sample.

    `positions` has shape (n_chans, 3). Where no measured channel is visible, there is nothing to interpolate from: the
    line across the gap stands instead. Every set of visible channels is solved once, all of them in one batch.
    """
    filled = fill_hidden(x, mask)
    measured = np.flatnonzero(ch_state == MEASURED)
    hidden = mask[measured]
    patterns, which = different_columns(hidden)
    weights = _spline_weights(~patterns.T, _kernel(tuple(map(tuple, positions[measured].tolist()))))
    estimate = np.einsum("tcs,st->ct", weights[which], np.where(hidden, 0, x[measured]))
    usable = hidden & np.any(~patterns, axis=0)[which]
    filled[measured] = np.where(usable, estimate, filled[measured])
    return filled


def different_columns(hidden: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the different columns of a mask, and which of them stands at each place, as `np.unique` along axis 1.

    Columns are numbered 32 rows at a time: sorting numbers is much faster than sorting columns.
    """
    number = np.zeros(hidden.shape[1], dtype=np.int64)
    for start in range(0, len(hidden), 32):
        rows = hidden[start : start + 32]
        bits = (np.int64(1) << np.arange(len(rows))) @ rows
        _, first, number = np.unique((number << 32) | bits, return_index=True, return_inverse=True)
    return hidden[:, first], number


@lru_cache(maxsize=64)
def _kernel(positions: tuple[tuple[float, ...], ...]) -> np.ndarray:
    places = np.array(positions)
    return spline_kernel(places, places)


def _spline_weights(visible_UC: np.ndarray, kernel_CC: np.ndarray) -> np.ndarray:
    """Return for U sets of visible channels the matrices to all channels from them, shape (U, C, C).

    The linear system of `signals.montage.splines.spline_matrix`, with the rows and columns of hidden channels made the
    identity's, so that systems of all sizes fit one batch. A set of none gives 0.
    """
    n_sets, n_chans = visible_UC.shape
    there = visible_UC.astype(np.float64)
    system = np.zeros((n_sets, n_chans + 1, n_chans + 1))
    system[:, :-1, :-1] = kernel_CC * there[:, :, None] * there[:, None, :]
    rows = np.arange(n_chans)
    system[:, rows, rows] += np.where(visible_UC, REGULARISATION, 1.0)
    system[:, :-1, -1] = system[:, -1, :-1] = there
    system[:, -1, -1] = np.where(visible_UC.any(axis=1), 0.0, 1.0)
    sources = np.zeros((n_chans + 1, n_chans))
    sources[:-1] = np.eye(n_chans)
    solved = np.linalg.solve(system, np.broadcast_to(sources, (n_sets, *sources.shape)))
    return (kernel_CC @ solved[:, :-1] + solved[:, -1:]) * there[:, None, :]


def ar_fill(
    x: np.ndarray, mask: np.ndarray, ch_state: np.ndarray, *, order: int = AR_ORDER, ridge: float = AR_RIDGE
) -> np.ndarray:
    """Return, channel by channel, the gap values that an autoregressive model of that channel finds likeliest.

    Coefficients: least squares over forward and backward prediction of the visible stretches. Values: those of least
    squared prediction error given all visible samples on both sides (Janssen, Veldhuis & Vries 1986), which weighs
    forward and backward prediction by what each knows. A channel with too few visible stretches, or that is flat, or
    hidden entirely, keeps the line across the gap.
    """
    filled = fill_hidden(x, mask)
    for channel in np.flatnonzero((ch_state == MEASURED) & mask.any(axis=-1)):
        hidden = mask[channel]
        coefficients = ar_coefficients(x[channel], ~hidden, order=order, ridge=ridge)
        if coefficients is not None:
            filled[channel, hidden] = _likeliest(x[channel], hidden, coefficients)
    return filled


def ar_coefficients(x: np.ndarray, visible: np.ndarray, *, order: int, ridge: float) -> np.ndarray | None:
    """Return the prediction error filter (1, -a1, ..., -a_order) of one channel, or None without enough samples."""
    complete = np.convolve(visible, np.ones(order + 1), mode="valid") > order + 0.5
    if complete.sum() < 2 * order:
        return None
    stretches = np.lib.stride_tricks.sliding_window_view(np.asarray(x, dtype=np.float64), order + 1)[complete]
    products = stretches.T @ stretches
    products = products + products[::-1, ::-1]  # backward prediction has the same coefficients
    power = products.trace() / (order + 1)
    if not power > 0:
        return None
    system = products[1:, 1:] + ridge * power * np.eye(order)
    return np.concatenate([[1.0], -np.linalg.solve(system, products[1:, 0])])


def _likeliest(x: np.ndarray, hidden: np.ndarray, coefficients: np.ndarray) -> np.ndarray:
    """Return the hidden samples that minimise the summed squared output of the filter; the signal ends in zeros."""
    order, n_times = len(coefficients) - 1, len(x)
    products = np.correlate(coefficients, coefficients, mode="full")
    known = np.convolve(np.where(hidden, 0.0, x), products, mode="same")
    banded = np.zeros((order + 1, n_times))
    for lag in range(order + 1):
        both = hidden[: n_times - lag] & hidden[lag:]
        banded[lag, : n_times - lag] = products[order + lag] * both
    banded[0, ~hidden] = 1.0
    return solveh_banded(banded, np.where(hidden, -known, 0.0), lower=True)[hidden]
