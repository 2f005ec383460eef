"""Embeddings files: what is written is read, what breaks the contract is refused in words."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from evaluation.schemas.embeddings import Embeddings, read_embeddings, write_embeddings
from evaluation.schemas.predictions import read_predictions


def make_embeddings(n: int = 5, **meta: Any) -> Embeddings:
    frame = pd.DataFrame(
        {"window_key": [f"w{i}" for i in range(n)], "recording_id": "r", "subject_id": [f"s{i}" for i in range(n)],
         "site_id": "x", "label": ["", *["rest"] * (n - 1)]}
    )  # fmt: skip
    values = np.random.default_rng(0).normal(size=(n, 7)).astype(np.float32)
    return Embeddings(frame=frame, values=values, meta={"model": "m", "encoder": "features", **meta})


def test_what_is_written_is_read(tmp_path: Path) -> None:
    made = make_embeddings(command="c", manifest_digest="d")
    write_embeddings(tmp_path / "e.parquet", made)
    read = read_embeddings(tmp_path / "e.parquet")
    np.testing.assert_array_equal(read.values, made.values)
    assert read.values.dtype == np.float32
    pd.testing.assert_frame_equal(read.frame, made.frame, check_dtype=False)
    assert read.meta == made.meta
    assert not list(tmp_path.glob("*.partial"))


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        (lambda e: e.values.__setitem__((2, 3), np.nan), "window w2 is not finite"),
        (lambda e: e.frame.__setitem__("window_key", "w"), "more than one embedding"),
        (lambda e: e.frame.drop(columns="site_id", inplace=True), "are missing the columns"),
        (lambda e: e.frame.drop(index=0, inplace=True), "do not fit 4 windows"),
        (lambda e: e.meta.__setitem__("encoder", "oracle"), "one of"),
    ],
)
def test_what_breaks_the_contract_is_refused(fault: Any, words: str, tmp_path: Path) -> None:
    made = make_embeddings()
    fault(made)
    with pytest.raises(ValueError, match=words):
        write_embeddings(tmp_path / "e.parquet", made)
    assert not list(tmp_path.iterdir())


def test_another_kind_of_file_is_named(tmp_path: Path) -> None:
    write_embeddings(tmp_path / "e.parquet", make_embeddings())
    with pytest.raises(ValueError, match="holds embeddings, not predictions"):
        read_predictions(tmp_path / "e.parquet")
