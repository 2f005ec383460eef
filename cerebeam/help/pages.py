"""The stored help of every command: the grammar that help, completion, the reference and the tests read.

`python -m cerebeam.help.pages` writes it again from the commands themselves; a test compares the two.
"""

import hashlib
import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

from signals.help_pages import Option, Page, Section

FILE = Path(__file__).with_suffix(".json")
HELP = frozenset({"-h", "--help"})


def stored(args: Sequence[str]) -> Page | None:
    """Return the page that a command line requests; None where it requests none, or adds what changes it."""
    if not HELP & set(args):
        return None
    return load().get(" ".join(arg for arg in args if arg not in HELP))


def load() -> dict[str, Page]:
    """Return the stored pages by the words that are typed after `cerebeam`."""
    text = json.loads(FILE.read_text(encoding="utf-8"))
    sections = {digest: _section(fields) for digest, fields in text["sections"].items()}
    return {name: _page(fields, sections) for name, fields in text["pages"].items()}


def _section(fields: Mapping[str, Any]) -> Section:
    return Section(title=fields["title"], about=fields["about"], options=tuple(map(_option, fields["options"])))


def _option(fields: Mapping[str, Any]) -> Option:
    given: dict[str, Any] = {name: tuple(v) if isinstance(v, list) else v for name, v in fields.items()}
    return Option(**given)


def _page(fields: Mapping[str, Any], sections: Mapping[str, Section]) -> Page:
    return Page(
        prog=fields["prog"],
        about=fields["about"],
        sections=tuple(sections[digest] for digest in fields["sections"]),
        commands=tuple((name, what) for name, what in fields["commands"]),
        one_of=tuple(map(tuple, fields["one_of"])),
        after=fields["after"],
    )


def collect() -> dict[str, Page]:
    """Return the page of every command and of its own commands, from the commands themselves."""
    from cerebeam.cli import COMMANDS

    return {" ".join(words): page for name in COMMANDS for words, page in _walk((name,))}


def _walk(words: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], Page]]:
    page = live(words)
    yield words, page
    for name, _ in page.commands:
        yield from _walk((*words, name))


def live(words: Sequence[str]) -> Page:
    """Return the page of one command, from the command itself."""
    from cerebeam.cli import run
    from signals.command_line import READER

    pages: list[Page] = []
    token = READER.set(pages.append)
    try:
        with suppress(SystemExit):
            run([*words, "--help"])
    finally:
        READER.reset(token)
    if len(pages) != 1:
        raise ValueError(f"cerebeam {' '.join(words)} --help shows {len(pages)} pages, not one")
    return pages[0]


def as_text(pages: Mapping[str, Page]) -> str:
    """Return the pages as the stored file has them: sections that several commands share stand in it once."""
    sections: dict[str, Any] = {}
    rows = {}
    for name, page in pages.items():
        digests = []
        for section in page.sections:
            fields = {"title": section.title, "about": section.about, "options": [_slim(o) for o in section.options]}
            digest = hashlib.sha256(json.dumps(fields).encode()).hexdigest()[:10]
            sections[digest] = fields
            digests.append(digest)
        rows[name] = {**asdict(page), "sections": digests}
    return json.dumps({"pages": rows, "sections": dict(sorted(sections.items()))}, indent=0, ensure_ascii=False) + "\n"


def _slim(option: Option) -> dict[str, Any]:
    return {name: value for name, value in asdict(option).items() if value not in ("", (), False)}


def main() -> None:
    """Write the stored pages again."""
    from signals.files import atomic_file

    text = as_text(collect())
    with atomic_file(FILE) as file:
        file.write(text.encode("utf-8"))
    sys.stderr.write(f"{FILE}: {len(load())} commands\n")


if __name__ == "__main__":
    main()
