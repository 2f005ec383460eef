"""Calibration: whether a stated probability is the frequency it claims."""

from collections.abc import Mapping, Sequence
from typing import Any

from evaluation.measures.calibration import reliability
from evaluation.report.context import Context
from evaluation.report.drawing.blocks import Block, Text
from evaluation.report.drawing.figures import reliability_plot
from evaluation.report.drawing.wording import Facts, interval
from evaluation.report.sections.section import CLINICAL, Section
from signals.pages.svg import number

_SMALL = 0.03
"""Difference of confidence and accuracy that is not worth a word."""


def facts(context: Context) -> Mapping[str, Any]:
    """Return the reliability curve of the main model."""
    tallies = context.tallied[context.model]
    n, confidence, right = tallies.bins.sum(axis=(0, 1))
    return {
        "reliability": reliability(tallies),
        "confidence": {"mean": float(confidence / n), "accuracy": float(right / n)},
        "calibration": _shipped(context.sources.calibration),
    }


def _shipped(calibration: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """Return the calibration that is shipped with the model, as far as the page uses it."""
    if calibration is None:
        return None
    fitted_to = str(calibration.get("fitted_to") or "votes")
    return {
        "temperature": calibration.get("temperature"),
        "fitted_to": fitted_to,
        "after": (calibration.get("after") or {}).get(fitted_to) or {},
        "abstain_below": calibration.get("abstain_below"),
    }


def render(facts: Facts) -> Sequence[Block]:
    """Return the reliability diagram with ECE and Brier score."""
    known = facts["models"][facts["main_model"]]["metrics"]
    return [
        Text(f"{_confidence(facts)} {_calibrated(facts)}"),
        reliability_plot(facts["reliability"], name="reliability"),
        Text(
            f"Expected calibration error {interval(known['ece'], 3)}, debiased (counted: {number(known['ece_plugin']['value'], 3)}), 15 bins; Brier score {interval(known['brier'], 3)}. "
            "Bars are Wilson intervals over windows, too narrow where one patient gave many.",
            "note",
        ),
    ]


def _confidence(facts: Facts) -> str:
    """Return whether the model is over- or under-confident, in words."""
    mean, accuracy = facts["confidence"]["mean"], facts["confidence"]["accuracy"]
    gap = mean - accuracy
    verdict = "well calibrated on average" if abs(gap) < _SMALL else "over-confident" if gap > 0 else "under-confident"
    return f"The model is **{verdict}**: its mean confidence is {mean:.2f}, and {accuracy:.0%} of its predictions are right."


def _calibrated(facts: Facts) -> str:
    """Return whose probabilities this page shows, and what the shipped calibration makes of them."""
    shipped = facts["calibration"]
    if shipped is None:
        return (
            "All probabilities on this page are as the model gives them, uncalibrated; no calibration file was given."
        )
    words = f"All probabilities on this page are uncalibrated. The shipped model divides its logits by a temperature of {shipped['temperature']:.2f}"
    if shipped["after"].get("ece") is not None:
        words += (
            f", which on patients that it was not fitted on gives an ECE of {shipped['after']['ece']:.3f} (counted)"
        )
    below = shipped["abstain_below"]
    if below is None:
        return f"{words}; no confidence keeps the error rate that was aimed at, so it has no threshold for abstention."
    return f"{words}; it abstains below a confidence of {below:.2f}."


SECTION = Section(name="calibration", title="Calibration", part=CLINICAL, facts=facts, render=render)
