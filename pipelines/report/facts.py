"""The facts of a run, as they lie in run.json; the page is made of them alone."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from pipelines.report.traces import Example
from pipelines.runs.accounting import Counts

SCHEMA_VERSION = 1


@dataclass(frozen=True, kw_only=True)
class Timings:
    """What is known only when a run has ended; it differs from run to run."""

    wall_s: float
    runner: str
    stages: dict[str, dict[str, int]]
    """Counters by stage: elements, bytes and milliseconds, summed over all workers."""


@dataclass(frozen=True, kw_only=True)
class RunFacts:
    """Everything that the run report shows."""

    complaint: str | None
    """Why the run must not count as completed; None where it may."""
    profile: dict[str, Any]
    """The resolved `signals.windows.profiles.Profile`."""
    ch_names: tuple[str, ...]
    sfreq: float
    unit: str
    config_hash: str
    code_version: str
    salt_id: str
    options: dict[str, Any]
    versions: dict[str, str]
    counts: Counts
    shard_bytes: tuple[int, ...]
    """Sizes of the shards, ascending."""
    examples: tuple[Example, ...]
    timings: Timings | None = None
    """None until the run's launcher has added them."""

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        fields = asdict(self)
        return {
            "schema_version": SCHEMA_VERSION,
            "signal": {name: fields.pop(name) for name in ("ch_names", "sfreq", "unit")},
            **fields,
            "counts": self.counts.to_dict(),
        }

    @classmethod
    def from_dict(cls, fields: Mapping[str, Any]) -> "RunFacts":
        """Build the facts from `to_dict`'s output, also after a round trip through JSON."""
        values = {name: value for name, value in fields.items() if name not in ("schema_version", "signal")}
        signal = fields["signal"]
        return cls(
            **{
                **values,
                "ch_names": tuple(signal["ch_names"]),
                "sfreq": signal["sfreq"],
                "unit": signal["unit"],
                "counts": Counts.from_dict(fields["counts"]),
                "shard_bytes": tuple(fields["shard_bytes"]),
                "examples": tuple(Example.from_dict(example) for example in fields["examples"]),
                "timings": Timings(**fields["timings"]) if fields["timings"] else None,
            }
        )
