"""TFRecord files inside TensorFlow's SNAPPY stream, written and read without TensorFlow.

The outer stream repeats [uint32 big-endian compressed length][raw snappy block]; a block holds at most 262,144 bytes,
the size of TensorFlow's input buffer, or `tf.data.TFRecordDataset(path, compression_type="SNAPPY")` cannot read it.
Inside stands plain TFRecord framing: [uint64 length][masked crc32c of it][data][masked crc32c of data], little-endian.
Records may span blocks. Source: tensorflow/core/lib/io/{record_writer,snappy}.
"""

import hashlib
import struct
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import cramjam
import google_crc32c

from signals.files import atomic_file

BLOCK_BYTES = 262_144


class CorruptShardError(ValueError):
    """A shard whose framing or checksums do not hold."""


@dataclass(frozen=True)
class ShardInfo:
    """What was written: number of records, bytes on disk, sha256 of the file."""

    n_records: int
    n_bytes: int
    sha256: str


def write_shard(path: Path, records: Iterable[bytes]) -> ShardInfo:
    """Write a shard that is there whole or not at all; on any error nothing is left behind."""
    with atomic_file(path) as file:
        return write_stream(file, records)


def read_shard(path: Path, *, on_corrupt: Callable[[str], None] | None = None) -> Iterator[bytes]:
    """Yield the records of a shard in order; raises CorruptShardError where a length or checksum does not hold.

    With `on_corrupt`, it is told what is wrong instead: a record whose checksum does not hold is left out; where the
    framing itself is broken, so is all that follows.
    """
    with path.open("rb") as file:
        try:
            yield from _records(_blocks(file, path), path, on_corrupt)
        except CorruptShardError as error:
            if on_corrupt is None:
                raise
            on_corrupt(str(error))


def write_stream(file: BinaryIO, records: Iterable[bytes]) -> ShardInfo:
    """Write records to an open file, wherever it lies; the file is neither flushed nor closed."""
    digest = hashlib.sha256()
    pending = bytearray()
    n_records = n_bytes = 0

    def flush(n: int) -> int:
        compressed = bytes(cramjam.snappy.compress_raw(bytes(pending[:n])))
        del pending[:n]
        block = struct.pack(">I", len(compressed)) + compressed
        digest.update(block)
        file.write(block)
        return len(block)

    for record in records:
        length = struct.pack("<Q", len(record))
        pending += length + _masked_crc(length) + record + _masked_crc(record)
        n_records += 1
        while len(pending) >= BLOCK_BYTES:
            n_bytes += flush(BLOCK_BYTES)
    if pending:
        n_bytes += flush(len(pending))
    return ShardInfo(n_records, n_bytes, digest.hexdigest())


def _blocks(file: BinaryIO, path: Path) -> Iterator[bytes]:
    while header := file.read(4):
        if len(header) < 4:
            raise CorruptShardError(f"{path}: the file ends within a block's length")
        (length,) = struct.unpack(">I", header)
        compressed = file.read(length)
        if len(compressed) < length:
            raise CorruptShardError(f"{path}: the file ends within a block")
        try:
            yield bytes(cramjam.snappy.decompress_raw(compressed))
        except cramjam.DecompressionError as error:
            raise CorruptShardError(f"{path}: a block is no snappy data ({error})") from error


def _records(blocks: Iterator[bytes], path: Path, on_corrupt: Callable[[str], None] | None) -> Iterator[bytes]:
    buffer = b""
    position = 0

    def take(n: int, *, may_end: bool = False) -> bytes:
        nonlocal buffer, position
        if len(buffer) - position < n:
            parts = [buffer[position:]]
            have = len(parts[0])
            while have < n:
                block = next(blocks, None)
                if block is None:
                    if may_end and have == 0:
                        return b""
                    raise CorruptShardError(f"{path}: the stream ends within a record")
                parts.append(block)
                have += len(block)
            buffer, position = b"".join(parts), 0
        position += n
        return buffer[position - n : position]

    while header := take(12, may_end=True):
        if _masked_crc(header[:8]) != header[8:]:
            raise CorruptShardError(f"{path}: the checksum of a record's length does not match")
        (length,) = struct.unpack("<Q", header[:8])
        record = take(length)
        if _masked_crc(record) == take(4):
            yield record
        elif on_corrupt is None:
            raise CorruptShardError(f"{path}: the checksum of a record does not match")
        else:
            on_corrupt(f"{path}: the checksum of a record does not match")


def _masked_crc(data: bytes) -> bytes:
    crc = google_crc32c.value(data)
    return struct.pack("<I", ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF)
