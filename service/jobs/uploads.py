"""Where recordings of jobs lie: uploads under a name of our own, or files of the configured folder."""

import os
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO
from uuid import uuid4

from anyio import to_thread

from service.refusals import Refusal
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

    def path_of(self, file: str, *, is_upload: bool) -> Path:
        """Return where a job's file lies; raises Refusal for a name that leads out of its folder."""
        folder = self.uploads if is_upload else self.recordings
        if folder is None:
            raise Refusal(404, "no_recordings_folder", "no folder of recordings is configured", "upload the file")
        return _within(folder, file)

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


async def store(body: AsyncIterator[bytes], folder: Path, suffix: str) -> str:
    """Write a body to a new file of the folder and return its name; nothing stays where it breaks off.

    Raises Refusal 400 for an empty body, 507 where the disk is full.
    """
    name = f"{uuid4().hex}{suffix}"
    partial, n_bytes = folder / f"{name}{PARTIAL}", 0
    try:
        file = await to_thread.run_sync(lambda: partial.open("wb"))
        try:
            async for part in body:
                n_bytes += len(part)
                await to_thread.run_sync(file.write, part)
            await to_thread.run_sync(_settle, file)
        finally:
            file.close()
        if n_bytes == 0:
            raise Refusal(400, "empty_body", "the upload holds no byte", "send the file as the request's body")
        partial.replace(folder / name)
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
