"""What kind of biosignal a window holds, as data: it travels in records, checkpoints and bundles."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from itertools import combinations
from typing import Any

import numpy as np

from signals.electrodes import electrode_positions

UNITS: dict[str, str] = {"eeg": "µV", "eog": "µV", "emg": "µV", "ecg": "mV"}
"""Unit of the samples by sensor type."""
UV_PER_UNIT: dict[str, float] = {"µV": 1.0, "mV": 1000.0}


@dataclass(frozen=True, kw_only=True)
class Modality:
    """A fixed set of channels at one sampling rate; everything that code would otherwise ask by name."""

    name: str
    """Identifier written into records, checkpoints and bundles."""
    ch_names: tuple[str, ...]
    """Channel order of every window."""
    positions: tuple[tuple[float, float, float], ...]
    """Directions on the unit sphere, one a channel: of electrodes from the head's centre, of leads in a dipole's."""
    sensor_types: tuple[str, ...]
    """One of `UNITS` a channel; those of the first channel's type, the primary ones, come before everything else."""
    sfreq: float
    """Sampling rate of every window, Hz."""
    band: tuple[float, float]
    """Widest requested pass band, Hz; the effective band is guarded by the native rate."""
    unit: str
    """Unit of the samples; units of sensors that differ stand in `units`."""
    edges: tuple[tuple[str, str], ...]
    """Undirected neighbours in the spatial graph."""

    def __post_init__(self) -> None:
        n_chans = len(self.ch_names)
        if not (len(self.positions) == len(self.sensor_types) == n_chans):
            raise ValueError(
                f"{self.name}: positions and sensor_types must have one entry for each of {n_chans} channels"
            )
        if unknown_types := set(self.sensor_types) - set(UNITS):
            raise ValueError(f"{self.name}: sensor_types {sorted(unknown_types)} are none of {sorted(UNITS)}")
        if behind := {self.kind, "eeg"} & set(self.sensor_types[self.n_primary :]):
            raise ValueError(f"{self.name}: {min(behind).upper()} channels must come before those of other sensors")
        unknown = {name for edge in self.edges for name in edge} - set(self.ch_names)
        if unknown:
            raise ValueError(f"{self.name}: edges name unknown channels {sorted(unknown)}")

    @property
    def n_chans(self) -> int:
        """Number of channels."""
        return len(self.ch_names)

    @property
    def kind(self) -> str:
        """Sensor type of the primary channels: what is found, harmonised and described together goes by it."""
        return self.sensor_types[0]

    @property
    def n_primary(self) -> int:
        """Number of primary channels, which are the first rows."""
        return n_primary(self.sensor_types)

    @property
    def units(self) -> tuple[str, ...]:
        """Unit of each channel's samples."""
        return tuple(UNITS[sensor_type] for sensor_type in self.sensor_types)

    @cached_property
    def primary(self) -> "Modality":
        """The same modality without its other sensors; itself where it has none."""
        n = self.n_primary
        if n == self.n_chans:
            return self
        kept = set(self.ch_names[:n])
        return replace(
            self,
            ch_names=self.ch_names[:n],
            positions=self.positions[:n],
            sensor_types=self.sensor_types[:n],
            edges=tuple(edge for edge in self.edges if kept.issuperset(edge)),
        )

    def adjacency(self) -> np.ndarray:
        """Return the symmetric neighbourhood matrix without self loops, bool, shape (n_chans, n_chans)."""
        index = {name: i for i, name in enumerate(self.ch_names)}
        adjacent = np.zeros((self.n_chans, self.n_chans), dtype=bool)
        for a, b in self.edges:
            adjacent[index[a], index[b]] = adjacent[index[b], index[a]] = True
        return adjacent

    def to_dict(self) -> dict[str, Any]:
        """Return plain lists and numbers for JSON; "units" where they differ from channel to channel."""
        units = {"units": list(self.units)} if len(set(self.units)) > 1 else {}
        return asdict(self) | units

    @classmethod
    def from_dict(cls, fields: Mapping[str, Any]) -> "Modality":
        """Build a modality from `to_dict`'s output, also after a round trip through JSON."""
        return cls(
            name=fields["name"],
            ch_names=tuple(fields["ch_names"]),
            positions=tuple((float(x), float(y), float(z)) for x, y, z in fields["positions"]),
            sensor_types=tuple(fields["sensor_types"]),
            sfreq=float(fields["sfreq"]),
            band=(float(fields["band"][0]), float(fields["band"][1])),
            unit=fields["unit"],
            edges=tuple((a, b) for a, b in fields["edges"]),
        )


FIXED_SCALE: dict[str, float] = {"ecg": 0.25}
"""What primary channels of a sensor type are divided by for a network, in their unit, whoever is recorded: voltage is
diagnostic there, so that nothing is fitted and no window loses its size."""


def n_primary(sensor_types: Sequence[str]) -> int:
    """Return how many channels are of the first one's type before the first that is not; 0 of none."""
    return next((i for i, kind in enumerate(sensor_types) if kind != sensor_types[0]), len(sensor_types))


def microvolts(x: np.ndarray, sensor_types: Sequence[str]) -> np.ndarray:
    """Return the channels of a window, shape (n_chans, ...), with those of other units in µV too."""
    factors = np.array([UV_PER_UNIT[UNITS[sensor_type]] for sensor_type in sensor_types], dtype=x.dtype)
    return x if (factors == 1).all() else x * factors.reshape(-1, *(1,) * (x.ndim - 1))


def in_microvolts(x: np.ndarray, kind: str) -> np.ndarray:
    """Return samples of channels that are all of one sensor type in µV, any shape."""
    factor = UV_PER_UNIT[UNITS[kind]]
    return x if factor == 1 else x * np.asarray(factor, dtype=x.dtype)


_EEG_CHANNELS = (
    "Fp1", "F3", "C3", "P3", "F7", "T3", "T5", "O1", "Fz", "Cz",
    "Pz", "Fp2", "F4", "C4", "P4", "F8", "T4", "T6", "O2",
)  # fmt: skip

# Nearest neighbours along and across the chains of the 10-20 system.
_EEG_EDGES = (
    "Fp1-Fp2 Fp1-F7 Fp1-F3 Fp1-Fz Fp2-F8 Fp2-F4 Fp2-Fz F7-F3 F3-Fz Fz-F4 F4-F8 F7-T3 F3-C3 Fz-Cz F4-C4 F8-T4 "
    "T3-C3 C3-Cz Cz-C4 C4-T4 T3-T5 C3-P3 Cz-Pz C4-P4 T4-T6 T5-P3 P3-Pz Pz-P4 P4-T6 T5-O1 P3-O1 Pz-O1 Pz-O2 P4-O2 "
    "T6-O2 O1-O2"
)

EEG_1020 = Modality(
    name="eeg_1020",
    ch_names=_EEG_CHANNELS,
    positions=tuple((float(x), float(y), float(z)) for x, y, z in electrode_positions(_EEG_CHANNELS)),
    sensor_types=("eeg",) * len(_EEG_CHANNELS),
    sfreq=256.0,
    band=(0.5, 128.0),
    unit="µV",
    edges=tuple((a, b) for a, b in (edge.split("-") for edge in _EEG_EDGES.split())),
)
"""The international 10-20 system in the channel order of the HMS competition's files."""

_EYE_Z = -0.45
_LEFT_EYE = (
    *(np.array(EEG_1020.positions[0][:2]) * np.sqrt((1 - _EYE_Z**2) / (1 - EEG_1020.positions[0][2] ** 2))),
    _EYE_Z,
)
"""Fp1's direction, lowered to the height of the eye's outer corner."""

EEG_PSG = Modality(
    name="eeg_psg",
    ch_names=(*EEG_1020.ch_names, "EOG1", "EOG2", "EMG", "ECG"),
    positions=(
        *EEG_1020.positions,
        (float(_LEFT_EYE[0]), float(_LEFT_EYE[1]), _EYE_Z),
        (float(-_LEFT_EYE[0]), float(_LEFT_EYE[1]), _EYE_Z),
        (0.0, 0.6, -0.8),  # the chin
        (0.0, 0.28, -0.96),  # the chest: nearly straight down
    ),
    sensor_types=(*EEG_1020.sensor_types, "eog", "eog", "emg", "ecg"),
    sfreq=EEG_1020.sfreq,
    band=EEG_1020.band,
    unit=EEG_1020.unit,
    edges=EEG_1020.edges,
)
"""Polysomnography: the channels of EEG_1020, both eyes, the chin and the heart (`signals.windows.sensors`).

The sensors' positions are a convention, directions from the head's centre that tell their rows apart; no field is
computed from them, and no edge leads to them."""

_LEAD_VECTORS = {
    "V1": (-0.515, 0.157, -0.917), "V2": (0.044, 0.164, -1.387), "V3": (0.882, 0.098, -1.277),
    "V4": (1.213, 0.127, -0.601), "V5": (1.125, 0.127, -0.086), "V6": (0.831, 0.076, 0.230),
    "I": (0.632, -0.235, 0.059), "II": (0.235, 1.066, -0.132),
}  # fmt: skip
"""What each lead sees of the heart's dipole: left, foot, back (Dower 1980, doi:10.1016/S0022-0736(80)80041-9)."""
LIMB_LEADS: dict[str, tuple[float, float]] = {
    "I": (1.0, 0.0), "II": (0.0, 1.0), "III": (-1.0, 1.0), "aVR": (-0.5, -0.5), "aVL": (1.0, -0.5), "aVF": (-0.5, 1.0),
}  # fmt: skip
"""The six limb leads as sums of I and II, exact: Einthoven 1908, Goldberger 1942."""
_ECG_CHANNELS = (*LIMB_LEADS, "V1", "V2", "V3", "V4", "V5", "V6")
_NEAR_COS = 0.75
"""Least |cos| of the angle of two leads that are neighbours in the graph."""


def lead_vectors() -> dict[str, np.ndarray]:
    """Return what each of the twelve leads sees of the heart's dipole, shape (3,): left, foot, back."""
    known = {name: np.array(vector) for name, vector in _LEAD_VECTORS.items()}
    limb = {name: a * known["I"] + b * known["II"] for name, (a, b) in LIMB_LEADS.items()}
    return {name: (limb | known)[name] for name in _ECG_CHANNELS}


def _lead_directions() -> dict[str, np.ndarray]:
    return {name: vector / np.linalg.norm(vector) for name, vector in lead_vectors().items()}


def _lead_edges() -> tuple[tuple[str, str], ...]:
    """Return leads that see alike, and those that an exact relation ties: all pairs of limb leads."""
    seen = _lead_directions()
    return tuple(
        (a, b)
        for a, b in combinations(_ECG_CHANNELS, 2)
        if {a, b} <= set(LIMB_LEADS) or abs(float(seen[a] @ seen[b])) >= _NEAR_COS
    )


ECG_12 = Modality(
    name="ecg_12",
    ch_names=_ECG_CHANNELS,
    positions=tuple((float(x), float(y), float(z)) for x, y, z in _lead_directions().values()),
    sensor_types=("ecg",) * len(_ECG_CHANNELS),
    sfreq=100.0,
    band=(0.5, 45.0),
    unit="mV",
    edges=_lead_edges(),
)
"""The twelve leads of the electrocardiogram at the rate of rhythm and class."""
ECG_12_WAVES = replace(ECG_12, name="ecg_12_waves", sfreq=500.0, band=(0.5, 150.0))
"""The same at the rate of waves and intervals."""

MODALITIES: dict[str, Modality] = {modality.name: modality for modality in (EEG_1020, EEG_PSG, ECG_12, ECG_12_WAVES)}
