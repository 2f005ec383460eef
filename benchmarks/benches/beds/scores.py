"""What monitored stretches come to: alarms found and false by the day, beside a plain threshold, by timescoring."""

from collections.abc import Sequence

from timescoring.annotations import Annotation
from timescoring.scoring import EventScoring

from benchmarks.benches.beds.monitored import Raised, Stretch
from benchmarks.harness import figure
from service.live.alarms import ICTAL, NO_ELECTRODES

_RATE = 10
_LATE_S = 60.0
"""An alarm may come so long after a status has ended, as SzCORE's tolerance has it."""
RULES = EventScoring.Parameters(maxEventDuration=3600)
"""SzCORE's tolerance of -30 and +60 s and its joining at 90 s; a status is one event, not one every five minutes."""


def show(stretches: Sequence[Stretch]) -> None:
    """Print the figures of all stretches together."""
    hours = sum(one.hours for one in stretches)
    figure("alarm_hours", hours, "h")
    if not stretches:
        return
    found = [_status_found(one) for one in stretches]
    figure("alarm_found_share", sum(found) / len(found), f"of_{len(found)}_status")
    technical = [_technical_s(one) for one in stretches]
    figure("technical_alarm_s", max(technical), "s_the_slowest")
    rules = _counts(stretches, [_alarm_events(one) for one in stretches], [[one.status_s] for one in stretches])
    plain = _counts(stretches, [one.ictal_s for one in stretches], [one.seizures_s for one in stretches])
    for name, (n_found, n_reference, n_false) in (("alarm", rules), ("threshold", plain)):
        figure(f"{name}_sensitivity", n_found / max(n_reference, 1), f"of_{n_reference}_events")
        figure(f"{name}_false_per_hour", n_false / hours, "1/h")
        figure(f"{name}_false_per_24h", 24 * n_false / hours, "1/day")
        if not n_false:
            figure(f"{name}_false_per_24h_bound", 24 * 3 / hours, "1/day_at_95%")
    for name in ("centred", "right_aligned", "centred_changed", "right_aligned_changed"):
        pairs = [getattr(one, name) for one in stretches]
        n_right, n_all = (sum(pair[i] for pair in pairs) for i in (0, 1))
        figure(f"live_accuracy_{name}", n_right / n_all if n_all else float("nan"), f"of_{n_all}_answers")


def alarms_of(one: Stretch, condition: str) -> list[Raised]:
    """Return a stretch's alarms of a condition, in order."""
    found = [Raised(**alarm) for alarm in one.alarms]  # type: ignore[arg-type]
    return sorted((alarm for alarm in found if alarm.condition == condition), key=lambda alarm: alarm.raised_s)


def _status_found(one: Stretch) -> bool:
    start_s, stop_s = one.status_s
    return any(start_s <= alarm.raised_s <= stop_s + _LATE_S for alarm in alarms_of(one, ICTAL))


def _technical_s(one: Stretch) -> float:
    """Return how long after the leads were off an alarm was there; infinite where none was."""
    start_s, stop_s = one.leads_off_s
    late = [
        alarm.raised_s - start_s
        for alarm in alarms_of(one, NO_ELECTRODES)
        if start_s <= alarm.raised_s <= stop_s + _LATE_S
    ]
    return min(late, default=float("inf"))


def _alarm_events(one: Stretch) -> list[tuple[float, float]]:
    """Return each alarm as the evidence that it was raised on: from the first ictal hop to when it was there."""
    return [(alarm.onset_s, alarm.raised_s) for alarm in alarms_of(one, ICTAL)]


def _counts(
    stretches: Sequence[Stretch], events: Sequence[Sequence[tuple[float, float]]],
    reference: Sequence[Sequence[tuple[float, float]]],
) -> tuple[int, int, int]:  # fmt: skip
    """Return found, reference and false events of all stretches."""
    n_found = n_reference = n_false = 0
    for one, wanted, given in zip(stretches, reference, events, strict=True):
        n_times = round(3600 * one.hours * _RATE)
        score = EventScoring(
            Annotation([tuple(event) for event in wanted], _RATE, n_times),
            Annotation([(start, min(stop, 3600 * one.hours)) for start, stop in given], _RATE, n_times), RULES,
        )  # fmt: skip
        n_found, n_reference, n_false = n_found + score.tp, n_reference + score.refTrue, n_false + score.fp
    return n_found, n_reference, n_false
