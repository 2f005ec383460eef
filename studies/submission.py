"""A model's answers for the test part of the HMS competition, as the table that it asks for.

`python -m studies.submission --model DIR --shards DIR --hms-test DIR --out submission.csv`, where the shards are made
from DIR/test_eegs by the profile that the model was trained with; `cerebeam six-class predict` runs both steps.
"""

import csv
import io
import json
import logging
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from signals.command_line import Parser
from signals.files import atomic_file
from signals.readers.digests import source_sha256
from signals.readers.layouts.hms_folder import check_test, eeg_path
from signals.tasks import SIX_CLASS
from training.command import run_main
from training.corpus.corpus import Corpus
from training.fitting.inference import load_on_device, predict

logger = logging.getLogger(__name__)


def submit(model: Path, shards: Path, hms_test: Path, out: Path) -> tuple[int, list[str]]:
    """Write one row for every row of test.csv, in its order; return their number and those without a usable EEG.

    Those, of which preparation kept no window (too short, mostly missing, flat, not of the size of EEG), are answered
    with 1/6 for each class: no opinion. Raises ValueError for a model of another task or montage, HmsError for a
    table that cannot be used; then nothing is written.
    """
    task_model = load_on_device(model)
    opened = Corpus.open(shards)
    if task_model.config.task != SIX_CLASS.name:
        raise ValueError(f"{model} was made for task {task_model.config.task!r}, the competition's is {SIX_CLASS.name}")
    if opened.manifest.modality != task_model.modality:
        raise ValueError(
            f"{shards} holds {opened.manifest.modality.name} windows, the model reads {task_model.modality.name}"
        )
    rows = check_test(hms_test).rows
    probabilities, _ = predict(task_model, opened, np.arange(len(opened.entries)))
    answers_of: dict[str, list[np.ndarray]] = {}
    for entry, answer in zip(opened.entries, probabilities, strict=True):
        answers_of.setdefault(entry.recording_id, []).append(answer)
    answers, unasked = [], []
    for row in rows:
        found = answers_of.get(source_sha256(eeg_path(hms_test, "test", row.eeg_id))[:16])
        if found is None:
            unasked.append(f"test.csv line {row.line}: eeg_id {row.eeg_id}")
        answers.append(np.full(len(SIX_CLASS.classes), 1 / len(SIX_CLASS.classes)) if found is None else _mean(found))
    write_submission(out, [row.eeg_id for row in rows], np.stack(answers))
    return len(rows), unasked


def write_submission(path: Path, eeg_ids: Sequence[str], probabilities: np.ndarray) -> None:
    """Write eeg_id and the six vote columns, whole or not at all; `probabilities` has shape (n, 6), rows sum to 1."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(("eeg_id", *SIX_CLASS.vote_columns))
    writer.writerows([eeg_id, *map(repr, row.tolist())] for eeg_id, row in zip(eeg_ids, probabilities, strict=True))
    with atomic_file(path) as file:
        file.write(text.getvalue().encode())


def _mean(answers: list[np.ndarray]) -> np.ndarray:
    mean = np.mean(answers, axis=0)
    return np.asarray(mean / mean.sum())


def main(argv: Sequence[str] | None = None) -> None:
    """Run from the command line."""
    prog = "studies.submission"
    parser = Parser(prog=prog, description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--model", type=Path, required=True, help="folder of a six-class model")
    parser.add_argument("--shards", type=Path, required=True, help="shard set made from the test EEGs")
    parser.add_argument("--hms-test", type=Path, required=True, help="folder with test.csv and test_eegs/")
    parser.add_argument("--out", type=Path, required=True, help="csv to write")
    parser.add_argument("--notes", type=Path, help="JSON file for the rows that the model has no answer to")
    given = parser.parse_args(argv)

    def work() -> None:
        n_rows, unasked = submit(given.model, given.shards, given.hms_test, given.out)
        logger.info("%d rows, %d without a usable EEG", n_rows, len(unasked))
        if given.notes:
            with atomic_file(given.notes) as file:
                file.write(json.dumps({"rows": n_rows, "unasked": unasked}).encode())

    run_main(prog, work)


if __name__ == "__main__":
    main()
