"""Answers as tables: csv, and Parquet with the columns of a predictions file as far as they are known here."""

import csv
import io
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from service.formats.findings import Findings
from signals.window import window_key


def rows(findings: Findings) -> list[dict[str, Any]]:
    """Return one row per window: times, class, probabilities by class, uncertainty, set, recommendation."""
    return [
        {
            "start_s": answer.start_s,
            "stop_s": answer.stop_s,
            "span_start_s": findings.span(answer)[0],
            "span_stop_s": findings.span(answer)[1],
            "predicted_class": answer.predicted_class,
            "confidence": answer.confidence,
            "uncertainty_nats": answer.uncertainty["total"],
            "prediction_set": None if answer.prediction_set is None else " ".join(answer.prediction_set),
            "clinical_recommendation": answer.clinical_recommendation,
            **{f"prob_{name}": answer.class_probabilities[name] for name in findings.classes},
            "model": findings.model,
            "model_digest": findings.model_digest,
        }
        for answer in findings.answers
    ]


def as_csv(findings: Findings) -> bytes:
    """Return the rows as csv, UTF-8, with a head line."""
    table, text = rows(findings), io.StringIO(newline="")
    writer = csv.DictWriter(text, table[0].keys() if table else [])
    writer.writeheader()
    writer.writerows(table)
    return text.getvalue().encode()


def as_parquet(findings: Findings) -> bytes:
    """Return the rows as Parquet, with recording_id and window_key as in `evaluation.schemas.predictions`."""
    recording_id = findings.source_sha256[:16]
    table = [{"window_key": _key(recording_id, row), "recording_id": recording_id, **row} for row in rows(findings)]
    sink = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(table), sink)
    return sink.getvalue()


def _key(recording_id: str, row: dict[str, Any]) -> str:
    return window_key(recording_id, row["start_s"], round((row["stop_s"] - row["start_s"]) * 256))
