"""EEG in parquet files of a known or declared layout, one column a channel, by row groups."""

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from itertools import accumulate
from pathlib import Path
from typing import Any

import numpy as np

from signals.readers.channels.units import channel_notes, scaling_of
from signals.readers.layouts.hms import is_spectrogram
from signals.readers.layouts.layout import Layout, layouts_of
from signals.readers.matrix import measured
from signals.recording.recording import Recording, Segment, UnreadableError

PARQUET_MAGIC = b"PAR1"
_LARGEST_KEPT = 1_500_000
"""Rows of the largest row group that is decoded as a whole and kept for the next read, 120 MB of 20 channels."""
_BATCH_ROWS = 65_536


def open_parquet(path: Path, declared: Sequence[Layout] = ()) -> Recording:
    """Return the recording in a parquet file of a declared or known layout; columns are found by name, nulls are NaN.

    Raises UnreadableError: "corrupt_header" for a file that is cut or damaged, "unsupported_format" where no layout
    fits its columns, "no_samples".
    """
    layout, ch_names, group_rows = _recognise(path, declared)
    if layout.sfreq is None:
        raise UnreadableError("unsupported_format", f"layout {layout.name} gives no rate, and a table holds none")
    scalings = [scaling_of(name, layout.unit) for name in ch_names]
    n_times = sum(group_rows)
    columns = (*layout.channel_columns, *ch_names[len(layout.ch_names) :])
    source = _Source(
        str(path), path.stat().st_mtime_ns, columns, tuple(accumulate(group_rows, initial=0)),
        tuple(scaling.factor for scaling in scalings), layout.offset,
    )  # fmt: skip
    return Recording(
        uri=str(path),
        reader=f"parquet/{layout.name}",
        ch_names=ch_names,
        sensor_types=tuple(scaling.sensor_type for scaling in scalings),
        sfreqs=(layout.sfreq,) * len(ch_names),
        segments=(Segment(0.0, n_times / layout.sfreq),),
        read_samples=partial(_read_samples, source),
        reference=layout.reference,
        notes=(*layout.notes, *channel_notes(ch_names, scalings)),
    )


@dataclass(frozen=True)
class _Source:
    """All that reading samples needs."""

    path: str
    mtime_ns: int
    columns: tuple[str, ...]
    group_starts: tuple[int, ...]
    """First row of each row group, and the number of rows."""
    factors: tuple[float, ...]
    offset: float


def _recognise(path: Path, declared: Sequence[Layout]) -> tuple[Layout, tuple[str, ...], list[int]]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(path) as file:
            names, meta = list(file.schema_arrow.names), file.metadata
            numeric = {field.name for field in file.schema_arrow if _is_number(field.type)}
            group_rows = [meta.row_group(i).num_rows for i in range(meta.num_row_groups)]
    except (pa.ArrowException, OSError) as error:
        raise UnreadableError("corrupt_header", f"no readable parquet footer: {type(error).__name__}") from error
    if is_spectrogram(names):
        raise UnreadableError("unsupported_format", "a spectrogram of the HMS layout, no recording")
    for layout in layouts_of("parquet", declared):
        if {*layout.channel_columns, *layout.signature} <= numeric:
            if not sum(group_rows):
                raise UnreadableError("no_samples", "a parquet file without rows")
            return layout, (*layout.ch_names, *(name for name in layout.optional if name in numeric)), group_rows
    raise UnreadableError("unsupported_format", f"no declared layout fits its {len(names)} columns")


def _is_number(kind: Any) -> bool:
    import pyarrow as pa

    return bool(pa.types.is_floating(kind) or pa.types.is_integer(kind))


def _read_samples(source: _Source, picks: Sequence[int], segment: int, start: int, stop: int) -> np.ndarray:
    samples = np.empty((len(picks), stop - start), dtype=np.float32)
    group = bisect_right(source.group_starts, start) - 1
    while group < len(source.group_starts) - 1 and source.group_starts[group] < stop:
        first, last = source.group_starts[group], source.group_starts[group + 1]
        begin, end = max(start, first), min(stop, last)
        if last - first <= _LARGEST_KEPT:
            part = _group(source, group)[list(picks), begin - first : end - first]
        else:
            part = _stream(source, group, [source.columns[pick] for pick in picks], begin - first, end - first)
        samples[:, begin - start : end - start] = part
        group += 1
    factors = np.array([source.factors[pick] for pick in picks])[:, None]
    values = samples.astype(np.float64) - source.offset if source.offset else samples
    return measured(values * factors)


@lru_cache(maxsize=2)
def _group(source: _Source, group: int) -> np.ndarray:
    """Return a row group's channels, float32, shape (n_chans, n_rows)."""
    return _stream(source, group, source.columns, 0, source.group_starts[group + 1] - source.group_starts[group])


def _stream(source: _Source, group: int, names: Sequence[str], start: int, stop: int) -> np.ndarray:
    """Return rows [start, stop) of a row group, float32, decoding batch by batch."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    rows = np.empty((len(names), stop - start), dtype=np.float32)
    position = 0
    try:
        with pq.ParquetFile(source.path) as file:
            for batch in file.iter_batches(_BATCH_ROWS, row_groups=[group], columns=list(names)):
                first, last = max(start, position), min(stop, position + batch.num_rows)
                for row, name in zip(rows, names, strict=True):
                    if first < last:
                        column = batch.column(batch.schema.get_field_index(name)).slice(first - position, last - first)
                        row[first - start : last - start] = column.to_numpy(zero_copy_only=False)
                position += batch.num_rows
                if position >= stop:
                    break
    except (pa.ArrowException, OSError) as error:
        raise UnreadableError("corrupt_header", f"damaged parquet pages: {type(error).__name__}") from error
    return rows
