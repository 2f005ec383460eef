"""A call in a process of its own, for libraries that can crash or hang on a bad file.

The child is a fresh interpreter (`python -m signals.readers.isolation`), not a fork: the caller may have threads. It
stays for the next call, since importing a library takes a second, and is replaced when it died or was killed. It gets
half of the machine's memory at most: a header that promises too much ends as a MemoryError in the child.
"""

import atexit
import os
import pickle
import resource
import struct
import subprocess
import sys
import threading
from collections.abc import Callable
from typing import IO, Any

from signals.recording.recording import UnreadableError

_HEAD = struct.Struct("<Q")
_lock = threading.Lock()
_children: list[subprocess.Popen[bytes]] = []
"""The waiting child, if there is one."""


def run_isolated(function: Callable[..., Any], *args: Any, timeout_s: float) -> Any:
    """Return `function(*args)` as computed in a child process; function, arguments and value must be picklable.

    Raises UnreadableError: the child's own one as it is, "reader_crashed" where the child died or raised anything else,
    "reader_timeout" where it took longer than `timeout_s` (the child is killed).
    """
    with _lock:
        child = _children.pop() if _children and _children[0].poll() is None else _start()
        late = threading.Event()

        def end() -> None:
            late.set()
            child.kill()

        watchdog = threading.Timer(timeout_s, end)
        watchdog.start()
        try:
            answer = _ask(child, pickle.dumps((function, args)))
        finally:
            watchdog.cancel()
        if answer is None:
            code = _stop(child)
            if late.is_set():
                raise UnreadableError("reader_timeout", f"{function.__name__} took longer than {timeout_s:g} s")
            raise UnreadableError("reader_crashed", f"{function.__name__} ended its process with {code}")
        _children[:] = [child]
    value, failure = pickle.loads(answer)
    if failure is not None:
        raise failure
    return value


def as_unreadable(error: Exception) -> UnreadableError:
    """Return an UnreadableError unchanged, and any other exception as "reader_crashed" with its type and message."""
    if isinstance(error, UnreadableError):
        return error
    return UnreadableError("reader_crashed", f"{type(error).__name__}: {error}")


def _start() -> subprocess.Popen[bytes]:
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(path or os.getcwd() for path in sys.path)}
    return subprocess.Popen(
        [sys.executable, "-m", "signals.readers.isolation"],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=environment,
    )  # fmt: skip


def _ask(child: subprocess.Popen[bytes], request: bytes) -> bytes | None:
    """Return the child's answer, or None if it died over the question."""
    assert child.stdin is not None
    assert child.stdout is not None
    try:
        _send(child.stdin, request)
        return _receive(child.stdout)
    except BrokenPipeError:
        return None


def _send(pipe: IO[bytes], message: bytes) -> None:
    pipe.write(_HEAD.pack(len(message)) + message)
    pipe.flush()


def _receive(pipe: IO[bytes]) -> bytes | None:
    head = pipe.read(_HEAD.size)
    if len(head) < _HEAD.size:
        return None
    (length,) = _HEAD.unpack(head)
    message = pipe.read(length)
    return message if len(message) == length else None


def _stop(child: subprocess.Popen[bytes]) -> int:
    """End a child and return its exit code."""
    for pipe in (child.stdin, child.stdout):
        if pipe is not None:
            try:
                pipe.close()
            except BrokenPipeError:
                continue
    try:
        return child.wait(timeout=5)
    except subprocess.TimeoutExpired:
        child.kill()
        return child.wait()


@atexit.register
def _stop_waiting() -> None:
    while _children:
        _stop(_children.pop())


def _limit_memory() -> None:
    """Take half of the machine's memory as address space, or what the parent is limited to where that is less."""
    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    half = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2
    resource.setrlimit(resource.RLIMIT_AS, (half if hard == resource.RLIM_INFINITY else min(half, hard), hard))


def _serve() -> None:
    """Answer pickled calls from stdin on what was stdout until stdin ends; the library's own prints go nowhere."""
    _limit_memory()
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    while (request := _receive(sys.stdin.buffer)) is not None:
        try:
            function, args = pickle.loads(request)
            value, failure = function(*args), None
        except Exception as error:
            value, failure = None, as_unreadable(error)
        _send(answers, pickle.dumps((value, failure)))


if __name__ == "__main__":
    _serve()
