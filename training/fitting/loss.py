"""The loss of a fit: kind, weights and margins from the recipe and from how often classes occur in training."""

from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from torch import Tensor

from training.corpus.labelled import Labelled
from training.objectives.losses import StatementLoss, TaskLoss, VoteLoss
from training.objectives.rarity import LOSSES, effective_weights, margins
from training.recipes.finetuning import FinetuneObjective, FinetuneRecipe


@dataclass(frozen=True, kw_only=True)
class Losses:
    """The loss of each part of a run."""

    first: TaskLoss
    last: TaskLoss
    last_from: float = 1.0
    """Share of the run's steps after which `last` holds."""

    def first_last_step(self, n_steps: int) -> int:
        """Return the number of steps after which `last` holds; 0 where it always does."""
        return 0 if self.first is self.last else min(round(self.last_from * n_steps), n_steps - 1)

    def at(self, step: int, n_steps: int) -> TaskLoss:
        """Return the loss after so many steps."""
        return self.last if step >= self.first_last_step(n_steps) else self.first


def task_loss(data: Labelled, train: np.ndarray, recipe: FinetuneRecipe) -> Losses:
    """Return the recipe's loss, with weights and margins counted on the training rows where the recipe wants them."""
    targets, objective = data.targets[train], recipe.objective
    if data.task.multilabel:
        return statement_losses(targets, objective)
    always = objective.class_weights == "always" or (objective.class_weights == "auto" and not data.has_votes)
    return vote_losses(targets, objective, balanced=always)


def statement_losses(targets: np.ndarray, objective: FinetuneObjective) -> Losses:
    """Return the loss of a multi-label task from its training targets, shape (n_windows, n_classes)."""
    form, yes = LOSSES[objective.loss], targets.sum(axis=0)
    both = np.stack([yes, len(targets) - yes])
    weights = None
    if form.is_effective:
        weights = effective_odds(both)
    elif objective.class_weights != "never":
        weights = positive_weights(targets)
    made = partial(
        StatementLoss, kind=objective.loss, focal_gamma=objective.focal_gamma,
        label_smoothing=objective.label_smoothing,
        margin_2K=_margins(both.T, objective.ldam_margin).T if form.has_margins else None,
    )  # fmt: skip
    last = made(positive_weight_K=None if weights is None else _tensor(weights))
    return Losses(first=made() if form.is_deferred else last, last=last, last_from=objective.reweight_from)


def vote_losses(targets: np.ndarray, objective: FinetuneObjective, *, balanced: bool) -> Losses:
    """Return the loss of a task of one class a window; balanced: whether classes of any frequency weigh the same."""
    form, counts = LOSSES[objective.loss], targets.sum(axis=0)
    weights = effective_weights(counts) if form.is_effective else balance_of(targets) if balanced else None
    made = partial(
        VoteLoss, kind=objective.loss, focal_gamma=objective.focal_gamma, label_smoothing=objective.label_smoothing,
        margin_K=_margins(counts[None], objective.ldam_margin)[0] if form.has_margins else None,
    )  # fmt: skip
    last = made(class_weight_K=None if weights is None else _tensor(weights))
    return Losses(first=made() if form.is_deferred else last, last=last, last_from=objective.reweight_from)


def effective_odds(counts: np.ndarray) -> np.ndarray:
    """Return what a positive weighs against a negative, shape (n_classes,), from numbers of both, (2, n_classes).

    By effective numbers; 1 where a class has no positive or no negative.
    """
    pairs = np.array([effective_weights(column) for column in counts.T])
    there = (counts > 0).all(axis=0)
    return np.where(there, pairs[:, 0] / np.where(there, pairs[:, 1], 1.0), 1.0)


def _margins(counts: np.ndarray, largest: float) -> Tensor:
    return _tensor(np.array([margins(row, largest=largest) for row in counts]))


def _tensor(values: np.ndarray) -> Tensor:
    return torch.from_numpy(np.asarray(values)).float()


def balance(data: Labelled, train: np.ndarray) -> np.ndarray:
    """Return `balance_of` the training rows."""
    return balance_of(data.targets[train])


def balance_of(targets: np.ndarray) -> np.ndarray:
    """Return weights that give every class the same say, float, shape (n_classes,); 0 for a class that is not there."""
    counts = targets.sum(axis=0)
    return np.where(counts > 0, counts.sum() / np.maximum(counts, 1e-9) / (counts > 0).sum(), 0.0)


def positive_weights(targets: np.ndarray) -> np.ndarray:
    """Return what a positive counts in each class of a multi-label task, float, shape (n_classes,): the square root of
    negatives per positive, 1 to 5, between the loss that ranks rare classes well and the one that is calibrated."""
    positives = targets.sum(axis=0)
    return np.sqrt(np.clip((len(targets) - positives) / np.maximum(positives, 1.0), 1.0, 25.0))


def class_weights(data: Labelled, train: np.ndarray) -> np.ndarray | None:
    """Return `balance` for hard labels; None for votes, which keep their own frequencies."""
    return None if data.has_votes else balance(data, train)
