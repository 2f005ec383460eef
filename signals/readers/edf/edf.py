"""EDF, EDF+C, EDF+D, BDF and BDF+ by range.

Follows the specifications at https://www.edfplus.info (Kemp et al. 1992; Kemp and Olivan 2003) and BioSemi's 24-bit
variant. Only the requested data records are read, in parts of a megabyte, and the file is opened for each read, so that
no handle stays open. Calibration is computed in float64 and rounded once, to float32.

Time zero of a `Recording` is its first sample: an EDF+ file that starts within a second has its annotations shifted.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from io import RawIOBase
from itertools import pairwise
from pathlib import Path

import numpy as np

from signals.readers.channels.units import Scaling, channel_notes, scaling_of
from signals.readers.edf.edf_annotations import parse_records
from signals.readers.edf.edf_header import Channel, Header, read_header
from signals.readers.edf.edf_tail import Tail, TailChannel, samples_left, with_tail
from signals.recording.recording import (
    Annotation,
    ReadSamples,
    Recording,
    RecordingHeader,
    Segment,
    UnreadableError,
)

ONSET_TOLERANCE_S = 1e-3
"""Record onsets are decimal text; a jump of at most this (or half a sample) is no gap."""
DRIFT_TOLERANCE_S = 10e-3
"""How far a segment's clock may drift from the nominal rate, in jumps too small to be gaps, before another begins.

Finer than any label; a clock that is off by 50 parts in a million, as bad ones are, leaves segments of 200 s.
"""
_PART_BYTES = 1 << 20


@dataclass(frozen=True)
class _Calibrated:
    """Where a channel lies in each data record, and what its integers mean."""

    offset: int
    """Samples of other channels before it in a record."""
    n_samples: int
    gain: float
    intercept: float


@dataclass(frozen=True)
class _Layout:
    """All that reading samples needs."""

    path: str
    header_bytes: int
    sample_bytes: int
    n_records: int
    record_samples: int
    channels: tuple[_Calibrated, ...]
    first_records: tuple[int, ...]
    """First data record of each segment."""


def open_edf(path: Path) -> Recording:
    """Return the recording in an EDF or BDF file of any kind.

    Raises UnreadableError: "corrupt_header", "no_samples", "not_what_it_says" or "missing_file".
    """
    header = read_header(path)
    channels = _usable(header)
    record_onsets, annotations = _read_annotations(path, header)
    first_records, segments = _find_segments(header, record_onsets, [ch.n_samples for ch in channels])
    return _recording(path, header, first_records, segments, annotations)


def reopen_edf(path: Path, known: RecordingHeader) -> Recording:
    """Return the same as `open_edf` without annotations, from the header alone: no data record is looked at."""
    header = read_header(path)
    if not header.is_discontinuous:
        return _recording(path, header, *_find_segments(header, np.zeros(0), []), [])
    lengths = [round(segment.duration_s / header.record_s) for segment in known.segments]
    first_records = [sum(lengths[:index]) for index in range(len(lengths))]
    return _recording(path, header, first_records, list(known.segments), [])


def _usable(header: Header) -> list[Channel]:
    channels = [ch for ch in header.channels if not ch.is_annotations]
    if not channels:
        raise UnreadableError("no_samples", "the file holds annotations only")
    usable = [ch for ch in channels if ch.is_usable]
    if not usable:
        raise UnreadableError("corrupt_header", f"none of {len(channels)} channels has a usable range")
    return usable


def _recording(
    path: Path, header: Header, first_records: list[int], segments: list[Segment], annotations: list[Annotation]
) -> Recording:
    channels = _usable(header)
    scalings = [scaling_of(ch.label, ch.unit) for ch in channels]
    layout = _Layout(
        str(path), header.header_bytes, header.sample_bytes, header.n_records, header.record_samples,
        tuple(_calibrated(ch, scaling) for ch, scaling in zip(channels, scalings, strict=True)), tuple(first_records),
    )  # fmt: skip
    read_samples: ReadSamples = partial(_read_samples, layout)
    if header.tail_samples:
        segments, read_samples = _add_tail(header, layout, segments, read_samples)
    labels = tuple(ch.label for ch in channels)
    n_dropped = sum(not ch.is_annotations for ch in header.channels) - len(channels)
    notes = [*header.notes, *channel_notes(labels, scalings)]
    notes += ["dropped_channels"] * (n_dropped > 0) + ["gaps"] * (len(segments) > 1)
    return Recording(
        uri=str(path),
        reader="bdf" if header.sample_bytes == 3 else "edf",
        ch_names=labels,
        sensor_types=tuple(scaling.sensor_type for scaling in scalings),
        sfreqs=tuple(ch.n_samples / header.record_s for ch in channels),
        segments=tuple(segments),
        read_samples=read_samples,
        annotations=tuple(annotations),
        patient=header.patient,
        details=header.details,
        units=tuple(ch.unit for ch in channels),
        notes=tuple(notes),
    )


def _add_tail(
    header: Header, layout: _Layout, segments: list[Segment], body: ReadSamples
) -> tuple[list[Segment], ReadSamples]:
    """Return segments and reader with the cut last record: as long as its longest channel, NaN where others end."""
    last = len(segments) - 1
    n_whole = header.n_records - layout.first_records[last]
    tail_bytes = header.header_bytes + header.n_records * header.record_samples * header.sample_bytes
    left = [samples_left(header.tail_samples, ch.offset, ch.n_samples) for ch in layout.channels]
    channels = tuple(
        TailChannel(tail_bytes + ch.offset * header.sample_bytes, n, n_whole * ch.n_samples, ch.gain, ch.intercept)
        for ch, n in zip(layout.channels, left, strict=True)
    )
    longest = max(n / ch.n_samples for ch, n in zip(layout.channels, left, strict=True))
    whole = segments[last]
    segments = [*segments[:last], Segment(whole.onset_s, whole.duration_s + longest * header.record_s)]
    return segments, with_tail(Tail(layout.path, header.sample_bytes, last, channels), body)


def _calibrated(channel: Channel, scaling: Scaling) -> _Calibrated:
    gain = (channel.physical_max - channel.physical_min) / (channel.digital_max - channel.digital_min)
    intercept = channel.physical_min - channel.digital_min * gain
    return _Calibrated(channel.offset, channel.n_samples, gain * scaling.factor, intercept * scaling.factor)


def _sample_type(sample_bytes: int) -> tuple[str, int]:
    """Return NumPy's type of the numbers in a record, and how many make a sample."""
    return ("<i2", 1) if sample_bytes == 2 else ("u1", 3)


def _map_records(layout: _Layout | Header, path: str) -> np.ndarray:
    """Return a view of all records: int16 (n_records, samples), or uint8 (n_records, 3 * samples) for 24 bits."""
    dtype, width = _sample_type(layout.sample_bytes)
    shape = (layout.n_records, layout.record_samples * width)
    try:
        return np.memmap(path, dtype=dtype, mode="r", offset=layout.header_bytes, shape=shape)
    except (OSError, ValueError) as error:
        raise UnreadableError("missing_file", f"data records cannot be mapped: {error}") from error


def _read_samples(layout: _Layout, picks: Sequence[int], segment: int, start: int, stop: int) -> np.ndarray:
    n_record = layout.channels[picks[0]].n_samples  # the same for all picks, as they share a rate
    first, last = start // n_record, -(-stop // n_record)
    samples = np.empty((len(picks), last - first, n_record), dtype=np.float32)
    at = 0
    for records in _read_records(layout, layout.first_records[segment] + first, last - first):
        rows = samples[:, at : at + len(records)]
        at += len(records)
        physical = np.empty(rows.shape[1:])  # one channel's, so that both passes stay in the cache
        for row, pick in zip(rows, picks, strict=True):
            channel = layout.channels[pick]
            np.multiply(_integers(records, channel), channel.gain, out=physical)
            np.add(physical, channel.intercept, out=row, casting="same_kind")
    skip = start - first * n_record
    return samples.reshape(len(picks), -1)[:, skip : skip + stop - start]


def _read_records(layout: _Layout, first: int, n_records: int) -> Iterator[np.ndarray]:
    """Yield `n_records` from record `first` on, in parts of at most `_PART_BYTES`, as `_map_records` returns them all.

    Copying them costs less than the page faults of a map. Records longer than a part stay mapped.
    """
    dtype, width = _sample_type(layout.sample_bytes)
    n_bytes = layout.record_samples * layout.sample_bytes
    n_part = _PART_BYTES // n_bytes
    if not n_part:
        yield _map_records(layout, layout.path)[first : first + n_records].view(np.ndarray)
        return
    part = np.empty((min(n_part, n_records), layout.record_samples * width), dtype=dtype)
    try:
        with open(layout.path, "rb", buffering=0) as file:
            file.seek(layout.header_bytes + first * n_bytes)
            for at in range(0, n_records, n_part):
                records = part[: min(n_part, n_records - at)]
                _read_into(file, records)
                yield records
    except OSError as error:
        raise UnreadableError("missing_file", f"data records cannot be read: {error}") from error


def _read_into(file: RawIOBase, records: np.ndarray) -> None:
    """Fill the records from a file, which may give less than was requested at a time; raises OSError at its end."""
    left = records.data.cast("B")
    while left:
        n_bytes = file.readinto(left)
        if not n_bytes:
            raise OSError("the file ends before its last record")
        left = left[n_bytes:]


def _integers(records: np.ndarray, channel: _Calibrated) -> np.ndarray:
    """Return one channel's integers of some records, shape (n_records, n_samples)."""
    if records.dtype != np.uint8:
        return records[:, channel.offset : channel.offset + channel.n_samples]
    octets = records[:, 3 * channel.offset : 3 * (channel.offset + channel.n_samples)].reshape(
        len(records), channel.n_samples, 3
    )
    low = octets[..., 0].astype(np.int32) | (octets[..., 1].astype(np.int32) << 8)
    return np.asarray(low | (octets[..., 2].view(np.int8).astype(np.int32) << 16))


def _read_annotations(path: Path, header: Header) -> tuple[np.ndarray, list[Annotation]]:
    """Return each record's onset (NaN where it has none) and the annotations, seconds from the first sample.

    Both are empty for a file without annotation signals.
    """
    columns = [ch for ch in header.channels if ch.is_annotations and ch.n_samples]
    if not columns or not header.n_records:
        return np.zeros(0), []
    records = _map_records(header, str(path)).view(np.uint8)
    width = header.sample_bytes
    onsets, annotations = parse_records(
        [np.ascontiguousarray(records[:, ch.offset * width : (ch.offset + ch.n_samples) * width]) for ch in columns]
    )
    zero = 0.0 if np.isnan(onsets[0]) else float(onsets[0])
    return onsets - zero, [Annotation(a.onset_s - zero, a.duration_s, a.description) for a in annotations]


def _find_segments(header: Header, onsets: np.ndarray, n_samples: Sequence[int]) -> tuple[list[int], list[Segment]]:
    """Return the first record and the `Segment` of each stretch; only EDF+D and BDF+D can have more than one."""
    record_s, n_records = header.record_s, header.n_records
    if not header.is_discontinuous or not onsets.size:
        return [0], [Segment(0.0, n_records * record_s)]
    tolerance = max(ONSET_TOLERANCE_S, 0.5 * record_s / max(n_samples))
    first_records, times = [0], _record_times(onsets, record_s)
    for index in range(1, n_records):
        late_s = times[index] - times[index - 1] - record_s
        if late_s < -tolerance:
            raise UnreadableError(
                "corrupt_header", f"record {index} starts at {times[index]:g} s, before the last one ends"
            )
        first = first_records[-1]
        drift_s = times[index] - times[first] - (index - first) * record_s
        if late_s > tolerance or abs(drift_s) > max(DRIFT_TOLERANCE_S, tolerance):
            first_records.append(index)
    bounds = pairwise([*first_records, n_records])
    return first_records, [Segment(times[first], (last - first) * record_s) for first, last in bounds]


def _record_times(onsets: np.ndarray, record_s: float) -> list[float]:
    """Return the onsets with that of the first record as 0; a record without one is taken to follow on."""
    times = np.where(np.arange(onsets.size) == 0, 0.0, onsets)
    known = np.maximum.accumulate(np.where(np.isnan(times), 0, np.arange(times.size)))
    following: list[float] = (times[known] + (np.arange(times.size) - known) * record_s).tolist()
    return following
