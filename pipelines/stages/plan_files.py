"""A file to its plan: opened, hashed, looked at, and its windows' onsets; or quarantined with a reason."""

import logging
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import PurePosixPath
from traceback import format_tb
from typing import Any

from pipelines.intake.inputs import FileRef
from signals.readers.digests import source_sha256
from signals.readers.disclosure import event_counts
from signals.readers.registry import open_recording
from signals.readers.remote import TransferError
from signals.recording.identity import hash_file, hash_subject
from signals.recording.recording import Recording, UnreadableError
from signals.threads import one_thread
from signals.windows.blocks import Block, WindowStart, blocks, plan_windows
from signals.windows.plan import RecordingPlan, plan_recording
from signals.windows.profiles import Profile

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Quarantined:
    """A file that was not used, and why."""

    ref: FileRef
    """The file as the run was given it: whoever replays the quarantine needs it. Kept outside of the shard set."""
    file_id: str
    reason: str
    detail: str
    """May quote the file, so it is kept outside of the shard set too."""
    hours: float | None
    """Length where the header could be read."""

    def public_row(self) -> dict[str, Any]:
        """Return what the shard set holds of the file: neither its path nor anything out of it."""
        return {"file_id": self.file_id, "site_id": self.ref.site_id, "reason": self.reason, "hours": self.hours}

    def private_row(self) -> dict[str, Any]:
        """Return all that a replay needs, and a person who repairs the file."""
        ref = asdict(self.ref)
        return {"file": ref.pop("uri"), **ref, "file_id": self.file_id, "reason": self.reason, "detail": self.detail}


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


@dataclass(frozen=True)
class PlannedFile:
    """What became of one file."""

    file: Accepted | Quarantined
    blocks: tuple[Block, ...] = ()


def plan_file(ref: FileRef, profile: Profile, salt: str) -> PlannedFile:
    """Return the blocks of one file, or why it is not used; raises TransferError only."""
    recording = None
    try:
        recording = open_recording(ref.uri)
        with one_thread():
            plan, starts = _plan(ref, recording, profile, salt)
            return PlannedFile(_accepted(ref, recording, plan, starts, salt), tuple(blocks(plan, starts)))
    except UnreadableError as error:
        return _quarantined(ref, error.reason, error.detail, recording, salt)
    except TransferError:  # the runner tries again, and the run dies rather than lose a good file
        raise
    except Exception as error:  # one file must not take the run along; the reason code counts it
        # Where, but not the message: it may quote a path or a name, and goes to the private list alone.
        logger.error("planning failed: %s\n%s", type(error).__name__, "".join(format_tb(error.__traceback__)))
        return _quarantined(ref, "internal_error", f"{type(error).__name__}: {error}", recording, salt)


def _plan(ref: FileRef, recording: Recording, profile: Profile, salt: str) -> tuple[RecordingPlan, list[WindowStart]]:
    subject = ref.subject if ref.subject.lower() not in {"", "unknown"} else _named_patient(recording.patient)
    # Without a known person every file counts as one of its own, and is marked so.
    subject_id = (
        hash_subject(ref.site_id, subject, salt=salt)
        if subject
        else "unknown-" + hash_subject(ref.site_id, PurePosixPath(ref.uri).name, salt=salt)
    )
    plan = plan_recording(
        recording,
        profile,
        site_id=ref.site_id,
        subject_id=subject_id,
        source_sha256=source_sha256(ref.uri),
        mains_hz=ref.mains_hz,
    )
    return plan, plan_windows(recording, plan, ref.labels)


def _accepted(
    ref: FileRef, recording: Recording, plan: RecordingPlan, starts: Sequence[WindowStart], salt: str
) -> Accepted:
    return Accepted(
        site_id=ref.site_id,
        recording_id=plan.recording_id,
        reader=recording.reader,
        native_sfreq=plan.native_sfreq,
        n_channels=len(plan.picks),
        n_windows=len(starts),
        hours=recording.duration_s / 3600,
        mains_hz=plan.mains_hz,
        notes=plan.notes,
        file_id=hash_file(ref.uri, salt=salt),
        mains_detected=ref.mains_hz is None and recording.mains_hz is None and plan.mains_hz is not None,
        amplitude_uv=plan.amplitude_uv,
        hours_covered=covered_s(plan, starts) / 3600,
        source_reference=plan.source_reference,
        reference=plan.profile.reference,
        bad_channels=plan.bad_channels,
        events=event_counts(recording),
    )


def _quarantined(ref: FileRef, reason: str, detail: str, recording: Recording | None, salt: str) -> PlannedFile:
    hours = None if recording is None else recording.duration_s / 3600
    return PlannedFile(Quarantined(ref, hash_file(ref.uri, salt=salt), reason, detail, hours))


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


def _named_patient(text: str) -> str:
    """Return the patient text of a header unless it is one of the fillers that anonymised files carry."""
    words = {word.lower() for word in text.replace("_", " ").split()}
    return "" if words <= {"x", "0", "anonymous", "anonymized", "unknown", "na"} else text
