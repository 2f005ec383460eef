"""Recipes of pretraining: functions that return a frozen configuration, chosen by name on the command line."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal, get_args

from model.encoder_config import SIZES, EncoderConfig, sized
from model.layers.fusion import SOURCES
from model.pretraining.masking import MaskPlan
from model.pretraining.token_masks import BlockPlan
from model.pretraining.trunks import Trunk
from model.pretraining.truth_heads import TRUTH_HEADS
from signals.shards.normalise import Normalisation
from training.objectives.planting.planted_bank import Laying
from training.objectives.planting.planter import Chances
from training.objectives.planting.targets import TruthPlan
from training.recipes.pretraining_objective import PretrainObjective
from training.recipes.sections import (
    Optim,
    Regularise,
    Schedule,
    Track,
    TrackedRecipe,
    below_one,
    changed,
    not_negative,
    one_of,
    positive,
    shares,
    some_of,
    within,
)

Resident = Literal["no", "device"]
Choice = Literal["error", "probe"]


@dataclass(frozen=True, kw_only=True)
class EncoderShape:
    """The encoder that is pretrained, or a control in its place."""

    trunk: Trunk = "encoder"
    """What the heads stand on; "resnet-gru" is the control of planted truth: of what follows it has the width alone."""
    size: str = "tiny"
    """Row of model.encoder.SIZES."""
    dim: int = 0
    """Width of the trunk; 0 for the size's own."""
    depth: int = 0
    """Number of blocks; 0 for the size's own."""
    stem_dim: int = 0
    """Width of the stem; 0 for the size's own."""
    gradient_checkpointing: bool = False
    """Trade time for memory."""
    graph: bool = True
    """Whether channels meet: relations, mixtures, attention over channels."""
    positions: bool = True
    """Whether a channel's embedding and relations hold which electrode it is and where it lies."""
    covariance: bool = True
    """Whether relations of channels hold how they went together in the window."""
    fusion: tuple[str, ...] = ()
    """What EEG listens to besides itself, of model.layers.fusion.SOURCES."""

    def __post_init__(self) -> None:
        one_of(self, "trunk", get_args(Trunk))
        one_of(self, "size", sorted(SIZES))
        not_negative(self, "dim", "depth", "stem_dim")
        some_of(self, "fusion", SOURCES)

    @property
    def encoder(self) -> EncoderConfig:
        """The encoder's configuration."""
        chosen = {"dim": self.dim, "depth": self.depth, "stem_dim": self.stem_dim}
        overrides = {name: value for name, value in chosen.items() if value}
        switches = {
            "graph": self.graph,
            "positions": self.positions,
            "covariance": self.covariance,
            "fusion": self.fusion,
        }
        return sized(self.size, gradient_checkpointing=self.gradient_checkpointing, **switches, **overrides)


@dataclass(frozen=True, kw_only=True)
class PretrainData:
    """Which windows are read, and how."""

    crop_s: float = 10.0
    """Length of the stretch that is cut from each window, seconds; shorter windows are taken whole."""
    normalisation: Normalisation = "window"
    """Where the scale of a window comes from."""
    min_quality: float = 0.0
    """Windows whose mean quality is lower are left out."""
    good_only: bool = False
    """Windows with a stored reason against their quality are left out."""
    max_corrupt: float = 0.001
    """Share of records that may be unreadable; beyond it the run ends."""
    held_out_share: float = 0.2
    """Share of subjects, chosen by hash, that are never trained on and score the reconstruction."""
    choose_share: float = 0.0
    """Share of the other subjects that stand in for the held-out ones, who then stay unseen: to choose settings by."""
    split_seed: int = 0
    """Decides who is held out."""
    lanes: int = 8
    """Lanes that read corpora of more than a million windows: at least as many as processes, at most `batch`."""
    loader_processes: int = 0
    """Processes that read ahead; 0 for a thread. They do not change what is trained on."""
    resident: Resident = "no"
    """Keep all windows as int16, decoded once: on the "device", or "no"."""

    def __post_init__(self) -> None:
        positive(self, "crop_s", "lanes")
        not_negative(self, "loader_processes")
        within(self, "held_out_share")
        shares(self, "max_corrupt")
        below_one(self, "choose_share", "min_quality")
        one_of(self, "resident", get_args(Resident))


@dataclass(frozen=True, kw_only=True)
class PretrainTruth:
    """What is learnt of simulated patterns that are laid over the windows; all weights 0 lay none."""

    discharge: float = 0.0
    """Weight of finding discharges, per channel and quarter of a second."""
    phase: float = 0.0
    """Weight of the phase from one discharge to the next."""
    votes: float = 0.0
    """Weight of the six classes' votes."""
    course: float = 0.0
    """Weight of rate, its drift, regularity and lag."""
    findings: float = 0.0
    """Weight of side, evolution, suppression and artifacts."""
    background: float = 0.25
    """Share of windows that get no pattern."""
    mirror: float = 0.5
    """Share of patterns that change sides."""
    doubt: float = 0.25
    """Weight of what is known only because nothing was laid there: the recording may have its own."""

    def __post_init__(self) -> None:
        not_negative(self, *TRUTH_HEADS)
        shares(self, "background", "mirror", "doubt")

    @property
    def weights(self) -> dict[str, float]:
        """Weights of the heads that take part."""
        return {name: weight for name in TRUTH_HEADS if (weight := getattr(self, name)) > 0}


@dataclass(frozen=True, kw_only=True)
class PretrainAugment:
    """How windows are changed at random."""

    gain_sd: float = 0.0
    """Spread of a window's random gain, in log units."""
    drop_channels: float = 0.0
    """Chance of each channel to be taken for absent."""

    def __post_init__(self) -> None:
        not_negative(self, "gain_sd")
        below_one(self, "drop_channels")


@dataclass(frozen=True, kw_only=True)
class PretrainTrack(Track):
    """What is saved, measured and logged on the way."""

    validate_every: int = 0
    """Steps between looks at held-out windows; 0 for none."""
    validate_windows: int = 32
    """How many windows such a look takes, evenly chosen."""
    choose_by: Choice = "error"
    """What makes a checkpoint the best: the least error of a look, or the highest accuracy of its probe of labels."""
    checkpoints: str = ""
    """URI of the folder of checkpoints (gs://, s3://); OUT/checkpoints without."""
    evaluate_windows: int = 200
    """How many held-out windows score the reconstruction at the end, evenly chosen."""
    skill_windows: int = 40
    """Held-out windows that the skill is measured on, and windows of trained people that its ridge learns from."""

    def __post_init__(self) -> None:
        super().__post_init__()
        not_negative(self, "validate_every")
        positive(self, "validate_windows", "evaluate_windows", "skill_windows")
        one_of(self, "choose_by", get_args(Choice))


@dataclass(frozen=True, kw_only=True)
class PretrainRecipe(TrackedRecipe):
    """Everything that decides a pretraining run, besides the shards."""

    model: EncoderShape = field(default_factory=EncoderShape)
    data: PretrainData = field(default_factory=PretrainData)
    schedule: Schedule = field(default_factory=Schedule)
    augment: PretrainAugment = field(default_factory=PretrainAugment)
    objective: PretrainObjective = field(default_factory=PretrainObjective)
    truth: PretrainTruth = field(default_factory=PretrainTruth)
    track: PretrainTrack = field(default_factory=PretrainTrack)

    def __post_init__(self) -> None:
        taught = " and ".join(self.objective.taught)
        if taught and not self.regularise.ema_decay:
            raise ValueError(
                f"{taught}: learnt from a teacher of averaged weights: give --regularise.ema-decay, 0.99 or more"
            )
        if taught and self.optim.sharing == "shard":
            raise ValueError(f"{taught}: the teacher must be whole on each process: leave --optim.sharing at replicate")
        if self.objective.knowledge and "sensors" in self.model.fusion:
            raise ValueError("knowledge: other sensors are not hidden with a stretch: leave --model.fusion sensors out")
        if not self.weights:
            raise ValueError("no head has a weight above 0: nothing would be learnt")
        if self.model.trunk != "encoder" and self.objective.weights:
            names = " and ".join(self.objective.weights)
            raise ValueError(f"trunk={self.model.trunk} learns from planted truth alone: leave out {names}")
        looked_at = ("reconstruction", "gaps", "latents", "recording_contrast", "knowledge")
        if self.track.validate_every and not any(name in self.weights for name in looked_at):
            raise ValueError(f"validate_every={self.track.validate_every} needs one of {looked_at} above 0")

    @property
    def weights(self) -> dict[str, float]:
        """Weights of all heads that take part."""
        return {**self.objective.weights, **self.truth.weights}

    @property
    def laying(self) -> Laying | None:
        """How simulated patterns are laid over windows; None where no head learns from them."""
        if not self.truth.weights:
            return None
        encoder, truth = self.model.encoder, self.truth
        return Laying(
            chances=Chances(background=truth.background, mirror=truth.mirror),
            plan=TruthPlan(doubt=truth.doubt, slot_times=encoder.patch_times, token_times=encoder.token_times),
            normalisation=self.data.normalisation,
            crop_s=self.data.crop_s,
        )

    @property
    def hides(self) -> bool:
        """Whether windows are masked: where a head predicts what is hidden."""
        return any(name != "sleep" for name in self.objective.weights)

    @property
    def masks(self) -> MaskPlan:
        """How spans of samples are drawn."""
        return self.objective.masks(self.model.encoder.patch_times)

    @property
    def blocks(self) -> BlockPlan | None:
        """How whole tokens are hidden, if they are."""
        return self.objective.blocks(self.model.encoder.token_times)


def eeg_tiny(*, tiny: bool = False) -> PretrainRecipe:
    """Return the demo's recipe: 0.23 million parameters, one to two minutes on two CPU cores.

    `torchrun --nproc_per_node=2 -m training.pretrain --recipe eeg_tiny --shards DIR --output DIR`. Measured once, on 14
    held-out subjects of seven real sites, as error at hidden samples over linear interpolation's: 0.79 in all, 1.02 in
    gaps of 15-60 ms, 0.83 in those of 60-200 ms, 0.71 in those of 200-500 ms.
    """
    recipe = PretrainRecipe(
        model=EncoderShape(dim=64, depth=3, stem_dim=32), schedule=Schedule(steps=300, warmup_steps=20)
    )
    return _tiny(recipe) if tiny else recipe


def eeg_small(*, tiny: bool = False) -> PretrainRecipe:
    """Return a recipe of 5 million parameters, meant for one GPU; its time and score are not measured yet.

    `python -m training.pretrain --recipe eeg_small --shards DIR --output DIR`. Its tiny form keeps the shape of the run
    at the demo's width.
    """
    recipe = PretrainRecipe(
        model=EncoderShape(size="small"),
        optim=Optim(batch=128, micro_batch=32, learning_rate=1e-3, precision="bf16"),
        schedule=Schedule(steps=20_000, warmup_steps=500),
    )
    return changed(_tiny(recipe), model={"dim": 64, "depth": 2, "stem_dim": 32}) if tiny else recipe


def eeg_small_cpu(*, tiny: bool = False) -> PretrainRecipe:
    """Return the recipe of the published checkpoint: 0.3 million parameters, about six minutes on two CPU cores.

    `make pretrain-small`, or `python -m training.pretrain --recipe eeg_small_cpu --shards DIR --output DIR`.
    docs/results/pretraining.md tells how its settings were chosen, and what came out.
    """
    recipe = PretrainRecipe(
        model=EncoderShape(dim=64, depth=3, stem_dim=32),
        data=PretrainData(crop_s=5.0),
        objective=PretrainObjective(
            filling="window", line_steps=700, hidden_share=0.4, schedule_weights=(0.7, 0.05, 0.25), spectral=1.0
        ),
        regularise=Regularise(ema_decay=0.99),
    )
    return _tiny(recipe) if tiny else recipe


def eeg_latent_cpu(*, tiny: bool = False) -> PretrainRecipe:
    """Return a recipe whose targets need the trunk: latents and spectra of whole hidden tokens; for two CPU cores.

    `python -m training.pretrain --recipe eeg_latent_cpu --shards DIR --output DIR`. 0.3 million parameters;
    docs/pretraining.md states what is hidden and predicted.
    """
    recipe = PretrainRecipe(
        model=EncoderShape(dim=64, depth=3, stem_dim=32),
        objective=PretrainObjective(
            tokens=True, reconstruction=0.0, contrastive=0.05, latents=1.0, decibels=0.5, gaps=0.1,
            schedule_weights=(1.0, 0.0, 0.0),
        ),
        optim=Optim(learning_rate=1e-3),
        schedule=Schedule(steps=1500, warmup_steps=100),
        regularise=Regularise(ema_decay=0.996),
        track=PretrainTrack(validate_every=100, validate_windows=64),
    )  # fmt: skip
    return _tiny(recipe) if tiny else recipe


def eeg_truth_cpu(*, tiny: bool = False) -> PretrainRecipe:
    """Return a recipe that learns from planted truth alone: 1.2 million parameters; time and score are not measured.

    `cerebeam bank --output BANK`, then `python -m training.pretrain --recipe eeg_truth_cpu --bank BANK --shards DIR
    --output DIR`. With `--objective.reconstruction 1` windows are masked besides; with `--model.trunk resnet-gru` a
    ResNet1D-GRU learns the same windows, as a control. Its tiny form is narrower.
    """
    recipe = PretrainRecipe(
        model=EncoderShape(size="tiny"),
        data=PretrainData(crop_s=20.0),
        optim=Optim(learning_rate=1e-3),
        schedule=Schedule(steps=2000, warmup_steps=100),
        objective=PretrainObjective(reconstruction=0.0, contrastive=0.0),
        truth=PretrainTruth(discharge=1.0, phase=0.3, votes=1.0, course=0.5, findings=0.5),
        regularise=Regularise(ema_decay=0.99),
    )
    return changed(_tiny(recipe), model={"dim": 32, "depth": 1, "stem_dim": 32}) if tiny else recipe


def _tiny(recipe: PretrainRecipe) -> PretrainRecipe:
    return changed(
        recipe,
        data={"crop_s": 4.0},
        objective={"line_steps": 0},
        optim={"batch": 4, "micro_batch": 2},
        schedule={"steps": 20, "warmup_steps": 2},
        track={"save_every": 10},
    )


RECIPES: dict[str, Callable[..., PretrainRecipe]] = {
    "eeg_tiny": eeg_tiny,
    "eeg_small": eeg_small,
    "eeg_small_cpu": eeg_small_cpu,
    "eeg_latent_cpu": eeg_latent_cpu,
    "eeg_truth_cpu": eeg_truth_cpu,
}
"""Pretraining recipes by name; each takes `tiny=True`."""
