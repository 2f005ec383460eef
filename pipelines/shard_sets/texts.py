"""Every text of a shard set: names of files, JSON keys and values, the text of a page, the text fields of records."""

import json
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

from pyarrow.parquet import ParquetFile

from signals.shards.example import decode_example
from signals.shards.index import SCHEMA
from signals.shards.records import DETAIL_FIELDS, decode_window, encode_window
from signals.shards.tfrecord import read_shard

UNKNOWN_FIELD = "unknown field"
"""Name under which fields of a record are listed that no code of ours writes."""
_SHOWN = {"title", "alt", "aria-label", "href", "src", "content", "id", "class"}
_KEYS = {"subjects": "subject_id", "events": "event", "device": "device", "age_group": "age_group", "sex": "sex"}
"""Dictionaries whose keys are data, held to a form."""


@dataclass(frozen=True)
class Text:
    """A text and where it stands."""

    where: str
    field: str
    """Name of the field or key that it is the value of; "key" for a key, "file" for a file's name."""
    text: str
    is_prose: bool = True
    """False for attributes of drawings and style, in which numbers mean nothing."""


def texts_of(root: Path) -> Iterator[Text]:
    """Yield every text of the files below a folder; what is no known form is read as plain text."""
    for path in sorted(path for path in root.rglob("*") if not path.is_dir()):
        name = path.relative_to(root).as_posix()
        yield Text(name, "file", name)
        if path.name.endswith(".tfrecord.snappy"):
            yield from _of_shard(path, name)
        elif path.name.endswith(".index.parquet"):
            yield from _of_index(path, name)
        elif path.suffix in {".json", ".jsonl"}:
            yield from _of_json(path, name)
        elif path.suffix == ".html":
            yield from _of_page(path, name)
        elif path.stat().st_size:
            yield Text(name, "content", path.read_bytes().decode("utf-8", errors="replace"))


def _of_shard(path: Path, name: str) -> Iterator[Text]:
    known: frozenset[str] | None = None
    for number, record in enumerate(read_shard(path)):
        where = f"{name} record {number}"
        fields = decode_example(record)
        if known is None:
            known = DETAIL_FIELDS | frozenset(decode_example(encode_window(decode_window(record))))
        for field, values in fields.items():
            if field not in known:
                yield Text(where, UNKNOWN_FIELD, field)
            for text in _printable(values) if isinstance(values, list) else ():
                yield from _walk(json.loads(text), where, field) if field == "about" else [Text(where, field, text)]


def _of_index(path: Path, name: str) -> Iterator[Text]:
    table = ParquetFile(path).read(use_threads=False)
    for field in set(table.column_names) - set(SCHEMA.names):
        yield Text(name, UNKNOWN_FIELD, field)
    for number, row in enumerate(table.to_pylist()):
        for field, value in row.items():
            if isinstance(value, str):
                yield Text(f"{name} row {number}", field, value)


def _printable(values: list[bytes]) -> Iterator[str]:
    """Yield what is text; samples and masks are not, whatever their field is called."""
    for value in values:
        with suppress(UnicodeDecodeError):
            if (text := value.decode("utf-8")).isprintable():
                yield text


def _of_json(path: Path, name: str) -> Iterator[Text]:
    raw = path.read_text(encoding="utf-8", errors="replace")
    lines = raw.splitlines() if path.suffix == ".jsonl" else [raw]
    for number, line in enumerate(lines, start=1):
        where = f"{name} line {number}" if path.suffix == ".jsonl" else name
        try:
            yield from _walk(json.loads(line), where, "")
        except json.JSONDecodeError:
            yield Text(where, "content", line)


def _walk(value: Any, where: str, field: str) -> Iterator[Text]:
    if isinstance(value, str):
        yield Text(where, field, value)
    elif isinstance(value, list):
        for item in value:
            yield from _walk(item, where, field)
    elif isinstance(value, dict):
        for key, item in value.items():
            yield Text(where, _KEYS.get(field, "key"), key)
            yield from _walk(item, where, key)


def _of_page(path: Path, name: str) -> Iterator[Text]:
    page = _Page()
    page.feed(path.read_text(encoding="utf-8", errors="replace"))
    page.close()
    for field, text in page.texts:
        yield Text(name, field, text, is_prose=field == "text" or field in _SHOWN)


class _Page(HTMLParser):
    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.texts: list[tuple[str, str]] = []
        self._in_style = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._in_style = tag == "style"
        self.texts += [(name, value) for name, value in attrs if value]

    def handle_endtag(self, tag: str) -> None:
        self._in_style = False

    def handle_data(self, data: str) -> None:
        if data.strip():
            self.texts.append(("style" if self._in_style else "text", data))

    def handle_comment(self, data: str) -> None:
        self.texts.append(("text", data))
