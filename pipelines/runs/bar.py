"""A progress bar over what a run's stages have done in this process: what is left, and how long it takes."""

import threading
from collections import Counter
from types import TracebackType

from tqdm import tqdm


class Bar:
    """A bar over counters that the stages of a run add to, by its output; silent where there is no terminal.

    `planned` is how much there is to do, once it is known: the bar then shows the time left. For runners that work
    within this process; another one's work is not seen, and its own page shows it.
    """

    def __init__(
        self, what: str, *, unit: str, output: str, done: Counter[str], planned: Counter[str] | None = None
    ) -> None:
        self._output, self._done, self._planned = output, done, planned
        self._ended = threading.Event()
        self._bar = tqdm(desc=what, unit=unit, unit_scale=True, disable=None)
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> None:
        for counter in (self._done, self._planned):
            if counter is not None:  # an earlier run of this process may have had the same output
                del counter[self._output]
        self._thread.start()

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        self._ended.set()
        self._thread.join()
        self._bar.close()

    def _watch(self) -> None:
        has_ended = False
        while not has_ended:
            has_ended = self._ended.wait(0.5)
            if self._planned is not None and self._planned[self._output]:
                self._bar.total = self._planned[self._output]
            self._bar.update(self._done[self._output] - self._bar.n)
