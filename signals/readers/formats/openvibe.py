"""OpenViBE .ov: EBML chunks of several streams; the first stream of signals is read by range from an index of chunks.

OpenViBE states no unit. Identifiers are of its own EBML dialect (openvibe-toolkit, `ovtkEBML*`); times are 32.32
fixed-point seconds. Checked against an EDF export of the same recording.
"""

from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from itertools import accumulate
from mmap import ACCESS_READ, mmap
from pathlib import Path

import numpy as np

from signals.readers.channels.units import channel_notes, scaling_of
from signals.readers.matrix import Matrix, cut_segments, matrix_reader
from signals.recording.recording import Annotation, Recording, UnreadableError

OPENVIBE_MAGIC = b"\x1a\x45\xdf\xa3"
_BUFFER = 0x2E60AD1887A29BDF
_STREAM, _START, _STOP, _CONTENT = 0x30A56D8AB9C12238, 0x93E6A0AC5A9467B, 0x8B5CCCD9C5024F29, 0x8D4B0BE87051265C
_STREAM_HEADER, _STREAM_BUFFER = 0x2B395F108ADFAE, 0xCF210102375310
_SIGNAL, _RATE = 0x7855DE3748D375, 0x141C430C37006B
_MATRIX, _DIMENSION, _SIZE, _LABEL = 0x72F5607ED2CBED, 0xE3C03A7D5141, 0x1302F736D8438A, 0x153E40190227E0
_MATRIX_BUFFER, _SAMPLES = 0x12066308FBC165, 0xB18C10427D098C
_STIMULATIONS, _STIMULATION = 0x6DEABE7FC05A20, 0x16EAC629FBCAA1
_CODE, _DATE = 0x6FA5DB4BAC31E9, 0xB866D814DA5374
_PER_SECOND = float(1 << 32)


@dataclass(frozen=True)
class _Chunks:
    """Where the samples of a stream lie in a file."""

    path: str
    mtime_ns: int
    n_chans: int
    offsets: tuple[int, ...]
    """First byte of each chunk; float64, all samples of a channel one after the other."""
    firsts: tuple[int, ...]
    """First sample of each chunk, and the number of samples."""

    def __getitem__(self, key: tuple[slice, slice]) -> np.ndarray:
        start, stop = key[1].start, key[1].stop
        with open(self.path, "rb") as file:
            parts = []
            for chunk in range(bisect_right(self.firsts, start) - 1, len(self.offsets)):
                first, last = self.firsts[chunk], self.firsts[chunk + 1]
                if first >= stop:
                    break
                file.seek(self.offsets[chunk])
                octets = file.read(8 * self.n_chans * (last - first))
                whole = np.frombuffer(octets, "<f8").reshape(self.n_chans, last - first)
                parts.append(whole[:, max(start - first, 0) : stop - first])
        return np.concatenate(parts, axis=1)


@dataclass(frozen=True)
class _Stream:
    number: int
    sfreq: int
    ch_names: tuple[str, ...]


def open_openvibe(path: Path) -> Recording:
    """Return the first signal stream of an .ov file; stimulations of all streams are annotations by their codes.

    Raises UnreadableError: "unsupported_format" for files without a signal stream, "corrupt_header", "no_samples".
    """
    stamp = path.stat().st_mtime_ns
    stream, chunks, pauses, stimulations = _index(str(path), stamp)
    starts, segments = cut_segments(chunks.firsts[-1], stream.sfreq, pauses)
    scalings = [scaling_of(name, "") for name in stream.ch_names]
    factors = tuple(scaling.factor for scaling in scalings)
    return Recording(
        uri=str(path),
        reader="openvibe",
        ch_names=stream.ch_names,
        sensor_types=tuple(scaling.sensor_type for scaling in scalings),
        sfreqs=(float(stream.sfreq),) * len(stream.ch_names),
        segments=tuple(segments),
        read_samples=matrix_reader(Matrix(_Load(str(path), stamp), factors, tuple(starts))),
        annotations=stimulations,
        notes=(*channel_notes(stream.ch_names, scalings), *(["gaps"] * (len(segments) > 1))),
    )


@dataclass(frozen=True)
class _Load:
    """Gives the chunks of a file, indexed again where another process has indexed them."""

    path: str
    mtime_ns: int

    def __call__(self) -> _Chunks:
        return _index(self.path, self.mtime_ns)[1]


@lru_cache(maxsize=4)
def _index(path: str, mtime_ns: int) -> tuple[_Stream, _Chunks, list[tuple[int, float]], tuple[Annotation, ...]]:
    """Return the signal stream, its chunks, its pauses and the stimulations; `mtime_ns` keeps the cache honest."""
    with open(path, "rb") as file, mmap(file.fileno(), 0, access=ACCESS_READ) as octets:
        stream: _Stream | None = None
        offsets, sizes, pauses, end_s = [], [], [], None
        stimulations: list[Annotation] = []
        for number, start_s, stop_s, content in _buffers(octets):
            if stream is None and _STREAM_HEADER in content:
                stream = _stream(octets, number, content[_STREAM_HEADER])
            if _STREAM_BUFFER not in content:
                continue
            inner = dict(_elements(octets, *content[_STREAM_BUFFER]))
            if _STIMULATIONS in inner:
                stimulations += _stimulations(octets, inner[_STIMULATIONS])
            if stream is not None and number == stream.number and _MATRIX_BUFFER in inner:
                begin, size = dict(_elements(octets, *inner[_MATRIX_BUFFER])).get(_SAMPLES, (0, 0))
                if size % (8 * len(stream.ch_names)):
                    raise UnreadableError("corrupt_header", f"a chunk of {size} bytes, {len(stream.ch_names)} channels")
                if end_s is not None and start_s - end_s > 1.0 / stream.sfreq:
                    pauses.append((sum(sizes), start_s - end_s))
                offsets.append(begin)
                sizes.append(size // (8 * len(stream.ch_names)))
                end_s = stop_s
    if stream is None:
        raise UnreadableError("unsupported_format", "an OpenViBE file without a stream of signals")
    if not sum(sizes):
        raise UnreadableError("no_samples", "a stream of signals without samples")
    firsts = tuple(accumulate(sizes, initial=0))
    chunks = _Chunks(path, mtime_ns, len(stream.ch_names), tuple(offsets), firsts)
    return stream, chunks, pauses, tuple(stimulations)


def _buffers(octets: mmap) -> Iterator[tuple[int, float, float, dict[int, tuple[int, int]]]]:
    """Yield stream, start and stop in seconds, and the elements of the content of each chunk."""
    for name, (start, size) in _elements(octets, 0, len(octets)):
        if name == _BUFFER:
            fields = dict(_elements(octets, start, size))
            number, began, ended = (_number(octets, fields.get(key, (0, 0))) for key in (_STREAM, _START, _STOP))
            content = dict(_elements(octets, *fields[_CONTENT])) if _CONTENT in fields else {}
            yield number, began / _PER_SECOND, ended / _PER_SECOND, content


def _elements(octets: mmap, start: int, size: int) -> Iterator[tuple[int, tuple[int, int]]]:
    """Yield identifier, first byte and length of each element of a range of bytes."""
    at, end = start, start + size
    while at < end:
        name, at = _vint(octets, at)
        length, at = _vint(octets, at)
        if at + length > end:
            raise UnreadableError("corrupt_header", "an element that reaches beyond the file: it is cut or damaged")
        yield name, (at, length)
        at += length


def _vint(octets: mmap, at: int) -> tuple[int, int]:
    """Return a number of variable length and the byte after it; zeros before the first set bit count its bytes."""
    head = octets[at : at + 10]
    bits = int.from_bytes(head, "big")
    n_bytes = 8 * len(head) - bits.bit_length() + 1
    if not bits or n_bytes > len(head):
        raise UnreadableError("corrupt_header", "a number without an end: the file is cut or damaged")
    return int.from_bytes(head[:n_bytes], "big") & ((1 << 7 * n_bytes) - 1), at + n_bytes


def _number(octets: mmap, place: tuple[int, int]) -> int:
    return int.from_bytes(octets[place[0] : place[0] + min(place[1], 8)], "big")


def _stream(octets: mmap, number: int, place: tuple[int, int]) -> _Stream | None:
    """Return the stream that a header describes, None where it is none of signals."""
    header = dict(_elements(octets, *place))
    if _SIGNAL not in header or _MATRIX not in header:
        return None
    sfreq = _number(octets, dict(_elements(octets, *header[_SIGNAL])).get(_RATE, (0, 0)))
    dimensions = [inner for name, inner in _elements(octets, *header[_MATRIX]) if name == _DIMENSION]
    if not 0 < sfreq < 10**6 or not dimensions:
        raise UnreadableError("corrupt_header", f"a stream of signals at {sfreq} Hz")
    fields = list(_elements(octets, *dimensions[0]))
    n_chans = next((_number(octets, inner) for name, inner in fields if name == _SIZE), 0)
    labels = [
        octets[at : at + length].decode("latin-1").strip("\0 ") for name, (at, length) in fields if name == _LABEL
    ]
    if not 0 < n_chans < 10**5 or len(labels) not in (0, n_chans):
        raise UnreadableError("corrupt_header", f"{len(labels)} labels for {n_chans} channels")
    return _Stream(number, sfreq, tuple(labels) or tuple(f"Channel {k + 1}" for k in range(n_chans)))


def _stimulations(octets: mmap, place: tuple[int, int]) -> Iterator[Annotation]:
    for name, inner in _elements(octets, *place):
        if name == _STIMULATION:
            fields = dict(_elements(octets, *inner))
            code, date = (_number(octets, fields.get(key, (0, 0))) for key in (_CODE, _DATE))
            yield Annotation(date / _PER_SECOND, 0.0, str(code))
