"""What the command lines of this room share: a progress bar, a path on success, one line for bad input."""

import sys
from collections.abc import Callable
from pathlib import Path

from tqdm import tqdm

OnProgress = Callable[[int, int], None]
"""Called with (done, total) after each step."""


def run_command(name: str, make: Callable[[OnProgress], Path], *, unit: str) -> int:
    """Print the path that `make` returns and return 0; return 2 with one line on stderr for ValueError and OSError."""
    with tqdm(desc=f"{unit}s", unit=unit, disable=not sys.stderr.isatty()) as bar:

        def show(done: int, total: int) -> None:
            bar.total = total
            bar.update(done - bar.n)

        try:
            path = make(show)
        except (ValueError, OSError) as error:
            sys.stderr.write(f"{name}: {error}\n")
            return 2
    sys.stdout.write(f"{path}\n")
    return 0
