"""Recipes of pretraining: functions that return a frozen configuration, chosen by name on the command line."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal, get_args

from model.encoder import SIZES, EncoderConfig, sized
from model.layers.fusion import SOURCES
from model.pretraining.masking import SPAN_MS, MaskPlan, MaskUnit
from signals.shards.normalise import Normalisation
from training.objectives.gap_filling import Filling
from training.trainer.train import Precision

Resident = Literal["no", "device"]


@dataclass(frozen=True, kw_only=True)
class PretrainRecipe:
    """Everything that decides a pretraining run, besides the shards."""

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
    crop_s: float = 10.0
    """Length of the stretch that is cut from each window, seconds; shorter windows are taken whole."""
    normalisation: Normalisation = "window"
    """Where the scale of a window comes from."""
    filling: Filling = "line"
    """What estimates start from: the line across the gap, the channel's autoregression ("ar"), or all that the window
    itself tells ("window")."""
    line_steps: int = 0
    """First steps, whose gaps start from the line whatever the filling: a good one leaves little to be learnt from."""
    hidden_share: float = 0.3
    """Expected share of hidden samples of a channel in span masks."""
    span_ms: tuple[float, float] = SPAN_MS
    """Shortest and longest hidden span, milliseconds."""
    schedule_weights: tuple[float, float, float] = (0.75, 0.05, 0.2)
    """Odds of random, whole-time and whole-channel masks."""
    mask_unit: MaskUnit = "samples"
    """What spans are drawn on; "patches" lengthens each to whole patches of 0.25 s."""
    graph: bool = True
    """Whether channels hear their neighbours."""
    positions: bool = True
    """Whether a channel's embedding tells which electrode it is and where it lies."""
    fusion: tuple[str, ...] = ()
    """What EEG listens to besides itself, of model.layers.fusion.SOURCES."""
    reconstruction_weight: float = 1.0
    """Weight of the masked reconstruction loss."""
    contrastive_weight: float = 0.05
    """Weight of the contrastive channel loss; 0 leaves the head out."""
    spectral_weight: float = 0.0
    """Weight of telling the log spectra of hidden tokens; 0 leaves the head out."""
    sleep_weight: float = 0.0
    """Weight of telling sleep stages where windows carry one; 0 leaves the head out."""
    held_out_share: float = 0.2
    """Share of subjects, chosen by hash, that are never trained on and score the reconstruction."""
    choose_share: float = 0.0
    """Share of the other subjects that stand in for the held-out ones, who then stay unseen: to choose settings by."""
    steps: int = 1000
    """Optimizer steps; the schedule ends there."""
    warmup_steps: int = 50
    """Steps of linear warm-up."""
    batch: int = 16
    """Windows of a step over all processes."""
    micro_batch: int = 8
    """Most windows of one forward pass; memory depends on it, the step does not."""
    learning_rate: float = 3e-3
    """Peak rate of AdamW."""
    rate_batch: int = 0
    """Batch that the rate is meant for: another batch scales it by the root of their ratio; 0 leaves it as it is."""
    weight_decay: float = 0.05
    """Decay of matrices."""
    clip_norm: float = 1.0
    """Largest norm of the gradient."""
    precision: Precision = "fp32"
    """Of the forward pass; "auto" is bf16 on a GPU that has it, else fp32."""
    ema_decay: float = 0.0
    """Of the moving average of the weights, which is what is kept in the end; 0 keeps the weights themselves."""
    compile: bool = False
    """Let torch compile the model: slow to begin, then faster."""
    loader_processes: int = 0
    """Processes that read ahead; 0 for a thread. They do not change what is trained on."""
    lanes: int = 8
    """Lanes that read corpora of more than a million windows: at least as many as processes, at most `batch`."""
    resident: Resident = "no"
    """Keep all windows as int16, decoded once: on the "device", or "no"."""
    min_quality: float = 0.0
    """Windows whose mean quality is lower are left out."""
    good_only: bool = False
    """Windows with a stored reason against their quality are left out."""
    gain_sd: float = 0.0
    """Spread of a window's random gain, in log units."""
    drop_channels: float = 0.0
    """Chance of each channel to be taken for absent."""
    max_corrupt: float = 0.001
    """Share of records that may be unreadable; beyond it the run does not begin."""
    save_every: int = 500
    """Steps between checkpoints."""
    keep: int = 2
    """Newest checkpoints that stay on disk, beside the best."""
    save_in_background: bool = False
    """Write checkpoints from a copy, in a thread, while training goes on."""
    validate_every: int = 0
    """Steps between looks at held-out windows; 0 for none."""
    validate_windows: int = 32
    """How many windows such a look takes, evenly chosen."""
    evaluate_windows: int = 200
    """How many held-out windows score the reconstruction at the end, evenly chosen."""
    split_seed: int = 0
    """Decides who is held out."""
    seed: int = 0
    """Decides weights, order, crops and masks."""

    def __post_init__(self) -> None:
        if self.size not in SIZES:
            raise ValueError(f"size={self.size!r} is none of {sorted(SIZES)}")
        for name in ("line_steps", "rate_batch"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name}={getattr(self, name)} must not be below 0")
        if not 0 < self.held_out_share < 1:
            raise ValueError(f"held_out_share={self.held_out_share} must lie between 0 and 1")
        for name in ("contrastive_weight", "spectral_weight", "sleep_weight"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name}={getattr(self, name)} must be at least 0")
        for name in ("drop_channels", "min_quality"):
            if not 0 <= getattr(self, name) < 1:
                raise ValueError(f"{name}={getattr(self, name)} must be at least 0 and below 1")
        if self.resident not in get_args(Resident):
            raise ValueError(f"resident={self.resident!r} is none of {', '.join(get_args(Resident))}")
        if unknown := set(self.fusion) - set(SOURCES):
            raise ValueError(f"fusion names {sorted(unknown)}; sources are {list(SOURCES)}")
        if not 0 <= self.choose_share < 1:
            raise ValueError(f"choose_share={self.choose_share} must be at least 0 and below 1")
        for name in (
            "steps", "save_every", "keep", "crop_s", "learning_rate", "reconstruction_weight", "evaluate_windows",
            "batch", "micro_batch",
        ):  # fmt: skip
            if getattr(self, name) <= 0:
                raise ValueError(f"{name}={getattr(self, name)} must be positive")

    @property
    def peak_rate(self) -> float:
        """The rate for this batch (Malladi et al. 2022: Adam's rate grows with the root of the batch)."""
        return self.learning_rate * (self.batch / self.rate_batch) ** 0.5 if self.rate_batch else self.learning_rate

    @property
    def encoder(self) -> EncoderConfig:
        """The encoder's configuration."""
        chosen = {"dim": self.dim, "depth": self.depth, "stem_dim": self.stem_dim}
        overrides = {name: value for name, value in chosen.items() if value}
        switches = {"graph": self.graph, "positions": self.positions, "fusion": self.fusion}
        return sized(self.size, gradient_checkpointing=self.gradient_checkpointing, **switches, **overrides)

    @property
    def masks(self) -> MaskPlan:
        """How windows are masked."""
        return MaskPlan(
            span_ms=self.span_ms,
            hidden_share=self.hidden_share,
            schedule_weights=self.schedule_weights,
            mask_unit=self.mask_unit,
            patch_times=self.encoder.patch_times,
        )

    @property
    def weights(self) -> dict[str, float]:
        """Weights of the heads that take part."""
        weights = {
            "reconstruction": self.reconstruction_weight,
            "contrastive": self.contrastive_weight,
            "spectral": self.spectral_weight,
            "sleep": self.sleep_weight,
        }
        return {name: weight for name, weight in weights.items() if weight > 0}


def eeg_tiny(*, tiny: bool = False) -> PretrainRecipe:
    """Return the demo's recipe: 0.27 million parameters, one to two minutes on two CPU cores.

    `torchrun --nproc_per_node=2 -m training.pretrain --recipe eeg_tiny --shards DIR --output DIR`. Measured once, on 14
    held-out subjects of seven real sites, as error at hidden samples over linear interpolation's: 0.79 in all, 1.02 in
    gaps of 15-60 ms, 0.83 in those of 60-200 ms, 0.71 in those of 200-500 ms.
    """
    recipe = PretrainRecipe(dim=64, depth=3, stem_dim=64, steps=300, warmup_steps=20, batch=16, micro_batch=8)
    return _tiny(recipe) if tiny else recipe


def eeg_small(*, tiny: bool = False) -> PretrainRecipe:
    """Return a recipe of 5 million parameters, meant for one GPU; its time and score are not measured yet.

    `python -m training.pretrain --recipe eeg_small --shards DIR --output DIR`. Its tiny form keeps the shape of the run
    at the demo's width.
    """
    recipe = PretrainRecipe(
        size="small", steps=20_000, warmup_steps=500, batch=128, micro_batch=32, learning_rate=1e-3, precision="bf16"
    )
    return _tiny(replace(recipe, dim=64, depth=2, stem_dim=64)) if tiny else recipe


def eeg_small_cpu(*, tiny: bool = False) -> PretrainRecipe:
    """Return the recipe of the published checkpoint: 0.3 million parameters, about six minutes on two CPU cores.

    `make pretrain-small`, or `python -m training.pretrain --recipe eeg_small_cpu --shards DIR --output DIR`.
    docs/pretraining.md tells how its settings were chosen, and what came out.
    """
    recipe = PretrainRecipe(
        dim=64, depth=3, stem_dim=64, steps=1000, warmup_steps=50, batch=16, micro_batch=8, crop_s=5.0,
        filling="window", line_steps=700, hidden_share=0.4, schedule_weights=(0.7, 0.05, 0.25), ema_decay=0.99,
        spectral_weight=1.0,
    )  # fmt: skip
    return _tiny(recipe) if tiny else recipe


def _tiny(recipe: PretrainRecipe) -> PretrainRecipe:
    return replace(recipe, steps=20, warmup_steps=2, batch=4, micro_batch=2, crop_s=4.0, save_every=10, line_steps=0)


RECIPES: dict[str, Callable[..., PretrainRecipe]] = {
    "eeg_tiny": eeg_tiny,
    "eeg_small": eeg_small,
    "eeg_small_cpu": eeg_small_cpu,
}
"""Pretraining recipes by name; each takes `tiny=True`."""
