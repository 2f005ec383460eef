"""A trainer as a recipe wants it: optimizer, schedule and every option of a step, alike for all kinds of runs."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from model.pretraining.pretraining import PretrainModel
from model.pretraining.recording_head import RECORDING_CONTRAST
from model.pretraining.teacher import Teacher, frozen
from model.saved import load_encoder
from training.parallel.distributed import Processes
from training.parallel.sharding import like
from training.recipes.sections import Recipe
from training.trainer.checkpoints import load_newest
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


def start_from(trainer: Trainer, folder: Path) -> None:
    """Take over the weights of a run's newest checkpoint, or of a saved encoder or task model's encoder.

    Heads that it has not keep their own.

    Raises ValueError where the encoder is of another shape.
    """
    model = trainer.module
    assert isinstance(model, PretrainModel)
    state = load_newest(folder / "checkpoints")
    if state is not None:
        weights = state["model"]
    else:
        weights = {f"encoder.{name}": value for name, value in load_encoder(folder).state_dict().items()}
    own = model.state_dict()
    wrong = [n for n in own if n.startswith("encoder.") and (n not in weights or weights[n].shape != own[n].shape)]
    if wrong:
        raise ValueError(f"{folder} holds another encoder: {wrong[0]} and {len(wrong) - 1} more differ")
    fitting = {n: like(value, own[n]) for n, value in weights.items() if n in own and own[n].shape == value.shape}
    model.load_state_dict(fitting, strict=False)
    if trainer.average is not None:
        trainer.average.restart(model)


def give_teacher(trainer: Trainer) -> None:
    """Let a model that predicts latents or finds keys learn from the average of its own weights, as it moves."""
    model = trainer.module
    assert isinstance(model, PretrainModel)
    assert trainer.average is not None
    averages = trainer.average.averages
    head = None
    if model.key_width:
        head = frozen(model.heads[RECORDING_CONTRAST], _below(averages, f"heads.{RECORDING_CONTRAST}."))
    model.teacher = Teacher(model.encoder, _below(averages, "encoder."), head=head)


def _below(averages: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): value for name, value in averages.items() if name.startswith(prefix)}
