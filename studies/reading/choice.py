"""Which members a six-class reader has, how they are combined and calibrated, decided family by family left out.

Nothing real enters. A combiner is fitted on all held-out families but one and answers that one; so are calibrations.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeVar

import numpy as np

from evaluation.measures.metrics import balanced_accuracy, confusion_matrix, kl_rows, predicted_shares
from model.stacking import Gate, Stacker
from signals.bundles.calibration import Calibration, in_set, softmax, tempered
from studies.calibrate import fitted
from studies.reading.intervals import Interval, over_people
from studies.reading.rows import HeldOut
from studies.stack import apply_stacker, fit_stacker

F = TypeVar("F")
MEAN, STACK, ATTENTION = "mean", "stack", "attention"
GATES: dict[str, Gate] = {STACK: "perceptron", ATTENTION: "attention"}
"""What derives members' weights, by combiner."""
N_SEEDS = 3
"""Seeds that the two learnt combiners are compared over."""
WORTH = 0.003
"""KL, nats: a kind of member whose absence costs less does not join."""


def mean_answers(held: HeldOut) -> np.ndarray:
    """Return the plain mean of members, float64, shape (n, n_classes)."""
    return np.asarray(softmax(held.logits).mean(axis=0))


def by_member(held: HeldOut) -> np.ndarray:
    """Return members' probabilities as a stacker takes them, shape (n, n_members, n_classes)."""
    return softmax(held.logits).swapaxes(0, 1)


def stacker_of(held: HeldOut, rows: np.ndarray, *, seed: int, combiner: str = STACK) -> Stacker:
    """Return a stacker, or attention over members, fitted on rows."""
    prob, target, subject = by_member(held)[rows], held.target[rows], held.subject[rows]
    return fit_stacker(prob, target, subject, held.names, seed=seed, gate=GATES[combiner])


def stack_answers(held: HeldOut, *, seed: int, combiner: str = STACK) -> np.ndarray:
    """Return answers of learnt combiners, each family's by one that was fitted on the other families."""
    return across_families(
        held, lambda rows: stacker_of(held, rows, seed=seed, combiner=combiner),
        lambda stacker, rows: apply_stacker(stacker, by_member(held)[rows])[0],
    )  # fmt: skip


def attention_gain(held: HeldOut, *, seed: int) -> Interval:
    """Return by how much attention's KL is below the stack's, the mean over families and `N_SEEDS` seeds, paired.

    Both answer a family that neither they nor the members have learnt from.
    """
    gain = np.zeros(len(held.target))
    for more in range(N_SEEDS):
        stack, attention = (stack_answers(held, seed=seed + more, combiner=name) for name in (STACK, ATTENTION))
        gain += (kl_rows(held.target, stack) - kl_rows(held.target, attention)) / N_SEEDS
    families = np.unique(held.family)

    def measure(rows: np.ndarray) -> float:
        return float(np.mean([gain[rows[held.family[rows] == name]].mean() for name in families]))

    return over_people(measure, held.family, held.subject, seed=seed)


def across_families(
    held: HeldOut, fit: Callable[[np.ndarray], F], answer: Callable[[F, np.ndarray], np.ndarray]
) -> np.ndarray:
    """Return answers (n, n_classes), a family's by what was fitted on the rows of all others."""
    result = np.empty_like(held.target)
    for family in np.unique(held.family):
        inside = held.family == family
        result[inside] = answer(fit(np.flatnonzero(~inside)), np.flatnonzero(inside))
    return result


def family_kl(held: HeldOut, answers: np.ndarray, *, among: np.ndarray | None = None) -> float:
    """Return the KL to the votes, the mean over families, of rows `among`."""
    kl, among = kl_rows(held.target, answers), np.ones(len(answers), bool) if among is None else among
    return float(np.mean([kl[among & (held.family == name)].mean() for name in np.unique(held.family)]))


def family_accuracy(held: HeldOut, answers: np.ndarray, *, among: np.ndarray) -> float:
    """Return the balanced accuracy, the mean over families, of rows `among`."""
    shares = predicted_shares(answers)
    rows = [among & (held.family == name) for name in np.unique(held.family)]
    return float(np.mean([balanced_accuracy(confusion_matrix(held.label[r], shares[r])) for r in rows]))


def chosen_members(held: HeldOut, *, seed: int) -> tuple[str, ...]:
    """Return the members that stay: those of least use are left out one kind at a time, while KL does not grow.

    The KL is that of stackers on families that they were not fitted on. At least two members stay.
    """
    names = held.names
    best = family_kl(held, stack_answers(held, seed=seed))
    while len(kinds := sorted({kind_of(name) for name in names})) > 1:
        without = {kind: tuple(name for name in names if kind_of(name) != kind) for kind in kinds}
        losses = {
            kind: family_kl(held, stack_answers(held.of(left), seed=seed)) for kind, left in without.items()
            if len(left) > 1
        }  # fmt: skip
        least = min(losses, key=losses.__getitem__, default=None)
        if least is None or losses[least] > best + WORTH:
            break
        names, best = without[least], min(best, losses[least])
    return names


def kind_of(name: str) -> str:
    """Return what a member is one of: several seeds are one kind."""
    return name.rsplit("-", 1)[0] if name.rsplit("-", 1)[-1].isdigit() else name


@dataclass(frozen=True, kw_only=True)
class Chosen:
    """How members are combined, and what that is worth on families that it was not fitted on."""

    held: HeldOut = field(repr=False)
    """The members that stayed."""
    combiner: str
    """MEAN, STACK or ATTENTION."""
    attention: Interval
    """By how much KL is lower with attention over members than with the stack, nats."""
    answers: np.ndarray = field(repr=False)
    """Of the combiner, across families, before the temperature."""
    calibration: Calibration
    """Fitted on all of `answers`."""
    coverage: float
    """Share of sets that hold the label, on families that the thresholds were not fitted on."""
    set_size: float
    """Mean number of classes in them."""
    answered: float
    """Share of windows from which the reader does not abstain, on such families."""
    answered_wrong: float
    """Share of those whose class is not the label; nan where none is answered."""


def choose(held: HeldOut, *, seed: int) -> Chosen:
    """Return the members and the combiner of least KL, calibrated across families.

    Attention stands in the stack's place where it is better over several seeds, and people drawn again agree.
    """
    held = held.of(chosen_members(held, seed=seed))
    gain = attention_gain(held, seed=seed)
    learnt = ATTENTION if gain.low > 0 else STACK
    candidates = {MEAN: mean_answers(held), learnt: stack_answers(held, seed=seed, combiner=learnt)}
    combiner = min(candidates, key=lambda name: family_kl(held, candidates[name]))
    answers = candidates[combiner]
    everything = np.arange(len(answers))
    calibration, _ = _calibrated(held, answers, everything)
    inside, answered = np.empty_like(answers, dtype=bool), np.empty(len(answers), dtype=bool)
    for family in np.unique(held.family):
        rows = np.flatnonzero(held.family == family)
        other, _ = _calibrated(held, answers, np.setdiff1d(everything, rows))
        scaled = tempered(answers[rows], other.temperature)
        assert other.conformal is not None  # `fitted` gives one
        inside[rows] = in_set(scaled, np.array(other.conformal.thresholds))
        answered[rows] = scaled.max(axis=1) >= (other.abstain_below or 0.0)
    wrong = answers.argmax(axis=1) != held.label
    return Chosen(
        held=held, combiner=combiner, attention=gain, answers=answers, calibration=calibration,
        coverage=float(inside[everything, held.label].mean()), set_size=float(inside.sum(axis=1).mean()),
        answered=float(answered.mean()), answered_wrong=float(wrong[answered].mean()) if answered.any() else np.nan,
    )  # fmt: skip


def _calibrated(held: HeldOut, answers: np.ndarray, rows: np.ndarray) -> tuple[Calibration, float]:
    return fitted(answers[rows], held.target[rows], held.label[rows])


def table(held: HeldOut, answers: dict[str, np.ndarray]) -> list[str]:
    """Return lines: balanced accuracy and KL of each, whole windows and ten seconds, the mean over families."""
    lines = [f"{'':<16}{'50 s':>18}{'10 s':>18}   balanced accuracy / KL, mean over held-out families"]
    for name, prob in answers.items():
        cells = [f"{family_accuracy(held, prob, among=rows):.3f} / {family_kl(held, prob, among=rows):.3f}"
                 for rows in (~held.is_short, held.is_short)]  # fmt: skip
        lines.append(f"{name:<16}" + "".join(f"{cell:>18}" for cell in cells))
    return lines


def tables(chosen: Chosen, all_members: HeldOut, *, seed: int) -> list[str]:
    """Return what is printed of a choice: all members, the combiners, the calibration."""
    answers = {name: softmax(logits) for name, logits in zip(all_members.names, all_members.logits, strict=True)}
    answers |= {MEAN: mean_answers(chosen.held)}
    answers |= {name: stack_answers(chosen.held, seed=seed, combiner=name) for name in GATES}
    return [
        *table(all_members, answers),
        f"members {', '.join(chosen.held.names)}; combined by their {chosen.combiner}",
        f"attention over members instead of the stack: KL lower by {chosen.attention}, {N_SEEDS} seeds, paired over "
        "people of families that neither has learnt from",
        f"on families that it was not fitted on: sets hold the label of {chosen.coverage:.1%} "
        f"({chosen.set_size:.2f} classes each), {chosen.answered:.1%} are answered, of which "
        f"{chosen.answered_wrong:.1%} differ from the majority",
    ]
