"""XDF (LabStreamingLayer) through pyxdf: the EEG stream, its breaks as gaps, and the marker streams as annotations.

XDF has no ranges: the file is decoded once, in a process of its own, into a memory map without a name. pyxdf brings all
streams to one clock, undoes clock resets and evens out time stamps; where they break off, a segment ends.
"""

import tempfile
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from signals.readers.channels.units import channel_notes, scaling_of
from signals.readers.isolated import require
from signals.readers.matrix import Matrix, matrix_reader
from signals.readers.numbers import finite
from signals.recording.recording import Annotation, Recording, Segment, UnreadableError

XDF_MAGIC = b"XDF:"
_KINDS = {"eeg": None, "eog": "eog", "emg": "emg", "ecg": "ecg", "ekg": "ecg", "resp": "resp", "trigger": "stim",
          "trig": "stim", "trg": "stim", "stim": "stim", "markers": "stim", "": None}  # fmt: skip
"""Sensor by the type that a stream gives to a channel, None where the label decides; others are "misc"."""
_RATE_TOLERANCE = 0.01


def open_xdf(path: Path) -> Recording:
    """Return the largest EEG stream of an .xdf file at its nominal rate, with the markers of all streams.

    Raises UnreadableError: "missing_library", "unsupported_format" where no stream of type EEG has a rate,
    "no_samples", "corrupt_header".
    """
    require("pyxdf", "pyxdf", "XDF")
    import pyxdf

    streams, _ = pyxdf.load_xdf(str(path), verbose=False)
    eeg, notes = _eeg_stream(streams)
    sfreq = finite(_first(eeg["info"], "nominal_srate"), "the nominal rate", above=0)
    labels, units, kinds = _channels(eeg["info"], np.shape(eeg["time_series"])[1])
    scalings = [
        scaling_of(label, unit, sensor_type=kind) for label, unit, kind in zip(labels, units, kinds, strict=True)
    ]
    spans = _spans(eeg)
    times = np.asarray(eeg["time_stamps"], dtype=np.float64)
    segments = _segments(times, spans, sfreq)
    if abs(_measured_hz(times, spans) / sfreq - 1) > _RATE_TOLERANCE:
        notes = (*notes, "rate_disagrees")
    load = partial(_same, _mapped(eeg["time_series"]))
    starts = tuple(start for start, _ in spans)
    return Recording(
        uri=str(path),
        reader="xdf",
        ch_names=labels,
        sensor_types=tuple(scaling.sensor_type for scaling in scalings),
        sfreqs=(sfreq,) * len(labels),
        segments=segments,
        read_samples=matrix_reader(Matrix(load, tuple(scaling.factor for scaling in scalings), starts)),
        annotations=_markers(streams, float(times[0])),
        units=units,
        notes=(*notes, *channel_notes(labels, scalings), *(["gaps"] * (len(segments) > 1))),
    )


def _first(info: Any, key: str) -> str:
    """Return the first value of a key of pyxdf's nested lists, empty where there is none."""
    value = info.get(key) if isinstance(info, dict) else None
    value = value[0] if isinstance(value, list) and value else value
    return value.strip() if isinstance(value, str) else ""


def _eeg_stream(streams: list[dict[str, Any]]) -> tuple[dict[str, Any], tuple[str, ...]]:
    """Return the EEG stream with most samples, and a note where others of its kind were left aside."""
    eeg = [stream for stream in streams if _first(stream["info"], "type").lower() == "eeg" and _is_numeric(stream)]
    if not eeg:
        raise UnreadableError("unsupported_format", f"no regular stream of type EEG among {len(streams)} streams")
    largest = max(eeg, key=lambda stream: np.size(stream["time_series"]))
    if not np.size(largest["time_series"]):
        raise UnreadableError("no_samples", "the EEG stream holds no samples")
    return largest, ("several_eeg_streams",) if len(eeg) > 1 else ()


def _is_numeric(stream: dict[str, Any]) -> bool:
    try:
        regular = float(_first(stream["info"], "nominal_srate") or 0) > 0
    except ValueError:
        regular = False
    return regular and _first(stream["info"], "channel_format") != "string"


def _channels(info: Any, n_chans: int) -> tuple[tuple[str, ...], tuple[str, ...], list[str | None]]:
    """Return label, unit and sensor of each channel; a stream that names none has channels "1", "2", ..."""
    entries: Any = info.get("desc")
    for key in ("", "channels", "channel"):
        entries = entries.get(key) if key and isinstance(entries, dict) else entries
        if key != "channel":
            entries = entries[0] if isinstance(entries, list) and entries else entries
    entries = entries if isinstance(entries, list) else []
    if len(entries) != n_chans:
        return tuple(str(number + 1) for number in range(n_chans)), ("",) * n_chans, [None] * n_chans
    kinds = [_KINDS.get(_first(entry, "type").lower(), "misc") for entry in entries]
    return tuple(_first(e, "label") for e in entries), tuple(_first(e, "unit") for e in entries), kinds


def _spans(stream: dict[str, Any]) -> list[tuple[int, int]]:
    """Return [start, stop) of each stretch without a break."""
    n_times = len(stream["time_stamps"])
    spans = [(int(first), int(last) + 1) for first, last in stream["info"].get("segments") or [(0, n_times - 1)]]
    if not spans or any(not 0 <= start < stop <= n_times for start, stop in spans):
        raise UnreadableError("corrupt_header", "time stamps that cannot be put in order")
    return spans


def _segments(times: np.ndarray, spans: list[tuple[int, int]], sfreq: float) -> tuple[Segment, ...]:
    """Return the stretches at the nominal rate; one that would begin before the last one's end begins there."""
    segments: list[Segment] = []
    end_s = 0.0
    for start, stop in spans:
        onset_s = max(float(times[start] - times[0]), end_s)
        segments.append(Segment(onset_s, (stop - start) / sfreq))
        end_s = onset_s + (stop - start) / sfreq
    return tuple(segments)


def _measured_hz(times: np.ndarray, spans: list[tuple[int, int]]) -> float:
    """Return the samples per second of the longest stretch by its time stamps."""
    start, stop = max(spans, key=lambda span: span[1] - span[0])
    seconds = float(times[stop - 1] - times[start])
    return (stop - start - 1) / seconds if seconds > 0 else float("inf")


def _mapped(samples: np.ndarray) -> np.ndarray:
    """Return samples of shape (n_times, n_chans) as float32 in a file that is gone when the array is dropped."""
    with tempfile.TemporaryFile(prefix="cerebeam-xdf-") as file:
        mapped = np.memmap(file, dtype=np.float32, mode="w+", shape=np.shape(samples))
        mapped[:] = samples
        return mapped.T


def _same(matrix: np.ndarray) -> np.ndarray:
    return matrix


def _markers(streams: list[dict[str, Any]], begin: float) -> tuple[Annotation, ...]:
    """Return all strings of streams without a rate, in seconds since the first sample of the EEG, in order of time."""
    markers = [
        Annotation(float(time) - begin, 0.0, str(values[0]))
        for stream in streams
        if _first(stream["info"], "channel_format") == "string"
        for time, values in zip(stream["time_stamps"], stream["time_series"], strict=True)
        if len(values) and np.isfinite(time)
    ]
    return tuple(sorted(markers, key=lambda marker: marker.onset_s))
