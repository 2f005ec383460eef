"""Where a run reads and writes: folders of this machine, or any file system that Beam knows (gs://, s3://, hdfs://).

One set of verbs for both. A file appears whole under its name or not at all: it is written under a temporary name and
renamed. Object stores rename a file by copying it within the store, and rename no folders; so a local run works in a
folder beside its output and renames that, and a remote run works in the output itself, of which `_COMPLETED` is the
last file. Beam is imported where a path is remote: a worker process of a local run starts without it.
"""

import hashlib
import json
import shutil
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO
from uuid import uuid4

from signals.files import PARTIAL, atomic_file

_RAW = {"mime_type": "application/octet-stream", "compression_type": "uncompressed"}
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
            _file_systems().get_filesystem(path)


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
        with _file_systems().create(partial, **_RAW) as file:
            yield file
        _file_systems().rename([partial], [path])
    except BaseException:
        with suppress(OSError):  # BeamIOError is one
            _file_systems().delete([partial])
        raise


def write_text(path: str, text: str) -> None:
    """Write a UTF-8 file, whole or not at all."""
    with create(path) as file:
        file.write(text.encode())


def write_rows(path: str, rows: Iterable[Mapping[str, Any]]) -> None:
    """Write a JSON object per line, sorted, so that the order in which rows came does not show."""
    write_text(path, "".join(sorted(json.dumps(row, sort_keys=True, ensure_ascii=False) + "\n" for row in rows)))


def join_files(path: str, parts: Iterable[str]) -> None:
    """Write the parts one behind the other, never all of them in memory."""
    with create(path) as whole:
        for part in parts:
            with open_file(part) as file:
                shutil.copyfileobj(file, whole, _BUFFER_BYTES)


@contextmanager
def open_file(path: str) -> Iterator[BinaryIO]:
    """Give a file to read, its bytes as they are, whatever compression its name suggests."""
    with _file_systems().open(path, **_RAW) if is_remote(path) else Path(path).open("rb") as file:
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
        return bool(_file_systems().exists(path))


def list_files(folder: str) -> list[str]:
    """Return the paths of all files below a folder, sorted; none where it does not exist."""
    if not is_remote(folder):
        return sorted(str(path) for path in Path(folder).rglob("*") if path.is_file())
    return match(join(folder, "**"))


def match(pattern: str) -> list[str]:
    """Return the remote files that a glob names, sorted: `*` within a folder, `**` across folders."""
    with _one_line(pattern):
        (matched,) = _file_systems().match([pattern])
    return sorted(file.path for file in matched.metadata_list if not file.path.endswith("/"))


def delete(path: str) -> None:
    """Remove a file if it is there."""
    if not is_remote(path):
        Path(path).unlink(missing_ok=True)
    elif exists(path):
        _file_systems().delete([path])


def delete_folder(folder: str) -> None:
    """Remove all files below a folder, and the folder."""
    if not is_remote(folder):
        shutil.rmtree(folder, ignore_errors=True)
    elif list_files(folder):
        _file_systems().delete([join(folder, "**")])


def working_folder(output: str) -> str:
    """Return where a run writes until it is complete: beside a local output, or the remote output itself."""
    return output if is_remote(output) else output.rstrip("/") + PARTIAL


def rename(path: str, new: str) -> None:
    """Give a file another name, in the place of what had it."""
    if not is_remote(path):
        Path(path).replace(new)
        return
    delete(new)
    _file_systems().rename([path], [new])


def move_folder(folder: str, new: str) -> None:
    """Give a folder another name, which must be free; nothing is done where there is no such folder."""
    if not is_remote(folder):
        if Path(folder).is_dir():
            Path(folder).rename(new)
        return
    for path in list_files(folder):
        rename(path, join(new, path.removeprefix(join(folder, ""))))


def _file_systems() -> Any:
    from apache_beam.io.filesystems import FileSystems

    return FileSystems


@contextmanager
def _one_line(path: str) -> Iterator[None]:
    """Turn what file systems raise into a StorageError."""
    try:
        yield
    except ValueError as error:
        raise StorageError(f"no file system for {path}: for gs:// install 'cerebeam[gcp]'") from error
    except OSError as error:
        raise StorageError(f"{path} cannot be reached: {str(error).splitlines()[0]}") from error
