"""Which files a run takes in: folders and globs to recordings, other files set apart, sites and subjects assigned."""

import glob
import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatch
from pathlib import Path

from pipelines.corpora.corpus import Corpus, Known, corpus_of
from pipelines.intake.candidates import could_be_recording
from pipelines.intake.discovery import CORPORA
from pipelines.intake.sites import SiteRule
from pipelines.intake.tables import Tables, copied_tables
from pipelines.runs import storage
from signals.readers.bids import Place, place_of
from signals.windows.labels import UNKNOWN_SOURCE, Entry, Label, LabelTable, Origin, slug


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
    label_source: str = UNKNOWN_SOURCE
    """Who labelled it; one of `signals.windows.labels.LABEL_SOURCES`."""
    file_order: int | None = None
    """Place among its site's files by the numbers in their names, letters ignored; files of the same numbers share it.
    None without a number."""


@dataclass(frozen=True)
class Inputs:
    """All files of a run."""

    files: tuple[FileRef, ...]
    """What is, or could be, a recording."""
    side_files: tuple[str, ...]
    """What is none: it belongs to a recording, describes the folder, or is something else altogether."""
    unmatched_lines: tuple[int, ...] = ()
    """Lines of the label file whose recording is not among the files; the first line of each recording."""


@dataclass(frozen=True)
class _Candidate:
    """A recording, and what names it."""

    path: str
    corpus: Corpus | None
    place: Place | None
    known: Known

    def origin(self, rule: SiteRule) -> Origin:
        """Return the names that a label file may call its site by."""
        if self.corpus and rule.source != "label":
            return Origin((self.corpus.site_id,), is_declared=True)
        names = (Path(self.path).parent.name, self.place.dataset if self.place else "")
        sites = (*([self.corpus.site_id] if self.corpus else []), *(slug(name) for name in names if name))
        return Origin(sites, is_declared=rule.source == "folder")


def find_inputs(
    inputs: Sequence[str],
    table: LabelTable | None,
    corpora: tuple[Corpus, ...] = CORPORA,
    *,
    sites: SiteRule = SiteRule(),  # noqa: B008  frozen
) -> Inputs:
    """Return the recordings that folders, files and globs name, sorted by path.

    Links are read, never resolved: names, folders and sidecars are those of the tree as it is given. Hidden folders are
    passed over. Subject and labels of a file come from the label file, else from its corpus' rule, else (the subject)
    from the BIDS tree that it lies in; its site comes from the rule of the run.

    Raises InputError where an input does not exist, matches nothing or holds no recording, where the label table names
    none of the files, and where a corpus' own table cannot be used; LabelError for a label row that fits several files.
    """
    named = {os.path.abspath(item) for item in inputs if not storage.is_remote(item) and os.path.isfile(item)}
    paths = sorted({path for item in inputs for path in _expand(item)})
    recordings = [path for path in paths if path in named or _could_be(path, corpora)]
    if not recordings:
        raise InputError(f"no recording among the {len(paths)} files of {' '.join(inputs)}")
    with copied_tables() as tables:
        candidates = [_candidate(path, corpora, tables) for path in recordings]
    entries = table.match({each.path: each.origin(sites) for each in candidates}) if table else {}
    if table and not entries:
        line = next(iter(table.entries.values())).line
        raise InputError(f"the label file names none of the {len(recordings)} recordings, e.g. in line {line}")
    matched = {id(entry) for entry in entries.values()}
    return Inputs(
        files=in_file_order([_file_ref(each, entries.get(each.path), sites) for each in candidates]),
        side_files=tuple(sorted(set(paths) - set(recordings))),
        unmatched_lines=tuple(
            entry.line for entry in (table.entries.values() if table else ()) if id(entry) not in matched
        ),
    )


def _expand(item: str) -> list[str]:
    if storage.is_remote(item):
        paths = [path for path in storage.match(item) or storage.list_files(item) if not _is_hidden(path, item)]
    elif os.path.isdir(item):
        paths = list(_walk(item, set()))
    elif os.path.lexists(item):
        paths = [item]
    else:
        paths = [path for path in glob.glob(item, recursive=True) if not os.path.isdir(path)]
    if not paths:
        raise InputError(f"input {item} does not exist or holds no file")
    return paths if storage.is_remote(item) else [os.path.abspath(path) for path in paths]


def _walk(folder: str, seen: set[str]) -> Iterator[str]:
    """Yield the files below a folder, also behind linked folders, each folder once; hidden folders are passed over."""
    real = os.path.realpath(folder)
    if real in seen:
        return
    seen.add(real)
    with os.scandir(folder) as entries:
        ordered = sorted(entries, key=lambda entry: entry.name)
    for entry in ordered:
        if not entry.is_dir():  # a link to nothing is a file that is missing
            yield entry.path
        elif not entry.name.startswith("."):
            yield from _walk(entry.path, seen)


def _is_hidden(path: str, item: str) -> bool:
    """Return whether a remote file lies in a hidden folder below what was given."""
    below = path.removeprefix(item.split("*")[0])
    return any(part.startswith(".") for part in below.split("/")[:-1])


def _could_be(path: str, corpora: tuple[Corpus, ...]) -> bool:
    sides = (pattern for corpus in corpora for pattern in corpus.side_files)
    return not any(fnmatch(path, pattern) for pattern in sides) and could_be_recording(path)


def _candidate(path: str, corpora: tuple[Corpus, ...], tables: Tables) -> _Candidate:
    corpus = corpus_of(path, corpora)
    if corpus is not None:
        return _Candidate(path, corpus, None, _known(corpus, path, tables))
    place = place_of(tables.of_bids(path))
    return _Candidate(path, None, place, Known(subject=place.subject if place else ""))


def _file_ref(candidate: _Candidate, entry: Entry | None, sites: SiteRule) -> FileRef:
    path, corpus, place, known = candidate.path, candidate.corpus, candidate.place, candidate.known
    site_id = sites.site_id(
        path,
        corpus=corpus.site_id if corpus else "",
        dataset=place.dataset if place else "",
        labelled=entry.site if entry else "",
    )
    return FileRef(
        uri=path,
        site_id=site_id,
        subject=(entry.subject if entry else "") or known.subject,
        mains_hz=corpus.mains_hz if corpus else None,
        labels=(entry.labels if entry else ()) or known.labels,
        label_source=_label_source(entry, known),
    )


def _label_source(entry: Entry | None, known: Known) -> str:
    """Return who labelled: by the label file, or by the corpus' rule where the labels are its own."""
    if entry is None or not entry.labels:
        return known.label_source
    if entry.label_source == UNKNOWN_SOURCE and entry.labels == known.labels:
        return known.label_source
    return entry.label_source


def in_file_order(files: Sequence[FileRef]) -> tuple[FileRef, ...]:
    """Return files with their `file_order`, in the order given.

    Names say who was recorded, so only the numbers in them count, and only as ranks: enough to see whether the classes
    of a task were recorded in blocks.
    """
    numbers = {
        ref.uri: tuple(map(int, re.findall(r"\d+", ref.uri.rsplit("/", 1)[-1].partition(".")[0]))) for ref in files
    }
    by_site: dict[str, set[tuple[int, ...]]] = {}
    for ref in files:
        by_site.setdefault(ref.site_id, set()).update({numbers[ref.uri]} - {()})
    places = {site: {one: place for place, one in enumerate(sorted(some))} for site, some in by_site.items()}
    return tuple(
        replace(ref, file_order=places[ref.site_id][numbers[ref.uri]] if numbers[ref.uri] else None) for ref in files
    )


def _known(corpus: Corpus, path: str, tables: Tables) -> Known:
    try:
        known = corpus.known(tables.beside(path, corpus.tables))
        if not storage.is_remote(path):
            return known
        labels = (replace(label, spectrogram_uri=tables.uri(label.spectrogram_uri)) for label in known.labels)
        return replace(known, labels=tuple(labels))
    except (OSError, ValueError, LookupError) as error:
        raise InputError(f"label rule of {corpus.site_id}: {error}") from error
