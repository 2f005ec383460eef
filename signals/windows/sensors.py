"""Sensors beside the EEG: which channel of a file becomes which row of a modality, and how its samples are made.

A sensor row is one channel of the file at the modality's rate, in the band of its kind and without mains. It is never
re-referenced or interpolated, and takes no part in anything that is made of EEG: the average, the splines, the search
for bad electrodes, artifacts and components. So the EEG rows are the same with sensors beside them or without.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from signals.conditioning.conditioning import Conditioned, Conditioner, Native
from signals.conditioning.filters import effective_band
from signals.description.artifacts import BIT, electrode_faults
from signals.modality import Modality, microvolts
from signals.montage.montage import identity

BANDS: dict[str, tuple[float, float]] = {"eog": (0.5, 35.0), "emg": (10.0, 100.0), "ecg": (0.5, 70.0)}
"""Pass band by sensor type, Hz, whatever band the EEG has: the filter settings of the AASM's scoring manual but for
0.3 Hz, which the FIR does not reach."""
LEAST_EDGE_HZ: dict[str, float] = {"eog": 10.0, "emg": 20.0, "ecg": 20.0}
"""Least upper edge that a channel's rate must leave: a slower one (an EMG stored as its envelope) is absent."""

# Sides by the label's words; digits count right behind "EOG" and "E" (AASM: E1 is the left eye).
_REFERENCE = re.compile(r"[-:/ ]\s*(a[12]|m[12]|fpz|cz|avg|ref)\b.*$")
_LEFT = re.compile(r"\b(left|loc|l|e1|lo1|sin|leog|l ?eye)\b|eog?l\b|\beog ?1")
_RIGHT = re.compile(r"\b(right|roc|r|e2|lo2|dx|dex|reog|r ?eye)\b|eog?r\b|\beog ?2")
_CHIN = re.compile(r"chin|submental|mentalis|\bment\b")
_LIMB = re.compile(r"leg|tib|\b[lr]at\d?\b|\bplm|\barms?\b|delt|fds|edb|foot|feet|thor|abd|intercost|diaph")


def choose_channels(ch_names: Sequence[str], sensor_types: Sequence[str], modality: Modality) -> dict[str, int]:
    """Return the file's channel of each sensor row by the row's name; rows that no channel fits are left out.

    Eyes: the first channel labelled left is the first row, the first labelled right the second; a row without such a
    channel takes the first one of neither side (horizontal and vertical go in file order). EMG: the chin if a
    label names it, else the first that names no limb or trunk. ECG: the first.
    """
    rows: dict[str, list[str]] = {}
    for name, sensor_type in zip(
        modality.ch_names[modality.n_primary :], modality.sensor_types[modality.n_primary :], strict=True
    ):
        rows.setdefault(sensor_type, []).append(name)
    chosen: dict[str, int] = {}
    for sensor_type, names in rows.items():
        picks = [pick for pick, kind in enumerate(sensor_types) if kind == sensor_type]
        order = {"eog": _eyes, "emg": _muscles}.get(sensor_type, _as_they_come)(ch_names, picks)
        chosen |= {name: pick for name, pick in zip(names, order, strict=False) if pick is not None}
    return chosen


def _as_they_come(_: Sequence[str], picks: Sequence[int]) -> list[int | None]:
    return list(picks)


def _eyes(ch_names: Sequence[str], picks: Sequence[int]) -> list[int | None]:
    """Return the channels of the left and the right eye, None where there is none."""
    if not picks:
        # Bare "E1" and "E2" are eyes in polysomnography, but scalp electrodes in a dense net, which goes on to "E3".
        bare = {name.strip().lower(): pick for pick, name in reversed(list(enumerate(ch_names)))}
        picks = [bare["e1"], bare["e2"]] if {"e1", "e2"} <= set(bare) and "e3" not in bare else []
    sides: dict[str, list[int | None]] = {"left": [], "right": [], "": []}
    for pick in picks:
        sides[_side(ch_names[pick])].append(pick)
    free = iter(sides[""])
    return [sides[side][0] if sides[side] else next(free, None) for side in ("left", "right")]


def _side(label: str) -> str:
    words = _REFERENCE.sub("", label.strip().lower().replace("_", " "))
    left, right = bool(_LEFT.search(words)), bool(_RIGHT.search(words))
    return "" if left == right else "left" if left else "right"


def _muscles(ch_names: Sequence[str], picks: Sequence[int]) -> list[int | None]:
    labels = {pick: ch_names[pick].lower().replace("_", " ") for pick in picks}
    chin = [pick for pick in picks if _CHIN.search(labels[pick])]
    return [*chin, *(pick for pick in picks if pick not in chin and not _LIMB.search(labels[pick]))]


def sensor_band(sensor_type: str, *, native_sfreq: float, sfreq: float) -> tuple[float, float] | None:
    """Return the effective band of a sensor, Hz, or None where its rate leaves too little (`LEAST_EDGE_HZ`)."""
    try:
        band = effective_band(*BANDS[sensor_type], native_sfreq=native_sfreq, sfreq=sfreq)
    except ValueError:
        return None
    return band if band[1] >= LEAST_EDGE_HZ[sensor_type] else None


_ALONE = identity(1)


@dataclass(frozen=True, kw_only=True)
class SensorPlan:
    """What is done to the channel of one sensor row."""

    row: int
    """Number of the row in the modality."""
    pick: int
    """Number of the channel in the file."""
    sensor_type: str
    native_sfreq: float
    band: tuple[float, float]
    offset: float
    """Median of a look at the channel, taken off before the filters."""

    def conditioner(self, *, sfreq: float, mains_hz: float | None, antialias_db: float) -> Conditioner:
        """Return the chain of this row: that of the EEG with one channel and nothing to harmonise."""
        return Conditioner(
            harmoniser=_ALONE, native_sfreq=self.native_sfreq, sfreq=sfreq, band=self.band, mains_hz=mains_hz,
            offsets=(self.offset,), antialias_db=antialias_db,
        )  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class SensorSignal:
    """One sensor row over a block, and its native samples."""

    plan: SensorPlan
    native: Native
    signal: Conditioned
    """One channel, in the unit of the sensor type."""

    def mask(self, onsets_s: np.ndarray, missing: np.ndarray) -> np.ndarray:
        """Return the flags of a window's seconds, uint16, shape (n_seconds,): "gap", "flat" and "clipped", no others.

        `onsets_s` are the seconds' onsets in the segment, `missing` the window's missing samples, shape (n_times,).
        What else is an artifact in EEG is what these sensors are there for.
        """
        gap = missing.reshape(onsets_s.size, -1).any(axis=1)
        first_s = self.native.first / self.plan.native_sfreq
        faults = electrode_faults(self._native_uv, self.plan.native_sfreq, first_s=first_s, onsets_s=onsets_s)[0]
        return np.where(gap, np.uint16(BIT["gap"]), faults)

    @cached_property
    def _native_uv(self) -> np.ndarray:
        return microvolts(self.native.x, (self.plan.sensor_type,))
