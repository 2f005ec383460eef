"""Files that name their kind: kept as they are, and refused in words where they are of another kind or version."""

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from evaluation.schemas import parquet
from evaluation.schemas.parquet import SCHEMA_VERSION, read_parquet, write_parquet

TABLE = pa.table({"a": [1, 2], "b": ["x", "y"]}, metadata={b"of the writer": b"kept"})


def test_a_table_its_metadata_and_that_of_its_writer_come_back(tmp_path: Path) -> None:
    write_parquet(tmp_path / "t.parquet", TABLE, kind="stress", meta={"task": "t", "classes": ["a"]})
    table, meta = read_parquet(tmp_path / "t.parquet", kind="stress")
    assert table.equals(TABLE)
    assert meta == {"schema_version": SCHEMA_VERSION, "kind": "stress", "task": "t", "classes": ["a"]}
    assert table.schema.metadata[b"of the writer"] == b"kept"


@pytest.mark.parametrize(
    ("entry", "kind", "words"),
    [
        (None, "stress", "is not a stress file: its metadata has no 'cerebeam' entry"),
        (b'{"schema_version": 1, "kind": "stress"}', "embeddings", "holds stress, not embeddings"),
        (b'{"schema_version": 1}', "stress", "holds predictions, not stress"),  # the first files had no kind
        (b'{"schema_version": 2, "kind": "stress"}', "stress", "has schema version 2, this code reads 1"),
    ],
)
def test_another_file_is_refused(entry: bytes | None, kind: str, words: str, tmp_path: Path) -> None:
    pq.write_table(TABLE.replace_schema_metadata({b"cerebeam": entry} if entry else None), tmp_path / "t.parquet")
    with pytest.raises(ValueError, match=words):
        read_parquet(tmp_path / "t.parquet", kind=kind)


def test_the_first_predictions_files_are_read(tmp_path: Path) -> None:
    pq.write_table(TABLE.replace_schema_metadata({b"cerebeam": b'{"schema_version": 1}'}), tmp_path / "t.parquet")
    assert read_parquet(tmp_path / "t.parquet", kind="predictions")[1] == {"schema_version": 1}


def test_a_write_that_fails_leaves_the_file_that_was_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_parquet(tmp_path / "t.parquet", TABLE, kind="stress", meta={})
    before = (tmp_path / "t.parquet").read_bytes()

    def full(*_: Any) -> None:
        raise OSError("no space left")

    monkeypatch.setattr(parquet.pq, "write_table", full)
    with pytest.raises(OSError, match="no space left"):
        write_parquet(tmp_path / "t.parquet", TABLE.slice(1), kind="stress", meta={})
    assert (tmp_path / "t.parquet").read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["t.parquet"]
