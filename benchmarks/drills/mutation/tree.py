"""Copies of the checkout in which faults are planted and tests run; the checkout itself is only read."""

import hashlib
import os
import resource
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.drills.mutation.faults import Fault

TRACING = Path(__file__).with_name("tracing")
_MEMORY_BYTES, _FILE_BYTES = 16 * 2**30, 4 * 2**30
_PYTEST = ("-p", "no:cacheprovider", "-p", "hypothesispytest", "--tb=no", "-rfE", "--hypothesis-seed=0")
_NO_PLUGINS = {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
"""Every plugin at hand but Hypothesis would cost a second a start, and none is of use here."""
_FIRST_MTIME = 10**9


def tracked_files(root: Path) -> list[str]:
    """Return the files of a checkout, with those that are new and not ignored, relative to its root."""
    command = ["git", "-C", str(root), "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    names = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split("\0")
    return sorted(name for name in set(names) if name and (root / name).is_file())


def digest(root: Path) -> str:
    """Return what identifies the Python files of a checkout, and whether real recordings are at hand."""
    sha = hashlib.sha256(os.environ.get("CEREBEAM_REAL_DATA", "").encode())
    for name in tracked_files(root):
        if name.endswith((".py", ".toml")):
            sha.update(name.encode() + b"\0" + hashlib.sha256((root / name).read_bytes()).digest())
    return sha.hexdigest()[:16]


@dataclass(frozen=True)
class Run:
    """What a run of tests came to."""

    code: int
    """Exit code of pytest, negative for a signal."""
    output: str
    seconds: float
    is_hang: bool = False

    @property
    def passed(self) -> bool:
        """Whether every test passed; no test at all counts as passed."""
        return self.code in {0, 5}

    @property
    def failures(self) -> list[str]:
        """The tests that failed, as pytest names them."""
        lines = (line for line in self.output.splitlines() if line.startswith(("FAILED ", "ERROR ")))
        return [line.split(" ", 1)[1].split(" - ")[0] for line in lines]


@dataclass
class Tree:
    """A copy of a checkout."""

    root: Path
    """Of the copy."""
    scratch: Path
    """For what its tests write."""
    n_writes: int = 0
    running: set[int] = field(default_factory=set)
    """Process groups of tests that run."""
    is_stopped: bool = False

    @classmethod
    def copy(cls, checkout: Path, folder: Path) -> "Tree":
        """Return a copy of a checkout's files in a new folder."""
        for name in tracked_files(checkout):
            target = folder / "tree" / name
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(checkout / name, target)
        (folder / "tmp").mkdir()
        return cls(folder / "tree", folder / "tmp")

    @contextmanager
    def planted(self, fault: Fault) -> Iterator[None]:
        """Hold a fault in the copy."""
        path = self.root / fault.path
        octets = path.read_bytes()
        self._write(path, fault.apply(octets))
        try:
            yield
        finally:
            self._write(path, octets)

    def _write(self, path: Path, octets: bytes) -> None:
        """Write a file with a time that it never had: Python knows its compiled form by second and size alone."""
        self.n_writes += 1
        path.write_bytes(octets)
        os.utime(path, (_FIRST_MTIME + self.n_writes, _FIRST_MTIME + self.n_writes))

    def test(
        self, tests: Sequence[str], *options: str, limit_s: float, environ: Mapping[str, str] | None = None
    ) -> Run:
        """Run tests of the copy in a process group of their own; one that takes longer than the limit is ended."""
        shutil.rmtree(self.root / ".hypothesis", ignore_errors=True)
        command = [sys.executable, "-m", "pytest", *_PYTEST, *options, *tests]  # fmt: skip
        log, began, is_hang = self.root.with_name("output.txt"), time.perf_counter(), False
        with log.open("wb") as output:
            process = subprocess.Popen(
                command, cwd=self.root, env=self._environ() | dict(environ or {}), stdout=output,
                stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, start_new_session=True, preexec_fn=_limit,
            )  # fmt: skip
        self.running.add(process.pid)
        try:
            if not self.is_stopped:
                process.wait(timeout=limit_s)
        except subprocess.TimeoutExpired:
            is_hang = True
        finally:
            _kill(process.pid)
            process.wait()
            self.running.discard(process.pid)
            self._tidy()
        seconds = time.perf_counter() - began
        return Run(process.returncode, log.read_text("utf-8", errors="replace"), seconds, is_hang)

    def stop(self) -> None:
        """End whatever tests run, and start no more."""
        self.is_stopped = True
        for group in list(self.running):
            _kill(group)

    def _tidy(self) -> None:
        shutil.rmtree(self.scratch, ignore_errors=True)
        self.scratch.mkdir(exist_ok=True)

    def _environ(self) -> dict[str, str]:
        fixed = {"PYTHONPATH": str(self.root), "TMPDIR": str(self.scratch), "PYTHONHASHSEED": "0", **_NO_PLUGINS}
        return {**os.environ, "OMP_NUM_THREADS": "1", **fixed}


def _limit() -> None:
    """Keep a fault that fills memory or the disk from taking the machine with it."""
    resource.setrlimit(resource.RLIMIT_AS, (_MEMORY_BYTES, _MEMORY_BYTES))
    resource.setrlimit(resource.RLIMIT_FSIZE, (_FILE_BYTES, _FILE_BYTES))


def _kill(group: int) -> None:
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(group, signal.SIGKILL)
