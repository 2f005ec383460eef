"""Recipes of the anomaly autoencoder: functions that return a frozen configuration, chosen by name."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace

from model.pretraining.autoencoder import AutoencoderConfig


@dataclass(frozen=True, kw_only=True)
class AutoencoderRecipe:
    """Everything that decides a training of the autoencoder, besides the shards."""

    network: AutoencoderConfig = field(default_factory=AutoencoderConfig)
    """Shape of the network."""
    crop_s: int = 4
    """Length of the stretch that is cut from each window, whole seconds."""
    corrupted_share: float = 0.6
    """Share of windows in which one to three of the electrodes that are seen are spoilt."""
    absent_share: float = 0.3
    """Share of windows from which further electrodes are left out."""
    held_out_share: float = 0.2
    """Share of subjects, chosen by hash, that are never trained on and give the reported loss and the quantiles."""
    steps: int = 600
    """Optimizer steps."""
    warmup_steps: int = 30
    """Steps of linear warm-up."""
    batch: int = 24
    """Windows of a step."""
    learning_rate: float = 4e-3
    """Peak rate of AdamW."""
    weight_decay: float = 0.01
    """Decay of matrices."""
    seed: int = 0
    """Decides weights, order, crops, what is hidden and what is spoilt."""

    def __post_init__(self) -> None:
        for name in ("corrupted_share", "absent_share"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name}={getattr(self, name)} must lie between 0 and 1")
        for name in ("steps", "batch", "crop_s", "learning_rate"):
            if getattr(self, name) <= 0:
                raise ValueError(f"{name}={getattr(self, name)} must be positive")


def eeg_autoencoder(*, tiny: bool = False) -> AutoencoderRecipe:
    """Return the recipe of `docs/artifacts.md`: 80 thousand parameters, under three minutes on one CPU core.

    `python -m training.autoencoder --shards DIR --output MODEL.onnx`.
    """
    recipe = AutoencoderRecipe()
    return replace(recipe, steps=20, warmup_steps=2, batch=4, crop_s=2) if tiny else recipe


RECIPES: dict[str, Callable[..., AutoencoderRecipe]] = {"eeg_autoencoder": eeg_autoencoder}
"""Recipes by name; each takes `tiny=True`."""
