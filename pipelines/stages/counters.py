"""What every stage counts: elements, bytes and milliseconds, in Beam's metrics."""

import time

from apache_beam.metrics import Metrics


def count(stage: str, *, n: int, n_bytes: int, started: float) -> None:
    """Add what one call of a stage did; `started` is of `time.perf_counter`."""
    Metrics.counter(stage, "elements").inc(n)
    Metrics.counter(stage, "bytes").inc(n_bytes)
    Metrics.counter(stage, "milliseconds").inc(round((time.perf_counter() - started) * 1000))
