"""Recipes of fine-tuning: functions that return a frozen configuration, chosen by name on the command line."""

from collections.abc import Callable
from dataclasses import dataclass, replace

from model.adapters import KINDS
from model.freezing import GROUPS
from signals.normalise import Normalisation
from training.loop import Precision


@dataclass(frozen=True, kw_only=True)
class FinetuneRecipe:
    """Everything that decides a fine-tuning run, besides shards, task and encoder."""

    epochs: int = 8
    """Most passes over the training windows."""
    patience: int = 3
    """Epochs without a better validation loss before it stops; the best epoch's weights are kept."""
    validation_share: float = 0.15
    """Share of training subjects that choose the epoch and are not trained on."""
    freeze: tuple[str, ...] = ()
    """Groups that do not move: of "stem", "trunk", "head", "adapter"."""
    adapter: str = ""
    """Kind of adapters that are put into the encoder's blocks, of model.adapters.KINDS; empty for none."""
    adapter_rank: int = 8
    """Their rank."""
    batch: int = 16
    """Windows of a step."""
    micro_batch: int = 8
    """Windows of one forward pass; divides `batch`."""
    learning_rate: float = 2e-3
    """Peak rate of the head."""
    encoder_lr_scale: float = 0.5
    """Rate of stem and trunk, as a share of the head's."""
    weight_decay: float = 0.05
    """Decay of matrices."""
    warmup_steps: int = 10
    """Steps of linear warm-up."""
    clip_norm: float = 1.0
    """Largest norm of the gradient."""
    dropout: float = 0.2
    """Dropout in the head."""
    mirror: float = 0.5
    """Chance of swapping left and right electrodes."""
    drop_channels: float = 0.05
    """Chance of each channel to be taken for absent."""
    gain_sd: float = 0.1
    """Spread of a window's random gain, in log units."""
    normalisation: Normalisation = "window"
    """Where the scale of a window comes from."""
    precision: Precision = "fp32"
    """Of the forward pass."""
    seed: int = 0
    """Decides the head's weights, validation subjects, order, augmentation and dropout."""

    def __post_init__(self) -> None:
        if unknown := set(self.freeze) - set(GROUPS):
            raise ValueError(f"freeze names {sorted(unknown)}; groups are {list(GROUPS)}")
        if self.adapter and self.adapter not in KINDS:
            raise ValueError(f"adapter={self.adapter!r} is none of {list(KINDS)}")
        if self.adapter_rank < 1:
            raise ValueError(f"adapter_rank={self.adapter_rank} must be at least 1")
        if self.batch % self.micro_batch:
            raise ValueError(f"batch={self.batch} is no multiple of micro_batch={self.micro_batch}")
        if not 0 < self.validation_share < 1:
            raise ValueError(f"validation_share={self.validation_share} must lie between 0 and 1")
        if self.epochs < 1 or self.patience < 1:
            raise ValueError(f"epochs={self.epochs} and patience={self.patience} must be at least 1")


def probe(*, tiny: bool = False) -> FinetuneRecipe:
    """Return the demo's recipe: only the head is trained, on the frozen encoder's kept tokens; seconds a fold.

    `python -m training.loso --recipe probe --shards DIR --task six-class --encoder DIR --output F.parquet`.
    Measured once on 640 synthetic windows of 4 sites (patience 15): balanced accuracy 0.59 at sites that were not
    trained on; on 192 windows hardly better than chance (0.20).
    """
    recipe = FinetuneRecipe(
        freeze=("stem", "trunk"),
        epochs=40,
        micro_batch=16,
        patience=8,
        learning_rate=1e-3,
        drop_channels=0.0,
        gain_sd=0.0,
        dropout=0.5,
    )
    return _tiny(recipe) if tiny else recipe


def full_tiny(*, tiny: bool = False) -> FinetuneRecipe:
    """Return a recipe that trains the whole of a tiny encoder; about 30 ms a window and epoch on a CPU core.

    `python -m training.finetune --recipe full_tiny --shards DIR --task six-class --encoder DIR --output DIR`.
    """
    recipe = FinetuneRecipe()
    return _tiny(recipe) if tiny else recipe


def adapters(*, tiny: bool = False) -> FinetuneRecipe:
    """Return a recipe that leaves the encoder frozen and trains low-rank adapters in its blocks, and the head.

    `python -m training.finetune --recipe adapters --shards DIR --task six-class --encoder DIR --output DIR`;
    `--adapter bottleneck` for the other kind. Its time and score are not measured yet; a step costs about as much as
    one of `full_tiny`.
    """
    recipe = FinetuneRecipe(freeze=("stem", "trunk"), adapter="lora")
    return _tiny(recipe) if tiny else recipe


def _tiny(recipe: FinetuneRecipe) -> FinetuneRecipe:
    return replace(recipe, epochs=1, batch=4, micro_batch=2, warmup_steps=1)


RECIPES: dict[str, Callable[..., FinetuneRecipe]] = {"probe": probe, "full_tiny": full_tiny, "adapters": adapters}
"""Fine-tuning recipes by name; each takes `tiny=True`."""
