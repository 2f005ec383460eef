"""What recipes of every kind are made of: frozen sections, one per concern; a recipe overrides their defaults.

Every field is an option of the command line under its section's name: `--optim.learning-rate 1e-3`.
"""

import math
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field, fields, is_dataclass, replace
from typing import Any, Literal, TypeVar, get_args

from training.monitors.tracking import TrackerName
from training.parallel.distributed import Sharing
from training.trainer.precision import Precision

RateRule = Literal["sqrt", "linear"]
R = TypeVar("R")


@dataclass(frozen=True, kw_only=True)
class Optim:
    """How a step is taken."""

    batch: int = 16
    """Windows of a step over all processes."""
    micro_batch: int = 8
    """Most windows of one forward pass; memory depends on it, the step does not."""
    learning_rate: float = 3e-3
    """Peak rate of AdamW."""
    encoder_lr_scale: float = 1.0
    """Rate of an encoder's stem and trunk, as a share of that of its head."""
    rate_batch: int = 0
    """Batch that the rate is meant for: another batch scales it by `rate_rule`; 0 leaves it as it is."""
    rate_rule: RateRule = "sqrt"
    """The rate grows with the root of the batch, as Adam's does (Malladi et al. 2022), or with the batch itself."""
    clip_norm: float = 1.0
    """Largest norm of the gradient."""
    precision: Precision = "fp32"
    """Of the forward pass; "auto" is bf16 on a GPU that has it, else fp32."""
    compile: bool = False
    """Let torch compile the model: slow to begin, then faster."""
    sharing: Sharing = "replicate"
    """Whether each process holds the whole model, or its "shard" of weights and optimizer state (FSDP2)."""

    def __post_init__(self) -> None:
        positive(self, "batch", "micro_batch", "learning_rate", "clip_norm")
        not_negative(self, "rate_batch", "encoder_lr_scale")
        one_of(self, "rate_rule", get_args(RateRule))
        one_of(self, "precision", get_args(Precision))
        one_of(self, "sharing", get_args(Sharing))
        if self.sharing == "shard" and self.precision == "fp16":
            raise ValueError("precision=fp16 scales losses on each process apart: with sharing=shard take bf16")

    @property
    def peak_rate(self) -> float:
        """The rate for this batch."""
        if not self.rate_batch:
            return self.learning_rate
        ratio = self.batch / self.rate_batch
        return float(self.learning_rate * (ratio if self.rate_rule == "linear" else ratio**0.5))


@dataclass(frozen=True, kw_only=True)
class Warmup:
    """How a schedule begins."""

    warmup_steps: int = 50
    """Steps of linear warm-up."""

    def __post_init__(self) -> None:
        not_negative(self, "warmup_steps")


@dataclass(frozen=True, kw_only=True)
class Schedule(Warmup):
    """How long a run is."""

    steps: int = 1000
    """Optimizer steps; the schedule ends there."""

    def __post_init__(self) -> None:
        super().__post_init__()
        positive(self, "steps")


@dataclass(frozen=True, kw_only=True)
class Regularise:
    """What keeps weights small and calm."""

    weight_decay: float = 0.05
    """Decay of matrices."""
    ema_decay: float = 0.0
    """Of the moving average of the weights, which is what is validated and kept in the end; 0 keeps the weights
    themselves."""

    def __post_init__(self) -> None:
        not_negative(self, "weight_decay")
        shares(self, "ema_decay")


@dataclass(frozen=True, kw_only=True)
class Track:
    """What is saved, measured and logged on the way; it changes no step."""

    to: tuple[TrackerName, ...] = ()
    """Where numbers go besides the JSON lines."""
    save_every: int = 500
    """Steps between checkpoints; a run that a signal stops saves at any step."""
    keep: int = 2
    """Newest checkpoints that stay, beside the best."""
    save_in_background: bool = False
    """Write checkpoints from a copy, in a thread, while training goes on."""

    def __post_init__(self) -> None:
        positive(self, "save_every", "keep")


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """Everything that decides a run, besides the shards: the sections that runs of every kind have.

    Each kind gives its own to model, data and augment, and adds to these what only it has.
    """

    model: Any
    data: Any
    optim: Optim = field(default_factory=Optim)
    schedule: Warmup = field(default_factory=Warmup)
    regularise: Regularise = field(default_factory=Regularise)
    augment: Any
    seed: int = 0
    """Decides everything that is drawn: weights, who is held out, order, changes of windows, dropout."""


@dataclass(frozen=True, kw_only=True)
class TrackedRecipe(Recipe):
    """A run with an objective to choose, which is saved, measured and logged on the way."""

    objective: Any
    track: Track = field(default_factory=Track)


def changed(recipe: R, **sections: Mapping[str, Any]) -> R:
    """Return a recipe with fields of its sections replaced: `changed(recipe, optim={"batch": 4})`."""
    return replace(  # type: ignore[type-var]
        recipe, **{name: replace(getattr(recipe, name), **values) for name, values in sections.items()}
    )


def shown(config: Any, indent: str = "") -> str:
    """Return a resolved configuration as text, a line per field."""
    lines = []
    for each in fields(config):
        value = getattr(config, each.name)
        nested = is_dataclass(value)
        lines.append(f"{indent}{each.name}:" if nested else f"{indent}{each.name}: {value!r}")
        if nested:
            lines.append(shown(value, indent + "  "))
    return "\n".join(lines)


def check_finite(config: Any, *, prefix: str = "") -> None:
    """Raise ValueError for a number anywhere in a command or recipe that is nan or infinite: no rule holds of it."""
    for each in fields(config):
        value, name = getattr(config, each.name), f"{prefix}{each.name}"
        if is_dataclass(value):
            check_finite(value, prefix="" if each.name == "config" else f"{name}.")
        for number in value if isinstance(value, tuple) else (value,):
            if isinstance(number, float) and not math.isfinite(number):
                raise ValueError(f"{name}={number} must be a finite number")


def positive(section: Any, *names: str) -> None:
    """Raise ValueError unless these fields are above 0."""
    _check(section, names, lambda value: value > 0, "must be positive")


def not_negative(section: Any, *names: str) -> None:
    """Raise ValueError unless these fields are at least 0."""
    _check(section, names, lambda value: value >= 0, "must not be below 0")


def shares(section: Any, *names: str) -> None:
    """Raise ValueError unless these fields lie between 0 and 1."""
    _check(section, names, lambda value: 0 <= value <= 1, "must lie between 0 and 1")


def below_one(section: Any, *names: str) -> None:
    """Raise ValueError unless these fields are at least 0 and below 1."""
    _check(section, names, lambda value: 0 <= value < 1, "must be at least 0 and below 1")


def within(section: Any, *names: str) -> None:
    """Raise ValueError unless these fields lie between 0 and 1, neither of them included."""
    _check(section, names, lambda value: 0 < value < 1, "must lie between 0 and 1, and be neither")


def one_of(section: Any, name: str, known: Iterable[str]) -> None:
    """Raise ValueError, naming what there is, unless a field is one of these."""
    names = list(known)
    if getattr(section, name) not in names:
        raise ValueError(f"{name}={getattr(section, name)!r} is none of {', '.join(names)}")


def some_of(section: Any, name: str, known: Collection[str]) -> None:
    """Raise ValueError, naming what there is, unless all that a field lists are among these."""
    if unknown := set(getattr(section, name)) - set(known):
        raise ValueError(f"{name} names {sorted(unknown)}; there are {list(known)}")


def _check(section: Any, names: Iterable[str], holds: Any, rule: str) -> None:
    for name in names:
        if not holds(getattr(section, name)):
            raise ValueError(f"{name}={getattr(section, name)} {rule}")
