import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from model.masking import MAX_GROUP, MIN_GROUP, SPAN_MS, MaskPlan, draw_mask, fill_hidden, place_spans, span_lengths
from signals.windows import ABSENT, INTERPOLATED, MEASURED

SFREQ = 256.0
RANDOM, WHOLE_TIME, WHOLE_CHANNEL = (1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0)
states = st.lists(st.sampled_from([ABSENT, INTERPOLATED, MEASURED]), min_size=4, max_size=24).map(
    lambda s: np.array([MEASURED, MEASURED, *s], dtype=np.uint8)
)


def runs(mask: np.ndarray) -> np.ndarray:
    edges = np.flatnonzero(np.diff(np.concatenate([[0], mask.astype(int), [0]])))
    return edges[1::2] - edges[::2]


def test_span_lengths_are_log_uniform_between_15_and_500_ms() -> None:
    lengths = span_lengths(np.random.default_rng(0), 20_000, sfreq=SFREQ, span_ms=SPAN_MS)
    # 15 ms and 500 ms are 3.84 and 128 samples
    assert lengths.min() == 4
    assert lengths.max() == 128
    # a log-uniform length lies below the geometric mean of its bounds half of the time: sqrt(3.84 * 128) = 22.2
    assert np.mean(lengths <= 22) == pytest.approx(0.5, abs=0.02)


def test_spans_have_at_least_two_samples_at_low_rates() -> None:
    assert span_lengths(np.random.default_rng(0), 1000, sfreq=64.0, span_ms=SPAN_MS).min() == 2


def test_spans_are_whole_and_hide_the_share_asked_for() -> None:
    rng = np.random.default_rng(0)
    masks = [place_spans(rng, 12800, sfreq=SFREQ, span_ms=SPAN_MS, hidden_share=0.3) for _ in range(50)]
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
    mask = draw_mask(np.random.default_rng(seed), ch_state, 1024, sfreq=SFREQ, plan=plan)
    assert mask.any()
    measured, interpolated = mask[ch_state == MEASURED], mask[ch_state == INTERPOLATED]
    somewhere = mask.any(axis=0)
    # the sum over channels is 0 in an average reference: one hidden channel alone could be solved for
    assert (measured.sum(axis=0)[somewhere] >= MIN_GROUP).all()
    assert (interpolated == somewhere).all()
    assert not mask[ch_state == ABSENT].any()


def test_schedules_differ_as_named() -> None:
    ch_state = np.full(19, MEASURED)
    rng = np.random.default_rng(0)
    time, channel, random = (
        draw_mask(rng, ch_state, 2560, sfreq=SFREQ, plan=MaskPlan(schedule_weights=w))
        for w in (WHOLE_TIME, WHOLE_CHANNEL, RANDOM)
    )
    assert (time == time[0]).all()
    assert set(channel.mean(axis=1)) == {0.0, 1.0}
    patterns = np.unique(random, axis=0, return_counts=True)[1]
    assert patterns.min() >= MIN_GROUP
    assert patterns.max() <= MAX_GROUP


def test_mask_is_a_function_of_the_seed() -> None:
    ch_state = np.full(19, MEASURED)
    a, b, c = (
        draw_mask(np.random.default_rng((0, sample)), ch_state, 2560, sfreq=SFREQ, plan=MaskPlan())
        for sample in (3, 3, 4)
    )
    assert (a == b).all()
    assert (a != c).any()


def test_one_measured_channel_cannot_be_masked() -> None:
    ch_state = np.array([MEASURED, ABSENT, INTERPOLATED])
    with pytest.raises(ValueError, match="1 measured channels"):
        draw_mask(np.random.default_rng(0), ch_state, 256, sfreq=SFREQ, plan=MaskPlan())


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 2**32), share=st.floats(0.05, 0.95))
def test_filling_is_numpys_interpolation(seed: int, share: float) -> None:
    rng = np.random.default_rng(seed)
    x, mask = rng.normal(size=(3, 64)), rng.random((3, 64)) < share
    mask[2] = True
    filled = fill_hidden(x, mask)
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
    rng = np.random.default_rng(0)
    masks = np.stack([draw_mask(rng, np.full(8, MEASURED), 2570, sfreq=SFREQ, plan=plan) for _ in range(60)])
    patches = masks[..., :2560].reshape(60, 8, 40, 64)
    assert (patches.all(-1) == patches.any(-1)).all()
    # 500 ms is 128 samples, two patches of 64
    assert runs(patches[0, 0, :, 0]).max() <= 2
    assert not masks[..., 2560:].any()
    assert masks.mean() == pytest.approx(0.3, abs=0.04)


def test_window_too_short_for_patches_is_refused() -> None:
    with pytest.raises(ValueError, match="n_times=128 holds fewer than 3 units of 64"):
        draw_mask(np.random.default_rng(0), np.full(8, MEASURED), 128, sfreq=SFREQ, plan=MaskPlan(mask_unit="patches"))
