"""The report with 100% accuracy on one patient rebuilt, refused by the audit, and evaluated soundly beside it.

Unsound: overlapping windows of one patient dealt at random to training and test, a threshold of 0.70 that nobody
explains, probabilities of 0 and 1. Sound: a seizure left out, and a patient left out, in events, with exact intervals.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from evaluation.audit.claims import Claim
from evaluation.measures.intervals import exact_interval
from evaluation.operating.events import EventCounts, EventRules, score_events, union
from explain.asking.parts import BANDS
from synthetic.evidence.patients import SFREQ, SeizureRecording

WINDOW_S, HOP_S, THRESHOLD = 4.0, 1.0, 0.70
RULES = EventRules(merge_s=5.0, before_s=0.0, after_s=5.0)
_REACH_S = 20.0


@dataclass(frozen=True, kw_only=True)
class Windows:
    """Overlapping windows of one or more recordings."""

    rows: np.ndarray
    """Log band powers, shape (n, n_chans * n_bands)."""
    labels: np.ndarray
    starts: np.ndarray
    subjects: np.ndarray
    seizures: np.ndarray
    """Number of the nearest seizure, which a fold leaves out with its surroundings."""


@dataclass(frozen=True, kw_only=True)
class Sound:
    """Events detected when seizures, or patients, are left out."""

    left_out: str
    n_events: int
    n_detected: int
    low: float
    high: float
    """Exact 95% interval of the share detected (Clopper and Pearson 1934)."""
    false_per_hour: float


def windows_of(recordings: Sequence[SeizureRecording]) -> Windows:
    """Return every window of recordings, its label from its middle."""
    rows, labels, starts, subjects, seizures = [], [], [], [], []
    n = round(WINDOW_S * SFREQ)
    freqs = np.fft.rfftfreq(n, 1 / SFREQ)
    inside = [(freqs >= low) & (freqs < high) for low, high in BANDS.values() if low < SFREQ / 2]
    for recording in recordings:
        for start in np.arange(0, recording.length_s - WINDOW_S, HOP_S):
            first = round(start * SFREQ)
            power = np.abs(np.fft.rfft(recording.data[:, first : first + n], axis=1)) ** 2
            rows.append(np.log(np.stack([power[:, band].mean(axis=1) for band in inside], axis=1) + 1e-6).ravel())
            middle = start + WINDOW_S / 2
            labels.append(any(a <= middle < b for a, b in recording.seizures_s))
            seizures.append(int(np.argmin([abs(middle - (a + b) / 2) for a, b in recording.seizures_s])))
            starts.append(start)
            subjects.append(recording.subject)
    return Windows(
        rows=np.array(rows), labels=np.array(labels, dtype=int), starts=np.array(starts),
        subjects=np.array(subjects), seizures=np.array(seizures),
    )  # fmt: skip


def predicted(windows: Windows, train: np.ndarray, test: np.ndarray, *, penalty: float) -> np.ndarray:
    """Return probabilities of test windows by a logistic regression of training windows; a large penalty is weak."""
    return _fitted(windows, train, penalty).predict_proba(windows.rows[test])[:, 1]


def _fitted(windows: Windows, train: np.ndarray, penalty: float) -> Any:
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    model = make_pipeline(StandardScaler(), LogisticRegression(C=penalty, max_iter=5000))
    return model.fit(windows.rows[train], windows.labels[train])


def unsound_claim(recording: SeizureRecording, *, seed: int = 0) -> Claim:
    """Return the report on one patient: overlapping windows at random, nearest neighbour, threshold 0.70."""
    windows, rng = windows_of([recording]), np.random.default_rng(seed)
    # Windows whose middle is near an edge were left out there, which makes it easier still.
    edges = np.array([edge for span in recording.seizures_s for edge in span])
    kept = np.abs(windows.starts[:, None] + WINDOW_S / 2 - edges).min(axis=1) > WINDOW_S
    is_test = rng.random(len(windows.labels)) < 0.3
    train, rows = np.flatnonzero(~is_test & kept), np.flatnonzero(is_test & kept)
    model = _fitted(windows, train, 1e4)
    prob = model.predict_proba(windows.rows)[:, 1]
    right = (prob[rows] >= THRESHOLD) == windows.labels[rows]
    weight = model[-1].coef_[0]
    scaled = model[0].transform(windows.rows[rows]) * weight
    maps = np.stack([scaled.mean(axis=0), -scaled.mean(axis=0)])  # of the two logits' difference there is one map
    size = np.abs(maps[0]).reshape(len(recording.data), -1).sum(axis=0)
    top = list(BANDS)[int(size.argmax())]
    return Claim(
        recordings=windows.subjects[kept], subjects=windows.subjects[kept], start_s=windows.starts[kept],
        window_s=WINDOW_S, is_test=is_test[kept], probabilities=prob[kept], accuracy=float(right.mean()),
        has_interval=False, threshold=THRESHOLD, maps=maps, top_bands=(top, top),
    )  # fmt: skip


def sound_evaluation(recordings: Sequence[SeizureRecording], *, left_out: str) -> Sound:
    """Return events detected with each "seizure" of one patient, or each "patient", left out in turn.

    The threshold is 0.5, fixed before. Raises ValueError for anything else to leave out.
    """
    windows = windows_of(recordings)
    groups = {"seizure": windows.seizures, "patient": windows.subjects}.get(left_out)
    if groups is None:
        raise ValueError(f"left_out={left_out!r} is neither seizure nor patient")
    counts, seconds = [], 0.0
    for group in np.unique(groups):
        test = np.flatnonzero(groups == group)
        apart = np.ones(len(groups), dtype=bool)
        apart[test] = False
        if left_out == "seizure":  # neighbours of what is tested share samples with it
            near = np.abs(windows.starts[:, None] - windows.starts[test][[0, -1]]).min(axis=1) < WINDOW_S + _REACH_S / 4
            apart &= ~near
        prob = predicted(windows, np.flatnonzero(apart), test, penalty=0.01)
        counts.append(_events(windows, test, prob, recordings))
        seconds += len(test) * HOP_S
    n_events, n_detected = sum(c.n_events for c in counts), sum(c.n_detected for c in counts)
    low, high = exact_interval(n_detected, n_events)
    return Sound(
        left_out=left_out, n_events=n_events, n_detected=n_detected, low=low, high=high,
        false_per_hour=sum(c.n_false for c in counts) / (seconds / 3600),
    )  # fmt: skip


def _events(
    windows: Windows, test: np.ndarray, prob: np.ndarray, recordings: Sequence[SeizureRecording]
) -> EventCounts:
    starts = windows.starts[test]
    recording = next(each for each in recordings if each.subject == windows.subjects[test][0])
    truth = [s for s in recording.seizures_s if s[1] > starts.min() and s[0] < starts.max() + WINDOW_S]
    called = starts[prob >= 0.5] + WINDOW_S / 2 - HOP_S / 2
    alarms = union(called, called + HOP_S)
    return score_events(truth, alarms, end_s=float(starts.max() + WINDOW_S), rules=RULES)
