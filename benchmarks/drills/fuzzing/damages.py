"""Damages to a recording's bytes: to fields of EDF's header, to numbers, texts, pages and samples of any file."""

import math
import random
import re
import shutil
import struct
from pathlib import Path

PARTS = ".parts"
"""How the name of a folder ends that holds all files of one recording."""
HEADER_CHANNELS = 12
"""How many channels a damaged EDF header is taken to have where it does not say it."""
_FIXED = ((8, 80), (88, 80), (168, 8), (176, 8), (184, 8), (192, 44), (236, 8), (244, 8), (252, 4))
_WIDTHS = (16, 80, 8, 8, 8, 8, 8, 80, 8, 32)
_VALUES = (
    b"", b"0", b"-1", b"1", b"2", b"9", b"255", b"32767", b"65536", b"99999999", b"-9999999", b"1e9", b"1e-9", b"1e308",
    b"1e30", b"1e-320", b"nan", b"inf", b"-inf", b"0.001", b"0.1", b"1.5", b"100000", b"1_000", b"0x10", b"1,5",
    b"+5", b"\x00" * 8, b"\xff" * 8, "µV".encode(), b"V", b"EDF+D", b"EDF+C", b"BDF+D", b"EDF Annotations",
    b"BDF Annotations", b"Fp1",
)  # fmt: skip


def mutate(octets: bytes, rng: random.Random, *, of: str = "edf") -> bytes:
    """Return a file with one to three damages: `of` "edf" those of its header fields too, of "float" of samples."""
    data, damages = bytearray(octets), {"edf": _DAMAGES, "float": _FLOAT_DAMAGES, "any": _ANY_DAMAGES}[of]
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        if len(data) > (300 if of == "edf" else 20):
            rng.choice(damages)(data, rng)
    return bytes(data)


def mutate_recording(base: Path, folder: Path, rng: random.Random, *, of_floats: bool = False) -> Path:
    """Write a damaged copy of a recording into an empty folder and return its path.

    Of a recording of several files, those of a folder whose name ends with `PARTS`, one is damaged.
    """
    of = "float" if of_floats else "edf" if base.suffix in (".edf", ".bdf") else "any"
    if base.parent.suffix != PARTS:
        path = folder / f"x{base.suffix}"
        path.write_bytes(mutate(base.read_bytes(), rng, of=of))
        return path
    shutil.copytree(base.parent, folder, dirs_exist_ok=True)
    files = sorted(file for file in folder.rglob("*") if file.is_file())
    damaged = rng.choice(files)
    damaged.write_bytes(mutate(damaged.read_bytes(), rng, of=of))
    if len(files) > 1 and rng.random() < 0.05:
        rng.choice(files).unlink()
    return folder / base.name


def _flip(data: bytearray, rng: random.Random) -> None:
    for _ in range(rng.randint(1, 40)):
        data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)


def _flip_header(data: bytearray, rng: random.Random) -> None:
    for _ in range(rng.randint(1, 20)):
        data[rng.randrange(min(len(data), 256 * (HEADER_CHANNELS + 1)))] = rng.randrange(256)


def _field(data: bytearray, rng: random.Random) -> None:
    """Overwrite a field with a value of the list, or with another field's bytes."""
    start, width = rng.choice(_fields(data))
    other, other_width = rng.choice(_fields(data))
    value = rng.choice(_VALUES) if rng.random() < 0.8 else bytes(data[other : other + other_width])
    data[start : start + width] = value[:width].ljust(width)


def _decisive_field(data: bytearray, rng: random.Random) -> None:
    """Overwrite one of the fields that decide sizes and times, with any number."""
    n_signals = _n_signals(data)
    samples = 256 + 216 * n_signals + 8 * rng.randrange(n_signals)
    start = rng.choice((184, 236, 244, 252, samples))
    number = rng.choice((rng.randint(-2, 300), rng.randint(0, 10**8), round(10 ** rng.uniform(-6, 7), 6)))
    width = 4 if start == 252 else 8
    data[start : start + width] = str(number).encode()[:width].ljust(width)


def _column(data: bytearray, rng: random.Random) -> None:
    """Overwrite a field of all channels alike."""
    n_signals, column, value = _n_signals(data), rng.randrange(len(_WIDTHS)), rng.choice(_VALUES)
    start, width = 256 + sum(_WIDTHS[:column]) * n_signals, _WIDTHS[column]
    data[start : start + width * n_signals] = value[:width].ljust(width) * n_signals


def _cut(data: bytearray, rng: random.Random) -> None:
    del data[rng.randrange(1, len(data)) :]


def _remove(data: bytearray, rng: random.Random) -> None:
    start = rng.randrange(len(data))
    del data[start : start + rng.choice((1, 2, 8, 80, 256, 5000))]


def _repeat(data: bytearray, rng: random.Random) -> None:
    start, n_bytes = rng.randrange(len(data)), rng.choice((1, 2, 8, 80, 256, 5000))
    data[start:start] = data[start : start + n_bytes] * rng.randint(1, 4)


def _insert(data: bytearray, rng: random.Random) -> None:
    start = rng.randrange(len(data))
    data[start:start] = rng.randbytes(rng.choice((1, 3, 16, 300)))


def _blank(data: bytearray, rng: random.Random) -> None:
    start, n_bytes = rng.randrange(len(data)), rng.choice((8, 256, 4096, 40_000))
    n_bytes = min(n_bytes, len(data) - start)
    data[start : start + n_bytes] = bytes([rng.choice((0, 0x14, 0x20, 0x30, 0xFF))]) * n_bytes


def _number(data: bytearray, rng: random.Random) -> None:
    """Overwrite four bytes among the first two thousand with a number that decides much or nothing."""
    start = rng.randrange(min(len(data), 2000) - 4)
    value = rng.choice((0, 1, -1, 2, 255, 256, 65535, 65536, 10**6, 2**31 - 1, -(2**31), rng.randrange(2**31)))
    data[start : start + 4] = struct.pack(rng.choice("<>") + "i", value)


def _digits(data: bytearray, rng: random.Random) -> None:
    """Overwrite a number of a text, of the same length or longer."""
    found = list(re.finditer(rb"\d+(\.\d+)?", bytes(data[:20_000])))
    if found:
        where = rng.choice(found)
        data[where.start() : where.end()] = rng.choice(_VALUES)


def _line(data: bytearray, rng: random.Random) -> None:
    """Take a line of a text out, or put it in twice."""
    lines = bytes(data).split(b"\n")
    at = rng.randrange(len(lines))
    data[:] = b"\n".join(lines[:at] + lines[at : at + 1] * rng.choice((0, 2)) + lines[at + 1 :])


def _floats(data: bytearray, rng: random.Random) -> None:
    """Overwrite float32 samples, one or a stretch of them, with what is no voltage."""
    start, n = 4 * rng.randrange(len(data) // 4), rng.choice((1, 1, 1, 12, 500, 20_000))
    n = min(n, (len(data) - start) // 4)
    values = (math.inf, -math.inf, math.nan, 3e38, -3e38, 1e30, 1e12, 1e-40)
    data[start : start + 4 * n] = struct.pack("<f", rng.choice(values)) * n


_ANY_DAMAGES = (_flip, _number, _number, _number, _digits, _digits, _digits, _line, _cut, _remove, _repeat, _insert,
                _blank)  # fmt: skip
_FLOAT_DAMAGES = (*_ANY_DAMAGES, _floats, _floats, _floats, _floats)
_DAMAGES = (_flip, _flip_header, _field, _field, _decisive_field, _decisive_field, _column, _cut, _remove, _repeat,
            _insert, _blank)  # fmt: skip


def _n_signals(data: bytearray) -> int:
    text = bytes(data[252:256]).strip()
    return min(max(int(text), 1), 300) if text.isdigit() else HEADER_CHANNELS


def _fields(data: bytearray) -> list[tuple[int, int]]:
    n_signals, start, fields = _n_signals(data), 256, list(_FIXED)
    for width in _WIDTHS:
        fields += [(start + width * i, width) for i in range(n_signals)]
        start += width * n_signals
    return fields
