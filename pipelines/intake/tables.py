"""Tables beside remote recordings, copied to this machine so that rules read them as they read local ones."""

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from pipelines.runs import storage
from signals.readers.bids import BIDS_TABLES, bids_root


@dataclass(frozen=True)
class Tables:
    """Copies of tables in a folder of this machine, in folders named as those that they come from.

    A remote recording is stood for by the path that it would have among them; there is no file at that path.
    """

    folder: Path
    _copied: set[str] = field(default_factory=set)

    def beside(self, uri: str, tables: Sequence[str]) -> Path:
        """Return the path of a recording beside tables, given relative to its folder; a local one's is its own."""
        path = self._path(uri)
        if storage.is_remote(uri):
            for table in tables:
                levels = table.count("../")
                self._copy(uri.rsplit("/", 1 + levels)[0], path.parents[levels], table.rpartition("/")[2])
        return path

    def of_bids(self, uri: str) -> Path:
        """Return the path of a recording within its BIDS tree, of which the tables of its root are there."""
        path = self._path(uri)
        root = bids_root(path)
        if storage.is_remote(uri) and root is not None:
            levels = len(path.relative_to(root).parts)
            for table in BIDS_TABLES:
                self._copy(uri.rsplit("/", levels)[0], root, table)
        return path

    def uri(self, path: str) -> str:
        """Return the URI that a path among the tables stands for; other paths as they are."""
        if not path.startswith(f"{self.folder}/"):
            return path
        scheme, _, rest = path.removeprefix(f"{self.folder}/").partition("/")
        return f"{scheme}://{rest}"

    def _path(self, uri: str) -> Path:
        return self.folder / uri.replace("://", "/", 1) if storage.is_remote(uri) else Path(uri)

    def _copy(self, remote_folder: str, folder: Path, name: str) -> None:
        uri = storage.join(remote_folder, name)
        if uri in self._copied:
            return
        self._copied.add(uri)
        if storage.exists(uri):
            folder.mkdir(parents=True, exist_ok=True)
            with storage.open_file(uri) as file:
                (folder / name).write_bytes(file.read())


@contextmanager
def copied_tables() -> Iterator[Tables]:
    """Give a place for tables that is removed when the block ends."""
    with tempfile.TemporaryDirectory() as folder:
        yield Tables(Path(folder))
