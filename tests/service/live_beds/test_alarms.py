"""The alarm rules: raised, made worse, cleared, never lost or doubled, wherever the stream is cut."""

from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from service.live.alarms import HIGH, LOW, MEDIUM, TECHNICAL, Hop, Rules, after_hop, after_second, burden

RULES, HOP_S = Rules(), 10.0
KEPT = 33
"""Hops of 300 s and of 20 s persistence: what the records give back after a restart."""


def run(values, *, cuts=(), twice=()):
    """All episodes of a stream whose server is cut off at some hops, and decides some hops twice."""
    kept, last, found = [], None, {}
    for number, value in enumerate(values):
        if number in cuts:
            kept = kept[-KEPT:]  # from the records, with the newest episode
            last = found[next(reversed(found))] if found else None
        kept.append(Hop(number * HOP_S, value))
        for _ in range(2 if number in twice else 1):
            changed = after_hop(kept[-KEPT:], last, stream="s", hop_s=HOP_S, rules=RULES)
            if changed is not None:
                found[changed.id] = last = changed
    return list(found.values())


def test_status_is_raised_made_worse_and_cleared():
    # Half an hour of quiet, ten minutes of seizure, half an hour of quiet.
    (one,) = run([0.1] * 180 + [0.9] * 60 + [0.1] * 180)
    # Seizure from 1800 s. The burden is a half (15 of 30) with the hop at 1940 s, and so for 20 s at 1960 s.
    assert (one.severity, one.condition, one.onset_s) == (HIGH, "Seizure", 1800.0)
    # The last ictal hop is at 2390 s; fewer than 9 of 30 are ictal from 2610 s on, for 20 s at 2630 s.
    assert one.cleared_s == 2630.0


def test_half_an_hour_of_half_is_medium_and_the_worst_stays():
    (one,) = run(([0.9] * 15 + [0.1] * 5 + [0.9] * 5 + [0.1] * 5) * 4 + [0.1] * 60)
    assert one.severity == MEDIUM
    (one,) = run([0.1] * 40 + [0.9] * 60 + [0.9, 0.1] * 60)
    assert (one.severity, one.cleared_s) == (HIGH, None)


@pytest.mark.parametrize("n_ictal", [1, 5, 14])
def test_short_seizures_raise_nothing(n_ictal):
    assert run(([0.95] * n_ictal + [0.05] * 30) * 5) == []


def test_a_burden_must_persist():
    quiet = [0.1] * 40
    # Fifteen of thirty at two hops, as the first one leaves the five minutes then: not for 20 s.
    assert run(quiet + [0.9] * 7 + [0.1] * 14 + [0.9] * 8 + quiet) == []
    # Closer together by one, at three hops.
    assert len(run(quiet + [0.9] * 7 + [0.1] * 13 + [0.9] * 8 + quiet)) == 1


def test_without_answers_nothing_is_raised_and_nothing_is_cleared():
    assert burden([Hop(0.0, 0.9)] * 3, 0.0, HOP_S, RULES) == (3 / 30, 1.0)
    assert run([0.9] * 14 + [None] * 200) == []
    (one,) = run([0.1] * 30 + [0.9] * 60 + [None] * 500)
    assert one.cleared_s is None  # an abstention is no sign of calm
    (one,) = run([0.9] * 17)  # half of five minutes, though the stream has just begun
    assert one.onset_s == 0.0


def test_it_does_not_flicker_between_the_thresholds():
    # 12 of 30 are ictal after the beginning: less than what raises, more than what clears.
    assert len(run([0.1] * 30 + [0.9] * 30 + ([0.9] * 4 + [0.1] * 6) * 60)) == 1


VALUES = st.lists(
    st.tuples(st.sampled_from([0.05, 0.2, 0.5, 0.95, None]), st.integers(1, 60)), min_size=1, max_size=10
).map(lambda runs: [value for value, n in runs for _ in range(n)])


@settings(max_examples=150, deadline=None)
@given(VALUES, st.sets(st.integers(0, 400), max_size=20), st.sets(st.integers(0, 400), max_size=20))
def test_cuts_anywhere_lose_nothing_and_double_nothing(values, cuts, twice):
    assert run(values, cuts=cuts, twice=twice) == run(values)


@settings(max_examples=100, deadline=None)
@given(VALUES)
def test_laws_of_episodes(values):
    found = run(values)
    assert len({one.id for one in found}) == len(found)
    for one, after in pairwise(found):
        assert one.cleared_s is not None  # one at a time
        assert one.cleared_s < after.onset_s + RULES.burden_s
    ictal = sum(value is not None and value >= RULES.ictal_from for value in values)
    assert not found or ictal >= 15  # half of five minutes


def seconds(counts):
    last, found = None, {}
    for at in range(len(counts)):
        changed = after_second(counts[max(0, at - 30) : at + 1], float(at), last, stream="s", rules=RULES)
        if changed is not None:
            found[changed.id] = last = changed
    return list(found.values())


def test_lost_leads_are_a_technical_alarm_within_thirty_seconds():
    (one,) = seconds([19] * 100 + [11] * 60 + [19] * 60)
    assert (one.kind, one.severity, one.onset_s) == (TECHNICAL, LOW, 100.0)
    assert RULES.bad_for_s <= 30
    assert one.cleared_s == 179.0  # the twentieth good second begins there
    assert seconds(([11] * 14 + [19]) * 20) == []
    assert seconds([12] * 100) == []
    assert seconds([0] * 14) == []


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 19), st.integers(1, 40)), min_size=1, max_size=10))
def test_a_second_decided_again_is_the_same_alarm(runs):
    counts = [n for n, times in runs for _ in range(times)]
    again = [replace(one) for one in seconds(counts)]
    assert seconds(counts) == again
    for at in range(len(counts)):
        window = counts[max(0, at - 30) : at + 1]
        first = after_second(window, float(at), None, stream="s", rules=RULES)
        assert first == after_second(window, float(at), None, stream="s", rules=RULES)


def seconds_with_cuts(counts, cuts):
    """All technical episodes where a server that is cut off begins again 50 s before the last outcome, as a bed does:
    what was judged before is looked at and not judged again."""
    last, found, history, judged = None, {}, [], 0
    at = 0
    while at < len(counts):
        if at in cuts:
            cuts = cuts - {at}
            last = found[next(reversed(found))] if found else None  # from the records
            judged = at - at % 10  # up to the last outcome that was committed
            at, history = max(0, judged - 50), []
            continue
        history = [*history, counts[at]][-30:]
        if at >= judged:
            changed = after_second(history, float(at), last, stream="s", rules=RULES)
            if changed is not None:
                found[changed.id] = last = changed
        at += 1
    return list(found.values())


@settings(max_examples=150, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 19), st.integers(1, 40)), min_size=1, max_size=10),
       st.frozensets(st.integers(0, 300), max_size=8))  # fmt: skip
def test_cuts_lose_and_double_no_technical_alarm(runs, cuts):
    counts = [n for n, times in runs for _ in range(times)]
    assert seconds_with_cuts(counts, cuts) == seconds(counts)
