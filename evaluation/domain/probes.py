"""Linear probes: what can be read from embeddings by a linear classifier, on people that it was not fitted on."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from evaluation.domain.erasure import fit_eraser

N_FOLDS = 5


@dataclass(frozen=True)
class Probe:
    """Balanced accuracy of a cross-validated linear probe, and what guessing gives."""

    accuracy: float
    chance: float
    n_windows: int
    reason: str = ""


def _undefined(reason: str, n_windows: int = 0) -> Probe:
    return Probe(float("nan"), float("nan"), n_windows, reason)


def probe(
    values: np.ndarray, concept: np.ndarray, groups: np.ndarray | None, *, seed: int, erase: np.ndarray | None = None
) -> Probe:
    """Return how well a concept is read from vectors, cross-validated with whole groups (people) held out.

    `values` has shape (n, n_dims), the others (n,). `groups` None: rows are held out one by one. `erase` is another
    concept, which is erased (`evaluation.domain.erasure`) as fitted on the training side of each fold.
    """
    from sklearn.metrics import balanced_accuracy_score

    names, codes = np.unique(concept, return_inverse=True)
    if len(names) < 2:
        return _undefined("there is one class only", len(values))
    folds = _folds(codes, groups, seed=seed)
    if folds is None:
        return _undefined("a class has too few groups to hold one out", len(values))
    predicted, tested = np.full(len(codes), -1), np.zeros(len(codes), dtype=bool)
    for train, test in folds:
        if len(np.unique(codes[train])) < len(names):
            continue
        fit_x, test_x = _scaled(values, train, test, erase)
        predicted[test] = _classifier(fit_x, codes[train])(test_x)
        tested[test] = True
    if not tested.any() or len(np.unique(codes[tested])) < len(names):
        return _undefined("a class could not be held out", len(values))
    score = balanced_accuracy_score(codes[tested], predicted[tested])
    return Probe(float(score), 1 / len(names), int(tested.sum()))


def _folds(codes: np.ndarray, groups: np.ndarray | None, *, seed: int) -> list[tuple[np.ndarray, np.ndarray]] | None:
    from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold

    if groups is None:
        n_folds = min(N_FOLDS, int(np.bincount(codes).min()))
        if n_folds < 2:
            return None
        return list(StratifiedKFold(n_folds, shuffle=True, random_state=seed).split(codes, codes))
    of_class = [len(np.unique(groups[codes == k])) for k in range(codes.max() + 1)]
    n_folds = min(N_FOLDS, min(of_class))
    if n_folds < 2:
        return None
    # scikit-learn's own warning of small classes is beside the point: groups were counted above.
    return list(StratifiedGroupKFold(n_folds, shuffle=True, random_state=seed).split(codes, codes, groups))


def _scaled(
    values: np.ndarray, train: np.ndarray, test: np.ndarray, erase: np.ndarray | None
) -> tuple[np.ndarray, np.ndarray]:
    fit_x, test_x = np.asarray(values[train], dtype=np.float64), np.asarray(values[test], dtype=np.float64)
    mean, scale = fit_x.mean(axis=0), fit_x.std(axis=0)
    scale = np.where(scale > 1e-12, scale, 1.0)
    fit_x, test_x = (fit_x - mean) / scale, (test_x - mean) / scale
    if erase is not None:
        eraser = fit_eraser(fit_x, erase[train])
        fit_x, test_x = eraser(fit_x), eraser(test_x)
    return fit_x, test_x


def _classifier(values: np.ndarray, codes: np.ndarray) -> Callable[[np.ndarray], np.ndarray]:
    """Return a fitted ridge classifier of balanced classes: one solution, no iterations that may not converge."""
    from sklearn.linear_model import RidgeClassifier

    # A penalty as large as a tenth of the windows keeps wide embeddings of few people from fitting them by heart.
    return RidgeClassifier(alpha=0.1 * len(values), class_weight="balanced").fit(values, codes).predict
