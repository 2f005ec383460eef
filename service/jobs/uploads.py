"""Where recordings of jobs lie: uploads under a name of our own, or files of the configured folder."""

import os
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO
from uuid import uuid4

from anyio import to_thread

from service.refusals import Refusal
from service.security.encryption import EncryptedWriter, EncryptionError, Keys, readable
from signals.readers.registry import READERS

PARTIAL = ".part"
SUFFIXES = frozenset(suffix for reader in READERS.values() for suffix in reader.suffixes)
"""Endings of files that some reader takes."""
_ABANDONED_S = 3600.0


@dataclass(frozen=True)
class Places:
    """The folders that a job's file may lie in."""

    uploads: Path
    recordings: Path | None
    keys: Keys | None = None
    """What uploads are encrypted with; None: they lie as they came."""

    def path_of(self, file: str, *, is_upload: bool) -> Path:
        """Return where a job's file lies; raises Refusal for a name that leads out of its folder."""
        folder = self.uploads if is_upload else self.recordings
        if folder is None:
            raise Refusal(404, "no_recordings_folder", "no folder of recordings is configured", "upload the file")
        return _within(folder, file)

    @contextmanager
    def opened(self, file: str, *, is_upload: bool) -> Iterator[Path]:
        """Give a path at which a job's file can be read, an encrypted upload's content in memory.

        Raises Refusal as `path_of`, and for an upload that no key opens.
        """
        path = self.path_of(file, is_upload=is_upload)
        if not is_upload:
            yield path
            return
        try:
            with readable(path, self.keys) as place:
                yield place
        except EncryptionError as error:
            raise Refusal(
                500, "upload_not_decrypted", str(error), "check system.encryption_keys, send it again"
            ) from None

    def named(self) -> list[str]:
        """Return the recordings of the configured folder, sorted; files alone, whatever a link points to outside."""
        if self.recordings is None:
            return []
        root = self.recordings.resolve()
        files = (path for path in sorted(self.recordings.rglob("*")) if suffix_of(path.name) and path.is_file())
        return [str(path.relative_to(self.recordings)) for path in files if path.resolve().is_relative_to(root)]

    def sweep(self, in_use: set[str]) -> int:
        """Delete uploads that no job waits for, half-written ones after an hour; returns how many."""
        n_deleted = 0
        for path in self.uploads.glob("*"):
            is_old = time.time() - path.stat().st_mtime > _ABANDONED_S
            if path.name not in in_use and is_old:
                path.unlink(missing_ok=True)
                n_deleted += 1
        return n_deleted


def suffix_of(name: str) -> str:
    """Return the ending of a file name that some reader takes, "" where none does."""
    return max((suffix for suffix in SUFFIXES if name.lower().endswith(suffix)), key=len, default="")


async def store(body: AsyncIterator[bytes], places: Places, suffix: str) -> str:
    """Write a body to a new upload and return its name; nothing stays where it breaks off.

    Raises Refusal 400 for an empty body, 507 where the disk is full.
    """
    name = f"{uuid4().hex}{suffix}"
    partial, n_bytes = places.uploads / f"{name}{PARTIAL}", 0
    try:
        file = await to_thread.run_sync(lambda: partial.open("wb"))
        try:
            encrypted = None if places.keys is None else EncryptedWriter(file, places.keys)
            write: Callable[[bytes], object] = file.write if encrypted is None else encrypted.write
            async for part in body:
                n_bytes += len(part)
                await to_thread.run_sync(write, part)
            if encrypted is not None:
                encrypted.finish()
            await to_thread.run_sync(_settle, file)
        finally:
            file.close()
        if n_bytes == 0:
            raise Refusal(400, "empty_body", "the upload holds no byte", "send the file as the request's body")
        partial.replace(places.uploads / name)
    except OSError as error:
        raise Refusal(
            507, "storage_full", f"the upload cannot be stored ({type(error).__name__})",
            "nothing was accepted; send it again later", 60.0,
        ) from error  # fmt: skip
    finally:
        partial.unlink(missing_ok=True)
    return name


def _settle(file: BinaryIO) -> None:
    """Bring a file's bytes to the disk."""
    file.flush()
    os.fsync(file.fileno())


def _within(folder: Path, name: str) -> Path:
    """Return a file of a folder; raises Refusal 404 for what is none, or lies outside, links followed."""
    missing = Refusal(404, "no_such_recording", "there is no recording of this name", "GET /recordings lists them")
    if not name or "\0" in name or len(name) > 400:
        raise missing
    root = folder.resolve()
    try:
        path = (root / name).resolve()
        inside = path.is_relative_to(root) and path.is_file()
    except (OSError, ValueError):
        raise missing from None
    if not inside:
        raise missing
    return path
