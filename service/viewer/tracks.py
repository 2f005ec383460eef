"""What stands on the time axis beside the traces: trends by column, artifacts by electrode, answers, annotations."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from service.formats.findings import Findings, events
from service.web.answers import share_of_entropy
from serving.runtime import Answer
from signals.description.artifacts import BIT, KINDS
from signals.description.quality import SPOILT
from signals.viewing.trends import STEP_S, Trends

_DB_ZERO, _DB_STEPS = 30.0, 4.0
"""Density is sent as 1 + 4 (dB + 30), one byte; 0 is no signal."""
_EDGE_S = 0.01
_SHOWN = SPOILT & ~BIT["gap"]
"""Artifacts; gaps are drawn as gaps."""
NOTHING = "Other"
"""The class that is no finding."""


def trend_columns(trends: Trends, *, start_s: float, stop_s: float, most: int) -> dict[str, np.ndarray]:
    """Return the trends of a stretch in at most `most` columns; a column has the mean of its steps."""
    n_steps = trends.asymmetry.shape[-1]
    first = min(max(int(start_s / STEP_S), 0), max(n_steps - 1, 0))
    last = min(max(int(np.ceil(stop_s / STEP_S)), first + 1), n_steps)
    n_columns = min(most, last - first)
    edges = first + np.linspace(0, last - first, n_columns + 1).round().astype(int)
    density = _means(trends.density_db, edges)
    flags = (trends.flags & _SHOWN) != 0
    seconds = np.minimum(edges * int(STEP_S), flags.shape[-1])
    return {
        "edges_s": (edges * STEP_S).astype(np.float32),
        "density": np.where(
            np.isnan(density), 0, np.clip(1 + _DB_STEPS * (density + _DB_ZERO), 1, 255)
        ).astype(np.uint8),
        "aeeg": _means(trends.aeeg_uv, edges).astype(np.float32),
        "asymmetry": _means(trends.asymmetry, edges).astype(np.float32),
        "rhythmicity": _means(trends.rhythmicity, edges).astype(np.float32),
        "artifact": (255 * _means(flags.astype(np.float32), seconds)).astype(np.uint8),
    }  # fmt: skip


def _means(x: np.ndarray, edges: np.ndarray) -> np.ndarray:
    """Return the mean of what is there between neighbouring edges, NaN where nothing is, float64, last axis."""
    there = ~np.isnan(x)
    sums, counts = (
        np.concatenate([np.zeros((*x.shape[:-1], 1)), np.cumsum(values, axis=-1, dtype=np.float64)], axis=-1)
        for values in (np.where(there, x, 0.0), there)
    )
    n = counts[..., edges[1:]] - counts[..., edges[:-1]]
    return np.asarray(np.where(n > 0, (sums[..., edges[1:]] - sums[..., edges[:-1]]) / np.maximum(n, 1), np.nan))


@dataclass(frozen=True)
class Stretch:
    """Seconds of one electrode with the same artifacts."""

    electrode: str
    start_s: float
    stop_s: float
    kinds: tuple[str, ...]


def artifact_stretches(flags: np.ndarray, names: Sequence[str], *, first_s: int) -> list[Stretch]:
    """Return the artifacts of flags, uint16, shape (n_electrodes, n_seconds) from `first_s` on; blinks are none."""
    found = []
    for name, row in zip(names, flags & _SHOWN, strict=True):
        edges = np.flatnonzero(np.diff(np.concatenate([[0], row, [0]])))
        for start, stop in zip(edges[:-1].tolist(), edges[1:].tolist(), strict=True):
            if row[start]:
                kinds = tuple(kind for bit, kind in enumerate(KINDS) if row[start] >> bit & 1)
                found.append(Stretch(name, first_s + start, first_s + stop, kinds))
    return found


def answer_rows(findings: Findings, *, abstain_below: float | None) -> list[dict[str, Any]]:
    """Return each answer as the screen draws it: over the seconds that it speaks of."""
    rows = []
    for answer in findings.answers:
        start_s, stop_s = findings.span(answer)
        rows.append({
            "start_s": start_s, "stop_s": stop_s, "class": answer.predicted_class,
            "p": [round(answer.class_probabilities[name], 4) for name in findings.classes],
            "confidence": round(answer.confidence, 4), "uncertainty": round(share_of_entropy(answer), 4),
            "set": answer.prediction_set, "recommendation": answer.clinical_recommendation,
            "abstained": is_abstained(answer, abstain_below),
        })  # fmt: skip
    return rows


def is_abstained(answer: Answer, abstain_below: float | None) -> bool:
    """Return whether the model gives no class."""
    return abstain_below is not None and answer.confidence < abstain_below


def finding_rows(findings: Findings) -> list[dict[str, Any]]:
    """Return neighbouring answers of one class as one finding; "Other" is none."""
    return [
        {"start_s": e.onset_s, "stop_s": e.stop_s, "class": e.predicted_class, "confidence": round(e.confidence, 3)}
        for e in events(findings)
        if e.predicted_class != NOTHING
    ]


def unanswered(
    spans: Sequence[tuple[float, float]], *, duration_s: float, segments: Sequence[tuple[float, float]], margin_s: float
) -> list[dict[str, Any]]:
    """Return the stretches without an answer, each with the reason: "edge", "gap" or "rejected".

    `segments` are (onset, length), `margin_s` what an answer needs on either side of its span.
    """
    found, at = [], 0.0
    for start, stop in [*spans, (duration_s, duration_s)]:
        if start - at > _EDGE_S:
            found.append({"start_s": at, "stop_s": start, "reason": _reason(at, start, segments, margin_s)})
        at = max(at, stop)
    return found


def _reason(start: float, stop: float, segments: Sequence[tuple[float, float]], margin_s: float) -> str:
    for onset, length in segments:
        if onset - _EDGE_S <= start and stop <= onset + length + _EDGE_S:
            near_start = stop <= onset + margin_s + _EDGE_S
            near_end = start >= onset + length - margin_s - 2 * STEP_S - _EDGE_S
            return "edge" if near_start or near_end else "rejected"
    return "gap"
