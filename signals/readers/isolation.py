"""A call in a process of its own, for libraries that can crash or hang on a bad file.

The child is a fresh interpreter (`python -m signals.readers.isolation`), not a fork: the caller may have threads.
"""

import os
import pickle
import subprocess
import sys
from collections.abc import Callable
from typing import Any

from signals.recording import UnreadableError


def run_isolated(function: Callable[..., Any], *args: Any, timeout_s: float) -> Any:
    """Return `function(*args)` as computed in a child process; function, arguments and value must be picklable.

    Raises UnreadableError: the child's own one as it is, "reader_crashed" where the child died or raised anything else,
    "reader_timeout" where it took longer than `timeout_s` (the child is killed).
    """
    request = pickle.dumps((function, args))
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(path or os.getcwd() for path in sys.path)}
    command = [sys.executable, "-m", "signals.readers.isolation"]
    try:
        child = subprocess.run(
            command, input=request, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, timeout=timeout_s,
            env=environment, check=False,
        )  # fmt: skip
    except subprocess.TimeoutExpired as error:
        raise UnreadableError("reader_timeout", f"{function.__name__} took longer than {timeout_s:g} s") from error
    if child.returncode != 0 or not child.stdout:
        raise UnreadableError("reader_crashed", f"{function.__name__} ended its process with {child.returncode}")
    value, failure = pickle.loads(child.stdout)
    if failure is not None:
        raise failure
    return value


def as_unreadable(error: Exception) -> UnreadableError:
    """Return an UnreadableError unchanged, and any other exception as "reader_crashed" with its type and message."""
    if isinstance(error, UnreadableError):
        return error
    return UnreadableError("reader_crashed", f"{type(error).__name__}: {error}")


def _serve() -> None:
    """Answer one pickled call from stdin on what was stdout; the library's own prints go nowhere."""
    answer = os.fdopen(os.dup(1), "wb")
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    try:
        function, args = pickle.load(sys.stdin.buffer)
        value, failure = function(*args), None
    except Exception as error:
        value, failure = None, as_unreadable(error)
    with answer:
        pickle.dump((value, failure), answer)


if __name__ == "__main__":
    _serve()
