"""What windows add up to: by subject for the manifest, by site for the accounting. Pure, and additive over shards."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from signals.description.artifacts import KINDS
from signals.shards.manifest import SubjectEntry
from signals.shards.moments import Moments
from signals.window import ABSENT, INTERPOLATED, MEASURED, Window

QUALITY_BINS = 10
"""Equal bins of a window's quality, 0 to 1."""
STATES = {"measured": MEASURED, "interpolated": INTERPOLATED, "absent": ABSENT}


@dataclass(frozen=True)
class Sums:
    """What a set of windows adds up to."""

    classes: dict[str, int] = field(default_factory=dict)
    """Windows per label, "" for none."""
    channel_seconds: dict[str, int] = field(default_factory=dict)
    """Channel-seconds under each artifact kind, and under "all" how many there are, in measured channels."""
    quality: tuple[int, ...] = ()
    """Windows per bin of quality; empty without windows."""
    presence: dict[str, tuple[int, ...]] = field(default_factory=dict)
    """Windows per channel in each of `STATES`."""
    decisions: dict[str, int] = field(default_factory=dict)
    """Windows per decision on their quality (`Window.quality_verdict`); records that have none are not counted."""

    def __add__(self, more: "Sums") -> "Sums":
        return Sums(
            classes=_added(self.classes, more.classes),
            channel_seconds=_added(self.channel_seconds, more.channel_seconds),
            quality=_added_rows(self.quality, more.quality),
            presence={
                state: _added_rows(self.presence.get(state, ()), more.presence.get(state, ()))
                for state in sorted({*self.presence, *more.presence})
            },
            decisions=_added(self.decisions, more.decisions),
        )

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON; nothing at all without windows."""
        if not sum(self.quality):
            return {}
        return {
            "classes": dict(sorted(self.classes.items())),
            "channel_seconds": dict(sorted(self.channel_seconds.items())),
            "quality": list(self.quality),
            "presence": {state: list(counts) for state, counts in sorted(self.presence.items())},
            **({"decisions": dict(sorted(self.decisions.items()))} if self.decisions else {}),
        }

    @classmethod
    def from_dict(cls, fields: Mapping[str, Any]) -> "Sums":
        """Build sums from `to_dict`'s output; what is not there counts nothing."""
        return cls(
            classes=dict(fields.get("classes", {})),
            channel_seconds=dict(fields.get("channel_seconds", {})),
            quality=tuple(fields.get("quality", ())),
            presence={state: tuple(counts) for state, counts in fields.get("presence", {}).items()},
            decisions=dict(fields.get("decisions", {})),
        )


def _added(a: Mapping[str, int], b: Mapping[str, int]) -> dict[str, int]:
    return {name: a.get(name, 0) + b.get(name, 0) for name in sorted({*a, *b})}


def _added_rows(a: tuple[int, ...], b: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(x + y for x, y in zip(a, b, strict=True)) if a and b else a or b


class Tally:
    """Sums over the windows of one site."""

    def __init__(self) -> None:
        self._moments: dict[str, Moments] = {}
        self._sites: dict[str, str] = {}
        self._n_windows: Counter[str] = Counter()
        self._recordings: dict[str, set[str]] = {}
        self._flagged: Counter[str] = Counter()
        self._classes: Counter[str] = Counter()
        self._quality = np.zeros(QUALITY_BINS, dtype=np.int64)
        self._presence: dict[str, np.ndarray] = {}
        self._decisions: Counter[str] = Counter()

    def add(self, window: Window) -> None:
        """Add one window."""
        subject = window.subject_id
        moments = Moments.of(window.data, valid_samples(window))
        self._moments[subject] = self._moments[subject].merge(moments) if subject in self._moments else moments
        self._sites[subject] = window.site_id
        self._n_windows[subject] += 1
        self._recordings.setdefault(subject, set()).add(window.recording_id)
        self._flagged += flagged_seconds(window)
        self._classes[window.label] += 1
        self._quality[quality_bin(window)] += 1
        for name, state in STATES.items():
            self._presence[name] = self._presence.get(name, 0) + (window.ch_state == state).astype(np.int64)
        if window.quality_verdict:
            self._decisions[window.quality_verdict] += 1

    def subjects(self) -> dict[str, SubjectEntry]:
        """Return an entry per subject."""
        return {
            subject: SubjectEntry(
                site_id=self._sites[subject],
                n_windows=self._n_windows[subject],
                recording_ids=tuple(sorted(self._recordings[subject])),
                moments=moments,
            )
            for subject, moments in self._moments.items()
        }

    def sums(self) -> Sums:
        """Return the sums over all windows that were added."""
        return Sums(
            classes=dict(sorted(self._classes.items())),
            channel_seconds=dict(sorted(self._flagged.items())),
            quality=tuple(self._quality.tolist()),
            presence={name: tuple(counts.tolist()) for name, counts in sorted(self._presence.items())},
            decisions=dict(sorted(self._decisions.items())),
        )


def quality_bin(window: Window) -> int:
    """Return the bin of a window's quality: the mean over its measured channels, 0 without any."""
    measured = window.quality[window.ch_state == MEASURED]
    quality = float(measured.mean()) if measured.size else 0.0
    return min(int(quality * QUALITY_BINS), QUALITY_BINS - 1)


def valid_samples(window: Window) -> np.ndarray:
    """Return which samples count for the statistics: present channels, seconds without gaps; bool like the data."""
    gap = (window.artifact_mask >> KINDS.index("gap")) & 1
    per_second = window.data.shape[1] // window.artifact_mask.shape[1]
    present = (window.ch_state != ABSENT)[:, None]
    return np.asarray(present & ~np.repeat(gap, per_second, axis=1).astype(bool))


def flagged_seconds(window: Window) -> Counter[str]:
    """Return channel-seconds under each artifact kind, and under "all" how many there are, in measured channels."""
    mask = window.artifact_mask[window.ch_state == MEASURED]
    counts = Counter({kind: int(((mask >> bit) & 1).sum()) for bit, kind in enumerate(KINDS)})
    counts["all"] = mask.size
    return counts
