"""cerebeam backup create|verify|restore: whole copies of a server's data folder, verified before they are put back.

Databases of SQLite are copied while they are written, through SQLite itself. Records in PostgreSQL are not in the
folder: pg_dump copies those.
"""

import argparse
import json
import shutil
import sqlite3
import sys
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from signals.command_line import Parser, SubParser, whole
from signals.files import PARTIAL, atomic_file, atomic_folder, file_sha256
from signals.json_output import add_json, print_json

MANIFEST = "backup.json"
_MAGIC = b"SQLite format 3\0"
_BESIDE = ("-wal", "-shm", "-journal")


class BackupError(ValueError):
    """A backup that cannot be made or used; the message is one line."""


@dataclass(frozen=True, kw_only=True)
class Entry:
    """A file of a backup."""

    path: str
    n_bytes: int
    sha256: str


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """What a backup holds."""

    created: str
    entries: tuple[Entry, ...]


def create(data: Path, into: Path, *, keep: int = 0) -> Path:
    """Copy a data folder into a new folder named by the moment; returns it. Keeps the newest `keep` backups, 0: all.

    Databases are copied first: what they name was there before. Raises BackupError for a folder that is none, for one
    within the other, and for a damaged database.
    """
    data, into = data.resolve(), into.resolve()
    if not data.is_dir():
        raise BackupError(f"{data} is not a folder")
    if into.is_relative_to(data) or data.is_relative_to(into):
        raise BackupError(f"{into} and {data}: a backup belongs somewhere else, on storage of its own")
    moment = datetime.now(UTC)
    target = into / moment.strftime("%Y%m%dT%H%M%S.%fZ")
    into.mkdir(parents=True, exist_ok=True)
    with atomic_folder(target) as folder:
        files = sorted(_files(data), key=lambda path: (not _is_database(path), path))
        entries = [entry for path in files if (entry := _copy(path, data, folder)) is not None]
        manifest = Manifest(created=moment.isoformat(), entries=tuple(sorted(entries, key=lambda entry: entry.path)))
        with atomic_file(folder / MANIFEST) as file:
            file.write(json.dumps(asdict(manifest), indent=1).encode("utf-8"))
    if keep:
        for old in backups(into)[:-keep]:
            shutil.rmtree(old)
    return target


def backups(folder: Path) -> Sequence[Path]:
    """Return the whole backups of a folder, oldest first."""
    return sorted(path.parent for path in folder.glob(f"*/{MANIFEST}") if not path.parent.name.endswith(PARTIAL))


def verify(backup: Path) -> Manifest:
    """Return the manifest of a backup whose every file is there with its digest. Raises BackupError."""
    try:
        fields = json.loads((backup / MANIFEST).read_text(encoding="utf-8"))
        manifest = Manifest(created=fields["created"], entries=tuple(Entry(**entry) for entry in fields["entries"]))
    except OSError as error:
        raise BackupError(f"{backup} is no backup: {MANIFEST}: {error.strerror}") from None
    except (ValueError, KeyError, TypeError):
        raise BackupError(f"{backup}: {MANIFEST} is damaged") from None
    for entry in manifest.entries:
        path = (backup / entry.path).resolve()
        if not path.is_relative_to(backup.resolve()) or not path.is_file():
            raise BackupError(f"{backup}: {entry.path} is missing")
        if file_sha256(path) != entry.sha256:
            raise BackupError(f"{backup}: {entry.path} is damaged: its sha256 is not the one that was written down")
    return manifest


def restore(backup: Path, to: Path) -> Manifest:
    """Put a backup's files in place, all of them or none; returns its manifest.

    Raises BackupError for a damaged backup and for a folder that holds anything.
    """
    manifest = verify(backup)
    try:
        with atomic_folder(to) as folder:
            folder.chmod(0o700)
            for entry in manifest.entries:
                place = folder / entry.path
                place.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(backup / entry.path, place)
                place.chmod(0o600)
                if file_sha256(place) != entry.sha256:
                    raise BackupError(f"{entry.path} was not restored whole")
    except BackupError:
        raise
    except ValueError as error:
        raise BackupError(f"{error}: move it away first, nothing is overwritten") from None
    return manifest


def _files(data: Path) -> Iterator[Path]:
    for path in data.rglob("*"):
        if path.is_file() and not path.is_symlink() and not path.name.endswith((PARTIAL, *_BESIDE)):
            yield path


def _is_database(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(len(_MAGIC)) == _MAGIC


def _copy(path: Path, data: Path, folder: Path) -> Entry | None:
    """Copy one file; None for one that is gone by now."""
    name = path.relative_to(data)
    place = folder / name
    place.parent.mkdir(parents=True, exist_ok=True)
    try:
        if _is_database(path):
            _copy_database(path, place)
        else:
            shutil.copyfile(path, place)
    except FileNotFoundError:
        return None
    content = place.stat().st_size, file_sha256(place)
    return Entry(path=name.as_posix(), n_bytes=content[0], sha256=content[1])


def _copy_database(path: Path, place: Path) -> None:
    try:
        with closing(sqlite3.connect(path, timeout=60)) as source, closing(sqlite3.connect(place)) as target:
            source.backup(target)
            target.execute("PRAGMA journal_mode=DELETE")
            problem = target.execute("PRAGMA integrity_check").fetchone()[0]
    except sqlite3.DatabaseError as error:
        raise BackupError(f"{path}: {error}") from None
    if problem != "ok":
        raise BackupError(f"{path} is damaged: {str(problem).splitlines()[0]}")


def parse_args(argv: Sequence[str] | None) -> argparse.Namespace:
    """Return the parsed command line."""
    parser = Parser(prog="cerebeam backup", description=(__doc__ or "").split(": ", 1)[1])
    commands = parser.add_subparsers(dest="command", required=True, parser_class=SubParser)
    one = commands.add_parser("create", description="copy a data folder while it is in use")
    one.add_argument("data", type=Path)
    one.add_argument("--into", type=Path, required=True, help="folder of backups, on storage of its own")
    one.add_argument("--newest", type=whole, default=0, help="how many backups stay; 0: all")
    one = commands.add_parser("verify", description="is every file there, with its digest?")
    one.add_argument("backup", type=Path)
    one = commands.add_parser("restore", description="put a backup in place, all of it or nothing")
    one.add_argument("backup", type=Path, help="one backup, or a folder of backups, whose newest is taken")
    one.add_argument("--to", type=Path, required=True, help="folder that does not exist, or is empty")
    for one in commands.choices.values():
        add_json(one, "the backup, its files and bytes, and where it was restored to")
    return parser.parse_args(argv)


@dataclass(frozen=True, kw_only=True)
class Done:
    """What a command did."""

    backup: Path
    created: str
    n_files: int
    n_bytes: int
    restored_to: Path | None = None

    def line(self, command: str) -> str:
        """Return it in one line."""
        summary = f"{self.n_files} files, {self.n_bytes / 1e6:.1f} MB, of {self.created}"
        if command == "restore":
            return f"{self.restored_to}: restored from {self.backup}, {summary}"
        return f"{self.backup}: {'whole, ' if command == 'verify' else ''}{summary}"


def _run(args: argparse.Namespace) -> Done:
    if args.command == "create":
        folder = create(args.data, args.into, keep=args.newest)
        return _done(folder, verify(folder))
    backup = args.backup
    if not (backup / MANIFEST).exists() and (found := backups(backup)):
        backup = found[-1]
    if args.command == "verify":
        return _done(backup, verify(backup))
    return replace(_done(backup, restore(backup, args.to)), restored_to=args.to)


def _done(backup: Path, manifest: Manifest) -> Done:
    n_bytes = sum(entry.n_bytes for entry in manifest.entries)
    return Done(backup=backup, created=manifest.created, n_files=len(manifest.entries), n_bytes=n_bytes)


def main(argv: Sequence[str] | None = None) -> int:
    """Run from the command line; returns 0, 1 where a backup is not whole or cannot be made."""
    args = parse_args(argv)
    try:
        done = _run(args)
        if args.json:
            print_json(done)
        else:
            print(done.line(args.command))  # noqa: T201
    except BackupError as error:
        print(f"cerebeam backup: {error}", file=sys.stderr)  # noqa: T201
        return 1
    except OSError as error:
        print(f"cerebeam backup: {error.filename}: {error.strerror}", file=sys.stderr)  # noqa: T201
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
