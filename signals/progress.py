"""Progress bars of commands: what is done, in which unit, how long it still takes; on standard error, for people."""

from collections.abc import Iterable, Sized
from typing import TypeVar

from tqdm import tqdm

_T = TypeVar("_T")
SHOWN_AFTER_S = 2.0
"""What is over sooner needs no bar."""
_LINE = [0]


def take_line(number: int) -> None:
    """Draw this process's bars so many lines below those of the first: of processes that share a terminal."""
    _LINE[0] = number


def line() -> int:
    """Return how many lines below the first process's this one draws its bars."""
    return _LINE[0]


def progress(items: Iterable[_T], what: str, *, unit: str, total: int | None = None) -> Iterable[_T]:
    """Return the items, counted on a bar while they are taken; silent where standard error is no terminal.

    `total` is how many there are, where the items have no length; without it there is no time left to show.
    """
    n = len(items) if total is None and isinstance(items, Sized) else total
    bar: Iterable[_T] = tqdm(
        items,
        desc=what,
        unit=f" {unit}",
        total=n,
        disable=None,
        delay=SHOWN_AFTER_S,
        dynamic_ncols=True,
        leave=False,
        position=line(),
    )
    return bar
