"""Worker processes of a local run that need no start: forks of a process that has imported everything.

A new Python process takes seconds to import Beam and SciPy, as long as preparing an hour of EEG. The nursery is a fork
of the run's own process, made while that has a single thread and before gRPC is used, which does not survive a fork;
workers are forks of the nursery. Where the process has other threads already, `pipelines.local.worker` is started
instead.
"""

import json
import logging
import os
import select
import signal
import socket
import sys
import threading
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from apache_beam.portability.api import beam_fn_api_pb2
from apache_beam.runners.portability.fn_api_runner.worker_handlers import GrpcWorkerHandler, WorkerHandler
from apache_beam.transforms.environments import Environment, python_sdk_capabilities
from google.protobuf import json_format, text_format

from pipelines.local import worker

logger = logging.getLogger(__name__)

URN = "cerebeam:env:forked_worker:v1"
_FORKED_WELL = ("jemalloc_bg_thd",)
"""Threads that begin anew in a fork: PyArrow's allocator prepares for it (pthread_atfork)."""
_open: list["Nursery"] = []


class Nursery:
    """Starts workers, and tells their handlers when they have ended."""

    def __init__(self) -> None:
        sys.stdout.flush()
        sys.stderr.flush()
        self._socket, theirs = socket.socketpair()
        self._pid = os.fork()
        if self._pid == 0:
            self._socket.close()
            _tend(theirs)
        theirs.close()
        self._handlers: dict[str, ForkedWorkerHandler] = {}
        self._listener = threading.Thread(target=self._listen, name="nursery", daemon=True)
        self._listener.start()

    def start(self, handler: "ForkedWorkerHandler", environment: Mapping[str, str]) -> None:
        """Start a worker with these additions to the environment."""
        self._handlers[environment["WORKER_ID"]] = handler
        self._socket.sendall(json.dumps(dict(environment)).encode() + b"\n")

    def close(self) -> None:
        """Wait for all workers to end; their connections must be closed before."""
        self._socket.shutdown(socket.SHUT_WR)
        self._listener.join()
        self._socket.close()
        os.waitpid(self._pid, 0)

    def _listen(self) -> None:
        for line in self._socket.makefile("r"):
            worker_id, code = json.loads(line)
            self._handlers[worker_id].ended(code)


@contextmanager
def nursery() -> Iterator[None]:
    """Let local runs within the block fork their workers, if this process can still be forked."""
    if not can_fork():
        yield
        return
    _open.append(Nursery())
    try:
        yield
    finally:
        _open.pop().close()


def can_fork() -> bool:
    """Return whether this process has a single thread, those of libraries counted; False where nobody can tell."""
    names = [name.read_text().strip() for name in Path("/proc/self/task").glob("*/comm")]
    return sum(name not in _FORKED_WELL for name in names) == 1


def is_open() -> bool:
    """Return whether there is a nursery to fork workers from."""
    return bool(_open)


def _tend(channel: socket.socket) -> None:
    """Fork a worker for each line that comes, tell of each that ends, and end with the last one; never returns."""
    code = 1
    try:
        # A byte comes through this pipe whenever a worker ends.
        wakes, wake = os.pipe()
        os.set_blocking(wake, False)
        signal.set_wakeup_fd(wake, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        asked, workers = b"", dict[int, str]()
        sources: list[Any] = [channel, wakes]
        while len(sources) > 1 or workers:
            ready, _, _ = select.select(sources, [], [])
            if wakes in ready:
                os.read(wakes, 4096)
                _report(channel, workers)
            if channel in ready:
                received = channel.recv(1 << 16)
                if not received:
                    sources.remove(channel)
                *lines, asked = (asked + received).split(b"\n")
                for environment in map(json.loads, lines):
                    pid = os.fork()
                    if pid == 0:
                        _work(environment)
                    workers[pid] = environment["WORKER_ID"]
        code = 0
    finally:
        os._exit(code)


def _report(channel: socket.socket, workers: dict[int, str]) -> None:
    while workers:
        pid, status = os.waitpid(-1, os.WNOHANG)
        if pid == 0:
            return
        channel.sendall(json.dumps([workers.pop(pid), os.waitstatus_to_exitcode(status)]).encode() + b"\n")


def _work(environment: Mapping[str, str]) -> None:
    """Be a worker until the runner closes the connection; never returns."""
    code = 1
    try:
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        os.environ.update(environment)
        worker.main(["worker"])
        code = 0
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


@Environment.register_urn(URN, bytes)
class ForkedEnvironment(Environment):
    """What Beam's runner is told to start its workers in."""

    def __init__(self, capabilities: Iterable[str] = (), artifacts: Any = (), resource_hints: Any = None) -> None:
        super().__init__(tuple(capabilities) or python_sdk_capabilities(), artifacts, resource_hints)

    def to_runner_api_parameter(self, context: Any) -> tuple[str, bytes]:
        """Return the name that the handler is registered under; there is nothing else to say."""
        return URN, b""

    @staticmethod
    def from_runner_api_parameter(
        payload: bytes, capabilities: Any, artifacts: Any, resource_hints: Any, context: Any
    ) -> "ForkedEnvironment":
        """Return the environment that was described."""
        return ForkedEnvironment(capabilities, artifacts, resource_hints)


@WorkerHandler.register_environment(URN, bytes)
class ForkedWorkerHandler(GrpcWorkerHandler):
    """The runner's side of a worker out of the nursery."""

    def __init__(self, payload: bytes, state: Any, provision_info: Any, grpc_server: Any) -> None:
        super().__init__(state, provision_info, grpc_server)
        self._ended = threading.Event()
        self._nursery = _open[-1]

    def start_worker(self) -> None:
        """Fork a worker that connects to this runner."""
        described = {
            "CONTROL_API_SERVICE_DESCRIPTOR": self.control_api_service_descriptor(),
            "LOGGING_API_SERVICE_DESCRIPTOR": self.logging_api_service_descriptor(),
        }
        options = json_format.MessageToJson(self.provision_info.provision_info.pipeline_options)
        environment = {name: text_format.MessageToString(value) for name, value in described.items()}
        self._nursery.start(self, environment | {"PIPELINE_OPTIONS": options, "WORKER_ID": self.worker_id})

    def stop_worker(self) -> None:
        """Wait until the worker has ended."""
        self._ended.wait()

    def ended(self, code: int) -> None:
        """Take notice of the worker's end; bundles that it leaves unfinished fail, or the run would wait for ever."""
        for bundle, future in list(self.control_conn._futures_by_id.items()):
            error = f"RuntimeError: a worker process ended with status {code}"
            future.set(beam_fn_api_pb2.InstructionResponse(instruction_id=bundle, error=error))
        self._ended.set()
