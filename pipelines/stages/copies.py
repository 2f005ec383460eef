"""Files of one content are one recording: which of them is used is decided by hashes, the others are copies."""

from collections.abc import Iterable
from dataclasses import replace

from pipelines.runs.accounting import COPY
from pipelines.stages.outcome import Refused
from pipelines.stages.plan_files import Accepted
from signals.recording.identity import hash_file
from signals.windows.blocks import Block

Rank = tuple[bool, int, str]
"""Smaller is preferred; the last place is the file's id."""
NOTE = "copies_left_out"


def ranked(file: Accepted) -> tuple[str, Rank]:
    """Return (recording_id, rank): whose subject is known, then who has most labels, then by the file's id."""
    return file.recording_id, (not file.subject_known, -file.n_labels, file.file_id)


def of_several(ranks: tuple[str, Iterable[Rank]]) -> Iterable[tuple[str, str]]:
    """Yield (recording_id, file_id of the one to use) where several files have a recording's content."""
    recording_id, each = ranks
    ordered = sorted(each)
    if len(ordered) > 1:
        yield recording_id, ordered[0][-1]


def is_used(block: Block, used: dict[str, str], salt: str) -> bool:
    """Return whether a block is of the file that is used for its recording; `used` holds what `of_several` yields."""
    chosen = used.get(block.plan.recording_id)
    return chosen is None or chosen == hash_file(block.plan.uri, salt=salt)


def without_copies(accepted: Iterable[Accepted], used: dict[str, str]) -> tuple[list[Accepted], list[Refused]]:
    """Return the files that are used, with a note where there were copies, and the copies."""
    kept: list[Accepted] = []
    copies: list[Refused] = []
    for file in accepted:
        chosen = used.get(file.recording_id)
        if chosen is None:
            kept.append(file)
        elif chosen == file.file_id:
            kept.append(replace(file, notes=(*file.notes, NOTE)))
        else:
            copies.append(
                Refused(level="file", reason=COPY, site_id=file.site_id, source_id=file.file_id, hours=file.hours)
            )
    return kept, copies
