"""Whole preprocessing runs over folders of damaged recordings, with sound ones among them."""

import json
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.drills.fuzzing.children import Series
from benchmarks.drills.fuzzing.damages import PARTS
from pipelines.runs.accounting import COPY
from pipelines.shard_sets.problem import Problem
from pipelines.shard_sets.verify import verify
from signals.recording.identity import hash_file
from signals.shards.manifest import FILES, RECORDINGS, WINDOWS, ManifestError

LIMIT_S = 300.0
SALT = "fuzz"


@dataclass(frozen=True, kw_only=True)
class RunOutcome:
    """What became of one run."""

    first: int
    """Number of the first mutation in it."""
    n_files: int
    n_windows: int
    n_refused: int
    lost: tuple[str, ...]
    """A line per file that was neither used nor refused with a reason; all of them where the run died."""


def whole_run(series: Series, numbers: Sequence[int], folder: Path, *, n_workers: int = 1) -> RunOutcome:
    """Preprocess the damaged recordings of `numbers` and each sound one once in an empty folder; return what was lost.

    One worker runs under Beam, several without it.

    A run must end with a whole set that `verify` accepts, name every file as used or refused, refuse none for a fault
    of ours, and keep every window of the sound files.
    """
    source, output = folder / "in", folder / "out"
    damaged = [_written(series, number, source / f"{number}") for number in numbers]
    sound = [_copied(base, source / "sound") for base in dict.fromkeys(series.bases) if not _is_odd(base)]
    command = [
        sys.executable, "-m", "pipelines.preprocess", "--input", str(source), "--output", str(output), "--salt", SALT,
        "--site-from", "constant:fuzz", "--max-quarantined", "1",
        *([f"--direct_num_workers={n_workers}"] if n_workers > 1 else []),
    ]  # fmt: skip
    try:
        process = subprocess.run(command, capture_output=True, text=True, timeout=LIMIT_S, check=False)
        died = process.stderr.strip().splitlines()[-1:] if process.returncode else []
        lost = [f"the run ended with {process.returncode}: {' '.join(died)}"] * bool(process.returncode)
    except subprocess.TimeoutExpired:
        lost = [f"the run took longer than {LIMIT_S:g} s"]
    counted = [0, 0]
    if lost:
        lost *= len(damaged)
    else:
        lost, counted = _losses(output, damaged, sound)
    return RunOutcome(
        first=numbers[0], n_files=len(damaged), n_windows=counted[0], n_refused=counted[1], lost=tuple(lost)
    )


def _losses(output: Path, damaged: Sequence[Path], sound: Sequence[Path]) -> tuple[list[str], list[int]]:
    """Return a line per loss, and how many windows were written and refused."""
    lost = []
    try:
        verify(output)
    except (Problem, ManifestError) as error:
        lost.append(f"the set is not whole: {error}")
    used = {row["file_id"]: row for row in _rows(output / RECORDINGS)}
    refused = {row["file_id"]: row["reason"] for row in _rows(output / FILES)}
    windows = _rows(output / WINDOWS)
    faulty = {row["recording_id"] for row in windows if row["reason"] == "internal_error"}
    for path in (path for path in damaged if path.exists()):  # one of a recording's files may be gone: this one
        file_id = hash_file(str(path), salt=SALT)
        if file_id not in used and file_id not in refused:
            lost.append(f"{path.parent.name}/{path.name} is in no list")
        elif refused.get(file_id) == "internal_error" or used.get(file_id, {}).get("recording_id") in faulty:
            lost.append(f"{path.parent.name}/{path.name} is a fault of ours")
    incomplete = {row["recording_id"] for row in windows}
    for path in sound:
        row = used.get(hash_file(str(path), salt=SALT))
        if row is None and refused.get(hash_file(str(path), salt=SALT)) != COPY:
            lost.append(f"the sound {path.name} was not used")
        elif row is not None and (row["recording_id"] in incomplete or not row["n_windows"]):
            lost.append(f"the sound {path.name} lost windows")
    return lost, [sum(row["n_windows"] for row in used.values()) - len(windows), len(windows)]


def _rows(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def _written(series: Series, number: int, folder: Path) -> Path:
    folder.mkdir(parents=True)
    return series.write(number, folder)


def _copied(base: Path, folder: Path) -> Path:
    """Copy a sound recording with all its files."""
    if base.parent.suffix == PARTS:
        shutil.copytree(base.parent, folder, dirs_exist_ok=True)
    else:
        folder.mkdir(parents=True, exist_ok=True)
        shutil.copy(base, folder)
    return folder / base.name


def _is_odd(base: Path) -> bool:
    """Return whether a base is no recording of ours: some of those are refused."""
    return len(base.stem.removesuffix("_raw")) > 1
