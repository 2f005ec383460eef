"""Child processes that read damaged recordings one by one, all windows of each; one that dies or hangs is replaced."""

import contextlib
import importlib
import json
import os
import random
import resource
import select
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from benchmarks.drills.fuzzing.damages import mutate_recording
from pipelines.intake.inputs import FileRef
from pipelines.stages.outcome import Refused
from pipelines.stages.plan_files import plan_file
from pipelines.stages.prepare import prepared
from signals.readers.declaration import NOTHING_DECLARED, Declaration
from signals.readers.registry import open_recording
from signals.recording.recording import Recording, UnreadableError
from signals.windows.profiles import PRETRAIN

LIMIT_S, LIMIT_BYTES = 10.0, 2**30
LIBRARY_LIMIT_S = 90.0
"""For a format that a library reads: its reader waits a minute for the library itself."""
START_S = 120.0
"""What a child may take to start, on a busy machine."""
READ, LOST = "read", "LOST"


@dataclass(frozen=True, kw_only=True)
class Reading:
    """What became of one file."""

    result: str
    """`READ`, the reason code that planning refused the file for, or `LOST` and why."""
    n_windows: int = 0
    """Windows that were prepared and encoded."""
    n_refused: int = 0
    """Windows that were refused with a reason."""


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What became of one mutation."""

    number: int
    base: str
    result: str
    """As in `Reading`."""
    seconds: float
    n_windows: int = 0
    n_refused: int = 0

    @property
    def is_lost(self) -> bool:
        """Whether the file was neither read nor refused with a reason."""
        return self.result.startswith(LOST)


@dataclass(frozen=True, kw_only=True)
class Series:
    """Mutations of some recordings: each is a function of its number and the seed."""

    bases: tuple[Path, ...]
    seed: int
    libraries: tuple[str, ...] = ()
    """Suffixes of formats that a library reads, which may be what failed."""
    of_floats: bool = False
    """Whether samples are damaged as floats."""
    declares: str = ""
    """"module:function" of what gives each file's declaration, where the format needs one."""

    def has_library(self, path: Path) -> bool:
        """Return whether a library reads a file."""
        return path.suffix in self.libraries

    def base(self, number: int) -> Path:
        """Return what a mutation is made of."""
        return self.bases[number % len(self.bases)]

    def write(self, number: int, folder: Path) -> Path:
        """Write a mutation into an empty folder and return its path."""
        rng = random.Random(f"{self.seed}/{number}")
        return mutate_recording(self.base(number), folder, rng, of_floats=self.of_floats)

    def declared(self, path: Path) -> Declaration:
        """Return what a file is opened with."""
        module, _, function = self.declares.partition(":")
        if not module:
            return NOTHING_DECLARED
        declaration: Declaration = getattr(importlib.import_module(module), function)(path)
        return declaration


def read_whole(path: Path, *, library: bool = False, declared: Declaration = NOTHING_DECLARED) -> Reading:
    """Return what becomes of a file whose every window is planned, prepared and encoded, as the pipeline does it.

    Only of a format that a `library` reads may the reason be that the library failed.
    """
    try:
        recording = open_recording(str(path), declared=declared)
    except UnreadableError as error:
        return Reading(result=_refusal(error.reason, error.detail, library))
    except Exception as error:
        return Reading(result=f"{LOST} {type(error).__name__}: {error}")
    try:
        with contextlib.suppress(UnreadableError):  # planning comes to a reason of its own
            _read_starts(recording)  # of recordings that planning refuses, too
        planned = plan_file(FileRef(str(path), "fuzz", "fuzz", None, (), declared), PRETRAIN, "fuzz")
        if isinstance(planned.file, Refused):
            return Reading(result=_refusal(planned.file.reason, planned.file.detail, library))
        outcomes = [outcome for block in planned.blocks for outcome in prepared(block)]
    except Exception as error:
        return Reading(result=f"{LOST} {type(error).__name__}: {error}")
    refused = [outcome for outcome in outcomes if isinstance(outcome, Refused)]
    windows = [outcome.window for outcome in outcomes if not isinstance(outcome, Refused)]
    result = READ
    if faults := [row.detail for row in refused if row.reason == "internal_error"]:
        result = f"{LOST} a window: {faults[0]}"
    elif len(outcomes) != planned.file.n_windows:
        result = f"{LOST} {planned.file.n_windows} windows planned, {len(outcomes)} came out"
    elif not all(np.isfinite(window.data).all() for window in windows):
        result = f"{LOST} samples that are not finite"
    return Reading(result=result, n_windows=len(windows), n_refused=len(refused))


def _refusal(reason: str, detail: str, library: bool) -> str:
    # A reader of our own has no library to blame.
    is_blamed = reason in ("reader_crashed", "reader_timeout") and not library
    return f"{LOST} {detail}" if is_blamed or reason == "internal_error" else reason


def _read_starts(recording: Recording) -> None:
    """Read the first samples of all channels of the last segment."""
    last = len(recording.segments) - 1
    for sfreq in sorted(set(recording.sfreqs)):
        picks = [pick for pick, rate in enumerate(recording.sfreqs) if rate == sfreq]
        recording.read(picks, segment=last, stop=min(1000, recording.n_times(picks[0], last)))


def fuzz(series: Series, numbers: Sequence[int]) -> Iterator[Outcome]:
    """Yield what becomes of each mutation, read in a child process that is replaced where one dies or hangs."""
    child = _Child(series)
    try:
        for number in numbers:
            began = time.perf_counter()
            reading = child.read(number)
            seconds = time.perf_counter() - began
            if reading is None:
                code = child.end()
                hangs = code is None and seconds >= child.limit_s(number)
                reading = Reading(result=f"{LOST} hang" if hangs else f"{LOST} crash with status {code}")
                child = _Child(series)
            yield Outcome(
                number=number, base=series.base(number).name, result=reading.result, seconds=seconds,
                n_windows=reading.n_windows, n_refused=reading.n_refused,
            )  # fmt: skip
    finally:
        child.end()


class _Child:
    """A process that reads mutations one after the other."""

    def __init__(self, series: Series) -> None:
        self._series = series
        described = asdict(series) | {"bases": [str(base.resolve()) for base in series.bases]}
        command = [sys.executable, "-m", "benchmarks.drills.fuzzing.children", json.dumps(described)]
        # benchmarks/ is not installed
        environment = {**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parents[3])}
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment)
        if self._line(START_S) is None:
            raise RuntimeError("a child process of the fuzz did not start")

    def limit_s(self, number: int) -> float:
        """Return how long a mutation may take."""
        return LIBRARY_LIMIT_S if self._series.has_library(self._series.base(number)) else LIMIT_S

    def read(self, number: int) -> Reading | None:
        """Return what became of a mutation, or None if the child died or took too long; it is of no use then."""
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(f"{number}\n".encode())
            self._process.stdin.flush()
        except BrokenPipeError:
            return None
        line = self._line(self.limit_s(number))
        return Reading(**json.loads(line)) if line else None

    def end(self) -> int | None:
        """Kill the child; returns the exit code if it had died by itself."""
        code = None
        with contextlib.suppress(subprocess.TimeoutExpired):
            code = self._process.wait(timeout=1)  # its pipe closes a little before it is gone
        self._process.kill()
        self._process.communicate()
        return code

    def _line(self, limit_s: float) -> bytes | None:
        assert self._process.stdout is not None
        ready, _, _ = select.select([self._process.stdout], [], [], limit_s)
        return (self._process.stdout.readline() if ready else b"") or None


def serve(series: Series) -> None:
    """Read the mutations whose numbers come in; one line of JSON each goes out."""
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    with tempfile.TemporaryDirectory() as folder:
        for base in {base.suffix: base for base in series.bases}.values():
            read_whole(base, declared=series.declared(base))  # libraries are loaded before the limit is counted
        mapped = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (mapped + LIMIT_BYTES, mapped + LIMIT_BYTES))
        answers.write(b'"ready"\n')
        answers.flush()
        for line in sys.stdin:
            number = int(line)
            place = Path(folder) / str(number)
            place.mkdir()
            path = series.write(number, place)
            reading = read_whole(path, library=series.has_library(path), declared=series.declared(path))
            answers.write(json.dumps(asdict(reading)).encode() + b"\n")
            answers.flush()
            shutil.rmtree(place)


if __name__ == "__main__":
    options = json.loads(sys.argv[1])
    serve(Series(**{**options, "bases": tuple(map(Path, options["bases"])), "libraries": tuple(options["libraries"])}))
