"""Which files a run takes in: folders and globs to recordings, other files set apart, sites and subjects assigned."""

import glob
import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

from pipelines.intake.candidates import could_be_recording, is_folder_recording, parts_of_records
from pipelines.intake.hms import HMS
from pipelines.intake.sites import SiteRule
from pipelines.intake.tables import Tables, copied_tables
from pipelines.runs import storage
from signals.readers.bids import Place, place_of
from signals.readers.declaration import NOTHING_DECLARED, Declaration
from signals.sites.card import CARD_NAMES, CardError, Known, SiteCard, card_of, check_distinct
from signals.sites.card_file import read_card
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
    declared: Declaration = NOTHING_DECLARED
    """How the file is read, by the card of its site."""


@dataclass(frozen=True)
class Inputs:
    """All files of a run."""

    files: tuple[FileRef, ...]
    """What is, or could be, a recording."""
    side_files: tuple[str, ...]
    """What is none: it belongs to a recording, describes the folder, or is something else altogether."""
    unmatched_lines: tuple[int, ...] = ()
    """Lines of the label file whose recording is not among the files; the first line of each recording."""
    carded_sites: tuple[str, ...] = ()
    """Sites whose names came with a card."""


@dataclass(frozen=True)
class _Candidate:
    """A recording, and what names it."""

    path: str
    card: SiteCard | None
    place: Place | None
    known: Known

    def origin(self, rule: SiteRule) -> Origin:
        """Return the names that a label file may call its site by."""
        if self.card and rule.source != "label":
            return Origin((self.card.site_id,), is_declared=True)
        names = (Path(self.path).parent.name, self.place.dataset if self.place else "")
        sites = (*([self.card.site_id] if self.card else []), *(slug(name) for name in names if name))
        return Origin(sites, is_declared=rule.source == "folder")


def find_inputs(
    inputs: Sequence[str],
    table: LabelTable | None,
    cards: Sequence[SiteCard] = (),
    *,
    sites: SiteRule = SiteRule(),  # noqa: B008  frozen
) -> Inputs:
    """Return the recordings that folders, files and globs name, sorted by path.

    Links are read, never resolved: names, folders and sidecars are those of the tree as it is given. Hidden folders are
    passed over. `cards` are those that were given; others are found beside the data under a name of `CARD_NAMES`.
    Subject and labels of a file come from the label file, else from its card's rule, else (the subject) from the BIDS
    tree that it lies in; its site comes from the rule of the run.

    Raises InputError where an input does not exist, matches nothing or holds no recording, where the label table names
    none of the files; LabelError for a label row that fits several files; CardError for a card, or a table of one,
    that cannot be used.
    """
    named = {os.path.abspath(item) for item in inputs if not storage.is_remote(item) and os.path.isfile(item)}
    paths = sorted({path for item in inputs for path in _expand(item)})
    cards = (*cards, *_cards_beside(paths))
    check_distinct(cards)
    parts = parts_of_records(paths)
    recordings = [path for path in paths if path in named or (path not in parts and _could_be(path, cards))]
    if not recordings:
        raise InputError(f"no recording among the {len(paths)} files of {' '.join(inputs)}")
    with copied_tables() as tables:
        candidates = [_candidate(path, cards, tables) for path in recordings]
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
        carded_sites=tuple(sorted({each.card.site_id for each in candidates if each.card})),
    )


def _expand(item: str) -> list[str]:
    if storage.is_remote(item):
        paths = [path for path in storage.match(item) or storage.list_files(item) if not _is_hidden(path, item)]
    elif os.path.isdir(item) and not is_folder_recording(item):
        paths = list(_walk(item, set()))
    elif os.path.lexists(item):
        paths = [item]
    else:
        found = glob.glob(item, recursive=True)
        paths = [path for path in found if not os.path.isdir(path) or is_folder_recording(path)]
        paths = [path for path in paths if not is_folder_recording(os.path.dirname(path))]
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
        if not entry.is_dir() or is_folder_recording(entry.path):  # a link to nothing is a file that is missing
            yield entry.path
        elif not entry.name.startswith("."):
            yield from _walk(entry.path, seen)


def _is_hidden(path: str, item: str) -> bool:
    """Return whether a remote file lies in a hidden folder below what was given."""
    below = path.removeprefix(item.split("*")[0])
    return any(part.startswith(".") for part in below.split("/")[:-1])


def _cards_beside(paths: Sequence[str]) -> list[SiteCard]:
    """Return the cards that lie in the files' folders."""
    folders = sorted({path.rpartition("/")[0] for path in paths if not storage.is_remote(path)})
    local = {f"{folder}/{name}" for folder in folders for name in CARD_NAMES if os.path.isfile(f"{folder}/{name}")}
    remote = {path for path in paths if storage.is_remote(path) and PurePosixPath(path).name in CARD_NAMES}
    return [read_card(path, is_beside=True, read_text=storage.read_text) for path in sorted(local | remote)]


def _could_be(path: str, cards: Sequence[SiteCard]) -> bool:
    return not any(card.is_side_file(path) for card in (*cards, *HMS)) and could_be_recording(path)


def _candidate(path: str, cards: Sequence[SiteCard], tables: Tables) -> _Candidate:
    card = card_of(path, cards) or card_of(path, HMS)
    if card is not None:
        return _Candidate(path, card, None, _known(card, path, tables))
    place = place_of(tables.of_bids(path))
    return _Candidate(path, None, place, Known(subject=place.subject if place else ""))


def _file_ref(candidate: _Candidate, entry: Entry | None, sites: SiteRule) -> FileRef:
    path, card, place, known = candidate.path, candidate.card, candidate.place, candidate.known
    site_id = sites.site_id(
        path,
        card=card.site_id if card else "",
        dataset=place.dataset if place else "",
        labelled=entry.site if entry else "",
    )
    return FileRef(
        uri=path,
        site_id=site_id,
        subject=(entry.subject if entry else "") or known.subject,
        mains_hz=card.mains_hz if card else None,
        labels=(entry.labels if entry else ()) or known.labels,
        declared=card.declared if card else NOTHING_DECLARED,
        label_source=_label_source(entry, known),
    )


def _label_source(entry: Entry | None, known: Known) -> str:
    """Return who labelled: by the label file, or by the card where the labels are its own."""
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


def _known(card: SiteCard, path: str, tables: Tables) -> Known:
    try:
        if not card.tables or not storage.is_remote(path):
            return card.known(path)
        known = card.known(str(tables.beside(path, card.tables)))
        labels = (replace(label, spectrogram_uri=tables.uri(label.spectrogram_uri)) for label in known.labels)
        return replace(known, labels=tuple(labels))
    except CardError:
        raise
    except (OSError, ValueError, LookupError) as error:
        raise InputError(f"label rule of {card.site_id}: {error}") from error
