import hashlib

import pytest

from signals.shards.tfrecord import BLOCK_BYTES, CorruptShardError, read_shard, write_shard

RECORDS = [b"", b"short", bytes(range(256)) * 4000, b"x" * BLOCK_BYTES, b"end"]


@pytest.fixture
def shard(tmp_path):
    path = tmp_path / "a.tfrecord.snappy"
    write_shard(path, RECORDS)
    return path


def test_reads_back_what_was_written(shard):
    assert list(read_shard(shard)) == RECORDS


def test_info_counts_and_hashes(tmp_path):
    path = tmp_path / "a.tfrecord.snappy"
    info = write_shard(path, iter(RECORDS))
    assert info.n_records == 5
    assert info.n_bytes == path.stat().st_size
    assert info.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()


def test_tensorflow_reads_our_shards(shard):
    tf = pytest.importorskip("tensorflow")
    dataset = tf.data.TFRecordDataset(str(shard), compression_type="SNAPPY")
    assert [record.numpy() for record in dataset] == RECORDS


def test_we_read_tensorflows_shards(tmp_path):
    tf = pytest.importorskip("tensorflow")
    # Records below 262,144 bytes: beyond that TensorFlow's own writer makes files it cannot read itself.
    records = [b"a" * n for n in (0, 10, 5000, 200_000)]
    directory = str(tmp_path / "tf")
    tf.data.Dataset.from_tensor_slices(records).save(directory, compression="SNAPPY")
    (path,) = (tmp_path / "tf").rglob("*.snapshot")
    payloads = list(read_shard(path))
    assert all(record in payload for record, payload in zip(records, payloads, strict=True))


@pytest.mark.parametrize("where", [10, 5000, -3])
def test_a_changed_byte_is_noticed(shard, where):
    raw = bytearray(shard.read_bytes())
    raw[where] ^= 0xFF
    shard.write_bytes(raw)
    with pytest.raises(CorruptShardError):
        list(read_shard(shard))


@pytest.mark.parametrize("keep", [2, 100, 20_000])
def test_a_cut_file_is_noticed(shard, keep):
    shard.write_bytes(shard.read_bytes()[:keep])
    with pytest.raises(CorruptShardError):
        list(read_shard(shard))


def test_an_error_leaves_nothing_behind(tmp_path):
    def records():
        yield b"one"
        raise RuntimeError("boom")

    with pytest.raises(RuntimeError):
        write_shard(tmp_path / "a.tfrecord.snappy", records())
    assert list(tmp_path.iterdir()) == []
