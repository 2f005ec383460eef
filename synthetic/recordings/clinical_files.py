"""Files of clinical systems whose bytes depend on their content alone, as stand-ins where no real file is at hand.

Each writer takes samples in µV, shape (n_chans, n_times), and lays them out as the format's reader in MNE or neo, or
the maker's manual, says; values are rounded to the format's step.
"""

import struct
from collections.abc import Sequence
from pathlib import Path

import numpy as np

NIHON_STEP_UV = (3199.902 + 3200) / 65535
"""µV per step of a Nihon Kohden electrode; its range begins at -3200 µV."""


def write_nihon_kohden(
    path: Path, blocks: Sequence[np.ndarray], *, ch_names: Sequence[str], sfreq: int, starts_s: Sequence[int] = (0,),
    events: Sequence[tuple[int, str]] = (),
) -> None:  # fmt: skip
    """Write an .EEG file of data blocks, its .21E table of electrodes, and a .LOG of events (second, text)."""
    device, n_chans = b"EEG-1100C V01.00", len(ch_names)
    address, header = 0x2000, bytearray(0x2000)
    header[:16] = header[0x81:0x91] = device
    header[0x91], header[0x17FE] = 1, 1
    struct.pack_into("<I", header, 0x92, 0x400)
    header[0x400 + 17] = len(blocks)
    parts: list[bytes] = []
    for number, (block, start_s) in enumerate(zip(blocks, starts_s, strict=True)):
        struct.pack_into("<I", header, 0x400 + 18 + 20 * number, address)
        clock = (
            0x24,
            0x01,
            0x02,
            *(int(str(part), 16) for part in (start_s // 3600, start_s // 60 % 60, start_s % 60)),
        )
        head = bytearray(0x27 + 10 * n_chans)
        struct.pack_into("<6BHI", head, 0x14, *clock, sfreq | 0xC000, block.shape[1] * 10 // sfreq)
        head[0x26] = n_chans
        head[0x27::10] = bytes(range(n_chans))
        steps = np.round((block + 3200) / NIHON_STEP_UV).astype(np.int64) - 32768
        frames = np.zeros((block.shape[1], n_chans + 1), dtype="<u2")
        frames[:, :n_chans] = (np.clip(steps, -32768, 32767) + 32768).T
        parts += [bytes(head), frames.tobytes()]
        address += len(head) + frames.nbytes
    path.write_bytes(bytes(header) + b"".join(parts))
    table = "\r\n".join(f"{number:04d}={name}" for number, name in enumerate(ch_names))
    path.with_suffix(".21E").write_text(f"[ELECTRODE]\r\n{table}\r\n[REFERENCE]\r\n")
    log = bytearray(0x400)
    log[:16], log[0x91] = device, 1
    struct.pack_into("<I", log, 0x92, 0x400)
    rows = b"".join(text.encode().ljust(20, b"\0") + _clock(second).ljust(25, b"\0") for second, text in events)
    path.with_suffix(".LOG").write_bytes(bytes(log) + b"\0" + device + b"\0" + bytes([len(events), 0]) + rows)


def _clock(second: int) -> bytes:
    return f"{second // 3600:02d}{second // 60 % 60:02d}{second % 60:02d}".encode()


def write_persyst(
    path: Path, x: np.ndarray, *, ch_names: Sequence[str], sfreq: float, width: int = 2, step_uv: float = 0.1,
    sample_times: Sequence[tuple[int, float]] = (), comments: Sequence[tuple[float, float, str]] = (),
    patient: str = "",
) -> None:  # fmt: skip
    """Write a .lay header and its .dat; `sample_times` are (sample, seconds of the day)."""
    data = path.with_suffix(".dat")
    np.round(x.T / step_uv).astype(f"<i{width}").tofile(data)
    lines = ["[FileInfo]", f"File={data.name}", "FileType=Interleaved", f"SamplingRate={sfreq:g}", "HeaderLength=0",
             f"Calibration={step_uv}", f"WaveformCount={len(ch_names)}", f"DataType={0 if width == 2 else 7}",
             "[Patient]", f"Last={patient}", "Sex=", "Hand=", "BirthDate=01/02/1990",
             "TestDate=2024.01.02", "TestTime=03:04:05", "[SampleTimes]",
             *(f"{sample}={seconds:.3f}" for sample, seconds in sample_times), "[ChannelMap]",
             *(f"{name}-Ref={number + 1}" for number, name in enumerate(ch_names)), "[Comments]",
             *(f"{onset:.3f},{duration:.3f},0,100,{text}" for onset, duration, text in comments)]  # fmt: skip
    path.write_text("\r\n".join(lines) + "\r\n")


def write_nicolet(path: Path, x: np.ndarray, *, ch_names: Sequence[str], sfreq: float, step_uv: float = 0.1) -> None:
    """Write a .head file and its .data."""
    np.round(x.T / step_uv).astype("<i2").tofile(path.with_suffix(".data"))
    path.write_text(
        f"start_ts=2009-02-12 10:11:12.000\nnum_samples={x.shape[1]}\nsample_freq={sfreq:g}\n"
        f"conversion_factor={step_uv}\nnum_channels={len(ch_names)}\nelec_names=[{','.join(ch_names)}]\n"
        f"pat_id=107\nadm_id=1\nrec_id=2\nduration_in_sec={x.shape[1] / sfreq:g}\n"
    )


def write_egi_raw(
    path: Path, x: np.ndarray, *, sfreq: int, version: int = 2, amplifier: tuple[int, int] = (0, 0),
    events: Sequence[tuple[str, int, int]] = (),
) -> None:  # fmt: skip
    """Write a continuous simple binary file; `amplifier` is (bits, range in µV), `events` (code, start, length)."""
    codes = list(dict.fromkeys(code for code, _, _ in events))
    tracks = np.zeros((len(codes), x.shape[1]))
    for code, start, length in events:
        tracks[codes.index(code), start : start + length] = 1
    bits, full = amplifier
    steps = x / (full / 2**bits) if bits else x
    dtype = {2: ">i2", 4: ">f4", 6: ">f8"}[version]
    rows = np.vstack([np.round(steps) if version == 2 else steps, tracks])
    header = struct.pack(
        ">i6hi5hih", version, 2024, 1, 2, 3, 4, 5, 0, sfreq, len(x), 0, bits, full, x.shape[1], len(codes)
    )
    path.write_bytes(header + "".join(codes).encode() + rows.T.astype(dtype).tobytes())


def write_egi_mff(path: Path, blocks: Sequence[np.ndarray], *, sfreq: int, pauses_s: Sequence[float] = ()) -> None:
    """Write an .mff folder of a 32 or 64 channel HydroCel net with mffpy's own writer; a pause lies before a block."""
    from datetime import UTC, datetime

    from mffpy.writer import BinWriter, Writer

    samples = BinWriter(sampling_rate=sfreq, data_type="EEG")
    for number, block in enumerate(blocks):
        pause_us = int(pauses_s[number - 1] * 1e6) if number else None
        samples.add_block(block.astype(np.float32), offset_us=pause_us)
    writer = Writer(str(path))
    writer.addxml("fileInfo", recordTime=datetime(2024, 1, 2, 3, 4, 5, 678901, tzinfo=UTC))
    writer.addbin(samples)
    writer.add_coordinates_and_sensor_layout(f"HydroCel GSN {len(blocks[0]) // 32 * 32} 1.0")
    writer.write()


def write_neuroscan(
    path: Path, x: np.ndarray, *, ch_names: Sequence[str], sfreq: int, width: int = 2, n_times: int | None = None,
    events: Sequence[tuple[int, int]] = (),
) -> None:  # fmt: skip
    """Write a .cnt file of 0.1 µV steps; `n_times` is what the header claims, `events` are (sample, code)."""
    n_chans = len(ch_names)
    begin = 900 + 75 * n_chans
    table = begin + width * x.size
    header = bytearray(begin)
    header[:11] = b"Version 3.0"
    struct.pack_into("<HxxxxH", header, 370, n_chans, sfreq)
    struct.pack_into("<i", header, 864, x.shape[1] if n_times is None else n_times)
    struct.pack_into("<ifi", header, 886, table, x.shape[1] / sfreq, 0)
    for number, name in enumerate(ch_names):
        place, angle = 900 + 75 * number, 2 * np.pi * number / n_chans
        header[place : place + len(name)] = name.encode()
        struct.pack_into("<ff", header, place + 19, np.cos(angle), np.sin(angle))
        struct.pack_into("<f", header, place + 59, 20.48)  # sensitivity x calibration / 204.8 = 0.1 µV
        struct.pack_into("<f", header, place + 71, 1.0)
    rows = b"".join(struct.pack("<HBBl", code, 0, 0, begin + width * n_chans * (sample + 1)) for sample, code in events)
    steps = np.round(x.T / 0.1).astype(f"<i{width}").tobytes()
    path.write_bytes(bytes(header) + steps + struct.pack("<Bll", 1, len(rows), 0) + rows)


def write_curry(path: Path, x: np.ndarray, *, ch_names: Sequence[str], sfreq: float, n_trials: int = 1) -> None:
    """Write a Curry 8 .cdt file and its .cdt.dpa."""
    x.T.astype("<f4").tofile(path)
    places = "\n".join(f"{np.cos(k):.3f}\t{np.sin(k):.3f}\t{0.1 * k:.3f}" for k in range(len(ch_names)))
    impedances = "\t".join(["1"] * len(ch_names))
    newline = "\n"
    path.with_name(path.name + ".dpa").write_text(
        f"FileVersion = 801\nDATA_PARAMETERS START\n   NumSamples = {x.shape[1] // n_trials}\n"
        f"   NumChannels = {len(ch_names)}\n   NumTrials = {n_trials}\n   SampleFreqHz = {sfreq:g}\n"
        f"   TriggerOffsetUsec = 0\n   DataFormat = FLOAT\n   DataSampOrder = SAMP\n"
        f"   SampleTimeUsec = {1e6 / sfreq:g}\n"
        "   StartYear = 2024\n   StartMonth = 1\n   StartDay = 2\n   StartHour = 3\n   StartMin = 4\n   StartSec = 5\n"
        "   StartMillisec = 0\n   DataByteOrder = INTEL\n   AmplifierInfo = \nDATA_PARAMETERS END\n\n"
        f"DEVICE_PARAMETERS EEG START\n   DataUnit = uV\n   NumChanThisGroup = {len(ch_names)}\n"
        "DEVICE_PARAMETERS EEG END\n\n"
        f"LABELS EEG START\n   ListNrRows = {len(ch_names)}\nLABELS EEG END\n\nLABELS EEG START_LIST\n"
        f"{newline.join(ch_names)}\nLABELS EEG END_LIST\n\n"
        f"SENSORS EEG START\nSENSORS EEG END\n\nSENSORS EEG START_LIST\n{places}\nSENSORS EEG END_LIST\n\n"
        f"IMPEDANCE_VALUES START\nIMPEDANCE_VALUES END\n\nIMPEDANCE_VALUES START_LIST\n{impedances}\n"
        "IMPEDANCE_VALUES END_LIST\n"
    )


def write_gdf(
    path: Path, x: np.ndarray, *, ch_names: Sequence[str], sfreq: int, patient: str = "X X",
    events: Sequence[tuple[int, int]] = (), slow: Sequence[str] = (),
) -> None:  # fmt: skip
    """Write a GDF 1.25 file of one-second records, 0.1 µV steps; channels of `slow` have a tenth of the rate."""
    n_chans, n_records = len(ch_names), x.shape[1] // sfreq
    sizes = [sfreq // 10 if name in slow else sfreq for name in ch_names]
    fixed = b"GDF 1.25" + patient.encode().ljust(80) + b"".ljust(80) + b"2024010203040500"
    fixed += struct.pack("<q24x20xqIII", 256 * (n_chans + 1), n_records, 1, 1, n_chans)
    limits = np.array([[-3276.8], [3276.7]] * 1) * np.ones((2, n_chans))
    table = b"".join(name.encode().ljust(16) for name in ch_names) + b" " * 80 * n_chans + b"uV      " * n_chans
    table += limits.astype("<f8").tobytes() + np.repeat([-32768, 32767], n_chans).astype("<i8").tobytes()
    table += b" " * 80 * n_chans + np.array(sizes, "<u4").tobytes() + np.full(n_chans, 3, "<u4").tobytes()
    table += bytes(32 * n_chans)
    steps = np.round(x / 0.1).astype("<i2")
    records = b"".join(
        steps[channel, record * sfreq : (record + 1) * sfreq : sfreq // sizes[channel]].tobytes()
        for record in range(n_records)
        for channel in range(n_chans)
    )
    marks = np.array([sample + 1 for sample, _ in events], "<u4").tobytes()
    marks += np.array([code for _, code in events], "<u2").tobytes()
    table_of_events = b"\x01" + sfreq.to_bytes(3, "little") + struct.pack("<I", len(events)) + marks
    path.write_bytes(fixed + table + records + table_of_events)


def write_micromed(
    path: Path, blocks: Sequence[np.ndarray], *, ch_names: Sequence[str], sfreq: int, starts: Sequence[int] = (0,),
    grounds: Sequence[str] | None = None, notes: Sequence[tuple[int, str]] = (), patient: tuple[str, str] = ("", ""),
) -> None:  # fmt: skip
    """Write a .TRC file of type 4 with 0.1 µV steps; `starts` are the blocks' first samples on the clock."""
    n_chans = len(ch_names)
    header = bytearray(640)
    header[:31] = b"* MICROMED  Brain-Quick file *\0"
    header[64:106] = patient[0].encode().ljust(22) + patient[1].encode().ljust(20)
    header[128:134] = bytes([2, 1, 124, 3, 4, 5])
    labels, orders = 640, 640 + 128 * n_chans
    segments = orders + 2 * n_chans
    texts = segments + 8 * (len(blocks) + 1)
    empty = texts + 44 * max(len(notes), 1)
    begin = empty + 24
    struct.pack_into("<IHHHH", header, 138, begin, n_chans, n_chans, sfreq, 2)
    header[175] = 4
    zones = {"ORDER": (orders, 2 * n_chans), "LABCOD": (labels, 128 * n_chans), "NOTE": (texts, empty - texts),
             "TRONCA": (segments, 8 * (len(blocks) + 1))}  # fmt: skip
    names = ("ORDER", "LABCOD", "NOTE", "FLAGS", "TRONCA", "IMPED_B", "IMPED_E", "MONTAGE", "COMPRESS", "AVERAGE",
             "HISTORY", "DVIDEO", "EVENT A", "EVENT B", "TRIGGER")  # fmt: skip
    for number, name in enumerate(names):
        struct.pack_into("<8sII", header, 176 + 16 * number, name.encode().ljust(8), *zones.get(name, (empty, 24)))
    for number, name in enumerate(ch_names):
        ground = (grounds or ["G2"] * n_chans)[number]
        entry = struct.pack(
            "<2s6s6siiiiih8xH", b"\1\0", name.encode(), ground.encode(), 0, 65535, 32768, -3277, 3277, 0, 1
        )
        header += entry.ljust(128, b"\0")
    header += np.arange(n_chans, dtype="<u2").tobytes()
    at = 0
    for start, block in zip(starts, blocks, strict=True):
        header += struct.pack("<II", start, at)
        at += block.shape[1]
    header += bytes(8)
    for sample, text in notes or [(0, "")]:
        header += struct.pack("<I40s", sample, text.encode())
    header += bytes(24)
    step = 6554 / 65536
    samples = np.hstack([np.clip(np.round(block / step) + 32768, 0, 65535) for block in blocks])
    path.write_bytes(bytes(header) + samples.T.astype("<u2").tobytes())
