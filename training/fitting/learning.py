"""Learning a task: epochs over training rows, of which others choose the best; in one stage or two."""

import hashlib
import logging
import shutil
from collections.abc import Callable, Mapping
from contextlib import closing
from copy import deepcopy
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor, nn

from evaluation.measures.metrics import balanced_accuracy, confusion_matrix, predicted_shares
from evaluation.measures.multilabel import balanced_decisions, binary_loss
from model.classifier import Classifier
from model.heads import Tensors
from model.saved import TaskModel
from model.supervised.supervised import Supervised
from training.corpus.frozen import FrozenTokens
from training.corpus.labelled import Labelled
from training.fitting.inference import logits_of, predict, reads_spectrogram
from training.fitting.loss import task_loss
from training.fitting.spectra import Spectrograms
from training.fitting.task_batches import TaskBatches, step_batches
from training.objectives.losses import TaskLoss
from training.objectives.teaching import Teaching
from training.parallel.distributed import Processes
from training.recipes.finetuning import FinetuneRecipe
from training.recipes.sections import changed
from training.trainer.monitoring import monitored
from training.trainer.saving import Saver, resume
from training.trainer.start import new_trainer
from training.trainer.train import Trainer, run_steps
from training.trainer.unfreezing import Unfreezing, stages_of

logger = logging.getLogger(__name__)
M = TypeVar("M", Classifier, Supervised)


class TaskObjective(nn.Module):
    """A model with the loss to its targets, "labels", and to its teacher, "teacher"."""

    def __init__(
        self,
        model: TaskModel,
        loss: TaskLoss,
        unfreezing: Unfreezing | None = None,
        teaching: Teaching | None = None,
    ) -> None:
        super().__init__()
        self.model, self.loss, self.unfreezing, self.teaching = model, loss, unfreezing, teaching
        share = 0.0 if teaching is None else teaching.weight
        self.weights = {"labels": 1 - share, **({} if teaching is None else {"teacher": share})}

    def forward(self, batch: Tensors) -> dict[str, Tensor]:
        """Return totals over a batch of `training.fitting.task_batches`."""
        logits_BK, _ = logits_of(self.model, dict(batch))
        totals = {"labels": self.loss.total(logits_BK, batch["target_BK"], batch.get("weight_B"))}
        if self.teaching is not None:
            totals["teacher"] = self.teaching.total(logits_BK, batch["taught_BK"])
        return totals

    def counts(self, batch: Tensors) -> dict[str, Tensor]:
        """Return the sum of weights of labels, and the number of windows that the teacher spoke of."""
        target_BK = batch["target_BK"]
        counts = {"labels": self.loss.count(target_BK, batch.get("weight_B"))}
        if self.teaching is not None:
            counts["teacher"] = target_BK.new_full((), len(target_BK))
        return counts

    def train(self, mode: bool = True) -> "TaskObjective":
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
    checkpoints: Path | None = None,
) -> M | None:
    """Return the model after training what requires gradients, at its best epoch; None if a signal stopped the run.

    rows: those to train on and those that choose the epoch. frozen, spectra: kept tokens and spectrograms to use.
    With `second_stage_votes`, all this happens again on windows of so many
    votes. checkpoints: folder that a stopped run saves its state in, and the same run goes on from; it is gone in the
    end. Raises ValueError where too few windows are left for the second stage, and for checkpoints of another run.
    """
    if spectra is None and reads_spectrogram(model):
        spectra = Spectrograms(data.shards)
    run = Run(processes=processes, metrics=metrics, name=name, frozen=frozen, spectra=spectra)
    folders = [None, None] if checkpoints is None else [checkpoints / "all", checkpoints / "firm"]
    learnt = _stage(model, data, rows, recipe, replace(run, checkpoints=folders[0]))
    if learnt is not None and recipe.schedule.second_stage_votes:
        firm = firm_rows(data, rows, n_votes=recipe.schedule.second_stage_votes)
        log = metrics.with_name(f"{metrics.stem}-firm{metrics.suffix}")
        run = replace(run, metrics=log, name=f"{name}, firm", checkpoints=folders[1])
        if recipe.schedule.unfreeze_every:
            Unfreezing(stages_of(learnt), every=0).apply(0)
        learnt = _stage(learnt, data, firm, second_stage(recipe), run)
    if learnt is not None and checkpoints is not None and processes.is_main:
        shutil.rmtree(checkpoints, ignore_errors=True)
    return learnt


def second_stage(recipe: FinetuneRecipe) -> FinetuneRecipe:
    """Return the recipe of the second stage: fewer epochs at a lower rate, nothing opened step by step."""
    schedule = recipe.schedule
    return changed(
        recipe,
        optim={"learning_rate": recipe.optim.learning_rate * schedule.second_stage_rate},
        schedule={"epochs": schedule.second_stage_epochs, "unfreeze_every": 0, "second_stage_votes": 0},
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


@dataclass(frozen=True, kw_only=True, eq=False)
class Run:
    """Where a stage is run and logged, what it may use, and the folder of its checkpoints."""

    processes: Processes
    metrics: Path
    name: str
    frozen: FrozenTokens | None
    spectra: Spectrograms | None
    checkpoints: Path | None = None


def _stage(model: M, data: Labelled, rows: tuple[np.ndarray, np.ndarray], recipe: FinetuneRecipe, run: Run) -> M | None:
    train, valid = rows
    kept: dict[str, Any] = {"frozen": run.frozen, "spectra": run.spectra}
    n_epoch_steps = max(1, len(train) // recipe.optim.batch)
    n_steps = n_epoch_steps * recipe.schedule.epochs
    opens = recipe.schedule.unfreeze_every
    unfreezing = Unfreezing(stages_of(model), every=opens) if opens else None
    losses = task_loss(data, train, recipe)
    objective = TaskObjective(model, losses.first, unfreezing, data.teaching)
    trainer = new_trainer(
        objective,
        recipe,
        run.processes,
        n_steps=n_steps,
        encoder_lr_scale=None if isinstance(model, Classifier) else 1.0,
    )
    validation = EpochValidation(
        data, valid, model, patience=recipe.schedule.patience, every=n_epoch_steps,
        counts_after=losses.first_last_step(n_steps), **kept,
    )  # fmt: skip
    save = _resumed(trainer, validation, run.checkpoints, run_about(model, data, rows, recipe))
    first_step = trainer.step

    def before_step(step: int) -> None:
        objective.loss = losses.at(step, n_steps)
        if unfreezing is not None and (step % n_epoch_steps == 0 or step == first_step):
            unfreezing.apply(step // n_epoch_steps)

    made = TaskBatches(data, recipe, model, **kept)
    sample = {name: values.to(run.processes.device) for name, values in made.sample(train).items()}
    batches = step_batches(made, train, range(trainer.step, n_steps), run.processes)
    page = monitored(
        run.metrics, trainer, sample, batch=recipe.optim.batch, config=asdict(recipe), also=recipe.track.to
    )
    with trainer.stop.listening(), closing(batches), page as tracker:
        finished = run_steps(
            trainer,
            batches,
            n_steps=n_steps,
            label=run.name,
            tracker=tracker,
            save=save,
            save_every=recipe.track.save_every,
            validation=validation,
            before_step=before_step,
        )
    if not finished:
        return None
    model.load_state_dict(validation.best)
    return model.eval()


def _resumed(
    trainer: Trainer, validation: "EpochValidation", folder: Path | None, about: Mapping[str, Any]
) -> Callable[[Trainer], None]:
    """Go on from a folder's checkpoint where it has one; return what saves there."""
    if folder is None:
        return lambda t: None
    saver = Saver(folder, trainer.processes, keep=2)
    if (state := resume(trainer, folder, about, defaults=asdict(FinetuneRecipe()))) is not None:
        validation.load_state(state["validation"])
    return lambda t: saver.save(lambda: {**t.state(), **about, "validation": validation.state()}, step=t.step)


def run_about(
    model: TaskModel, data: Labelled, rows: tuple[np.ndarray, np.ndarray], recipe: FinetuneRecipe
) -> dict[str, Any]:
    """Return what decides where a fit ends: the recipe, the windows and targets of both sides, the first weights."""
    weights, sides = hashlib.sha256(), hashlib.sha256()
    for name, parameter in model.named_parameters():
        weights.update(name.encode() + parameter.detach().cpu().numpy().tobytes())
    for side in rows:
        sides.update(np.ascontiguousarray(data.windows[side]).tobytes() + data.targets[side].tobytes())
        if data.teaching is not None:
            sides.update(data.teaching.softened(side).tobytes() + repr(data.teaching.weight).encode())
    return {
        "config": asdict(recipe),
        "manifest_digest": data.shards.manifest.digest,
        "windows": sides.hexdigest(),
        "first_weights": weights.hexdigest(),
    }


class EpochValidation:
    """Validation after each epoch: keeps the best weights, and ends the run when patience is over.

    The main process predicts and decides; all processes hear the loss and act alike.
    """

    def __init__(
        self,
        data: Labelled,
        valid: np.ndarray,
        model: TaskModel,
        *,
        patience: int,
        every: int,
        counts_after: int = 0,
        frozen: FrozenTokens | None,
        spectra: Spectrograms | None,
    ) -> None:
        self.data, self.valid, self.model, self.patience, self.every = data, valid, model, patience, every
        self.counts_after = counts_after
        self.frozen, self.spectra = frozen, spectra
        self.best: dict[str, Tensor] = {}
        self.best_loss, self.since_best = float("inf"), 0

    @property
    def is_over(self) -> bool:
        """Whether so many epochs as patience allows brought nothing better."""
        return self.since_best >= self.patience

    def state(self) -> dict[str, Any]:
        """Return what a checkpoint needs to go on from here."""
        return {"best": self.best, "best_loss": self.best_loss, "since_best": self.since_best}

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Go on from a checkpoint's state."""
        self.best, self.best_loss, self.since_best = state["best"], state["best_loss"], state["since_best"]

    def __call__(self, trainer: Trainer) -> dict[str, float]:
        """Return "valid_loss", the cross-entropy to the targets, and "valid_balanced_accuracy"."""
        with trainer.evaluated():
            mine = self._measure() if trainer.processes.is_main else (0.0, 0.0)
            loss, accuracy = trainer.processes.from_main(torch.tensor(mine, dtype=torch.float64)).tolist()
            if trainer.step <= self.counts_after:  # the loss is still another one
                self.best = deepcopy(self.model.state_dict())
            elif loss < self.best_loss:
                self.best_loss, self.since_best = loss, 0
                self.best = deepcopy(self.model.state_dict())
            else:
                self.since_best += 1
        return {"valid_loss": loss, "valid_balanced_accuracy": accuracy}

    def _measure(self) -> tuple[float, float]:
        windows, targets = self.data.windows[self.valid], self.data.targets[self.valid]
        prob, _ = predict(self.model, self.data.shards, windows, frozen=self.frozen, spectra=self.spectra)
        if self.data.task.multilabel:
            return binary_loss(prob, targets), balanced_decisions(prob, targets)
        confusion = confusion_matrix(targets.argmax(axis=1), predicted_shares(prob))
        loss = -float((targets * np.log(prob + 1e-9)).sum(axis=1).mean())
        return loss, float(balanced_accuracy(confusion))
