"""The recipe of HuBERT's pretraining on leads."""

from dataclasses import dataclass, field

from model.pretraining.hubert import HubertShape
from training.recipes.sections import Optim, Schedule, Track, TrackedRecipe, changed, positive, within

ECG_SHAPE = HubertShape(width=64, depth=3, conv=64, kernels=(10, 3, 3), strides=(2, 2, 2))
"""At 100 Hz a frame every 80 ms, of 220 ms; about as many weights as the encoder of `eeg_tiny`."""


@dataclass(frozen=True, kw_only=True)
class HubertData:
    """Which windows are read."""

    crop_s: float = 10.0
    """Length of the stretch that is cut from each window, seconds; shorter windows are taken whole."""
    held_out_share: float = 0.2
    """Share of subjects, chosen by hash, that are never trained on and give the reported accuracy."""
    split_seed: int = 0
    """Decides who is held out."""
    unit_windows: int = 200
    """Most windows that units are made of, evenly chosen."""

    def __post_init__(self) -> None:
        positive(self, "crop_s", "unit_windows")
        within(self, "held_out_share")


@dataclass(frozen=True, kw_only=True)
class HubertObjective:
    """What is hidden, and what is to be predicted of it."""

    n_units: int = 100
    """Clusters of frames, as of the paper's first round."""
    start_share: float = 0.08
    """Chance of a frame to begin a hidden span, as of the paper."""
    span: int = 10
    """Frames of a hidden span, as of the paper: here 0.8 s, about a beat."""

    def __post_init__(self) -> None:
        positive(self, "n_units", "span")
        within(self, "start_share")


@dataclass(frozen=True, kw_only=True)
class HubertRecipe(TrackedRecipe):
    """Everything that decides a pretraining of HuBERT, besides the shards and a teacher."""

    model: HubertShape = ECG_SHAPE
    data: HubertData = field(default_factory=HubertData)
    optim: Optim = field(default_factory=lambda: Optim(learning_rate=1e-3))
    schedule: Schedule = field(default_factory=lambda: Schedule(steps=300, warmup_steps=20))
    augment: None = None
    objective: HubertObjective = field(default_factory=HubertObjective)
    track: Track = field(default_factory=Track)


def ecg_hubert(*, tiny: bool = False) -> HubertRecipe:
    """Return the recipe of the tables over hearts: `python -m benchmarks ecg --only generated real`.

    Steps, windows of a step and length of windows are those of `training.recipes.pretraining.eeg_tiny`.
    """
    recipe = HubertRecipe()
    if not tiny:
        return recipe
    return changed(
        recipe, model={"width": 16, "depth": 1, "conv": 16}, data={"unit_windows": 8}, objective={"n_units": 8},
        optim={"batch": 4, "micro_batch": 2}, schedule={"steps": 6, "warmup_steps": 2}, track={"save_every": 3},
    )  # fmt: skip
