"""Where the windows of a planned recording begin, and which of them are prepared together.

Labels, window starts and blocks hold no samples; a block and its plan are all that a worker needs.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from signals.recording.recording import Recording, UnreadableError
from signals.tasks import TASKS
from signals.windows.labels import Label
from signals.windows.plan import RecordingPlan, too_short
from signals.windows.profiles import Profile


@dataclass(frozen=True)
class WindowStart:
    """Where a window begins, at the modality's rate, and its label if it has one."""

    segment: int
    start: int
    label: Label | None = None


@dataclass(frozen=True)
class Block:
    """Windows of one segment that are prepared together."""

    plan: RecordingPlan
    starts: tuple[WindowStart, ...]
    anomaly: tuple[np.ndarray | None, ...] = field(default=(), compare=False)
    """The autoencoder's scores, one array (n_chans, n_seconds) a start where it was asked; see
    `pipelines.stages.anomaly`."""


def plan_windows(recording: Recording, plan: RecordingPlan, labels: Sequence[Label] = ()) -> list[WindowStart]:
    """Return the windows of a recording in order of time, each within one gap-free segment.

    Tiles begin every `hop_s` from a segment's first sample, as long as a whole window fits; what is left behind the
    last one, less than a hop, is in no window. Labels with an onset are placed at it, and every `hop_s` after it while
    the window ends within the label's duration. Where no label has an onset, the annotations that `annotation_task`
    knows serve as labels.

    Raises UnreadableError: "too_short" where no window fits, "label_out_of_range" for a label whose window does not lie
    within a segment.
    """
    profile = plan.profile
    n_window = round(profile.window_s * profile.signal.sfreq)
    lengths = [
        plan.conditioner.n_times(recording.n_times(plan.picks[0], segment))
        for segment in range(len(recording.segments))
    ]
    placed = [label for label in labels if label.onset_s is not None] or _annotated(recording, profile)
    whole = next((label for label in labels if label.onset_s is None), None)
    if profile.windows == "labelled" and placed:
        every = (part for label in placed for part in _parts(label, profile))
        return sorted((_place(recording, plan, label, lengths, n_window) for label in every), key=_order)
    hop = round(profile.hop_s * profile.signal.sfreq)
    starts = [
        WindowStart(segment, start, whole)
        for segment, length in enumerate(lengths)
        for start in range(0, length - n_window + 1, hop)
    ]
    if not starts:
        raise too_short(max(lengths) / profile.signal.sfreq, profile)
    return starts


def blocks(plan: RecordingPlan, starts: Sequence[WindowStart]) -> Iterator[Block]:
    """Yield the windows in groups that lie together: one segment, no longer than the profile's block_s."""
    profile = plan.profile
    longest = round(max(profile.block_s, profile.window_s) * profile.signal.sfreq)
    n_window = round(profile.window_s * profile.signal.sfreq)
    group: list[WindowStart] = []
    for start in starts:
        if group and (start.segment != group[0].segment or start.start + n_window - group[0].start > longest):
            yield Block(plan, tuple(group))
            group = []
        group.append(start)
    if group:
        yield Block(plan, tuple(group))


def _annotated(recording: Recording, profile: Profile) -> list[Label]:
    """Return labels from the annotations that name a class of the profile's `annotation_task`."""
    if not profile.annotation_task:
        return []
    task, found = TASKS[profile.annotation_task], []
    for note in recording.annotations:
        name = task.class_of(note.description)
        # An annotation shorter than a window marks a moment, not a stretch: half a stage is no stage.
        if name is not None and note.duration_s >= profile.window_s:
            found.append(Label(onset_s=note.onset_s, label=name, duration_s=note.duration_s))
    return found


def _parts(label: Label, profile: Profile) -> Iterator[Label]:
    """Yield the label once for each window that lies within its stretch, at least once."""
    assert label.onset_s is not None
    spare_s = (label.duration_s or 0.0) - profile.window_s
    for i in range(max(int(spare_s / profile.hop_s + 1e-6), 0) + 1):
        yield replace(label, onset_s=label.onset_s + i * profile.hop_s)


def _place(recording: Recording, plan: RecordingPlan, label: Label, lengths: list[int], n_window: int) -> WindowStart:
    assert label.onset_s is not None
    sfreq = plan.profile.signal.sfreq
    for segment, (stretch, length) in enumerate(zip(recording.segments, lengths, strict=True)):
        start = round((label.onset_s - stretch.onset_s) * sfreq)
        # A file's last sample may fall short of the label's end by less than one native sample.
        slack = round(sfreq / plan.native_sfreq) + 1
        if -slack <= start and start + n_window <= length + slack:
            return WindowStart(segment, min(max(start, 0), length - n_window), label)
    raise UnreadableError(
        "label_out_of_range",
        f"no gap-free {plan.profile.window_s} s at {label.onset_s} s of {recording.duration_s:.1f} s",
    )


def _order(start: WindowStart) -> tuple[int, int]:
    return start.segment, start.start
