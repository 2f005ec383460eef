"""Physical units as files spell them, and the factor that brings samples to µV (ECG: mV)."""

from collections.abc import Sequence
from dataclasses import dataclass

from signals.readers.channels.sensor_types import sensor_type_of

_MICROVOLTS = {"v": 1e6, "mv": 1e3, "uv": 1.0, "µv": 1.0, "μv": 1.0, "nv": 1e-3}
_WORDS = {"volt": "v", "millivolt": "mv", "microvolt": "uv", "nanovolt": "nv", "mvolt": "mv", "uvolt": "uv",
          "µvolt": "uv", "nvolt": "nv"}  # fmt: skip
# µ through a wrong code page: UTF-8 read as latin-1, DOS, replaced by a question mark.
_BROKEN_MICRO = {"âµv", "î¼v", "æv", "?v", "\ufffdv"}
_UNSAID = {"", "n/a", "na", "none", "-", "?", "unknown"}
_ELECTRIC = {"eeg", "eog", "emg", "ecg"}


@dataclass(frozen=True)
class Scaling:
    """How the samples of one channel become µV (ECG: mV)."""

    sensor_type: str
    factor: float
    """Multiplies the file's physical values."""
    note: str = ""
    """Remark for `Recording.notes`, empty without."""


def scaling_of(label: str, unit: str, *, sensor_type: str | None = None) -> Scaling:
    """Return sensor type and factor of a channel from its label and unit.

    V, mV, µV (both Unicode letters, or "uV") and nV are known, also in words. Without a unit, and where the µ was lost
    in a wrong code page, electric channels are taken as µV with the note "unit_guessed". Electric labels with any other
    unit (°C, µS, %) become "misc", unscaled, with the note "unit_not_electric". `sensor_type` overrides the rule on
    labels.
    """
    sensor_type = sensor_type or sensor_type_of(label)
    spelled = unit.strip().lower()
    spelled = _WORDS.get(spelled.removesuffix("s"), spelled)
    per_type = 1e-3 if sensor_type == "ecg" else 1.0
    if spelled in _MICROVOLTS:
        factor = 1.0 if sensor_type == "stim" else _MICROVOLTS[spelled] * per_type
        return Scaling(sensor_type, factor)
    if sensor_type not in _ELECTRIC:
        return Scaling(sensor_type, 1.0)
    if is_unstated(unit):
        return Scaling(sensor_type, per_type, "unit_guessed")
    return Scaling("misc", 1.0, "unit_not_electric")


def is_unstated(unit: str) -> bool:
    """Return whether a file's unit says nothing, so that µV is a guess."""
    spelled = unit.strip().lower()
    return spelled in _UNSAID or spelled in _BROKEN_MICRO


def channel_notes(ch_names: Sequence[str], scalings: Sequence[Scaling]) -> tuple[str, ...]:
    """Return the remarks that follow from labels and units, each once, in fixed order."""
    notes = sorted({scaling.note for scaling in scalings} - {""})
    if len(set(ch_names)) < len(ch_names):
        notes.append("duplicate_labels")
    return tuple(notes)
