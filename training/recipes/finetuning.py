"""Recipes of fine-tuning: functions that return a frozen configuration, chosen by name on the command line."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal, get_args

from model.freezing import GROUPS
from signals.shards.normalise import Normalisation
from training.objectives.rarity import LossKind
from training.recipes.model_shape import ENCODER, TaskModelShape
from training.recipes.sections import (
    Optim,
    Regularise,
    TrackedRecipe,
    Warmup,
    below_one,
    changed,
    not_negative,
    one_of,
    positive,
    shares,
    some_of,
    within,
)

ClassWeights = Literal["auto", "always", "never"]


@dataclass(frozen=True, kw_only=True)
class FinetuneData:
    """How windows are scaled, and whose choose the epoch."""

    normalisation: Normalisation = "window"
    """Where the scale of a window comes from."""
    validation_share: float = 0.15
    """Share of training subjects that choose the epoch and are not trained on."""

    def __post_init__(self) -> None:
        within(self, "validation_share")


@dataclass(frozen=True, kw_only=True)
class FinetuneObjective:
    """What is minimised."""

    loss: LossKind = "kl"
    """How rare classes are treated: "kl" (cross-entropy), "focal", "ldam", "class-balanced"."""
    focal_gamma: float = 2.0
    """How much "focal" turns away from what is known already."""
    ldam_margin: float = 2.0
    """By how many logits the rarest class must win with "ldam", others by less (fourth root of their number)."""
    reweight_from: float = 0.8
    """Share of the steps after which "ldam" weighs classes; the epoch is chosen among those after it."""
    label_smoothing: float = 0.0
    """Share of every target that goes to all classes alike."""
    class_weights: ClassWeights = "auto"
    """Whether classes weigh the same: "auto" for hard labels only, since votes keep their own frequencies."""
    vote_weight: float = 0.0
    """Windows count by this power of their number of votes; 0: all the same."""

    def __post_init__(self) -> None:
        one_of(self, "loss", get_args(LossKind))
        one_of(self, "class_weights", get_args(ClassWeights))
        not_negative(self, "focal_gamma", "vote_weight", "ldam_margin")
        shares(self, "label_smoothing", "reweight_from")


@dataclass(frozen=True, kw_only=True)
class FinetuneOptim(Optim):
    """How a step is taken. `micro_batch` windows are also those that are mixed with each other."""

    learning_rate: float = 2e-3
    """Peak rate of the head."""
    encoder_lr_scale: float = 0.5
    """Rate of an encoder's stem and trunk, as a share of that of its head."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.sharing != "replicate":
            raise ValueError(f"sharing={self.sharing} is for pretraining: a fit holds its whole model")


@dataclass(frozen=True, kw_only=True)
class FinetuneSchedule(Warmup):
    """How long a fit is, and in which stages."""

    epochs: int = 8
    """Most passes over the training windows."""
    patience: int = 3
    """Epochs without a better validation loss before it stops; the best epoch's weights are kept."""
    warmup_steps: int = 10
    """Steps of linear warm-up."""
    unfreeze_every: int = 0
    """Epochs after which one more stage is opened, from the last to the first, the head alone at first; 0: all at
    once. For pretrained weights."""
    second_stage_votes: int = 0
    """After all windows, train on those of at least so many votes; 0: no second stage."""
    second_stage_epochs: int = 4
    """Most passes of the second stage."""
    second_stage_rate: float = 0.3
    """Learning rate of the second stage, as a share of the first's."""

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("epochs", "patience", "second_stage_epochs"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name}={getattr(self, name)} must be at least 1")
        not_negative(self, "unfreeze_every", "second_stage_votes")
        positive(self, "second_stage_rate")


@dataclass(frozen=True, kw_only=True)
class FinetuneRegularise(Regularise):
    """What keeps weights small and calm, or where they were."""

    dropout: float = 0.2
    """Dropout in the head."""
    freeze: tuple[str, ...] = ()
    """Groups that do not move: of "stem", "trunk", "head", "adapter"."""
    drop_path: float = 0.0
    """Chance of leaving out a branch of the encoder's last block for a window, less in earlier blocks."""
    drop_metadata: float = 0.0
    """Chance of each field of the person to be taken for absent, where a model reads metadata."""

    def __post_init__(self) -> None:
        super().__post_init__()
        shares(self, "dropout", "drop_metadata")
        below_one(self, "drop_path")
        some_of(self, "freeze", GROUPS)


@dataclass(frozen=True, kw_only=True)
class FinetuneAugment:
    """How windows are changed at random; what would spoil a task's labels is left out (`training.fitting.policy`)."""

    level: int = 0
    """1 to 3: every change that keeps the task's labels, mild to strong, in place of the strengths below."""
    mirror: float = 0.5
    """Chance of swapping left and right electrodes."""
    drop_channels: float = 0.05
    """Chance of each channel to be taken for absent."""
    gain_sd: float = 0.1
    """Spread of a window's random gain, in log units."""
    time_shift_s: float = 0.0
    """Largest shift in time, seconds; at most a quarter of the label's span."""
    time_mask: float = 0.0
    """Chance of silencing a stretch outside of the label's span."""
    band_stop: float = 0.0
    """Chance of taking out a band of 2 Hz above those that tell the classes (`training.objectives.augment.STOP_HZ`)."""
    equaliser_sd: float = 0.0
    """Spread of a random frequency response, in log units of amplitude (`training.objectives.augment.EQUALISER_HZ`)."""
    time_warp: float = 0.0
    """Spread of the local rate of a bent axis of time."""
    polarity: float = 0.0
    """Chance of turning all voltages round."""
    channel_shuffle: float = 0.0
    """Chance of exchanging channels at random."""
    noise_sd: float = 0.0
    """Size of generated noise (wander, mains, muscle), in units of the normalised signal."""
    image: float = 0.0
    """Strength, 0 to 1, of what a camera does to a page, where a model reads images."""
    mixup: float = 0.0
    """Alpha of the Beta distribution that mixes two windows and their targets; 0: none."""
    cutmix: float = 0.0
    """Chance of a micro-batch to swap context with other windows, or the label's span together with the target."""

    def __post_init__(self) -> None:
        shares(
            self, "mirror", "drop_channels", "time_mask", "band_stop", "cutmix", "polarity", "channel_shuffle", "image"
        )
        below_one(self, "time_warp")
        not_negative(self, "gain_sd", "time_shift_s", "mixup", "equaliser_sd", "noise_sd")
        if self.level not in (0, 1, 2, 3):
            raise ValueError(f"level={self.level} is none of 0, 1, 2, 3")

    @property
    def changes_samples(self) -> bool:
        """Whether anything but mirroring changes a window."""
        chances = (self.drop_channels, self.gain_sd, self.time_shift_s, self.time_mask, self.band_stop)
        more = (self.equaliser_sd, self.mixup, self.cutmix, self.time_warp, self.polarity, self.channel_shuffle)
        return max(*chances, *more, self.noise_sd, float(self.level)) > 0


@dataclass(frozen=True, kw_only=True)
class FinetuneRecipe(TrackedRecipe):
    """Everything that decides a fine-tuning run, besides shards, task and encoder."""

    model: TaskModelShape = field(default_factory=TaskModelShape)
    data: FinetuneData = field(default_factory=FinetuneData)
    optim: FinetuneOptim = field(default_factory=FinetuneOptim)
    schedule: FinetuneSchedule = field(default_factory=FinetuneSchedule)
    regularise: FinetuneRegularise = field(default_factory=FinetuneRegularise)
    augment: FinetuneAugment = field(default_factory=FinetuneAugment)
    objective: FinetuneObjective = field(default_factory=FinetuneObjective)

    def __post_init__(self) -> None:
        name, freeze, every = self.model.name, self.regularise.freeze, self.schedule.unfreeze_every
        if name != ENCODER and freeze:
            raise ValueError(f"freeze={freeze} is for the encoder; model={name!r} has no such groups")
        if every and freeze:
            raise ValueError(f"unfreeze_every={every} opens stages, freeze={freeze} keeps them shut")


def _network(name: str, *, epochs: int, patience: int, dropout: float, learning_rate: float = 2e-3) -> FinetuneRecipe:
    """Return the recipe of a network that is trained from scratch."""
    return FinetuneRecipe(
        model=TaskModelShape(name=name),
        optim=FinetuneOptim(micro_batch=16, learning_rate=learning_rate),
        schedule=FinetuneSchedule(epochs=epochs, patience=patience),
        regularise=FinetuneRegularise(dropout=dropout),
    )


FROZEN = ("stem", "trunk")


def probe(*, tiny: bool = False) -> FinetuneRecipe:
    """Return the demo's recipe: only the head is trained, on the frozen encoder's kept tokens; seconds a fold.

    `python -m studies.loso --recipe probe --shards DIR --task six-class --encoder DIR --output F.parquet`.
    On 384 synthetic windows of 4 sites: balanced accuracy 0.66 to 0.68 at sites that were not trained on; on 192
    windows an earlier form was hardly better than chance (0.20).
    """
    recipe = FinetuneRecipe(
        optim=FinetuneOptim(micro_batch=16, learning_rate=2e-3),
        schedule=FinetuneSchedule(epochs=40, patience=8),
        regularise=FinetuneRegularise(freeze=FROZEN, weight_decay=1.5, dropout=0.5),
        augment=FinetuneAugment(drop_channels=0.0, gain_sd=0.0),
    )
    return tiny_form(recipe) if tiny else recipe


def full_tiny(*, tiny: bool = False) -> FinetuneRecipe:
    """Return a recipe that trains the whole of a tiny encoder; about 30 ms a window and epoch on a CPU core.

    `python -m training.finetune --recipe full_tiny --shards DIR --task six-class --encoder DIR --output DIR`.
    """
    recipe = FinetuneRecipe()
    return tiny_form(recipe) if tiny else recipe


def scratch(*, tiny: bool = False) -> FinetuneRecipe:
    """Return a recipe that trains an encoder and its head end to end from random weights, as long as the networks.

    `python -m training.finetune --recipe scratch --shards DIR --task six-class --no-encoder --output DIR`; epochs,
    patience and augmentation are those of `resnet_gru`. `python -m benchmarks scratch` compares the two. How the rate
    was chosen: docs/encoder.md.
    """
    recipe = FinetuneRecipe(
        optim=FinetuneOptim(micro_batch=16, learning_rate=1e-3, encoder_lr_scale=1.0),
        schedule=FinetuneSchedule(epochs=15, patience=5, warmup_steps=30),
        regularise=FinetuneRegularise(dropout=0.25, drop_path=0.1),
    )
    return tiny_form(recipe) if tiny else recipe


def adapters(*, tiny: bool = False) -> FinetuneRecipe:
    """Return a recipe that leaves the encoder frozen and trains low-rank adapters in its blocks, and the head.

    `python -m training.finetune --recipe adapters --shards DIR --task six-class --encoder DIR --output DIR`;
    `--model.adapter bottleneck` for the other kind. A step costs about as much as one of `full_tiny`.
    """
    recipe = FinetuneRecipe(model=TaskModelShape(adapter="lora"), regularise=FinetuneRegularise(freeze=FROZEN))
    return tiny_form(recipe) if tiny else recipe


def fused(*, tiny: bool = False) -> FinetuneRecipe:
    """Return a recipe of a frozen encoder that learns to listen to spectrograms, by cross-attention behind a gate.

    `python -m training.finetune --recipe fused --shards DIR --task six-class --encoder DIR --output DIR`. Shards of the
    profile six-class-spectrogram bring ten minutes; others have the window's own 50 s.
    """
    recipe = FinetuneRecipe(
        model=TaskModelShape(spectrogram=True),
        optim=FinetuneOptim(micro_batch=16, learning_rate=1e-3),
        regularise=FinetuneRegularise(freeze=FROZEN),
    )
    return tiny_form(recipe) if tiny else recipe


def resnet_gru(*, tiny: bool = False) -> FinetuneRecipe:
    """Return a recipe of the ResNet1D-GRU on raw EEG, from scratch; about 15 ms a window and epoch on a CPU core.

    `python -m training.finetune --recipe resnet_gru --shards DIR --task six-class --no-encoder --output DIR`.
    """
    recipe = _network("resnet_gru", epochs=15, patience=5, dropout=0.25)
    return tiny_form(recipe) if tiny else recipe


def efficientnet_b3(*, tiny: bool = False) -> FinetuneRecipe:
    """Return a recipe of EfficientNet-B3 on regional spectrograms: a GPU's work.

    `python -m training.finetune --recipe efficientnet_b3 --model.weights DIR --schedule.unfreeze-every 1 --shards DIR
    --task six-class --no-encoder --output DIR`; without weights from scratch. About 0.1 s a window and epoch on a
    CPU core.
    """
    recipe = _network("efficientnet_b3", epochs=20, patience=5, dropout=0.3, learning_rate=1e-3)
    recipe = changed(recipe, optim={"precision": "auto"})
    small = {"model": {"name": "efficientnet_small"}, "optim": {"precision": "fp32"}}
    return tiny_form(changed(recipe, **small)) if tiny else recipe


def efficientnet_small(*, tiny: bool = False) -> FinetuneRecipe:
    """Return the same with half of B3's width and depth, for a CPU; about 15 ms a window and epoch on a core."""
    recipe = _network("efficientnet_small", epochs=30, patience=8, dropout=0.3)
    return tiny_form(recipe) if tiny else recipe


def efficientnet_scalogram(*, tiny: bool = False) -> FinetuneRecipe:
    """Return a recipe of EfficientNet on the power of the window's own samples, for a CPU.

    `python -m training.finetune --recipe efficientnet_scalogram --shards DIR --task six-class --no-encoder
    --output DIR`.
    """
    recipe = _network("efficientnet_scalogram", epochs=30, patience=10, dropout=0.3, learning_rate=4e-3)
    recipe = changed(recipe, schedule={"warmup_steps": 40}, augment={"equaliser_sd": 0.3, "time_shift_s": 2.0})
    return tiny_form(recipe) if tiny else recipe


def eegnet(*, tiny: bool = False) -> FinetuneRecipe:
    """Return a recipe of the compact EEGNet-like network on raw EEG, from scratch."""
    recipe = _network("eegnet", epochs=15, patience=5, dropout=0.25)
    return tiny_form(recipe) if tiny else recipe


def multiscale(*, tiny: bool = False) -> FinetuneRecipe:
    """Return a recipe of the multi-scale network, for twelve leads, from scratch."""
    recipe = _network("multiscale", epochs=20, patience=6, dropout=0.3)
    return tiny_form(recipe) if tiny else recipe


def multimodal(*, tiny: bool = False) -> FinetuneRecipe:
    """Return a recipe of leads and fields of the person in one network, from scratch; any may be missing of a person.

    `python -m pipelines.preprocess --keep age,sex ...`, then `python -m training.finetune --recipe multimodal
    --model.metadata age sex --shards DIR --task ecg-superclass --no-encoder --output DIR`; leads alone without.
    """
    recipe = _network("multimodal", epochs=20, patience=6, dropout=0.2)
    recipe = changed(recipe, regularise={"drop_metadata": 0.25})
    return tiny_form(recipe) if tiny else recipe


def tiny_form(recipe: FinetuneRecipe) -> FinetuneRecipe:
    """Return the recipe with one epoch of small batches, to try it."""
    return changed(
        recipe,
        optim={"batch": 4, "micro_batch": 2},
        schedule={"epochs": 1, "warmup_steps": 1, "second_stage_epochs": 1},
    )


RECIPES: dict[str, Callable[..., FinetuneRecipe]] = {
    "probe": probe,
    "full_tiny": full_tiny,
    "scratch": scratch,
    "adapters": adapters,
    "fused": fused,
    "resnet_gru": resnet_gru,
    "eegnet": eegnet,
    "multiscale": multiscale,
    "multimodal": multimodal,
    "efficientnet_b3": efficientnet_b3,
    "efficientnet_small": efficientnet_small,
    "efficientnet_scalogram": efficientnet_scalogram,
}
"""Fine-tuning recipes by name; each takes `tiny=True`."""
