"""What an uncertainty (`signals.bundles.calibration.Uncertainty`) is worth: mistakes by half, and when to abstain."""

from dataclasses import dataclass

import numpy as np

from evaluation.measures.calibration import wilson


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
