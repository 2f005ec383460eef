"""Things that take seconds to make and are wanted again: made once, in the background, kept while there is room."""

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any


@dataclass
class Build:
    """One thing that is being made, or is there."""

    value: Any = None
    error: Exception | None = None
    share: float = 0.0
    """What is done of it."""
    done: threading.Event = field(default_factory=threading.Event)

    def progress(self, share: float) -> None:
        """Note how far it is."""
        self.share = share


class Builds:
    """What was made, by key; the least recently wanted goes when `most_bytes` are passed."""

    def __init__(self, *, most_bytes: int, n_at_once: int = 2) -> None:
        """Start threads that make things."""
        self._most = most_bytes
        self._kept: OrderedDict[Hashable, tuple[Build, Callable[[Any], int]]] = OrderedDict()
        self._lock = threading.Lock()
        self._pool = ThreadPoolExecutor(n_at_once, thread_name_prefix="viewer-build")

    def want(
        self, key: Hashable, make: Callable[[Callable[[float], None]], Any], *, size: Callable[[Any], int]
    ) -> Build:
        """Return what there is of a thing, which is begun if there is nothing; `make` gets a function for progress."""
        with self._lock:
            if key in self._kept:
                self._kept.move_to_end(key)
                return self._kept[key][0]
            build = Build()
            self._kept[key] = (build, size)
        self._pool.submit(self._make, build, make)
        return build

    def _make(self, build: Build, make: Callable[[Callable[[float], None]], Any]) -> None:
        try:
            build.value = make(build.progress)
            build.share = 1.0
        except Exception as error:  # whoever wants it gets it
            build.error = error
        build.done.set()
        self._make_room()

    def _make_room(self) -> None:
        with self._lock:
            sizes = {
                key: size(build.value) for key, (build, size) in self._kept.items()
                if build.done.is_set() and build.error is None
            }  # fmt: skip
            total = sum(sizes.values())
            for key, n_bytes in list(sizes.items())[:-1]:
                if total <= self._most:
                    break
                del self._kept[key]
                total -= n_bytes

    def forget(self, key: Hashable) -> None:
        """Let a thing be made anew, as after an error."""
        with self._lock:
            self._kept.pop(key, None)

    def close(self) -> None:
        """Begin nothing more."""
        self._pool.shutdown(wait=False, cancel_futures=True)
