import hashlib
import random
import resource
import struct

import cramjam
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from signals.shards.tfrecord import BLOCK_BYTES, CorruptShardError, read_records, read_shard, write_shard

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


def blocks(octets):
    """The raw snappy blocks of a stream: lengths are big-endian."""
    at, found = 0, []
    while at < len(octets):
        (length,) = struct.unpack(">I", octets[at : at + 4])
        found.append(bytes(cramjam.snappy.decompress_raw(octets[at + 4 : at + 4 + length])))
        at += 4 + length
    return found


@pytest.mark.parametrize("n_bytes", [BLOCK_BYTES - 17, BLOCK_BYTES - 16, BLOCK_BYTES - 15, 2 * BLOCK_BYTES - 16])
def test_every_block_but_the_last_is_full(tmp_path, n_bytes):
    # A record takes its length (8 bytes), its data and two checksums of 4 bytes.
    info = write_shard(tmp_path / "a", [b"r" * n_bytes])
    sizes = [len(block) for block in blocks((tmp_path / "a").read_bytes())]
    assert sum(sizes) == n_bytes + 16
    assert sizes[:-1] == [BLOCK_BYTES] * (len(sizes) - 1)
    assert len(sizes) == -(-(n_bytes + 16) // BLOCK_BYTES)
    assert info.n_bytes == (tmp_path / "a").stat().st_size


def test_an_empty_shard_is_an_empty_file(tmp_path):
    info = write_shard(tmp_path / "a", [])
    assert (info.n_records, info.n_bytes, (tmp_path / "a").read_bytes()) == (0, 0, b"")
    assert list(read_shard(tmp_path / "a")) == []


def test_checksums_are_masked_as_the_format_specifies(tmp_path):
    write_shard(tmp_path / "a", [b"123456789"])
    stream = b"".join(blocks((tmp_path / "a").read_bytes()))
    # CRC-32C of "123456789" is 0xE3069283 (RFC 3720, B.4); masked: rotated right by 15 bits, plus 0xA282EAD8.
    masked = ((0xE3069283 >> 15 | 0xE3069283 << 17) + 0xA282EAD8) & 0xFFFFFFFF
    assert stream[:8] == struct.pack("<Q", 9)
    assert stream[12:] == b"123456789" + struct.pack("<I", masked)


def rewritten(path, stream):
    """A shard of one block whose uncompressed bytes are given."""
    block = bytes(cramjam.snappy.compress_raw(stream))
    path.write_bytes(struct.pack(">I", len(block)) + block)
    return path


def test_with_a_listener_only_what_is_broken_is_left_out(tmp_path):
    records = [b"first", b"second", b"third"]
    write_shard(tmp_path / "a", records)
    stream = bytearray(blocks((tmp_path / "a").read_bytes())[0])
    stream[stream.index(b"second")] ^= 1
    remarks = []
    assert list(read_shard(rewritten(tmp_path / "a", bytes(stream)), on_corrupt=remarks.append)) == [b"first", b"third"]
    assert remarks == [f"{tmp_path / 'a'}: the checksum of a record does not match"]
    with pytest.raises(CorruptShardError, match="checksum of a record does not match"):
        list(read_shard(tmp_path / "a"))
    # A length that cannot be trusted ends the file.
    stream[stream.index(b"third") - 12] ^= 1
    remarks.clear()
    assert list(read_shard(rewritten(tmp_path / "a", bytes(stream)), on_corrupt=remarks.append)) == [b"first"]
    assert [remark.partition(": ")[2] for remark in remarks] == [
        "the checksum of a record does not match", "the checksum of a record's length does not match",
    ]  # fmt: skip


@pytest.mark.parametrize(("keep", "says"), [
    (lambda stream: stream[:-1], "ends within a record"), (lambda stream: stream[:5], "ends within a record"),
])  # fmt: skip
def test_a_stream_that_ends_early_is_noticed(tmp_path, keep, says):
    write_shard(tmp_path / "a", [b"one"])
    stream = blocks((tmp_path / "a").read_bytes())[0]
    with pytest.raises(CorruptShardError, match=says):
        list(read_shard(rewritten(tmp_path / "a", keep(stream))))


@pytest.mark.parametrize(("octets", "says"), [
    (b"\x00\x00\x00", "within a block's length"), (b"\x00\x00\x00\x09abc", "within a block$"),
    (b"\x00\x00\x00\x03abc", "no snappy data"),
])  # fmt: skip
def test_each_damage_of_the_outer_stream_is_named(tmp_path, octets, says):
    (tmp_path / "a").write_bytes(octets)
    with pytest.raises(CorruptShardError, match=says):
        list(read_shard(tmp_path / "a"))


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


@settings(max_examples=15, deadline=None)
@given(sizes=st.lists(st.integers(0, 3 * BLOCK_BYTES), min_size=1, max_size=6), seed=st.integers(0, 2**31))
def test_streams_that_take_turns_do_not_share_memory(tmp_path_factory, sizes, seed):
    # Memory of passed blocks is used again: what was given out, and what another open stream holds, must stay as it is.
    folder, order = tmp_path_factory.mktemp("turns"), random.Random(seed)
    written = [[order.randbytes(size) for size in sizes], [order.randbytes(size) for size in reversed(sizes)]]
    infos = [write_shard(folder / str(number), records) for number, records in enumerate(written)]
    places = [list(info.places) for info in infos]
    rows = [order.sample(range(len(sizes)), len(sizes)) for _ in written]
    with (folder / "0").open("rb") as first, (folder / "1").open("rb") as second:
        streams = [
            read_records(file, [places[n][row] for row in rows[n]], "x") for n, file in enumerate((first, second))
        ]
        read = list(zip(*streams, strict=True))
    assert read == [(written[0][a], written[1][b]) for a, b in zip(*rows, strict=True)]


def test_a_block_that_claims_gigabytes_is_damaged_and_takes_no_memory(tmp_path):
    # Snappy begins with the length as a varint: 0xfffffff0, the largest that fits, before three bytes of data.
    block = b"\xf0\xff\xff\xff\x0f" + b"\x08abc"
    path = tmp_path / "bomb"
    path.write_bytes(struct.pack(">I", len(block)) + block)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(CorruptShardError, match="cannot hold 4294967280"):
        list(read_shard(path))
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100_000  # kB
