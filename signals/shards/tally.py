"""What windows add up to: by subject for the manifest, by site for the books. Pure, and additive over shards."""

from collections import Counter
from collections.abc import Mapping
from typing import Any

import numpy as np

from signals.description.artifacts import KINDS
from signals.shards.manifest import SubjectEntry
from signals.shards.moments import Moments
from signals.window import ABSENT, INTERPOLATED, MEASURED, Window

QUALITY_BINS = 10
"""Equal bins of a window's quality, 0 to 1."""
STATES = {"measured": MEASURED, "interpolated": INTERPOLATED, "absent": ABSENT}


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

    def subjects(self) -> dict[str, SubjectEntry]:
        """Return an entry a subject."""
        return {
            subject: SubjectEntry(
                site_id=self._sites[subject],
                n_windows=self._n_windows[subject],
                recording_ids=tuple(sorted(self._recordings[subject])),
                moments=moments,
            )
            for subject, moments in self._moments.items()
        }

    def sums(self) -> dict[str, Any]:
        """Return the sums as plain values: classes, channel_seconds by artifact, quality histogram, presence."""
        return {
            "classes": dict(sorted(self._classes.items())),
            "channel_seconds": dict(sorted(self._flagged.items())),
            "quality": self._quality.tolist(),
            "presence": {name: counts.tolist() for name, counts in sorted(self._presence.items())},
        }


def add_sums(a: Mapping[str, Any], b: Mapping[str, Any]) -> dict[str, Any]:
    """Return two `sums` added: numbers by name, lists place by place; a missing side counts nothing."""
    return {name: _add(a.get(name), b.get(name)) for name in sorted({*a, *b})}


def _add(a: Any, b: Any) -> Any:
    if a is None or b is None:
        return b if a is None else a
    if isinstance(a, Mapping):
        return add_sums(a, b)
    if isinstance(a, list):
        return [x + y for x, y in zip(a, b, strict=True)]
    return a + b


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
