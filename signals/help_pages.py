"""What `--help` shows: pages of options as data, described from a parser and rendered in one look.

`cerebeam` stores the pages of all its commands, so that help, completion and the reference need no command's imports.
"""

import argparse
import re
import textwrap
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parent.parent
"""The folder that holds all rooms, in a checkout or among installed packages."""
WIDTH = 100
_INDENT = 26
_TITLES = {"options": "", "positional arguments": "arguments"}


@dataclass(frozen=True, kw_only=True)
class Option:
    """An option, or an argument that has no dashes."""

    names: tuple[str, ...]
    metavar: str = ""
    """What kind of value it takes, INT or PATH for instance; empty for a switch."""
    about: str = ""
    choices: tuple[str, ...] = ()
    default: str = ""
    required: bool = False
    several: bool = False
    """Whether it takes more than one value."""

    @property
    def is_positional(self) -> bool:
        """Whether it is given by its place."""
        return not self.names[0].startswith("-")


@dataclass(frozen=True, kw_only=True)
class Section:
    """Options that belong together."""

    title: str
    about: str = ""
    options: tuple[Option, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Page:
    """The help of one command."""

    prog: str
    about: str
    sections: tuple[Section, ...] = ()
    commands: tuple[tuple[str, str], ...] = ()
    """Its own commands, each with a line about it."""
    one_of: tuple[tuple[str, ...], ...] = ()
    """Options of which one is taken, and one is required."""
    after: str = ""
    """What stands below the options."""

    @property
    def options(self) -> tuple[Option, ...]:
        """The options of all sections."""
        return tuple(option for section in self.sections for option in section.options)


class Recorder(argparse.HelpFormatter):
    """A formatter that keeps what it is given to format."""

    def __init__(self, prog: str) -> None:
        super().__init__(prog)
        self.sections: list[tuple[str, list[argparse.Action]]] = []
        self.usage = ""

    def add_usage(self, usage: str | None, actions: Iterable[argparse.Action], *args: object, **named: object) -> None:
        """Keep no usage: it is written from the options."""

    def start_section(self, heading: str | None) -> None:
        """Begin a section."""
        self.sections.append((heading or "", []))

    def end_section(self) -> None:
        """End a section."""

    def add_text(self, text: str | None) -> None:
        """Keep no text: the parser has it."""

    def add_argument(self, action: argparse.Action) -> None:
        """Keep an option unless it is hidden."""
        if action.help is not argparse.SUPPRESS:
            self.sections[-1][1].append(action)

    def format_help(self) -> str:
        """Return nothing; the sections are what is wanted."""
        return ""


def page_of(
    prog: str,
    about: str,
    sections: Sequence[tuple[str, Sequence[argparse.Action]]],
    *,
    usage: str,
    after: str = "",
) -> Page:
    """Return the page of a parser whose actions a `Recorder` kept; `usage` is argparse's own line."""
    commands: list[tuple[str, str]] = []
    kept = []
    for title, actions in sections:
        options = []
        for action in actions:
            if isinstance(action.choices, dict):
                commands = [(name, parser.description or "") for name, parser in action.choices.items()]
            elif "--help" not in action.option_strings:
                options.append(_option(action))
        if options:
            kept.append(Section(title=_TITLES.get(title, title), options=tuple(options)))
    required = re.findall(r"(?<!\[)\((-[^()]*\|[^()]*)\)", " ".join(usage.split()))
    one_of = tuple(tuple(re.findall(r"(?:^|\| )(--[\w-]+)", group)) for group in required)
    return Page(
        prog=prog,
        about=tidy(about),
        sections=tuple(kept),
        commands=tuple(commands),
        one_of=one_of,
        after=tidy(after),
    )


def _option(action: argparse.Action) -> Option:
    takes = action.nargs != 0
    values = [] if action.choices is None else [str(choice) for choice in action.choices]
    metavar = action.metavar if isinstance(action.metavar, str) else kind_of(action.type)
    default = action.default
    if not takes or default is None or default is argparse.SUPPRESS or default in ([], (), ""):
        default = ""
    elif isinstance(default, (list, tuple)):
        default = " ".join(map(_shown, default))
    return Option(
        names=tuple(action.option_strings) or (action.dest,),
        metavar=metavar if takes else "",
        about=tidy(_filled(action)),
        choices=tuple(values),
        default="" if "default" in (action.help or "") else _shown(default),
        required=bool(action.required),
        several=action.nargs in ("+", "*") or (isinstance(action.nargs, int) and action.nargs > 1),
    )


def _filled(action: argparse.Action) -> str:
    return (action.help or "").replace("%(default)s", _shown(action.default)).replace("%%", "%")


def _shown(default: object) -> str:
    """Return a default as text; a file of ours by its place below the folder of all rooms, wherever that is."""
    if isinstance(default, Path) and default.is_relative_to(ROOT):
        return str(default.relative_to(ROOT))
    return str(default)


def kind_of(convert: object) -> str:
    """Return what a converter takes: INT, FLOAT, PATH, what it says of itself in `metavar`, or TEXT."""
    known = {int: "INT", float: "FLOAT", Path: "PATH"}
    return getattr(convert, "metavar", None) or known.get(convert, "TEXT")  # type: ignore[call-overload]


def tidy(text: str) -> str:
    """Return a text with single blanks, one line per paragraph."""
    return "\n\n".join(" ".join(paragraph.split()) for paragraph in text.strip().split("\n\n"))


def render(page: Page, *, width: int = WIDTH) -> str:
    """Return a page as text."""
    positional = [option for option in page.options if option.is_positional]
    parts = [page.prog, *(["COMMAND"] if page.commands else [])]
    if any(not option.is_positional for option in page.options):
        parts.append("[OPTIONS]")
    parts += [_given(option) for option in positional]
    lines = [f"usage: {' '.join(parts)}", ""]
    for paragraph in page.about.split("\n\n"):
        lines += [*textwrap.wrap(paragraph, width), ""]
    if page.commands:
        lines += [*_rows(page.commands, width), ""]
    for section in page.sections:
        lines.append(f"{section.title or 'options'}:")
        if section.about:
            lines += textwrap.wrap(section.about, width, initial_indent="  ", subsequent_indent="  ")
        lines += [*_rows([(_given(option), described(option)) for option in section.options], width), ""]
    lines += [f"One of {', '.join(group)} is required.\n" for group in page.one_of]
    for paragraph in filter(None, page.after.split("\n\n")):
        lines += [*textwrap.wrap(paragraph, width), ""]
    return "\n".join(lines).rstrip("\n")


def _given(option: Option) -> str:
    value = "{" + ",".join(option.choices) + "}" if option.choices and len(option.choices) <= 6 else option.metavar
    names = option.names[0].upper() if option.is_positional else ", ".join(option.names)
    text = names if option.is_positional or not value else f"{names} {value}"
    return f"{text} ..." if option.several else text


def described(option: Option) -> str:
    """Return what an option means, its choices and its default."""
    text = option.about
    if len(option.choices) > 6 or (option.choices and option.is_positional):
        text += f"{'; ' if text else ''}one of {', '.join(option.choices)}"
    notes = [note for note, holds in (("required", option.required and not option.is_positional),) if holds]
    if option.default and "default" not in text:
        notes.append(f"default: {option.default}")
    return f"{text} ({', '.join(notes)})".strip() if notes else text


def _rows(rows: Iterable[tuple[str, str]], width: int) -> list[str]:
    lines = []
    for name, text in rows:
        wrapped = textwrap.wrap(text, width - _INDENT) or [""]
        if len(name) + 4 > _INDENT:
            lines.append(f"  {name}")
        else:
            lines.append(f"  {name:<{_INDENT - 2}}{wrapped.pop(0)}")
        lines += [" " * _INDENT + line for line in wrapped]
    return [line.rstrip() for line in lines]
