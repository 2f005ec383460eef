"""The index of a shard: a row per window, so that a corpus opens, filters and seeks without touching samples.

`windows-00000-of-00004.index.parquet` lies beside `windows-00000-of-00004.tfrecord.snappy`; its rows stand in the
order of the records. Equal windows give equal bytes. Shards written before there were indexes get theirs by
`build_index`, one pass over the shard, kept in a folder of the caller's choice.
"""

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, fields
from io import BytesIO
from pathlib import Path
from typing import BinaryIO

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from signals.description.quality import window_artifact_ratio, window_snr_db
from signals.files import atomic_file
from signals.shards.records import decode_window
from signals.shards.tfrecord import RecordPlace, scan_records
from signals.window import MEASURED, Window

_SHARD_ENDING, _INDEX_ENDING = ".tfrecord.snappy", ".index.parquet"

SCHEMA = pa.schema(
    [
        pa.field("key", pa.string(), nullable=False),
        pa.field("subject_id", pa.string(), nullable=False),
        pa.field("site_id", pa.string(), nullable=False),
        pa.field("recording_id", pa.string(), nullable=False),
        pa.field("start_s", pa.float64(), nullable=False),
        pa.field("n_times", pa.int32(), nullable=False),
        pa.field("n_chans", pa.int32(), nullable=False),
        pa.field("sfreq", pa.float32(), nullable=False),
        pa.field("label", pa.string(), nullable=False),
        pa.field("votes", pa.list_(pa.float32()), nullable=False),
        pa.field("label_span_s", pa.list_(pa.float32())),
        pa.field("ch_state", pa.binary(), nullable=False),
        pa.field("quality", pa.float32()),
        pa.field("snr_db", pa.float32()),
        pa.field("artifact_ratio", pa.float32()),
        pa.field("quality_verdict", pa.string()),
        pa.field("block_offset", pa.int64(), nullable=False),
        pa.field("inside", pa.int32(), nullable=False),
        pa.field("device", pa.string()),
        pa.field("start_hour", pa.int8()),
        pa.field("age_group", pa.string()),
    ]
)
"""Columns of an index; later versions may add nullable ones at the end."""


@dataclass(frozen=True, kw_only=True)
class IndexRow:
    """One window, without its samples."""

    key: str
    """`Window.key`."""
    subject_id: str
    site_id: str
    recording_id: str
    start_s: float
    n_times: int
    n_chans: int
    sfreq: float
    label: str
    """Empty without."""
    votes: tuple[float, ...]
    """Expert vote counts in the task's order; empty without."""
    label_span_s: tuple[float, float] | None
    """The stretch that the label covers, seconds from the window's start."""
    ch_state: bytes
    """One byte per channel: ABSENT, INTERPOLATED or MEASURED."""
    quality: float | None
    """Mean over the measured channels; None without any."""
    snr_db: float | None = None
    """Median over the measured EEG channels, dB."""
    artifact_ratio: float | None = None
    """Share of the measured EEG channels' seconds with an artifact."""
    quality_verdict: str | None = None
    """`Window.quality_verdict`. The last three are None in shards written before they were stored."""
    block_offset: int
    inside: int
    """Where the record starts (`signals.shards.tfrecord.RecordPlace`)."""
    device: str | None = None
    start_hour: int | None = None
    age_group: str | None = None
    """As in `Window`; None where they were not requested."""

    @property
    def place(self) -> RecordPlace:
        """Where the record starts."""
        return RecordPlace(self.block_offset, self.inside)


@dataclass(frozen=True, kw_only=True)
class ShardIndex:
    """The index file of a shard, as its manifest names it."""

    path: str
    """Relative to the manifest's folder."""
    sha256: str


def index_name(shard_path: str) -> str:
    """Return the path of a shard's index; raises ValueError for a path that is no shard's."""
    if not shard_path.endswith(_SHARD_ENDING):
        raise ValueError(f"{shard_path} is no shard: its name does not end in {_SHARD_ENDING}")
    return shard_path.removesuffix(_SHARD_ENDING) + _INDEX_ENDING


def index_row(window: Window, place: RecordPlace) -> IndexRow:
    """Return the row of a window whose record starts at `place`."""
    measured = window.quality[window.ch_state == MEASURED]
    return IndexRow(
        key=window.key,
        subject_id=window.subject_id,
        site_id=window.site_id,
        recording_id=window.recording_id,
        start_s=window.start_s,
        n_times=window.data.shape[1],
        n_chans=window.data.shape[0],
        sfreq=window.sfreq,
        label=window.label,
        votes=tuple(float(vote) for vote in window.votes),
        label_span_s=window.label_span_s,
        ch_state=window.ch_state.astype(np.uint8).tobytes(),
        quality=float(measured.mean(dtype=np.float64)) if measured.size else None,
        snr_db=None if window.snr_db is None else _known(window_snr_db(window.snr_db, window.primary_state)),
        artifact_ratio=None
        if window.artifact_ratio is None
        else _known(window_artifact_ratio(window.artifact_ratio, window.primary_state)),
        quality_verdict=window.quality_verdict or None,
        block_offset=place.block_offset,
        inside=place.inside,
        device=window.device or None,
        start_hour=window.start_hour,
        age_group=window.age_group or None,
    )


def _known(value: float) -> float | None:
    return None if np.isnan(value) else value


def write_index(file: BinaryIO, rows: Iterable[IndexRow]) -> str:
    """Write the rows to an open file and return the sha256 of what was written; equal rows give equal bytes."""
    columns: dict[str, list[object]] = {field.name: [] for field in fields(IndexRow)}
    for row in rows:
        for name, values in columns.items():
            values.append(getattr(row, name))
    table = pa.table({name: pa.array(columns[name], SCHEMA.field(name).type) for name in SCHEMA.names}, schema=SCHEMA)
    buffer = BytesIO()
    # Names repeat within a shard: dictionaries make them short. Offsets and keys do not.
    repeated = ["subject_id", "site_id", "recording_id", "label", "quality_verdict", "ch_state", "sfreq", "device",
                "age_group"]  # fmt: skip
    pq.write_table(table, buffer, compression="zstd", use_dictionary=repeated, write_statistics=["key"])
    raw = buffer.getvalue()
    file.write(raw)
    return hashlib.sha256(raw).hexdigest()


def read_index(source: str | Path | BinaryIO, *, columns: Sequence[str] | None = None) -> pa.Table:
    """Return the index as a table of `SCHEMA`, or of some of its columns.

    Columns that a later version added are left out, nullable ones that an earlier version did not have are null.
    Raises ValueError where `source` is no index.
    """
    wanted = [SCHEMA.field(name) for name in columns] if columns is not None else list(SCHEMA)
    try:
        file = pq.ParquetFile(source)
    except pa.ArrowInvalid as error:
        raise ValueError(f"{source} is no index of a shard ({error}): delete it, and it is built again") from error
    stored = [field.name for field in wanted if field.name in file.schema_arrow.names]
    missing = [field.name for field in wanted if field.name not in stored and not field.nullable]
    if missing:
        raise ValueError(f"{source} is no index of a shard: it has no column {missing[0]!r}")
    table = file.read(columns=stored, use_threads=False)
    arrays = [
        table[field.name].cast(field.type) if field.name in stored else pa.nulls(len(table), field.type)
        for field in wanted
    ]
    return pa.Table.from_arrays(arrays, schema=pa.schema(wanted))


def iter_indexes(
    sources: Iterable[str | Path | BinaryIO], *, columns: Sequence[str] | None = None
) -> Iterator[pa.Table]:
    """Yield the index of each source in turn; one is in memory at a time."""
    for source in sources:
        yield read_index(source, columns=columns)


def rows_of(table: pa.Table) -> list[IndexRow]:
    """Return the rows of a whole index as dataclasses."""
    return [
        IndexRow(
            **{
                **row,
                "votes": tuple(row["votes"]),
                "label_span_s": tuple(row["label_span_s"]) if row["label_span_s"] is not None else None,
            }
        )
        for row in table.to_pylist()
    ]


def scan_index(file: BinaryIO, name: str) -> Iterator[IndexRow]:
    """Yield the rows of an open shard by reading all of it; raises CorruptShardError as `read_shard` does."""
    for place, record in scan_records(file, name):
        yield index_row(decode_window(record), place)


def build_index(shard: Path, index: Path) -> str:
    """Write the index of a shard that was written without one and return its sha256; whole or not at all."""
    with shard.open("rb") as file, atomic_file(index) as out:
        return write_index(out, scan_index(file, str(shard)))
