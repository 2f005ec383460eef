import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from model.pretraining.draws import Draws
from model.pretraining.masking import (
    MIN_GROUP,
    SPAN_MS,
    MaskPlan,
    draw_masks,
    fill_hidden,
    hide,
    place_spans,
    span_lengths,
)
from signals.electrodes import electrode_positions
from signals.modality import EEG_1020
from signals.montage.splines import spline_matrix
from signals.window import ABSENT, INTERPOLATED, MEASURED

SFREQ = 256.0
RANDOM, WHOLE_TIME, WHOLE_CHANNEL = (1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0)
states = st.lists(st.sampled_from([ABSENT, INTERPOLATED, MEASURED]), min_size=4, max_size=24).map(
    lambda s: np.array([MEASURED, MEASURED, *s], dtype=np.uint8)
)


def draws(seed: int, n: int = 1) -> Draws:
    return Draws(seed, torch.arange(n))


def drawn(seed: int, ch_state: np.ndarray, n_times: int, **more: object) -> np.ndarray:
    is_eeg = more.pop("is_eeg", None)
    if is_eeg is not None:
        more["is_eeg_BC"] = torch.from_numpy(is_eeg)[None]
    return draw_masks(draws(seed), torch.from_numpy(ch_state)[None], n_times, sfreq=SFREQ, **more)[0].numpy()


def hidden(x: np.ndarray, mask: np.ndarray, ch_state: np.ndarray, **more: object) -> tuple[np.ndarray, np.ndarray]:
    is_eeg = more.pop("is_eeg", None)
    if is_eeg is not None:
        more["is_eeg_BC"] = torch.from_numpy(is_eeg)[None]
    made = hide(*(torch.from_numpy(a)[None] for a in (x, mask, ch_state)), **more)
    return made[0][0].numpy(), made[1][0].numpy()


def runs(mask: np.ndarray) -> np.ndarray:
    edges = np.flatnonzero(np.diff(np.concatenate([[0], mask.astype(int), [0]])))
    return edges[1::2] - edges[::2]


def test_span_lengths_are_log_uniform_between_15_and_500_ms() -> None:
    lengths = span_lengths(draws(0), 20_000, sfreq=SFREQ, span_ms=SPAN_MS).numpy()
    # 15 ms and 500 ms are 3.84 and 128 samples
    assert lengths.min() == 4
    assert lengths.max() == 128
    # a log-uniform length lies below the geometric mean of its bounds half of the time: sqrt(3.84 * 128) = 22.2
    assert np.mean(lengths <= 22) == pytest.approx(0.5, abs=0.02)


def test_spans_have_at_least_two_samples_at_low_rates() -> None:
    assert span_lengths(draws(0), 1000, sfreq=64.0, span_ms=SPAN_MS).min() == 2


def test_spans_are_whole_and_hide_the_requested_share() -> None:
    masks = place_spans(draws(0, 50), 12800, sfreq=SFREQ, span_ms=SPAN_MS, hidden_share=0.3).numpy()
    lengths = np.concatenate([runs(mask) for mask in masks])
    assert lengths.min() >= 4
    assert lengths.max() <= 128
    assert not any(mask[0] or mask[-1] for mask in masks)
    assert np.mean(masks) == pytest.approx(0.3, abs=0.03)


@settings(max_examples=60, deadline=None)
@given(ch_state=states, seed=st.integers(0, 2**32), weights=st.sampled_from([RANDOM, WHOLE_TIME, WHOLE_CHANNEL]))
def test_dependent_channels_are_hidden_together(
    ch_state: np.ndarray, seed: int, weights: tuple[float, float, float]
) -> None:
    plan = MaskPlan(schedule_weights=weights)
    mask = drawn(seed, ch_state, 1024, plan=plan)
    assert mask.any()
    measured, interpolated = mask[ch_state == MEASURED], mask[ch_state == INTERPOLATED]
    somewhere = mask.any(axis=0)
    # one group a window: its channels are hidden at the same samples, and the rest is visible throughout
    group = measured.any(axis=1)
    assert group.sum() >= MIN_GROUP
    assert (measured[group] == somewhere).all()
    assert (interpolated == somewhere).all()
    assert not mask[ch_state == ABSENT].any()


def test_schedules_differ_as_named() -> None:
    ch_state = np.full(19, MEASURED)
    time, channel, random = (
        drawn(0, ch_state, 2560, plan=MaskPlan(schedule_weights=w)) for w in (WHOLE_TIME, WHOLE_CHANNEL, RANDOM)
    )
    assert (time == time[0]).all()
    assert set(channel.mean(axis=1)) == {0.0, 1.0}
    # 19 channels: a quarter is 4, half is 9; whole channels up to a quarter
    assert 4 <= random.any(axis=1).sum() <= 9
    assert not random.all(axis=1).any()
    assert MIN_GROUP <= channel.any(axis=1).sum() <= 4


def test_a_window_s_mask_depends_on_its_seed_and_sample_alone() -> None:
    state = torch.full((3, 19), MEASURED)
    plan = MaskPlan()
    three = draw_masks(Draws(5, torch.tensor([3, 4, 9])), state, 2560, sfreq=SFREQ, plan=plan)
    two = draw_masks(Draws(5, torch.tensor([9, 4])), state[:2], 2560, sfreq=SFREQ, plan=plan)
    assert torch.equal(three[[2, 1]], two)
    assert not torch.equal(three[0], three[1])
    assert not torch.equal(three, draw_masks(Draws(6, torch.tensor([3, 4, 9])), state, 2560, sfreq=SFREQ, plan=plan))


def test_schedules_come_as_often_as_they_are_weighted() -> None:
    masks = draw_masks(
        draws(1, 2000), torch.full((2000, 19), MEASURED), 256, sfreq=SFREQ, plan=MaskPlan(schedule_weights=(5, 2, 3))
    )
    whole_time = masks.any(-1).all(-1).float().mean()
    whole_channel = masks.all(-1).any(-1).float().mean()
    # Of 2,000 draws a share of 0.3 lies within 0.04 of it in all but one of 10,000 cases.
    assert whole_time.item() == pytest.approx(0.2, abs=0.04)
    assert whole_channel.item() == pytest.approx(0.3, abs=0.04)


def test_one_measured_channel_is_not_masked() -> None:
    state = torch.tensor([[MEASURED, ABSENT, INTERPOLATED], [MEASURED, MEASURED, INTERPOLATED]])
    masks = draw_masks(draws(0, 2), state, 256, sfreq=SFREQ, plan=MaskPlan())
    assert not masks[0].any()
    assert masks[1].any()


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 2**32), share=st.floats(0.05, 0.95))
def test_filling_is_numpys_interpolation(seed: int, share: float) -> None:
    rng = np.random.default_rng(seed)
    x, mask = rng.normal(size=(3, 64)), rng.random((3, 64)) < share
    mask[2] = True
    filled = fill_hidden(torch.from_numpy(x), torch.from_numpy(mask)).numpy()
    index = np.arange(64)
    for row in range(2):
        if not mask[row].all():
            visible = ~mask[row]
            np.testing.assert_allclose(filled[row], np.interp(index, index[visible], x[row, visible]), atol=1e-5)
    assert (filled[2] == 0).all()


@pytest.mark.parametrize(
    "wrong",
    [
        {"span_ms": (500.0, 15.0)},
        {"hidden_share": 1.0},
        {"schedule_weights": (1.0, -1.0, 0.0)},
        {"mask_unit": "seconds"},
        {"patch_times": 0},
    ],
)
def test_contradictory_plans_are_refused(wrong: dict) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        MaskPlan(**wrong)


def test_patch_masks_lie_on_patches_and_hide_the_same_share() -> None:
    plan = MaskPlan(schedule_weights=RANDOM, mask_unit="patches")
    masks = draw_masks(draws(0, 40), torch.full((40, 8), MEASURED), 12810, sfreq=SFREQ, plan=plan).numpy()
    patches = masks[..., :12800].reshape(40, 8, 200, 64)
    assert (patches.all(-1) == patches.any(-1)).all()
    # 500 ms is 128 samples, two patches of 64
    assert max(runs(row).max(initial=0) for row in patches[..., 0].reshape(-1, 200)) <= 2
    assert not masks[..., 12800:].any()
    hidden = masks[masks.any(axis=-1)]
    assert hidden.mean() == pytest.approx(0.3, abs=0.04)


def test_window_too_short_for_patches_is_refused() -> None:
    with pytest.raises(ValueError, match="n_times=128 holds fewer than 3 units of 64"):
        drawn(0, np.full(8, MEASURED), 128, plan=MaskPlan(mask_unit="patches"))


def explained(seen: np.ndarray, truth: np.ndarray) -> float:
    """Return the share of the variance of `truth` (n,) that the best ridge map of `seen` explains, unseen."""
    half = seen.shape[1] // 2
    gram = seen[:, :half] @ seen[:, :half].T
    weights = np.linalg.solve(
        gram + 1e-3 * np.trace(gram) / len(gram) * np.eye(len(gram)), seen[:, :half] @ truth[:half]
    )
    error = truth[half:] - weights @ seen[:, half:]
    return float(1 - error.var() / truth[half:].var())


N_TIMES = 40_000
CHANCE = 0.01
"""Of 40,000 samples a map from 19 channels explains less than 19 / 20,000 = 0.001 by luck."""


def referenced_sources(ch_state: np.ndarray) -> np.ndarray:
    """Return independent potentials, those of interpolated electrodes splined from the rest, against the average."""
    positions = electrode_positions(EEG_1020.ch_names)
    x = np.random.default_rng(5).normal(size=(19, N_TIMES))
    there, interpolated = ch_state == MEASURED, ch_state == INTERPOLATED
    x[interpolated] = spline_matrix(positions[there], positions[interpolated]) @ x[there]
    x[ch_state != ABSENT] -= x[ch_state != ABSENT].mean(axis=0)
    x[ch_state == ABSENT] = 0
    return x.astype(np.float32)


@pytest.mark.parametrize("weights", [RANDOM, WHOLE_CHANNEL])
@pytest.mark.parametrize(("n_interpolated", "n_absent"), [(0, 0), (4, 0), (3, 2)])
def test_linear_solver_stays_at_chance(n_interpolated: int, n_absent: int, weights: tuple[float, float, float]) -> None:
    ch_state = np.full(19, MEASURED)
    ch_state[[2, 7, 11, 16][:n_interpolated]] = INTERPOLATED
    ch_state[[4, 9][:n_absent]] = ABSENT
    x = referenced_sources(ch_state)
    for seed in range(3):
        plan = MaskPlan(schedule_weights=weights)
        mask = drawn(seed, ch_state, N_TIMES, plan=plan)
        truth, seen = hidden(x, mask, ch_state)
        hides, at = np.flatnonzero(mask.any(axis=1) & (ch_state == MEASURED)), mask.any(axis=0)
        visible = seen[~mask.any(axis=1)][:, at].astype(float)
        for wanted in [*truth[hides], truth[hides].sum(axis=0)]:
            assert abs(explained(visible, wanted[at])) < CHANCE
        # the same solver, where the average reference is left as it was, finds the sum and a part of each channel
        raw = x[~mask.any(axis=1)][:, at].astype(float)
        assert n_interpolated or explained(raw, x[hides].sum(axis=0)[at]) > 0.95
        assert explained(raw, x[hides].sum(axis=0)[at]) > 0.3


def test_what_is_visible_at_a_hidden_sample_does_not_depend_on_what_is_hidden() -> None:
    ch_state = np.full(19, MEASURED)
    ch_state[3] = INTERPOLATED
    mask = drawn(1, ch_state, 2560, plan=MaskPlan(schedule_weights=RANDOM))
    positions = electrode_positions(EEG_1020.ch_names)
    there = ch_state == MEASURED
    both = []
    for seed in (0, 1):
        x = np.random.default_rng(9).normal(size=(19, 2560))
        x[mask] = np.random.default_rng(seed).normal(size=mask.sum())
        x[3] = spline_matrix(positions[there], positions[~there]) @ x[there]
        both.append(hidden((x - x.mean(axis=0)).astype(np.float32), mask, ch_state)[1])
    np.testing.assert_allclose(*both, atol=1e-5)
    assert np.abs(x).max() > 1


def test_other_sensors_are_neither_hidden_nor_referenced() -> None:
    ch_state, is_eeg = np.array([MEASURED] * 6 + [ABSENT] + [MEASURED] * 2), np.arange(9) < 7
    x = np.random.default_rng(0).normal(size=(9, 1024)).astype(np.float32)
    mask = drawn(2, ch_state, 1024, plan=MaskPlan(), is_eeg=is_eeg)
    truth, seen = hidden(x, mask, ch_state, is_eeg=is_eeg)
    assert not mask[6:].any()
    np.testing.assert_array_equal(seen[6:], x[6:])
    assert np.abs(truth[:6][~mask[:6].any(axis=1)].mean(axis=0)).max() < 1e-6
    assert np.abs(truth[:6] - x[:6]).max() > 0.1


@given(seed=st.integers(0, 10_000), derived=st.booleans(), weights=st.sampled_from([RANDOM, WHOLE_TIME, WHOLE_CHANNEL]))
@settings(max_examples=30, deadline=None)
def test_no_sum_of_visible_leads_gives_a_hidden_one(seed: int, derived: bool, weights: tuple[float, ...]) -> None:
    # Two limb leads give the other four exactly: whatever the plan, no lead is seen where another is hidden.
    state = np.full(12, MEASURED, np.uint8)
    state[2:6] = INTERPOLATED if derived else MEASURED
    mask = drawn(seed, state, 1000, plan=MaskPlan(schedule_weights=weights), is_eeg=np.zeros(12, bool))
    assert mask.any()
    assert (mask == mask[0]).all()
    assert not mask.all()
    x = np.random.default_rng(seed).normal(size=(12, 1000)).astype(np.float32)
    truth, _ = hidden(x, mask, state, is_eeg=np.zeros(12, bool))
    np.testing.assert_array_equal(truth, x)  # a lead has its own reference: nothing is taken from it
