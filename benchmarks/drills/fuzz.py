"""Damaged EDF and BDF files: each must be read or refused with a reason. `python -m benchmarks.drills.fuzz`

Every mutation is a function of its number. Child processes open, plan and prepare the first window of each, with 1 GB
of address space beyond what the interpreter itself maps; this process waits at most 10 s for an answer. Lost is what
died, took longer or more, ended in an exception that is no reason code, was blamed on a library (these readers are
ours), or was read as samples that are not finite.
"""

import argparse
import contextlib
import importlib
import json
import os
import random
import re
import resource
import select
import shutil
import struct
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.harness import figure, machine
from signals.readers.declaration import NOTHING_DECLARED, Declaration
from signals.readers.registry import open_recording
from signals.recording.recording import READ_REASONS, Recording, UnreadableError
from signals.windows.blocks import blocks, plan_windows
from signals.windows.plan import plan_recording
from signals.windows.prepare import prepare_block
from signals.windows.profiles import PRETRAIN
from synthetic.recordings.files import write_edf

LIMIT_S, LIMIT_BYTES = 10.0, 2**30
LIBRARY_LIMIT_S = 90.0
"""For a format that a library reads: its reader waits a minute for the library itself."""
PARTS = ".parts"
"""How the name of a folder ends that holds all files of one recording."""
START_S = 120.0
"""What a child may take to start, on a busy machine."""
READ = "read"
_NAMES = ("EEG Fp1-REF", "EEG Fp2-REF", "F3", "F4", "C3", "C4", "P3", "P4", "O1", "O2", "ECG", "SpO2")
_FIXED = ((8, 80), (88, 80), (168, 8), (176, 8), (184, 8), (192, 44), (236, 8), (244, 8), (252, 4))
_WIDTHS = (16, 80, 8, 8, 8, 8, 8, 80, 8, 32)
_VALUES = (
    b"", b"0", b"-1", b"1", b"2", b"9", b"255", b"32767", b"65536", b"99999999", b"-9999999", b"1e9", b"1e-9", b"1e308",
    b"1e30", b"1e-320", b"nan", b"inf", b"-inf", b"0.001", b"0.1", b"1.5", b"100000", b"1_000", b"0x10", b"1,5",
    b"+5", b"\x00" * 8, b"\xff" * 8, "µV".encode(), b"V", b"EDF+D", b"EDF+C", b"BDF+D", b"EDF Annotations",
    b"BDF Annotations", b"Fp1",
)  # fmt: skip


def write_bases(folder: Path) -> list[Path]:
    """Write the sound files that mutations start from: EDF, EDF+D with gaps and events, BDF, and one at an odd rate."""
    rng = np.random.default_rng(0)
    bases = []
    for name, kind, sfreq, n_seconds in (
        ("a.edf", "edf", 200, 14), ("b.edf", "edf+d", 128, 16), ("c.bdf", "bdf", 256, 12), ("d.edf", "edf", 173, 13),
    ):  # fmt: skip
        x = 30 * rng.standard_normal((len(_NAMES), n_seconds * sfreq))
        onsets = [float(second + (3 if kind == "edf+d" and second >= 12 else 0)) for second in range(n_seconds)]
        write_edf(
            folder / name, [x], file_format=kind, ch_names=_NAMES, sfreq=sfreq, patient="X", record_onsets_s=onsets
        )
        bases.append(folder / name)
    return bases


def mutate(octets: bytes, rng: random.Random, *, of_edf: bool = True) -> bytes:
    """Return a file with one to three damages: of EDF's header fields too, or of any file."""
    data = bytearray(octets)
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        if len(data) > (300 if of_edf else 20):
            rng.choice(_DAMAGES if of_edf else _ANY_DAMAGES)(data, rng)
    return bytes(data)


def mutate_recording(base: Path, folder: Path, rng: random.Random) -> Path:
    """Write a damaged copy of a recording into an empty folder and return its path.

    Of a recording of several files, those of a folder whose name ends with `PARTS`, one is damaged.
    """
    if base.parent.suffix != PARTS:
        path = folder / f"x{base.suffix}"
        path.write_bytes(mutate(base.read_bytes(), rng, of_edf=base.suffix in (".edf", ".bdf")))
        return path
    shutil.copytree(base.parent, folder, dirs_exist_ok=True)
    files = sorted(file for file in folder.rglob("*") if file.is_file())
    damaged = rng.choice(files)
    damaged.write_bytes(mutate(damaged.read_bytes(), rng, of_edf=False))
    if len(files) > 1 and rng.random() < 0.05:
        rng.choice(files).unlink()
    return folder / base.name


def _flip(data: bytearray, rng: random.Random) -> None:
    for _ in range(rng.randint(1, 40)):
        data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)


def _flip_header(data: bytearray, rng: random.Random) -> None:
    for _ in range(rng.randint(1, 20)):
        data[rng.randrange(min(len(data), 256 * (len(_NAMES) + 1)))] = rng.randrange(256)


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


_ANY_DAMAGES = (
    _flip,
    _number,
    _number,
    _number,
    _digits,
    _digits,
    _digits,
    _line,
    _cut,
    _remove,
    _repeat,
    _insert,
    _blank,
)
_DAMAGES = (_flip, _flip_header, _field, _field, _decisive_field, _decisive_field, _column, _cut, _remove, _repeat,
            _insert, _blank)  # fmt: skip


def _n_signals(data: bytearray) -> int:
    text = bytes(data[252:256]).strip()
    return min(max(int(text), 1), 300) if text.isdigit() else len(_NAMES)


def _fields(data: bytearray) -> list[tuple[int, int]]:
    n_signals, start, fields = _n_signals(data), 256, list(_FIXED)
    for width in _WIDTHS:
        fields += [(start + width * i, width) for i in range(n_signals)]
        start += width * n_signals
    return fields


Declares = Callable[[Path], Declaration]


def _nothing(path: Path) -> Declaration:
    return NOTHING_DECLARED


def verdict(path: Path, *, library: bool = False, declares: Declares = _nothing) -> str:
    """Return `READ` or the reason code of a file after planning it and preparing its first window.

    Only of a format that a `library` reads may the reason be that the library failed.
    """
    try:
        recording = open_recording(str(path), declared=declares(path))
        _read_starts(recording)  # of recordings that planning refuses, too
        plan = plan_recording(recording, PRETRAIN, site_id="fuzz", subject_id="fuzz", source_sha256="0" * 64)
        block = next(blocks(plan, plan_windows(recording, plan)[:1]))
        prepared = prepare_block(recording, block)
    except UnreadableError as error:
        # A reader of our own has no library to blame.
        is_blamed = error.reason in ("reader_crashed", "reader_timeout") and not library
        return f"LOST {error.detail}" if is_blamed else error.reason
    except Exception as error:
        return f"LOST {type(error).__name__}: {error}"
    if not all(np.isfinite(window.data).all() for window in prepared.windows):
        return "LOST samples that are not finite"
    return READ


def _read_starts(recording: Recording) -> None:
    """Read the first samples of all channels of the last segment."""
    last = len(recording.segments) - 1
    for sfreq in sorted(set(recording.sfreqs)):
        picks = [pick for pick, rate in enumerate(recording.sfreqs) if rate == sfreq]
        recording.read(picks, segment=last, stop=min(1000, recording.n_times(picks[0], last)))


@dataclass(frozen=True)
class Outcome:
    """What became of one mutation."""

    number: int
    base: str
    verdict: str
    """`READ`, a reason code, or "LOST ..."."""
    seconds: float


class _Child:
    """A process that judges mutations one after the other."""

    def __init__(self, bases: Sequence[Path], seed: int, library: bool, declares: str) -> None:
        self._limit_s = LIBRARY_LIMIT_S if library else LIMIT_S
        command = [
            sys.executable,
            "-m",
            "benchmarks.drills.fuzz",
            "--child",
            *(str(base.resolve()) for base in bases),
            "--seed",
            str(seed),
            *(["--library"] if library else []),
            *(["--declares", declares] if declares else []),
        ]
        # benchmarks/ is not installed
        environment = {**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parents[2])}
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment)
        if self._answer(START_S) is None:
            raise RuntimeError("a child process of the fuzz did not start")

    def judge(self, number: int) -> str | None:
        """Return the verdict, or None if the child died or took too long; it is of no use then."""
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(f"{number}\n".encode())
            self._process.stdin.flush()
        except BrokenPipeError:
            return None
        return self._answer(self._limit_s)

    def end(self) -> int | None:
        """Kill the child; returns the exit code if it had died by itself."""
        code = None
        with contextlib.suppress(subprocess.TimeoutExpired):
            code = self._process.wait(timeout=1)  # its pipe closes a little before it is gone
        self._process.kill()
        self._process.communicate()
        return code

    def _answer(self, limit_s: float) -> str | None:
        assert self._process.stdout is not None
        ready, _, _ = select.select([self._process.stdout], [], [], limit_s)
        line = self._process.stdout.readline() if ready else b""
        return json.loads(line) if line else None


def fuzz(
    bases: Sequence[Path], numbers: Sequence[int], *, seed: int, library: bool = False, declares: str = ""
) -> Iterator[Outcome]:
    """Yield what becomes of each mutation, judged in a child process that is replaced where one dies or hangs.

    `declares` is "module:function" of what gives each file's declaration, where the format needs one.
    """
    child = _Child(bases, seed, library, declares)
    try:
        for number in numbers:
            began = time.perf_counter()
            outcome = child.judge(number)
            seconds = time.perf_counter() - began
            if outcome is None:
                code = child.end()
                outcome = "LOST hang" if code is None and seconds >= LIMIT_S else f"LOST crash with status {code}"
                child = _Child(bases, seed, library, declares)
            yield Outcome(number, bases[number % len(bases)].name, outcome, seconds)
    finally:
        child.end()


def _serve(bases: Sequence[Path], seed: int, library: bool, declares: Declares | None = None) -> None:
    """Judge the mutations whose numbers come in; one line of JSON each goes out."""
    how: dict[str, Any] = {"library": library, **({"declares": declares} if declares else {})}
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    with tempfile.TemporaryDirectory() as folder:
        verdict(bases[0], **how)  # libraries are loaded before the limit is counted
        mapped = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (mapped + LIMIT_BYTES, mapped + LIMIT_BYTES))
        answers.write(b'"ready"\n')
        answers.flush()
        for line in sys.stdin:
            number = int(line)
            base = bases[number % len(bases)]
            place = Path(folder) / str(number)
            place.mkdir()
            path = mutate_recording(base, place, random.Random(f"{seed}/{number}"))
            answers.write(json.dumps(verdict(path, **how)).encode() + b"\n")
            answers.flush()
            shutil.rmtree(place)


def main(argv: Sequence[str] | None = None) -> int:
    """Print verdicts and figures; returns 1 if a file was lost."""
    parser = argparse.ArgumentParser(prog="benchmarks.drills.fuzz", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--n", type=int, default=2400, help="mutations")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="child processes")
    parser.add_argument("--keep", type=Path, help="folder for the files that were lost")
    parser.add_argument("--child", nargs="+", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--library", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--declares", default="", help=argparse.SUPPRESS)
    args = parser.parse_args(argv)
    if args.child:
        module, _, function = args.declares.partition(":")
        declares = getattr(importlib.import_module(module), function) if module else None
        _serve(args.child, args.seed, args.library, declares)
        return 0
    with tempfile.TemporaryDirectory() as folder:
        # Sound files four times: most of the odd ones are too short to come far.
        bases = [*4 * write_bases(Path(folder)), *_awkward()]
        began = time.perf_counter()
        with ThreadPoolExecutor(args.jobs) as pool:
            parts = [range(job, args.n, args.jobs) for job in range(args.jobs)]
            parts_done = pool.map(lambda part: list(fuzz(bases, part, seed=args.seed)), parts)
            outcomes = [outcome for part in parts_done for outcome in part]
        _report(outcomes, bases, args, time.perf_counter() - began)
    return int(any(outcome.verdict.startswith("LOST") for outcome in outcomes))


def _awkward() -> list[Path]:
    """Return the smaller odd files of CEREBEAM_REAL_DATA, if there are any."""
    folder = Path(os.environ.get("CEREBEAM_REAL_DATA", "/nonexistent")) / "awkward"
    paths = [path for suffix in ("edf", "bdf") for path in folder.glob(f"*/*.{suffix}")]
    return sorted(path for path in paths if 1000 < path.stat().st_size < 600_000)


def _report(outcomes: Sequence[Outcome], bases: Sequence[Path], args: argparse.Namespace, seconds: float) -> None:
    print(machine())
    lost = [outcome for outcome in outcomes if outcome.verdict != READ and outcome.verdict not in READ_REASONS]
    counts = Counter(outcome.verdict.split(":")[0] for outcome in outcomes)
    for what, n in counts.most_common():
        print(f"{n:6d}  {what}")
    for outcome in sorted(lost, key=lambda outcome: outcome.number):
        print(f"lost {outcome.number} ({outcome.base}, {outcome.seconds:.1f} s): {outcome.verdict}")
        if args.keep:
            args.keep.mkdir(parents=True, exist_ok=True)
            base = bases[outcome.number % len(bases)]
            octets = mutate(base.read_bytes(), random.Random(f"{args.seed}/{outcome.number}"))
            (args.keep / f"{outcome.number}{base.suffix}").write_bytes(octets)
    slowest = max(outcomes, key=lambda outcome: outcome.seconds)
    print(
        f"{len(bases)} sound or odd files, {seconds:.0f} s, slowest {slowest.seconds:.2f} s (number {slowest.number})"
    )
    figure("fuzz_files", len(outcomes), "files")
    figure("fuzz_lost", len(lost), "files")


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        sys.exit(main())
