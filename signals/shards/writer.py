"""Windows to shard files, and a whole shard set of windows that come from no recordings.

The pipeline writes its shards with `write_windows`, one per bundle of work; generators and tests write a finished set
with `write_set`. Both count windows with the same `Tally`.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import BinaryIO

import numpy as np

from signals.description.describers import describer_of
from signals.files import atomic_file
from signals.shards.index import IndexRow, ShardIndex, index_name, index_row, write_index
from signals.shards.manifest import (
    COMPLETED,
    MANIFEST,
    Manifest,
    Shard,
    SubjectEntry,
    manifest_json,
    shard_name,
)
from signals.shards.records import encode_window
from signals.shards.tally import Tally
from signals.shards.tfrecord import write_stream
from signals.version import code_version
from signals.window import Window
from signals.windows.profiles import Profile


@dataclass(frozen=True)
class WrittenShard:
    """A shard as it was written, and the rows of its index, which is a file of its own."""

    shard: Shard
    rows: tuple[IndexRow, ...]


def write_windows(
    file: BinaryIO, windows: Iterable[Window], *, path: str, site_id: str, tally: Tally
) -> WrittenShard | None:
    """Write windows to an open file, count them in `tally`, and return the shard's entry and the rows of its index.

    `path` is the shard's name within its set. Returns None where there were no windows: the file is then of no use.
    """
    encoded = ((window, encode_window(window)) for window in windows)
    return write_encoded(file, encoded, path=path, site_id=site_id, tally=tally)


def write_encoded(
    file: BinaryIO, encoded: Iterable[tuple[Window, bytes]], *, path: str, site_id: str, tally: Tally
) -> WrittenShard | None:
    """Write windows whose records there are already; otherwise as `write_windows`."""
    heads: list[Window] = []
    info = write_stream(file, _counted(encoded, tally, heads))
    if not info.n_records:
        return None
    shard = Shard(path=path, site_id=site_id, n_windows=info.n_records, n_bytes=info.n_bytes, sha256=info.sha256)
    return WrittenShard(shard, tuple(map(index_row, heads, info.places)))


def _counted(encoded: Iterable[tuple[Window, bytes]], tally: Tally, heads: list[Window]) -> Iterator[bytes]:
    for window, record in encoded:
        tally.add(window)
        yield record
        # An index needs no samples: a view of one value keeps the shape without the memory.
        heads.append(replace(window, data=np.broadcast_to(np.float32(0), window.data.shape), spectrogram=None))


def write_set(
    folder: Path,
    sites: Mapping[str, Sequence[Iterable[Window]]],
    *,
    profile: Profile,
    indexed: bool = True,
    label_source: str = "",
) -> Manifest:
    """Write a finished shard set and return its manifest: `sites` holds, per site, the windows of each shard.

    Windows are taken one at a time, so that generators need little memory. The set has no accounting of recordings
    (`Manifest.has_accounting`): its counts are windows and what they add up to per site, and who labelled them where
    `label_source` gives it. Raises ValueError for a shard without windows.
    """
    shards: list[Shard] = []
    subjects: dict[str, SubjectEntry] = {}
    counts = {}
    for site_id, parts in sites.items():
        tally, n_before = Tally(), len(shards)
        for index, windows in enumerate(parts):
            path = shard_name(site_id, index, len(parts))
            with atomic_file(folder / path) as file:
                written = write_windows(file, windows, path=path, site_id=site_id, tally=tally)
                if written is None:
                    raise ValueError(f"{path} would hold no windows")
            shards.append(_indexed(folder, written) if indexed else written.shard)
        subjects |= tally.subjects()
        counts[site_id] = {"windows": sum(shard.n_windows for shard in shards[n_before:]), **tally.sums().to_dict()}
    n_windows = sum(shard.n_windows for shard in shards)
    manifest = Manifest(
        modality=profile.signal,
        profile=profile.to_dict(),
        config_hash=profile.config_hash,
        code_version=code_version(),
        shards=tuple(shards),
        subjects=subjects,
        features=describer_of(profile.signal).features,
        counts={"windows": {"written": n_windows}, "sites": counts}
        | ({"labels": {"by_source": {label_source: n_windows}}} if label_source else {}),
    )
    with atomic_file(folder / MANIFEST) as file:
        file.write(manifest_json(manifest).encode())
    (folder / COMPLETED).write_text("")
    return manifest


def _indexed(folder: Path, written: WrittenShard) -> Shard:
    """Write a shard's index beside it and return the shard's entry with it."""
    path = index_name(written.shard.path)
    with atomic_file(folder / path) as file:
        digest = write_index(file, written.rows)
    return replace(written.shard, index=ShardIndex(path=path, sha256=digest))
