"""Files of laboratory software whose bytes depend on their content alone: XDF, WFDB, EEGLAB, MATLAB 7.3, OpenViBE.

Each writer takes samples in µV, shape (n_chans, n_times). Clinical systems: `clinical_files`.
"""

import struct
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np


def write_xdf(
    path: Path, x: np.ndarray, *, ch_names: Sequence[str], sfreq: float, times_s: np.ndarray | None = None,
    markers: Sequence[tuple[float, str]] = (), offset_s: float = 0.0, unit: str = "microvolts", kind: str = "EEG",
) -> None:  # fmt: skip
    """Write an EEG stream and a marker stream; the markers' clock is `offset_s` behind, which their offsets tell."""
    times = np.arange(x.shape[1]) / sfreq if times_s is None else times_s
    channels = "".join(
        f"<channel><label>{name}</label><unit>{unit}</unit><type>EEG</type></channel>" for name in ch_names
    )
    chunks = [
        _chunk(1, b"<?xml version='1.0'?><info><version>1.0</version></info>"),
        _chunk(2, _stream(1, "amplifier", kind, sfreq, len(ch_names), "float32", channels)),
        _chunk(2, _stream(2, "marks", "Markers", 0, 1, "string", "")),
    ]
    for stream, shift in ((1, 0.0), (2, offset_s)):
        chunks += [_chunk(4, struct.pack("<Idd", stream, t, shift)) for t in (times[0], times[-1])]
    for start in range(0, len(times), 256):
        block = zip(times[start : start + 256], x.T[start : start + 256].astype("<f4"), strict=True)
        rows = b"".join(b"\x08" + struct.pack("<d", time) + row.tobytes() for time, row in block)
        chunks.append(_chunk(3, struct.pack("<I", 1) + _count(min(256, len(times) - start)) + rows))
    rows = b"".join(
        b"\x08" + struct.pack("<d", time - offset_s) + _count(len(text.encode())) + text.encode()
        for time, text in markers
    )
    chunks.append(_chunk(3, struct.pack("<I", 2) + _count(len(markers)) + rows) if markers else b"")
    path.write_bytes(b"XDF:" + b"".join(chunks))


def _chunk(tag: int, content: bytes) -> bytes:
    return _count(len(content) + 2) + struct.pack("<H", tag) + content


def _count(n: int) -> bytes:
    return b"\x01" + struct.pack("<B", n) if n < 256 else b"\x04" + struct.pack("<I", n)


def _stream(number: int, name: str, kind: str, sfreq: float, n_chans: int, form: str, channels: str) -> bytes:
    return (
        struct.pack("<I", number)
        + (
            f"<?xml version='1.0'?><info><name>{name}</name><type>{kind}</type><channel_count>{n_chans}</channel_count>"
            f"<nominal_srate>{sfreq:g}</nominal_srate><channel_format>{form}</channel_format>"
            f"<created_at>0</created_at><desc><channels>{channels}</channels></desc></info>"
        ).encode()
    )


def write_wfdb(
    path: Path, x: np.ndarray, *, ch_names: Sequence[str], sfreq: float, unit: str = "uV", gain: float = 10.0,
    baseline: int = 0, slow: Sequence[str] = (),
) -> None:  # fmt: skip
    """Write a .hea and a .dat in format 16, `gain` steps a unit; signals of `slow` have one of four samples per frame.

    With `slow`, `sfreq` is that of the other signals.
    """
    per_frame = [(1 if name in slow else 4) if slow else 1 for name in ch_names]
    n_frames, frame_hz = x.shape[1] // max(per_frame), sfreq / max(per_frame)
    steps = np.round(x * gain).astype(np.int64) + baseline
    frames = [
        steps[row, :: max(per_frame) // n][: n_frames * n].reshape(n_frames, n) for row, n in enumerate(per_frame)
    ]
    np.hstack(frames).astype("<i2").tofile(path.with_suffix(".dat"))
    lines = [f"{path.stem} {len(ch_names)} {frame_hz:g} {n_frames}"]
    for row, (name, n) in enumerate(zip(ch_names, per_frame, strict=True)):
        total = int(frames[row].sum())
        check, form = (total + 32768) % 65536 - 32768, f"16x{n}" if n > 1 else "16"
        first = int(frames[row].astype("<i2")[0, 0])
        lines.append(f"{path.stem}.dat {form} {gain:g}({baseline})/{unit} 16 0 {first} {check} 0 {name}")
    path.write_text("\n".join(lines) + "\n# age 61\n")


def write_wfdb_segments(
    path: Path, parts: Sequence[np.ndarray | int], *, ch_names: Sequence[str], sfreq: float
) -> None:
    """Write a multi-segment record; a number among the parts is a null segment of so many samples."""
    lines = []
    for number, part in enumerate(parts):
        if isinstance(part, int):
            lines.append(f"~ {part}")
            continue
        segment = path.with_name(f"{path.stem}_{number}.hea")
        write_wfdb(segment, part, ch_names=ch_names, sfreq=sfreq)
        lines.append(f"{segment.stem} {part.shape[1]}")
    n_times = sum(part if isinstance(part, int) else part.shape[1] for part in parts)
    path.write_text(f"{path.stem}/{len(parts)} {len(ch_names)} {sfreq:g} {n_times}\n" + "\n".join(lines) + "\n")


def write_eeglab(
    path: Path, x: np.ndarray, *, ch_names: Sequence[str], sfreq: float,
    events: Sequence[tuple[str, float, float]] = (), in_fdt: bool = False, hdf5: bool = False, subject: str = "",
) -> None:  # fmt: skip
    """Write a .set file; three-dimensional samples are epochs, shape (n_chans, n_times, n_trials).

    `events` are (type, sample from 0, duration in samples). `hdf5` writes what MATLAB's -v7.3 writes.
    """
    n_trials = x.shape[2] if x.ndim == 3 else 1
    data: Any = x
    if in_fdt:
        path.with_suffix(".fdt").write_bytes(x.astype("<f4").tobytes(order="F"))
        data = path.with_suffix(".fdt").name
    scalars: dict[str, Any] = {
        "nbchan": float(len(ch_names)), "pnts": float(x.shape[1]), "trials": float(n_trials), "srate": float(sfreq),
        "xmin": 0.0, "xmax": (x.shape[1] - 1) / sfreq, "subject": subject, "ref": "common",
    }  # fmt: skip
    marks = [(kind, sample + 1.0, float(duration)) for kind, sample, duration in events]
    if hdf5:
        _write_eeglab_hdf5(path, scalars, data, ch_names, marks)
        return
    from scipy.io import savemat

    places = np.array([(name, "") for name in ch_names], dtype=[("labels", object), ("type", object)])
    table = np.array(marks, dtype=[("type", object), ("latency", object), ("duration", object)])
    savemat(path, {"EEG": scalars | {"data": data, "chanlocs": places, "event": table}}, do_compression=False)


def _write_eeglab_hdf5(
    path: Path, scalars: dict[str, Any], data: Any, ch_names: Sequence[str], events: Sequence[tuple[str, float, float]]
) -> None:
    import h5py

    with h5py.File(path, "w", userblock_size=512) as file:
        root = file.create_group("EEG")
        cells = file.create_group("#refs#")
        for key, content in (scalars | {"data": data}).items():
            _matlab(root, key, content)
        columns = {"labels": list(ch_names), "type": [""] * len(ch_names)}
        _struct_array(root.create_group("chanlocs"), cells, columns)
        kinds, latencies, durations = zip(*events, strict=True) if events else ((), (), ())
        if events:
            _struct_array(
                root.create_group("event"), cells, {"type": kinds, "latency": latencies, "duration": durations}
            )
    _matlab_header(path)


def write_mat73(path: Path, variables: dict[str, Any]) -> None:
    """Write arrays, numbers and texts as MATLAB's -v7.3 does: HDF5 with axes reversed, behind a header of 512 bytes."""
    import h5py

    with h5py.File(path, "w", userblock_size=512) as file:
        for name, content in variables.items():
            _matlab(file, name, content)
    _matlab_header(path)


def _matlab(group: Any, name: str, content: Any) -> None:
    if isinstance(content, str):
        codes = np.frombuffer(content.encode("utf-16-le"), "<u2").reshape(-1, 1) if content else np.zeros(2, "<u8")
        dataset = group.create_dataset(name, data=codes)
        dataset.attrs["MATLAB_class"] = np.bytes_("char")
        if not content:
            dataset.attrs["MATLAB_empty"] = np.uint8(1)
        return
    array = np.atleast_2d(np.asarray(content))
    dataset = group.create_dataset(name, data=array.T)
    dataset.attrs["MATLAB_class"] = np.bytes_(
        {"f4": "single", "f8": "double"}.get(array.dtype.str[1:], array.dtype.name)
    )


def _struct_array(group: Any, cells: Any, columns: Mapping[str, Sequence[Any]]) -> None:
    """Write a struct array: per field a list of references; of one entry, its values themselves."""
    import h5py

    for field, contents in columns.items():
        if len(contents) == 1:
            _matlab(group, field, contents[0])
            continue
        references = np.empty((len(contents), 1), dtype=h5py.ref_dtype)
        for row, content in enumerate(contents):
            name = f"{group.name.strip('/').replace('/', '_')}_{field}_{row}"
            _matlab(cells, name, content)
            references[row, 0] = cells[name].ref
        group.create_dataset(field, data=references, dtype=h5py.ref_dtype)


def _matlab_header(path: Path) -> None:
    text = b"MATLAB 7.3 MAT-file, Platform: GLNXA64, Created on: Tue Jan  2 03:04:05 2024 HDF5 schema 1.00 ."
    with path.open("r+b") as file:
        file.write(text.ljust(124) + b"\x00\x02IM")


_OPENVIBE = {
    "header": 0xF59505AB3684C8D8, "buffer": 0x2E60AD1887A29BDF, "stream": 0x30A56D8AB9C12238,
    "start": 0x93E6A0AC5A9467B, "stop": 0x8B5CCCD9C5024F29, "content": 0x8D4B0BE87051265C,
    "stream header": 0x2B395F108ADFAE, "stream buffer": 0xCF210102375310, "signal": 0x7855DE3748D375,
    "rate": 0x141C430C37006B, "matrix": 0x72F5607ED2CBED, "dimension": 0xE3C03A7D5141, "size": 0x1302F736D8438A,
    "label": 0x153E40190227E0, "matrix buffer": 0x12066308FBC165, "samples": 0xB18C10427D098C,
    "stimulations": 0x6DEABE7FC05A20, "stimulation": 0x16EAC629FBCAA1, "code": 0x6FA5DB4BAC31E9,
    "date": 0xB866D814DA5374,
}  # fmt: skip


def write_openvibe(
    path: Path, x: np.ndarray, *, ch_names: Sequence[str], sfreq: int, chunk: int = 32,
    pause: tuple[int, float] = (0, 0.0), stimulations: Sequence[tuple[float, int]] = (),
) -> None:  # fmt: skip
    """Write an .ov file of one signal stream in chunks and a stream of stimulations; `pause` is (chunk, seconds)."""
    labels = b"".join(_element("label", name.encode()) for name in ch_names)
    rows = _element("dimension", _element("size", _integer(len(ch_names))) + labels)
    matrix = _element("matrix", rows + _element("dimension", _element("size", _integer(chunk))))
    header = _element("stream header", _element("signal", _element("rate", _integer(sfreq))) + matrix)
    parts = [_element("header", b""), _buffer(1, 0.0, 0.0, header)]
    for number, start in enumerate(range(0, x.shape[1], chunk)):
        shift = pause[1] if pause[1] and number >= pause[0] else 0.0
        block = x[:, start : start + chunk].astype("<f8").tobytes()
        samples = _element("stream buffer", _element("matrix buffer", _element("samples", block)))
        begin, end = start / sfreq + shift, min(start + chunk, x.shape[1]) / sfreq + shift
        parts.append(_buffer(1, begin, end, samples))
    marks = b"".join(
        _element("stimulation", _element("code", _integer(code)) + _element("date", _integer(round(time * 2**32))))
        for time, code in stimulations
    )
    parts.append(_buffer(2, 0.0, 0.0, _element("stream buffer", _element("stimulations", marks))))
    path.write_bytes(b"\x1a\x45\xdf\xa3\x80" + b"".join(parts))


def _buffer(stream: int, start_s: float, stop_s: float, content: bytes) -> bytes:
    times = _element("start", _integer(round(start_s * 2**32))) + _element("stop", _integer(round(stop_s * 2**32)))
    return _element("buffer", _element("stream", _integer(stream)) + times + _element("content", content))


def _element(name: str, content: bytes) -> bytes:
    return _vint(_OPENVIBE[name]) + _vint(len(content)) + content


def _vint(value: int) -> bytes:
    n_bytes = next(n for n in range(1, 11) if value < (1 << 7 * n) - 1)
    return (value | 1 << 7 * n_bytes).to_bytes(n_bytes, "big")


def _integer(value: int) -> bytes:
    return value.to_bytes((value.bit_length() + 7) // 8, "big")
