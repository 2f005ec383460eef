"""Label files: which subject and site a recording belongs to, and what is known about stretches of it.

A plain csv with the columns `file` and, each optional, `site`, `subject`, `onset_s`, `duration_s`, `label` and vote
counts (`seizure_vote`, ...) and `label_source` (one of LABEL_SOURCES). A row without `onset_s` speaks of the whole
recording.
"""

import csv
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import isfinite
from pathlib import Path, PurePosixPath

from signals.tasks import SIX_CLASS

LABEL_SOURCES = ("experts", "protocol", "synthetic", "unknown")
"""Who or what labelled: people who read or examined, the instruction that was given during the recording, a generator
that planted the truth, or nobody states it."""
UNKNOWN_SOURCE = LABEL_SOURCES[-1]


@dataclass(frozen=True, kw_only=True)
class Label:
    """What is known about a stretch of a recording."""

    onset_s: float | None
    """Onset of the labelled window, seconds since the recording's start; None for the whole recording."""
    label: str
    votes: tuple[float, ...] = ()
    """Expert vote counts in the task's class order."""
    duration_s: float | None = None
    """Seconds that the label holds for from its onset; None for one window. A stretch longer than a window and a hop
    gets several."""
    spectrogram_uri: str = ""
    """File with the recorded spectrogram around the window, where the source brings one: it reaches beyond the
    recording, so it is taken instead of one computed from it (`signals.windows.surroundings`)."""
    spectrogram_offset_s: float = 0.0
    """Where the window's ten minutes begin in that file, seconds."""


LABEL_REASONS = {
    "label_out_of_range": "The label's window does not lie within a gap-free stretch of the recording.",
    "contradicting_labels": "Several rows give one window different labels, and there are no votes to add up.",
}


@dataclass(frozen=True, kw_only=True)
class RefusedLabel:
    """A label that no window gets, and why."""

    onset_s: float | None
    """Onset of its window, seconds since the recording's start; None for a label of the whole recording."""
    reason: str
    """A key of LABEL_REASONS."""
    detail: str


def merged(labels: Sequence[Label]) -> Label | None:
    """Return the one label that several of one window amount to, or None where they contradict each other.

    Equal labels are one. Votes are added up, and the class of most votes is the label unless all rows name the same.
    """
    first = labels[0]
    if all((label.label, label.votes) == (first.label, first.votes) for label in labels):
        return first
    if not all(len(label.votes) == len(first.votes) > 0 for label in labels):
        return None
    votes = tuple(map(sum, zip(*(label.votes for label in labels), strict=True)))
    names = {label.label for label in labels}
    return replace(first, votes=votes, label=names.pop() if len(names) == 1 else class_of_votes(votes))


def class_of_votes(votes: Sequence[float]) -> str:
    """Return the six-class name with most votes, the first of several."""
    return SIX_CLASS.classes[max(range(len(votes)), key=votes.__getitem__)]


class LabelError(ValueError):
    """A label file that cannot be used; the message says which row and why."""


@dataclass(frozen=True)
class Entry:
    """What the label file holds of one recording."""

    site: str
    file: str
    """Its name, or the end of its path ("p1/eeg/rec.edf") where several recordings have the name."""
    subject: str
    labels: tuple[Label, ...]
    line: int
    """Number of its first row's line."""
    label_source: str = UNKNOWN_SOURCE
    """One of LABEL_SOURCES."""


@dataclass(frozen=True)
class Origin:
    """What is known of where a recording comes from, to find its entry by."""

    sites: tuple[str, ...]
    """Names that its site has."""
    is_declared: bool = False
    """Whether its site has no other name."""


@dataclass(frozen=True)
class LabelTable:
    """Entries by (site, file); the site is empty where the label file names none."""

    entries: dict[tuple[str, str], Entry]

    def match(self, recordings: Mapping[str, Origin]) -> dict[str, Entry]:
        """Return the entries of recordings, by path.

        An entry is of the recording whose path ends with its file; one that names a site is of that site's, or, where
        sites are not declared, of the only recording of the name. Of several entries of a recording the one with the
        longest file counts. Raises LabelError where an entry would be of several recordings: labels are never guessed.
        """
        by_name: dict[str, list[str]] = {}
        for path in recordings:
            by_name.setdefault(PurePosixPath(path).name, []).append(path)
        matched: dict[str, Entry] = {}
        for entry in sorted(self.entries.values(), key=lambda entry: (entry.file.count("/"), bool(entry.site))):
            paths = by_name.get(PurePosixPath(entry.file).name, [])
            fitting = [path for path in paths if f"/{path}".endswith(f"/{entry.file}")]
            if entry.site:
                of_site = [path for path in fitting if entry.site in recordings[path].sites]
                undeclared = [] if self._elsewhere(entry) else [p for p in fitting if not recordings[p].is_declared]
                fitting = of_site or undeclared
            if len(fitting) > 1:
                raise LabelError(
                    f"label file, line {entry.line}: {len(fitting)} recordings are called so; write enough of the path "
                    "in the column 'file' to tell them apart, or their site"
                )
            matched |= dict.fromkeys(fitting, entry)
        return matched

    def _elsewhere(self, entry: Entry) -> bool:
        """Return whether another site has an entry of the same file."""
        return sum(file == entry.file for _, file in self.entries) > 1


def slug(name: str) -> str:
    """Return a site's name fit for a folder and a key: lower case letters, digits and single dashes."""
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-") or "site"


def read_labels(path: Path) -> LabelTable:
    """Return the table of a label file; raises LabelError naming the row for what cannot be used."""
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            rows = list(csv.DictReader(file))
    except FileNotFoundError:
        raise LabelError(f"label file {path} does not exist") from None
    except (UnicodeDecodeError, csv.Error) as error:
        raise LabelError(f"label file {path} is no readable csv: {error}") from error
    if not rows or "file" not in rows[0]:
        raise LabelError(f"label file {path} needs a header with a column 'file' and at least one row")
    grouped: dict[tuple[str, str], list[dict[str, str]]] = {}
    for number, row in enumerate(rows, start=2):
        if None in row or None in row.values():
            raise LabelError(f"{path} line {number}: not as many fields as the header")
        name = row["file"].strip().removeprefix("./").lstrip("/")
        site = slug(row["site"]) if row.get("site", "").strip() else ""
        if not name:
            raise LabelError(f"{path} line {number}: column 'file' is empty")
        grouped.setdefault((site, name), []).append({**row, "_line": str(number)})
    return LabelTable({key: _entry(path, key, group) for key, group in grouped.items()})


def _entry(path: Path, key: tuple[str, str], rows: list[dict[str, str]]) -> Entry:
    subjects = {row.get("subject", "").strip() for row in rows}
    if len(subjects) > 1:
        raise LabelError(f"{path} line {rows[0]['_line']}: the recording belongs to several subjects")
    labels = [_label(path, row) for row in rows]
    placed = tuple(label for label in labels if label is not None)
    return Entry(*key, subjects.pop(), placed, int(rows[0]["_line"]), _source(path, rows))


def _source(path: Path, rows: list[dict[str, str]]) -> str:
    sources = {row.get("label_source", "").strip().lower() or UNKNOWN_SOURCE for row in rows}
    if len(sources) > 1:
        raise LabelError(f"{path} line {rows[0]['_line']}: label_source differs between the rows of one recording")
    if sources - set(LABEL_SOURCES):
        raise LabelError(
            f"{path} line {rows[0]['_line']}: label_source {sources.pop()!r} is not one of {', '.join(LABEL_SOURCES)}"
        )
    return sources.pop()


def _label(path: Path, row: dict[str, str]) -> Label | None:
    where = f"{path} line {row['_line']} ({row['file']})"
    onset = row.get("onset_s", "").strip()
    text = row.get("label", "").strip()
    votes = _votes(where, row)
    if not text and not votes:
        return None
    try:
        onset_s = float(onset) if onset else None
    except ValueError:
        raise LabelError(f"{where}: onset_s={onset!r} is no number") from None
    length = row.get("duration_s", "").strip()
    try:
        duration_s = float(length) if length and onset else None
    except ValueError:
        raise LabelError(f"{where}: duration_s={length!r} is no number") from None
    if not all(value is None or isfinite(value) for value in (onset_s, duration_s)):
        raise LabelError(f"{where}: onset_s={onset!r} and duration_s={length!r} must be finite")
    if votes and not text:
        text = class_of_votes(votes)
    return Label(onset_s=onset_s, label=text, votes=votes, duration_s=duration_s)


def _votes(where: str, row: dict[str, str]) -> tuple[float, ...]:
    given = [row.get(column, "").strip() for column in SIX_CLASS.vote_columns]
    if not any(given):
        return ()
    try:
        votes = tuple(float(value) for value in given)
    except ValueError:
        raise LabelError(f"{where}: vote counts {given} are not all numbers") from None
    if not isfinite(sum(votes)) or min(votes) < 0 or sum(votes) <= 0:
        raise LabelError(f"{where}: vote counts {given} must not be negative, and one must be above 0")
    return votes
