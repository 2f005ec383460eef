"""Which model a fine-tuning recipe trains, and what it sees of a window and of the person."""

from dataclasses import dataclass
from typing import Any, get_args

from model.layers.adapters import KINDS
from model.supervised.supervised import METADATA_NETWORKS, NETWORKS, SPECTROGRAM_NETWORKS
from model.supervised.view import Derivation
from signals.bundles.metadata import metadata_of
from training.recipes.sections import not_negative, one_of, positive

ENCODER = "encoder"
"""The model that is an encoder with a head; all others are `model.supervised.supervised.NETWORKS`."""


@dataclass(frozen=True, kw_only=True)
class TaskModelShape:
    """What is trained, and what it sees of a window."""

    name: str = ENCODER
    """"encoder" with a head, or a network by name (`model.supervised.supervised.NETWORKS`)."""
    weights: str = ""
    """Local folder of pretrained weights of a network (EfficientNet); fresh ones without."""
    derivation: Derivation = "referential"
    """What a network on samples sees: the montage's channels, or the 18 pairs of the "double-banana"."""
    low_pass_hz: float = 0.0
    """Upper edge of what it sees, Hz; 0 for the profile's. 20 makes the clinic's 0.5-20 Hz of the six-class profile."""
    soft_clip: float = 0.0
    """Where larger samples are bent, in units of the normalised signal; 0 for nowhere."""
    adapter: str = ""
    """Kind of adapters that are put into the encoder's blocks, of model.layers.adapters.KINDS; empty for none."""
    adapter_rank: int = 8
    """Their rank."""
    spectrogram: bool = False
    """Whether the encoder listens to the regional spectrogram too (`model.layers.fusion`), by weights that are not
    frozen."""
    metadata: tuple[str, ...] = ()
    """Fields of the person that network "multimodal" reads, of age, height_cm, weight_kg, sex: shards hold what
    `preprocess --keep` named."""

    def __post_init__(self) -> None:
        if self.name != ENCODER and self.name not in NETWORKS:
            raise ValueError(f"unknown model {self.name!r}; models are {ENCODER}, {', '.join(sorted(NETWORKS))}")
        one_of(self, "derivation", get_args(Derivation))
        not_negative(self, "low_pass_hz", "soft_clip")
        positive(self, "adapter_rank")
        if self.adapter:
            one_of(self, "adapter", KINDS)
        if self.name != ENCODER and (self.adapter or self.spectrogram):
            raise ValueError(f"adapter and spectrogram are for the encoder; model={self.name!r} has no place for them")
        if self.view and (self.name == ENCODER or self.name in SPECTROGRAM_NETWORKS):
            raise ValueError(f"{self.view} is for networks on samples; model={self.name!r} sees windows as they are")
        if self.name == ENCODER and self.weights:
            raise ValueError(f"weights={self.weights} is for networks; an encoder is given by --encoder")
        metadata_of(self.metadata)  # refuses what identifies
        if self.metadata and self.name not in METADATA_NETWORKS:
            raise ValueError(f"metadata={self.metadata} is for {', '.join(sorted(METADATA_NETWORKS))}, not {self.name}")

    @property
    def view(self) -> dict[str, Any]:
        """What `model.supervised.view.View` is given beyond its defaults."""
        chosen = {"derivation": self.derivation, "low_pass_hz": self.low_pass_hz, "soft_clip": self.soft_clip}
        return {name: value for name, value in chosen.items() if value not in ("referential", 0.0)}
