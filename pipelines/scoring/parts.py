"""Blocks of a recording to one table of answers: what a worker does at a time, and what a killed run keeps.

A part is an hour or so of one recording's windows. Windows are prepared and answered by the functions that the
service's jobs use, block by block, so that filters run over overlapping windows once.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from pipelines.runs import storage
from pipelines.runs.progress import faults_path, keep, kept, rejected_path, work_digest
from pipelines.scoring.bundles import scorer
from pipelines.stages.outcome import FAULTS, Refused
from pipelines.stages.prepare import prepared
from serving.model import Model
from serving.rows import answer_rows, keyed_rows
from signals.bundles.inputs import SERVED
from signals.threads import one_thread
from signals.window import Window
from signals.windows.blocks import Block

PartKey = tuple[str, str, int, int]
"""(site_id, recording_id, segment, number of the part in it)."""
windows_planned, windows_answered = Counter[str](), Counter[str]()
"""By the output of a run, as far as this process works on it: what a progress bar shows. Refused ones count too."""
PART_WINDOWS = 360
"""Windows of a part, about: an hour at a hop of 10 s."""


def part_of(block: Block) -> PartKey:
    """Return the part that a block belongs to: decided by where it begins, whatever else is in the run."""
    profile, first = block.plan.profile, block.starts[0]
    n_times = round(PART_WINDOWS * profile.hop_s * profile.signal.sfreq)
    return block.plan.site_id, block.plan.recording_id, first.segment, first.start // n_times


def part_name(key: PartKey) -> str:
    """Return the path of a part's table within the output."""
    site_id, recording_id, segment, number = key
    return f"site={site_id}/{recording_id}-{segment:04d}-{number:06d}.parquet"


@dataclass(frozen=True, kw_only=True)
class PartResult:
    """What became of one part."""

    name: str
    site_id: str
    n_planned: int
    n_answered: int
    rejected: dict[str, int]
    """Windows without an answer, by reason."""
    classes: dict[str, int]
    """Answered windows by predicted class."""
    sha256: str
    """Of the table; empty where no window has an answer, and there is none."""
    has_faults: bool = False
    was_kept: bool = False
    """Whether an earlier, killed run had written it."""

    @classmethod
    def from_note(cls, fields: Mapping[str, Any]) -> "PartResult":
        """Build a result from its note, as one that was kept."""
        return cls(**{**fields, "was_kept": True})


@dataclass(frozen=True)
class Scoring:
    """What answers."""

    bundle: str
    """Its folder."""
    digest: str


def answer_part(output: str, scoring: Scoring, key: PartKey, grouped: Iterable[Block]) -> PartResult:
    """Return what came of one part, its table written whole.

    A part that an earlier, killed run wrote from the same work is verified by its sha256 and kept.
    """
    blocks = sorted(grouped, key=lambda block: block.starts[0].start)
    name, work = part_name(key), work_digest(blocks) + scoring.digest
    note = kept(output, name, work)
    if note is not None and _is_whole(output, result := PartResult.from_note(note)):
        windows_answered[output] += result.n_planned
        return result
    result = _answer(output, name, scorer(scoring.bundle, scoring.digest), blocks)
    keep(output, name, work, asdict(result))
    return result


def _is_whole(output: str, result: PartResult) -> bool:
    path = storage.join(output, result.name)
    return not result.sha256 or (storage.exists(path) and storage.sha256(path) == result.sha256)


@one_thread()
def _answer(output: str, name: str, model: Model, blocks: Sequence[Block]) -> PartResult:
    refused = list[Refused]()
    windows = _windows(model, blocks, refused, output)
    answers = [one for batch in model.answers_of(windows) for one in batch]
    plan, path = blocks[0].plan, storage.join(output, name)
    rows = answer_rows(
        answers, classes=model.bundle.classes, label_span_s=model.bundle.profile.label_span_s, model=model.name,
        model_digest=model.digest,
    )  # fmt: skip
    rows = keyed_rows(rows, source_sha256=plan.source_sha256, sfreq=plan.profile.signal.sfreq)
    if rows:
        of_whom = {"site_id": plan.site_id, "subject_id": plan.subject_id}
        with storage.create(path) as file:
            pq.write_table(pa.Table.from_pylist([{**of_whom, **row} for row in rows]), file)
    if refused:
        storage.write_rows(rejected_path(output, name), [row.public_row() for row in refused])
    faults = [row.private_row() for row in refused if row.reason in FAULTS]
    if faults:
        storage.write_rows(faults_path(output, name), faults)
    return PartResult(
        name=name, site_id=plan.site_id, n_planned=sum(len(block.starts) for block in blocks), n_answered=len(rows),
        rejected=dict(sorted(Counter(row.reason for row in refused).items())),
        classes=dict(sorted(Counter(answer.predicted_class for answer in answers).items())),
        sha256=storage.sha256(path) if rows else "", has_faults=bool(faults),
    )  # fmt: skip


def _windows(model: Model, blocks: Sequence[Block], refused: list[Refused], output: str) -> Iterator[Window]:
    """Yield the windows of blocks as the service prepares them: of nobody whom a normaliser could know."""
    for block in blocks:
        for outcome in prepared(block, want=model.intake.want, encode=_nothing):
            if isinstance(outcome, Refused):
                refused.append(outcome)
            else:
                yield replace(outcome.window, site_id=SERVED, subject_id=SERVED)
            windows_answered[output] += 1


def _nothing(_: Window) -> bytes:
    return b""
