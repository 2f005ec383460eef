"""Recordings on other file systems: read through a sparse mirror on this machine's disk, of bounded size.

Readers know local paths only. A remote recording gets a local file of the same length that is all hole; whatever a
reader is about to touch is fetched first. EDF and BDF files tell where their samples lie, so that a block's data
records are all that is ever fetched of them - except at the first opening of EDF+, where every record is looked at for
annotations and gaps. Any other format is copied whole, with the side files of its folder. The mirror lies in folders of
the same names as the recording, so that what a name or a folder says holds for it too, and the sidecars of a BIDS tree
are copied to their places.

Who may open remote files registers a `Store`: this module knows no protocol.
"""

import atexit
import hashlib
import os
import shutil
import tempfile
import threading
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath
from typing import BinaryIO, Protocol

import numpy as np

from signals.readers.bids import BIDS_TABLES, bids_root, is_sidecar_of
from signals.readers.edf.edf_header import BDF_MAGIC, EDF_MAGIC, read_header
from signals.recording.recording import Recording, UnreadableError

PAGE_BYTES = 4 << 20
SCRATCH_BYTES = int(float(os.environ.get("CEREBEAM_SCRATCH_GB", "8")) * 1e9)
"""Disk that a process's mirrors may take together; a single file that must be copied whole may exceed it."""
MOST_MIRRORS = 16
"""Each keeps its remote file open, with the file system's read-ahead buffer."""
_HEAD_BYTES = 1 << 20


class TransferError(OSError):
    """A remote file that could not be read just now: no fault of the recording, so worth another try."""


class Store(Protocol):
    """A remote file system. Failures to reach it are raised as TransferError, an absent file as FileNotFoundError."""

    def size(self, uri: str) -> int:
        """Return a file's length in bytes."""
        ...

    def open(self, uri: str) -> BinaryIO:
        """Return the file, seekable; a failing `seek` or `read` raises TransferError."""
        ...

    def siblings(self, uri: str) -> Sequence[str]:
        """Return the URIs of all files in the file's folder."""
        ...


@dataclass
class _Mirror:
    """One remote file's local stand-in; use under its lock."""

    uri: str
    path: Path
    size: int
    source: BinaryIO
    folder: Path
    """Of this mirror alone: what `drop` removes."""
    pages: set[int] = field(default_factory=set)
    sides: list["_Mirror"] | None = None
    """Of a file that is copied whole, its side files, once they are known."""
    has_sidecars: bool = False
    """Whether the sidecars of its BIDS tree lie beside it, if it is in one."""
    lock: threading.RLock = field(default_factory=threading.RLock)
    n_users: int = 0
    """How many blocks of `_held` there are, waiting ones too."""

    @property
    def held_bytes(self) -> int:
        return len(self.pages) * PAGE_BYTES + sum(side.held_bytes for side in self.sides or ())

    @property
    def is_whole(self) -> bool:
        return len(self.pages) == -(-self.size // PAGE_BYTES)

    def missing(self, start: int, stop: int) -> list[int]:
        """Return the pages of a range of bytes that are not on the disk."""
        pages = range(start // PAGE_BYTES, -(-min(stop, self.size) // PAGE_BYTES))
        return [page for page in pages if page not in self.pages]

    def fetch(self, start: int, stop: int) -> None:
        """Bring a range of bytes onto the disk."""
        _make_room(self, len(self.missing(start, stop)) * PAGE_BYTES)
        with self.path.open("r+b") as file:
            for page in self.missing(start, stop):
                self.source.seek(page * PAGE_BYTES)
                file.seek(page * PAGE_BYTES)
                file.write(_read_exactly(self.source, min(PAGE_BYTES, self.size - page * PAGE_BYTES)))
                self.pages.add(page)

    def empty(self) -> None:
        """Give the disk back but for the header's pages; the file keeps its length, the rest is hole."""
        kept = -(-_HEAD_BYTES // PAGE_BYTES)
        self.pages = {page for page in self.pages if page < kept}
        os.truncate(self.path, min(kept * PAGE_BYTES, self.size))
        os.truncate(self.path, self.size)

    def drop(self) -> None:
        """Remove the mirror and its side files' mirrors."""
        for side in self.sides or ():
            side.drop()
        self.source.close()
        shutil.rmtree(self.folder, ignore_errors=True)


_lock = threading.Lock()
_store: Store | None = None
_mirrors: OrderedDict[str, _Mirror] = OrderedDict()
_scratch: list[Path] = []


def register_store(store: Store | None) -> None:
    """Let readers open what the store holds; None takes it away again."""
    global _store
    with _lock:
        _store = store


def is_remote(uri: str) -> bool:
    """Return whether a recording lies on another file system than this machine's."""
    return "://" in uri and not uri.startswith("file://")


@contextmanager
def local_copy(uri: str, *, again: bool = False) -> Iterator[Path]:
    """Give a path at which a reader can open the recording; a remote one's stays valid within the block only.

    `again` says that it was opened before and that its segments are known: annotation signals of EDF+ are not fetched
    another time.
    Raises UnreadableError "missing_file", or "unsupported_format" where no store is registered, and TransferError.
    """
    if not is_remote(uri):
        yield Path(uri.removeprefix("file://"))
        return
    with _held(uri) as mirror:
        mirror.fetch(0, _HEAD_BYTES)
        if not mirror.has_sidecars:
            _copy_sidecars(mirror)
        if not _is_ranged(mirror.path):
            _copy_whole(mirror)
        elif not again and _has_annotations(mirror.path):
            mirror.fetch(0, mirror.size)
        yield mirror.path


def through_mirror(recording: Recording, uri: str) -> Recording:
    """Return a recording, opened in `local_copy`, that fetches what it reads; a local one unchanged."""
    if not is_remote(uri):
        return recording
    with local_copy(uri, again=True) as path:
        header = read_header(path) if _is_ranged(path) else None
    read_samples = recording.read_samples

    def read(picks: Sequence[int], segment: int, start: int, stop: int) -> np.ndarray:
        with local_copy(uri, again=True), _held(uri) as mirror:
            if header is not None:
                per_record = recording.sfreqs[picks[0]] * header.record_s
                before = sum(round(s.duration_s / header.record_s) for s in recording.segments[:segment])
                width = header.record_samples * header.sample_bytes
                first, last = before + int(start // per_record), before + int(-(-stop // per_record))
                mirror.fetch(header.header_bytes + first * width, header.header_bytes + last * width)
            return np.array(read_samples(picks, segment, start, stop))

    return replace(recording, read_samples=read)


def remote_sha256(uri: str) -> str | None:
    """Return the sha256 of a remote EDF or BDF file, read once in order; None for what is to be digested locally."""
    if not is_remote(uri):
        return None
    with local_copy(uri) as path, _held(uri) as mirror:
        if mirror.is_whole or not _is_ranged(path):
            return None
        digest = hashlib.sha256()
        mirror.source.seek(0)
        for start in range(0, mirror.size, PAGE_BYTES):
            digest.update(_read_exactly(mirror.source, min(PAGE_BYTES, mirror.size - start)))
    return digest.hexdigest()


def _read_exactly(source: BinaryIO, n_bytes: int) -> bytes:
    octets = source.read(n_bytes)
    if len(octets) != n_bytes:
        raise TransferError(f"{len(octets)} of {n_bytes} bytes came: the file changed, or the connection broke")
    return octets


def _is_ranged(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(8) in (EDF_MAGIC, BDF_MAGIC)


def _has_annotations(path: Path) -> bool:
    with path.open("rb") as file:
        head = file.read(_HEAD_BYTES)
    n_signals = int(head[252:256].strip() or b"0") if head[252:256].strip().isdigit() else 0
    labels = head[256 : 256 + 16 * n_signals]
    return b"EDF Annotations" in labels or b"BDF Annotations" in labels


def _copy_sidecars(mirror: _Mirror) -> None:
    """Copy the sidecars that speak of a recording in a BIDS tree, and the tree's list of participants."""
    root = bids_root(mirror.path)
    folder, place = mirror.uri.rpartition("/")[0], mirror.path.parent
    while root is not None:
        for uri in _siblings(f"{folder}/"):
            name = PurePosixPath(uri).name
            if is_sidecar_of(mirror.path, name) or (place == root and name in BIDS_TABLES):
                _copy_small(uri, place / name)
        if place == root:
            break
        folder, place = folder.rpartition("/")[0], place.parent
    mirror.has_sidecars = True


def _copy_small(uri: str, path: Path) -> None:
    assert _store is not None
    try:
        size, source = _store.size(uri), _store.open(uri)
    except FileNotFoundError:  # it went since its folder was listed
        return
    try:
        path.write_bytes(_read_exactly(source, size))
    finally:
        source.close()


def _siblings(uri: str) -> Sequence[str]:
    assert _store is not None
    return _store.siblings(uri)


def _copy_whole(mirror: _Mirror) -> None:
    """Fetch a file and, beside it, those of its folder that share its stem or that its first megabyte names."""
    mirror.fetch(0, mirror.size)
    if mirror.sides is None:
        sides = [] if _is_alone(mirror.path) else _side_files(mirror)
        mirror.sides = [_make(uri, mirror.path.parent, mirror.folder) for uri in sides]
    for side in mirror.sides:
        side.fetch(0, side.size)


def _is_alone(path: Path) -> bool:
    """Return whether a file's format knows no side files: folders of thousands of them are not listed for each."""
    with path.open("rb") as file:
        return file.read(4) == b"PAR1"


def _side_files(mirror: _Mirror) -> list[str]:
    with mirror.path.open("rb") as file:
        head = file.read(_HEAD_BYTES)
    stem = mirror.path.name.split(".")[0]
    found = []
    for uri in _siblings(mirror.uri):
        name = PurePosixPath(uri).name
        shares_stem = name.startswith(stem) and not name[len(stem) :][:1].isalnum()
        if uri != mirror.uri and (shares_stem or name.encode() in head):
            found.append(uri)
    return found


@contextmanager
def _held(uri: str) -> Iterator[_Mirror]:
    """Give a mirror that no other thread uses and nobody drops within the block."""
    with _lock:
        mirror = _mirrors.get(uri)
        if mirror is None:
            if not _scratch:
                _scratch.append(Path(tempfile.mkdtemp(prefix="cerebeam-")))
            _drop_until(MOST_MIRRORS - 1, SCRATCH_BYTES)
            folder = _scratch[0] / hashlib.sha256(uri.encode()).hexdigest()[:16]
            place = folder / uri.partition("://")[2].rpartition("/")[0]
            mirror = _mirrors[uri] = _make(uri, place, folder)
        _mirrors.move_to_end(uri)
        mirror.n_users += 1
    try:
        with mirror.lock:
            yield mirror
    finally:
        with _lock:
            mirror.n_users -= 1


def _make(uri: str, place: Path, folder: Path) -> _Mirror:
    """Return a mirror that lies in `place`, within the folder of its recording."""
    if _store is None:
        scheme = uri.partition("://")[0]
        raise UnreadableError("unsupported_format", f"{scheme}:// is not read directly; copy the file first")
    name = PurePosixPath(uri).name
    try:
        size, source = _store.size(uri), _store.open(uri)
    except FileNotFoundError:
        raise UnreadableError("missing_file", f"{name} does not exist") from None
    place.mkdir(parents=True, exist_ok=True)
    (place / name).touch()
    os.truncate(place / name, size)
    return _Mirror(uri, place / name, size, source, folder)


def _make_room(mirror: _Mirror, n_bytes: int) -> None:
    """Give back the disk of mirrors that nobody uses, the longest unused first, then of this one."""
    with _lock:
        _drop_until(MOST_MIRRORS, SCRATCH_BYTES - n_bytes)
        if n_bytes and _held_bytes() + n_bytes > SCRATCH_BYTES:
            mirror.empty()


def _drop_until(most: int, n_bytes: int) -> None:
    for uri, mirror in list(_mirrors.items()):
        if len(_mirrors) <= most and _held_bytes() <= n_bytes:
            return
        if mirror.n_users == 0:
            del _mirrors[uri]
            mirror.drop()


def _held_bytes() -> int:
    return sum(mirror.held_bytes for mirror in _mirrors.values())


@atexit.register
def _clean() -> None:
    for folder in _scratch:
        shutil.rmtree(folder, ignore_errors=True)
