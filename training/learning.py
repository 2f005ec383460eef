"""Learning a task: epochs over training rows, of which others choose the best; in one stage or two."""

import logging
from collections.abc import Iterator
from contextlib import closing
from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor, nn

from model.classifier import Classifier
from model.heads import Tensors
from model.saved import TaskModel
from model.supervised import Supervised
from training.asking import logits_of, predict, reads_spectrogram
from training.distributed import Processes
from training.frozen import FrozenTokens
from training.labelled import Labelled
from training.loop import StepBatches, Trainer, run_steps
from training.losses import VoteLoss
from training.optim import make_optimizer, make_scheduler
from training.recipes.finetuning import FinetuneRecipe
from training.spectra import Spectrograms
from training.task_batches import TaskBatches, step_batches
from training.teaching import Teaching
from training.tracking import JsonLines, Trackers
from training.unfreezing import Unfreezing, stages_of

logger = logging.getLogger(__name__)
M = TypeVar("M", Classifier, Supervised)


class TaskLoss(nn.Module):
    """A model with the loss to its targets, and to its teacher."""

    def __init__(
        self,
        model: TaskModel,
        loss: VoteLoss,
        unfreezing: Unfreezing | None = None,
        teaching: Teaching | None = None,
    ) -> None:
        super().__init__()
        self.model, self.loss, self.unfreezing, self.teaching = model, loss, unfreezing, teaching

    def forward(self, batch: Tensors) -> dict[str, Tensor]:
        """Return "loss" of a batch of `training.task_batches`."""
        logits_BK, _ = logits_of(self.model, dict(batch))
        loss = self.loss(logits_BK, batch["target_BK"], batch.get("weight_B"))
        if self.teaching is not None:
            loss = self.teaching.blend(loss, logits_BK, batch["taught_BK"])
        return {"loss": loss}

    def train(self, mode: bool = True) -> "TaskLoss":
        """Go into training, but for stages that are shut."""
        super().train(mode)
        if mode and self.unfreezing is not None:
            self.unfreezing.quiet()
        return self


def learn(
    model: M,
    data: Labelled,
    rows: tuple[np.ndarray, np.ndarray],
    recipe: FinetuneRecipe,
    *,
    processes: Processes,
    metrics: Path,
    name: str,
    frozen: FrozenTokens | None = None,
    spectra: Spectrograms | None = None,
) -> M | None:
    """Return the model after training what requires gradients, at its best epoch; None if a signal stopped the run.

    rows: those to train on and those that choose the epoch. frozen, spectra: kept tokens and spectrograms to use. With
    `second_stage_votes`, all this happens again on windows of so many votes. Raises ValueError where too few are left.
    """
    if spectra is None and reads_spectrogram(model):
        spectra = Spectrograms(data.shards)
    told = {"processes": processes, "frozen": frozen, "spectra": spectra}
    first = _stage(model, data, rows, recipe, metrics=metrics, name=name, **told)  # type: ignore[arg-type]
    if first is None or not recipe.second_stage_votes:
        return first
    second = second_stage(recipe)
    firm = firm_rows(data, rows, n_votes=recipe.second_stage_votes)
    path = metrics.with_name(f"{metrics.stem}-firm{metrics.suffix}")
    return _stage(first, data, firm, second, metrics=path, name=f"{name}, firm", **told)  # type: ignore[arg-type]


def second_stage(recipe: FinetuneRecipe) -> FinetuneRecipe:
    """Return the recipe of the second stage: fewer epochs at a lower rate, all stages open."""
    return replace(
        recipe,
        epochs=recipe.second_stage_epochs,
        learning_rate=recipe.learning_rate * recipe.second_stage_rate,
        unfreeze_every=0,
        second_stage_votes=0,
    )


def firm_rows(data: Labelled, rows: tuple[np.ndarray, np.ndarray], *, n_votes: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the rows of each side with at least `n_votes` votes.

    Raises ValueError where a side has none, saying how many votes there are.
    """
    train, valid = (side[data.n_votes[side] >= n_votes] for side in rows)
    if not len(train) or not len(valid):
        raise ValueError(
            f"second_stage_votes={n_votes} leaves {len(train)} windows to train on and {len(valid)} to choose the "
            f"epoch; windows have at most {int(data.n_votes.max())} votes"
        )
    return train, valid


def _stage(
    model: M,
    data: Labelled,
    rows: tuple[np.ndarray, np.ndarray],
    recipe: FinetuneRecipe,
    *,
    processes: Processes,
    metrics: Path,
    name: str,
    frozen: FrozenTokens | None,
    spectra: Spectrograms | None,
) -> M | None:
    train, valid = rows
    n_epoch_steps = max(1, len(train) // recipe.batch)
    n_steps = n_epoch_steps * recipe.epochs
    optimizer = make_optimizer(
        model,
        learning_rate=recipe.learning_rate,
        weight_decay=recipe.weight_decay,
        encoder_lr_scale=recipe.encoder_lr_scale if isinstance(model, Classifier) else 1.0,
    )
    unfreezing = Unfreezing(stages_of(model), every=recipe.unfreeze_every) if recipe.unfreeze_every else None
    trainer = Trainer(
        module=TaskLoss(model, vote_loss(data, train, recipe), unfreezing, data.teaching),
        optimizer=optimizer,
        scheduler=make_scheduler(optimizer, warmup_steps=recipe.warmup_steps, steps=n_steps),
        processes=processes,
        seed=recipe.seed,
        precision=recipe.precision,
        clip_norm=recipe.clip_norm,
    )
    epochs = _Epochs(data, valid, recipe, model, frozen, spectra, unfreezing)
    tracker = Trackers([JsonLines(metrics, after_step=0)] if processes.is_main else [])
    made = TaskBatches(data, recipe, model, frozen=frozen, spectra=spectra)
    batches = step_batches(made, train, trainer, n_steps=n_steps)
    with trainer.stop.listening(), closing(batches), closing(tracker):
        finished = run_steps(
            trainer,
            epochs.watch(batches, n_epoch_steps),
            n_steps=n_steps,
            label=name,
            tracker=tracker,
            save=lambda _: None,
            save_every=n_steps,
        )
    if not finished:
        return None
    epochs.look()
    model.load_state_dict(epochs.best)
    return model.eval()


def vote_loss(data: Labelled, train: np.ndarray, recipe: FinetuneRecipe) -> VoteLoss:
    """Return the recipe's loss, with class weights counted on the training rows where the recipe wants them."""
    weights = None
    if recipe.class_weights == "always" or (recipe.class_weights == "auto" and not data.has_votes):
        weights = torch.from_numpy(balance(data, train)).float()
    return VoteLoss(
        kind=recipe.loss,
        focal_gamma=recipe.focal_gamma,
        label_smoothing=recipe.label_smoothing,
        class_weight_K=weights,
    )


def balance(data: Labelled, train: np.ndarray) -> np.ndarray:
    """Return weights that give every class the same say, float, shape (n_classes,); 0 for a class that is not there."""
    counts = data.targets[train].sum(axis=0)
    return np.where(counts > 0, counts.sum() / np.maximum(counts, 1e-9) / (counts > 0).sum(), 0.0)


def class_weights(data: Labelled, train: np.ndarray) -> np.ndarray | None:
    """Return `balance` for hard labels; None for votes, which keep their own frequencies."""
    return None if data.has_votes else balance(data, train)


class _Epochs:
    """Validation after each epoch: remembers the best weights, and ends the run when patience is over."""

    def __init__(
        self,
        data: Labelled,
        valid: np.ndarray,
        recipe: FinetuneRecipe,
        model: TaskModel,
        frozen: FrozenTokens | None,
        spectra: Spectrograms | None,
        unfreezing: Unfreezing | None,
    ) -> None:
        self.data, self.valid, self.recipe, self.model = data, valid, recipe, model
        self.frozen, self.spectra, self.unfreezing = frozen, spectra, unfreezing
        self.best: dict[str, Tensor] = {}
        self.best_loss, self.since_best = float("inf"), 0

    def watch(self, batches: Iterator[StepBatches], n_epoch_steps: int) -> Iterator[StepBatches]:
        for step, batch in enumerate(batches):
            if step % n_epoch_steps == 0:
                if step and not self.look():
                    return
                if self.unfreezing is not None:
                    self.unfreezing.apply(step // n_epoch_steps)
            yield batch

    def look(self) -> bool:
        """Validate; returns whether to go on."""
        windows = self.data.windows[self.valid]
        said, _ = predict(self.model, self.data.shards, windows, frozen=self.frozen, spectra=self.spectra)
        loss = -float((self.data.targets[self.valid] * np.log(said + 1e-9)).sum(axis=1).mean())
        if loss < self.best_loss:
            self.best_loss, self.since_best = loss, 0
            self.best = deepcopy(self.model.state_dict())
        else:
            self.since_best += 1
        return self.since_best < self.recipe.patience
