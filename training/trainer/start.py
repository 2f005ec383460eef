"""A trainer as a recipe wants it: optimizer, schedule and every option of a step, alike for all kinds of runs."""

from typing import Any

from torch import nn

from training.parallel.distributed import Processes
from training.recipes.sections import Recipe
from training.trainer.optim import make_optimizer, make_scheduler
from training.trainer.train import Trainer


def new_trainer(
    module: nn.Module,
    recipe: Recipe,
    processes: Processes,
    *,
    n_steps: int,
    encoder_lr_scale: float | None = None,
    **more: Any,
) -> Trainer:
    """Return a trainer of an objective over so many steps, from the recipe's sections optim, schedule, regularise.

    encoder_lr_scale: in place of the recipe's. more: further fields of `Trainer`.
    """
    optim = recipe.optim
    optimizer = make_optimizer(
        module,
        learning_rate=optim.peak_rate,
        weight_decay=recipe.regularise.weight_decay,
        encoder_lr_scale=optim.encoder_lr_scale if encoder_lr_scale is None else encoder_lr_scale,
    )
    return Trainer(
        module=module,
        optimizer=optimizer,
        scheduler=make_scheduler(optimizer, warmup_steps=recipe.schedule.warmup_steps, steps=n_steps),
        processes=processes,
        seed=recipe.seed,
        precision=optim.precision,
        clip_norm=optim.clip_norm,
        ema_decay=recipe.regularise.ema_decay,
        compile=optim.compile,
        **more,
    )
