"""Calibration: whether a stated probability is the frequency it claims, and what the shipped calibration does to it."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from evaluation.measures.bootstrap import draws, estimates
from evaluation.measures.calibration import reliability
from evaluation.measures.tallies import Tallies, tally
from evaluation.report.context import Context
from evaluation.report.drawing.blocks import Block, Heading, Pair, Text
from evaluation.report.drawing.figures import reliability_plot
from evaluation.report.drawing.tables import Row, Table, estimate, value, words
from evaluation.report.drawing.wording import Facts, headings, interval, percent
from evaluation.report.sections.section import CLINICAL, Section
from evaluation.schemas.predictions import probabilities
from signals.pages.svg import number

_SMALL = 0.03
"""Difference of confidence and accuracy that is not worth a word."""
_METRICS = ("ece", "brier", "kl")


def facts(context: Context) -> Mapping[str, Any]:
    """Return the reliability curve of the main model, the shipped calibration, and what was before it."""
    tallies = context.tallied[context.model]
    return {
        "reliability": reliability(tallies),
        "confidence": _confidence_facts(tallies),
        "calibration": _shipped(context),
        "uncalibrated": _before(context),
    }


def _confidence_facts(tallies: Tallies) -> dict[str, float]:
    n, confidence, right = tallies.bins.sum(axis=(0, 1))
    return {"mean": float(confidence / n), "accuracy": float(right / n)}


def _shipped(context: Context) -> dict[str, Any] | None:
    """Return the calibration that is shipped with the model, as far as the page uses it."""
    calibration = context.sources.calibration
    if calibration is None:
        return None
    below, sets = calibration.get("abstain_below"), calibration.get("conformal") or {}
    return {
        "temperature": calibration.get("temperature"),
        "fitted_to": str(calibration.get("fitted_to") or "votes"),
        "abstain_below": below,
        "risk": (calibration.get("abstention") or {}).get("risk"),
        "sets": {"method": sets.get("method"), "alpha": sets.get("alpha")} if sets else None,
        "abstention": None if below is None else _abstention(context, float(below)),
        "applied": None
        if context.calibrated is None
        else {"temperatures": context.calibrated.temperatures, "by": context.calibrated.by},
    }


def _abstention(context: Context, below: float) -> dict[str, float]:
    """Return the share of the page's windows that the shipped threshold answers, and the error rate among them."""
    rows = context.rows
    prob = probabilities(rows, context.classes)
    answered = prob.max(axis=1) >= below
    wrong = np.array(context.classes)[prob.argmax(axis=1)] != rows["label"].to_numpy()
    risk = float(wrong[answered].mean()) if answered.any() else float("nan")
    return {"answered": float(answered.mean()), "risk": risk}


def _before(context: Context) -> dict[str, Any] | None:
    """Return the main model's figures before calibration; None where the page shows that."""
    if context.calibrated is None:
        return None
    tallies = tally(context.calibrated.raw, context.classes, grave=context.task.grave)
    known = estimates(tallies, draws(tallies, n_boot=context.n_boot, seed=context.seed))
    return {
        "metrics": {name: known[name] for name in _METRICS},
        "reliability": reliability(tallies),
        "confidence": _confidence_facts(tallies),
    }


def render(facts: Facts) -> Sequence[Block]:
    """Return reliability diagrams with ECE and Brier score, before and after where the page is calibrated."""
    known = facts["models"][facts["main_model"]]["metrics"]
    after = reliability_plot(facts["reliability"], name="reliability")
    plots: Block = after
    if facts["uncalibrated"] is not None:
        before = reliability_plot(
            facts["uncalibrated"]["reliability"], name="reliability-uncalibrated", title="Before calibration"
        )
        plots = Pair((before, after))
    return [
        Text(f"{_confidence(facts)} {_calibrated(facts)}"),
        *_table(facts),
        plots,
        Text(
            f"Expected calibration error {interval(known['ece'], 3)}, debiased (counted: {number(known['ece_plugin']['value'], 3)}), 15 bins; Brier score {interval(known['brier'], 3)}. "
            "Bars are Wilson intervals over windows, too narrow where one patient gave many.",
            "note",
        ),
        *_decisions(facts),
    ]


def _table(facts: Facts) -> list[Block]:
    before = facts["uncalibrated"]
    if before is None:
        return []
    sides = (
        ("Before calibration", before["metrics"], before["confidence"]),
        ("Calibrated", facts["models"][facts["main_model"]]["metrics"], facts["confidence"]),
    )
    rows = tuple(
        Row(cells=(words(name), *(estimate(metrics[m]) for m in _METRICS), value(confidence["mean"], 2)))
        for name, metrics, confidence in sides
    )
    return [Table(name="calibration", columns=("", *headings(_METRICS), "Mean confidence"), rows=rows)]


def _confidence(facts: Facts) -> str:
    """Return whether the model is over- or under-confident, in words."""
    mean, accuracy = facts["confidence"]["mean"], facts["confidence"]["accuracy"]
    gap = mean - accuracy
    wording = "well calibrated on average" if abs(gap) < _SMALL else "over-confident" if gap > 0 else "under-confident"
    return f"The model is **{wording}**: its mean confidence is {mean:.2f}, and {accuracy:.0%} of its predictions are right."


def whose_probabilities(facts: Facts) -> str:
    """Return in one sentence whether the probabilities of the page are calibrated."""
    shipped = facts["calibration"]
    if shipped is None:
        return (
            "All probabilities on this page are as the model gives them, uncalibrated; no calibration file was given."
        )
    if shipped["applied"] is None:
        return "The calibration is of another model or cannot be left out by patient, so all probabilities on this page are uncalibrated."
    found = shipped["applied"]["temperatures"]
    span = f"{found[0]:.2f}" if len(found) == 1 else f"{found[0]:.2f} to {found[-1]:.2f}"
    return (
        f"The main model’s probabilities on this page are calibrated: those of each fold with the temperature that the "
        f"other {shipped['applied']['by']} gave ({span})."
    )


def _calibrated(facts: Facts) -> str:
    """Return whose probabilities this page shows, and what the shipped calibration is."""
    shipped = facts["calibration"]
    if shipped is None:
        return whose_probabilities(facts)
    goal = "the votes" if shipped["fitted_to"] == "votes" else "the majority label"
    return (
        f"{whose_probabilities(facts)} The shipped model divides its logits by a temperature of {shipped['temperature']:.2f}, "
        f"fitted to {goal} on all folds. A temperature changes no decision."
    )


def _decisions(facts: Facts) -> list[Block]:
    """Return what the shipped model does with its probabilities: abstention and prediction sets."""
    shipped = facts["calibration"]
    if shipped is None:
        return []
    return [
        Heading("Abstention and prediction sets of the shipped model"),
        Text(f"{_abstains(shipped)} {_sets(shipped)}"),
    ]


def _abstains(shipped: Mapping[str, Any]) -> str:
    if shipped["abstain_below"] is None:
        return "No confidence keeps the error rate that was aimed at, so it has no threshold and never abstains."
    known = shipped["abstention"]
    aim = "" if shipped["risk"] is None else f" (aim: at most {shipped['risk']:.0%} errors)"
    return (
        f"It abstains below a confidence of {shipped['abstain_below']:.2f}{aim}: {percent(known['answered'], 0)} of these windows are "
        f"answered, {percent(known['risk'])} of them wrongly. The threshold was chosen on these windows; section Selective prediction chooses it on other folds."
    )


def _sets(shipped: Mapping[str, Any]) -> str:
    sets = shipped["sets"]
    if sets is None:
        return "It gives no prediction sets."
    return (
        f"Its {sets['method']} prediction sets may miss {sets['alpha']:.0%} of labels; what such sets hold on folds that did not "
        "calibrate them stands in section Conformal prediction sets."
    )


SECTION = Section(name="calibration", title="Calibration", part=CLINICAL, facts=facts, render=render)
