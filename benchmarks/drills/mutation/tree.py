"""Copies of the checkout in which faults are planted and tests run; the checkout itself is only read."""

import hashlib
import json
import os
import select
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

TRACING, SERVER = Path(__file__).with_name("tracing"), Path(__file__).with_name("server.py")
_LIMITS = {"RLIMIT_AS": 16 * 2**30, "RLIMIT_FSIZE": 4 * 2**30}
"""A fault that fills memory or the disk must not take the machine with it."""
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
    server: subprocess.Popen[bytes] | None = None
    """Runs the tests (`benchmarks.drills.mutation.server`); started with the first of them."""

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
        log, began = self.root.with_name("output.txt"), time.perf_counter()
        request = {
            "args": [*_PYTEST, *options, *tests],
            "cwd": str(self.root),
            "environ": self._environ() | dict(environ or {}),
            "log": str(log),
            "limits": _LIMITS,
        }
        log.write_bytes(b"")
        try:
            code, is_hang = self._served(request, limit_s)
        finally:
            self._tidy()
        seconds = time.perf_counter() - began
        return Run(code, log.read_text("utf-8", errors="replace"), seconds, is_hang)

    def _served(self, request: Mapping[str, object], limit_s: float) -> tuple[int, bool]:
        """Return the exit code of the tests of a request, and whether they took longer than the limit."""
        try:
            server = self._server()
            assert server.stdin is not None
            assert server.stdout is not None
            server.stdin.write(json.dumps(request).encode() + b"\n")
            group = int(server.stdout.readline())
        except (OSError, ValueError):  # it was stopped
            return -signal.SIGKILL, False
        self.running.add(group)
        try:
            if self.is_stopped:
                _kill(group)
            is_hang = not select.select([server.stdout], [], [], limit_s)[0]
        finally:
            _kill(group)  # and whatever the tests left running
            self.running.discard(group)
        return int(server.stdout.readline() or -signal.SIGKILL), is_hang

    def _server(self) -> subprocess.Popen[bytes]:
        if self.server is None:
            self.server = subprocess.Popen(
                [sys.executable, str(SERVER)], cwd=self.scratch.parent, env={**os.environ, **self._environ()},
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0, start_new_session=True,
            )  # fmt: skip
        return self.server

    def stop(self) -> None:
        """End whatever tests run, and start no more."""
        self.is_stopped = True
        for group in list(self.running):
            _kill(group)
        if self.server is not None:
            _kill(self.server.pid)
            self.server.wait()

    def _tidy(self) -> None:
        shutil.rmtree(self.scratch, ignore_errors=True)
        self.scratch.mkdir(exist_ok=True)

    def _environ(self) -> dict[str, str]:
        fixed = {"PYTHONPATH": str(self.root), "TMPDIR": str(self.scratch), "PYTHONHASHSEED": "0", **_NO_PLUGINS}
        return {"OMP_NUM_THREADS": "1", **fixed}


def _kill(group: int) -> None:
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(group, signal.SIGKILL)
