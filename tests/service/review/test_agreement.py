import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import cohen_kappa_score

from service.records.reviews import new_review
from service.review.agreement import agreement, cohen, fleiss, units_of

LABELS = st.lists(st.sampled_from("ABC"), min_size=1, max_size=30)


def review(reviewer, start_s, stop_s, label, *, at=0.0, withdrawn=False):
    one = new_review(study_id="s", reviewer=reviewer, start_s=start_s, stop_s=stop_s, label=label)
    one.created_at, one.withdrawn_at = at, 1.0 if withdrawn else None
    return one


@settings(deadline=None)  # the first call imports
@given(pairs=st.lists(st.tuples(st.sampled_from("ABC"), st.sampled_from("ABC")), min_size=2, max_size=40))
def test_cohen_equals_scikit_learn(pairs):
    a, b = (list(side) for side in zip(*pairs, strict=True))
    if len({*a, *b}) == 1:
        assert cohen(a, b) is None
    else:
        assert cohen(a, b) == pytest.approx(cohen_kappa_score(a, b))


def test_fleiss_of_the_published_table():
    """Ten subjects, fourteen raters, five classes: Fleiss' own arithmetic on Wikipedia's table gives 0.210."""
    table = [
        [0, 0, 0, 0, 14], [0, 2, 6, 4, 2], [0, 0, 3, 5, 6], [0, 3, 9, 2, 0], [2, 2, 8, 1, 1],
        [7, 7, 0, 0, 0], [3, 2, 6, 3, 0], [2, 5, 3, 2, 2], [6, 5, 2, 1, 0], [0, 2, 2, 3, 7],
    ]  # fmt: skip
    labels = [[str(c) for c, n in enumerate(row) for _ in range(n)] for row in table]
    assert fleiss(labels) == pytest.approx(0.210, abs=5e-4)


def test_two_who_always_agree_and_two_who_guess():
    assert fleiss([["A", "A"], ["B", "B"]]) == 1.0
    assert fleiss([["A", "A"], ["A", "A"]]) is None
    rng = np.random.default_rng(0)
    assert abs(fleiss([[str(v) for v in row] for row in rng.integers(0, 3, (5000, 2))])) < 0.03
    assert fleiss([]) is None
    assert cohen([], []) is None


def test_units_are_10_s_and_the_newest_review_counts():
    """12-31 s covers most of 10-20 and all of 20-30, not most of 30-40."""
    found = units_of([
        review("a", 12, 31, "LPD", at=1), review("a", 20, 30, "GPD", at=2), review("a", 50, 60, "LPD", withdrawn=True),
        review("b", 26, 34, "GRDA", at=3),
    ])  # fmt: skip
    assert found == {"a": {1: "LPD", 2: "GPD"}, "b": {}}


def test_agreement_of_three():
    reviews = [review(name, 0, 40, "LPD") for name in "ab"] + [review("c", 0, 20, "LPD"), review("c", 20, 40, "GPD")]
    reviews += [review(name, 100, 120, "Other") for name in "abc"]
    found = agreement(reviews)
    assert found.reviewers == ("a", "b", "c")
    assert [(one.a, one.b, one.n_units) for one in found.pairs] == [("a", "b", 6), ("a", "c", 6), ("b", "c", 6)]
    assert found.pairs[0].kappa == 1.0
    # a: 4 LPD, 2 Other; c: 2 LPD, 2 GPD, 2 Other. Observed 4/6; by chance (4*2 + 2*2) / 36 = 1/3: (2/3-1/3)/(2/3) = 0.5
    assert found.pairs[1].kappa == pytest.approx(0.5)
    assert found.n_units == 6
    assert agreement([]).fleiss is None
    assert agreement(reviews[:1]).fleiss is None
