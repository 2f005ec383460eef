"""What to review next, by embedding: twins of what is listed or labelled wait, whatever else is about as uncertain."""

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest

from service.review.queue import Candidate, candidates, next_to_review, score_of, worthwhile
from tests.service.review.test_export import answer, findings


def candidate(recording, score, vector, *, space="m", is_reviewed=False):
    return Candidate(recording, 0.0, 10.0, "LPD", score, space=space, vector=np.array(vector), is_reviewed=is_reviewed)


A, B = [1.0, 0.0], [0.0, 1.0]


def test_a_twin_of_what_is_listed_waits():
    pool = [candidate("first", 0.9, A), candidate("twin", 0.89, A), candidate("other", 0.8, B)]
    assert [one.recording for one in next_to_review(pool, n=3)] == ["first", "other", "twin"]


def test_a_twin_of_what_is_reviewed_waits_and_the_reviewed_is_not_listed():
    pool = [candidate("done", 1.0, A, is_reviewed=True), candidate("twin", 0.9, A), candidate("other", 0.8, B)]
    assert [one.recording for one in next_to_review(pool, n=3)] == ["other", "twin"]


def test_certainty_outweighs_distance_in_the_end():
    """The largest distance is worth 0.5: what is more certain by more than that comes later all the same."""
    pool = [candidate("first", 1.9, A), candidate("twin", 1.8, A), candidate("other", 0.6, B)]
    assert [one.recording for one in next_to_review(pool, n=3)] == ["first", "twin", "other"]


def test_embeddings_of_different_models_are_not_compared():
    pool = [candidate("first", 0.9, A), candidate("same place, other model", 0.89, [*A, 5.0], space="n"),
            candidate("twin", 0.88, A), candidate("else", 0.5, B)]  # fmt: skip
    listed = [one.recording for one in next_to_review(pool, n=4)]
    assert listed[:2] == ["first", "same place, other model"]


@pytest.mark.parametrize("width", [1, 7])
def test_what_does_not_vary_has_no_distance(width):
    pool = [candidate(f"r{i}", 0.9 - 0.01 * i, [3.0] * width) for i in range(5)]
    assert [one.recording for one in next_to_review(pool, n=5)] == [f"r{i}" for i in range(5)]


def test_of_a_long_recording_the_most_uncertain_are_kept_with_all_that_is_reviewed():
    answers = [answer(100.0 * i, "LPD", 0.001 * i) for i in range(600)]
    vectors = np.arange(1200, dtype=np.float32).reshape(600, 2)
    pool = candidates("a.edf", findings(*answers), [(25.0, 26.0)], vectors)  # the first answer speaks of 20 to 30 s
    kept = worthwhile(pool)
    assert [one.start_s for one in kept if one.is_reviewed] == [20.0]
    assert len(kept) == 401
    assert min(one.score for one in kept if not one.is_reviewed) == pool[200].score
    assert pool[7].vector.tolist() == [14.0, 15.0]


def of_recording(name, n, score):
    return [Candidate(name, 100.0 * i, 100.0 * i + 10, "LPD", score) for i in range(n)]


def test_no_recording_takes_more_than_a_quarter_while_others_have_something():
    """However far above all others it scores: what is learnt of one patient holds of one patient."""
    pool = of_recording("loud", 40, 1.9) + [one for i in range(4) for one in of_recording(f"r{i}", 3, 0.1)]
    listed = Counter(one.recording for one in next_to_review(pool, n=12))
    assert listed["loud"] == 3
    assert sum(listed.values()) == 12
    assert next_to_review(pool, n=12)[0].recording == "loud"
    all_of_it = Counter(one.recording for one in next_to_review(pool, n=100))
    assert all_of_it["loud"] == 40  # nothing else is left in the end


def test_the_order_of_the_pool_does_not_matter():
    rng = np.random.default_rng(1)
    pool = [Candidate(f"r{i % 7}", 100.0 * i, 100.0 * i + 10, ["LPD", "GPD"][i % 2], round(float(rng.random()), 1),
                      space="m", vector=rng.integers(3, size=2).astype(float), is_reviewed=i % 5 == 0)
            for i in range(60)]  # fmt: skip
    listed = next_to_review(pool, n=12)
    assert listed == next_to_review([pool[i] for i in rng.permutation(60)], n=12)
    assert len({(one.recording, one.start_s) for one in listed}) == 12


def test_all_alike_are_listed_once_each_from_many_recordings():
    pool = [candidate(f"r{i:02}", 0.5, A) for i in range(9)] + [
        replace(candidate("r00", 0.5, A), start_s=100.0 * k) for k in range(1, 9)
    ]
    listed = [(one.recording, one.start_s) for one in next_to_review(pool, n=8)]
    assert len(set(listed)) == 8
    assert sum(name == "r00" for name, _ in listed) == 2


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("place", ["probability", "total", "epistemic"])
def test_an_answer_that_is_no_number_is_never_listed(value, place):
    sound = answer(0.0, "LPD", 0.5)
    broken = {
        "probability": replace(sound, class_probabilities=sound.class_probabilities | {"GPD": value}),
        "total": replace(sound, uncertainty=sound.uncertainty | {"total": value}),
        "epistemic": replace(sound, uncertainty=sound.uncertainty | {"epistemic": value}),
    }[place]
    pool = candidates("a.edf", findings(broken, answer(1000.0, "LPD", 0.1)), [])
    assert [one.start_s for one in next_to_review(pool, n=5)] == [1020.0]


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_an_embedding_that_is_no_number_disturbs_no_other(value):
    entropies = [0.5, 0.9, 0.8, 0.79, 0.7]
    sound = [answer(100.0 * i, "LPD", one) for i, one in enumerate(entropies)]
    vectors = np.array([[value, 1.0], [0.0, value], A, A, B])  # the second one is reviewed
    pool = candidates("a.edf", findings(*sound), [(120.0, 130.0)], vectors)
    assert [one.space for one in pool] == ["", "", "d", "d", "d"]
    # A first, then B, which differs from it, its twin and what has no embedding in order of their scores.
    assert [one.start_s for one in next_to_review(pool, n=10)] == [220.0, 420.0, 320.0, 20.0]


def test_one_member_has_its_entropy_alone():
    assert score_of(answer(0.0, "LPD", np.log(6) / 2)) == pytest.approx(0.5)
    certain = replace(answer(0.0, "LPD", 0.0), uncertainty={"total": 0.0, "aleatoric": 0.0, "epistemic": 0.2})
    assert score_of(certain) == pytest.approx(0.2)
