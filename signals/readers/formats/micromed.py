"""Micromed .TRC (header type 4) through neo, by range, in a process of its own."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from signals.readers.channels.units import channel_notes, scaling_of
from signals.readers.isolated import require
from signals.recording.recording import Annotation, Recording, Segment, UnreadableError

MICROMED_MAGIC = b"* MICROMED"
_UNITS = {"1": "V", "1.0": "V", "dimensionless": "%", "percent": "%"}
"""neo's words for units that `signals.readers.channels.units` spells otherwise."""


def open_micromed(path: Path) -> Recording:
    """Return the recording in a .TRC file, in µV, each label with its second input ("Fp1-G2"); pauses are gaps.

    Raises UnreadableError: "missing_library", "no_samples", and "reader_crashed" for what neo does not read.
    """
    require("neo", "neo", "Micromed .TRC")
    from neo.rawio.micromedrawio import MicromedRawIO

    raw = MicromedRawIO(str(path))
    raw.parse_header()
    channels = raw.header["signal_channels"]
    about = raw.raw_annotations["blocks"][0]
    grounds = about["segments"][0]["signals"][0]["__array_annotations__"]["ground"]
    ch_names = tuple(
        "-".join(part for part in (str(name).strip("\0 "), str(ground).strip("\0 ")) if part)
        for name, ground in zip(channels["name"], grounds, strict=True)
    )
    scalings = [
        scaling_of(name, _UNITS.get(unit, unit)) for name, unit in zip(ch_names, channels["units"], strict=True)
    ]
    sfreq, n_segments = float(channels["sampling_rate"][0]), raw.segment_count(0)
    begin_s = raw.get_signal_t_start(0, 0, 0)
    sizes = [raw.get_signal_size(0, segment, 0) for segment in range(n_segments)]
    if sfreq <= 0 or min(sizes) < 1:
        raise UnreadableError("no_samples", f"segments of {sizes[:5]} samples at {sfreq:g} Hz")
    return Recording(
        uri=str(path),
        reader="micromed",
        ch_names=ch_names,
        sensor_types=tuple(scaling.sensor_type for scaling in scalings),
        sfreqs=(sfreq,) * len(ch_names),
        segments=tuple(
            Segment(raw.get_signal_t_start(0, k, 0) - begin_s, size / sfreq) for k, size in enumerate(sizes)
        ),
        read_samples=partial(_read, raw, np.array([scaling.factor for scaling in scalings])),
        annotations=_annotations(raw, begin_s),
        patient=" ".join(_text(about.get(key)) for key in ("surname", "firstname")).strip(),
        units=tuple(map(str, channels["units"])),
        notes=(*channel_notes(ch_names, scalings), *(["gaps"] * (n_segments > 1))),
    )


def _text(value: Any) -> str:
    return value.decode("latin-1").strip("\0 ") if isinstance(value, bytes) else ""


def _annotations(raw: Any, begin_s: float) -> tuple[Annotation, ...]:
    """Return triggers, notes and events of all segments, in seconds since the first sample."""
    found = []
    for channel in range(raw.event_channels_count()):
        for segment in range(raw.segment_count(0)):
            stamps, lengths, labels = raw.get_event_timestamps(0, segment, channel)
            onsets = raw.rescale_event_timestamp(stamps, "float64", channel)
            durations = np.zeros(len(onsets))
            if lengths is not None:
                durations = raw.rescale_epoch_duration(lengths, "float64", channel)
            found += [
                Annotation(float(onset) - begin_s, max(float(duration), 0.0), str(label).strip("\0 "))
                for onset, duration, label in zip(onsets, durations, labels, strict=True)
            ]
    return tuple(sorted(found, key=lambda annotation: annotation.onset_s))


def _read(raw: Any, factors: np.ndarray, picks: Sequence[int], segment: int, start: int, stop: int) -> np.ndarray:
    chunk = raw.get_analogsignal_chunk(0, segment, start, stop, stream_index=0, channel_indexes=list(picks))
    values = raw.rescale_signal_raw_to_float(chunk, "float64", stream_index=0, channel_indexes=list(picks))
    return (values.T * factors[list(picks), None]).astype(np.float32)
