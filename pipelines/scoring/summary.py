"""The end of an archive's run: what was not answered listed, everything counted, `scores.json` written."""

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from math import fsum
from typing import Any

from pipelines.runs import storage
from pipelines.runs.accounting import COPY
from pipelines.runs.progress import forget
from pipelines.scoring.parts import PartResult
from pipelines.stages.finish import join_rows
from pipelines.stages.outcome import Refused
from pipelines.stages.plan_files import Accepted
from signals.recording.details import Details
from signals.shards.manifest import COMPLETED, FILES, RECORDINGS
from signals.version import code_version

SCORES = "scores.json"
SCHEMA_VERSION = 1


@dataclass(frozen=True, kw_only=True)
class Summary:
    """What a run answered, and with what: the content of scores.json."""

    model: str
    model_digest: str
    classes: tuple[str, ...]
    window_s: float
    hop_s: float
    code_version: str
    files: dict[str, int]
    """in, answered (or without a window), refused, copies."""
    refused: dict[str, int]
    """Files by reason; copies are no loss and not among them."""
    windows: dict[str, int]
    """planned, answered, rejected."""
    rejected: dict[str, int]
    """Windows by reason."""
    hours: float
    """Of the recordings that were answered."""
    predicted: dict[str, int]
    """Windows by predicted class."""
    parts: tuple[dict[str, object], ...] = field(repr=False, default=())
    """name, n_windows, sha256 of each table."""
    schema_version: int = SCHEMA_VERSION

    @property
    def n_lost(self) -> int:
        """Windows that were planned, and neither answered nor rejected: 0, or the run is wrong."""
        return self.windows["planned"] - self.windows["answered"] - self.windows["rejected"]


def nobody(row: Accepted) -> dict[str, Any]:
    """Return the row of a recording without what was read of the person for the model alone."""
    return replace(row, details=Details()).to_row()


@dataclass(frozen=True, kw_only=True)
class Finish:
    """Writes what is known only when all parts are."""

    output: str
    model: str
    model_digest: str
    classes: tuple[str, ...]
    window_s: float
    hop_s: float
    n_files: int
    max_quarantined: float
    completes: bool = False
    """Whether `_COMPLETED` is written here: where nobody waits for the run."""

    def __call__(
        self, results: Sequence[PartResult], accepted: Sequence[Accepted], refused: Sequence[Refused]
    ) -> Summary:
        """Return the accounting, written; raises RuntimeError where a file or a window is missing from it."""
        summary = self._summary(results, accepted, refused)
        if sum(summary.files[name] for name in ("answered", "refused", "copies")) != self.n_files or summary.n_lost:
            raise RuntimeError(f"the accounting does not add up: {summary.files}, {summary.windows}")
        join_rows(self.output, results, refused)
        storage.write_rows(storage.join(self.output, RECORDINGS), [nobody(row) for row in accepted])
        storage.write_rows(
            storage.join(self.output, FILES), [row.public_row() for row in refused if row.level == "file"]
        )
        storage.write_text(storage.join(self.output, SCORES), json.dumps(asdict(summary), indent=1) + "\n")
        if complaint(summary, self.max_quarantined) is None:
            forget(self.output)
            if self.completes:
                storage.write_text(storage.join(self.output, COMPLETED), "")
        return summary

    def _summary(
        self, results: Sequence[PartResult], accepted: Sequence[Accepted], refused: Sequence[Refused]
    ) -> Summary:
        results = sorted(results, key=lambda result: result.name)
        reasons = Counter(row.reason for row in refused if row.level == "file")
        n_copies = reasons.pop(COPY, 0)
        rejected, predicted = Counter[str](), Counter[str]()
        for result in results:
            rejected.update(result.rejected)
            predicted.update(result.classes)
        tables = [result for result in results if result.sha256]
        return Summary(
            model=self.model, model_digest=self.model_digest, classes=self.classes, window_s=self.window_s,
            hop_s=self.hop_s, code_version=code_version(),
            files={"in": self.n_files, "answered": len(accepted), "refused": reasons.total(), "copies": n_copies},
            refused=dict(sorted(reasons.items())),
            windows={
                "planned": sum(row.n_windows for row in accepted),
                "answered": sum(result.n_answered for result in results), "rejected": rejected.total(),
            },
            rejected=dict(sorted(rejected.items())), hours=fsum(row.hours for row in accepted),
            predicted=dict(sorted(predicted.items())),
            parts=tuple({"name": r.name, "n_windows": r.n_answered, "sha256": r.sha256} for r in tables),
        )  # fmt: skip


def read_summary(folder: str) -> Summary:
    """Return what a run in a folder answered; raises FileNotFoundError where there is no scores.json."""
    fields = json.loads(storage.read_text(storage.join(folder, SCORES)))
    return Summary(**{**fields, "classes": tuple(fields["classes"]), "parts": tuple(fields["parts"])})


def complaint(summary: Summary, max_quarantined: float) -> str | None:
    """Return why a run must not count, None where it may."""
    files = summary.files
    if summary.windows["answered"] == 0:
        return f"no window of {files['in']} files was answered"
    if files["refused"] > max_quarantined * files["in"]:
        return f"{files['refused']} of {files['in']} files refused, more than --max-quarantined {max_quarantined:g}"
    return None
