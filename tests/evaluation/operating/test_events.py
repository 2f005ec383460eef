"""Events are merged and scored as SzCORE does: hand-made cases, and the package timescoring where it is installed."""

import numpy as np
import pytest

from evaluation.operating.events import EventRules, Stretch, length_s, merged, score_events, union

TOUCHING = EventRules(before_s=0.0, after_s=0.0, merge_s=0.0, longest_s=1e9)


def test_overlapping_windows_count_their_time_once() -> None:
    # Windows of 50 s at a hop of 10 s: 0-50, 10-60, 20-70, then one at 200: 70 + 50 s, not 4 x 50.
    starts = np.array([20.0, 0.0, 10.0, 200.0])
    stretches = union(starts, starts + 50.0)
    assert stretches == [(0.0, 70.0), (200.0, 250.0)]
    assert length_s(stretches) == 120.0


def test_near_events_are_one_and_long_ones_several() -> None:
    assert merged([(0, 10), (99, 110), (200, 210)]) == [(0, 110), (200, 210)]  # gaps of 89 and 90 s
    assert merged([(0, 650)]) == [(0, 300), (300, 600), (600, 650)]


@pytest.mark.parametrize(
    ("truth", "alarms", "counts"),
    [
        ([(100, 160)], [(120, 130)], (1, 1, 0)),
        ([(100, 160)], [(75, 80)], (1, 1, 0)),  # up to 30 s early
        ([(100, 160)], [(50, 70)], (1, 0, 1)),  # touches the tolerance and no more
        ([(100, 160)], [(215, 230)], (1, 1, 0)),  # up to 60 s late
        ([(100, 160)], [(220, 230)], (1, 0, 1)),
        ([(100, 160)], [(110, 120), (400, 410), (600, 610)], (1, 1, 2)),
        ([], [(0, 10), (20, 30)], (0, 0, 1)),  # two alarms, closer than 90 s: one event
        ([(0, 10)], [], (1, 0, 0)),
    ],
)
def test_counts(truth: list[Stretch], alarms: list[Stretch], counts: tuple[int, int, int]) -> None:
    known = score_events(truth, alarms, end_s=1000.0)
    assert (known.n_events, known.n_detected, known.n_false) == counts


def test_an_alarm_beside_an_event_is_false_without_tolerance() -> None:
    known = score_events([(10, 20)], [(20, 30)], end_s=40.0, rules=TOUCHING)
    assert (known.n_detected, known.n_false) == (0, 1)


@pytest.mark.parametrize("seed", range(20))
def test_counts_equal_timescoring(seed: int) -> None:
    annotations = pytest.importorskip("timescoring.annotations")
    scoring = pytest.importorskip("timescoring.scoring")
    rng, n = np.random.default_rng(seed), 3600

    def stretches(k: int) -> list[Stretch]:
        starts = np.sort(rng.choice(n // 20, size=k, replace=False)) * 20.0
        return union(starts, np.minimum(starts + rng.integers(1, 40, k) * 10.0, n))

    truth, alarms = stretches(6), stretches(9)
    ours = score_events(truth, alarms, end_s=float(n))
    reference = scoring.EventScoring(
        annotations.Annotation(truth, 10, n * 10), annotations.Annotation(alarms, 10, n * 10)
    )
    assert (ours.n_events, ours.n_detected, ours.n_false) == (reference.refTrue, reference.tp, reference.fp)
