"""What to review next, by embedding: twins of what is listed or labelled wait, whatever else is about as uncertain."""

import numpy as np
import pytest

from service.review.queue import Candidate, candidates, next_to_review, worthwhile
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
