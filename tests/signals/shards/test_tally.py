from dataclasses import replace

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from signals.description.artifacts import BIT
from signals.shards.tally import Sums, Tally
from tests.toy_shards import toy_window

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
    rng = np.random.default_rng(0)
    window = toy_window(rng, site="a", subject="s", number=0, label="LPD", window_s=10.0)
    tally = Tally()
    for decision in ("good", "noise", "artifacts+noise", "good", ""):
        tally.add(replace(window, quality_verdict=decision))
    # Five windows, one of which has no decision: the decisions count four.
    assert tally.sums().decisions == {"artifacts+noise": 1, "good": 2, "noise": 1}
    assert sum(tally.sums().quality) == 5
    older = Tally()
    older.add(replace(window, quality_verdict=""))
    assert "decisions" not in older.sums().to_dict()
    assert (tally.sums() + older.sums()).decisions == tally.sums().decisions
    assert Sums.from_dict(tally.sums().to_dict()) == tally.sums()


def test_nothing_is_written_of_no_windows():
    assert Sums().to_dict() == {}
    assert Sums.from_dict({}) == Sums()


def test_artifacts_are_counted_in_seconds_of_measured_channels():
    rng = np.random.default_rng(0)
    # Number 1: channel 4 is interpolated, the 18 others are measured, 10 s each.
    window = toy_window(rng, site="a", subject="s", number=1, label="LPD", window_s=10.0)
    mask = np.zeros((19, 10), dtype=np.uint16)
    mask[0, 2:5] = BIT["muscle"]  # 3 s
    mask[4, :] = BIT["muscle"]  # of no measured channel
    mask[7:9, 0] = BIT["muscle"] | BIT["line"]  # 1 s of two channels, under both
    tally = Tally()
    tally.add(replace(window, artifact_mask=mask))
    tally.add(replace(window, artifact_mask=np.zeros_like(mask)))
    counted = tally.sums().channel_seconds
    assert counted.pop("all") == 2 * 18 * 10
    assert {kind: n for kind, n in counted.items() if n} == {"muscle": 3 + 2, "line": 2}
