"""Facts about a laboratory's files that the files themselves do not hold."""

from collections.abc import Callable
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path

from signals.readers.layouts.layout import Layout
from signals.windows.labels import UNKNOWN_SOURCE, Label


@dataclass(frozen=True, kw_only=True)
class Known:
    """What is known of one recording from outside of it."""

    subject: str = ""
    """Whom it is of, as the laboratory counts its people; empty if nobody knows. Hashed when the file is opened."""
    labels: tuple[Label, ...] = ()
    label_source: str = UNKNOWN_SOURCE
    """Who labelled: one of `signals.windows.labels.LABEL_SOURCES`."""


def nothing_known(path: Path) -> Known:
    """Return that nothing is known: the label rule of laboratories without one."""
    return Known()


@dataclass(frozen=True, kw_only=True)
class Corpus:
    """One site's files. A module of this package holds one as `CORPUS` or several as `CORPORA`."""

    site_id: str
    """Identifier of the site, written into every window: lower case letters, digits, dashes."""
    pattern: str
    """Glob over the whole path. Where several match a file, the longest is taken."""
    mains_hz: float | None = None
    """Mains frequency of the place; None to detect it in each recording."""
    known: Callable[[Path], Known] = nothing_known
    """Label rule: subject and labels of one recording, from its name or from a table beside it."""
    csv_forms: tuple[Layout, ...] = ()
    """Column maps of csv files whose header line does not say which column is which electrode."""
    side_files: tuple[str, ...] = ()
    """Globs over the whole path of files that belong to the recordings and are none themselves."""
    tables: tuple[str, ...] = ()
    """What the label rule reads, relative to a recording's folder: "../train.csv". Copied first where they are remote.
    """

    def __post_init__(self) -> None:
        if self.mains_hz not in (None, 50.0, 60.0):
            raise ValueError(f"corpus {self.site_id!r}: mains_hz={self.mains_hz} is neither 50, 60 nor None")
        if not self.site_id or set(self.site_id) - set("abcdefghijklmnopqrstuvwxyz0123456789-"):
            raise ValueError(f"site_id={self.site_id!r} must be lower case letters, digits and dashes")


def corpus_of(path: str, corpora: tuple[Corpus, ...]) -> Corpus | None:
    """Return the corpus with the longest pattern that matches the path, or None."""
    matching = [corpus for corpus in corpora if fnmatch(path, corpus.pattern)]
    return max(matching, key=lambda corpus: (len(corpus.pattern), corpus.pattern), default=None)
