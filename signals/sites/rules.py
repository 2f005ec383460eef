"""Whose a recording is and what it shows, by its name or by a table: the rules of a site's card."""

import csv
import io
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import isfinite
from pathlib import PurePosixPath

from signals.sites.card import CardError, Known
from signals.windows.labels import UNKNOWN_SOURCE, Label

Rows = Mapping[str, Sequence[Mapping[str, str]]]
"""Rows of a table by their key, the cells of each by column."""


@dataclass(frozen=True, kw_only=True)
class NameRule:
    """A text that stands in a file's name, or in its path where the pattern has a slash."""

    pattern: str
    """Regular expression, searched for; its first group is the text, the whole match where it has none."""
    wording: str = ""
    """What is made of the text, with {} for it; "{:0>3}" fills it up to three digits. Empty: the text itself."""
    values: tuple[tuple[str, str], ...] = ()
    """(text, what it stands for) pairs; a text that is not among them stands for nothing. Empty: any text stays."""

    def text(self, path: str) -> str:
        """Return what the rule makes of a path, empty where it does not fit."""
        found = re.search(self.pattern, path if "/" in self.pattern else PurePosixPath(path).name)
        if found is None:
            return ""
        text = (found[1] if found.re.groups else found[0]) or ""
        if self.values:
            text = dict(self.values).get(text, "")
        return self.wording.format(text) if self.wording and text else text


@dataclass(frozen=True, kw_only=True)
class Columns:
    """Which columns of a table hold what; empty for what none does."""

    key: str
    subject: str = ""
    label: str = ""
    onset_s: str = ""
    """Of a label's window, seconds."""
    duration_s: str = ""


@dataclass(frozen=True, kw_only=True)
class TableRule:
    """Rows of a table by a key that stands in the file's name."""

    name: str
    """Of the table's file."""
    key: NameRule
    columns: Columns
    rows_at: Callable[[str], Rows]
    """Returns the rows for the recordings of a folder."""

    def of(self, path: str) -> Sequence[Mapping[str, str]]:
        """Return the rows of a recording."""
        return self.rows_at(path.rpartition("/")[0]).get(self.key.text(path), ())


@dataclass(frozen=True, kw_only=True)
class Rules:
    """Subject and labels of a site's recordings."""

    subject: NameRule | None = None
    label: NameRule | None = None
    """Of the whole recording."""
    table: TableRule | None = None
    """What it holds goes before the name."""
    label_source: str = UNKNOWN_SOURCE
    """Who labelled, where a recording is known at all."""
    label_values: tuple[tuple[str, str], ...] = ()
    """What the table's labels stand for, as `NameRule.values`."""

    def __call__(self, path: str) -> Known:
        """Return what is known of a recording; raises CardError for cells that cannot be used."""
        rows = self.table.of(path) if self.table else []
        subject = self._subject(rows)
        if not subject and self.subject is not None:
            subject = self.subject.text(path)
        labels = tuple(label for row in rows if (label := self._label(row)) is not None)
        if not labels and self.label is not None and (text := self.label.text(path)):
            labels = (Label(onset_s=None, label=text),)
        source = self.label_source if subject or labels else UNKNOWN_SOURCE
        return Known(subject=subject, labels=labels, label_source=source)

    def _subject(self, rows: Sequence[Mapping[str, str]]) -> str:
        if self.table is None or not self.table.columns.subject:
            return ""
        names = {row[self.table.columns.subject].strip() for row in rows} - {""}
        if len(names) > 1:
            raise CardError(f"{self.table.name}: one recording is of {len(names)} subjects")
        return names.pop() if names else ""

    def _label(self, row: Mapping[str, str]) -> Label | None:
        assert self.table is not None
        columns = self.table.columns
        text = row[columns.label].strip() if columns.label else ""
        if self.label_values:
            text = dict(self.label_values).get(text, "")
        if not text:
            return None
        onset_s, duration_s = (self._seconds(row, name) for name in (columns.onset_s, columns.duration_s))
        return Label(onset_s=onset_s, label=text, duration_s=duration_s if onset_s is not None else None)

    def _seconds(self, row: Mapping[str, str], column: str) -> float | None:
        assert self.table is not None
        text = row[column].strip() if column else ""
        try:
            seconds = float(text) if text else None
        except ValueError:
            seconds = float("nan")
        if seconds is not None and not isfinite(seconds):
            raise CardError(f"{self.table.name}: {column}={text!r} is no number of seconds")
        return seconds


def table_rows(content: str, *, name: str, columns: Columns) -> Rows:
    """Return the rows of a table's text: comma, semicolon or tab between cells, names of columns in the first line.

    Raises CardError for missing columns and for rows that are cut.
    """
    content = content.removeprefix("\ufeff")
    first = content.split("\n", 1)[0]
    separator = max(",;\t", key=first.count)
    reader = csv.DictReader(io.StringIO(content, newline=""), delimiter=separator)
    used = [columns.key, columns.subject, columns.label, columns.onset_s, columns.duration_s]
    header = reader.fieldnames or ()
    if missing := [column for column in used if column and column not in header]:
        raise CardError(f"{name} has no column {missing[0]!r}, only {', '.join(map(repr, header))}")
    rows: dict[str, list[dict[str, str]]] = {}
    for number, row in enumerate(reader, start=2):
        if None in row or None in row.values():
            raise CardError(f"{name} line {number}: not as many cells as the first line")
        if key_text := row[columns.key].strip():
            rows.setdefault(key_text, []).append(row)
    return rows
