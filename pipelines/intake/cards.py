"""The site cards that a command line names: files, and folders of them."""

from collections.abc import Sequence
from pathlib import PurePosixPath

from pipelines.runs import storage
from signals.sites.card import CardError, SiteCard
from signals.sites.card_file import read_card

_ENDINGS = (".yaml", ".yml", ".toml")


def read_cards(places: Sequence[str]) -> tuple[SiteCard, ...]:
    """Return the cards of files and folders, each once; raises CardError for one that cannot be used."""
    paths = dict.fromkeys(path for place in places for path in _cards_at(place))
    return tuple(read_card(path, read_text=storage.read_text) for path in paths)


def _cards_at(place: str) -> list[str]:
    if place.lower().endswith(_ENDINGS):
        return [place]
    found = [path for path in storage.list_files(place) if path.lower().endswith(_ENDINGS)]
    cards = sorted(path for path in found if str(PurePosixPath(path).parent) == str(PurePosixPath(place)))
    if not cards:
        raise CardError(f"{place} is neither a card ({', '.join(_ENDINGS)}) nor a folder that holds one")
    return cards
