"""Site cards: YAML or TOML files that bring a laboratory's recordings in. docs/sites.md describes every key.

Pydantic checks them, and is imported here alone, when a card is read: what a card amounts to is a `SiteCard`, plain
data that workers need no further library for.
"""

import difflib
import logging
import os
import re
from collections.abc import Callable, Mapping
from functools import lru_cache
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from signals.readers.channels.caps import cap_map
from signals.readers.channels.channel_maps import ChannelMap
from signals.readers.declaration import Declaration
from signals.readers.layouts.layout import Layout, LayoutError, layout_of
from signals.sites.card import CARD_NAMES, CardError, SiteCard, card_of
from signals.sites.lines import Place, parse
from signals.sites.rules import Columns, NameRule, Rows, Rules, TableRule, table_rows

if TYPE_CHECKING:
    from pydantic import ValidationError

    from signals.sites.schema import CardModel, LabelModel, NameModel, TableModel

logger = logging.getLogger(__name__)

ReadText = Callable[[str], str]


def read_local(path: str) -> str:
    """Return the text of a file of this machine; raises OSError or UnicodeDecodeError."""
    return Path(path).read_text(encoding="utf-8")


def read_card(path: str, *, is_beside: bool = False, read_text: ReadText = read_local) -> SiteCard:
    """Return the card in a file; one that lies beside the data (`is_beside`) speaks of what is in its folder.

    `read_text` returns the text of a path, of the card and of the table that it names. Raises CardError with the line
    and the key of whatever cannot be used.
    """
    try:
        text = read_text(path)
    except UnicodeDecodeError:
        raise CardError(f"{path} is no text in UTF-8") from None
    except OSError as error:
        problem = "does not exist" if isinstance(error, FileNotFoundError) else f"cannot be read: {error}"
        raise CardError(f"site card {path} {problem}") from None
    values, lines = parse(text, name=path)
    return _Card(path, lines, read_text).built(values, is_beside=is_beside)


def card_of_file(path: str, given: str = "") -> SiteCard | None:
    """Return the card of a single local file: the one that is `given`, else one beside it, else None.

    Raises CardError for a card that cannot be used, and for a given one that does not speak of the file.
    """
    absolute = os.path.abspath(path)
    if given:
        card = read_card(given)
        if card.rank(absolute) is None:
            raise CardError(f"site card {given} speaks of files {', '.join(card.files)}, not of this one")
        return card
    beside = (os.path.join(os.path.dirname(absolute), name) for name in CARD_NAMES)
    cards = [read_card(name, is_beside=True) for name in beside if os.path.isfile(name)]
    return card_of(absolute, cards)


class _Card:
    """A card that is being read: its path and lines, for messages."""

    def __init__(self, path: str, lines: Mapping[Place, int], read_text: ReadText) -> None:
        self._path, self._lines, self._read_text = path, lines, read_text

    def built(self, values: Any, *, is_beside: bool) -> SiteCard:
        """Return the card of plain values."""
        try:
            from pydantic import ValidationError

            from signals.sites.schema import CardModel
        except ModuleNotFoundError:
            raise CardError(f"{self._path}: site cards need pydantic: pip install 'cerebeam[sites]'") from None
        if not isinstance(values, dict):
            raise CardError(f"{self._path}: a card is a list of 'key: value', this is {type(values).__name__}")
        try:
            model = CardModel.model_validate(values)
        except ValidationError as error:
            raise self._first_fault(error) from None
        folder = str(PurePosixPath(self._path).parent) if is_beside else ""
        tables = (model.table.file,) if model.table else ()
        return SiteCard(
            site_id=model.name,
            files=model.files,
            folder=folder,
            mains_hz=None if model.mains == "detect" else float(model.mains),
            declared=self._declaration(model),
            known=self._rules(model),
            side_files=(*model.side_files, *(PurePosixPath(table).name for table in tables)),
        )

    def fault(self, place: Place, message: str) -> CardError:
        """Return the error of a key."""
        at = next((self._lines[place[:n]] for n in range(len(place), 0, -1) if place[:n] in self._lines), None)
        where = f" line {at}" if at is not None else ""
        named = ".".join(map(str, place))
        return CardError(f"{self._path}{where}, {named}: {message}" if named else f"{self._path}{where}: {message}")

    def _first_fault(self, error: "ValidationError") -> CardError:
        """Return the first fault by line; the kinds that a value may be of are not named."""
        faults = []
        for detail in error.errors(include_url=False):
            place = tuple(part for part in detail["loc"] if not (isinstance(part, str) and _KIND.search(part)))
            message = detail["msg"].removeprefix("Value error, ")
            if detail["type"] == "extra_forbidden":
                message = f"unknown key{_meant(str(place[-1]), self._siblings(place))}"
            elif detail["type"] == "missing":
                message = "is required"
            elif detail["type"].endswith("_type") and isinstance(detail["input"], bool | int | float):
                message += f", got {detail['input']!r}; put text in quotes"
            known = [n for n in range(len(place), 0, -1) if place[:n] in self._lines]
            faults.append((-len(place), self._lines[place[: known[0]]] if known else 0, place, message))
        # Of the kinds that a value may be of, the one that got further is meant.
        places = [fault[2] for fault in faults]
        faults = [f for f in faults if not any(f[2] == place[: len(f[2])] and f[2] != place for place in places)]
        _, _, place, message = min(faults, key=lambda fault: (fault[1], fault[0]))
        return self.fault(place, message)

    def _siblings(self, place: Place) -> list[str]:
        from signals.sites.schema import KEYS

        return list(KEYS.get(str(place[-2]) if len(place) > 1 else "", ()))

    def _declaration(self, model: "CardModel") -> Declaration:
        channel_map = None
        if isinstance(model.channels, str):
            channel_map = cap_map(model.channels)
        elif model.channels:
            channel_map = ChannelMap(name=model.name, labels=tuple(model.channels.items()))
        return Declaration(
            layouts=() if model.layout is None else (self._layout(model),),
            channel_map=channel_map,
            sensors=tuple(model.sensors.items()),
            reference=model.reference,
        )

    def _layout(self, model: "CardModel") -> Layout:
        assert model.layout is not None
        try:
            return layout_of(model.layout, name=model.name)
        except LayoutError as error:
            message = str(error).removeprefix(f"layout {model.name!r}: ").removeprefix(f"layout {model.name!r} ")
            raise self.fault(("layout", error.key) if error.key else ("layout",), message) from None

    def _rules(self, model: "CardModel") -> Rules:
        label = model.label if not isinstance(model.label, str) else None
        table = model.table
        return Rules(
            subject=_name_rule(model.subject),
            label=_name_rule(model.label),
            label_source=model.label_source,
            label_values=tuple(label.values.items()) if label is not None and not label.pattern else (),
            table=None if table is None else self._table(table),
        )

    def _table(self, table: "TableModel") -> TableRule:
        columns = Columns(
            key=table.key, subject=table.subject, label=table.label, onset_s=table.onset, duration_s=table.duration
        )
        rows_at = self._table_beside_recordings(table.file, columns)
        folder = self._path.rpartition("/")[0] or "."
        if (rows := self._rows(f"{folder}/{table.file}", columns)) is not None:

            def rows_at(_: str) -> Rows:
                return rows

        return TableRule(
            name=PurePosixPath(table.file).name, key=NameRule(pattern=table.pattern), columns=columns, rows_at=rows_at
        )

    def _table_beside_recordings(self, name: str, columns: Columns) -> Callable[[str], Rows]:
        """Return what finds the table in a recording's folder: the card lies elsewhere, or was written for many."""

        @lru_cache
        def rows_at(folder: str) -> Rows:
            rows = self._rows(f"{folder}/{name}", columns)
            if rows is None:
                logger.warning("no %s beside the card nor beside the recordings: it gives no subjects, no labels", name)
            return rows or {}

        return rows_at

    def _rows(self, path: str, columns: Columns) -> Rows | None:
        """Return the rows of a table, None where there is no such file; raises CardError for one of no use."""
        name = PurePosixPath(path).name
        try:
            return table_rows(self._read_text(path), name=name, columns=columns)
        except FileNotFoundError:
            return None
        except CardError as error:
            raise self.fault(("table",), str(error)) from None
        except UnicodeDecodeError:
            raise self.fault(("table", "file"), f"{name} is no text in UTF-8") from None
        except OSError as error:
            raise self.fault(("table", "file"), f"{name} cannot be read: {type(error).__name__}") from None


_KIND = re.compile(r"^(str|function-.*|dict\[.*|.*Model|literal\[.*|constrained-.*|nullable.*|tagged.*)$")
"""What pydantic calls the kinds that a value may have."""


def _meant(key: str, siblings: list[str]) -> str:
    close = difflib.get_close_matches(key, siblings, n=1)
    return f"; is {close[0]!r} meant?" if close else f"; known are {', '.join(siblings)}" if siblings else ""


def _name_rule(model: "str | NameModel | LabelModel | None") -> NameRule | None:
    if model is None or isinstance(model, str):
        return NameRule(pattern=model) if model else None
    if not model.pattern:
        return None
    return NameRule(pattern=model.pattern, wording=model.wording, values=tuple(model.values.items()))
