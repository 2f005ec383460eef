"""TFRecord files inside TensorFlow's SNAPPY stream, written and read without TensorFlow.

The outer stream repeats [uint32 big-endian compressed length][raw snappy block]; a block holds at most 262,144 bytes,
the size of TensorFlow's input buffer, or `tf.data.TFRecordDataset(path, compression_type="SNAPPY")` cannot read it.
Inside stands plain TFRecord framing: [uint64 length][masked crc32c of it][data][masked crc32c of data], little-endian.
Records may span blocks. Source: tensorflow/core/lib/io/{record_writer,snappy}.
"""

import hashlib
import struct
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

import cramjam
import google_crc32c

from signals.files import atomic_file

BLOCK_BYTES = 262_144


class CorruptShardError(ValueError):
    """A shard whose framing or checksums do not hold."""


@dataclass(frozen=True)
class RecordPlace:
    """Where a record starts: whoever seeks there decodes nothing before it but the rest of one block."""

    block_offset: int
    """First byte of the compressed block, its length field included, in the file."""
    inside: int
    """First byte of the record in the decompressed block."""


@dataclass(frozen=True)
class ShardInfo:
    """What was written: number of records, bytes on disk, sha256 of the file, where each record starts."""

    n_records: int
    n_bytes: int
    sha256: str
    places: tuple[RecordPlace, ...] = field(default=(), repr=False)


def write_shard(path: Path, records: Iterable[bytes]) -> ShardInfo:
    """Write a shard that is there whole or not at all; on any error nothing is left behind."""
    with atomic_file(path) as file:
        return write_stream(file, records)


def read_shard(path: Path, *, on_corrupt: Callable[[str], None] | None = None) -> Iterator[bytes]:
    """Yield the records of a shard in order; raises CorruptShardError where a length or checksum does not hold.

    With `on_corrupt`, it is given the message instead: a record whose checksum does not hold is left out; where the
    framing itself is broken, so is all that follows.
    """
    with path.open("rb") as file:
        for _, record in scan_records(file, str(path), on_corrupt=on_corrupt):
            yield record


def scan_records(
    file: BinaryIO, name: str, *, on_corrupt: Callable[[str], None] | None = None
) -> Iterator[tuple[RecordPlace, bytes]]:
    """Yield each record of an open shard with its place, in order; `name` stands in messages, see `read_shard`."""
    stream = _Stream(file, name)
    try:
        while not stream.is_at_end():
            place, record = stream.place(), stream.record()
            if record is not None:
                yield place, record
            elif on_corrupt is None:
                raise CorruptShardError(_BAD_RECORD.format(name))
            else:
                on_corrupt(_BAD_RECORD.format(name))
    except CorruptShardError as error:
        if on_corrupt is None:
            raise
        on_corrupt(str(error))
    finally:
        stream.close()


def read_records(file: BinaryIO, places: Iterable[RecordPlace], name: str) -> Iterator[bytes]:
    """Yield the records that start at `places`, in their order; only the blocks that hold them are decompressed.

    Neighbours share their blocks where `places` ascend. The file must be seekable. Raises CorruptShardError where no
    record starts at a place or its checksum does not hold.
    """
    stream = _Stream(file, name)
    try:
        for place in places:
            stream.seek(place)
            record = stream.record()
            if record is None:
                raise CorruptShardError(_BAD_RECORD.format(name))
            yield record
    finally:
        stream.close()


def write_stream(file: BinaryIO, records: Iterable[bytes]) -> ShardInfo:
    """Write records to an open file, wherever it lies; the file is neither flushed nor closed."""
    digest = hashlib.sha256()
    pending = bytearray()
    starts: list[int] = []
    blocks = [0]  # where each block starts in the file; the last entry is the file's length

    def flush(n: int) -> None:
        compressed = bytes(cramjam.snappy.compress_raw(bytes(pending[:n])))
        del pending[:n]
        block = struct.pack(">I", len(compressed)) + compressed
        digest.update(block)
        file.write(block)
        blocks.append(blocks[-1] + len(block))

    for record in records:
        starts.append((len(blocks) - 1) * BLOCK_BYTES + len(pending))
        length = struct.pack("<Q", len(record))
        pending += length + _masked_crc(length) + record + _masked_crc(record)
        while len(pending) >= BLOCK_BYTES:
            flush(BLOCK_BYTES)
    if pending:
        flush(len(pending))
    places = tuple(RecordPlace(blocks[start // BLOCK_BYTES], start % BLOCK_BYTES) for start in starts)
    return ShardInfo(len(starts), blocks[-1], digest.hexdigest(), places)


_BAD_RECORD = "{}: the checksum of a record does not match"


@dataclass(frozen=True)
class _Block:
    """A decompressed block, and where the compressed one starts in the file."""

    offset: int
    raw: memoryview


class _Stream:
    """The decompressed blocks of an open shard from the next byte on.

    Memory of blocks that were passed is used again, by the thread's next stream too: fresh memory costs more time than
    decompressing into it.
    """

    def __init__(self, file: BinaryIO, name: str) -> None:
        self._file, self._name = file, name
        self._blocks: deque[_Block] = deque()
        self._at = 0  # where reading goes on in the first block
        self._next = 0  # where the block after these starts in the file

    def seek(self, place: RecordPlace) -> None:
        """Go to a place; blocks that are in memory already are not decompressed again."""
        while self._blocks and self._blocks[0].offset != place.block_offset:
            self._drop_block()
        if not self._blocks:
            self._file.seek(place.block_offset)
            self._next = place.block_offset
        self._at = place.inside

    def place(self) -> RecordPlace:
        """Return where the next byte lies; there must be one."""
        return RecordPlace(self._blocks[0].offset, self._at)

    def is_at_end(self) -> bool:
        """Return whether no byte follows."""
        return not self._fill(1)

    def record(self) -> bytes | None:
        """Return the next record, None where its checksum does not hold; raises CorruptShardError for the framing."""
        header = self._take(12)
        if _masked_crc(header[:8]) != header[8:]:
            raise CorruptShardError(f"{self._name}: the checksum of a record's length does not match")
        (length,) = struct.unpack("<Q", header[:8])
        record = self._take(length)
        return record if _masked_crc(record) == self._take(4) else None

    def _take(self, n: int) -> bytes:
        if not self._fill(n):
            raise CorruptShardError(f"{self._name}: the stream ends within a record")
        parts = []
        while n > len(self._blocks[0].raw) - self._at:
            parts.append(bytes(self._blocks[0].raw[self._at :]))
            n -= len(parts[-1])
            self._drop_block()
        parts.append(bytes(self._blocks[0].raw[self._at : self._at + n]))
        self._at += n
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def _fill(self, n: int) -> bool:
        """Decompress until n bytes follow, the next one in the first block; return whether they do."""
        while sum(len(block.raw) for block in self._blocks) - self._at < n:
            if not self._read_block():
                return False
        while self._blocks and self._at >= len(self._blocks[0].raw) and n:
            self._drop_block()
        return True

    def _drop_block(self) -> None:
        block = self._blocks.popleft()
        self._at = max(0, self._at - len(block.raw))
        _spare.give(block.raw)

    def _read_block(self) -> bool:
        """Decompress the next block behind what is there; return whether there was one."""
        header = self._file.read(4)
        if not header:
            return False
        if len(header) < 4:
            raise CorruptShardError(f"{self._name}: the file ends within a block's length")
        (length,) = struct.unpack(">I", header)
        compressed = self._file.read(length)
        if len(compressed) < length:
            raise CorruptShardError(f"{self._name}: the file ends within a block")
        try:
            size = cramjam.snappy.decompress_raw_len(compressed)
            if size > _MOST_EXPANDED * length:
                raise CorruptShardError(f"{self._name}: a block of {length} bytes cannot hold {size}")
            raw = _spare.take(size)
            cramjam.snappy.decompress_raw_into(compressed, raw)
        except cramjam.DecompressionError as error:
            raise CorruptShardError(f"{self._name}: a block is no snappy data ({error})") from error
        self._blocks.append(_Block(self._next, raw))
        self._next += 4 + length
        return True

    def close(self) -> None:
        """Give the memory of all blocks back."""
        while self._blocks:
            self._drop_block()


class _Spare(threading.local):
    """Memory of a few blocks that nobody uses any more, of each thread."""

    def __init__(self) -> None:
        self._kept: list[memoryview] = []

    def take(self, size: int) -> memoryview:
        """Return so many bytes."""
        if size > BLOCK_BYTES:
            return memoryview(bytearray(size))
        return (self._kept.pop() if self._kept else memoryview(bytearray(BLOCK_BYTES)))[:size]

    def give(self, raw: memoryview) -> None:
        """Take back what `take` returned."""
        whole = memoryview(raw.obj)
        if len(whole) == BLOCK_BYTES and len(self._kept) < _KEPT:
            self._kept.append(whole)


_KEPT = 8
_spare = _Spare()


_MOST_EXPANDED = 64
"""A snappy element of 3 bytes copies at most 64: what claims more is damaged, and its memory is not reserved."""


def _masked_crc(data: bytes) -> bytes:
    crc = google_crc32c.value(data)
    return struct.pack("<I", ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF)
