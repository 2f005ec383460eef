"""Where a run reads and writes: folders of this machine, or any file system that Beam knows (gs://, s3://, hdfs://).

One set of verbs for both. A file appears whole under its name or not at all: it is written under a temporary name and
renamed. Object stores rename a file by copying it within the store, and rename no folders; so a local run works in a
folder beside its output and renames that, and a remote run works in the output itself, of which `_COMPLETED` is the
last file.
"""

import hashlib
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO
from uuid import uuid4

from apache_beam.io.filesystem import BeamIOError, CompressionTypes
from apache_beam.io.filesystems import FileSystems

from signals.files import PARTIAL, atomic_file

_RAW = {"mime_type": "application/octet-stream", "compression_type": CompressionTypes.UNCOMPRESSED}
_BUFFER_BYTES = 1 << 20


class StorageError(OSError):
    """A file system that is not installed or does not answer; the message is one line."""


def is_remote(path: str) -> bool:
    """Return whether the path is a URI of another file system than this machine's."""
    return "://" in path and not path.startswith("file://")


def check_scheme(path: str) -> None:
    """Raise StorageError where no installed Beam file system knows the path."""
    if is_remote(path):
        with _one_line(path):
            FileSystems.get_filesystem(path)


def join(folder: str, *parts: str) -> str:
    """Return the path of something inside a folder, "/" between the parts."""
    return "/".join([folder.rstrip("/"), *parts])


@contextmanager
def create(path: str) -> Iterator[BinaryIO]:
    """Give a file to write that takes its name when the block ends; where the block raises, nothing is left behind."""
    if not is_remote(path):
        with atomic_file(Path(path)) as file:
            yield file
        return
    folder, _, name = path.rpartition("/")
    partial = join(folder, f".{name}.{uuid4().hex}{PARTIAL}")
    try:
        with FileSystems.create(partial, **_RAW) as file:
            yield file
        FileSystems.rename([partial], [path])
    except BaseException:
        with suppress(BeamIOError):
            FileSystems.delete([partial])
        raise


def write_text(path: str, text: str) -> None:
    """Write a UTF-8 file, whole or not at all."""
    with create(path) as file:
        file.write(text.encode())


@contextmanager
def open_file(path: str) -> Iterator[BinaryIO]:
    """Give a file to read, its bytes as they are, whatever its name says of compression."""
    with FileSystems.open(path, **_RAW) if is_remote(path) else Path(path).open("rb") as file:
        yield file


def read_text(path: str) -> str:
    """Return the text of a UTF-8 file; raises FileNotFoundError where there is none."""
    if not exists(path):
        raise FileNotFoundError(path)
    with open_file(path) as file:
        return file.read().decode()


def sha256(path: str) -> str:
    """Return the sha256 of a file, 64 hex digits, read in pieces."""
    digest = hashlib.sha256()
    with open_file(path) as file:
        while piece := file.read(_BUFFER_BYTES):
            digest.update(piece)
    return digest.hexdigest()


def exists(path: str) -> bool:
    """Return whether there is a file of that name."""
    if not is_remote(path):
        return Path(path).is_file()
    with _one_line(path):
        return bool(FileSystems.exists(path))


def list_files(folder: str) -> list[str]:
    """Return the paths of all files below a folder, sorted; none where it does not exist."""
    if not is_remote(folder):
        return sorted(str(path) for path in Path(folder).rglob("*") if path.is_file())
    return match(join(folder, "**"))


def match(pattern: str) -> list[str]:
    """Return the remote files that a glob names, sorted: `*` within a folder, `**` across folders."""
    with _one_line(pattern):
        (found,) = FileSystems.match([pattern])
    return sorted(file.path for file in found.metadata_list if not file.path.endswith("/"))


def delete(path: str) -> None:
    """Remove a file if it is there."""
    if not is_remote(path):
        Path(path).unlink(missing_ok=True)
    elif exists(path):
        FileSystems.delete([path])


def delete_folder(folder: str) -> None:
    """Remove all files below a folder, and the folder."""
    if not is_remote(folder):
        shutil.rmtree(folder, ignore_errors=True)
    elif list_files(folder):
        FileSystems.delete([join(folder, "**")])


def working_folder(output: str) -> str:
    """Return where a run writes until it is complete: beside a local output, or the remote output itself."""
    return output if is_remote(output) else output.rstrip("/") + PARTIAL


def rename(path: str, new: str) -> None:
    """Give a file another name, in the place of what had it."""
    if not is_remote(path):
        Path(path).replace(new)
        return
    delete(new)
    FileSystems.rename([path], [new])


def move_folder(folder: str, new: str) -> None:
    """Give a folder another name, which must be free; nothing is done where there is no such folder."""
    if not is_remote(folder):
        if Path(folder).is_dir():
            Path(folder).rename(new)
        return
    for path in list_files(folder):
        rename(path, join(new, path.removeprefix(join(folder, ""))))


@contextmanager
def _one_line(path: str) -> Iterator[None]:
    """Turn what file systems raise into a StorageError."""
    try:
        yield
    except ValueError as error:
        raise StorageError(f"no file system for {path}: for gs:// install 'cerebeam[gcp]'") from error
    except BeamIOError as error:
        raise StorageError(f"{path} cannot be reached: {str(error).splitlines()[0]}") from error
