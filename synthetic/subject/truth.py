"""What the generator put into a segment: the ground truth that detectors are measured against."""

from dataclasses import dataclass

EVENT_KINDS = (
    "discharge", "seizure", "rhythm", "spindle", "burst", "eyes_closed",
    "blink", "eye_movement", "muscle", "heartbeat", "pop", "flat", "noisy", "drift",
)  # fmt: skip


@dataclass(frozen=True)
class Event:
    """Something that happens in a segment: onset and length in seconds from the segment's first sample."""

    kind: str
    """One of EVENT_KINDS."""
    onset_s: float
    duration_s: float
    ch_names: tuple[str, ...] = ()
    """Channels on which it is largest; empty for all."""


@dataclass(frozen=True, kw_only=True)
class Truth:
    """Ground truth of one segment."""

    label: str
    variant: str
    """Form of the class, for example "triphasic", "spike-wave", "burst-suppression"."""
    span_s: tuple[float, float]
    """Stretch that carries the pattern, seconds from the segment's start; the whole segment for Other."""
    rate_hz: tuple[float, float]
    """Repetition rate at the start and the end of the span; nan for Other."""
    prominence: float
    """Peak of the pattern over the standard deviation of the subject's background; nan for Other."""
    events: tuple[Event, ...]

    def of(self, kind: str) -> tuple[Event, ...]:
        """Return the events of one kind, in order of onset."""
        return tuple(sorted((e for e in self.events if e.kind == kind), key=lambda e: e.onset_s))
