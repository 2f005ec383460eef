from hypothesis import given
from hypothesis import strategies as st

from signals.shards.tally import Sums

counts = st.dictionaries(st.sampled_from(["a", "b", "c"]), st.integers(0, 9))
bins = st.tuples(*[st.integers(0, 9)] * 3)
sums = st.builds(Sums, classes=counts, channel_seconds=counts, quality=bins)


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


def test_nothing_is_written_of_no_windows():
    assert Sums().to_dict() == {}
    assert Sums.from_dict({}) == Sums()
