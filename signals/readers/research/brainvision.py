"""BrainVision: a text header (.vhdr), samples (.eeg) and markers (.vmrk).

Follows the BrainVision Core Data Format 1.0 (Brain Products, 2019). Files of older software lack the code page and
the units; those are read as latin-1 and µV, as the older header says.
"""

import re
from collections.abc import Callable
from datetime import datetime
from functools import partial
from pathlib import Path

import numpy as np

from signals.readers.channels.units import channel_notes, scaling_of
from signals.readers.edf.edf_header import decode
from signals.readers.matrix import Matrix, cut_segments, matrix_reader, onset_of_sample
from signals.recording.details import Details
from signals.recording.recording import Annotation, Recording, Segment, UnreadableError

BRAINVISION_MAGIC = re.compile(rb"(\xef\xbb\xbf)?\s*Brain ?Vision( Data Exchange)? Header File")
_DTYPES = {"INT_16": "<i2", "IEEE_FLOAT_32": "<f4"}
Sections = dict[str, dict[str, str]]


def open_brainvision(path: Path) -> Recording:
    """Return the recording that a .vhdr header describes; pauses ("New Segment" markers) cut it into segments.

    Raises UnreadableError: "missing_file" for a missing .eeg, "unsupported_format" for text data or other binary
    formats, "corrupt_header", "no_samples".
    """
    sections = parse_sections(path.read_bytes())
    common = sections.get("common infos", {})
    n_chans, sfreq = _positive(common, "numberofchannels"), 1e6 / _positive(common, "samplinginterval")
    fields = [_channel_fields(sections, i + 1) for i in range(int(n_chans))]
    scalings = [scaling_of(name, unit) for name, _, _, unit in fields]
    load, n_times = _samples(path, sections, int(n_chans))
    markers = _markers(path, common)
    starts, segments = cut_segments(n_times, sfreq, _pauses(markers, sfreq))
    factors = tuple(s.factor * resolution for s, (_, _, resolution, _) in zip(scalings, fields, strict=True))
    ch_names = tuple(name for name, _, _, _ in fields)
    references = {reference for _, reference, _, _ in fields}
    return Recording(
        uri=str(path),
        reader="brainvision",
        ch_names=ch_names,
        sensor_types=tuple(scaling.sensor_type for scaling in scalings),
        sfreqs=(sfreq,) * int(n_chans),
        segments=tuple(segments),
        read_samples=matrix_reader(Matrix(load, factors, tuple(starts))),
        annotations=_annotations(markers, sfreq, starts, segments),
        reference=references.pop() if len(references) == 1 else "",
        details=Details(start_hour=_start_hour(markers)),
        units=tuple(unit for _, _, _, unit in fields),
        notes=(*channel_notes(ch_names, scalings), *(["gaps"] * (len(segments) > 1))),
    )


def brainvision_files(path: Path) -> tuple[Path, ...]:
    """Return the header and those of its side files that exist."""
    common = parse_sections(path.read_bytes()).get("common infos", {})
    sides = (_side_file(path, common, key, suffix) for key, suffix in (("datafile", ".eeg"), ("markerfile", ".vmrk")))
    return (path, *(side for side in sides if side is not None))


def parse_sections(octets: bytes) -> Sections:
    """Return {section: {key: value}} of a header or marker file, both lower-cased, without the free-text comment."""
    sections: Sections = {}
    current: dict[str, str] = {}
    for line in decode(octets.removeprefix(b"\xef\xbb\xbf")).splitlines():
        line = line.strip()
        if line.startswith("[") and line.endswith("]"):
            current = sections.setdefault(line[1:-1].strip().lower(), {})
        elif "=" in line and not line.startswith(";"):
            key, _, value = line.partition("=")
            current.setdefault(key.strip().lower(), value.strip())
    sections.pop("comment", None)
    return sections


def _positive(common: dict[str, str], key: str) -> float:
    try:
        value = float(common[key])
    except (KeyError, ValueError) as error:
        raise UnreadableError("corrupt_header", f"{key} is missing or not a number") from error
    if not 0 < value < 1e9 or (key == "numberofchannels" and not value.is_integer()):
        raise UnreadableError("corrupt_header", f"{key}={common[key]}")
    return value


def _channel_fields(sections: Sections, number: int) -> tuple[str, str, float, str]:
    """Return name, reference, resolution and unit of a channel; the omitted ones are "", 1 and µV by the format."""
    value = sections.get("channel infos", {}).get(f"ch{number}")
    if value is None:
        raise UnreadableError("corrupt_header", f"channel {number} is not described")
    name, reference, resolution, unit = (field.replace("\\1", ",").strip() for field in f"{value},,,".split(",")[:4])
    try:
        return name, reference, float(resolution or 1.0), unit or "µV"
    except ValueError as error:
        raise UnreadableError("corrupt_header", f"resolution {resolution!r} of channel {number}") from error


def _side_file(path: Path, common: dict[str, str], key: str, suffix: str) -> Path | None:
    """Return the side file named in the header, or, after a renaming, the one beside it named as the header."""
    named = common.get(key, "").replace("$b", path.stem).replace("\\", "/").split("/")[-1]
    candidates = [path.with_name(named)] if named else []
    return next((side for side in (*candidates, path.with_suffix(suffix)) if side.is_file()), None)


def _samples(path: Path, sections: Sections, n_chans: int) -> tuple[Callable[[], np.ndarray], int]:
    common = sections.get("common infos", {})
    binary = sections.get("binary infos", {}).get("binaryformat", "").upper()
    if common.get("dataformat", "BINARY").upper() != "BINARY" or binary not in _DTYPES:
        raise UnreadableError("unsupported_format", f"{common.get('dataformat')} {binary or 'without binary format'}")
    data = _side_file(path, common, "datafile", ".eeg")
    if data is None:
        raise UnreadableError("missing_file", "the data file that the header names is not beside it")
    n_times = data.stat().st_size // (np.dtype(_DTYPES[binary]).itemsize * n_chans)
    if n_times == 0:
        raise UnreadableError("no_samples", f"{data.stat().st_size} bytes of {n_chans} channels")
    is_vectorized = common.get("dataorientation", "MULTIPLEXED").upper() == "VECTORIZED"
    return partial(_map, str(data), _DTYPES[binary], n_chans, n_times, is_vectorized), n_times


def _map(path: str, dtype: str, n_chans: int, n_times: int, is_vectorized: bool) -> np.ndarray:
    if is_vectorized:
        return np.memmap(path, dtype=dtype, mode="r", shape=(n_chans, n_times))
    return np.memmap(path, dtype=dtype, mode="r", shape=(n_times, n_chans)).T


def _markers(path: Path, common: dict[str, str]) -> list[list[str]]:
    """Return the fields of each marker: type, description, position, size, channel, date; broken ones are skipped."""
    side = _side_file(path, common, "markerfile", ".vmrk")
    if side is None:
        return []
    entries = parse_sections(side.read_bytes()).get("marker infos", {})
    rows = [f"{value},,,,,".split(",")[:6] for key, value in entries.items() if re.fullmatch(r"mk\d+", key)]
    return [row for row in rows if row[2].strip().isdecimal() and int(row[2]) >= 1]


def _pauses(markers: list[list[str]], sfreq: float) -> list[tuple[int, float]]:
    """Return (first sample, seconds lost before it) of each new segment; lost time comes from the dates, if given."""
    pauses: list[tuple[int, float]] = []
    last: tuple[int, datetime | None] | None = None
    for row in sorted((row for row in markers if row[0] == "New Segment"), key=lambda row: int(row[2])):
        sample, date = int(row[2]) - 1, _date(row[5])
        lost = 0.0
        if last is not None and last[1] is not None and date is not None:
            lost = (date - last[1]).total_seconds() - (sample - last[0]) / sfreq
        pauses.append((sample, lost))
        last = (sample, date)
    return pauses


def _start_hour(markers: list[list[str]]) -> int | None:
    """Return the hour of the first sample's date; midnight to the second counts as no time."""
    dates = [_date(row[5]) for row in markers if row[0] == "New Segment" and int(row[2]) == 1]
    known = [date for date in dates if date is not None and (date.hour, date.minute, date.second) != (0, 0, 0)]
    return known[0].hour if known else None


def _date(text: str) -> datetime | None:
    try:
        return datetime.strptime(text.strip(), "%Y%m%d%H%M%S%f")
    except ValueError:
        return None


def _annotations(
    markers: list[list[str]], sfreq: float, starts: list[int], segments: list[Segment]
) -> tuple[Annotation, ...]:
    found = []
    for kind, description, position, size, *_ in markers:
        if kind != "New Segment":
            duration_s = int(size) / sfreq if size.strip().isdecimal() else 0.0
            onset_s = onset_of_sample(int(position) - 1, sfreq, starts, segments)
            found.append(Annotation(onset_s, duration_s, f"{kind}/{description}".replace("\\1", ",")))
    return tuple(found)
