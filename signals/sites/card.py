"""A site: which files are its own, whose they are, and what has to be known to read them.

`signals.sites.card_file` makes a `SiteCard` of a YAML or TOML file; nothing here needs the libraries for that.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import PurePosixPath

from signals.readers.declaration import NOTHING_DECLARED, Declaration
from signals.windows.labels import UNKNOWN_SOURCE, Label

CARD_NAMES = ("site-card.yaml", "site-card.yml", "site-card.toml")
"""Names under which a card is found beside the files that it speaks of."""


class CardError(ValueError):
    """A card, or a table that it names, that cannot be used; the message names the file, line and key."""


@dataclass(frozen=True, kw_only=True)
class Known:
    """What is known of one recording from outside of it."""

    subject: str = ""
    """Whom it is of, as the site counts its people; empty if nobody knows. Hashed when the file is opened."""
    labels: tuple[Label, ...] = ()
    label_source: str = UNKNOWN_SOURCE
    """Who labelled: one of `signals.windows.labels.LABEL_SOURCES`."""


def nothing_known(path: str) -> Known:
    """Return that nothing is known: the rule of sites without one."""
    return Known()


@dataclass(frozen=True, kw_only=True)
class SiteCard:
    """One site's files, and what they do not say themselves."""

    site_id: str
    """Identifier of the site, written into every window: lower case letters, digits, dashes."""
    files: tuple[str, ...] = ("*",)
    """Globs over the end of a path, whole names of folders and files ("ward/*.edf"). Where several cards match a file,
    the one with the longest glob counts."""
    folder: str = ""
    """Where the card lies, if it was found beside the data: it speaks of what is below. Such cards come after those
    that were given, and the deepest of them first."""
    mains_hz: float | None = None
    """Mains frequency of the place; None to detect it in each recording."""
    declared: Declaration = NOTHING_DECLARED
    """How the files are read."""
    known: Callable[[str], Known] = field(default=nothing_known, compare=False)
    """Subject and labels of a recording by its path, from its name or from a table."""
    tables: tuple[str, ...] = ()
    """What `known` reads from a recording's folder on its own, relative to it: "../train.csv". Copied first where the
    folder is remote."""
    side_files: tuple[str, ...] = ()
    """Globs like `files`, of what belongs to the recordings and is none."""

    def __post_init__(self) -> None:
        if self.mains_hz not in (None, 50.0, 60.0):
            raise ValueError(f"site {self.site_id!r}: mains_hz={self.mains_hz} is neither 50, 60 nor None")
        if not self.site_id or set(self.site_id) - set("abcdefghijklmnopqrstuvwxyz0123456789-"):
            raise ValueError(f"site_id={self.site_id!r} must be lower case letters, digits and dashes")

    def rank(self, path: str) -> tuple[int, int, str] | None:
        """Return how closely the card speaks of a file, more is closer; None where it does not."""
        if not self._is_below(path):
            return None
        fitting = [pattern for pattern in self.files if fits(path, pattern)]
        if not fitting:
            return None
        longest = max(fitting, key=lambda pattern: (len(pattern), pattern))
        depth = len(PurePosixPath(self.folder).parts) if self.folder else _GIVEN
        return depth, len(longest), longest

    def is_side_file(self, path: str) -> bool:
        """Return whether a file belongs to the site's recordings and is none itself."""
        return self._is_below(path) and any(fits(path, pattern) for pattern in self.side_files)

    def _is_below(self, path: str) -> bool:
        return not self.folder or path.startswith(self.folder.rstrip("/") + "/")


_GIVEN = 10_000  # deeper than any folder


def fits(path: str, pattern: str) -> bool:
    """Return whether the end of a path, from the beginning of a name on, is of a glob."""
    return fnmatchcase(path if path.startswith("/") else f"/{path}", f"*/{pattern.removeprefix('*/')}")


def card_of(path: str, cards: Iterable[SiteCard]) -> SiteCard | None:
    """Return the card that speaks most closely of a file, or None."""
    ranked = [(rank, card) for card in cards if (rank := card.rank(path)) is not None]
    return max(ranked, key=lambda pair: pair[0])[1] if ranked else None


def check_distinct(cards: Iterable[SiteCard]) -> None:
    """Raise CardError where two cards have the same glob at the same place: neither is closer."""
    seen: dict[tuple[str, str], str] = {}
    for card in cards:
        for pattern in card.files:
            if other := seen.get((card.folder, pattern)):
                raise CardError(
                    f"the cards of {other} and {card.site_id} both speak of {pattern!r}: name their folders"
                )
            seen[card.folder, pattern] = card.site_id
