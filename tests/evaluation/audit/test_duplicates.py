"""Copies between folds and subjects are found, and only they."""

import numpy as np
import pandas as pd
import pytest

from evaluation.audit import duplicates
from evaluation.audit.duplicates import alike, copies_of, duplicate_findings
from evaluation.audit.fingerprint import N_DIMS, pack


def unit(n: int, seed: int = 0) -> np.ndarray:
    vectors = np.random.default_rng(seed).normal(size=(n, N_DIMS)).astype(np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def frame_of(vectors: np.ndarray, folds: str, subjects: str) -> pd.DataFrame:
    return pd.DataFrame(
        {"window_key": [f"w{i}" for i in range(len(vectors))], "fold": list(folds), "subject_id": list(subjects),
         "content_hash": [f"h{i}" for i in range(len(vectors))], "fingerprint": [pack(v) for v in vectors]}
    )  # fmt: skip


@pytest.mark.parametrize("block", [3, 4096])
def test_blocks_find_what_the_whole_matrix_holds(block: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(duplicates, "_BLOCK", block)
    vectors, fold = unit(20), np.arange(20) % 3
    vectors[7], vectors[11], vectors[12] = vectors[2], -vectors[2], vectors[3]  # folds 1, 2, 0 against 2, 2, 0
    copies = alike(vectors, apart=fold, within=np.zeros(20, dtype=int))
    r = np.abs(vectors @ vectors.T)
    expected = {(i, j) for i in range(20) for j in range(i + 1, 20) if r[i, j] > 0.8 and fold[i] != fold[j]}
    assert set(copies.rows) == expected == {(2, 7), (7, 11)}
    assert copies.n_pairs == 2


def test_a_copy_in_another_fold_is_an_error_and_one_under_another_subject_too() -> None:
    vectors = unit(6)
    assert duplicate_findings(frame_of(vectors, "aaabbb", "112334")) == []
    vectors[3] = 0.95 * vectors[0] + 0.2 * vectors[4]
    [found] = duplicate_findings(frame_of(vectors, "aaabbb", "112334"))
    assert (found.severity, found.code) == ("error", "near_duplicate_windows")
    assert "w0 = w3" in found.message
    [found] = duplicate_findings(frame_of(vectors, "aaaaab", "112334"))
    assert found.code == "copied_subject"
    assert duplicate_findings(frame_of(vectors, "aaaaab", "112134")) == []  # a subject's own window twice


def test_equal_hashes_and_what_was_not_looked_for() -> None:
    frame = frame_of(unit(6), "aaabbb", "112334")
    frame.loc[5, "content_hash"] = "h0"
    assert [found.code for found in duplicate_findings(frame)] == ["duplicate_windows"]
    frame["content_hash"] = ""  # flat windows are equal and mean nothing
    assert duplicate_findings(frame) == []
    assert [f.code for f in duplicate_findings(frame.drop(columns="fingerprint"))] == ["no_fingerprints"]
    assert [f.code for f in duplicate_findings(frame.assign(fold="a"))] == ["one_side_only"]


@pytest.mark.parametrize(("r", "copies"), [(0.5, 0), (0.78, 0), (0.83, 1)])
def test_windows_that_merely_resemble_each_other_are_not_copies(r: float, copies: int) -> None:
    vectors = unit(6)
    rest = vectors[4] - (vectors[4] @ vectors[0]) * vectors[0]
    vectors[3] = r * vectors[0] + np.sqrt(1 - r**2) * rest / np.linalg.norm(rest)
    assert len(duplicate_findings(frame_of(vectors, "aaabbb", "112334"))) == copies


def test_prints_of_an_earlier_version_are_not_taken_for_good() -> None:
    frame = frame_of(unit(6), "aaabbb", "112334")
    frame["fingerprint"] = [packed[:256] for packed in frame["fingerprint"]]
    [finding] = duplicate_findings(frame)
    assert (finding.severity, finding.code) == ("warning", "no_fingerprints")
    assert "predict again" in finding.message


@pytest.mark.parametrize("block", [2, 4096])
def test_rows_of_a_second_file_that_copy_the_first(block: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(duplicates, "_BLOCK", block)
    first, second = unit(5), unit(4, seed=1)
    second[2] = -first[4]  # the sign of a recording does not matter
    copied = copies_of(frame_of(second, "aaaa", "1111"), frame_of(first, "aaaaa", "11111"))
    assert copied.tolist() == [False, False, True, False]
