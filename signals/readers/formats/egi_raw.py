"""EGI's simple binary form (.raw), continuous: one big-endian file of channels and event tracks.

Follows "Net Station File Formats Technical Manual" (EGI, 2006). Its electrodes have the net's numbers (E1, E2, ...) and
need a declared map of the net. Checked against `mne.io.read_raw_egi`, which takes the amplifier's range, given in µV,
for volts.
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from signals.readers.matrix import Matrix, matrix_reader
from signals.recording.recording import Annotation, Recording, Segment, UnreadableError

_DTYPES = {2: ">i2", 4: ">f4", 6: ">f8"}
_FIXED = struct.Struct(">i6hi5hih")
_SCAN_BYTES = 4 << 20


def is_egi_raw(head: bytes) -> bool:
    """Return whether a file begins as the simple binary form does: its version, then a date."""
    if len(head) < _FIXED.size:
        return False
    version, year, month, day = struct.unpack(">i3h", head[:10])
    return 2 <= version <= 7 and 1970 <= year <= 2100 and 1 <= month <= 12 and 1 <= day <= 31


@dataclass(frozen=True)
class _Header:
    n_chans: int
    sfreq: float
    gain: float
    """µV per step."""
    events: tuple[str, ...]
    dtype: str
    offset: int
    n_times: int
    notes: tuple[str, ...]


def open_egi_raw(path: Path) -> Recording:
    """Return the recording in a continuous .raw file, in µV; event tracks become stim channels and annotations.

    Raises UnreadableError: "unsupported_format" for segmented files, "corrupt_header", "no_samples".
    """
    header = _read_header(path)
    n_rows = header.n_chans + len(header.events)
    ch_names = (*(f"E{number + 1}" for number in range(header.n_chans)), *header.events)
    load = partial(_map, str(path), header.dtype, header.offset, header.n_times, n_rows)
    factors = (*(header.gain,) * header.n_chans, *(1.0,) * len(header.events))
    return Recording(
        uri=str(path),
        reader="egi-raw",
        ch_names=ch_names,
        sensor_types=(*("eeg",) * header.n_chans, *("stim",) * len(header.events)),
        sfreqs=(header.sfreq,) * n_rows,
        segments=(Segment(0.0, header.n_times / header.sfreq),),
        read_samples=matrix_reader(Matrix(load, factors, (0,))),
        annotations=tuple(_annotations(load(), header)) if header.events else (),
        notes=header.notes,
    )


def _read_header(path: Path) -> _Header:
    with path.open("rb") as file:
        fixed = file.read(_FIXED.size)
        if len(fixed) < _FIXED.size:
            raise UnreadableError("corrupt_header", f"{len(fixed)} bytes of a header of {_FIXED.size}")
        version, *_, rate, n_chans, _gain, bits, full_range, n_times, n_events = _FIXED.unpack(fixed)
        if version not in _DTYPES:
            raise UnreadableError("unsupported_format", "segmented EGI data; export it as a continuous file")
        if rate < 1 or n_chans < 1 or n_events < 0 or n_times < 0:
            raise UnreadableError("corrupt_header", f"{rate} Hz, {n_chans} channels, {n_events} event tracks")
        codes = file.read(4 * n_events)
    if len(codes) < 4 * n_events:
        raise UnreadableError("corrupt_header", f"{n_events} event tracks are promised, fewer are named")
    offset, width = _FIXED.size + 4 * n_events, np.dtype(_DTYPES[version]).itemsize
    found = (path.stat().st_size - offset) // (width * (n_chans + n_events))
    if min(found, n_times) < 1:
        raise UnreadableError("no_samples", f"{path.stat().st_size} bytes of {n_chans} channels")
    return _Header(
        n_chans=n_chans,
        sfreq=float(rate),
        gain=full_range / 2.0**bits if full_range and bits else 1.0,
        events=tuple(codes[4 * i : 4 * i + 4].decode("latin-1").strip("\0 ") for i in range(n_events)),
        dtype=_DTYPES[version],
        offset=offset,
        n_times=min(found, n_times),
        notes=("missing_records",) if found < n_times else (),
    )


def _map(path: str, dtype: str, offset: int, n_times: int, n_rows: int) -> np.ndarray:
    return np.memmap(path, dtype=dtype, mode="r", offset=offset, shape=(n_times, n_rows)).T


def _annotations(matrix: np.ndarray, header: _Header) -> Iterator[Annotation]:
    """Yield an annotation where an event track leaves zero, as long as it stays away from it; read in blocks."""
    n_block = max(1, _SCAN_BYTES // (matrix.shape[0] * matrix.dtype.itemsize))
    for track, name in enumerate(header.events):
        is_on = np.empty(header.n_times + 2, dtype=bool)
        is_on[[0, -1]] = False
        for start in range(0, header.n_times, n_block):
            stop = min(start + n_block, header.n_times)
            is_on[start + 1 : stop + 1] = matrix[header.n_chans + track, start:stop] != 0
        edges = np.flatnonzero(np.diff(is_on))
        for begin, end in zip(edges[::2], edges[1::2], strict=True):
            yield Annotation(begin / header.sfreq, (end - begin) / header.sfreq, name)
