"""How a recording is prepared: one frozen config a use, which travels in the manifest and in the bundle."""

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from typing import Any, Literal, get_args, get_origin, get_type_hints

from signals.conditioning.cleaning import Cleaning
from signals.conditioning.filters import ANTIALIAS_DB, ANTIALIAS_RANGE_DB, GUARD, TRANSITION_HZ
from signals.electrodes import CHAINS
from signals.modality import ECG_12, ECG_12_WAVES, EEG_1020, EEG_PSG, MODALITIES, Modality
from signals.montage.references import Reference
from signals.tasks import TASKS

SHORTEST_WINDOW_S = 2
"""The features' spectra need two seconds (`signals.description.features`)."""


@dataclass(frozen=True, kw_only=True)
class Profile:
    """Everything that decides the samples of a window, besides the recording itself."""

    name: str
    """Identifier on the command line."""
    modality: str = EEG_1020.name
    """Name of a modality in `signals.modality.MODALITIES`."""
    window_s: float
    """Length of a window, whole seconds, at least two."""
    hop_s: float
    """Distance between the onsets of neighbouring windows, seconds."""
    l_freq: float = 0.5
    """Lower pass edge, Hz."""
    h_freq: float
    """Upper pass edge asked for, Hz; guarded by the native rate (`signals.conditioning.filters.effective_band`)."""
    reference: Reference = "average"
    """"average" over the modality's channels, "source" (as recorded), "linked-ears" or "cz"."""
    antialias_db: float = ANTIALIAS_DB
    """Attenuation of what a change of rate would alias, dB (`signals.conditioning.filters.antialias_taps`)."""
    min_measured: int = 1
    """Fewest measured channels of the modality for a recording to be accepted."""
    repair_bad_channels: bool = True
    """Treat electrodes that are bad in most of a recording as missing: interpolated, and marked so
    (`signals.description.bad_channels`). Left in, one of them reaches every channel through the average reference."""
    windows: Literal["tile", "labelled"] = "tile"
    """"tile" the whole recording, or cut a window at each label's onset (and tile where a label has none)."""
    annotation_task: str = ""
    """Name of a task in `signals.tasks.TASKS`: annotations of the file that name a class of it label the stretches that
    they cover, and statements in its header the whole recording, where no label file does. Empty: neither labels it."""
    label_span_s: tuple[float, float] | None = None
    """The stretch of a window that its label speaks of, seconds from its start."""
    cleaning: Cleaning = field(default_factory=Cleaning)
    """What is taken out of a window, and how (`signals.conditioning.cleaning`); nothing by default."""
    spectrogram: bool = False
    """Whether windows carry the regional spectrogram of the ten minutes around them
    (`signals.windows.surroundings`)."""
    block_s: float = 120.0
    """Seconds of windows prepared at once: bounds the memory, does not change the result."""

    def __post_init__(self) -> None:
        if self.modality not in MODALITIES:
            raise ValueError(f"modality={self.modality!r} is none of {sorted(MODALITIES)}")
        if not (SHORTEST_WINDOW_S <= self.window_s < math.inf and self.window_s == int(self.window_s)):
            raise ValueError(
                f"window_s={self.window_s} must be a whole number of seconds, at least {SHORTEST_WINDOW_S}"
            )
        if not (0 < self.hop_s < math.inf and (self.hop_s * self.signal.sfreq).is_integer()):
            raise ValueError(
                f"hop_s={self.hop_s} must be a whole number of samples at {self.signal.sfreq:g} Hz, above 0"
            )
        if not 0 < self.block_s < math.inf:
            raise ValueError(f"block_s={self.block_s} must be above 0")
        if self.spectrogram and (lacking := _lacking_electrodes(self.signal)):
            raise ValueError(f"spectrogram=True needs electrodes that {self.modality} lacks: {', '.join(lacking)}")
        if self.annotation_task and self.annotation_task not in TASKS:
            raise ValueError(f"annotation_task={self.annotation_task!r} is none of {sorted(TASKS)}")
        if self.label_span_s and not 0 <= self.label_span_s[0] < self.label_span_s[1] <= self.window_s:
            raise ValueError(f"label_span_s={self.label_span_s} does not lie within window_s={self.window_s}")
        if self.reference not in get_args(Reference):
            raise ValueError(f"reference={self.reference!r} is none of {', '.join(get_args(Reference))}")
        lowest = TRANSITION_HZ / 2
        if not lowest < self.l_freq < self.h_freq < math.inf:
            raise ValueError(
                f"l_freq={self.l_freq} must lie above {lowest:g} Hz (half a transition band) and below "
                f"h_freq={self.h_freq}"
            )
        if not self.l_freq < GUARD * self.signal.sfreq:
            raise ValueError(f"l_freq={self.l_freq} leaves nothing of {self.signal.sfreq:g} Hz")
        low, high = ANTIALIAS_RANGE_DB
        if not low <= self.antialias_db <= high:
            raise ValueError(f"antialias_db={self.antialias_db} lies outside of {low} to {high} dB")
        if not 1 <= self.min_measured <= self.signal.n_primary:
            raise ValueError(
                f"min_measured={self.min_measured} must lie within 1 and "
                f"{self.signal.n_primary} {self.signal.kind.upper()} channels"
            )
        if self.windows not in ("tile", "labelled"):
            raise ValueError(f"windows={self.windows!r} is neither 'tile' nor 'labelled'")

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

    @cached_property
    def config_hash(self) -> str:
        """First 16 hex digits of the sha256 over all that decides the samples; `block_s` does not.

        What is off or empty by default is left out, so that a new option leaves the hash of older profiles alone.
        """
        fields = {name: value for name, value in self.to_dict().items() if name != "block_s"}
        if not self.cleaning.any:
            del fields["cleaning"]
        if not self.annotation_task:
            del fields["annotation_task"]
        if not self.spectrogram:
            del fields["spectrogram"]
        return hashlib.sha256(json.dumps(fields, sort_keys=True).encode()).hexdigest()[:16]


def _lacking_electrodes(modality: Modality) -> list[str]:
    return sorted({name for chain in CHAINS.values() for pair in chain for name in pair} - set(modality.ch_names))


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
SIX_CLASS_CLEAN = replace(
    SIX_CLASS,
    name="six-class-clean",
    cleaning=Cleaning(ica=True, transients=True),
)
"""The steps that cost the brain next to nothing; the others are worth it only where drift or noise is large
(docs/cleaning.md has the figures)."""
SIX_CLASS_SPECTROGRAM = replace(SIX_CLASS, name="six-class-spectrogram", spectrogram=True, block_s=600.0)
"""The same windows with ten minutes of spectrogram each; long blocks, since each reads five minutes on both sides."""
SLEEP = Profile(name="sleep", window_s=30, hop_s=30, h_freq=35.0, windows="labelled", annotation_task="sleep")
"""Epochs of 30 s in the AASM's band but for its lower edge: 0.5 Hz, not 0.3, which the FIR does not reach."""
PSG = replace(SLEEP, name="psg", modality=EEG_PSG.name)
"""The same with eyes, chin and heart beside the EEG, in bands of their own (`signals.windows.sensors`)."""
ECG_RHYTHM = Profile(
    name="ecg-rhythm", modality=ECG_12.name, window_s=10, hop_s=10, h_freq=45.0, reference="source",
    repair_bad_channels=False, annotation_task="ecg-superclass",
)  # fmt: skip
"""Ten seconds of twelve leads for rhythm and class. The lower edge is the FIR's least, 0.5 Hz, at zero phase: it moves
ST by microvolts, where a causal filter of the same edge moves it by tens (`tests/signals/windows/test_heart.py`)."""
ECG_WAVES = replace(ECG_RHYTHM, name="ecg-waves", modality=ECG_12_WAVES.name, h_freq=150.0)
"""The same at the rate of waves and intervals."""
_ALL = (PRETRAIN, SIX_CLASS, SIX_CLASS_CLEAN, SIX_CLASS_SPECTROGRAM, SLEEP, PSG, ECG_RHYTHM, ECG_WAVES)
PROFILES: dict[str, Profile] = {profile.name: profile for profile in _ALL}
DEFAULTS = (PRETRAIN, ECG_RHYTHM)
"""Profiles of which a run takes one where none is named, by the channels of its recordings."""


def with_overrides(profile: Profile, overrides: Mapping[str, str]) -> Profile:
    """Return the profile with options set from text, as a command line gives them: {"hop_s": "5"}.

    Options of the cleaning are named "cleaning.ica" and so on; a pair is written "20,30", nothing at all "none". Raises
    ValueError in one line for an unknown option, a value of another type, and a profile that contradicts itself.
    """
    values: dict[str, Any] = {}
    cleaning: dict[str, Any] = {}
    for name, text in overrides.items():
        owner, hints = (cleaning, get_type_hints(Cleaning)) if name.startswith("cleaning.") else (values, _OPTIONS)
        option = name.removeprefix("cleaning.")
        if option not in hints:
            known = [*_OPTIONS, *(f"cleaning.{step}" for step in get_type_hints(Cleaning))]
            raise ValueError(f"no option {name!r} of a profile; one of {', '.join(known)}")
        owner[option] = _parsed(name, text.strip(), hints[option])
    if cleaning:
        values["cleaning"] = replace(profile.cleaning, **cleaning)
    return replace(profile, **values)


_OPTIONS = {name: hint for name, hint in get_type_hints(Profile).items() if name not in ("name", "cleaning")}


def _parsed(name: str, text: str, hint: Any) -> Any:
    """Return text as a value of the type; raises ValueError that says what was expected."""
    choices = get_args(hint) if get_origin(hint) is Literal else ()
    try:
        if hint is bool:
            return {"true": True, "false": False}[text.lower()]
        if choices:
            return {choice: choice for choice in choices}[text]
        if hint in (int, float, str):
            return hint(text)
        if text.lower() == "none":
            return None
        first, second = (float(part) for part in text.split(","))
        return first, second
    except (KeyError, ValueError):
        names = {bool: "true or false", int: "a whole number", float: "a number"}
        wanted = " or ".join(choices) or names.get(hint, "two numbers as 20,30, or none")
        raise ValueError(f"{name}={text!r} is not {wanted}") from None
