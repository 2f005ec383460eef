"""Rows and metadata of a predictions file: who a window is of, what it is labelled, who stood on which side."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from evaluation.audit.confounds import SIGNAL_PROBES, signal_columns
from evaluation.audit.fingerprint import content_hash, fingerprint, pack
from signals.shards.index import IndexRow
from signals.shards.manifest import RECORDINGS
from signals.tasks import joined_classes
from signals.window import MEASURED
from training.corpus import storage
from training.corpus.corpus import Corpus
from training.corpus.labelled import Labelled
from training.corpus.splits import Fold, describe, split_digest
from training.fitting.fit import pretraining_meta

_AT_ONCE = 32


def window_rows(data: Labelled, rows: np.ndarray) -> pd.DataFrame:
    """Return the columns of a predictions file that do not depend on a model."""
    classes = data.task.classes
    entries = [data.shards.entries[i] for i in data.windows[rows]]
    targets = data.targets[rows].astype(np.float64)
    if not data.task.multilabel:
        targets /= targets.sum(axis=1, keepdims=True)
    facts = window_facts(data.shards, data.windows[rows])
    known = recording_rows(data.shards)
    about = [known.get(entry.recording_id, {}) for entry in entries]
    return pd.DataFrame(
        {
            "window_key": [entry.key for entry in entries],
            "recording_id": [entry.recording_id for entry in entries],
            "subject_id": [entry.subject_id for entry in entries],
            "site_id": [entry.site_id for entry in entries],
            "label": _labels(data, targets),
            "n_votes": data.n_votes[rows],
            "content_hash": [fact["content_hash"] for fact in facts],
            "fingerprint": [fact["fingerprint"] for fact in facts],
            "start_s": [entry.start_s for entry in entries],
            "hop_s": hops(data, rows),
            "device": [str(row.get("device") or "") for row in about],
            "file_order": np.array([row.get("file_order") for row in about], dtype=np.float64),
            **{name: [fact[name] for fact in facts] for name in SIGNAL_PROBES},
            **{f"target_{name}": targets[:, k] for k, name in enumerate(classes)},
        }
    )


def window_facts(shards: Corpus, numbers: np.ndarray) -> list[dict[str, Any]]:
    """Return what the samples of windows say without a model: hash, fingerprint, amplitude and noise.

    A few windows are in memory at a time, however many there are.
    """
    return [
        {
            "content_hash": content_hash(w),
            "fingerprint": pack(fingerprint(w.data, w.sfreq, w.primary_state)),
            **signal_columns(w.data[w.primary_state == MEASURED], w.sfreq, h_freq=w.band[1]),
        }
        for start in range(0, len(numbers), _AT_ONCE)
        for w in shards.windows(numbers[start : start + _AT_ONCE])
    ]


def _labels(data: Labelled, targets: np.ndarray) -> list[str]:
    """Return the class of each window, or all of a multi-label task's as one text."""
    classes = data.task.classes
    if not data.task.multilabel:
        return [classes[k] for k in targets.argmax(axis=1)]
    return [joined_classes(name for name, k in zip(classes, row, strict=True) if k > 0.5) for row in targets]


def recording_rows(shards: Corpus) -> dict[str, dict[str, Any]]:
    """Return what the pipeline reported of each recording, by id; nothing of sets that a generator wrote."""
    paths = [storage.join(uri, RECORDINGS) for uri in shards.uris]
    lines = [line for path in paths if storage.exists(path) for line in storage.read_bytes(path).splitlines()]
    return {row["recording_id"]: row for row in map(json.loads, lines)}


def hops(data: Labelled, rows: np.ndarray) -> np.ndarray:
    """Return the time from each window to the recording's next labelled one, seconds, shape (n_rows,).

    At most a window's length: nobody watches what lies between distant windows. The last one's hop is the profile's.
    """
    entries = [data.shards.entries[i] for i in data.windows]
    window_s = data.task.window_s
    by_recording: dict[str, list[float]] = {}
    for entry in entries:
        by_recording.setdefault(entry.recording_id, []).append(entry.start_s)
    after = {name: np.unique(starts) for name, starts in by_recording.items()}
    last = min(float(data.shards.manifest.profile["hop_s"]), window_s)

    def hop(entry: IndexRow) -> float:
        later = after[entry.recording_id]
        place = int(np.searchsorted(later, entry.start_s)) + 1
        return min(float(later[place] - entry.start_s), window_s) if place < len(later) else last

    return np.array([hop(entries[row]) for row in rows])


def prediction_rows(
    windows: pd.DataFrame, probabilities: np.ndarray, classes: Sequence[str], *, model: str, **columns: Any
) -> pd.DataFrame:
    """Return rows of a predictions file: `window_rows`, probabilities, and further columns, such as `fold`."""
    predicted = {f"prob_{name}": probabilities[:, k] for k, name in enumerate(classes)}
    return windows.assign(model=model, **columns, **predicted)


def split_meta(data: Labelled, folds: Sequence[Fold], group: str, pretraining: Mapping[str, Any]) -> dict[str, Any]:
    """Return who stood on which side, for a predictions file's metadata."""
    described = describe(folds, data.subjects, data.recordings)
    subjects = set(data.subjects.tolist())
    return {
        "grouping": group,
        "folds": described,
        "split_digest": split_digest(described),
        "manifest_digest": data.shards.manifest.digest,
        "pretrain_overlap": len(subjects & set(pretraining["train"])),
        **label_meta(data),
        **pretraining_meta(pretraining),
    }


def label_meta(data: Labelled) -> dict[str, str]:
    """Return who labelled the windows, and the salt of their subjects' ids."""
    return {"label_source": data.shards.manifest.label_source, "salt_id": data.shards.manifest.salt_id}
