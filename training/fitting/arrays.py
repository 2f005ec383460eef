"""Fits of arrays that lie in memory, by the one trainer: generated windows, several sources, whatever has rows."""

from collections.abc import Callable, Iterator, Mapping

import numpy as np
import torch
from torch import Tensor, nn

from training.corpus.steps import Batch, StepBatches
from training.monitors.tracking import Tracker, Trackers
from training.parallel.distributed import start_processes
from training.recipes.finetuning import FinetuneRecipe
from training.trainer.start import new_trainer
from training.trainer.train import run_steps

Changed = Callable[[np.random.Generator, Batch], Batch]
"""What is done to a micro-batch at random."""


def fit_arrays(
    objective: nn.Module,
    arrays: Mapping[str, Tensor],
    recipe: FinetuneRecipe,
    *,
    n_steps: int,
    label: str = "fit",
    change: Changed | None = None,
    before_step: Callable[[int], None] = lambda step: None,
    tracker: Tracker | None = None,
) -> None:
    """Take `n_steps` steps on batches of rows, every row once an epoch, in an order that the recipe's seed decides.

    objective: as `training.trainer.train.Objective`. arrays: tensors by name, a row per window. Raises ValueError for
    arrays of different lengths, and where a batch is larger than they are; RuntimeError where a signal stops the run.
    """
    lengths = {len(values) for values in arrays.values()}
    if len(lengths) != 1 or recipe.optim.batch > (n := lengths.pop()):
        raise ValueError(f"batch={recipe.optim.batch} of arrays with {sorted({len(v) for v in arrays.values()})} rows")
    processes = start_processes("single")
    trainer = new_trainer(objective, recipe, processes, n_steps=n_steps, encoder_lr_scale=1.0)

    def batches() -> Iterator[StepBatches]:
        for step, rows in zip(range(n_steps), row_batches(n, recipe.optim.batch, recipe.seed), strict=False):
            batch: Batch = {name: values[rows] for name, values in arrays.items()}
            if change is not None:
                batch = change(np.random.default_rng((recipe.seed, 3, step)), batch)
            yield StepBatches(micro_batches=[batch], eeg_hours=0.0)

    finished = run_steps(
        trainer, batches(), n_steps=n_steps, label=label, tracker=tracker or Trackers(), save=lambda t: None,
        save_every=n_steps, before_step=before_step,
    )  # fmt: skip
    if not finished:
        raise RuntimeError(f"{label} was stopped by a signal")
    objective.eval()


def row_batches(n: int, batch: int, seed: int) -> Iterator[Tensor]:
    """Yield rows of each step without end: a new order every epoch, what does not fill a batch is left out."""
    epoch = 0
    while True:
        order = np.random.default_rng((seed, 1, epoch)).permutation(n)
        for start in range(0, n - batch + 1, batch):
            yield torch.from_numpy(order[start : start + batch])
        epoch += 1
