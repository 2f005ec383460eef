"""Which files a run takes in: folders and globs to recordings, side files told apart, sites and subjects assigned."""

import glob
from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path, PurePosixPath

from pipelines.corpora.corpus import Corpus, corpus_of
from signals.labels import LabelTable, slug
from signals.prepare import Label

SIDE_FILES = (
    "*.eeg", "*.vmrk", "*.fdt", "*.tsv", "*.json", "*.jsonl", "*.md", "*.html", "labels*.csv", "manifest.csv",
    "readme*", "license*", "metadata*.csv", "subject-info*.csv", "participants*.csv", "*.partial", ".*", "_completed",
)  # fmt: skip
"""Names (in lower case) that belong to a recording or describe a folder, and are no recordings themselves."""


class InputError(ValueError):
    """Inputs that name no recording; the message says which."""


@dataclass(frozen=True)
class FileRef:
    """A file to read, and what is known about it from outside."""

    uri: str
    site_id: str
    subject: str
    """Subject as the label file names it, empty if it does not; hashed as soon as the file is opened."""
    mains_hz: float | None
    labels: tuple[Label, ...]


@dataclass(frozen=True)
class Inputs:
    """All files of a run: recordings to read and side files left aside."""

    files: tuple[FileRef, ...]
    side_files: tuple[str, ...]


def find_inputs(inputs: Sequence[str], table: LabelTable | None, corpora: tuple[Corpus, ...]) -> Inputs:
    """Return the recordings that folders, files and globs name, sorted by path.

    Raises InputError where an input does not exist, matches nothing or holds no recording, and where the label table
    names none of the files.
    """
    paths = sorted({path for item in inputs for path in _expand(item)})
    side = [path for path in paths if _is_side_file(path)]
    recordings = [path for path in paths if not _is_side_file(path)]
    if not recordings:
        raise InputError(f"no recording among the {len(paths)} files of {' '.join(inputs)}")
    files = [_file_ref(path, table, corpora) for path in recordings]
    if table and len(table.unmatched(file.uri for file in files)) == len(table.entries):
        raise InputError(
            f"the label file names none of the {len(files)} recordings, e.g. {next(iter(table.entries))[1]}"
        )
    return Inputs(tuple(files), tuple(side))


def _expand(item: str) -> list[str]:
    path = Path(item)
    if path.is_dir():
        found = [str(p) for p in path.rglob("*") if p.is_file()]
    elif path.is_file():
        found = [str(path)]
    else:
        found = [p for p in glob.glob(item, recursive=True) if Path(p).is_file()]
    if not found:
        raise InputError(f"input {item} does not exist or holds no file")
    return [str(Path(p).resolve()) for p in found]


def _is_side_file(path: str) -> bool:
    name = PurePosixPath(path).name.lower()
    return any(fnmatch(name, pattern) for pattern in SIDE_FILES)


def _file_ref(path: str, table: LabelTable | None, corpora: tuple[Corpus, ...]) -> FileRef:
    corpus = corpus_of(path, corpora)
    site_id = corpus.site_id if corpus else slug(PurePosixPath(path).parent.name)
    entry = table.of(path, site_id) if table else None
    if entry and entry.site:
        site_id = entry.site
    return FileRef(
        uri=path,
        site_id=site_id,
        subject=entry.subject if entry else "",
        mains_hz=corpus.mains_hz if corpus else None,
        labels=entry.labels if entry else (),
    )
