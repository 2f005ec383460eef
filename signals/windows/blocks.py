"""Where the windows of a planned recording begin, and which of them are prepared together.

Labels, window starts and blocks hold no samples; a block and its plan are all that a worker needs.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from math import isfinite

import numpy as np

from signals.recording.recording import Recording, UnreadableError
from signals.tasks import TASKS
from signals.windows.labels import Label, RefusedLabel, merged
from signals.windows.margins import NO_MARGINS, with_margins
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
    """The autoencoder's scores, one array (n_chans, n_seconds) per start where it was requested;
    see `pipelines.stages.anomaly`."""


@dataclass(frozen=True, kw_only=True)
class Placement:
    """Where the windows of a recording lie, and which labels none of them got."""

    starts: tuple[WindowStart, ...]
    """In order of time."""
    n_placed: int = 0
    """Labels that windows got; one of a whole recording counts once. A label that lasts for several windows counts as
    so many, here and below."""
    n_merged: int = 0
    """Labels that are one with another of the same window."""
    refused: tuple[RefusedLabel, ...] = ()

    @property
    def n_labels(self) -> int:
        """How many labels there were."""
        return self.n_placed + self.n_merged + len(self.refused)


def plan_windows(recording: Recording, plan: RecordingPlan, labels: Sequence[Label] = ()) -> list[WindowStart]:
    """Return the windows of a recording in order of time: those of `place_windows`, which raises."""
    return list(place_windows(recording, plan, labels).starts)


def place_windows(recording: Recording, plan: RecordingPlan, labels: Sequence[Label] = ()) -> Placement:
    """Return the windows of a recording in order of time, each within one gap-free segment, and the labels refused.

    Tiles begin every `hop_s` from a segment's first sample, as long as a whole window fits; what is left behind the
    last one, less than a hop, is in no window. Labels with an onset are placed at it, and every `hop_s` after it while
    the window ends within the label's duration. Where no label has an onset, the annotations that `annotation_task`
    knows serve as labels. Labels of one window are merged (`signals.windows.labels.merged`) or refused. A labelled
    recording that is shorter than a window gives one whose surroundings are unknown (`signals.windows.margins`).

    Raises UnreadableError: "too_short" where no window fits, "label_out_of_range" or "contradicting_labels" where every
    label with an onset is refused.
    """
    profile = plan.profile
    is_short, recording = plan.margins != NO_MARGINS, with_margins(recording, plan.margins)
    n_window = round(profile.window_s * profile.signal.sfreq)
    lengths = [
        plan.conditioner.n_times(recording.n_times(plan.picks[0], segment))
        for segment in range(len(recording.segments))
    ]
    placed = [label for label in labels if label.onset_s is not None] or _annotated(recording, profile)
    if profile.windows == "labelled" and placed:
        return _at_labels(recording, plan, placed, lengths)
    of_all = [label for label in labels if label.onset_s is None] or _of_file(recording, profile)
    if is_short and profile.windows == "labelled":
        return _in_the_middle(plan, of_all, lengths)
    whole = merged(of_all) if of_all else None
    hop = round(profile.hop_s * profile.signal.sfreq)
    starts = tuple(
        WindowStart(segment, start, whole)
        for segment, length in enumerate(lengths)
        for start in range(0, length - n_window + 1, hop)
    )
    if not starts:
        raise too_short(max(lengths) / profile.signal.sfreq, profile)
    if whole is None:
        detail = f"{len(of_all)} rows of the whole recording differ"
        refused = RefusedLabel(onset_s=None, reason="contradicting_labels", detail=detail)
        return Placement(starts=starts, refused=(refused,) * len(of_all))
    return Placement(starts=starts, n_placed=1, n_merged=len(of_all) - 1)


def _in_the_middle(plan: RecordingPlan, labels: Sequence[Label], lengths: Sequence[int]) -> Placement:
    """Return one window per segment of a labelled recording that is shorter than a window."""
    profile = plan.profile
    sfreq = profile.signal.sfreq
    spares = {segment: length - plan.n_window for segment, length in enumerate(lengths) if length >= plan.n_window - 2}
    if not labels or not spares:
        raise too_short(max(lengths) / sfreq - sum(plan.margins), profile)
    if (whole := merged(labels)) is None:
        raise UnreadableError("contradicting_labels", f"{len(labels)} rows of the whole recording differ")
    starts = tuple(WindowStart(segment, max(spare // 2, 0), whole) for segment, spare in spares.items())
    return Placement(starts=starts, n_placed=1, n_merged=len(labels) - 1)


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


def _of_file(recording: Recording, profile: Profile) -> list[Label]:
    """Return the label of the whole recording that its file holds, where the profile's `annotation_task` knows it."""
    if not profile.annotation_task or TASKS[profile.annotation_task].classes_of(recording.label) is None:
        return []
    return [Label(onset_s=None, label=recording.label)]


def _parts(label: Label, profile: Profile) -> Iterator[Label]:
    """Yield the label once for each window that lies within its stretch, at least once."""
    assert label.onset_s is not None
    spare_s = (label.duration_s or 0.0) - profile.window_s
    for i in range(max(int(spare_s / profile.hop_s + 1e-6), 0) + 1):
        yield replace(label, onset_s=label.onset_s + i * profile.hop_s)


def _at_labels(recording: Recording, plan: RecordingPlan, labels: Sequence[Label], lengths: Sequence[int]) -> Placement:
    at: dict[tuple[int, int], list[Label]] = {}
    refused: list[RefusedLabel] = []
    last = recording.segments[-1]
    for label in labels:
        for part in _parts(label, plan.profile):
            place = _place(recording, plan, part, lengths)
            if not isinstance(place, RefusedLabel):
                at.setdefault(place, []).append(part)
                continue
            refused.append(place)
            if place.onset_s is not None and place.onset_s >= last.onset_s + last.duration_s:
                break  # of a stretch that outlives the recording, the first window beyond stands for the rest
    starts, n_merged = [], 0
    for (segment, start), parts in sorted(at.items()):
        if (common := merged(parts)) is not None:
            starts.append(WindowStart(segment, start, common))
            n_merged += len(parts) - 1
        else:
            detail = f"{len(parts)} rows at {parts[0].onset_s} s differ"
            refused += [
                RefusedLabel(onset_s=part.onset_s, reason="contradicting_labels", detail=detail) for part in parts
            ]
    if not starts:
        raise UnreadableError(refused[0].reason, f"{refused[0].detail}; none of {len(refused)} labels can be used")
    return Placement(starts=tuple(starts), n_placed=len(starts), n_merged=n_merged, refused=tuple(refused))


def _place(
    recording: Recording, plan: RecordingPlan, label: Label, lengths: Sequence[int]
) -> tuple[int, int] | RefusedLabel:
    """Return segment and first sample of a label's window."""
    assert label.onset_s is not None
    sfreq = plan.profile.signal.sfreq
    n_window = round(plan.profile.window_s * sfreq)
    # A file's last sample may fall short of the label's end by less than one native sample.
    slack = round(sfreq / plan.native_sfreq) + 1
    for segment, (stretch, length) in enumerate(zip(recording.segments, lengths, strict=True)):
        offset_s = label.onset_s - stretch.onset_s
        start = round(offset_s * sfreq) if isfinite(offset_s) else -slack - 1
        if -slack <= start and start + n_window <= length + slack:
            return segment, min(max(start, 0), length - n_window)
    return RefusedLabel(
        onset_s=label.onset_s,
        reason="label_out_of_range",
        detail=f"no gap-free {plan.profile.window_s} s at {label.onset_s} s of {recording.duration_s:.1f} s",
    )
