"""Nicolet as its .data/.head export: a text header of key=value lines and interleaved 16 bit samples.

Checked against `mne.io.read_raw_nicolet`. The binary .e files of the same maker are another format.
"""

import re
from functools import partial
from pathlib import Path

import numpy as np

from signals.readers.channels.units import channel_notes, scaling_of
from signals.readers.edf.edf_header import decode
from signals.readers.matrix import Matrix, matrix_reader
from signals.readers.numbers import finite, whole
from signals.recording.recording import Recording, Segment, UnreadableError

NICOLET_MAGIC = re.compile(rb"\A(\w+=.*\r?\n)*?(elec_names|num_channels|sample_freq|conversion_factor|start_ts)=")


def open_nicolet(path: Path) -> Recording:
    """Return the recording that a .head file describes, in µV.

    Raises UnreadableError: "missing_file" for a missing .data, "corrupt_header", "no_samples".
    """
    header = _fields(path)
    ch_names = tuple(name.strip() for name in header.get("elec_names", "").strip("[] ").split(","))
    if len(ch_names) != whole(header.get("num_channels"), "num_channels"):
        raise UnreadableError("corrupt_header", f"{len(ch_names)} names for {header['num_channels']} channels")
    sfreq = finite(header.get("sample_freq"), "sample_freq", above=0)
    conversion = finite(header.get("conversion_factor"), "conversion_factor", above=0)
    data, n_times, notes = _extent(path, header, len(ch_names))
    scalings = [scaling_of(name, "µV") for name in ch_names]
    load = partial(_map, str(data), n_times, len(ch_names))
    return Recording(
        uri=str(path),
        reader="nicolet",
        ch_names=ch_names,
        sensor_types=tuple(scaling.sensor_type for scaling in scalings),
        sfreqs=(sfreq,) * len(ch_names),
        segments=(Segment(0.0, n_times / sfreq),),
        read_samples=matrix_reader(Matrix(load, tuple(s.factor * conversion for s in scalings), (0,))),
        patient=header.get("pat_id", ""),
        notes=(*notes, *channel_notes(ch_names, scalings)),
    )


def nicolet_files(path: Path) -> tuple[Path, ...]:
    """Return the header and its .data, if that exists."""
    return tuple(file for file in (path, path.with_suffix(".data")) if file.is_file())


def _fields(path: Path) -> dict[str, str]:
    lines = decode(path.read_bytes()).splitlines()
    pairs = (line.partition("=") for line in lines if "=" in line)
    return {key.strip().lower(): value.strip() for key, _, value in pairs}


def _extent(path: Path, header: dict[str, str], n_chans: int) -> tuple[Path, int, tuple[str, ...]]:
    """Return the data file, its number of whole samples, and a note where the header promises another number."""
    data = path.with_suffix(".data")
    if not data.is_file():
        raise UnreadableError("missing_file", "the .data file is not beside its header")
    promised = whole(header.get("num_samples"), "num_samples", above=-1)
    found, rest = divmod(data.stat().st_size, 2 * n_chans)
    n_times = min(promised, found)
    if n_times < 1:
        raise UnreadableError("no_samples", f"{data.stat().st_size} bytes of {n_chans} channels")
    if promised > found:
        return data, n_times, ("missing_records",)
    return data, n_times, ("trailing_bytes",) if promised < found or rest else ()


def _map(path: str, n_times: int, n_chans: int) -> np.ndarray:
    return np.memmap(path, dtype="<i2", mode="r", shape=(n_times, n_chans)).T
