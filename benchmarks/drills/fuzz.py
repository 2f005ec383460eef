"""Damaged recordings: each must be read or refused with a reason, every window of it. `make bench-fuzz`

Every mutation is a function of its number. Child processes plan each and prepare all its windows, with 1 GB of address
space beyond what the interpreter itself maps; this process waits at most 10 s for an answer (90 s where a library reads
the format). Then the same files go through whole preprocessing runs, in folders with sound files among them. Lost is
what died, took longer or more, ended in an exception that is no reason code, was blamed on a library where the reader
is ours, gave samples that are not finite or fewer windows than planned, or is in no list of a run; and what a sound
file beside it lost.

`--log FILE` keeps what was done, and the next call with it goes on there: `--minutes 9` at a time, for instance.
"""

import argparse
import contextlib
import json
import os
import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path

from benchmarks.drills.fuzzing.bases import SOUND_TIMES, float_bases, integer_bases, odd_files
from benchmarks.drills.fuzzing.children import Outcome, Series, fuzz
from benchmarks.drills.fuzzing.whole_runs import RunOutcome, whole_run
from benchmarks.harness import figure, machine

RUN_FILES = 100
LIBRARIES = (".set", ".fif", ".mat", ".h5")
"""Suffixes of what MNE, SciPy or h5py read."""


class Log:
    """Outcomes by kind, kept in a file of JSON lines where one is given."""

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self.files: dict[str, dict[int, Outcome]] = {"integer": {}, "float": {}}
        self.runs: dict[str, dict[int, RunOutcome]] = {"integer": {}, "float": {}}
        for line in path.read_text().splitlines() if path and path.exists() else ():
            row = json.loads(line)
            kind = row.pop("kind")
            if "first" in row:
                self.runs[kind][row["first"]] = RunOutcome(**row | {"lost": tuple(row["lost"])})
            else:
                self.files[kind][row["number"]] = Outcome(**row)

    def add(self, kind: str, outcome: Outcome | RunOutcome) -> None:
        """Keep an outcome."""
        if isinstance(outcome, RunOutcome):
            self.runs[kind][outcome.first] = outcome
        else:
            self.files[kind][outcome.number] = outcome
        if self._path:
            with self._path.open("a") as file:
                file.write(json.dumps({"kind": kind, **asdict(outcome)}) + "\n")


def main(argv: Sequence[str] | None = None) -> int:
    """Print results and figures; returns 1 if a file was lost."""
    parser = argparse.ArgumentParser(prog="benchmarks.drills.fuzz", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--n", type=int, default=2400, help="mutations of files of integers")
    parser.add_argument("--n-float", type=int, default=1200, help="mutations of files of floats")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="child processes")
    parser.add_argument("--no-runs", action="store_true", help="leave the whole runs out")
    parser.add_argument("--log", type=Path, help="JSON lines of what was done; gone on with if it exists")
    parser.add_argument("--minutes", type=float, default=float("inf"), help="begin nothing new after so long")
    parser.add_argument("--keep", type=Path, help="folder for the files that were lost")
    args = parser.parse_args(argv)
    log, ends = Log(args.log), time.monotonic() + 60 * args.minutes
    with tempfile.TemporaryDirectory() as folder:
        every = _series(Path(folder), args.seed)
        for kind, n in (("integer", args.n), ("float", args.n_float)):
            for outcome in _files(every[kind], [k for k in range(n) if k not in log.files[kind]], args.jobs, ends):
                log.add(kind, outcome)
        for kind, n in (("integer", args.n), ("float", args.n_float)):
            for outcome in () if args.no_runs else _runs(every[kind], n, log.runs[kind], ends):
                log.add(kind, outcome)
        if args.keep:
            _keep(every, log, args.keep)
    return report(log)


def _series(folder: Path, seed: int) -> dict[str, Series]:
    (folder / "bases").mkdir()
    integer = (*SOUND_TIMES * integer_bases(folder / "bases"), *odd_files())
    return {
        "integer": Series(bases=integer, seed=seed),
        "float": Series(bases=tuple(float_bases(folder / "bases")), seed=seed + 1, libraries=LIBRARIES, of_floats=True),
    }


def _files(series: Series, numbers: Sequence[int], n_jobs: int, ends: float) -> Iterator[Outcome]:
    """Yield outcomes of single files, until the time is over."""

    def some(part: Sequence[int]) -> list[Outcome]:
        return list(fuzz(series, part)) if time.monotonic() < ends else []

    parts = [numbers[start : start + 50] for start in range(0, len(numbers), 50)]
    with ThreadPoolExecutor(n_jobs) as pool:
        for outcomes in pool.map(some, parts):
            yield from outcomes


def _runs(series: Series, n: int, done: dict[int, RunOutcome], ends: float) -> Iterator[RunOutcome]:
    """Yield outcomes of whole runs, every other one on two processes, until the time is over."""
    for first in range(0, n, RUN_FILES):
        if first not in done and time.monotonic() < ends:
            numbers = range(first, min(first + RUN_FILES, n))
            with tempfile.TemporaryDirectory() as folder:
                yield whole_run(series, numbers, Path(folder), n_workers=1 + first // RUN_FILES % 2)


def _keep(every: dict[str, Series], log: Log, folder: Path) -> None:
    """Write the files that were lost again."""
    for kind, outcomes in log.files.items():
        for outcome in outcomes.values():
            if outcome.is_lost:
                place = folder / f"{kind}-{outcome.number}"
                shutil.rmtree(place, ignore_errors=True)
                place.mkdir(parents=True)
                every[kind].write(outcome.number, place)


def report(log: Log) -> int:
    """Print what became of all files and runs; returns 1 if a file was lost."""
    print(machine())
    n_lost = 0
    for kind, by_number in log.files.items():
        outcomes = [by_number[number] for number in sorted(by_number)]
        reasons = Counter(outcome.result.split(":")[0] for outcome in outcomes).most_common()
        windows, refused = (
            sum(outcome.n_windows for outcome in outcomes),
            sum(outcome.n_refused for outcome in outcomes),
        )
        print(f"{kind}: {len(outcomes)} files, {windows} windows read, {refused} refused")
        print("".join(f"{n:6d}  {what}\n" for what, n in reasons), end="")
        for outcome in (outcome for outcome in outcomes if outcome.is_lost):
            print(f"lost {kind} {outcome.number} ({outcome.base}, {outcome.seconds:.1f} s): {outcome.result}")
            n_lost += 1
        if outcomes:
            slowest = max(outcomes, key=lambda outcome: outcome.seconds)
            print(f"slowest {slowest.seconds:.2f} s (number {slowest.number})")
    whole = [(kind, run) for kind, by_first in log.runs.items() for run in by_first.values()]
    for kind, run in whole:
        for line in run.lost:
            print(f"lost in the {kind} run of {run.first}: {line}")
            n_lost += 1
    every = [outcome for by_number in log.files.values() for outcome in by_number.values()]
    figure("fuzz_files", len(every), "files")
    for kind, by_number in log.files.items():
        figure(f"fuzz_{kind}_files", len(by_number), "files")
    figure("fuzz_windows_read", sum(outcome.n_windows for outcome in every), "windows")
    figure("fuzz_runs", len(whole), "runs")
    figure("fuzz_run_files", sum(run.n_files for _, run in whole), "files")
    figure("fuzz_lost", n_lost, "files")
    return int(n_lost > 0)


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        sys.exit(main())
