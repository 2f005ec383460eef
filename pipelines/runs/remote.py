"""Beam's file systems as the store that readers open remote recordings from."""

from collections.abc import Sequence
from typing import Any, BinaryIO, cast

from apache_beam.io.filesystem import BeamIOError, CompressionTypes
from apache_beam.io.filesystems import FileSystems

from pipelines.runs import storage
from signals.readers.remote import TransferError, register_store


class BeamStore:
    """`signals.readers.remote.Store` over whatever Beam knows: gs://, s3://, hdfs://."""

    def size(self, uri: str) -> int:
        """Return a file's length in bytes."""
        try:
            (matched,) = FileSystems.match([uri])
        except BeamIOError as error:
            raise TransferError(f"{uri}: {error}") from error
        if not matched.metadata_list:
            raise FileNotFoundError(uri)
        return int(matched.metadata_list[0].size_in_bytes)

    def open(self, uri: str) -> BinaryIO:
        """Return the file, seekable, its bytes as they are."""
        try:
            return cast("BinaryIO", _Retriable(FileSystems.open(uri, compression_type=CompressionTypes.UNCOMPRESSED)))
        except Exception as error:  # each file system raises its own
            raise TransferError(f"{uri}: {type(error).__name__}: {error}") from error

    def siblings(self, uri: str) -> Sequence[str]:
        """Return the URIs of all files in the file's folder."""
        try:
            return storage.match(storage.join(uri.rpartition("/")[0], "*"))
        except storage.StorageError as error:
            raise TransferError(str(error)) from error


class _Retriable:
    """A remote file whose failures say that they may pass."""

    def __init__(self, file: Any) -> None:
        self._file = file

    def seek(self, position: int) -> None:
        self._file.seek(position)

    def read(self, n_bytes: int) -> bytes:
        try:
            return bytes(self._file.read(n_bytes))
        except Exception as error:  # each file system raises its own
            raise TransferError(f"{type(error).__name__}: {error}") from error

    def close(self) -> None:
        self._file.close()


def register_remote() -> None:
    """Let the readers of this process open remote recordings."""
    register_store(BeamStore())
