"""A block's windows, ready for a shard: prepared and encoded, or refused one by one at no other window's cost.

All stages that prepare samples come through here, so that they agree on what is refused.
"""

import logging
from collections.abc import Callable, Collection, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import lru_cache
from traceback import format_tb

import numpy as np

from pipelines.stages.outcome import Refused
from signals.readers.declaration import Declaration
from signals.readers.isolation import as_unreadable
from signals.readers.registry import reopen_recording
from signals.readers.remote import TransferError
from signals.recording.recording import Recording, RecordingHeader, UnreadableError
from signals.shards.records import encode_window
from signals.window import Window
from signals.windows.blocks import Block, WindowStart
from signals.windows.plan import RecordingPlan
from signals.windows.prepare import EVERYTHING, Rejected, prepare_block

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Ready:
    """A window and its record."""

    start: WindowStart
    window: Window
    record: bytes


def prepared(
    block: Block, *, want: Collection[str] = EVERYTHING, encode: Callable[[Window], bytes] = encode_window
) -> Iterator[Ready | Refused]:
    """Yield one outcome per window of a block, in order; raises TransferError and MemoryError only.

    `want` as in `signals.windows.prepare.prepare_block`; `encode` makes a window's record. Where a block cannot be
    prepared as a whole, its windows are prepared one at a time: a block only saves reading and filtering, so that gives
    the same windows.
    """
    try:
        outcomes = list(_outcomes(block, want, encode))
    except (TransferError, MemoryError):
        raise
    except Exception as error:
        if len(block.starts) == 1:
            yield _fault(block, error)
            return
        single = [_single(block, start) for start in block.starts]
        outcomes = [outcome for one in single for outcome in prepared(one, want=want, encode=encode)]
    yield from outcomes


def _single(block: Block, start: WindowStart) -> Block:
    scores = dict(zip(block.starts, block.anomaly, strict=True)) if block.anomaly else {}
    return replace(block, starts=(start,), anomaly=(scores[start],) if scores else ())


def _outcomes(block: Block, want: Collection[str], encode: Callable[[Window], bytes]) -> Iterator[Ready | Refused]:
    with np.errstate(invalid="ignore", over="ignore"):  # of samples that are not finite, refused below
        result = prepare_block(reopened(block.plan), block, want=want)
    by_onset: list[Window | Rejected] = sorted([*result.windows, *result.rejected], key=lambda row: row.start_s)
    for start, outcome in zip(sorted(block.starts, key=lambda s: s.start), by_onset, strict=True):
        if isinstance(outcome, Rejected):
            yield _refused(block, outcome.reason, "", outcome.start_s)
        else:
            _check_finite(outcome)
            yield Ready(start, outcome, encode(outcome))


def _check_finite(window: Window) -> None:
    if not np.isfinite(window.data).all():
        raise UnreadableError("reader_crashed", "samples are not finite")


def _fault(block: Block, error: Exception) -> Refused:
    unreadable = isinstance(error, UnreadableError | OSError)
    if not unreadable:
        # Where, but not the message: it may quote a path or a name, and goes to the private list alone.
        logger.error("a window failed: %s\n%s", type(error).__name__, "".join(format_tb(error.__traceback__)))
    detail = as_unreadable(error).detail
    return _refused(block, "unreadable_samples" if unreadable else "internal_error", detail, _onset_s(block))


def _onset_s(block: Block) -> float:
    """Return the onset of a block in its recording, or in its segment where that cannot be opened any more."""
    start = block.starts[0]
    onset_s = start.start / block.plan.profile.signal.sfreq - block.plan.margins[0]
    with suppress(Exception):
        segments = reopened(block.plan).segments
        onset_s += segments[start.segment].onset_s
    return round(onset_s, 6)


def _refused(block: Block, reason: str, detail: str, start_s: float) -> Refused:
    plan = block.plan
    return Refused(
        level="window", reason=reason, detail=detail, site_id=plan.site_id, source_id=plan.recording_id, at_s=start_s,
        uri=plan.uri,
    )  # fmt: skip


def reopened(plan: RecordingPlan) -> Recording:
    """Return a planned recording again; a shard's blocks come from many."""
    return _reopened(plan.uri, plan.header, plan.declared, plan.source_sha256)


@lru_cache(maxsize=8)
def _reopened(uri: str, header: RecordingHeader, declared: Declaration, sha256: str) -> Recording:
    """Return a recording from what planning learnt of it; `sha256` keeps the cache honest."""
    return reopen_recording(uri, header, declared=declared)
