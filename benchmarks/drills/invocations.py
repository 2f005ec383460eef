"""Wrong invocations of every command, generated from the stored pages: each must end in one line and a documented code.

A folder has real things to name (a recording, a bundle, shards, labels) and wrong ones (nothing there, an empty file, a
folder for a file, a file for a folder). Each option of each command in turn gets values of the wrong kind, while the
others have sensible ones. What would go on working although nothing is wrong is stopped, and listed as accepted.
"""

import argparse
import faulthandler
import importlib
import os
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from benchmarks.harness import figure, machine
from cerebeam.cli import COMMANDS
from cerebeam.cli import main as cerebeam
from cerebeam.help.pages import load
from signals.help_pages import Option, Page
from signals.modality import EEG_1020
from synthetic.recordings.one_window import write_segment
from tests.service.conftest import write_small_bundle
from tests.toy_shards import write_toy_shards

BUG_EXIT = 99
DOCUMENTED = frozenset({1, 2, 3, 74, 75, 130})
"""Of docs/reference/command_line.md, besides 0."""
LIMIT_S = 20.0
WRONG = {"INT": ("many", "-5", "2.5", "", "1e400"), "FLOAT": ("much", "-5", "nan", "inf", "0")}
WRITES = frozenset({"output", "into", "to", "final"})
"""Options that name something new; a folder that holds nothing is as good."""
PLACES = ("missing", "folder", "empty", "text.csv", "text.csv/below")


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """How one invocation ended."""

    args: tuple[str, ...]
    code: int | None
    """None where it was still at work, and was stopped."""
    err: str

    @property
    def is_traceback(self) -> bool:
        """Whether an exception reached the user."""
        return self.code == BUG_EXIT or "Traceback (most recent call last)" in self.err

    @property
    def is_documented(self) -> bool:
        """Whether it ended with a code of the table."""
        return self.code in DOCUMENTED


def write_things(root: Path) -> None:
    """Write the files that invocations name, right and wrong ones, into an empty folder."""
    (root / "folder").mkdir()
    (root / "recordings").mkdir()
    (root / "empty").touch()
    (root / "text.csv").write_text("no such columns\n1\n")
    write_segment(root / "recordings" / "a.edf", EEG_1020, window_s=50.0)
    (root / "labels.csv").write_text("file,site,subject,label\na.edf,north,p1,Seizure\n")
    write_toy_shards(root / "shards", n_sites=2, n_subjects=2, n_windows=6, window_s=50.0)
    write_small_bundle(root / "bundle")


def value_of(option: Option, *, number: int) -> str:
    """Return a sensible value of an option: what is there where it reads, a new name where it writes."""
    name = option.names[0].lstrip("-")
    known = {
        "input": "recordings", "file": "recordings/a.edf", "segment": "recordings/a.edf", "labels": "labels.csv",
        "shards": "shards", "ranges": "shards", "evaluate": "shards", "bundle": "bundle", "task": "six-class",
        "output": f"new-{number}", "into": f"new-{number}", "to": f"new-{number}", "data": "folder", "lsl": "nobody",
        "name": "six-class", "recipe": option.default or "probe", "registry": f"sqlite:///new-{number}.db",
    }  # fmt: skip
    if name in known:
        return known[name]
    if option.choices:
        return option.choices[0]
    return {"INT": "1", "FLOAT": "1.0", "PATH": "missing"}.get(option.metavar, "x")


def generate(pages: dict[str, Page]) -> Iterator[tuple[str, ...]]:
    """Yield wrong command lines, of every command and of each of its options."""
    yield from ((), ("nonsense",), ("--nonsense",))
    known: set[str] = set()
    for number, (name, page) in enumerate(pages.items()):
        words = tuple(name.split())
        if page.commands:
            yield from ((*words, "nonsense"), words)
            continue
        needed = [option for option in page.options if option.required]
        needed += [option for group in page.one_of for option in page.options if option.names[0] == group[0]]
        yield (*words, *_line(needed, number), "--nonsense")
        if needed:
            yield words
            yield (*words, *_line(needed[:-1], number))
        for option in page.options:
            # An option of a recipe is one dataclass, whichever command shows it.
            if "." in option.names[0] and option.names[0] in known:
                continue
            known.add(option.names[0])
            others = _line([one for one in needed if one is not option], number)
            for wrong in _wrong(option):
                value = (wrong,) if option.is_positional else (f"{option.names[0]}={wrong}",)
                yield (*words, *value, *others) if option.is_positional else (*words, *others, *value)
            if option.metavar and not option.is_positional:
                yield (*words, *others, option.names[0])


def _line(options: Sequence[Option], number: int) -> list[str]:
    values = [(option, value_of(option, number=number)) for option in options]
    flags = [part for option, value in values if not option.is_positional for part in (option.names[0], value)]
    # Arguments come first: an option of several values would take them.
    return [value for option, value in values if option.is_positional] + flags


def _wrong(option: Option) -> tuple[str, ...]:
    if option.choices:
        return ("nonsense",)
    if option.names[0].lstrip("-") in WRITES:
        return ("text.csv/below", "text.csv")
    if option.metavar in WRONG:
        return WRONG[option.metavar]
    reads = option.metavar in ("PATH", "FILE") or option.names[0].lstrip("-") in ("file", "shards", "input", "config")
    return PLACES if reads else ()


def preload(pages: Iterable[str]) -> None:
    """Import the commands once, so that a child of this process starts at work."""
    for name in {page.split()[0] for page in pages}:
        importlib.import_module(COMMANDS[name][0].partition(":")[0])


def run(args: Sequence[str], root: Path, *, limit_s: float = LIMIT_S) -> Outcome:
    """Run one command line in a child of this process, in a folder; it is stopped with its own children."""
    log = root / ".stderr"
    child = os.fork()
    if child == 0:
        _be_child(args, root, log)
    until = time.monotonic() + limit_s
    while (ended := os.waitpid(child, os.WNOHANG))[0] == 0 and time.monotonic() < until:
        time.sleep(0.005)
    with suppress(ProcessLookupError):
        os.killpg(child, signal.SIGKILL)
    if ended[0] == 0:
        os.waitpid(child, 0)
    code = os.waitstatus_to_exitcode(ended[1]) if ended[0] else None
    return Outcome(args=tuple(args), code=code, err=log.read_text(errors="replace"))


def _be_child(args: Sequence[str], root: Path, log: Path) -> None:
    os.setsid()
    os.chdir(root)
    file = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(file, 2)
    os.dup2(os.open(os.devnull, os.O_RDWR), 0)
    os.dup2(0, 1)
    # Whoever runs the drill may have put something else in their place.
    sys.stdout, sys.stderr = os.fdopen(1, "w", closefd=False), os.fdopen(2, "w", closefd=False)
    faulthandler.enable(file=2)
    code = BUG_EXIT
    try:
        code = cerebeam(args)
    except SystemExit as ended:
        code = ended.code if isinstance(ended.code, int) else int(bool(ended.code))
    except BaseException:
        traceback.print_exc()
        sys.stderr.flush()
    sys.stderr.flush()
    os._exit(code)


def drill(lines: Sequence[tuple[str, ...]], root: Path, *, limit_s: float = LIMIT_S) -> Iterator[Outcome]:
    """Run all, each in the same folder; yields what became of each."""
    os.environ |= {"XDG_CACHE_HOME": str(root / "cache"), "HOME": str(root), "CUDA_VISIBLE_DEVICES": ""}
    for line in lines:
        yield run(line, root, limit_s=limit_s)


def problem(outcome: Outcome) -> str:
    """Return what is wrong with an outcome; empty for one line and a code of the table."""
    if outcome.is_traceback:
        return "traceback"
    if outcome.code is None or outcome.code == 0:
        return "accepted"
    if not outcome.is_documented:
        return "code not in the table"
    return ""


def main() -> None:
    """Generate, run, list what is wrong, print the figures."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--every", type=int, default=1, help="take one of so many")
    parser.add_argument("--limit-s", type=float, default=LIMIT_S, help="how long a command may work")
    parser.add_argument("--only", nargs="+", default=[], help="commands")
    given = parser.parse_args()
    pages = {name: page for name, page in load().items() if not given.only or name.split()[0] in given.only}
    print(machine())
    lines = list(generate(pages))[:: given.every]
    preload(pages)
    root = Path(tempfile.mkdtemp(prefix="invocations-"))
    try:
        write_things(root)
        problems = []
        for outcome in drill(lines, root, limit_s=given.limit_s):
            problems.append(problem(outcome))
            if problems[-1]:
                last = (outcome.err.strip().splitlines() or [""])[-1]
                print(f"{problems[-1]}: cerebeam {' '.join(outcome.args)} -> {outcome.code}: {last[:200]}", flush=True)
    finally:
        shutil.rmtree(root, ignore_errors=True)
    figure("wrong_invocations", len(problems), "")
    figure("tracebacks", problems.count("traceback"), "")
    figure("invocations_accepted", problems.count("accepted"), "")


if __name__ == "__main__":
    main()
