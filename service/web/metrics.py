"""What Prometheus reads at /metrics; a registry of its own, so that several apps in one process do not mix."""

import logging
from pathlib import Path

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from serving.model import Model

logger = logging.getLogger(__name__)
LEFT = "metrics"
"""Folder below `system.data` for files of commands, *.prom: `cerebeam drift --metrics` leaves one there."""
_LEFT_BYTES = 1 << 20
_LEFT_PREFIX = "cerebeam_drift_"
_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)


class Metrics:
    """Counters and times of one server. Labels are ours: routes, codes, parts; never what a client sent."""

    def __init__(self) -> None:
        """Make them all, at zero."""
        self.registry = CollectorRegistry()
        self.requests = self._counter("requests", "Requests by route and status", ("route", "status"))
        self.refusals = self._counter("refusals", "Requests without an answer, by reason code", ("code",))
        self.windows = self._counter("windows", "Windows answered", ("model",))
        self.seconds = Histogram(
            "cerebeam_request_seconds", "From the request's header to its answer's end", ("route",), buckets=_SECONDS,
            registry=self.registry,
        )  # fmt: skip
        self.part_seconds = Histogram(
            "cerebeam_part_seconds", "Parts of an answer: read, parse, prepare, wait, model", ("part",),
            buckets=_SECONDS, registry=self.registry,
        )  # fmt: skip
        self.batch_windows = Histogram(
            "cerebeam_batch_windows", "Windows of a batch", ("model",), buckets=(1, 2, 4, 8, 16, 32),
            registry=self.registry,
        )  # fmt: skip
        self.inside = self._gauge("requests_inside", "Requests that hold a place", ())
        self.queue = self._gauge("queue_windows", "Windows that wait for a model", ("model",))
        self.jobs = self._gauge("jobs", "Jobs by state", ("state",))
        self.versions = self._gauge("model_info", "1 for each model's digest that answers", ("model", "digest"))
        self.shadow = self._counter("shadow_windows", "Windows that the shadow answered too, by result", ("result",))
        self.accesses_lost = self._gauge("accesses_lost", "Rows of the access log that could not be written", ())

    def _counter(self, name: str, what: str, labels: tuple[str, ...]) -> Counter:
        return Counter(f"cerebeam_{name}", what, labels, registry=self.registry)

    def _gauge(self, name: str, what: str, labels: tuple[str, ...]) -> Gauge:
        return Gauge(f"cerebeam_{name}", what, labels, registry=self.registry)

    def batch(self, model: Model, n_windows: int, seconds: float) -> None:
        """Note one batch of a model."""
        self.batch_windows.labels(model.name).observe(n_windows)
        self.windows.labels(model.name).inc(n_windows)
        self.part_seconds.labels("model").observe(seconds)

    def text(self) -> bytes:
        """Return all of them in Prometheus' text form."""
        return generate_latest(self.registry)


def left_text(data: Path) -> bytes:
    """Return what commands left for Prometheus below a server's data, in order of the files' names.

    A file that is too large, damaged, or names metrics that are no command's, is passed over, and logged: one bad file
    would cost Prometheus all of the server's measures.
    """
    texts = []
    for path in sorted((data / LEFT).glob("*.prom")):
        try:
            text = path.read_text(encoding="utf-8") if path.stat().st_size <= _LEFT_BYTES else ""
            families = list(text_string_to_metric_families(text))
        except (OSError, ValueError):
            families = []
        if families and all(family.name.startswith(_LEFT_PREFIX) for family in families):
            texts.append(text.rstrip("\n") + "\n")
        else:
            logger.warning("a file of metrics was passed over", extra={"file": path.name})
    return "".join(texts).encode()
