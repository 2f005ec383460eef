"""Tasks of a study in several processes: each opens the study once, and all end in order when one is stopped."""

import logging
import multiprocessing
import signal
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from multiprocessing.sharedctypes import Synchronized
from typing import Any, TypeVar

import torch
import transformers

from signals.progress import take_line

T = TypeVar("T")
_OPENED: list[Any] = []


def in_processes(
    work: Callable[[Any, T], T], reopen: Callable[[], Any], jobs: int, waves: Sequence[Sequence[T]]
) -> Iterator[T]:
    """Yield what `work(study, task)` returns as tasks are done; a wave begins when the one before is finished.

    work, reopen and tasks can be pickled. An exception or exit of one process ends all: each gets SIGTERM, saves
    the fit that it is in, and is waited for.
    """
    context = multiprocessing.get_context("spawn")
    started = context.Value("i", 0)
    with ProcessPoolExecutor(jobs, mp_context=context, initializer=_open, initargs=(reopen, started)) as pool:
        try:
            for wave in waves:
                for future in as_completed([pool.submit(_do, work, task) for task in wave]):
                    yield future.result()
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            for process in multiprocessing.active_children():
                process.terminate()
            raise


def _open(reopen: Callable[[], Any], started: "Synchronized[int]") -> None:
    with started.get_lock():
        take_line(started.value)
        started.value += 1
    torch.set_num_threads(1)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the first process ends the others
    logging.getLogger("training").setLevel(logging.ERROR)  # the first process has logged it
    transformers.utils.logging.disable_progress_bar()
    _OPENED[:] = [reopen()]


def _do(work: Callable[[Any, T], T], task: T) -> T:
    return work(_OPENED[0], task)
