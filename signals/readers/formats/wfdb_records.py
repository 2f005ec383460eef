"""WFDB records (PhysioNet): a text header (.hea) and samples in one or several files, read by range through wfdb.

Null segments of multi-segment records are gaps; signals that a segment of variable layout does not hold are NaN there.
"""

import re
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from signals.readers.channels.units import Scaling, channel_notes, scaling_of
from signals.readers.isolated import require
from signals.readers.numbers import finite, whole
from signals.recording.recording import Recording, Segment, UnreadableError

WFDB_MAGIC = re.compile(rb"\A(#.*\r?\n|\s*\r?\n)*[\w.~-]+(/\d+)?[ \t]+\d+([ \t]|\r?\n|\Z)")
"""A record line: name, perhaps a number of segments, number of signals."""
_LEADS = re.compile(r"(ml)?(i|ii|iii)|a?v[rlf]|v\d{1,2}r?|m?v[1-9]|ecg\d*|ekg\d*", re.IGNORECASE)
"""Names of electrocardiographic leads, which no rule on EEG labels knows."""
_NULL = "~"


def open_wfdb(path: Path) -> Recording:
    """Return the record that a .hea file describes, in µV (ECG leads: mV), each signal at its own rate.

    Raises UnreadableError: "missing_file" for a sample file that is not there, "unsupported_format" for records without
    signals or with files elsewhere, "corrupt_header", "no_samples".
    """
    require("wfdb", "wfdb", "WFDB")
    import wfdb

    name = str(path.with_suffix(""))
    header = wfdb.rdheader(name, rd_segments=True)
    described = _described(header)
    _refuse_elsewhere(header, path)
    if not described.n_sig:
        raise UnreadableError("unsupported_format", "a WFDB header without signals")
    frame_hz = finite(header.fs, "the sampling frequency", above=0)
    ch_names = tuple(str(label or "").strip() for label in described.sig_name)
    per_frame = _per_frame(header, described)
    scalings = [_scaling(label, str(unit or "")) for label, unit in zip(ch_names, described.units, strict=True)]
    stretches = _stretches(header, path)
    source = partial(_read, name, np.array([s.factor for s in scalings]), tuple(per_frame), tuple(stretches))
    return Recording(
        uri=str(path),
        reader="wfdb",
        ch_names=ch_names,
        sensor_types=tuple(scaling.sensor_type for scaling in scalings),
        sfreqs=tuple(frame_hz * n for n in per_frame),
        segments=tuple(Segment(start / frame_hz, (stop - start) / frame_hz) for start, stop in stretches),
        read_samples=source,
        units=tuple(str(unit or "") for unit in described.units),
        notes=(*channel_notes(ch_names, scalings), *(["gaps"] * (len(stretches) > 1))),
    )


def wfdb_files(path: Path) -> tuple[Path, ...]:
    """Return the header and all files that it names and that exist, each once, in order of their names.

    Names are taken from the text itself, so that a record's digest needs no library.
    """
    lines = [line.split() for line in _lines(path)]
    names = {line[0] for line in lines[1:] if line and line[0] != _NULL}
    if lines and "/" in lines[0][0]:
        headers = [path.with_name(f"{name}.hea") for name in sorted(names)]
        return (path, *(file for header in headers if header.is_file() for file in wfdb_files(header)))
    return (path, *(path.with_name(name) for name in sorted(names) if path.with_name(name).is_file()))


def _lines(path: Path) -> list[str]:
    text = path.read_bytes().decode("latin-1")
    return [line for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#")]


def _described(header: Any) -> Any:
    """Return the header that describes the signals: of several segments, the layout's or the first that is there."""
    if not getattr(header, "segments", None):
        return header
    described = next((segment for segment in header.segments if segment is not None and segment.n_sig), None)
    if described is None:
        raise UnreadableError("no_samples", "nothing but null segments")
    return described


def _refuse_elsewhere(header: Any, path: Path) -> None:
    """Raise UnreadableError where samples lie in another folder, or are not there."""
    parts = [part for part in getattr(header, "segments", None) or [header] if part is not None]
    for name in {str(name) for part in parts for name in part.file_name or ()} - {_NULL}:
        if Path(name).name != name:
            raise UnreadableError("unsupported_format", "a header that names files in another folder")
        if not path.with_name(name).is_file():
            raise UnreadableError("missing_file", "a sample file that the header names is not beside it")


def _per_frame(header: Any, described: Any) -> list[int]:
    """Return the samples per frame of each signal. Raises UnreadableError for several rates in several segments."""
    per_frame = [whole(n or 1, "samples per frame") for n in described.samps_per_frame or [1] * described.n_sig]
    if header is not described and set(per_frame) != {1}:
        raise UnreadableError("unsupported_format", "a record of several segments and several rates")
    return per_frame


def _scaling(label: str, unit: str) -> Scaling:
    return scaling_of(label, unit, sensor_type="ecg" if _LEADS.fullmatch(label) else None)


def _stretches(header: Any, path: Path) -> list[tuple[int, int]]:
    """Return [start, stop) in frames of each stretch between null segments."""
    if not getattr(header, "segments", None):
        import wfdb

        n_frames = header.sig_len
        if n_frames is None:  # the header may leave it to the file's size
            n_frames = wfdb.rdrecord(str(path.with_suffix("")), channels=[0]).sig_len
        if not n_frames:
            raise UnreadableError("no_samples", "a record of no samples")
        return [(0, int(n_frames))]
    stretches: list[tuple[int, int]] = []
    at = 0
    for name, length in zip(header.seg_name, header.seg_len, strict=True):
        if name != _NULL and length:
            joined = bool(stretches) and stretches[-1][1] == at
            stretches = (
                [*stretches[:-1], (stretches[-1][0], at + length)] if joined else [*stretches, (at, at + length)]
            )
        at += length
    if not stretches:
        raise UnreadableError("no_samples", "nothing but null segments")
    return stretches


def _read(
    name: str, factors: np.ndarray, per_frame: Sequence[int], stretches: Sequence[tuple[int, int]],
    picks: Sequence[int], segment: int, start: int, stop: int,
) -> np.ndarray:  # fmt: skip
    import wfdb

    n, first = per_frame[picks[0]], stretches[segment][0]
    if stop == start:
        return np.empty((len(picks), 0), dtype=np.float32)
    begin, end = start // n, -(-stop // n)
    one_rate = set(per_frame) == {1}
    # wfdb gives the channels of a list in the file's order.
    order = sorted(set(picks))
    record = wfdb.rdrecord(
        name, sampfrom=first + begin, sampto=first + end, channels=order, physical=True, smooth_frames=one_rate,
        force_channels=True,
    )  # fmt: skip
    rows = record.p_signal.T if one_rate else record.e_p_signal
    physical = np.array([rows[order.index(pick)] for pick in picks], dtype=np.float64)
    return (physical[:, start - begin * n : stop - begin * n] * factors[list(picks), None]).astype(np.float32)
