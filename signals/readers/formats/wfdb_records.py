"""WFDB records (PhysioNet): a text header (.hea) and samples in one or several files, read by range through wfdb.

Null segments of multi-segment records are gaps; signals that a segment of variable layout does not hold are NaN there.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from signals.readers.channels.units import Scaling, channel_notes, scaling_of
from signals.readers.formats.wfdb_notes import check_length, header_details, header_label, record_annotations
from signals.readers.isolated import require
from signals.readers.numbers import finite, whole
from signals.recording.recording import Recording, Segment, UnreadableError

WFDB_MAGIC = re.compile(rb"\A(#.*\r?\n|\s*\r?\n)*[\w.~-]+(/\d+)?[ \t]+\d+([ \t]|\r?\n|\Z)")
"""A record line: name, perhaps a number of segments, number of signals."""
_LEADS = re.compile(r"(ml)?(i|ii|iii)|a?v[rlf]|v\d{1,2}r?|m?v[1-9]|ecg\d*|ekg\d*", re.IGNORECASE)
"""Names of electrocardiographic leads, which no rule on EEG labels knows."""
_FREQUENCY = re.compile(r"\d*\.?\d+([eE][-+]?\d+)?(/|\(|$)")
_NULL = "~"
_BITS = {"8": 8, "16": 16, "24": 24, "32": 32, "61": 16, "80": 8, "160": 16, "212": 12}
"""Bits of a sample in the formats whose files have a length that follows from it."""
_HELD = 1_000_000
"""Samples of all signals up to which a record is read once and held: wfdb parses the header anew whenever it reads,
which costs more than the samples of a short record, and a plan looks at one several times."""


def open_wfdb(path: Path) -> Recording:
    """Return the record that a .hea file describes, in µV (ECG leads: mV), each signal at its own rate.

    Raises UnreadableError: "missing_file" for a sample file that is not there, "unsupported_format" for records without
    signals or with files elsewhere, "corrupt_header", "no_samples".
    """
    require("wfdb", "wfdb", "WFDB")
    import wfdb

    _check_record_line(path)
    name = _record_name(path, path.stat().st_mtime_ns)
    header = wfdb.rdheader(name, rd_segments=True)
    described = _described(header)
    parts = _parts(header)
    _refuse_elsewhere(parts, path)
    lengths = check_length(path, [file for part in parts for file in _sample_files(part)])
    if not described.n_sig:
        raise UnreadableError("unsupported_format", "a WFDB header without signals")
    frame_hz = finite(header.fs, "the sampling frequency", above=0)
    ch_names = tuple(str(label or "").strip() for label in described.sig_name)
    per_frame = _per_frame(header, described)
    scalings = [_scaling(label, str(unit or "")) for label, unit in zip(ch_names, described.units, strict=True)]
    stretches = _stretches(header, name)
    _check_first_samples(name, header)
    source = _Source(name, np.array([s.factor for s in scalings]), tuple(per_frame), tuple(stretches))
    return Recording(
        uri=str(path),
        reader="wfdb",
        ch_names=ch_names,
        sensor_types=tuple(scaling.sensor_type for scaling in scalings),
        sfreqs=tuple(frame_hz * n for n in per_frame),
        segments=tuple(Segment(start / frame_hz, (stop - start) / frame_hz) for start, stop in stretches),
        read_samples=source if source.n_values > _HELD else source.from_held,
        units=tuple(str(unit or "") for unit in described.units),
        annotations=record_annotations(path, frame_hz),
        label=header_label(header.comments or ()),
        details=header_details(header.comments or ()),
        notes=(*channel_notes(ch_names, scalings), *(["gaps"] * (len(stretches) > 1)), *lengths),
    )


@cache
def _repaired(path: Path, mtime_ns: int) -> tuple[TemporaryDirectory[str], str]:
    """Return a folder with links to a record's files and a header that is named by its own rules, and its name there.

    Headers of the first challenges call the record by its sample file ("E00015.mat"), which wfdb refuses. The folder
    lives as long as this process, for samples are read from it.
    """
    folder = TemporaryDirectory(prefix="cerebeam-wfdb-")
    lines = path.read_bytes().decode("latin-1").splitlines()
    first = next(i for i, line in enumerate(lines) if line.strip() and not line.lstrip().startswith("#"))
    lines[first] = " ".join(["record", *lines[first].split()[1:]])
    Path(folder.name, "record.hea").write_bytes("\n".join([*lines, ""]).encode("latin-1"))
    for file in wfdb_files(path)[1:]:
        Path(folder.name, file.name).symlink_to(file.resolve())
    return folder, str(Path(folder.name, "record"))


def _check_record_line(path: Path) -> None:
    """Raise UnreadableError for a sampling frequency that is no positive number: wfdb would take 250 Hz for it."""
    fields = next(iter(_lines(path.read_bytes())), "").split()
    if len(fields) > 2 and not _FREQUENCY.match(fields[2]):
        raise UnreadableError("corrupt_header", "the sampling frequency is no positive number")


def _record_name(path: Path, mtime_ns: int) -> str:
    """Return what wfdb calls the record: its path without suffix, or that of a repaired header."""
    lines = _lines(path.read_bytes())
    if lines and re.fullmatch(r"[\w-]+\.\w+", lines[0].split()[0]):
        return _repaired(path.resolve(), mtime_ns)[1]
    return str(path.with_suffix(""))


def _parts(header: Any) -> list[Any]:
    """Return the headers that describe samples: of several segments each that is there."""
    return [part for part in getattr(header, "segments", None) or [header] if part is not None]


def _sample_files(part: Any) -> list[tuple[str, int, int, int]]:
    """Return (file, bits a frame, frames, offset) of each file whose length follows from its header."""
    files: dict[str, list[int]] = {}
    for row, (name, form) in enumerate(zip(part.file_name or (), part.fmt or (), strict=False)):
        bits = _BITS.get(str(form))
        if name == _NULL or bits is None or not part.sig_len:
            return []
        per_frame = (part.samps_per_frame or [1] * part.n_sig)[row] or 1
        files.setdefault(name, [0, (part.byte_offset or [0] * part.n_sig)[row] or 0])[0] += bits * per_frame
    return [(name, bits, int(part.sig_len), offset) for name, (bits, offset) in files.items()]


def _check_first_samples(name: str, header: Any) -> None:
    """Raise UnreadableError where the first sample of most signals is not what the header gives: it lies about the
    format, the number of signals or where they begin. Headers that give none, or 0 throughout, are believed."""
    import wfdb

    given = getattr(header, "init_value", None)
    if getattr(header, "segments", None) or not given or not any(given) or None in given:
        return
    record = wfdb.rdrecord(name, sampto=1, physical=False, smooth_frames=False)
    first = [int(signal[0]) for signal in record.e_d_signal]
    n_wrong = sum(a != b for a, b in zip(first, given, strict=True))
    if 2 * n_wrong > len(first):
        raise UnreadableError(
            "corrupt_header", f"the first sample of {n_wrong} of {len(first)} signals is not what the header gives"
        )


def wfdb_files(path: Path) -> tuple[Path, ...]:
    """Return the header and all files that it names and that exist, each once, in order of their names.

    Names are taken from the text itself, so that a record's digest needs no library.
    """
    named = [path.with_name(name) for name in wfdb_names(path.read_bytes())]
    there = [file for file in named if file.is_file() and file != path]
    return (path, *(each for file in there for each in (wfdb_files(file) if file.suffix == ".hea" else (file,))))


def wfdb_names(header: bytes) -> tuple[str, ...]:
    """Return the files beside a header that it names, sorted: sample files, or the headers of a record's segments."""
    lines = [line.split() for line in _lines(header)]
    names = sorted({line[0] for line in lines[1:] if line[0] != _NULL})
    return tuple(f"{name}.hea" for name in names) if lines and "/" in lines[0][0] else tuple(names)


def _lines(header: bytes) -> list[str]:
    text = header.decode("latin-1")
    return [line for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#")]


def _described(header: Any) -> Any:
    """Return the header that describes the signals: of several segments, the layout's or the first that is there."""
    if not getattr(header, "segments", None):
        return header
    described = next((segment for segment in header.segments if segment is not None and segment.n_sig), None)
    if described is None:
        raise UnreadableError("no_samples", "nothing but null segments")
    return described


def _refuse_elsewhere(parts: Sequence[Any], path: Path) -> None:
    """Raise UnreadableError where samples lie in another folder, or are not there."""
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


def _stretches(header: Any, name: str) -> list[tuple[int, int]]:
    """Return [start, stop) in frames of each stretch between null segments."""
    if not getattr(header, "segments", None):
        import wfdb

        n_frames = header.sig_len
        if n_frames is None:  # the header may leave it to the file's size
            n_frames = wfdb.rdrecord(name, channels=[0]).sig_len
        if not n_frames:
            raise UnreadableError("no_samples", "a record of no samples")
        return [(0, int(n_frames))]
    stretches: list[tuple[int, int]] = []
    at = 0
    for segment, length in zip(header.seg_name, header.seg_len, strict=True):
        if segment != _NULL and length:
            joined = bool(stretches) and stretches[-1][1] == at
            stretches = (
                [*stretches[:-1], (stretches[-1][0], at + length)] if joined else [*stretches, (at, at + length)]
            )
        at += length
    if not stretches:
        raise UnreadableError("no_samples", "nothing but null segments")
    return stretches


@dataclass(frozen=True, eq=False)
class _Source:
    """Samples of an open record."""

    name: str
    factors: np.ndarray
    """To µV, or mV of leads."""
    per_frame: Sequence[int]
    """Samples of each signal."""
    stretches: Sequence[tuple[int, int]]
    """Frames of each segment."""

    @property
    def n_values(self) -> int:
        """Samples of all signals together."""
        return sum(stop - start for start, stop in self.stretches) * sum(self.per_frame)

    def __call__(self, picks: Sequence[int], segment: int, start: int, stop: int) -> np.ndarray:
        """Return a range of a segment, float32, shape (n_picks, stop - start)."""
        if stop == start:
            return np.empty((len(picks), 0), dtype=np.float32)
        n, first = self.per_frame[picks[0]], self.stretches[segment][0]
        begin, end = start // n, -(-stop // n)
        # wfdb gives the channels of a list in the file's order.
        order = sorted(set(picks))
        rows = self._rows(order, first + begin, first + end)
        physical = np.array([rows[order.index(pick)] for pick in picks], dtype=np.float64)
        part = physical[:, start - begin * n : stop - begin * n]
        return (part * self.factors[list(picks), None]).astype(np.float32)

    def from_held(self, picks: Sequence[int], segment: int, start: int, stop: int) -> np.ndarray:
        """Return what a call returns, of a record that is read whole the first time."""
        held = self._held[segment]
        return np.array([held[pick][start:stop] for pick in picks], dtype=np.float32).reshape(len(picks), -1)

    @cached_property
    def _held(self) -> list[list[np.ndarray]]:
        """Each signal of each segment, float32."""
        whole: list[list[np.ndarray]] = []
        for first, last in self.stretches:
            rows = self._rows(range(len(self.per_frame)), first, last)
            whole.append([(row * factor).astype(np.float32) for row, factor in zip(rows, self.factors, strict=True)])
        return whole

    def _rows(self, channels: Sequence[int], first: int, last: int) -> Sequence[np.ndarray]:
        """Return the physical samples of channels, in their order, between two frames."""
        import wfdb

        one_rate = set(self.per_frame) == {1}
        record = wfdb.rdrecord(
            self.name, sampfrom=first, sampto=last, channels=list(channels), physical=True, smooth_frames=one_rate,
            force_channels=True,
        )  # fmt: skip
        rows: Sequence[np.ndarray] = record.p_signal.T if one_rate else record.e_p_signal
        return rows
