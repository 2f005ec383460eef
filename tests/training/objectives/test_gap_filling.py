import mne
import numpy as np
import pytest
from scipy.linalg import toeplitz
from scipy.signal import lfilter

from signals.modality import EEG_1020
from signals.montage.splines import spline_matrix
from signals.window import INTERPOLATED, MEASURED
from training.objectives.gap_filling import (
    ar_coefficients,
    ar_fill,
    different_columns,
    fill_hidden,
    fill_to_start,
    spline_fill,
    visible_mean,
    window_fill,
)

POSITIONS = np.asarray(EEG_1020.positions)
ALL = np.full(19, MEASURED)


def masked(rng: np.random.Generator, n_times: int = 60) -> tuple[np.ndarray, np.ndarray]:
    """19 channels, some of them hidden in three stretches; at the last sample all are."""
    x, mask = rng.normal(size=(19, n_times)).astype(np.float32), np.zeros((19, n_times), dtype=bool)
    mask[[0, 4], 5:20] = mask[[4, 9, 12], 15:30] = mask[[18], 40:41] = mask[:, -1] = True
    return x, mask


def test_splines_are_those_of_the_visible_channels_at_each_sample() -> None:
    x, mask = masked(np.random.default_rng(0))
    state = ALL.copy()
    state[7] = INTERPOLATED
    filled = spline_fill(x, mask, state, POSITIONS)
    for t in range(59):
        hidden = np.flatnonzero(mask[:, t] & (state == MEASURED))
        sources = np.flatnonzero(~mask[:, t] & (state == MEASURED))
        wanted = spline_matrix(POSITIONS[sources], POSITIONS[hidden]) @ x[sources, t]
        np.testing.assert_allclose(filled[hidden, t], wanted, atol=2e-4)
    assert np.array_equal(filled[~mask], x[~mask])
    assert np.array_equal(filled[:, -1], fill_hidden(x, mask)[:, -1])  # nothing to interpolate from


@pytest.mark.parametrize("n_chans", [1, 19, 32, 33, 70])
def test_different_columns_are_those_of_numpy(n_chans: int) -> None:
    rng = np.random.default_rng(n_chans)
    few = rng.random((n_chans, 5)) < 0.5
    few[-1, 0], few[-1, 1:] = True, False  # one of them differs in the last row
    hidden = few[:, rng.integers(0, 5, 200)]
    columns, which = different_columns(hidden)
    assert np.array_equal(columns[:, which], hidden)
    assert columns.shape[1] == np.unique(hidden, axis=1).shape[1]


def test_splines_agree_with_mne() -> None:
    names = list(EEG_1020.ch_names)
    x, mask = np.random.default_rng(1).normal(size=(19, 40)), np.zeros((19, 40), dtype=bool)
    mask[[2, 11]] = True
    raw = mne.io.RawArray(x, mne.create_info(names, 256.0, "eeg"), verbose="error")
    places = dict(zip(names, 0.095 * POSITIONS, strict=True))
    raw.set_montage(mne.channels.make_dig_montage(places, coord_frame="head"))
    raw.info["bads"] = [names[2], names[11]]
    theirs = raw.interpolate_bads(origin=(0.0, 0.0, 0.0), verbose="error").get_data()
    np.testing.assert_allclose(spline_fill(x, mask, ALL, POSITIONS)[mask], theirs[mask], atol=1e-5)


def ar2(rng: np.random.Generator, n_times: int) -> np.ndarray:
    """1.6 x[t-1] - 0.8 x[t-2] + noise: a damped rhythm."""
    return lfilter([1.0], [1.0, -1.6, 0.8], rng.normal(size=n_times + 500))[500:]


def test_coefficients_of_a_known_process_come_back_from_visible_samples_alone() -> None:
    x, visible = ar2(np.random.default_rng(2), 20_000), np.ones(20_000, dtype=bool)
    visible[::50] = False
    x[~visible] = 1e6
    coefficients = ar_coefficients(x, visible, order=4, ridge=0.0)
    assert coefficients is not None
    np.testing.assert_allclose(coefficients, [1.0, -1.6, 0.8, 0.0, 0.0], atol=0.03)
    rows = np.array([x[t - 4 : t + 1] for t in range(4, 20_000) if visible[t - 4 : t + 1].all()])
    both = np.concatenate([rows, rows[:, ::-1]])  # forward and backward
    wanted = np.linalg.lstsq(both[:, 3::-1], both[:, 4], rcond=None)[0]
    np.testing.assert_allclose(coefficients[1:], -wanted, rtol=1e-6)


def test_gap_takes_the_expectation_given_both_sides() -> None:
    """Of a Gaussian process that is cov(gap, rest) cov(rest)^-1 rest, its covariance that of the AR(2) process."""
    n_times, gap = 40_000, np.arange(2000, 2020)
    x, mask = ar2(np.random.default_rng(3), n_times), np.zeros(n_times, dtype=bool)
    mask[gap] = True
    r = [1.0, 1.6 / 1.8]  # Yule-Walker: r1 = a1 / (1 - a2) with a1 = 1.6, a2 = -0.8
    for _ in range(118):
        r.append(1.6 * r[-1] - 0.8 * r[-2])
    near = slice(1960, 2060)
    covariance, hidden = toeplitz(r[:100]), mask[near]
    wanted = covariance[np.ix_(hidden, ~hidden)] @ np.linalg.solve(
        covariance[np.ix_(~hidden, ~hidden)], x[near][~hidden]
    )
    filled = ar_fill(x[None], mask[None], np.array([MEASURED]), order=2, ridge=0.0)[0]
    assert np.corrcoef(filled[gap], wanted)[0, 1] > 0.999
    np.testing.assert_allclose(filled[gap], wanted, atol=0.15 * wanted.std())


def test_hidden_samples_are_never_read() -> None:
    x, mask = masked(np.random.default_rng(4), 400)
    spoilt = np.where(mask, np.float32(1e9), x)
    for fill in (
        visible_mean,
        lambda x, mask: spline_fill(x, mask, ALL, POSITIONS),
        lambda x, mask: ar_fill(x, mask, ALL, order=6),
        lambda x, mask: window_fill(x[:, :-1], mask[:, :-1], ALL),
    ):
        assert np.array_equal(fill(x, mask), fill(spoilt, mask))


@pytest.mark.parametrize("case", ["flat", "hidden", "short"])
def test_without_a_model_the_line_stays(case: str) -> None:
    x, mask = np.random.default_rng(5).normal(size=(1, 300)).astype(np.float32), np.zeros((1, 300), dtype=bool)
    mask[0, 100:110] = True
    if case == "flat":
        x[:] = 0
    elif case == "hidden":
        mask[:] = True
    else:
        mask[0, ::8] = True
    state = np.array([MEASURED])
    assert np.array_equal(ar_fill(x, mask, state), fill_hidden(x, mask))


def test_channels_that_are_not_measured_are_left() -> None:
    x, mask = masked(np.random.default_rng(6))
    state = np.where(np.arange(19) == 4, INTERPOLATED, MEASURED)
    line = fill_hidden(x, mask)
    assert np.array_equal(ar_fill(x, mask, state, order=4)[4], line[4])
    assert np.array_equal(spline_fill(x, mask, state, POSITIONS)[4], line[4])


def test_window_filling_learns_from_the_window_what_channels_share() -> None:
    """Hidden channels are sums of visible ones and a smooth rest: regression finds the sum, autoregression the rest."""
    rng = np.random.default_rng(7)
    x, mask = rng.normal(size=(19, 1000)).astype(np.float32), np.zeros((19, 1000), dtype=bool)
    mask[:4, 300:330] = mask[:4, 700:740] = True
    rest = 0.3 * np.sin(2 * np.pi * np.arange(1000) / 40)
    x[:4] = rng.normal(size=(4, 15)).astype(np.float32) @ x[4:] + rest
    filled = window_fill(x, mask, ALL)
    error, alone = ((y - x)[mask].var() / x[mask].var() for y in (filled, ar_fill(x, mask, ALL)))
    assert error < 0.01 < 0.5 < alone
    assert np.array_equal(filled[~mask], x[~mask])
    assert np.array_equal(fill_to_start(x, mask, ALL, "window"), filled)
    assert np.array_equal(fill_to_start(x, mask, ALL, "line"), fill_hidden(x, mask))
    assert np.array_equal(fill_to_start(x, mask, ALL, "ar"), ar_fill(x, mask, ALL))


def test_window_filling_without_other_channels_is_autoregressive() -> None:
    x, mask = np.random.default_rng(8).normal(size=(19, 600)).astype(np.float32), np.zeros((19, 600), dtype=bool)
    mask[:, 100:120] = True
    assert np.array_equal(window_fill(x, mask, ALL), ar_fill(x, mask, ALL))
    whole = np.zeros_like(mask)
    whole[:3] = True
    assert not window_fill(x, whole, ALL)[:3].any()
