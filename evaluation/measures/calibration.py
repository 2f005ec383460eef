"""Whether a stated probability is the frequency it claims: reliability of the top label, and the temperature for it."""

from dataclasses import dataclass

import numpy as np

from evaluation.measures.metrics import N_BINS, kl_rows
from evaluation.measures.tallies import Tallies
from signals.bundles.calibration import tempered

Z = 1.959963984540054
"""97.5% point of the normal distribution."""


@dataclass(frozen=True)
class ReliabilityBin:
    """Windows whose highest probability fell into (low, high]."""

    low: float
    high: float
    n_windows: int
    confidence: float
    """Mean highest probability; nan in an empty bin."""
    accuracy: float
    """Share of right predictions; nan in an empty bin."""
    accuracy_low: float
    """Wilson interval. It takes windows for independent, so it is too narrow where one patient gave many."""
    accuracy_high: float


def wilson(right: float, n: float) -> tuple[float, float]:
    """Return the 95% Wilson score interval of a share (Wilson 1927); nan without observations."""
    if n <= 0:
        return float("nan"), float("nan")
    share = right / n
    middle = (share + Z**2 / (2 * n)) / (1 + Z**2 / n)
    half = Z / (1 + Z**2 / n) * np.sqrt(share * (1 - share) / n + Z**2 / (4 * n**2))
    return float(middle - half), float(middle + half)


def reliability(tallies: Tallies) -> tuple[ReliabilityBin, ...]:
    """Return the reliability curve in `N_BINS` equal bins, in order of confidence."""
    bins = []
    for b, (n, confidence, right) in enumerate(tallies.bins.sum(axis=0)):
        mean, share = (confidence / n, right / n) if n > 0 else (float("nan"), float("nan"))
        low, high = wilson(right, n)
        bins.append(ReliabilityBin(b / N_BINS, (b + 1) / N_BINS, int(n), mean, share, low, high))
    return tuple(bins)


def fit_temperature(prob: np.ndarray, target: np.ndarray) -> float:
    """Return the temperature that brings `tempered` probabilities nearest to the targets in KL (Guo et al. 2017).

    Both of shape (n_windows, n_classes). One number for all classes: it changes no decision. Fit it on windows of
    patients that the model was not trained on. Raises ValueError without windows.
    """
    from scipy.optimize import minimize_scalar

    if not len(prob):
        raise ValueError("there are no windows to fit a temperature on")

    def distance(log_temperature: float) -> float:
        return float(kl_rows(target, tempered(prob, float(np.exp(log_temperature)))).mean())

    found = minimize_scalar(distance, bounds=(np.log(0.05), np.log(20.0)), method="bounded")
    return float(np.exp(found.x))


def cross_temperatures(
    prob: np.ndarray, target: np.ndarray, groups: np.ndarray, *, n_folds: int, seed: int
) -> np.ndarray:
    """Return for each window the temperature that was fitted on other groups' windows, shape (n_windows,).

    `groups`, shape (n_windows,), are patients or sites; whole groups go to `n_folds` folds, at most as many as there
    are. Raises ValueError for a single group.
    """
    names = np.unique(groups)
    if len(names) < 2:
        raise ValueError(f"all windows are of one group, {names.tolist()}: nothing is left to fit a temperature on")
    fold_of = dict(zip(np.random.default_rng(seed).permutation(names), np.arange(len(names)) % n_folds, strict=True))
    folds = np.array([fold_of[group] for group in groups])
    found = np.empty(len(prob))
    for fold in np.unique(folds):
        inside = folds == fold
        found[inside] = fit_temperature(prob[~inside], target[~inside])
    return found


def cross_tempered(prob: np.ndarray, target: np.ndarray, groups: np.ndarray, *, n_folds: int, seed: int) -> np.ndarray:
    """Return probabilities tempered by `cross_temperatures`, same shape: an honest "after"."""
    found = cross_temperatures(prob, target, groups, n_folds=n_folds, seed=seed)
    result = np.empty_like(prob)
    for temperature in np.unique(found):
        inside = found == temperature
        result[inside] = tempered(prob[inside], float(temperature))
    return result
