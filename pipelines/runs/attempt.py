"""How a run begins, anew or where a killed one ended, and what is reported of one that died."""

import logging
import re
from collections.abc import Mapping

from pipelines.runs import storage
from pipelines.runs.accounting import Counts
from pipelines.runs.progress import PROGRESS, begin, different_facts
from pipelines.runs.publish import clear

logger = logging.getLogger(__name__)


class RunError(RuntimeError):
    """A run that ended without its output; the message is one line.

    `counts` is the accounting of a run that failed by it.
    """

    def __init__(self, message: str, counts: Counts | None = None) -> None:
        super().__init__(message)
        self.counts = counts


def begin_or_resume(working: str, facts: Mapping[str, str], *, resume: bool) -> None:
    """Make the working folder ready: empty, or for a resumed run as the killed one left it.

    Raises RunError where that one was begun with other facts.
    """
    differing = different_facts(working, dict(facts)) if resume else None
    if differing:
        raise RunError(
            f"--resume: {working} was begun with another {', '.join(differing)}; leave --resume out to start anew"
        )
    if differing is None:
        clear(working)
        begin(working, dict(facts))


def died(error: Exception, working: str, what: str) -> RunError:
    """Return the error of a run that a runner, a worker or a file system ended; `what` are its files, in words."""
    logger.debug("the run died", exc_info=error)
    return RunError(f"the run died: {_last_line(error)}; {_left_over(working, what)}")


def _left_over(working: str, what: str) -> str:
    """Return what a dead run left, in words; a run that wrote no file leaves nothing."""
    n_whole = sum(path.endswith(".json") for path in storage.list_files(storage.join(working, PROGRESS)))
    if n_whole == 0:
        clear(working)
        return "nothing was written"
    return f"{working} keeps {n_whole} whole {what}, which --resume takes over"


def _last_line(error: Exception) -> str:
    """Return what a worker's traceback ends with."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    raised = [line for line in lines if re.match(r"[\w.]*(Error|Exception|Interrupt)\b", line)]
    return raised[-1] if raised else f"{type(error).__name__}: {lines[-1] if lines else ''}".rstrip(": ")
