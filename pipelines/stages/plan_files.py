"""A file to its plan: opened, hashed, looked at, and its windows' onsets; or quarantined with a reason."""

import logging
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from traceback import format_tb
from typing import Any

import apache_beam as beam
from apache_beam.metrics import Metrics

from pipelines.intake.inputs import FileRef
from pipelines.runs.remote import register_remote
from pipelines.stages.counters import count
from signals.readers.digests import source_sha256
from signals.readers.disclosure import event_counts
from signals.readers.registry import open_recording
from signals.readers.remote import TransferError
from signals.recording.identity import hash_file, hash_subject
from signals.recording.recording import Recording, UnreadableError
from signals.threads import one_thread
from signals.windows.blocks import WindowStart, blocks, plan_windows
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

    @property
    def site_id(self) -> str:
        """Site of the file."""
        return self.ref.site_id


@dataclass(frozen=True)
class Accepted:
    """What is reported of a file that was used."""

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
    """Whether the mains frequency was found in the signal rather than known of the site or said by the file."""
    amplitude_uv: float | None
    """Robust standard deviation within 1-35 Hz, before preparation."""
    hours_covered: float
    """What of `hours` lies in a planned window; the rest are tails, short stretches and what no label speaks of."""
    source_reference: str = ""
    """What the channels were recorded against, where file or labels say it."""
    reference: str = ""
    """What the windows are referenced to."""
    bad_channels: tuple[tuple[str, str], ...] = ()
    """Electrodes found bad, and why."""
    events: dict[str, int] = field(default_factory=dict)
    """How often each event word (`signals.recording.events`) stands in the recording's annotations."""


@dataclass
class PlanFile(beam.DoFn):
    """FileRef -> Block; tagged outputs "accepted" and "quarantined" hold one row a file, together all files."""

    profile: Profile
    salt: str

    def setup(self) -> None:
        """Let the readers open what Beam's file systems hold."""
        register_remote()

    def process(self, ref: FileRef) -> Iterator[Any]:
        """Yield the blocks of one file."""
        started = time.perf_counter()
        recording = None
        try:
            recording = open_recording(ref.uri)
            with one_thread():
                plan, starts = self._plan(ref, recording)
        except UnreadableError as error:
            yield from self._quarantine(ref, error.reason, error.detail, recording)
            return
        except TransferError:  # the runner tries again, and the run dies rather than lose a good file
            raise
        except Exception as error:  # one file must not take the run along; the reason code counts it
            # Where, but not the message: it may quote a path or a name, and goes to the private list alone.
            logger.error("planning failed: %s\n%s", type(error).__name__, "".join(format_tb(error.__traceback__)))
            yield from self._quarantine(ref, "internal_error", f"{type(error).__name__}: {error}", recording)
            return
        yield beam.pvalue.TaggedOutput(
            "accepted",
            Accepted(
                site_id=ref.site_id,
                recording_id=plan.recording_id,
                reader=recording.reader,
                native_sfreq=plan.native_sfreq,
                n_channels=len(plan.picks),
                n_windows=len(starts),
                hours=recording.duration_s / 3600,
                mains_hz=plan.mains_hz,
                notes=plan.notes,
                file_id=hash_file(ref.uri, salt=self.salt),
                mains_detected=ref.mains_hz is None and recording.mains_hz is None and plan.mains_hz is not None,
                amplitude_uv=plan.amplitude_uv,
                hours_covered=covered_s(plan, starts) / 3600,
                source_reference=plan.source_reference,
                reference=plan.profile.reference,
                bad_channels=plan.bad_channels,
                events=event_counts(recording),
            ),
        )
        yield from blocks(plan, starts)
        count("plan", n=1, n_bytes=0, started=started)

    def _plan(self, ref: FileRef, recording: Recording) -> tuple[RecordingPlan, list[WindowStart]]:
        subject = ref.subject if ref.subject.lower() not in {"", "unknown"} else _named_patient(recording.patient)
        # Without a known person every file counts as one of its own, and says so.
        subject_id = (
            hash_subject(ref.site_id, subject, salt=self.salt)
            if subject
            else "unknown-" + hash_subject(ref.site_id, PurePosixPath(ref.uri).name, salt=self.salt)
        )
        plan = plan_recording(
            recording,
            self.profile,
            site_id=ref.site_id,
            subject_id=subject_id,
            source_sha256=source_sha256(ref.uri),
            mains_hz=ref.mains_hz,
        )
        return plan, plan_windows(recording, plan, ref.labels)

    def _quarantine(self, ref: FileRef, reason: str, detail: str, recording: Recording | None) -> Iterator[Any]:
        Metrics.counter("quarantine", reason).inc()
        hours = None if recording is None else recording.duration_s / 3600
        row = Quarantined(ref, hash_file(ref.uri, salt=self.salt), reason, detail, hours)
        yield beam.pvalue.TaggedOutput("quarantined", row)


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
