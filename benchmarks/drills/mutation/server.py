"""Runs pytest again and again, each time in a fork of this process: libraries are imported once, the project never.

A program of its own, so that nothing of the checkout is in its memory: `python server.py` reads one JSON request a
line (`args` for pytest, `cwd`, `environ`, `log` for the output, `limits` on memory and files), and answers with the
number of the process and, when that has ended, with its exit code. It ends with its standard input.
"""

import contextlib
import importlib
import json
import os
import resource
import sys
from typing import Any

LIBRARIES = (
    "pytest", "hypothesis.extra.numpy", "numpy", "scipy.signal", "scipy.stats", "scipy.io", "scipy.interpolate",
    "pandas", "pyarrow.parquet", "mne", "pywt", "pyedflib", "onnx", "onnxruntime", "apache_beam",
    "apache_beam.options.pipeline_options", "apache_beam.runners.portability.fn_api_runner.fn_runner",
)  # fmt: skip
"""What tests import most, where it is installed; a test that needs another library imports it itself."""


def main() -> None:
    """Serve requests until standard input ends."""
    sys.path[:] = [place for place in sys.path if place != os.path.dirname(os.path.abspath(__file__))]
    for name in LIBRARIES:
        with contextlib.suppress(ImportError):
            importlib.import_module(name)
    for line in sys.stdin:
        request = json.loads(line)
        process = os.fork()
        with contextlib.suppress(
            PermissionError, ProcessLookupError
        ):  # both do it, so that it is done when either is on
            os.setpgid(process, process)
        if process == 0:
            _run(request)
        print(process, flush=True)
        _, status = os.waitpid(process, 0)
        print(os.waitstatus_to_exitcode(status), flush=True)


def _run(request: dict[str, Any]) -> None:
    """Run pytest as `python -m pytest` would in a new process group, and end this process."""
    for kind, size in request["limits"].items():
        resource.setrlimit(getattr(resource, kind), (size, size))
    output = os.open(request["log"], os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    nothing = os.open(os.devnull, os.O_RDONLY)
    for descriptor, stream in ((nothing, 0), (output, 1), (output, 2)):
        os.dup2(descriptor, stream)
    os.chdir(request["cwd"])
    os.environ.update(request["environ"])
    sys.path[:0] = [request["cwd"], *os.environ.get("PYTHONPATH", "").split(os.pathsep)]
    code = 70
    try:
        code = int(importlib.import_module("pytest").main(request["args"]))
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


if __name__ == "__main__":
    main()
