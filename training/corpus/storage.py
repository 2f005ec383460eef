"""Files by URI: local paths, and whatever fsspec knows (s3://, hdfs://, memory://); gs:// by Google's own client.

An object store takes a file whole or not at all; a local file is written beside and renamed.
"""

import importlib.util
import os
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from io import BytesIO
from pathlib import Path
from typing import Any, BinaryIO, cast

import fsspec
import fsspec.core

from signals.files import atomic_file

URI = str | Path
_CHUNK_BYTES = 1 << 20


class StorageError(OSError):
    """A file system that is not installed or does not answer; the message is one line."""


def is_remote(uri: URI) -> bool:
    """Return whether the URI names another file system than this machine's."""
    return "://" in str(uri) and not str(uri).startswith("file://")


def local_path(uri: URI) -> Path:
    """Return the path of a file of this machine."""
    return Path(str(uri).removeprefix("file://"))


def join(folder: URI, name: str) -> str:
    """Return the URI of a file in a folder."""
    return f"{str(folder).rstrip('/')}/{name}"


def open_read(uri: URI) -> BinaryIO:
    """Open a file for reading and seeking; raises FileNotFoundError where there is none."""
    if not is_remote(uri):
        return local_path(uri).open("rb")
    system, path = _system(str(uri))
    return cast(BinaryIO, system.open(path, "rb"))


def read_bytes(uri: URI) -> bytes:
    """Return a whole file; raises FileNotFoundError where there is none."""
    if not is_remote(uri):
        return local_path(uri).read_bytes()
    system, path = _system(str(uri))
    with _answers(uri):
        return cast(bytes, system.cat_file(path))


def write_bytes(uri: URI, raw: bytes) -> None:
    """Write a whole file, which is there whole or not at all."""
    if not is_remote(uri):
        with atomic_file(local_path(uri)) as file:
            file.write(raw)
        return
    system, path = _system(str(uri))
    with _answers(uri):
        system.pipe_file(path, raw)


def exists(uri: URI) -> bool:
    """Return whether there is a file of that name."""
    if not is_remote(uri):
        return local_path(uri).is_file()
    system, path = _system(str(uri))
    with _answers(uri):
        return bool(system.isfile(path))


@contextmanager
def _answers(uri: URI) -> Iterator[None]:
    """Raise StorageError for whatever a store's client raises that is no OSError."""
    try:
        yield
    except OSError:
        raise
    except Exception as error:
        raise StorageError(f"{uri}: {error!r}") from error


def _system(uri: str) -> tuple[fsspec.AbstractFileSystem, str]:
    """Return the file system of a URI, and the path in it."""
    try:
        if uri.startswith("gs://") and importlib.util.find_spec("gcsfs") is None:
            return _google(), uri.removeprefix("gs://")
        system, path = fsspec.core.url_to_fs(uri)
    except (ImportError, ValueError) as error:
        raise StorageError(f"{uri}: {error}") from error
    return system, str(path)


class GoogleStorage(fsspec.AbstractFileSystem):
    """Google Cloud Storage through google-cloud-storage, which the extra `gcp` brings; gcsfs is taken where it is."""

    protocol = "gs"
    cachable = False

    def __init__(self, client: Any, **options: Any) -> None:
        super().__init__(**options)
        self.client = client

    def blob(self, path: str) -> Any:
        """Return the object of a path "bucket/name"."""
        bucket, _, name = path.partition("/")
        return self.client.bucket(bucket).blob(name)

    def info(self, path: str, **options: Any) -> dict[str, Any]:
        """Return name, size and type of an object; raises FileNotFoundError where there is none."""
        blob = self.blob(path)
        if not blob.exists():
            raise FileNotFoundError(f"gs://{path}")
        blob.reload()
        return {"name": path, "size": blob.size, "type": "file"}

    def ls(self, path: str, detail: bool = True, **options: Any) -> list[Any]:
        """Return the objects below a path."""
        bucket, _, prefix = path.partition("/")
        found = [f"{bucket}/{blob.name}" for blob in self.client.list_blobs(bucket, prefix=f"{prefix}/")]
        return [{"name": name, "type": "file"} for name in found] if detail else found

    def cat_file(self, path: str, start: int | None = None, end: int | None = None, **options: Any) -> bytes:
        """Return an object's bytes."""
        from google.api_core.exceptions import NotFound

        try:
            raw: bytes = self.blob(path).download_as_bytes(start=start, end=None if end is None else end - 1)
        except NotFound as error:
            raise FileNotFoundError(f"gs://{path}") from error
        return raw

    def pipe_file(self, path: str, value: bytes, mode: str = "overwrite", **options: Any) -> None:
        """Write an object."""
        self.blob(path).upload_from_file(BytesIO(value), size=len(value))

    def rm_file(self, path: str) -> None:
        """Delete an object."""
        self.blob(path).delete()

    def _open(self, path: str, mode: str = "rb", **options: Any) -> Any:
        return self.blob(path).open(mode, chunk_size=_CHUNK_BYTES) if mode == "rb" else self.blob(path).open(mode)


@cache
def _client(emulator: str) -> Any:
    from google.cloud import storage

    return storage.Client.create_anonymous_client() if emulator else storage.Client()


def _google() -> GoogleStorage:
    return GoogleStorage(_client(os.environ.get("STORAGE_EMULATOR_HOST", "")))


def list_files(folder: URI) -> Iterator[str]:
    """Yield the URIs of the files directly in a folder, sorted; none where there is no such folder."""
    if not is_remote(folder):
        path = local_path(folder)
        yield from (str(p) for p in sorted(path.iterdir()) if p.is_file()) if path.is_dir() else ()
        return
    system, path_in = _system(str(folder))
    try:
        with _answers(folder):
            names = system.ls(path_in, detail=False)
    except FileNotFoundError:
        return
    scheme = str(folder).split("://", 1)[0]
    yield from sorted(f"{scheme}://{name.lstrip('/')}" for name in names)


def remove(uri: URI) -> None:
    """Delete a file."""
    if not is_remote(uri):
        local_path(uri).unlink()
        return
    system, path = _system(str(uri))
    with _answers(uri):
        system.rm_file(path)
