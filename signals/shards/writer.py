"""Windows to shard files, and a whole shard set of windows that come from no recordings.

The pipeline writes its shards with `write_windows`, one per bundle of work; generators and tests write a finished set
with `write_set`. Both count windows with the same `Tally`.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import BinaryIO

from signals.files import atomic_file
from signals.shards.manifest import COMPLETED, MANIFEST, Manifest, Shard, SubjectEntry, manifest_json, shard_name
from signals.shards.records import encode_window
from signals.shards.tally import Tally
from signals.shards.tfrecord import write_stream
from signals.version import code_version
from signals.window import Window
from signals.windows.profiles import Profile


def write_windows(file: BinaryIO, windows: Iterable[Window], *, path: str, site_id: str, tally: Tally) -> Shard | None:
    """Write windows to an open file, count them in `tally`, and return the shard's entry for the manifest.

    `path` is the shard's name within its set. Returns None where there were no windows: the file is then of no use.
    """
    info = write_stream(file, _counted(windows, tally))
    if not info.n_records:
        return None
    return Shard(path=path, site_id=site_id, n_windows=info.n_records, n_bytes=info.n_bytes, sha256=info.sha256)


def _counted(windows: Iterable[Window], tally: Tally) -> Iterator[bytes]:
    for window in windows:
        tally.add(window)
        yield encode_window(window)


def write_set(folder: Path, sites: Mapping[str, Sequence[Iterable[Window]]], *, profile: Profile) -> Manifest:
    """Write a finished shard set and return its manifest: `sites` holds, per site, the windows of each shard.

    Windows are taken one at a time, so that generators need little memory. The set has no accounting of recordings
    (`Manifest.has_accounting`): its counts are windows and what they add up to per site. Raises ValueError for a shard
    without windows.
    """
    shards: list[Shard] = []
    subjects: dict[str, SubjectEntry] = {}
    counts = {}
    for site_id, parts in sites.items():
        tally, n_before = Tally(), len(shards)
        for index, windows in enumerate(parts):
            path = shard_name(site_id, index, len(parts))
            with atomic_file(folder / path) as file:
                shard = write_windows(file, windows, path=path, site_id=site_id, tally=tally)
            if shard is None:
                raise ValueError(f"{path} would hold no windows")
            shards.append(shard)
        subjects |= tally.subjects()
        counts[site_id] = {"windows": sum(shard.n_windows for shard in shards[n_before:]), **tally.sums().to_dict()}
    manifest = Manifest(
        modality=profile.signal,
        profile=profile.to_dict(),
        config_hash=profile.config_hash,
        code_version=code_version(),
        shards=tuple(shards),
        subjects=subjects,
        counts={"windows": {"written": sum(shard.n_windows for shard in shards)}, "sites": counts},
    )
    with atomic_file(folder / MANIFEST) as file:
        file.write(manifest_json(manifest).encode())
    (folder / COMPLETED).write_text("")
    return manifest
