"""A process of its own that times what it is asked to, so that forms of a model can be measured in turn.

The parent writes one JSON object a line, the child answers each with one. First, unasked: {"n_bytes", "ready"}, when
the first answer was there, on the clock that all processes of a machine share.
"""

import json
import resource
import sys
import time
from collections.abc import Callable, Mapping
from typing import Any


def answer_timings(work: Mapping[str, Callable[[int], object]], *, n_bytes: int) -> None:
    """Do "segment" once, then serve requests {"what", "size", "repeats"} until standard input ends.

    `work` maps "batch" (a batch of `size` prepared windows) and "segment" (one file, prepared and answered) to what is
    timed. The answer is {"seconds": [...]}, or {"peak_mb": ...} to {"what": "memory"}.
    """
    work["segment"](1)
    _say({"n_bytes": n_bytes, "ready": time.clock_gettime(time.CLOCK_MONOTONIC)})
    for line in sys.stdin:
        asked = json.loads(line)
        if asked["what"] == "memory":
            _say({"peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024})
            continue
        seconds = []
        for _ in range(asked["repeats"]):
            started = time.perf_counter()
            work[asked["what"]](asked["size"])
            seconds.append(time.perf_counter() - started)
        _say({"seconds": seconds})


def _say(answer: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(answer) + "\n")
    sys.stdout.flush()
