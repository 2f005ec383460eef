"""Who a changed model may be trained on and who it is measured on, and how well it does there."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np

from evaluation.measures.metrics import balanced_accuracy, confusion_matrix, kl_rows, predicted_shares
from evaluation.measures.multilabel import balanced_decisions, binary_loss
from model.saved import TaskModel
from training.corpus.labelled import Labelled
from training.fitting.inference import predict


@dataclass(frozen=True, kw_only=True)
class Score:
    """How well a model does on people it was not trained on."""

    balanced_accuracy: float
    kl: float
    """Mean KL(target || model), nats; of a multi-label task the mean over classes, each for itself."""
    n_windows: int


def held_out_rows(data: Labelled, *, trained: Collection[str], sites: Sequence[str]) -> np.ndarray:
    """Return the rows of the test sites, or, without sites, of all subjects that no model was trained on.

    Raises ValueError for an unknown site, for a subject of a test site that was trained on, and for an empty test side.
    """
    site_of = np.array([data.shards.entries[i].site_id for i in data.windows])
    if unknown := sorted(set(sites) - set(site_of.tolist())):
        raise ValueError(f"no labelled window is of site {unknown[0]!r}; sites are {', '.join(sorted(set(site_of)))}")
    seen = np.isin(data.subjects, sorted(trained))
    if not sites:
        if seen.all():
            raise ValueError(
                "the model was trained on every subject of these shards: nobody is left to measure on; "
                "give a model that was trained without a site (studies.loso keeps one a site in folds/)"
            )
        return np.flatnonzero(~seen)
    chosen = np.isin(site_of, sites)
    if both := sorted(set(data.subjects[chosen & seen].tolist())):
        raise ValueError(
            f"{len(both)} subjects of the test sites {', '.join(sites)} were trained on, first {both[0]}: "
            "choose other sites, or a model that was trained without them"
        )
    return np.flatnonzero(chosen)


def score_of(data: Labelled, rows: np.ndarray, prob: np.ndarray) -> Score:
    """Return how good probabilities of rows are, float64, shape (n, n_classes)."""
    target = data.targets[rows].astype(np.float64)
    if data.task.multilabel:
        return Score(
            balanced_accuracy=balanced_decisions(prob, target), kl=binary_loss(prob, target), n_windows=len(rows)
        )
    target /= target.sum(axis=1, keepdims=True)
    confusion = confusion_matrix(target.argmax(axis=1), predicted_shares(prob))
    return Score(
        balanced_accuracy=float(balanced_accuracy(confusion)),
        kl=float(kl_rows(target, prob).mean()),
        n_windows=len(rows),
    )


def score_model(model: TaskModel, data: Labelled, rows: np.ndarray) -> Score:
    """Return how well a model does on rows."""
    return score_of(data, rows, predict(model, data.shards, data.windows[rows])[0])
