"""Embeddings on disk: one vector per window, with the window's identity.

An embeddings file is Parquet with one row per window of one model, and `meta` in its metadata:

    window_key, recording_id, subject_id, site_id   text
    label                                            text: "" where the window has none
    embedding                                        fixed-size list of float32

`meta` holds model (name shown in reports), encoder ("pretrained", "random" or "features"), manifest_digest, command.
"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from evaluation.schemas.parquet import read_parquet, write_parquet

EMBEDDING_COLUMNS = ("window_key", "recording_id", "subject_id", "site_id", "label")
ENCODERS = ("pretrained", "random", "features")
_VECTOR = "embedding"


@dataclass(frozen=True, kw_only=True)
class Embeddings:
    """Vectors of one model, in the order of `frame`."""

    frame: pd.DataFrame = field(repr=False)
    """`EMBEDDING_COLUMNS`, one row per window."""
    values: np.ndarray = field(repr=False)
    """float32, shape (n_windows, n_dims)."""
    meta: dict[str, Any] = field(default_factory=dict)
    """model, encoder, manifest_digest, command and whatever else its writer recorded."""

    @property
    def model(self) -> str:
        """Name for reports."""
        return str(self.meta["model"])


def check_embeddings(embeddings: Embeddings) -> None:
    """Raise ValueError where rows contradict the contract: columns, shape, finite numbers, repeated windows."""
    frame, values, meta = embeddings.frame, embeddings.values, embeddings.meta
    if missing := [column for column in EMBEDDING_COLUMNS if column not in frame.columns]:
        raise ValueError(f"embeddings are missing the columns {missing}")
    if values.ndim != 2 or len(values) != len(frame) or values.size == 0:
        raise ValueError(f"embeddings of shape {values.shape} do not fit {len(frame)} windows")
    if not np.isfinite(values).all():
        row = int(np.flatnonzero(~np.isfinite(values).all(axis=1))[0])
        raise ValueError(f"the embedding of window {frame['window_key'].iloc[row]} is not finite")
    if (repeated := frame["window_key"].duplicated()).any():
        raise ValueError(f"window {frame['window_key'][repeated].iloc[0]} has more than one embedding")
    if not meta.get("model") or meta.get("encoder") not in ENCODERS:
        raise ValueError(
            f"embeddings must name their model and their encoder, one of {list(ENCODERS)}; their metadata is {meta}"
        )


def write_embeddings(path: Path, embeddings: Embeddings) -> None:
    """Write an embeddings file atomically; raises ValueError for rows that contradict the contract."""
    check_embeddings(embeddings)
    values = np.ascontiguousarray(embeddings.values, dtype=np.float32)
    table = pa.Table.from_pandas(embeddings.frame[list(EMBEDDING_COLUMNS)], preserve_index=False)
    vectors = pa.FixedSizeListArray.from_arrays(pa.array(values.ravel()), values.shape[1])
    write_parquet(path, table.append_column(_VECTOR, vectors), kind="embeddings", meta={"meta": embeddings.meta})


def read_embeddings(path: Path) -> Embeddings:
    """Read and check an embeddings file; raises ValueError if it is not one."""
    table, meta = read_parquet(path, kind="embeddings")
    vectors = table[_VECTOR].combine_chunks()
    values = vectors.flatten().to_numpy(zero_copy_only=False).reshape(len(table), -1).astype(np.float32, copy=False)
    embeddings = Embeddings(frame=table.drop_columns([_VECTOR]).to_pandas(), values=values, meta=meta["meta"])
    check_embeddings(embeddings)
    return embeddings
