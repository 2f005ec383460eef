"""Command lines that answer a mistake with one line."""

import argparse
from typing import NoReturn


class Parser(argparse.ArgumentParser):
    """An argument parser without abbreviations, whose errors are one line on standard error and exit code 2."""

    def __init__(self, *, prog: str, description: str, add_help: bool = True) -> None:
        super().__init__(prog=prog, description=description, add_help=add_help, allow_abbrev=False)

    def error(self, message: str) -> NoReturn:
        """Exit with code 2 and the message."""
        self.exit(2, f"{self.prog}: {message}; see --help\n")


class SubParser(Parser):
    """A parser of one command among several; `add_subparsers` passes more arguments than `Parser` takes."""

    def __init__(self, *, prog: str, **_: object) -> None:
        super().__init__(prog=prog, description="")
