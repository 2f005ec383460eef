"""How a recording is prepared: one frozen config a use, which travels in the manifest and in the bundle."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from signals.cleaning import Cleaning
from signals.modality import EEG_1020, MODALITIES, Modality


@dataclass(frozen=True, kw_only=True)
class Profile:
    """Everything that decides the samples of a window, besides the recording itself."""

    name: str
    """Identifier on the command line."""
    modality: str = EEG_1020.name
    """Name of a modality in `signals.modality.MODALITIES`."""
    window_s: float
    """Length of a window, whole seconds."""
    hop_s: float
    """Distance between the onsets of neighbouring windows, seconds."""
    l_freq: float = 0.5
    """Lower pass edge, Hz."""
    h_freq: float
    """Upper pass edge asked for, Hz; guarded by the native rate (`signals.filters.effective_band`)."""
    reference: Literal["average", "source"] = "average"
    """"average" over the modality's channels, or as recorded."""
    min_measured: int = 1
    """Fewest measured channels of the modality for a recording to be accepted."""
    windows: Literal["tile", "labelled"] = "tile"
    """"tile" the whole recording, or cut a window at each label's onset (and tile where a label has none)."""
    label_span_s: tuple[float, float] | None = None
    """The stretch of a window that its label speaks of, seconds from its start."""
    cleaning: Cleaning = field(default_factory=Cleaning)
    """What is taken out of a window, and how (`signals.cleaning`); nothing by default."""
    block_s: float = 120.0
    """Seconds of windows prepared at once: bounds the memory, does not change the result."""

    def __post_init__(self) -> None:
        if self.window_s <= 0 or self.window_s != int(self.window_s):
            raise ValueError(f"window_s={self.window_s} must be a whole number of seconds above 0")
        if self.hop_s <= 0:
            raise ValueError(f"hop_s={self.hop_s} must be above 0")
        if not 0 < self.l_freq < self.h_freq:
            raise ValueError(f"l_freq={self.l_freq} must lie above 0 and below h_freq={self.h_freq}")

    @property
    def signal(self) -> Modality:
        """The modality itself."""
        return MODALITIES[self.modality]

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, fields: Mapping[str, Any]) -> "Profile":
        """Build a profile from `to_dict`'s output, also after a round trip through JSON."""
        span = fields["label_span_s"]
        return cls(
            **{
                **fields,
                "label_span_s": None if span is None else (float(span[0]), float(span[1])),
                # Profiles written before there was cleaning have none.
                "cleaning": Cleaning(**fields.get("cleaning", {})),
            }
        )

    @property
    def config_hash(self) -> str:
        """First 16 hex digits of the sha256 over all that decides the samples; `block_s` does not.

        What is off or empty by default is left out, so that a new option leaves the hash of older profiles alone.
        """
        fields = {name: value for name, value in self.to_dict().items() if name != "block_s"}
        if not self.cleaning.any:
            del fields["cleaning"]
        return hashlib.sha256(json.dumps(fields, sort_keys=True).encode()).hexdigest()[:16]


PRETRAIN = Profile(name="pretrain", window_s=10, hop_s=10, h_freq=128.0)
SIX_CLASS = Profile(
    name="six-class",
    window_s=50,
    hop_s=50,
    h_freq=50.0,
    min_measured=8,
    windows="labelled",
    label_span_s=(20.0, 30.0),
)
PROFILES: dict[str, Profile] = {profile.name: profile for profile in (PRETRAIN, SIX_CLASS)}
