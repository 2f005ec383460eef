"""Similar segments: nearest by brute force, whatever the units of a dimension, never the neighbour of the segment."""

import numpy as np
import pytest

from service.review.queue import APART_S
from service.review.similar import Answered, similar_to


def answered(recording, vectors, *, hop_s=10.0):
    spans = [(hop_s * i, hop_s * i + 10) for i in range(len(vectors))]
    return Answered(recording=recording, study_id=recording, spans=spans, predicted=["LPD"] * len(vectors),
                    vectors=np.asarray(vectors, dtype=np.float32))  # fmt: skip


@pytest.fixture
def pool():
    rng = np.random.default_rng(0)
    return [answered(name, rng.normal(size=(40, 6))) for name in ("a", "b", "c")]


def brute_force(pool, query):
    every = np.concatenate([one.vectors for one in pool]).astype(np.float64)
    scaled = [one.vectors / every.std(axis=0) for one in pool]
    wanted = scaled[query[0]][query[1]]
    rows = [(float(np.sqrt(((row - wanted) ** 2).mean())), one.recording, one.spans[i][0])
            for one, part in zip(pool, scaled, strict=True) for i, row in enumerate(part)]  # fmt: skip
    return sorted(rows), float(np.median([distance for distance, *_ in rows]))


def test_the_nearest_come_first_and_apart(pool):
    found = similar_to(pool, (1, 7), n=8)
    wanted, usual = brute_force(pool, (1, 7))
    taken, kept = [("b", 70.0)], []
    for distance, recording, start in wanted:  # the rule in words: nothing within a minute of what is listed
        if all(recording != name or abs(start - at) >= APART_S for name, at in taken):
            taken.append((recording, start))
            kept.append((recording, start, distance / usual))
    assert [(one.recording, one.start_s) for one in found] == [(name, at) for name, at, _ in kept[:8]]
    assert [one.distance for one in found] == pytest.approx([distance for *_, distance in kept[:8]], abs=1e-3)


def test_the_units_of_a_dimension_change_nothing(pool):
    other = [answered(one.recording, one.vectors * [1, 1000, 1e-3, 1, 1, 1] + [0, 50, 0, 0, -3, 0]) for one in pool]
    first, second = ([(one.recording, one.start_s) for one in similar_to(each, (0, 3), n=6)] for each in (pool, other))
    assert first == second


def test_the_same_signal_has_no_distance_and_constant_dimensions_none():
    rng = np.random.default_rng(1)
    x = np.concatenate([rng.normal(size=(30, 4)), np.full((30, 1), 7.0)], axis=1)
    found = similar_to([answered("a", x), answered("copy", x)], (0, 12), n=1)
    assert (found[0].recording, found[0].start_s, found[0].distance) == ("copy", 120.0, 0.0)


def test_one_answer_alone_resembles_nothing_and_equal_ones_divide_by_nothing():
    assert similar_to([answered("a", [[1.0, 2.0]])], (0, 0), n=5) == []
    found = similar_to([answered("a", np.ones((20, 3)))], (0, 0), n=5)
    assert [one.distance for one in found] == [0.0] * len(found)
    assert [one.start_s for one in found] == [60.0, 120.0, 180.0]
