"""Answers of a recording as rows of a table: the same from the service's jobs and from archives."""

from collections.abc import Sequence
from typing import Any

from serving.runtime import Answer
from signals.window import window_key


def span_of(answer: Answer, label_span_s: tuple[float, float] | None) -> tuple[float, float]:
    """Return the seconds of the recording that an answer speaks of; without a span, all of its window."""
    if label_span_s is None:
        return answer.start_s, answer.stop_s
    first, last = label_span_s
    return answer.start_s + first, answer.start_s + last


def answer_rows(
    answers: Sequence[Answer], *, classes: Sequence[str], label_span_s: tuple[float, float] | None, model: str,
    model_digest: str,
) -> list[dict[str, Any]]:  # fmt: skip
    """Return one row per window: times, class, probabilities by class, uncertainty, set, recommendation, model."""
    return [
        {
            "start_s": answer.start_s,
            "stop_s": answer.stop_s,
            "span_start_s": span_of(answer, label_span_s)[0],
            "span_stop_s": span_of(answer, label_span_s)[1],
            "predicted_class": answer.predicted_class,
            "confidence": answer.confidence,
            "uncertainty_nats": answer.uncertainty["total"],
            "prediction_set": None if answer.prediction_set is None else " ".join(answer.prediction_set),
            "clinical_recommendation": answer.clinical_recommendation,
            **{f"prob_{name}": answer.class_probabilities[name] for name in classes},
            "model": model,
            "model_digest": model_digest,
        }
        for answer in answers
    ]


def keyed_rows(rows: Sequence[dict[str, Any]], *, source_sha256: str, sfreq: float) -> list[dict[str, Any]]:
    """Return the rows with window_key and recording_id before them, as in a predictions file."""
    recording_id = source_sha256[:16]
    return [
        {
            "window_key": window_key(recording_id, row["start_s"], round((row["stop_s"] - row["start_s"]) * sfreq)),
            "recording_id": recording_id,
            **row,
        }
        for row in rows
    ]
