"""Persyst: a text header (.lay) and interleaved samples (.dat).

The header's [SampleTimes] give the clock of some samples; where the clock runs ahead of the samples, recording paused.
Checked against `mne.io.read_raw_persyst`, which takes no note of pauses.
"""

import re
from functools import partial
from itertools import pairwise
from pathlib import Path

import numpy as np

from signals.readers.channels.units import channel_notes, scaling_of
from signals.readers.edf.edf_header import decode
from signals.readers.matrix import Matrix, cut_segments, matrix_reader
from signals.readers.numbers import finite
from signals.recording.recording import Annotation, Recording, UnreadableError

PERSYST_MAGIC = re.compile(rb"\A(\xef\xbb\xbf)?\s*\[FileInfo\]", re.IGNORECASE)
_DTYPES = {"0": "<i2", "7": "<i4"}
_DRIFT_S = 0.5
"""Clocks drift: a smaller jump between two sample times is no pause."""
_DAY_S = 86400.0
_WHO = ("id", "medicalrecordn", "medicalrecordnumber", "fullname", "last", "first")
Section = list[tuple[str, str]]


def open_persyst(path: Path) -> Recording:
    """Return the recording that a .lay header describes, in µV; comments are annotations, pauses cut it into segments.

    Raises UnreadableError: "missing_file" for a missing .dat, "unsupported_format" for another arrangement or data
    type, "corrupt_header", "no_samples".
    """
    sections = _sections(path.read_bytes())
    info = {key.lower(): value for key, value in sections.get("fileinfo", [])}
    sfreq = finite(info.get("samplingrate"), "SamplingRate", above=0)
    calibration = finite(info.get("calibration"), "Calibration", above=0)
    ch_names, rows = _channels(sections.get("channelmap", []), info)
    data, offset, n_times = _extent(path, info, len(rows))
    scalings = [scaling_of(name, "µV") for name in ch_names]
    starts, segments = cut_segments(n_times, sfreq, _pauses(sections.get("sampletimes", []), sfreq))
    load = partial(_map, str(data), _DTYPES[info["datatype"]], offset, n_times, tuple(rows))
    patient = {key.lower(): value for key, value in sections.get("patient", [])}
    return Recording(
        uri=str(path),
        reader="persyst",
        ch_names=ch_names,
        sensor_types=tuple(scaling.sensor_type for scaling in scalings),
        sfreqs=(sfreq,) * len(ch_names),
        segments=tuple(segments),
        read_samples=matrix_reader(Matrix(load, tuple(s.factor * calibration for s in scalings), tuple(starts))),
        annotations=_comments(sections.get("comments", [])),
        patient=" ".join(patient[key] for key in _WHO if patient.get(key)),
        notes=(*channel_notes(ch_names, scalings), *(["gaps"] * (len(segments) > 1))),
    )


def persyst_files(path: Path) -> tuple[Path, ...]:
    """Return the header and its .dat, if that exists."""
    info = {key.lower(): value for key, value in _sections(path.read_bytes()).get("fileinfo", [])}
    data = _data_file(path, info)
    return (path,) if data is None else (path, data)


def _sections(octets: bytes) -> dict[str, Section]:
    """Return {section: [(key, value)]} in order; section names are lower-cased, comments keep "1.5,0,0,100,text"."""
    sections: dict[str, Section] = {}
    current: Section = []
    for line in decode(octets.removeprefix(b"\xef\xbb\xbf")).splitlines():
        line = line.strip()
        if line.startswith("[") and line.endswith("]"):
            current = sections.setdefault(line[1:-1].strip().lower(), [])
        elif line:
            key, _, value = line.rpartition("=") if line[0] != "=" else ("", "", line[1:])
            current.append((key.strip() or value.strip(), value.strip()))
    return sections


def _channels(section: Section, info: dict[str, str]) -> tuple[tuple[str, ...], list[int]]:
    """Return labels in order of the file, and the row of each among the interleaved channels."""
    numbered = [(finite(number, "a channel's number", above=0), name) for name, number in section]
    if not numbered or len(numbered) != finite(info.get("waveformcount"), "WaveformCount", above=0):
        raise UnreadableError(
            "corrupt_header", f"{len(numbered)} channels in the map, {info.get('waveformcount')} in all"
        )
    rows = [int(number) - 1 for number, _ in numbered]
    if sorted(rows) != list(range(len(rows))):
        raise UnreadableError("corrupt_header", f"the numbers of {len(rows)} channels are not 1 to {len(rows)}")
    return tuple(name for _, name in numbered), rows


def _data_file(path: Path, info: dict[str, str]) -> Path | None:
    """Return the data file as named, or, after a renaming, the one named as the header."""
    named = info.get("file", "").replace("\\", "/").split("/")[-1]
    candidates = [*([path.with_name(named)] if named else []), path.with_suffix(".dat"), path.with_suffix(".DAT")]
    return next((side for side in candidates if side.is_file() and side != path), None)


def _extent(path: Path, info: dict[str, str], n_chans: int) -> tuple[Path, int, int]:
    """Return the data file, the bytes of its own header, and the number of whole samples."""
    if info.get("filetype", "interleaved").lower() != "interleaved" or info.get("datatype") not in _DTYPES:
        raise UnreadableError("unsupported_format", "Persyst data that are not interleaved 16 or 32 bit integers")
    data = _data_file(path, info)
    if data is None:
        raise UnreadableError("missing_file", "the .dat that the header names is not beside it")
    offset = int(finite(info.get("headerlength", "0"), "HeaderLength", above=-1))
    n_times = (data.stat().st_size - offset) // (n_chans * np.dtype(_DTYPES[info["datatype"]]).itemsize)
    if n_times < 1:
        raise UnreadableError("no_samples", f"{data.stat().st_size} bytes of {n_chans} channels")
    return data, offset, n_times


def _map(path: str, dtype: str, offset: int, n_times: int, rows: tuple[int, ...]) -> np.ndarray:
    whole = np.memmap(path, dtype=dtype, mode="r", offset=offset, shape=(n_times, len(rows))).T
    return whole if rows == tuple(range(len(rows))) else whole[list(rows)]


def _pauses(section: Section, sfreq: float) -> list[tuple[int, float]]:
    """Return (first sample after it, seconds lost) of each jump of the clock against the samples."""
    times = sorted((int(finite(sample, "a sample's number", above=-1)), finite(clock, "a sample's clock", above=-1))
                   for sample, clock in section)  # fmt: skip
    pauses = []
    for (before, earlier_s), (at, later_s) in pairwise(times):
        lost_s = (later_s - earlier_s) % _DAY_S - (at - before) / sfreq
        if lost_s > _DRIFT_S:
            pauses.append((at, lost_s))
    return pauses


def _comments(section: Section) -> tuple[Annotation, ...]:
    """Return the comments ("onset,duration,0,100,text"); lines of another form are skipped."""
    annotations = []
    for key, value in section:
        line = key if key == value else f"{key}={value}"
        fields = line.split(",", 4)
        try:
            onset_s, duration_s = float(fields[0]), float(fields[1])
        except (ValueError, IndexError):
            continue
        if len(fields) == 5 and np.isfinite([onset_s, duration_s]).all():
            annotations.append(Annotation(onset_s, max(duration_s, 0.0), fields[4].strip()))
    return tuple(annotations)
