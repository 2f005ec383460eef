"""Command lines of this room: a recipe by name, overrides by tyro, one clear line and exit code 2 for mistakes."""

import argparse
import contextlib
import errno
import io
import itertools
import json
import logging
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import MISSING, asdict, fields
from pathlib import Path
from typing import Any, NoReturn, TypeVar

import transformers
import tyro

from signals.command_line import show
from signals.files import atomic_file
from signals.help_pages import Option, Section
from training.parallel.distributed import Processes, start_processes
from training.recipes.sections import check_finite, shown
from training.trainer.saving import SAVE_FAILED_EXIT, SaveError
from training.trainer.stopping import RESUME_EXIT

logger = logging.getLogger(__name__)

USAGE_EXIT = 2
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
C = TypeVar("C")
R = TypeVar("R")
Sections = tyro.conf.arg(name="")
"""Annotates a command's `config`: its sections are options by their own names, `--optim.batch 4`."""


def parse_command(
    command: type[C], recipes: Mapping[str, Callable[..., Any]], argv: Sequence[str], *, default_recipe: str, prog: str
) -> C:
    """Return the command with its recipe resolved and overridden.

    `command` is a dataclass with fields `recipe` (name) and `config` (what the recipe returns). `--recipe NAME` and
    `--tiny` are read first, then every field of command and config as an option. Exits with code 2 and one line on
    standard error for an unknown recipe or option, and for values that contradict each other.
    """
    first = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    first.add_argument("--recipe", default=default_recipe)
    first.add_argument("--tiny", action="store_true")
    chosen, rest = first.parse_known_args(list(argv))
    if chosen.recipe not in recipes:
        fail(prog, f"unknown recipe {chosen.recipe!r}; recipes are {', '.join(sorted(recipes))}")
    config = recipes[chosen.recipe](tiny=chosen.tiny)
    defaults = _defaults(command, chosen.recipe, config)
    if {"-h", "--help"} & set(rest):
        names, choices = ("--recipe",), tuple(sorted(recipes))
        recipe = Option(names=names, metavar="TEXT", about="Its name.", choices=choices, default=chosen.recipe)
        tiny = Option(names=("--tiny",), about="Take the recipe's tiny form, to try a run.")
        show_fields(prog, [(command, defaults)], before=Section(title="", options=(recipe, tiny)))
    return _parsed(command, ["--recipe", chosen.recipe, *rest], defaults, prog)


def show_fields(prog: str, kinds: Sequence[tuple[type, Any]], *, before: Section | None = None) -> NoReturn:
    """Print the help of dataclasses, each with its default instance or None, and exit."""
    from training.help import page_of

    show(page_of(prog, kinds[0][0].__doc__ or "", kinds, before=before))
    raise SystemExit(0)


def overridden(recipe: R, argv: Sequence[str], *, prog: str) -> R:
    """Return a recipe with the options of its sections taken over; exits as `parse_command` does for mistakes."""
    return _parsed(type(recipe), argv, recipe, prog)


def parsed(kind: type[C], arguments: Sequence[str], *, prog: str) -> tuple[C, list[str]]:
    """Return a dataclass from options, and what is none of its own; exits as `parse_command` does for mistakes."""
    return _cli(kind, arguments, tyro.MISSING_NONPROP, prog)


def _parsed(kind: type[C], arguments: Sequence[str], default: C, prog: str) -> C:
    found, unknown = _cli(kind, arguments, default, prog)
    if unknown:
        fail(prog, f"unknown option {unknown[0]!r}; see --help")
    return found


def _cli(kind: type[C], arguments: Sequence[str], default: Any, prog: str) -> tuple[C, list[str]]:
    if {"-h", "--help"} & set(arguments):
        show_fields(prog, [(kind, None if default is tyro.MISSING_NONPROP else default)])
    boxed = io.StringIO()
    try:
        with contextlib.redirect_stderr(boxed):
            found, unknown = tyro.cli(
                kind, prog=prog, description=(kind.__doc__ or "").strip(), args=list(arguments),
                default=default, return_unknown_args=True,
            )  # fmt: skip
        check_finite(found)
        _check_given(found)
    except ValueError as error:
        fail(prog, str(error))
    except SystemExit:
        fail(prog, _unboxed(boxed.getvalue()))
    return found, unknown


def _check_given(command: Any) -> None:
    """Raise ValueError for a required option without a value: a list may be empty, what is required may not."""
    for field in fields(command):
        needed = field.default is MISSING and field.default_factory is MISSING
        if needed and getattr(command, field.name) == ():
            raise ValueError(f"--{field.name.replace('_', '-')} needs at least one value")


def _unboxed(text: str) -> str:
    """Return the first paragraph of one of tyro's messages, framed or plain, as one line."""
    lines = [line.strip("│|╭╮╰╯ ") for line in text.splitlines()]
    # Framed messages carry their title in the upper edge, plain ones above a line of dashes.
    body = [line for line in lines if line and not set(line) <= set("─-") and "─ " not in line]
    paragraph = itertools.takewhile(lambda line: not line.startswith("For full helptext"), body)
    return " ".join(" ".join(paragraph).split()) or " ".join(text.split())


def _defaults(command: type[C], recipe: str, config: Any) -> C:
    """Return an instance whose fields without a default are tyro's MISSING."""
    given = {"recipe": recipe, "config": config}
    required = {
        field.name: tyro.MISSING
        for field in fields(command)  # type: ignore[arg-type]
        if field.default is MISSING and field.default_factory is MISSING and field.name not in given
    }
    return command(**given, **required)


def fail(prog: str, message: str, *, code: int = USAGE_EXIT) -> None:
    """Print one line on standard error, from one process, and exit."""
    if int(os.environ.get("RANK", os.environ.get("HOROVOD_RANK", 0))) == 0:
        sys.stderr.write(f"{prog}: {message}\n")
    raise SystemExit(code)


def check_output(output: Path) -> None:
    """Raise ValueError for an output that exists already, or that cannot be made where it should lie."""
    if output.exists():
        raise ValueError(f"output {output} exists already; choose another")
    above = next(folder for folder in output.absolute().parents if folder.exists())
    if not (above.is_dir() and os.access(above, os.W_OK | os.X_OK)):
        raise ValueError(f"output {output} cannot be made: {above} is no folder that may be written to")


def run_main(prog: str, work: Callable[[], None]) -> None:
    """Run a command; wrong input ends in one line and exit code 2, a disk that takes no more in one and 74.

    Anything else is a bug and raises.
    """
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s: %(message)s")
    transformers.utils.logging.disable_progress_bar()  # of weights, which are read at once
    try:
        work()
    except SaveError as error:
        fail(prog, str(error), code=SAVE_FAILED_EXIT)
    except OSError as error:
        if error.errno in _FULL:
            fail(prog, f"{error}: make room, and start again; earlier checkpoints are whole", code=SAVE_FAILED_EXIT)
        if not isinstance(error, (FileNotFoundError, NotADirectoryError, ValueError)):
            raise
        fail(prog, str(error))
    except ValueError as error:
        logger.debug("bad input", exc_info=True)
        fail(prog, str(error))


def run_alone(prog: str, work: Callable[[Processes], bool]) -> None:
    """Run a command that takes one process, as `run_main`; False says that a signal stopped it: the resume code."""

    def alone() -> None:
        processes = start_processes()
        if processes.world_size > 1:
            raise ValueError(f"{prog} runs in one process: start it with python, not torchrun")
        if not work(processes):
            raise SystemExit(RESUME_EXIT)

    run_main(prog, alone)


def write_config(path: Path, command: Any) -> None:
    """Print a resolved configuration, and write the command with it as JSON."""
    logger.info("%s\n%s", path, shown(command.config))
    with atomic_file(path) as file:
        file.write((json.dumps(asdict(command), indent=1, default=str) + "\n").encode())
