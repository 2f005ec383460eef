from hypothesis import given
from hypothesis import strategies as st

from signals.shards.tally import add_sums

counts = st.dictionaries(st.sampled_from(["a", "b", "c"]), st.integers(0, 9))
sums = st.fixed_dictionaries({"classes": counts, "quality": st.lists(st.integers(0, 9), min_size=3, max_size=3)})


@given(sums, sums, sums)
def test_sums_add_in_any_order(a, b, c):
    assert add_sums(a, b) == add_sums(b, a)
    assert add_sums(add_sums(a, b), c) == add_sums(a, add_sums(b, c))
    assert add_sums(a, {}) == add_sums({}, a) == add_sums(a, {"classes": {}})


def test_a_sum():
    a = {"classes": {"LPD": 1}, "quality": [1, 0], "presence": {"measured": [2, 0]}}
    b = {"classes": {"LPD": 2, "GPD": 1}, "quality": [0, 5]}
    expected = {"classes": {"GPD": 1, "LPD": 3}, "presence": {"measured": [2, 0]}, "quality": [1, 5]}
    assert add_sums(a, b) == expected
