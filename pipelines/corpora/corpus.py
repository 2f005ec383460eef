"""What a laboratory's files need said about them that the files do not say themselves."""

from dataclasses import dataclass
from fnmatch import fnmatch


@dataclass(frozen=True, kw_only=True)
class Corpus:
    """One site's files."""

    site_id: str
    """Identifier of the site, written into every window."""
    pattern: str
    """Glob over the whole path; the first corpus that matches a file is its."""
    mains_hz: float | None = None
    """Mains frequency of the place; None to detect it in each recording."""


def corpus_of(path: str, corpora: tuple[Corpus, ...]) -> Corpus | None:
    """Return the first corpus whose pattern matches the path, or None."""
    return next((corpus for corpus in corpora if fnmatch(path, corpus.pattern)), None)
