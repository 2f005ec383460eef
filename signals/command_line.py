"""Command lines that answer a mistake with one line, and whose help has one look."""

import argparse
import math
import os
from collections.abc import Callable
from contextvars import ContextVar
from pathlib import Path
from typing import IO, Any, NoReturn

from signals.help_pages import Page, Recorder, page_of, render

READER: ContextVar[Callable[[Page], None] | None] = ContextVar("READER", default=None)
"""Who takes the page that `--help` would print, instead of the screen."""


class Parser(argparse.ArgumentParser):
    """An argument parser without abbreviations, whose errors are one line on standard error and exit code 2."""

    def __init__(self, *, prog: str, description: str, add_help: bool = True) -> None:
        super().__init__(prog=prog, description=description, add_help=add_help, allow_abbrev=False)

    def error(self, message: str) -> NoReturn:
        """Exit with code 2 and the message."""
        self.exit(2, f"{self.prog}: {message}; see --help\n")

    def page(self) -> Page:
        """Return the help as data."""
        recorder = Recorder(self.prog)
        # argparse calls its formatter with the program's name alone; a class is not needed.
        self.formatter_class, former = (lambda prog: recorder), self.formatter_class
        super().format_help()
        self.formatter_class = former
        return page_of(
            self.prog, self.description or "", recorder.sections, usage=self.format_usage(), after=self.epilog or ""
        )

    def print_help(self, file: IO[str] | None = None) -> None:  # type: ignore[override]
        """Print the help in the look of all commands."""
        show(self.page())


class SubParser(Parser):
    """A parser of one command among several; `add_subparsers` passes more arguments than `Parser` takes."""

    def __init__(self, *, prog: str, description: str = "", **_: object) -> None:
        super().__init__(prog=prog, description=description)


def show(page: Page) -> None:
    """Print a page of help, or give it to whoever reads pages."""
    reader = READER.get()
    if reader is None:
        print(render(page))  # noqa: T201
    else:
        reader(page)


def _kind(metavar: str) -> Callable[[Any], Any]:
    def named(convert: Any) -> Any:
        convert.metavar = metavar
        return convert

    return named


@_kind("FLOAT")
def positive(text: str) -> float:
    """Return a finite number above 0."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 < value < math.inf:
        raise argparse.ArgumentTypeError(f"{text} must be a number above 0")
    return value


@_kind("INT")
def count(text: str) -> int:
    """Return a whole number of at least 1."""
    return _at_least(text, 1)


@_kind("INT")
def whole(text: str) -> int:
    """Return a whole number of at least 0: a seed for instance."""
    return _at_least(text, 0)


def _at_least(text: str, least: int) -> int:
    if not text.isdecimal() or int(text) < least:
        raise argparse.ArgumentTypeError(f"{text} must be a whole number of at least {least}")
    return int(text)


@_kind("PATH")
def new_file(text: str) -> Path:
    """Return the path of a file that can be written: looked at before the work, not after it."""
    path = Path(text)
    above = next(folder for folder in (path.parent, *path.parent.parents) if folder.exists())
    if not text or path.is_dir():
        raise argparse.ArgumentTypeError(f"{text!r} is a folder; give the name of a file")
    if not above.is_dir() or not os.access(path if path.exists() else above, os.W_OK):
        raise argparse.ArgumentTypeError(f"{text} cannot be written: no file can be made in {above}")
    return path


@_kind("PATH")
def known_file(text: str) -> Path:
    """Return the path of a file that is there."""
    path = Path(text)
    if not path.is_file():
        raise argparse.ArgumentTypeError(f"{text} is a folder" if path.is_dir() else f"{text} does not exist")
    return path


@_kind("PATH")
def known_folder(text: str) -> Path:
    """Return the path of a folder that is there."""
    path = Path(text)
    if not path.is_dir():
        raise argparse.ArgumentTypeError(f"{text} is no folder" if path.exists() else f"{text} does not exist")
    return path
