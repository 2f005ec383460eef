"""Which files a run takes in: folders and globs to recordings, side files told apart, sites and subjects assigned."""

import glob
from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path, PurePosixPath

from pipelines.corpora.corpus import Corpus, Known, corpus_of
from pipelines.intake.discovery import CORPORA
from pipelines.runs import storage
from signals.readers.bids import place_of
from signals.windows.labels import Label, LabelTable, slug

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


def find_inputs(inputs: Sequence[str], table: LabelTable | None, corpora: tuple[Corpus, ...] = CORPORA) -> Inputs:
    """Return the recordings that folders, files and globs name, sorted by path.

    What is known of a file comes from the label file, else from its corpus' rule, else from the BIDS tree it lies in,
    else its folder is its site. Raises InputError where an input does not exist, matches nothing or holds no recording,
    where the label table names none of the files, and where a corpus' own table cannot be used.
    """
    paths = sorted({path for item in inputs for path in _expand(item)})
    side = [path for path in paths if _is_side_file(path, corpora)]
    recordings = sorted(set(paths) - set(side))
    if not recordings:
        raise InputError(f"no recording among the {len(paths)} files of {' '.join(inputs)}")
    files = [_file_ref(path, table, corpora) for path in recordings]
    if table and len(table.unmatched(file.uri for file in files)) == len(table.entries):
        raise InputError(
            f"the label file names none of the {len(files)} recordings, e.g. {next(iter(table.entries))[1]}"
        )
    return Inputs(tuple(files), tuple(side))


def _expand(item: str) -> list[str]:
    if storage.is_remote(item):
        return _expand_remote(item)
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


def _expand_remote(item: str) -> list[str]:
    """Return the remote files of a folder, a file or a glob."""
    found = storage.match(item) or storage.list_files(item)
    if not found:
        raise InputError(f"input {item} does not exist or holds no file")
    return found


def _is_side_file(path: str, corpora: tuple[Corpus, ...]) -> bool:
    name = PurePosixPath(path).name.lower()
    return any(fnmatch(name, pattern) for pattern in SIDE_FILES) or any(
        fnmatch(path, pattern) for corpus in corpora for pattern in corpus.side_files
    )


def _file_ref(path: str, table: LabelTable | None, corpora: tuple[Corpus, ...]) -> FileRef:
    corpus = corpus_of(path, corpora)
    place = place_of(Path(path)) if corpus is None else None
    if corpus:
        site_id, known = corpus.site_id, _known(corpus, path)
    elif place:
        site_id, known = slug(place.dataset), Known(subject=place.subject)
    else:
        site_id, known = slug(PurePosixPath(path).parent.name), Known()
    entry = table.of(path, site_id) if table else None
    return FileRef(
        uri=path,
        site_id=(entry.site if entry else "") or site_id,
        subject=(entry.subject if entry else "") or known.subject,
        mains_hz=corpus.mains_hz if corpus else None,
        labels=(entry.labels if entry else ()) or known.labels,
    )


def _known(corpus: Corpus, path: str) -> Known:
    try:
        return corpus.known(Path(path))
    except (OSError, ValueError, LookupError) as error:
        raise InputError(f"label rule of {corpus.site_id}: {error}") from error
