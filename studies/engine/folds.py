"""What is left out, what models are tuned on within the rest, and smaller numbers of people to learn from."""

from collections.abc import Sequence

import numpy as np

from evaluation.measures.multilabel import binary_loss
from training.corpus.labelled import Labelled
from training.corpus.splits import Fold, Grouping, hold_out_subjects, site_folds, subject_folds
from training.fitting.loss import class_weights


def make_folds(data: Labelled, group: Grouping, *, n_folds: int, seed: int) -> list[Fold]:
    """Return the folds over rows of `data`: one per site, or `n_folds` groups of subjects."""
    if group == "subject":
        return subject_folds(data.subjects, data.labels, n_folds=n_folds, seed=seed)
    return site_folds(data.sites, data.subjects)


def study_folds(data: Labelled, group: Grouping, *, n_folds: int, holdout: float | None, seed: int) -> Sequence[Fold]:
    """Return `make_folds`, or with `holdout` one fold that leaves this share of subjects out."""
    if holdout is None:
        return make_folds(data, group, n_folds=n_folds, seed=seed)
    train, test = hold_out_subjects(data.subjects, data.labels, share=holdout, seed=seed)
    return [Fold(name="holdout", train=train, test=test)]


def inner_folds(data: Labelled, train: np.ndarray, *, n_folds: int) -> list[Fold]:
    """Return folds of whole subjects within the training rows, as rows of `data`."""
    within = subject_folds(data.subjects[train], data.labels[train], n_folds=n_folds, seed=1)
    return [Fold(name=fold.name, train=train[fold.train], test=train[fold.test]) for fold in within]


def loss(data: Labelled, rows: np.ndarray, probabilities: np.ndarray) -> float:
    """Return the mean cross-entropy to the targets, with the class weights of training; of a multi-label task the
    binary one."""
    if data.task.multilabel:
        return binary_loss(probabilities, data.targets[rows])
    balance = class_weights(data, rows)
    weight = data.targets[rows] * (1.0 if balance is None else balance)
    return -float((weight * np.log(probabilities + 1e-9)).sum() / weight.sum())


def of_subjects(data: Labelled, rows: np.ndarray, *, n_subjects: int, seed: int) -> np.ndarray:
    """Return the rows of so many subjects, classes in turn, so that few subjects still have all there are.

    The subjects of a smaller number are among those of a larger one with the same seed. Raises ValueError where there
    are fewer.
    """
    names = np.random.default_rng(seed).permutation(np.unique(data.subjects[rows]))
    if len(names) < n_subjects:
        raise ValueError(f"n_subjects={n_subjects} is more than the {len(names)} of the training side")
    counts = np.stack([np.bincount(data.labels[rows][data.subjects[rows] == name], minlength=data.targets.shape[1])
                       for name in names])  # fmt: skip
    chosen: list[int] = []
    taken = np.zeros(counts.shape[1])
    while len(chosen) < n_subjects:
        left = [i for i in range(len(names)) if i not in chosen]
        lacking = [int(k) for k in np.argsort(taken, kind="stable") if counts[left, k].any()]
        best = next(i for i in left if counts[i, lacking[0]])
        chosen.append(best)
        taken += counts[best] / counts[best].sum()
    return rows[np.isin(data.subjects[rows], names[chosen])]
