"""Answers as tables: csv, and Parquet with the columns of a predictions file as far as they are known here."""

import csv
import io
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from service.formats.findings import Findings
from serving.rows import answer_rows, keyed_rows

_SFREQ = 256.0
"""Of prepared windows, Hz: findings that were kept do not name their modality."""


def rows(findings: Findings) -> list[dict[str, Any]]:
    """Return one row per window, as `serving.rows.answer_rows`."""
    return answer_rows(
        findings.answers, classes=findings.classes, label_span_s=findings.label_span_s, model=findings.model,
        model_digest=findings.model_digest,
    )  # fmt: skip


def as_csv(findings: Findings) -> bytes:
    """Return the rows as csv, UTF-8, with a head line."""
    table, text = rows(findings), io.StringIO(newline="")
    writer = csv.DictWriter(text, table[0].keys() if table else [])
    writer.writeheader()
    writer.writerows(table)
    return text.getvalue().encode()


def as_parquet(findings: Findings) -> bytes:
    """Return the rows as Parquet, with recording_id and window_key as in `evaluation.schemas.predictions`."""
    table = keyed_rows(rows(findings), source_sha256=findings.source_sha256, sfreq=_SFREQ)
    sink = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(table), sink)
    return sink.getvalue()
