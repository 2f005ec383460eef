"""An `mne.io.Raw` as a recording: of a file that MNE reads, or of a user's own memory.

MNE holds volts. What it says of channels, annotations and pauses is taken over; annotations that mark stretches without
data, or seams between two stretches, become gaps.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from signals.readers.channels.sensor_types import sensor_type_of
from signals.readers.channels.units import Scaling, channel_notes
from signals.readers.matrix import onset_of_sample
from signals.recording.details import Details, age_group, known_device
from signals.recording.recording import SENSOR_TYPES, Annotation, Recording, Segment, UnreadableError

VOLTS_TO_UNIT = {"eeg": 1e6, "eog": 1e6, "emg": 1e6, "ecg": 1e3}
"""From MNE's unit to that of a `Recording`, for sensors that measure a voltage."""
_SKIPS = {"BAD_ACQ_SKIP", "BAD_disconnection"}
"""How MNE marks stretches without data, which it fills with zeros."""
_SEAMS = {"BAD boundary", "EDGE boundary"}
"""How MNE marks the first sample after a pause of unknown length."""


@dataclass(frozen=True)
class Stretch:
    """Samples [start, stop) of a Raw without a gap, and how many seconds were lost before it since the first sample."""

    start: int
    stop: int
    lost_s: float


def recording_of_raw(
    raw: Any, *, uri: str = "", reader: str = "raw", pauses: Sequence[tuple[int, float]] = (), scale: float = 1.0,
    notes: Sequence[str] = (),
) -> Recording:  # fmt: skip
    """Return a Raw as a recording: V becomes µV (ECG: mV), channels of other kinds stay as they are.

    `pauses` holds (first sample after it, seconds lost) of pauses that MNE does not know of; `scale` corrects voltages
    that MNE takes for another unit. Raises UnreadableError "no_samples".
    """
    sfreq = float(raw.info["sfreq"])
    ch_names = tuple(name.strip() for name in raw.ch_names)
    scalings = [_scaling(name, kind, scale) for name, kind in zip(ch_names, raw.get_channel_types(), strict=True)]
    # MNE's onsets count from the start of the acquisition system, first_time before the first sample.
    onsets = np.asarray(raw.annotations.onset) - raw.first_time
    durations, texts = raw.annotations.duration.tolist(), map(str, raw.annotations.description)
    events = list(zip(onsets.tolist(), durations, texts, strict=True))
    stretches = _stretches(int(raw.n_times), sfreq, events, pauses)
    segments = tuple(Segment(s.start / sfreq + s.lost_s, (s.stop - s.start) / sfreq) for s in stretches)
    starts = tuple(s.start for s in stretches)
    return Recording(
        uri=uri,
        reader=reader,
        ch_names=ch_names,
        sensor_types=tuple(scaling.sensor_type for scaling in scalings),
        sfreqs=(sfreq,) * len(ch_names),
        segments=segments,
        read_samples=partial(_read_raw, raw, np.array([scaling.factor for scaling in scalings]), starts),
        annotations=tuple(
            Annotation(onset_of_sample(onset_s * sfreq, sfreq, starts, segments), duration_s, text)
            for onset_s, duration_s, text in events
            if text not in _SKIPS | _SEAMS
        ),
        patient=_patient(raw),
        details=_details(raw),
        notes=(*notes, *channel_notes(ch_names, scalings), *(["gaps"] * (len(segments) > 1))),
    )


def _details(raw: Any) -> Details:
    """Return device and age group; MNE keeps the start as UTC, which is no hour of the patient's day."""
    device, subject = raw.info.get("device_info") or {}, raw.info.get("subject_info") or {}
    begun, born = raw.info.get("meas_date"), subject.get("birthday")
    years = (begun.date() - born).days / 365.25 if begun is not None and born is not None else None
    return Details(
        device=known_device(f"{device.get('type') or ''} {device.get('model') or ''}"), age_group=age_group(years)
    )


def _scaling(label: str, kind: str, scale: float) -> Scaling:
    """Return the scaling of a channel; labels refine what the file calls EEG, for many files call everything so."""
    sensor_type = sensor_type_of(label) if kind == "eeg" else kind
    if sensor_type not in SENSOR_TYPES:
        return Scaling("misc", 1.0)
    is_voltage = kind in VOLTS_TO_UNIT
    return Scaling(sensor_type, VOLTS_TO_UNIT.get(sensor_type, 1e6) * scale if is_voltage else 1.0)


def _stretches(
    n_times: int, sfreq: float, events: Sequence[tuple[float, float, str]], pauses: Sequence[tuple[int, float]]
) -> list[Stretch]:
    """Return the stretches between skips, which may be listed twice or overlap, seams and pauses."""
    cuts: dict[int, float] = {}
    for at, lost_s in (*pauses, *((_sample_at(onset, sfreq), 0.0) for onset, _, text in events if text in _SEAMS)):
        if 0 < at < n_times:
            cuts[at] = max(cuts.get(at, 0.0), lost_s)
    skips = [
        (_sample_at(onset, sfreq), _sample_at(onset + duration, sfreq))
        for onset, duration, text in events
        if text in _SKIPS
    ]
    stretches, start, lost_s = [], 0, 0.0
    # Each break ends a stretch at `stop`; the next one begins at `after`.
    for stop, after in sorted([*skips, *((at, at) for at in cuts), (n_times, n_times)]):
        if min(stop, n_times) > start:
            stretches.append(Stretch(start, min(stop, n_times), lost_s))
        start = max(start, after)
        lost_s += cuts.get(after, 0.0) if stop == after else 0.0
    if not stretches:
        raise UnreadableError("no_samples", "nothing but acquisition skips")
    return stretches


def _sample_at(onset_s: float, sfreq: float) -> int:
    """Return the first sample after an edge, which readers put on that sample or half a sample before it."""
    return math.floor(onset_s * sfreq + 0.75)


def _patient(raw: Any) -> str:
    subject = raw.info.get("subject_info") or {}
    return " ".join(str(subject[key]) for key in ("his_id", "last_name", "first_name") if subject.get(key))


def _read_raw(
    raw: Any, factors: np.ndarray, starts: Sequence[int], picks: Sequence[int], segment: int, start: int, stop: int
) -> np.ndarray:
    first = starts[segment]
    volts = raw.get_data(picks=list(picks), start=first + start, stop=first + stop)
    return (volts * factors[list(picks), None]).astype(np.float32)
