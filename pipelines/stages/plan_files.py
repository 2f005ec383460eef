"""A file to its plan: opened, hashed, looked at, and its windows' onsets; or quarantined with a reason."""

import logging
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from traceback import format_tb
from typing import Any

from pipelines.intake.inputs import FileRef
from pipelines.stages.outcome import Refused
from signals.readers.digests import source_sha256
from signals.readers.disclosure import event_counts
from signals.readers.registry import open_recording
from signals.readers.remote import TransferError
from signals.recording.details import Details
from signals.recording.identity import hash_file, hash_subject, names_somebody
from signals.recording.recording import Recording, UnreadableError
from signals.threads import one_thread
from signals.windows.blocks import Block, Placement, WindowStart, blocks, place_windows
from signals.windows.labels import UNKNOWN_SOURCE, RefusedLabel
from signals.windows.plan import RecordingPlan, plan_recording
from signals.windows.profiles import Profile

logger = logging.getLogger(__name__)

UNKNOWN = "unknown-"
"""What the id of a subject begins with whom nobody names."""


@dataclass(frozen=True)
class Accepted:
    """What is reported of a file that was used: a row of recordings.jsonl."""

    site_id: str
    recording_id: str
    reader: str
    native_sfreq: float
    n_channels: int
    n_windows: int
    hours: float
    mains_hz: float | None
    notes: tuple[str, ...]
    file_id: str
    mains_detected: bool
    """Whether the mains frequency was found in the signal rather than known of the site or given by the file."""
    amplitude_uv: float | None
    """Robust standard deviation within 1-35 Hz, before preparation."""
    hours_covered: float
    """What of `hours` lies in a planned window; the rest are tails, short stretches and what has no label."""
    source_reference: str = ""
    """What the channels were recorded against, where file or labels name it."""
    reference: str = ""
    """What the windows are referenced to."""
    bad_channels: tuple[tuple[str, str], ...] = ()
    """Electrodes found bad, and why."""
    events: dict[str, int] = field(default_factory=dict)
    """How often each event word (`signals.recording.events`) stands in the recording's annotations."""
    n_labels: int = 0
    """Labels of windows that came in, refused ones too."""
    n_labels_merged: int = 0
    """Of these, how many are one with another of the same window."""
    subject_known: bool = True
    """Whether a label file, a card's rule, a BIDS name or the header names the person."""
    label_source: str = UNKNOWN_SOURCE
    """Who labelled it, one of `signals.windows.labels.LABEL_SOURCES`."""
    file_order: int | None = None
    """As in `FileRef`."""
    details: Details = field(default_factory=Details)
    """What was requested to be kept and is known."""

    def to_row(self) -> dict[str, Any]:
        """Return the row of recordings.jsonl; details only where there are any."""
        row = asdict(self)
        del row["details"]
        return row | self.details.stored


@dataclass(frozen=True)
class PlannedFile:
    """What became of one file."""

    file: Accepted | Refused
    labels: tuple[Refused, ...] = ()
    """Labels of an accepted file that no window got."""
    blocks: tuple[Block, ...] = ()


def plan_file(ref: FileRef, profile: Profile, salt: str, keep: Sequence[str] = ()) -> PlannedFile:
    """Return the blocks of one file, or why it is not used; raises TransferError only.

    `keep` names the details (`signals.recording.details.KEEPABLE`) that go on with the recording.
    """
    recording = None
    try:
        recording = open_recording(ref.uri, declared=ref.declared, keep=keep)
        with one_thread():
            plan = _plan(ref, recording, profile, salt)
            placed = place_windows(recording, plan, ref.labels)
            labels = tuple(_refused_label(plan, label) for label in placed.refused)
            return PlannedFile(
                _accepted(ref, recording, plan, placed, salt), labels, tuple(blocks(plan, placed.starts))
            )
    except UnreadableError as error:
        return _quarantined(ref, error.reason, error.detail, recording, salt)
    except TransferError:  # the runner tries again, and the run dies rather than lose a good file
        raise
    except Exception as error:  # one file must not take the run along; the reason code counts it
        # Where, but not the message: it may quote a path or a name, and goes to the private list alone.
        logger.error("planning failed: %s\n%s", type(error).__name__, "".join(format_tb(error.__traceback__)))
        return _quarantined(ref, "internal_error", f"{type(error).__name__}: {error}", recording, salt)


def _plan(ref: FileRef, recording: Recording, profile: Profile, salt: str) -> RecordingPlan:
    sha256 = source_sha256(ref.uri)
    of_header = recording.patient if names_somebody(recording.patient) else ""
    subject = ref.subject if ref.subject.lower() not in {"", "unknown"} else of_header
    # Where nobody is named, every recording counts as one of a subject of its own, and is marked so.
    subject_id = ("" if subject else UNKNOWN) + hash_subject(ref.site_id, subject or sha256, salt=salt)
    return plan_recording(
        recording,
        profile,
        site_id=ref.site_id,
        subject_id=subject_id,
        source_sha256=sha256,
        mains_hz=ref.mains_hz,
        declared=ref.declared,
    )


def _accepted(ref: FileRef, recording: Recording, plan: RecordingPlan, placed: Placement, salt: str) -> Accepted:
    return Accepted(
        site_id=ref.site_id,
        recording_id=plan.recording_id,
        reader=recording.reader,
        native_sfreq=plan.native_sfreq,
        n_channels=len(plan.picks),
        n_windows=len(placed.starts),
        hours=recording.duration_s / 3600,
        mains_hz=plan.mains_hz,
        notes=plan.notes,
        file_id=hash_file(ref.uri, salt=salt),
        mains_detected=ref.mains_hz is None and recording.mains_hz is None and plan.mains_hz is not None,
        amplitude_uv=plan.amplitude_uv,
        hours_covered=min(covered_s(plan, placed.starts), recording.duration_s) / 3600,
        source_reference=plan.source_reference,
        reference=plan.profile.reference,
        bad_channels=plan.bad_channels,
        events=event_counts(recording),
        n_labels=placed.n_labels,
        n_labels_merged=placed.n_merged,
        subject_known=not plan.subject_id.startswith(UNKNOWN),
        label_source=ref.label_source if placed.n_labels else UNKNOWN_SOURCE,
        file_order=ref.file_order,
        details=plan.details,
    )


def _quarantined(ref: FileRef, reason: str, detail: str, recording: Recording | None, salt: str) -> PlannedFile:
    hours = None if recording is None else recording.duration_s / 3600
    file_id = hash_file(ref.uri, salt=salt)
    return PlannedFile(
        Refused(
            level="file", reason=reason, detail=detail, site_id=ref.site_id, source_id=file_id, hours=hours,
            uri=ref.uri, ref=ref,
        )
    )  # fmt: skip


def _refused_label(plan: RecordingPlan, label: RefusedLabel) -> Refused:
    return Refused(
        level="label", reason=label.reason, detail=label.detail, site_id=plan.site_id, source_id=plan.recording_id,
        at_s=label.onset_s, uri=plan.uri,
    )  # fmt: skip


def covered_s(plan: RecordingPlan, starts: Sequence[WindowStart]) -> float:
    """Return the seconds of a recording that lie in any of its windows; what several cover counts once."""
    sfreq = plan.profile.signal.sfreq
    n_window = round(plan.profile.window_s * sfreq)
    covered, segment, reached = 0, -1, 0
    for start in sorted(starts, key=lambda s: (s.segment, s.start)):
        if start.segment != segment:
            segment, reached = start.segment, 0
        covered += start.start + n_window - max(start.start, reached)
        reached = start.start + n_window
    return covered / sfreq
