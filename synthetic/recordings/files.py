"""EDF, EDF+D, BDF and FIF files whose bytes depend on their content alone: no clock, no random identifiers.

EDF: Kemp et al., A simple format for exchange of digitized polygraphic recordings, 1992. EDF+: Kemp and Olivan, 2003.
BDF: BioSemi's 24-bit form of EDF.
"""

import struct
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np

_TAL_BYTES = 60
_LIMITS = {
    # format: bytes a sample, digital and physical (µV) limits
    "edf": (2, -32768, 32767, -3276.8, 3276.7),
    "edf+d": (2, -32768, 32767, -3276.8, 3276.7),
    "bdf": (3, -8388608, 8388607, -262144.0, 262143.0),
}
_FIF_NO_DATE = (0, 2**31 - 1)
"""What MNE takes for a measurement without a date."""
_START = ("01.01.85", "00.00.00")


def write_edf(
    path: Path,
    records: Iterable[np.ndarray],
    *,
    file_format: str,
    ch_names: Sequence[str],
    sfreq: int,
    patient: str,
    record_onsets_s: Sequence[float],
    reference: str = "",
    notes: Mapping[int, tuple[float, str]] | None = None,
) -> None:
    """Write one-second data records, streaming, so that a file of any length needs the memory of one block.

    `records`: blocks of whole seconds, µV, shape (n_chans, k x sfreq); integers are taken as digital values.
    `record_onsets_s`: onset of each second; written into the file for "edf+d" only, and so are `notes`:
    (duration, text) of an annotation that begins with a data record, by the record's number. Values beyond the physical
    range are clipped. Raises ValueError where the blocks do not add up to the onsets, and for too long a note.
    """
    n_bytes, low, high, *_ = _LIMITS[file_format]
    n_written = 0
    with path.open("wb") as file:
        file.write(_header(file_format, ch_names, sfreq, patient, len(record_onsets_s), reference))
        for block in records:
            n_seconds, rest = divmod(block.shape[1], sfreq)
            if rest:
                raise ValueError(f"a block of {block.shape[1]} samples is no whole number of seconds at {sfreq} Hz")
            digital = block if np.issubdtype(block.dtype, np.integer) else _digitise(block, file_format)
            digital = np.clip(digital, low, high).reshape(len(ch_names), n_seconds, sfreq).swapaxes(0, 1)
            packed = _pack(np.ascontiguousarray(digital), n_bytes).reshape(n_seconds, -1)
            if file_format == "edf+d":
                numbers = range(n_written, n_written + n_seconds)
                tals = [_timekeeping(record_onsets_s[i], (notes or {}).get(i)) for i in numbers]
                packed = np.hstack([packed, np.stack(tals)])
            file.write(packed.tobytes())
            n_written += n_seconds
    if n_written != len(record_onsets_s):
        raise ValueError(f"{path.name}: {n_written} s of signal, but {len(record_onsets_s)} onsets")


def _digitise(block_uv: np.ndarray, file_format: str) -> np.ndarray:
    """Return digital values of µV, int32, not yet clipped to the format's range."""
    _, low, high, physical_low, physical_high = _LIMITS[file_format]
    scale = (high - low) / (physical_high - physical_low)
    block_uv = np.asarray(block_uv, np.float64)  # 24 bits are more than float32 holds
    digital = np.rint((np.clip(block_uv, physical_low, physical_high) - physical_low) * scale + low)
    return np.asarray(digital, np.int32)


def _pack(digital: np.ndarray, n_bytes: int) -> np.ndarray:
    """Return little-endian bytes of integers, uint8, `n_bytes` a value, flat."""
    wide = digital.astype("<i2" if n_bytes == 2 else "<i4")
    raw = wide.reshape(-1, 1).view(np.uint8)
    return raw[:, :n_bytes].reshape(-1)


def _timekeeping(onset_s: float, note: tuple[float, str] | None) -> np.ndarray:
    """Return the time-stamped annotation lists of a record, its onset and perhaps a note, uint8, (_TAL_BYTES,)."""
    stamp = f"+{onset_s:.6f}".rstrip("0").rstrip(".").encode()
    text = stamp + b"\x14\x14\x00"
    if note is not None:
        text += stamp + f"\x15{note[0]:g}\x14{note[1]}\x14\x00".encode()
    if len(text) > _TAL_BYTES:
        raise ValueError(f"note {note} does not fit into {_TAL_BYTES} bytes")
    return np.frombuffer(text.ljust(_TAL_BYTES, b"\x00"), np.uint8)


def _header(
    file_format: str, ch_names: Sequence[str], sfreq: int, patient: str, n_records: int, reference: str
) -> bytes:
    n_bytes, low, high, physical_low, physical_high = _LIMITS[file_format]
    plus = file_format == "edf+d"
    labels, n_signals = [*ch_names, *(["EDF Annotations"] if plus else [])], len(ch_names) + plus
    version = b"\xffBIOSEMI" if file_format == "bdf" else b"0".ljust(8)
    kind = {"edf": "", "edf+d": "EDF+D", "bdf": "24BIT"}[file_format]
    about = [
        "",
        "uV",
        _number(physical_low),
        _number(physical_high),
        str(low),
        str(high),
        f"Ref:{reference}",
        str(sfreq),
        "",
    ]
    note = ["", "", "-1", "1", str(low), str(high), "", str(_TAL_BYTES // n_bytes), ""]
    fields = [_text(patient + " X X X", 80), _text("Startdate 01-JAN-1985 X X X" if plus else "", 80)]
    fields += [_text(_START[0], 8), _text(_START[1], 8), _text(str(256 * (n_signals + 1)), 8), _text(kind, 44)]
    fields += [_text(str(n_records), 8), _text("1", 8), _text(str(n_signals), 4)]
    fields += [_text(label, 16) for label in labels]
    for column, width in zip(range(9), (80, 8, 8, 8, 8, 8, 80, 8, 32), strict=True):
        fields += [_text(about[column], width)] * len(ch_names) + [_text(note[column], width)] * plus
    return version + b"".join(fields)


def _number(value: float) -> str:
    return f"{value:.1f}".removesuffix(".0")


def _text(value: str, width: int) -> bytes:
    if len(value) > width:
        raise ValueError(f"{value!r} does not fit into {width} characters of the header")
    return value.encode("ascii").ljust(width)


def write_fif(path: Path, data_uv: np.ndarray, *, ch_names: Sequence[str], sfreq: float, patient: str) -> None:
    """Write a raw FIF file of EEG channels with MNE, without a date and without this machine's identifiers.

    `data_uv`: µV, shape (n_chans, n_times). `path` ends in "_raw.fif", as MNE requires.
    """
    import mne

    info = mne.create_info(list(ch_names), sfreq, "eeg", verbose="error")
    info["subject_info"] = {"his_id": patient}
    raw = mne.io.RawArray(np.asarray(data_uv, np.float64) * 1e-6, info, verbose="error")
    raw.save(path, fmt="single", overwrite=True, verbose="error")
    _forget_identifiers(path)


def _forget_identifiers(path: Path) -> None:
    """Take machine and time out of each identifier tag (version, machine x 2, seconds, microseconds)."""
    content = bytearray(path.read_bytes())
    at = 0
    while at + 16 <= len(content):
        _, kind, size, following = struct.unpack_from(">iiii", content, at)
        if kind == 31 and size == 20:
            struct.pack_into(">iiii", content, at + 20, 0, 0, *_FIF_NO_DATE)
        if following < 0:
            break
        at = following if following > 0 else at + 16 + size
    path.write_bytes(content)
