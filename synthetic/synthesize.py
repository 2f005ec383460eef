"""Make a labelled corpus of several synthetic hospitals: `python -m synthetic.synthesize --output DIR`."""

import csv
import json
import os
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from signals.command_line import Parser, count, whole
from signals.files import atomic_folder
from signals.processes import process_pool
from signals.tasks import SIX_CLASS
from synthetic.command import OnProgress, run_command
from synthetic.recordings.files import write_edf, write_fif
from synthetic.recordings.recordings import SEGMENT_S, SyntheticRecording, record
from synthetic.recordings.sites import FILE_FORMATS, SITES, Site
from synthetic.subject.subjects import draw_subject

GENERATOR_VERSION = 2
"""Raised whenever the same seed gives other files."""
LABEL_COLUMNS = ("site", "subject", "file", "onset_s", "duration_s", "label", "label_kind", *SIX_CLASS.vote_columns,
                 "label_source")  # fmt: skip


def synthesize(
    output: Path,
    *,
    seed: int,
    subjects_per_site: int = 8,
    segments_per_subject: int = 6,
    sites: Sequence[Site] = SITES,
    jobs: int = 1,
    on_progress: OnProgress | None = None,
) -> Path:
    """Write a corpus and return the path of its labels.csv; the same arguments give the same bytes.

    Layout: `output/<site_id>/<subject>.<ext>`, labels.csv (one row per 50-s segment), corpus.json. It is built beside
    `output` and moved there when complete, by `jobs` processes. `on_progress(done, total)` is called after each
    recording. Raises ValueError for counts below 1, no or repeated sites, and an `output` that is not empty.
    """
    if min(subjects_per_site, segments_per_subject, jobs) < 1:
        raise ValueError(f"{subjects_per_site=}, {segments_per_subject=} and {jobs=} must be at least 1")
    if seed < 0:
        raise ValueError(f"seed={seed} is negative")
    if not sites or len({site.site_id for site in sites}) < len(sites):
        raise ValueError(f"sites must be one or more of different site_id, got {[site.site_id for site in sites]}")
    with atomic_folder(output) as partial:
        tasks = list(_tasks(partial, seed, subjects_per_site, segments_per_subject, sites))
        rows = []
        for done, some in enumerate(_written(tasks, jobs), start=1):
            rows += some
            if on_progress is not None:
                on_progress(done, len(tasks))
        _write_labels(partial / "labels.csv", rows)
        about = {"generator_version": GENERATOR_VERSION, "seed": seed, "sites": [site.to_dict() for site in sites]}
        (partial / "corpus.json").write_text(json.dumps(about, indent=2) + "\n")
    return output / "labels.csv"


@dataclass(frozen=True, kw_only=True)
class _Task:
    """One recording to write."""

    folder: Path
    site: Site
    subject_id: str
    labels: list[str]
    seed: list[int]


def _tasks(
    folder: Path, seed: int, subjects_per_site: int, segments_per_subject: int, sites: Sequence[Site]
) -> Iterator[_Task]:
    for site_index, site in enumerate(sites):
        (folder / site.site_id).mkdir()
        n_subjects = site.n_subjects or subjects_per_site
        plan = label_plan(np.random.default_rng([seed, site_index]), n_subjects, segments_per_subject)
        for number, labels in enumerate(plan, start=1):  # number 0 would repeat the plan's stream
            yield _Task(
                folder=folder / site.site_id,
                site=site,
                subject_id=f"{site.site_id}-{number:03d}",
                labels=labels,
                seed=[seed, site_index, number],
            )


def _written(tasks: Sequence[_Task], jobs: int) -> Iterator[list[tuple[object, ...]]]:
    """Write all recordings; yield the label rows of each, in order."""
    if jobs == 1:
        yield from map(_write, tasks)
        return
    # Fresh interpreters: the caller may have threads.
    with process_pool(jobs, method="spawn") as pool:
        yield from pool.map(_write, tasks)


def _write(task: _Task) -> list[tuple[object, ...]]:
    rng, site = np.random.default_rng(task.seed), task.site
    recording = record(rng, site=site, subject=draw_subject(rng), labels=task.labels)
    path = task.folder / f"{task.subject_id}{FILE_FORMATS[site.file_format]}"
    write_recording(path, recording, site=site, patient=task.subject_id)
    return [
        (site.site_id, task.subject_id, path.name, f"{onset:g}", f"{SEGMENT_S:g}", label, "votes", *votes, "synthetic")
        for onset, label, votes in zip(recording.segment_onsets_s, recording.labels, recording.votes, strict=True)
    ]


def label_plan(rng: np.random.Generator, n_subjects: int, segments_per_subject: int) -> list[list[str]]:
    """Return the classes of each subject's segments: balanced over the site, few classes per subject.

    Class counts of a site differ by at most one. A subject has at most three classes, unless the site is so small
    that it could then not be balanced.
    """
    total = n_subjects * segments_per_subject
    classes = rng.permutation(np.array(SIX_CLASS.classes))
    blocks = []
    for rank, label in enumerate(classes):
        count = total // len(classes) + (rank < total % len(classes))
        halves = (count - count // 2, count // 2) if count // 2 >= segments_per_subject / 2 else (count,)
        blocks += [[str(label)] * n for n in halves]
    order = [label for i in rng.permutation(len(blocks)) for label in blocks[i]]
    return [order[i : i + segments_per_subject] for i in range(0, total, segments_per_subject)]


def write_recording(path: Path, recording: SyntheticRecording, *, site: Site, patient: str) -> None:
    """Write a recording in its site's format; only "edf+d" can hold gaps."""
    sfreq = int(site.sfreq)
    if site.file_format == "fif":
        (data,) = recording.stretches
        write_fif(path, data, ch_names=site.ch_names, sfreq=site.sfreq, patient=patient)
        return
    onsets = [
        start + second
        for start, data in zip(recording.stretch_onsets_s, recording.stretches, strict=True)
        for second in range(data.shape[1] // sfreq)
    ]
    write_edf(
        path, recording.stretches, file_format=site.file_format, ch_names=site.ch_names, sfreq=sfreq, patient=patient,
        record_onsets_s=onsets, reference=site.reference,
    )  # fmt: skip


def _write_labels(path: Path, rows: Sequence[Sequence[object]]) -> None:
    with path.open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(LABEL_COLUMNS)
        writer.writerows(rows)


def main(argv: Sequence[str] | None = None) -> int:
    """Make a corpus from the command line; return 0, or 2 with one line on stderr for bad input."""
    parser = Parser(prog="cerebeam synthesize", description="a labelled corpus of several synthetic hospitals")
    parser.add_argument("--output", type=Path, required=True, help="folder to make")
    parser.add_argument("--seed", type=whole, default=0, help="of everything that is drawn")
    parser.add_argument("--subjects-per-site", type=int, default=8, help="how many")
    parser.add_argument("--segments-per-subject", type=int, default=6, help="how many")
    parser.add_argument(
        "--jobs", type=count, default=os.cpu_count() or 1, help="processes; by default as many as cores"
    )
    args = parser.parse_args(argv)

    def make(on_progress: OnProgress) -> Path:
        return synthesize(
            args.output, seed=args.seed, subjects_per_site=args.subjects_per_site,
            segments_per_subject=args.segments_per_subject, jobs=args.jobs, on_progress=on_progress,
        )  # fmt: skip

    return run_command("synthesize", make, unit="recording")


if __name__ == "__main__":
    sys.exit(main())
