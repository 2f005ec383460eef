import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from signals.description.artifacts import BIT, KINDS
from signals.shards.tally import Sums, Tally, flagged_seconds, quality_bin, valid_samples
from signals.window import ABSENT, INTERPOLATED, MEASURED, Provenance, Window

counts = st.dictionaries(st.sampled_from(["a", "b", "c"]), st.integers(0, 9))
bins = st.tuples(*[st.integers(0, 9)] * 3)
sums = st.builds(Sums, classes=counts, channel_seconds=counts, quality=bins, decisions=counts)


@given(sums, sums, sums)
def test_sums_add_in_any_order(a, b, c):
    assert a + b == b + a
    assert (a + b) + c == a + (b + c)
    assert a + Sums() == Sums() + a == Sums.from_dict({**a.to_dict()}) or sum(a.quality) == 0


def test_a_sum():
    a = Sums(classes={"LPD": 1}, quality=(1, 0), presence={"measured": (2, 0)})
    b = Sums(classes={"LPD": 2, "GPD": 1}, quality=(0, 5))
    expected = Sums(classes={"GPD": 1, "LPD": 3}, presence={"measured": (2, 0)}, quality=(1, 5))
    assert a + b == expected
    assert Sums.from_dict(expected.to_dict()) == expected


def test_decisions_on_quality_are_counted_and_nothing_where_none_was_stored():
    tally = Tally()
    for decision in ("good", "noise", "artifacts+noise", "good", ""):
        tally.add(window(quality_verdict=decision))
    # Five windows, one of which has no decision: the decisions count four.
    assert tally.sums().decisions == {"artifacts+noise": 1, "good": 2, "noise": 1}
    assert sum(tally.sums().quality) == 5
    older = Tally()
    older.add(window(quality_verdict=""))
    assert "decisions" not in older.sums().to_dict()
    assert (tally.sums() + older.sums()).decisions == tally.sums().decisions
    assert Sums.from_dict(tally.sums().to_dict()) == tally.sums()


def test_nothing_is_written_of_no_windows():
    assert Sums().to_dict() == {}
    assert Sums.from_dict({}) == Sums()


def window(mask=None, *, state=None, quality=None, data=None, **changes):
    """19 channels and four seconds of 256 samples; the fourth channel is interpolated, the fifth absent."""
    states = np.full(19, MEASURED, dtype=np.uint8)
    states[3], states[4] = INTERPOLATED, ABSENT
    fields = {
        "data": np.ones((19, 1024), np.float32) if data is None else data,
        "ch_state": states if state is None else state,
        "artifact_mask": np.zeros((19, 4), np.uint16) if mask is None else mask,
        "quality": np.ones(19, np.float32) if quality is None else quality, "features": np.zeros((19, 29), np.float32),
        "modality": "eeg_1020", "sfreq": 256.0, "band": (0.5, 50.0), "site_id": "north", "subject_id": "s",
        "recording_id": "r", "start_s": 0.0,
        "provenance": Provenance(source_sha256="", segment=0, start_sample=0, stop_sample=1, reader="", config_hash="",
                                 code_version=""),
    } | changes  # fmt: skip
    return Window(**fields)


def test_flagged_seconds_are_counted_one_by_one():
    mask = np.zeros((19, 4), np.uint16)
    mask[0] = [BIT["flat"], BIT["flat"] | BIT["gap"], 0, BIT["gap"]]
    mask[1, 2] = BIT["muscle"] | BIT["amplitude"]
    mask[3] = mask[4] = BIT["muscle"]  # interpolated and absent: not counted
    # 17 measured channels of four seconds.
    none = dict.fromkeys(KINDS, 0)
    assert flagged_seconds(window(mask)) == none | {"flat": 2, "gap": 2, "muscle": 1, "amplitude": 1, "all": 68}


@given(st.integers(0, 2**32 - 1))
def test_flagged_seconds_against_a_plain_loop(seed):
    rng = np.random.default_rng(seed)
    mask = rng.integers(0, 2 ** len(KINDS), (19, 4)).astype(np.uint16)
    state = rng.integers(0, 3, 19).astype(np.uint8)
    expected = dict.fromkeys([*KINDS, "all"], 0)
    for row, known in zip(mask.tolist(), state.tolist(), strict=True):
        for bits in row if known == MEASURED else ():
            expected["all"] += 1
            for position, kind in enumerate(KINDS):
                expected[kind] += bits >> position & 1
    assert dict(flagged_seconds(window(mask, state=state))) == expected


@pytest.mark.parametrize(
    ("quality", "expected"), [(0.0, 0), (0.0999, 0), (0.1001, 1), (0.5001, 5), (0.8999, 8), (0.9001, 9), (1.0, 9)]
)
def test_ten_bins_of_quality(quality, expected):
    values = np.full(19, quality, dtype=np.float64)
    values[3:5] = 1.0 - quality  # not measured: not counted
    assert quality_bin(window(quality=values)) == expected


def test_quality_of_a_window_without_measured_channels():
    assert quality_bin(window(state=np.full(19, INTERPOLATED, np.uint8))) == 0


def test_which_samples_count():
    mask = np.zeros((19, 4), np.uint16)
    mask[2, 1] = BIT["gap"] | BIT["flat"]
    mask[5, 1] = BIT["flat"]
    valid = valid_samples(window(mask))
    expected = np.ones((19, 1024), dtype=bool)
    expected[4] = False  # absent
    expected[2, 256:512] = False
    np.testing.assert_array_equal(valid, expected)


def test_a_tally_of_two_subjects():
    rng = np.random.default_rng(0)
    tally, data = Tally(), [rng.normal(size=(19, 1024)).astype(np.float32) for _ in range(3)]
    low = np.full(19, 0.05, np.float32)
    mask = np.zeros((19, 4), np.uint16)
    mask[0, 0] = BIT["pop"]
    tally.add(window(mask, data=data[0], label="LPD", recording_id="r2"))
    tally.add(window(data=data[1], label="LPD", recording_id="r1", quality=low))
    tally.add(window(data=data[2], subject_id="t", recording_id="r3"))
    sums = tally.sums()
    assert sums.classes == {"": 1, "LPD": 2}
    assert sums.quality == (1, 0, 0, 0, 0, 0, 0, 0, 0, 2)
    assert (sums.channel_seconds["pop"], sums.channel_seconds["all"]) == (1, 3 * 68)
    assert sums.presence == {
        "measured": tuple(3 * (i not in (3, 4)) for i in range(19)),
        "interpolated": tuple(3 * (i == 3) for i in range(19)),
        "absent": tuple(3 * (i == 4) for i in range(19)),
    }
    subjects = tally.subjects()
    assert list(subjects) == ["s", "t"]
    first = subjects["s"]
    assert (first.site_id, first.n_windows, first.recording_ids) == ("north", 2, ("r1", "r2"))
    assert (subjects["t"].n_windows, subjects["t"].recording_ids) == (1, ("r3",))
    joined = np.concatenate(data[:2], axis=1).astype(np.float64)
    present = [i for i in range(19) if i != 4]
    np.testing.assert_allclose(first.moments.mean[present], joined[present].mean(axis=1), atol=1e-6)
    np.testing.assert_allclose(first.moments.std[present], joined[present].std(axis=1), rtol=1e-5)
    assert first.moments.count.tolist() == [2048 * (i != 4) for i in range(19)]
    assert Tally().sums() == Sums(quality=(0,) * 10)
