"""A process that times requests, so that forms of a model can be measured in turn.

The parent writes one JSON object per line, the child answers each with one. First, without a request, {"n_bytes",
"ready"}: when the first answer was there, on the clock that all processes of a machine share.
"""

import json
import resource
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from signals.readers.memory import recording_of_array
from signals.readers.registry import open_recording
from signals.recording.recording import Recording


@dataclass(frozen=True, kw_only=True)
class Samples:
    """What was recorded in a file, in memory: what a request brings."""

    x: np.ndarray = field(repr=False)
    """float32, shape (n_chans, n_times), µV."""
    ch_names: tuple[str, ...]
    sfreq: float

    @classmethod
    def of_file(cls, uri: str) -> "Samples":
        """Return the samples of a recording's first segment; raises UnreadableError as `open_recording`."""
        held = open_recording(uri)
        x = held.read(range(len(held.ch_names)), segment=0)
        return cls(x=np.asarray(x, dtype=np.float32), ch_names=tuple(held.ch_names), sfreq=held.sfreqs[0])

    def recording(self) -> Recording:
        """Return them as a recording."""
        return recording_of_array(self.x, ch_names=self.ch_names, sfreq=self.sfreq)


def answer_timings(work: Mapping[str, Callable[[int], object]], *, n_bytes: int) -> None:
    """Do "segment" once, then serve requests {"what", "size", "repeats"} until standard input ends.

    `work` maps "batch" (a batch of `size` prepared windows) and "segment" (samples, prepared and answered) to what is
    timed. The answer is {"seconds": [...]}, or {"peak_mb": ...} to {"what": "memory"}.
    """
    work["segment"](1)
    _send({"n_bytes": n_bytes, "ready": time.clock_gettime(time.CLOCK_MONOTONIC)})
    for line in sys.stdin:
        request = json.loads(line)
        if request["what"] == "memory":
            _send({"peak_mb": _peak_mb()})
            continue
        seconds = []
        for _ in range(request["repeats"]):
            started = time.perf_counter()
            work[request["what"]](request["size"])
            seconds.append(time.perf_counter() - started)
        _send({"seconds": seconds})


def _peak_mb() -> float:
    """Return the peak resident memory of this program, MB.

    ru_maxrss is second best where Linux has better: it survives exec, so that a small child of a large parent begins
    with the parent's.
    """
    status = Path("/proc/self/status")
    if status.is_file():
        return next(int(line.split()[1]) / 1024 for line in status.read_text().splitlines() if line.startswith("VmHWM"))
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def _send(answer: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(answer) + "\n")
    sys.stdout.flush()
