import pytest
import torch
from torch import nn

from training.parallel.distributed import Single
from training.recipes.autoencoding import AutoencoderRecipe
from training.recipes.finetuning import FinetuneRecipe
from training.recipes.pretraining import PretrainRecipe
from training.recipes.sections import changed
from training.trainer.start import new_trainer

ALONE = Single(rank=0, world_size=1, device=torch.device("cpu"))


class Two(nn.Module):
    """A head, and an encoder below it."""

    def __init__(self):
        super().__init__()
        self.encoder = nn.Sequential(nn.Linear(2, 2, bias=False))
        self.head = nn.Linear(2, 1, bias=False)


@pytest.mark.parametrize(
    "recipe", [AutoencoderRecipe(), FinetuneRecipe(), PretrainRecipe()], ids=lambda r: type(r).__name__
)
def test_every_option_of_a_step_reaches_the_trainer_of_every_kind_of_run(recipe):
    recipe = changed(
        recipe,
        optim={
            "batch": 64, "learning_rate": 1e-3, "rate_batch": 16, "encoder_lr_scale": 0.25, "clip_norm": 0.5,
            "precision": "bf16",
        },
        schedule={"warmup_steps": 4},
        regularise={"weight_decay": 0.3, "ema_decay": 0.9},
    )  # fmt: skip
    trainer = new_trainer(Two(), recipe, ALONE, n_steps=100)
    rates = {name: group["lr"] for group in trainer.optimizer.param_groups for name in [group["params"][0].shape]}
    # sqrt(64 / 16) = 2 times the rate, a quarter of that in the encoder; a quarter of either in the first of 4 steps.
    assert rates == {(1, 2): pytest.approx(2e-3 / 4), (2, 2): pytest.approx(2e-3 / 16)}
    assert {group["weight_decay"] for group in trainer.optimizer.param_groups} == {0.3}
    assert (trainer.clip_norm, trainer.precision, trainer.ema_decay) == (0.5, "bf16", 0.9)
    assert trainer.average is not None
    assert new_trainer(Two(), recipe, ALONE, n_steps=100, encoder_lr_scale=1.0).optimizer.param_groups[0]["lr"] == 5e-4
