"""How the channels of a recording become those of a modality, by the kind of its primary sensors.

EEG is electrodes on a scalp, against a reference that can be changed; an electrocardiogram is leads, which keep theirs.
What differs between them stands here as data, so that the plan of a recording asks no modality for its name.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from signals.description.heart.arms import arms_swapped
from signals.modality import Modality
from signals.montage.labels import Derivation, Electrodes, find_electrodes, recorded_references
from signals.montage.leads import MODIFIED, find_leads, lead_harmoniser, lead_shortfall
from signals.montage.montage import Harmoniser, harmoniser, shortfall
from signals.montage.references import Reference


@dataclass(frozen=True, kw_only=True)
class ElectrodeSystem:
    """The rules of one kind of sensors."""

    signal: str
    """What is recorded, for messages."""
    name: str
    """What a label must name, for messages."""
    no_channels: str
    """Reason code of a recording without any."""
    find: Callable[[Sequence[str], Sequence[str]], Electrodes]
    """(ch_names, sensor_types) -> channels and what they measure."""
    harmoniser: Callable[[tuple[Derivation, ...], Modality, Reference], Harmoniser]
    shortfall: Callable[[Sequence[Derivation], Harmoniser, Modality], str]
    notes: Callable[[Sequence[Derivation]], tuple[str, ...]]
    """Remarks that follow from what the channels measure."""
    usable_hz: tuple[float, float]
    """Sampling rates: below, what matters most is not in the signal; above, the header is wrong."""
    plausible_uv: tuple[float, float]
    """Robust standard deviation within 1-35 Hz, µV, median over channels: outside of it the unit is wrong."""
    typical_uv: float
    checks: tuple[tuple[str, Callable[[np.ndarray, float, Sequence[str]], bool]], ...]
    """Notes of a recording, and what finds the fault in a stretch: (x in µV, sfreq, names) -> bool."""
    flat_is_absent: bool
    """Whether a channel that is flat throughout was not connected: its row is then derived or absent."""

    @property
    def flat_notes(self) -> tuple[str, ...]:
        """Note of a recording with channels that are flat throughout."""
        return ("flat_leads",) * self.flat_is_absent


def _of_scalp(derivations: Sequence[Derivation]) -> tuple[str, ...]:
    return ("mixed_references",) * (len(recorded_references(derivations)) > 1)


def _of_leads(derivations: Sequence[Derivation]) -> tuple[str, ...]:
    return ("modified_leads",) * any(d.reference == MODIFIED for d in derivations)


SCALP = ElectrodeSystem(
    signal="EEG",
    name="10-20 electrode",
    no_channels="no_eeg_channels",
    find=find_electrodes,
    harmoniser=harmoniser,
    shortfall=shortfall,
    notes=_of_scalp,
    usable_hz=(30.0, 100_000.0),
    plausible_uv=(0.2, 1000.0),  # EEG of 1 to 200 µV that is off by 1000 either way falls outside
    typical_uv=15.0,
    checks=(),
    flat_is_absent=False,
)
HEART = ElectrodeSystem(
    signal="ECG",
    name="lead of the electrocardiogram",
    no_channels="no_ecg_leads",
    find=find_leads,
    harmoniser=lead_harmoniser,
    shortfall=lead_shortfall,
    notes=_of_leads,
    usable_hz=(80.0, 100_000.0),
    plausible_uv=(1.0, 2000.0),  # QRS complexes of 0.1 to 5 mV leave 5 to 400 µV
    typical_uv=50.0,
    checks=(("arms_swapped", arms_swapped),),
    flat_is_absent=True,
)
_SYSTEMS: dict[str, ElectrodeSystem] = {"eeg": SCALP, "ecg": HEART}


def system_of(modality: Modality) -> ElectrodeSystem:
    """Return the rules for a modality's primary channels; raises KeyError for a kind that has none."""
    return _SYSTEMS[modality.kind]
