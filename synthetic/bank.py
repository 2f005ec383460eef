"""A bank of simulated patterns with their truth, to pretrain on: `python -m synthetic.bank --output BANK`.

    python -m synthetic.bank --output BANK --patterns 3000 --held-out 8

BANK/patterns.npz: patterns of the families to learn from (`synthetic.segments.families.TRAINED`), classes in turn.
BANK/segments.npz: labelled segments of the families to choose on (`HELD_OUT`), on simulated backgrounds; a family of
which every segment lies on a real recording is not among them. `training.pretrain --bank BANK` lays the patterns over
the windows that it reads, and scores what it learnt on the segments.
"""

import itertools
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TypeVar

import numpy as np

from signals.command_line import Parser, count, whole
from signals.files import atomic_folder
from signals.modality import EEG_1020
from signals.patterns.bank import PATTERNS_FILE, SEGMENTS_FILE, HeldOut, write_arrays
from signals.processes import process_pool
from signals.tasks import SIX_CLASS
from synthetic.command import OnProgress, run_command
from synthetic.segments.entries import Compact, compact, draw_entry, firsts, packed
from synthetic.segments.families import HELD_OUT, TRAINED, draw_segment
from synthetic.segments.segment import Segment
from synthetic.subject.truth import Truth

PROG = "cerebeam bank"
_UNKNOWN_DISCHARGES = ("sporadic", "brief-runs", "elsewhere")
"""Forms of Other whose discharges a segment's truth does not name."""
T = TypeVar("T")


def write_bank(
    output: Path,
    *,
    seed: int,
    patterns: int = 3000,
    held_out: int = 8,
    jobs: int = 1,
    on_progress: OnProgress | None = None,
) -> Path:
    """Write a bank, whole or not at all, and return its folder; the same arguments but `jobs` give the same bytes.

    held_out: segments of each class and family. Raises ValueError for fewer than one pattern of each class, for no
    held-out segment, and for an `output` that is not empty.
    """
    n_classes = len(SIX_CLASS.classes)
    if patterns < n_classes or held_out < 1 or jobs < 1:
        raise ValueError(f"{patterns=} must be at least {n_classes}, {held_out=} and {jobs=} at least 1")
    families = [i for i, family in enumerate(HELD_OUT) if family.carriers < 1]
    numbers = [(i, n) for i in families for n in range(held_out * n_classes)]
    done, total = itertools.count(1), patterns + len(numbers)

    def counted(made: Iterator[T]) -> Iterator[T]:
        for one in made:
            yield one
            if on_progress is not None:
                on_progress(next(done), total)

    with atomic_folder(output) as folder:
        entries = list(counted(each(partial(entry_of, seed), range(patterns), jobs)))
        write_arrays(folder / PATTERNS_FILE, packed(entries))
        segments = list(counted(each(partial(segment_of, seed), numbers, jobs)))
        write_arrays(folder / SEGMENTS_FILE, _held_out([HELD_OUT[i].name for i, _ in numbers], segments))
    return output


def each(work: Callable[..., T], items: Sequence[object] | range, jobs: int) -> Iterator[T]:
    """Yield the work on each item, in order, by so many processes."""
    if jobs == 1:
        yield from map(work, items)
        return
    with process_pool(jobs, method="spawn") as pool:  # fresh interpreters: the caller may have threads
        yield from pool.map(work, items, chunksize=16)


def entry_of(seed: int, number: int) -> Compact:
    """Return a pattern by its number."""
    rng = np.random.default_rng([seed, 0, number])
    n_classes = len(SIX_CLASS.classes)
    family = TRAINED[number // n_classes % len(TRAINED)]
    return compact(draw_entry(rng, label=SIX_CLASS.classes[number % n_classes], family=family))


def segment_of(seed: int, place: tuple[int, int]) -> Segment:
    """Return a held-out segment by its family's place among `HELD_OUT` and its number."""
    family, number = place
    rng = np.random.default_rng([seed, 1, family, number])
    label = SIX_CLASS.classes[number % len(SIX_CLASS.classes)]
    return draw_segment(rng, label=label, family=replace(HELD_OUT[family], carriers=0.0))


def _held_out(families: Sequence[str], segments: Sequence[Segment]) -> HeldOut:
    truths = [segment.truth for segment in segments]
    onsets = [np.array([e.onset_s for e in truth.of("discharge")], np.float32) for truth in truths]
    steps = [max(float(np.abs(segment.data).max()), 1e-3) / 32000 for segment in segments]
    return HeldOut(
        sfreq=EEG_1020.sfreq, ch_names=np.array(EEG_1020.ch_names),
        data_SCT=np.stack([np.rint(s.data / step).astype(np.int16) for s, step in zip(segments, steps, strict=True)]),
        step_S=np.array(steps, np.float32), family_S=np.array(families),
        variant_S=np.array([truth.variant for truth in truths]),
        class_S=np.array([SIX_CLASS.classes.index(truth.label) for truth in truths]),
        votes_SK=np.array([segment.votes for segment in segments], np.float32),
        span_S2=np.array([truth.span_s for truth in truths], np.float32),
        rate_S2=np.array([truth.rate_hz for truth in truths], np.float32),
        train_S=np.array([_train(truth) for truth in truths]),
        onset_s_M=np.concatenate(onsets), onset_first_S=firsts(onsets),
    )  # fmt: skip


def _train(truth: Truth) -> int:
    """Return what `HeldOut.train_S` says of a segment."""
    if truth.label in ("LPD", "GPD"):
        return 1
    return -1 if truth.label == "Seizure" or truth.variant in _UNKNOWN_DISCHARGES else 0


def main(argv: Sequence[str] | None = None) -> int:
    """Make a bank from the command line; return 0, or 2 with one line on stderr for bad input."""
    parser = Parser(prog=PROG, description="a bank of simulated patterns with their truth, to pretrain on")
    parser.add_argument("--output", type=Path, required=True, help="folder to make")
    parser.add_argument("--patterns", type=count, default=3000, help="how many, classes in turn")
    parser.add_argument("--held-out", type=count, default=8, help="segments of each class and held-out family")
    parser.add_argument("--seed", type=whole, default=0, help="of everything that is drawn")
    parser.add_argument(
        "--jobs", type=count, default=os.cpu_count() or 1, help="processes; by default as many as cores"
    )
    args = parser.parse_args(argv)

    def make(on_progress: OnProgress) -> Path:
        return write_bank(
            args.output, seed=args.seed, patterns=args.patterns, held_out=args.held_out, jobs=args.jobs,
            on_progress=on_progress,
        )  # fmt: skip

    return run_command(PROG, make, unit="pattern")


if __name__ == "__main__":
    sys.exit(main())
