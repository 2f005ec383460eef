"""What a bundle answers for a whole recording: window by window at a hop, second by second, and as events."""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from serving.runtime import Answer, decisions_of, run
from signals.bundles.bundle import Bundle, BundleError
from signals.bundles.inputs import wanted, windows_of_recording
from signals.progress import progress
from signals.readers.digests import IN_MEMORY
from signals.recording.recording import Recording
from signals.windows.profiles import Profile


@dataclass(frozen=True, kw_only=True)
class Event:
    """A stretch of seconds of one finding."""

    label: str
    onset_s: float
    duration_s: float
    probability: float
    """Largest of a second in it."""


@dataclass(frozen=True, kw_only=True)
class Seconds:
    """Answers per second of what the windows' label spans cover; seconds that none covers are not there."""

    onsets_s: np.ndarray
    """Whole seconds since the recording's start, int64, shape (n_seconds,)."""
    probabilities: np.ndarray = field(repr=False)
    """Mean of the windows whose span holds the second's middle, float64, shape (n_seconds, n_classes)."""


@dataclass(frozen=True, kw_only=True)
class Prediction:
    """Everything that a bundle answers for a recording. Research use only."""

    classes: tuple[str, ...]
    findings: tuple[str, ...]
    """Classes that become events."""
    window_s: float
    span_s: tuple[float, float]
    """The stretch of a window that its answer speaks of, seconds from the window's start."""
    hop_s: float
    answers: tuple[Answer, ...] = field(repr=False)
    """In order of time."""
    decisions: tuple[float, ...] | None = None
    """Probability from which each class of a multi-label task is answered; None where a second has one class."""

    @property
    def spans_s(self) -> tuple[tuple[float, float], ...]:
        """The stretch that each answer is about, from and to, seconds since the recording's start."""
        first, last = self.span_s
        return tuple((round(each.start_s + first, 6), round(each.start_s + last, 6)) for each in self.answers)

    @property
    def seconds(self) -> Seconds:
        """Answers per second."""
        if not self.answers:
            return Seconds(onsets_s=np.empty(0, dtype=np.int64), probabilities=np.empty((0, len(self.classes))))
        spans = [range(round(first + 1e-6), round(last + 1e-6)) for first, last in self.spans_s]
        first, last = min(span.start for span in spans), max(span.stop for span in spans)
        sums, counts = np.zeros((last - first, len(self.classes))), np.zeros(last - first)
        for answer, span in zip(self.answers, spans, strict=True):
            within = slice(span.start - first, span.stop - first)
            sums[within] += [answer.class_probabilities[name] for name in self.classes]
            counts[within] += 1
        covered = np.flatnonzero(counts)
        return Seconds(onsets_s=covered + first, probabilities=sums[covered] / counts[covered, None])

    @property
    def events(self) -> tuple[Event, ...]:
        """Neighbouring seconds of the same finding as one event each: the likeliest class, or each that is answered."""
        return tuple(self._events(self.seconds))

    def to_frame(self) -> Any:
        """Return a pandas DataFrame with a row per answer: its span, the class, and the probability of each class."""
        import pandas as pd

        rows = [
            {"start_s": first, "stop_s": last, "predicted_class": each.predicted_class, **each.class_probabilities}
            for each, (first, last) in zip(self.answers, self.spans_s, strict=True)
        ]
        columns = ["start_s", "stop_s", "predicted_class", *self.classes]
        return pd.DataFrame(rows, columns=columns)

    def to_annotations(self) -> Any:
        """Return the events as `mne.Annotations`, for `raw.set_annotations(raw.annotations + ...)`.

        Onsets count from the recording's first sample.
        """
        import mne

        events = self.events
        return mne.Annotations(
            onset=[event.onset_s for event in events],
            duration=[event.duration_s for event in events],
            description=[event.label for event in events],
        )

    def _events(self, seconds: Seconds) -> Iterator[Event]:
        answered = self._answered(seconds.probabilities)
        found = []
        for cls, name in enumerate(self.classes):
            rows = np.flatnonzero(answered[:, cls]) if name in self.findings else np.empty(0, dtype=int)
            for stretch in np.split(rows, np.flatnonzero(np.diff(seconds.onsets_s[rows]) != 1) + 1):
                if len(stretch):
                    first, best = float(seconds.onsets_s[stretch[0]]), float(seconds.probabilities[stretch, cls].max())
                    found.append(Event(label=name, onset_s=first, duration_s=float(len(stretch)), probability=best))
        yield from sorted(found, key=lambda event: event.onset_s)

    def _answered(self, probabilities: np.ndarray) -> np.ndarray:
        """Return which classes each second is answered with, bool, shape (n_seconds, n_classes)."""
        if self.decisions is not None:
            return np.asarray(probabilities >= np.array(self.decisions))
        likeliest = probabilities.argmax(axis=1)[:, None]
        return np.asarray(likeliest == np.arange(len(self.classes)))


def usual_hop_s(profile: Profile) -> float:
    """Return the hop at which the spans that answers speak of follow each other without a gap."""
    span = profile.label_span_s
    return profile.hop_s if span is None else min(span[1] - span[0], profile.hop_s)


def at_hop(profile: Profile, hop_s: float | None) -> Profile:
    """Return the profile with a window every `hop_s` of a whole recording; raises BundleError for an impossible hop."""
    try:
        return replace(profile, windows="tile", hop_s=usual_hop_s(profile) if hop_s is None else hop_s)
    except ValueError as error:
        raise BundleError(str(error)) from None


def predict_recording(
    bundle: Bundle,
    recording: Recording,
    *,
    hop_s: float | None = None,
    mains_hz: float | None = None,
    sha256: str = IN_MEMORY,
) -> Prediction:
    """Return what a bundle answers for a recording, a window every `hop_s`.

    A recording that is shorter than a window but not than what an answer speaks of is answered too, its surroundings
    unknown. Raises BundleError for an encoder and for a hop that cannot be, UnreadableError for a recording that cannot
    be used.
    """
    classes, profile = bundle.classes, at_hop(bundle.profile, hop_s)
    windows = windows_of_recording(
        profile, recording, source_sha256=sha256, mains_hz=mains_hz, want=wanted(bundle.graphs)
    )
    n_windows = sum(max(0, 1 + int((one.duration_s - profile.window_s) // profile.hop_s)) for one in recording.segments)
    return Prediction(
        classes=classes,
        findings=bundle.task.findings if bundle.task else (),
        window_s=profile.window_s,
        span_s=profile.label_span_s or (0.0, profile.window_s),
        hop_s=profile.hop_s,
        answers=tuple(run(bundle, progress(windows, "predict", unit="windows", total=n_windows))),
        decisions=decisions_of(bundle),
    )


def spoken_of(prediction: Prediction) -> str:
    """Return a line that states what stretch each answer is about, and how often."""
    first, last = prediction.span_s
    whole = first == 0 and last == prediction.window_s
    stretch = "the whole window" if whole else f"the window's seconds {first:g} to {last:g}"
    return f"each answer is about {stretch} of {prediction.window_s:g} s, every {prediction.hop_s:g} s"
