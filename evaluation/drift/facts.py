"""What is known of each recording that came in: the numbers and words whose distribution may drift.

They are read from what every run leaves: recordings.jsonl of a shard set or of an archive's answers, and the indexes
of a shard set's windows.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.parquet as pq

_OF_WINDOWS = ("quality", "snr_db", "artifact_ratio")


@dataclass(frozen=True, kw_only=True)
class RecordingFacts:
    """One recording; a fact that is not known of it is not there."""

    recording_id: str
    site_id: str
    numbers: dict[str, float]
    words: dict[str, str]
    vector: np.ndarray | None = field(default=None, repr=False)
    """Mean embedding of its windows, shape (width,)."""


def facts_of_row(row: Mapping[str, Any]) -> RecordingFacts:
    """Return the facts in a row of recordings.jsonl."""
    numbers = {"n_channels": float(row["n_channels"]), "n_bad_channels": float(len(row.get("bad_channels", ())))}
    if row.get("amplitude_uv"):
        numbers["log10_amplitude_uv"] = float(np.log10(row["amplitude_uv"]))
    mains = row.get("mains_hz")
    words = {"mains_hz": "none" if mains is None else f"{mains:g}", "rate_hz": f"{row['native_sfreq']:g}"}
    words["recorded_against"] = row.get("source_reference") or "unknown"
    return RecordingFacts(recording_id=row["recording_id"], site_id=row["site_id"], numbers=numbers, words=words)


def read_facts(folder: Path) -> list[RecordingFacts]:
    """Return the facts of every recording of a shard set, or of an archive that was answered.

    Raises ValueError, in one line, for a folder that is neither, or not whole.
    """
    if not (folder / "_COMPLETED").is_file() or not (folder / "recordings.jsonl").is_file():
        raise ValueError(f"{folder} is neither a finished shard set nor the answers of an archive")
    try:
        lines = (folder / "recordings.jsonl").read_text(encoding="utf-8").splitlines()
        facts = [facts_of_row(json.loads(line)) for line in lines]
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{folder / 'recordings.jsonl'} is damaged: {error!r}") from None
    of_windows = _of_windows(folder)
    return [replace(one, numbers=one.numbers | of_windows.get(one.recording_id, {})) for one in facts]


def with_vectors(facts: Iterable[RecordingFacts], vectors: Mapping[str, np.ndarray]) -> list[RecordingFacts]:
    """Return the facts with the embedding of each recording that has one."""
    return [replace(one, vector=vectors.get(one.recording_id)) for one in facts]


def _of_windows(folder: Path) -> dict[str, dict[str, float]]:
    """Return the median over each recording's windows of what a shard set's indexes hold; nothing of an archive."""
    paths = sorted(folder.glob("site=*/*.index.parquet"))
    if not paths:
        return {}
    columns = ["recording_id", *_OF_WINDOWS]
    frame = pd.concat([pq.ParquetFile(path).read(columns).to_pandas() for path in paths])
    medians = frame.groupby("recording_id")[list(_OF_WINDOWS)].median()
    return {
        str(name): {column: float(value) for column, value in row.items() if np.isfinite(value)}
        for name, row in medians.to_dict("index").items()
    }
