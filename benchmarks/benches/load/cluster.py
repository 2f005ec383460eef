"""A private PostgreSQL cluster that can be crashed and started again."""

import os
import shutil
import socket
import subprocess
import tempfile
from contextlib import AbstractContextManager
from pathlib import Path

BIN = next(iter(sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)), None)
"""The newest installed server's programs, None where there is none."""


class Cluster(AbstractContextManager["Cluster"]):
    """A cluster in a folder that its user can reach, on a free port."""

    def __init__(self, *, fsync: bool) -> None:
        """Make and start it; raises FileNotFoundError where PostgreSQL is not installed."""
        if BIN is None:
            raise FileNotFoundError("PostgreSQL is not installed: no /usr/lib/postgresql/*/bin")
        self._bin, self._folder = BIN, Path(tempfile.mkdtemp(prefix="pg"))
        if os.geteuid() == 0:
            shutil.chown(self._folder, "postgres")
        with socket.socket() as one:
            one.bind(("127.0.0.1", 0))
            port = one.getsockname()[1]
        self.url = f"postgresql://tester@127.0.0.1:{port}/postgres"
        fsync_option = "on" if fsync else "off"
        self._options = f"-p {port} -k {self._folder} -c listen_addresses=127.0.0.1 -c fsync={fsync_option}"
        self._run("initdb", "-D", self._folder / "data", "-U", "tester", "-A", "trust", "--no-sync")
        self.start()

    def start(self) -> None:
        """Start it, and wait until it takes connections."""
        self._control("-o", self._options, "-l", self._folder / "log", "-w", "start")

    def crash(self) -> None:
        """End it at once, as a crash does: sessions are cut, the log is replayed at the next start."""
        self._control("-m", "immediate", "stop")

    def __exit__(self, *_: object) -> None:
        self.crash()
        shutil.rmtree(self._folder)

    def _control(self, *args: object) -> None:
        self._run("pg_ctl", "-D", self._folder / "data", *args)

    def _run(self, program: str, *args: object) -> None:
        """Run a program of PostgreSQL, which refuses to run as root."""
        user = "postgres" if os.geteuid() == 0 else None
        subprocess.run(
            [str(part) for part in (self._bin / program, *args)], user=user, check=True, capture_output=True,
            timeout=60, cwd=self._folder, env={"PATH": os.environ["PATH"], "LC_ALL": "C"},
        )  # fmt: skip
