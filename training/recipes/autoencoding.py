"""Recipes of the anomaly autoencoder: functions that return a frozen configuration, chosen by name."""

from collections.abc import Callable
from dataclasses import dataclass, field

from model.pretraining.autoencoder import AutoencoderConfig
from training.recipes.sections import Optim, Recipe, Regularise, Schedule, changed, positive, shares, within


@dataclass(frozen=True, kw_only=True)
class AutoencoderData:
    """Which windows are read."""

    crop_s: int = 4
    """Length of the stretch that is cut from each window, whole seconds."""
    held_out_share: float = 0.2
    """Share of subjects, chosen by hash, that are never trained on and give the reported loss and the quantiles."""

    def __post_init__(self) -> None:
        positive(self, "crop_s")
        within(self, "held_out_share")


@dataclass(frozen=True, kw_only=True)
class AutoencoderAugment:
    """How windows are spoilt."""

    corrupted_share: float = 0.6
    """Share of windows in which one to three of the electrodes that are seen are spoilt."""
    absent_share: float = 0.3
    """Share of windows from which further electrodes are left out."""

    def __post_init__(self) -> None:
        shares(self, "corrupted_share", "absent_share")


@dataclass(frozen=True, kw_only=True)
class AutoencoderRecipe(Recipe):
    """Everything that decides a training of the autoencoder, besides the shards."""

    model: AutoencoderConfig = field(default_factory=AutoencoderConfig)
    data: AutoencoderData = field(default_factory=AutoencoderData)
    optim: Optim = field(default_factory=lambda: Optim(batch=24, micro_batch=24, learning_rate=4e-3))
    schedule: Schedule = field(default_factory=lambda: Schedule(steps=600, warmup_steps=30))
    regularise: Regularise = field(default_factory=lambda: Regularise(weight_decay=0.01))
    augment: AutoencoderAugment = field(default_factory=AutoencoderAugment)


def eeg_autoencoder(*, tiny: bool = False) -> AutoencoderRecipe:
    """Return the recipe of `docs/artifacts.md`: 80 thousand parameters, under three minutes on one CPU core.

    `python -m training.autoencoder --shards DIR --output MODEL.onnx`.
    """
    recipe = AutoencoderRecipe()
    small = {"schedule": {"steps": 20, "warmup_steps": 2}, "optim": {"batch": 4, "micro_batch": 4}}
    return changed(recipe, data={"crop_s": 2}, **small) if tiny else recipe


RECIPES: dict[str, Callable[..., AutoencoderRecipe]] = {"eeg_autoencoder": eeg_autoencoder}
"""Recipes by name; each takes `tiny=True`."""
