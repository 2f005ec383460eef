"""How unsure an answer is, and why: what the model doubts of the window, and what its members doubt of each other.

Entropies in nats. Total is that of the mean distribution, aleatoric the members' mean entropy, epistemic the
difference: the mutual information of answer and member (Depeweg et al. 2018, doi:10.48550/arXiv.1710.07283). Members
are models of an ensemble, or one model's draws with dropout left on.
"""

from dataclasses import dataclass, field

import numpy as np

from evaluation.measures.calibration import wilson

COLUMNS = ("uncertainty_total", "uncertainty_aleatoric", "uncertainty_epistemic")
"""Columns that predictions files may carry, nats."""


@dataclass(frozen=True, kw_only=True)
class Uncertainty:
    """Entropies of each window, nats, shape (n_windows,)."""

    total: np.ndarray = field(repr=False)
    aleatoric: np.ndarray = field(repr=False)
    epistemic: np.ndarray = field(repr=False)

    def columns(self) -> dict[str, np.ndarray]:
        """Return the entropies by the names of `COLUMNS`."""
        return dict(zip(COLUMNS, (self.total, self.aleatoric, self.epistemic), strict=True))


@dataclass(frozen=True, kw_only=True)
class Abstention:
    """Above which uncertainty to keep silent."""

    threshold: float
    """Nats; answers up to it are given. nan where no threshold keeps the promise."""
    coverage: float
    """Share of windows that are answered."""
    risk: float
    """Share of mistakes among them; nan where none are."""
    risk_high: float
    """Upper end of its 95% Wilson interval, which takes windows for independent."""


def entropy(prob: np.ndarray) -> np.ndarray:
    """Return the entropy of distributions over the last axis, nats; 0 log 0 is 0."""
    return -np.where(prob > 0, prob * np.log(np.where(prob > 0, prob, 1.0)), 0.0).sum(axis=-1)


def decompose(members: np.ndarray) -> Uncertainty:
    """Return the uncertainty of members' distributions, shape (n_members, n_windows, n_classes).

    Raises ValueError for a single member, which has no one to disagree with.
    """
    if members.ndim != 3 or len(members) < 2:
        raise ValueError(f"members of shape {members.shape} must be at least 2 by windows by classes")
    total, aleatoric = entropy(members.mean(axis=0)), entropy(members).mean(axis=0)
    # Rounding alone can take the difference of equal members below 0.
    return Uncertainty(total=total, aleatoric=aleatoric, epistemic=np.maximum(total - aleatoric, 0.0))


def half_errors(uncertainty: np.ndarray, wrong: np.ndarray) -> tuple[float, float]:
    """Return the share of mistakes in the more certain half of windows and in the other one.

    `wrong` is 1 for a mistake (`evaluation.measures.selective.mistakes`). Raises ValueError for fewer than two windows.
    """
    if len(wrong) < 2:
        raise ValueError(f"{len(wrong)} windows have no two halves")
    order = np.argsort(uncertainty, kind="stable")
    half = len(order) // 2
    return float(wrong[order[:half]].mean()), float(wrong[order[half:]].mean())


def abstention(uncertainty: np.ndarray, wrong: np.ndarray, *, risk: float) -> Abstention:
    """Return the threshold that answers most windows while the upper end of the risk stays within `risk`.

    Fit it on windows that the model was not trained on. Thresholds are looked for among the windows' own uncertainties.
    """
    order = np.argsort(uncertainty, kind="stable")
    counts = np.arange(1, len(order) + 1)
    mistakes = np.cumsum(wrong[order])
    ends = np.flatnonzero(np.diff(uncertainty[order], append=np.inf) > 0)  # equal uncertainties stay together
    high = np.array([wilson(mistakes[i], counts[i])[1] for i in ends])
    kept = ends[high <= risk]
    if not len(kept):
        nan = float("nan")
        return Abstention(threshold=nan, coverage=0.0, risk=nan, risk_high=nan)
    last = int(kept[-1])
    return Abstention(
        threshold=float(uncertainty[order[last]]),
        coverage=float(counts[last] / len(order)),
        risk=float(mistakes[last] / counts[last]),
        risk_high=float(high[ends == last][0]),
    )
