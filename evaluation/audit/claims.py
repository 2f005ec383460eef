"""A report's own claim audited: what makes an accuracy worthless whatever the model, each as a finding by name.

For reports on one patient above all: windows dealt at random, overlapping ones on both sides; a threshold of no stated
origin; no interval; probabilities that are all 0 or 1; and maps that cannot be evidence, since one class's map is the
other's mirror image, or both classes have the same strongest band.
"""

from dataclasses import dataclass, field

import numpy as np

from evaluation.audit.findings import Finding, decision

SATURATED = 0.01
"""Probabilities nearer to 0 or 1 than this are saturated."""
SATURATED_SHARE = 0.95
MIRRORED = 0.98
"""Correlation of one class's map with the other's negative from which on they are one map."""
KNOWN_ORIGINS = ("validation set", "other folds", "fixed before")
"""Where a threshold may come from."""


@dataclass(frozen=True, kw_only=True)
class Claim:
    """What a report states, and the windows behind it; arrays have one entry per window."""

    recordings: np.ndarray = field(repr=False)
    subjects: np.ndarray = field(repr=False)
    start_s: np.ndarray = field(repr=False)
    window_s: float
    is_test: np.ndarray = field(repr=False)
    """bool: the others were trained on."""
    probabilities: np.ndarray = field(repr=False)
    """Of the positive class, shape (n,)."""
    accuracy: float
    has_interval: bool
    threshold: float
    threshold_origin: str = ""
    """One of `KNOWN_ORIGINS`; anything else is unknown."""
    maps: np.ndarray | None = field(default=None, repr=False)
    """Mean map of each of two classes, shape (2, ...)."""
    top_bands: tuple[str, ...] = ()
    """Strongest band of each class."""


def claim_findings(claim: Claim) -> list[Finding]:
    """Return what is wrong with a claim, errors first."""
    found = [
        *_neighbours(claim), *_one_subject(claim), *_interval(claim), *_threshold(claim), *_saturation(claim),
        *_explanations(claim),
    ]  # fmt: skip
    return sorted(found, key=lambda finding: finding.severity != "error")


def is_rejected(claim: Claim) -> bool:
    """Return whether the audit fails the claim."""
    return decision(claim_findings(claim)) == "failed"


def _neighbours(claim: Claim) -> list[Finding]:
    n_shared = 0
    for recording in np.unique(claim.recordings):
        rows = claim.recordings == recording
        trained = np.sort(claim.start_s[rows & ~claim.is_test])
        tested = claim.start_s[rows & claim.is_test]
        if not trained.size or not tested.size:
            continue
        at = np.searchsorted(trained, tested)
        before = np.abs(tested - trained[np.maximum(at - 1, 0)])
        after = np.abs(trained[np.minimum(at, trained.size - 1)] - tested)
        n_shared += int((np.minimum(before, after) < claim.window_s - 1e-9).sum())
    if not n_shared:
        return []
    message = (
        f"{n_shared:,} of {int(claim.is_test.sum()):,} test windows share samples with windows that were trained on: "
        "neighbouring windows leak the answer."
    )
    return [Finding("error", "neighbouring_windows", message)]


def _one_subject(claim: Claim) -> list[Finding]:
    tested, trained = set(claim.subjects[claim.is_test]), set(claim.subjects[~claim.is_test])
    found = []
    if tested & trained:
        message = f"{len(tested & trained)} subjects are on both sides: the figures say nothing about other patients."
        found.append(Finding("error", "subject_on_two_sides", message))
    if len(tested) == 1:
        found.append(
            Finding("warning", "one_subject", "One patient was tested: no interval over patients can be given.")
        )
    return found


def _interval(claim: Claim) -> list[Finding]:
    if claim.has_interval:
        return []
    return [Finding("warning", "no_interval", f"Accuracy {claim.accuracy:.2%} is stated without an interval.")]


def _threshold(claim: Claim) -> list[Finding]:
    if claim.threshold_origin in KNOWN_ORIGINS:
        return []
    message = f"The threshold {claim.threshold:g} was chosen, and it is not stated on which data."
    return [Finding("warning", "threshold_of_unknown_origin", message)]


def _saturation(claim: Claim) -> list[Finding]:
    prob = claim.probabilities[claim.is_test]
    share = float((np.minimum(prob, 1 - prob) < SATURATED).mean()) if prob.size else 0.0
    if share < SATURATED_SHARE:
        return []
    message = f"{share:.0%} of probabilities are below {SATURATED:g} or above {1 - SATURATED:g}: no doubt is stated."
    return [Finding("warning", "saturated_probabilities", message)]


def _explanations(claim: Claim) -> list[Finding]:
    found = []
    if claim.maps is not None and claim.maps.std() > 0:
        first, second = (each.ravel() for each in claim.maps)
        alike = float(np.corrcoef(first, -second)[0, 1]) if first.std() > 0 and second.std() > 0 else 0.0
        if alike >= MIRRORED:
            message = (
                f"The map of one class is the other with its sign turned (correlation {alike:.3f}): two logits of one "
                "difference, no evidence for either class by itself."
            )
            found.append(Finding("warning", "mirrored_maps", message))
    if len(claim.top_bands) > 1 and len(set(claim.top_bands)) == 1:
        message = f"The strongest band is {claim.top_bands[0]} for every class: the map does not tell classes apart."
        found.append(Finding("warning", "same_top_band", message))
    return found
