"""What every stage gives: something kept, or a refusal of a file, a label or a window, with a reason.

No recording ends a run: what a stage cannot use becomes a `Refused`, and the run's accounting is a sum over what was
kept and what was refused.
"""

from dataclasses import asdict, dataclass
from typing import Any, Literal

from pipelines.intake.inputs import FileRef
from pipelines.report.advice import ADVICE
from pipelines.runs.accounting import COPY
from signals.recording.recording import READ_REASONS
from signals.windows.labels import LABEL_REASONS
from signals.windows.prepare import WINDOW_REASONS

Level = Literal["file", "label", "window"]
FAULTS = {
    "unreadable_samples": "The samples that the window is made of cannot be read, or are not finite.",
    "internal_error": "The pipeline itself failed on the window; the private list names the error.",
}
"""Reasons of windows that a stage after planning could not make. Their rows in the private list name the file."""
REASONS: dict[Level, dict[str, str]] = {
    "file": {**READ_REASONS, COPY: "The same recording came in under another name, which was used."},
    "label": LABEL_REASONS,
    "window": {**WINDOW_REASONS, **FAULTS},
}


@dataclass(frozen=True, kw_only=True)
class Refused:
    """A file, a label or a window that was not used, and why."""

    level: Level
    reason: str
    """A key of `REASONS`."""
    detail: str = ""
    """May quote the file, so it is kept outside of the shard set."""
    site_id: str
    source_id: str
    """The file_id of a file, the recording_id of a label or window."""
    at_s: float | None = None
    """Onset of a label or window, seconds since the recording's start."""
    hours: float | None = None
    """Length of a file whose header could be read."""
    uri: str = ""
    """Where the recording lies; kept outside of the shard set."""
    ref: FileRef | None = None
    """A file as the run was given it: whoever replays the quarantine needs it. Kept outside of the shard set."""

    def __post_init__(self) -> None:
        if self.reason not in REASONS[self.level]:
            raise ValueError(f"unknown reason code {self.reason!r} of a {self.level}; list it in REASONS")

    def public_row(self) -> dict[str, Any]:
        """Return what the shard set holds of the refusal: neither a path nor anything out of the file."""
        row: dict[str, Any] = {"site_id": self.site_id, "reason": self.reason}
        if self.level == "file":
            return {"file_id": self.source_id, "hours": self.hours, **row}
        return {"recording_id": self.source_id, "onset_s" if self.level == "label" else "start_s": self.at_s, **row}

    def private_row(self) -> dict[str, Any]:
        """Return all that a person needs who repairs the file, the next step too, and what a replay of it needs."""
        row: dict[str, Any] = {
            "file": self.uri, "reason": self.reason, "detail": self.detail, "hint": ADVICE[self.reason],
        }  # fmt: skip
        if self.level == "file":
            ref = asdict(self.ref) if self.ref else {}
            return {**{name: value for name, value in ref.items() if name != "uri"}, **row, "file_id": self.source_id}
        return {**row, "recording_id": self.source_id, "site_id": self.site_id, "at_s": self.at_s}
