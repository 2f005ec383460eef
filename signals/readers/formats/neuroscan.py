"""Neuroscan .cnt through MNE. The header does not say whether samples have 16 or 32 bits; sizes and content do."""

import struct
from pathlib import Path
from typing import Any

import numpy as np

from signals.readers.mne_raw import recording_of_raw
from signals.recording.recording import Recording, UnreadableError

NEUROSCAN_MAGIC = b"Version 3."
_HEADER, _PER_CHANNEL = 900, 75
_FORMATS = {2: "int16", 4: "int32"}
_LOOKED_AT = 2000
"""Samples that the width is judged by where the sizes leave it open."""
_SMOOTH = 0.5
"""Correlation of neighbouring samples above which samples are a signal; of misread ones it is near zero or below."""
_LARGEST_UV = 20_000.0
"""Typical size of a signal, offset aside, beyond which it is two samples read as one."""


def open_neuroscan(path: Path) -> Recording:
    """Return the recording in a Neuroscan .cnt file; MNE scales by its sensitivities and calibrations.

    Raises UnreadableError: "unsupported_format" where neither the sizes nor the samples tell their width,
    "corrupt_header", "no_samples".
    """
    import mne

    width, is_guess = _width(path)
    # The header's number of samples is unreliable; below 2 GB the event table's place gives it.
    raw = mne.io.read_raw_cnt(
        path, data_format=_FORMATS[width], recompute_n_samples=path.stat().st_size < 2e9, verbose="ERROR"
    )
    return recording_of_raw(raw, uri=str(path), reader="neuroscan", notes=("sample_width_guessed",) if is_guess else ())


def _width(path: Path) -> tuple[int, bool]:
    """Return the bytes of a sample, and whether they had to be guessed from the samples themselves."""
    with path.open("rb") as file:
        header = file.read(_HEADER)
        if len(header) < _HEADER:
            raise UnreadableError("corrupt_header", f"{len(header)} bytes of a header of {_HEADER}")
        (n_chans,), (n_times, table) = struct.unpack_from("<H", header, 370), (
            struct.unpack_from("<i", header, 864)[0], struct.unpack_from("<i", header, 886)[0],
        )  # fmt: skip
        table_of_channels = file.read(_PER_CHANNEL * n_chans)
        begin, size = _HEADER + _PER_CHANNEL * n_chans, path.stat().st_size
        if n_chans < 1 or begin >= size:
            raise UnreadableError("corrupt_header", f"{n_chans} channels in {size} bytes")
        if table > size or (size < 2**31 and table <= begin):
            raise UnreadableError("corrupt_header", f"the event table at {table} of {size} bytes: the file is cut")
        n_bytes = (table if table > begin else size) - begin
        fitting = [width for width in _FORMATS if n_times > 0 and width * n_times * n_chans == n_bytes]
        if fitting:
            return fitting[0], False
        file.seek(begin)
        look = file.read(min(n_bytes, 4 * n_chans * _LOOKED_AT))
    widths = _widths_of_signals(look, n_chans, _microvolts(header + table_of_channels))
    if len(widths) != 1:
        raise UnreadableError(
            "unsupported_format", "sizes and samples leave open whether samples have 16 or 32 bits; export it as EDF"
        )
    return widths[0], True


def _microvolts(header: bytes) -> np.ndarray:
    """Return the µV of a step of each channel: sensitivity x calibration / 204.8."""
    places = range(_HEADER, len(header), _PER_CHANNEL)
    return np.array([
        struct.unpack_from("<f", header, at + 59)[0] * struct.unpack_from("<f", header, at + 71)[0] / 204.8
        for at in places
    ])  # fmt: skip


def _widths_of_signals(octets: bytes, n_chans: int, step_uv: np.ndarray) -> list[int]:
    """Return at which widths the samples look like signals: smooth in time, and of a plausible size.

    Small samples of 32 bits have high words of 0 and -1 throughout, which no signal of 16 bits has in every other word.
    """
    words = np.frombuffer(octets[: len(octets) // 4 * 4], "<i2")
    if len(words) and np.isin(words[1::2], (0, -1)).mean() > 0.99 and words[::2].any():
        return [4]
    return [width for width in _FORMATS if _is_signal(octets, width, n_chans, step_uv)]


def _is_signal(octets: bytes, width: int, n_chans: int, step_uv: np.ndarray) -> bool:
    n_times = len(octets) // (width * n_chans)
    x: Any = np.frombuffer(octets, f"<i{width}", n_times * n_chans).reshape(n_times, n_chans).astype(float)
    x = x - x.mean(axis=0) if n_times > 1 else x
    power = (x * x).sum(axis=0)
    alive = power > 0
    if n_times < 10 or not alive.any():
        return False
    lag = (x[1:, alive] * x[:-1, alive]).sum(axis=0) / power[alive]
    size_uv = np.abs(step_uv[alive]) * np.sqrt(power[alive] / n_times)
    return bool(np.median(lag) > _SMOOTH and np.median(size_uv) < _LARGEST_UV)
