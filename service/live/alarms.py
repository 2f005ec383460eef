"""Alarms of one bed as a pure function of its answers and its electrodes, so that no restart loses or doubles one.

Nothing is remembered but what the records hold: the answers of the last minutes, the seconds' electrodes and the alarm
that is open. What is decided at a hop depends on these alone; the same hop decided twice is the same alarm by its id.
Words of IEC 60601-1-8, no claim of conformity.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace

PHYSIOLOGICAL, TECHNICAL = "physiological", "technical"
LOW, MEDIUM, HIGH = "low", "medium", "high"
ICTAL = "Seizure"
"""The class whose burden raises an alarm."""
NO_ELECTRODES = "no answer: electrodes"


@dataclass(frozen=True, kw_only=True)
class Rules:
    """When an alarm is raised and cleared."""

    burden_s: float = 300.0
    """The burden is the share of ictal answers of so many seconds."""
    ictal_from: float = 0.5
    """Calibrated probability from which an answer is ictal."""
    raise_medium: float = 0.5
    raise_high: float = 0.9
    clear_below: float = 0.3
    """Lower than what raises, so that an alarm does not flicker."""
    persistence_s: float = 20.0
    """The burden must have been so for so long."""
    fewest_good: int = 12
    """Electrodes; with fewer there is no answer."""
    bad_for_s: int = 15
    """Seconds with too few electrodes until a technical alarm."""
    good_for_s: int = 20
    """Seconds with enough of them until it is cleared."""


@dataclass(frozen=True)
class Hop:
    """One hop's answer."""

    start_s: float
    """Of the window."""
    ictal: float | None
    """Calibrated probability of ICTAL; None for no answer or an abstention."""


@dataclass(frozen=True, kw_only=True)
class Episode:
    """An alarm as it is now."""

    id: str
    kind: str
    severity: str
    condition: str
    onset_s: float
    cleared_s: float | None = None


def burden(hops: Sequence[Hop], at_s: float, hop_s: float, rules: Rules) -> tuple[float, float]:
    """Return the least and the largest share of ictal hops that the last `burden_s` up to `at_s` can have had.

    A hop without an answer may have been either: it raises nothing, and it clears nothing.
    """
    recent = [hop.ictal for hop in hops if at_s - rules.burden_s < hop.start_s <= at_s]
    n_hops = round(rules.burden_s / hop_s)
    n_answered = sum(value is not None for value in recent)
    n_ictal = sum(value is not None and value >= rules.ictal_from for value in recent)
    return n_ictal / n_hops, (n_ictal + n_hops - n_answered) / n_hops


def after_hop(hops: Sequence[Hop], last: Episode | None, *, stream: str, hop_s: float, rules: Rules) -> Episode | None:
    """Return the episode that the newest hop begins, makes worse or ends; None where it changes nothing.

    `hops` are those of at least `burden_s + persistence_s`, oldest first; `last` is the newest physiological episode of
    the stream, open or cleared.
    """
    at_s = hops[-1].start_s
    times = [at_s - n * hop_s for n in range(int(rules.persistence_s / hop_s) + 1)]
    burdens = [burden(hops, time_s, hop_s, rules) for time_s in times]
    least, most = min(low for low, _ in burdens), max(high for _, high in burdens)
    if last is not None and last.cleared_s is None:
        if most < rules.clear_below:
            return replace(last, cleared_s=at_s)
        return replace(last, severity=HIGH) if least >= rules.raise_high and last.severity != HIGH else None
    if least < rules.raise_medium:
        return None
    severity = HIGH if least >= rules.raise_high else MEDIUM
    return Episode(
        id=_id(stream, PHYSIOLOGICAL, at_s), kind=PHYSIOLOGICAL, severity=severity, condition=ICTAL,
        onset_s=next(hop.start_s for hop in hops if (hop.ictal or 0) >= rules.ictal_from),
    )  # fmt: skip


def after_second(
    n_good: Sequence[int], at_s: float, last: Episode | None, *, stream: str, rules: Rules
) -> Episode | None:
    """Return the technical episode that the newest second begins or ends; None where it changes nothing.

    `n_good` holds the good electrodes of the last seconds, the newest last, which begins at `at_s`; `last` is the
    newest technical episode.
    """
    if last is not None and last.cleared_s is None:
        enough = n_good[-rules.good_for_s :]
        if len(enough) == rules.good_for_s and min(enough) >= rules.fewest_good:
            return replace(last, cleared_s=at_s)
        return None
    bad = n_good[-rules.bad_for_s :]
    if len(bad) < rules.bad_for_s or max(bad) >= rules.fewest_good:
        return None
    onset_s = at_s - rules.bad_for_s + 1
    return Episode(
        id=_id(stream, TECHNICAL, onset_s), kind=TECHNICAL, severity=LOW, condition=NO_ELECTRODES, onset_s=onset_s
    )


def _id(stream: str, kind: str, at_s: float) -> str:
    return hashlib.sha256(f"{stream}|{kind}|{at_s:.3f}".encode()).hexdigest()[:32]
