"""The index of a shard: the same facts as its records, the same bytes each time, and a way to any record."""

import hashlib
from dataclasses import replace
from io import BytesIO

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from signals.shards.index import (
    SCHEMA,
    build_index,
    index_name,
    index_row,
    iter_indexes,
    read_index,
    rows_of,
    write_index,
)
from signals.shards.manifest import manifest_json, read_manifest
from signals.shards.records import decode_window
from signals.shards.tfrecord import (
    BLOCK_BYTES,
    CorruptShardError,
    RecordPlace,
    read_records,
    read_shard,
    scan_records,
    write_stream,
)
from tests.toy_shards import toy_window

LENGTHS = st.lists(st.sampled_from([0, 1, 100, BLOCK_BYTES - 16, BLOCK_BYTES - 15, BLOCK_BYTES, 600_000]), max_size=8)


class CountedFile(BytesIO):
    """A file that counts what is read of it."""

    n_read = 0

    def read(self, n=-1):
        raw = super().read(n)
        self.n_read += len(raw)
        return raw


@given(lengths=LENGTHS, order=st.randoms(use_true_random=False))
def test_any_record_is_read_at_its_place(lengths, order):
    records = [bytes([number]) * length for number, length in enumerate(lengths)]
    file = BytesIO()
    info = write_stream(file, records)
    assert [(place, record) for place, record in scan_records(BytesIO(file.getvalue()), "x")] == list(
        zip(info.places, records, strict=True)
    )
    numbers = list(range(len(records))) * 2
    order.shuffle(numbers)
    places = [info.places[number] for number in numbers]
    assert list(read_records(BytesIO(file.getvalue()), places, "x")) == [records[number] for number in numbers]


def test_one_record_costs_its_own_blocks():
    rng = np.random.default_rng(0)
    records = [rng.bytes(100_000) for _ in range(100)]  # does not compress: 10 MB, 39 blocks
    file = BytesIO()
    info = write_stream(file, records)
    counted = CountedFile(file.getvalue())
    assert list(read_records(counted, [info.places[70]], "x")) == [records[70]]
    assert counted.n_read <= 2 * (BLOCK_BYTES + 2000)
    counted = CountedFile(file.getvalue())
    assert list(read_records(counted, info.places, "x")) == records
    assert counted.n_read == info.n_bytes


@pytest.mark.parametrize("place", [RecordPlace(0, 5), RecordPlace(3, 0), RecordPlace(10**6, 0)])
def test_a_place_where_no_record_starts_is_refused(place):
    file = BytesIO()
    write_stream(file, [b"a" * 1000, b"b" * 1000])
    with pytest.raises(CorruptShardError):
        list(read_records(BytesIO(file.getvalue()), [place], "x"))


def test_index_states_what_the_records_hold(toy_shards):
    manifest = read_manifest(toy_shards)
    for shard in manifest.shards:
        raw = (toy_shards / shard.index.path).read_bytes()
        assert hashlib.sha256(raw).hexdigest() == shard.index.sha256
        assert shard.index.path == index_name(shard.path)
        rows = rows_of(read_index(toy_shards / shard.index.path))
        windows = [decode_window(record) for record in read_shard(toy_shards / shard.path)]
        assert rows == [index_row(window, row.place) for window, row in zip(windows, rows, strict=True)]
        assert [row.key for row in rows] == [window.key for window in windows]
        with (toy_shards / shard.path).open("rb") as file:
            records = list(read_records(file, [row.place for row in reversed(rows)], shard.path))
        assert [decode_window(record).key for record in reversed(records)] == [row.key for row in rows]


def test_an_index_built_later_has_the_same_bytes(toy_shards, tmp_path):
    shard = read_manifest(toy_shards).shards[0]
    assert build_index(toy_shards / shard.path, tmp_path / "late.index.parquet") == shard.index.sha256
    assert (tmp_path / "late.index.parquet").read_bytes() == (toy_shards / shard.index.path).read_bytes()


def test_a_broken_shard_leaves_no_index(toy_shards, tmp_path):
    raw = (toy_shards / read_manifest(toy_shards).shards[0].path).read_bytes()
    (tmp_path / "a.tfrecord.snappy").write_bytes(raw[:-100])
    with pytest.raises(CorruptShardError):
        build_index(tmp_path / "a.tfrecord.snappy", tmp_path / "a.index.parquet")
    assert [path.name for path in tmp_path.iterdir()] == ["a.tfrecord.snappy"]


def test_values_that_may_be_missing_survive():
    window = toy_window(np.random.default_rng(0), site="s", subject="p", number=0, label="LPD", window_s=2.0)
    window = replace(window, votes=(), label="", ch_state=np.zeros(19, dtype=np.uint8), label_span_s=None)
    bare = index_row(window, RecordPlace(0, 0))
    assert bare.quality is None
    full = replace(
        bare, label_span_s=(0.5, 1.5), snr_db=12.5, artifact_ratio=0.25, quality_verdict="good", votes=(1.0, 0.5)
    )
    file = BytesIO()
    digest = write_index(file, [bare, full])
    assert hashlib.sha256(file.getvalue()).hexdigest() == digest
    assert rows_of(read_index(BytesIO(file.getvalue()))) == [bare, full]


def test_only_wanted_columns_are_read_one_index_at_a_time(toy_shards):
    manifest = read_manifest(toy_shards)
    tables = iter_indexes((toy_shards / s.index.path for s in manifest.shards), columns=["subject_id", "n_times"])
    first = next(tables)
    assert first.column_names == ["subject_id", "n_times"]
    assert first["n_times"].to_pylist() == [2560] * 3
    assert sum(len(table) for table in tables) == 33


def test_an_index_of_another_version_reads_where_it_can(tmp_path):
    path = tmp_path / "a.index.parquet"
    with path.open("wb") as file:
        write_index(file, [])
    table = pq.read_table(path)
    pq.write_table(table.drop_columns(["snr_db"]).append_column("later", pa.array([], pa.int8())), path)
    assert read_index(path).schema.names == SCHEMA.names
    pq.write_table(table.drop_columns(["key"]), path)
    with pytest.raises(ValueError, match="no column 'key'"):
        read_index(path)
    path.write_bytes(b"not parquet at all")
    with pytest.raises(ValueError, match="delete it"):
        read_index(path)


def test_a_manifest_with_and_without_indexes(make_toy_shards):
    without = read_manifest(make_toy_shards(n_sites=1, n_subjects=1, indexed=False))
    assert without.shards[0].index is None
    assert '"index"' not in manifest_json(without)
    with_index = make_toy_shards(n_sites=1, n_subjects=2)
    manifest = read_manifest(with_index)
    assert manifest_json(manifest) == (with_index / "manifest.json").read_text()


def test_a_name_that_is_no_shards_has_no_index():
    assert index_name("site=a/w.tfrecord.snappy") == "site=a/w.index.parquet"
    with pytest.raises(ValueError, match="no shard"):
        index_name("site=a/w.tfrecord")
