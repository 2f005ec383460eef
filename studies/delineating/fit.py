"""Train a delineator on leads whose samples have classes."""

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F

from model.delineation.network import SFREQ, Delineator, DelineatorConfig
from studies.delineating.examples import IGNORED


@dataclass(frozen=True, kw_only=True)
class DelineatorRecipe:
    """How a delineator is trained."""

    steps: int = 500
    batch: int = 16
    crop_s: float = 4.0
    """Length of the stretches that a step sees, seconds."""
    learning_rate: float = 4e-3
    weight_decay: float = 1e-4
    seed: int = 0

    def __post_init__(self) -> None:
        if self.steps < 1 or self.batch < 1 or self.crop_s < 1:
            raise ValueError("steps and batch must be at least 1, crop_s at least 1 s")


def fit(
    x: np.ndarray, target: np.ndarray, recipe: DelineatorRecipe = DelineatorRecipe(), *, model: Delineator | None = None
) -> Delineator:
    """Return a delineator trained on leads, (n, n_times) as `examples.arrays` returns them; `model` is trained on.

    Crops are flipped in sign, scaled and shifted at random: a lead's polarity and size name no wave. Raises ValueError
    for leads shorter than a crop, and FloatingPointError where the loss is not finite.
    """
    n_crop = round(recipe.crop_s * SFREQ)
    if x.shape[1] < n_crop:
        raise ValueError(f"n_times={x.shape[1]} is shorter than a crop of {n_crop} samples")
    rng = np.random.default_rng(recipe.seed)
    with torch.random.fork_rng():
        torch.manual_seed(recipe.seed)
        model = Delineator(DelineatorConfig()) if model is None else model
    model.train()
    optimiser = torch.optim.AdamW(model.parameters(), lr=recipe.learning_rate, weight_decay=recipe.weight_decay)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, recipe.learning_rate, total_steps=recipe.steps)
    for step in range(recipe.steps):
        rows = rng.integers(len(x), size=recipe.batch)
        starts = rng.integers(x.shape[1] - n_crop + 1, size=recipe.batch)
        at = starts[:, None] + np.arange(n_crop)
        gain = rng.choice([-1.0, 1.0], (recipe.batch, 1)) * np.exp(rng.normal(0, 0.3, (recipe.batch, 1)))
        crop = torch.from_numpy((x[rows[:, None], at] * gain).astype(np.float32))
        loss = F.cross_entropy(model(crop), torch.from_numpy(target[rows[:, None], at]), ignore_index=IGNORED)
        if not torch.isfinite(loss):
            raise FloatingPointError(f"the loss is {loss.detach().item()} at step {step}")
        optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
        schedule.step()
    return model.eval()
