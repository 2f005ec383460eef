"""Copies of windows on two sides of a split: the same samples by hash, the same signal by correlation.

Rows may carry `content_hash` (text, "" for a flat window) and `fingerprint` (bytes), both of
`evaluation.audit.fingerprint`. Every row was predicted by a model that trained on all other folds, so two rows of
different folds stand on two sides.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from evaluation.audit.findings import Finding, some
from evaluation.audit.fingerprint import PACKED_BYTES, unpack

ALIKE = 0.8
"""Correlation of fingerprints from which on windows are copies."""
_BLOCK = 4096
_LISTED = 1000


@dataclass(frozen=True, kw_only=True)
class Copies:
    """Pairs of rows that are alike, the first `_LISTED` of them."""

    n_pairs: int
    rows: tuple[tuple[int, int], ...]


def duplicate_findings(frame: pd.DataFrame) -> list[Finding]:
    """Return copies between folds, or between subjects, as errors, and what could not be looked for."""
    findings = []
    if "content_hash" in frame.columns:
        findings += _same_samples(frame)
    if "fingerprint" not in frame.columns:
        message = "The file has no fingerprints of its windows: copies under other names cannot be excluded."
        return [*findings, Finding("warning", "no_fingerprints", message)]
    if not comparable(frame):
        message = (
            "The fingerprints are of an earlier version, which missed copies that were shifted: predict again to have "
            "copies looked for."
        )
        return [*findings, Finding("warning", "no_fingerprints", message)]
    if frame["fold"].nunique() < 2:
        message = "Training windows are not in the file: copies of them among these windows cannot be looked for."
        findings.append(Finding("info", "one_side_only", message))
    vectors = unpack(list(frame["fingerprint"]))
    subjects, folds = (pd.factorize(frame[name])[0] for name in ("subject_id", "fold"))
    # A site with a flaw of its files may hold many: one sentence names them all.
    for code, apart, words in (
        ("near_duplicate_windows", folds, "stand on two sides of a fold"),
        ("copied_subject", subjects, "stand under two subjects of one fold"),
    ):
        within = folds if code == "copied_subject" else np.zeros(len(folds), dtype=np.int64)
        copies = alike(vectors, apart=apart, within=within)
        if copies.n_pairs:
            keys = frame["window_key"].to_numpy()
            named = some(f"{keys[i]} = {keys[j]}" for i, j in copies.rows[:4])
            message = f"{copies.n_pairs:,} pair(s) of windows with the same signal (|r| > {ALIKE}) {words}: {named}."
            findings.append(Finding("error", code, message))
    return findings


def comparable(frame: pd.DataFrame) -> bool:
    """Return whether all rows have a fingerprint of this version."""
    return "fingerprint" in frame.columns and all(len(packed) == PACKED_BYTES for packed in frame["fingerprint"])


def copies_of(second: pd.DataFrame, first: pd.DataFrame) -> np.ndarray:
    """Return which rows of a second file have the signal of a row of the first one, bool, shape (n_rows,)."""
    copied = np.zeros(len(second), dtype=bool)
    if not (comparable(second) and comparable(first)):
        return copied
    ours, theirs = unpack(list(second["fingerprint"])), unpack(list(first["fingerprint"])).T
    for i in range(0, len(ours), _BLOCK):
        for j in range(0, theirs.shape[1], _BLOCK):
            copied[i : i + _BLOCK] |= (np.abs(ours[i : i + _BLOCK] @ theirs[:, j : j + _BLOCK]) > ALIKE).any(axis=1)
    return copied


def _same_samples(frame: pd.DataFrame) -> list[Finding]:
    known = frame[frame["content_hash"] != ""].groupby("content_hash")[["subject_id", "fold"]].nunique()
    twice = known[(known > 1).any(axis=1)]
    if twice.empty:
        return []
    message = f"{len(twice)} window(s) have the same samples under several subjects or folds: {some(twice.index)}."
    return [Finding("error", "duplicate_windows", message)]


def alike(vectors: np.ndarray, *, apart: np.ndarray, within: np.ndarray, r: float = ALIKE) -> Copies:
    """Return pairs of rows with |correlation| above r that differ in `apart` and agree in `within`.

    `vectors` has shape (n, n_dims), one unit vector per row; `apart` and `within` are integers of shape (n,). It is one
    matrix product per block, so that memory is bounded; time grows with n squared (see docs/evaluation.md).
    """
    n_pairs, listed = 0, list[tuple[int, int]]()
    for i in range(0, len(vectors), _BLOCK):
        for j in range(i, len(vectors), _BLOCK):
            product = vectors[i : i + _BLOCK] @ vectors[j : j + _BLOCK].T
            if i != j and product.max() <= r and product.min() >= -r:
                continue  # as almost always: nothing to pick out
            rows, columns = np.nonzero(np.abs(product) > r)
            rows, columns = rows + i, columns + j
            kept = (rows < columns) & (apart[rows] != apart[columns]) & (within[rows] == within[columns])
            n_pairs += int(kept.sum())
            if len(listed) < _LISTED:
                listed += list(zip(rows[kept][:_LISTED].tolist(), columns[kept][:_LISTED].tolist(), strict=True))
    return Copies(n_pairs=n_pairs, rows=tuple(listed[:_LISTED]))
