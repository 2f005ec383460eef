"""Keeps one worker process running, and gives back what a dead one had begun."""

import logging
import os
import subprocess
import sys
import threading
import time
from collections.abc import Sequence

from sqlalchemy import Engine

from service.jobs.uploads import Places
from service.records import jobs
from service.refusals import Refusal

logger = logging.getLogger(__name__)
_LOOK_S, _AGAIN_S = 0.25, 1.0


class Supervisor:
    """A thread that starts the worker, and starts it again."""

    def __init__(self, command: Sequence[str], engine: Engine, places: Places) -> None:
        """Take the worker's command; nothing runs before `start`."""
        self._command, self._engine, self._places = list(command), engine, places
        self._ended = threading.Event()
        self._process: subprocess.Popen[bytes] | None = None
        self._thread = threading.Thread(target=self._run, name="jobs", daemon=True)
        self.n_started = 0

    @property
    def is_running(self) -> bool:
        """Whether a worker is there now."""
        return self._process is not None and self._process.poll() is None

    def start(self) -> None:
        """Start the worker."""
        self._thread.start()

    def close(self) -> None:
        """End the worker; a job that it runs is accepted again."""
        self._ended.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._ended.is_set():
            try:
                self._give_back()
                self._sweep()
            except Refusal:  # the database is away: so is the worker's
                self._ended.wait(_AGAIN_S)
                continue
            # One thread of BLAS: each reserves memory, which the worker has little of.
            env = {"OMP_NUM_THREADS": "1", **os.environ}
            self._process = subprocess.Popen(self._command, stdin=subprocess.PIPE, env=env)
            self.n_started += 1
            while self._process.poll() is None and not self._ended.wait(_LOOK_S):
                pass
            if not self._ended.is_set():
                logger.error("the worker of jobs ended", extra={"exit_code": self._process.returncode})
                self._ended.wait(_AGAIN_S)
        self._stop()

    def _stop(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            try:
                self._give_back()
            except Refusal:
                logger.error("a job could not be given back; it will be when it was not seen for a while")

    def _give_back(self) -> None:
        """Accept again what earlier workers had begun; with SQLite there is no other server whose worker it could be.

        On a shared database only what was not seen for a while is given back.
        """
        jobs.give_back(self._engine, everyone=self._engine.dialect.name == "sqlite")

    def _sweep(self) -> None:
        self._places.uploads.mkdir(parents=True, exist_ok=True)
        self._places.sweep(jobs.files_in_use(self._engine))


def worker_command(config: str | None, overrides: Sequence[str]) -> list[str]:
    """Return the command of a worker with the server's own configuration."""
    options = [part for override in overrides for part in ("--set", override)]
    return [sys.executable, "-m", "service.jobs.worker", *(["--config", config] if config else []), *options]


def wait_for_end(engine: Engine, job_id: str, *, seconds: float) -> None:
    """Return when a job has ended or the time is over."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        job = jobs.get_job(engine, job_id)
        if job is None or job.finished_at is not None:
            return
        time.sleep(0.1)
