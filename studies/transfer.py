"""The transfer table: every way of using an encoder, and tuned baselines, on the very same folds.

`python -m studies.transfer --shards DIR --task T --encoder DIR --output transfer.parquet --group site --seeds 3`

Settings are chosen in each fold from `N_CANDIDATES` by cross-validation over whole subjects of the training side; test
subjects have no say. Each fold's choice serves all seeds.

Exit code 75: a signal stopped it; the same command goes on in the middle of the fit.
"""

import shutil
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TypeVar

from evaluation.measures.multilabel import scores_of, shown
from evaluation.scenarios.transfer import TRANSFER_METRICS, seeds_of, transfer_table
from evaluation.schemas.predictions import Predictions, probabilities, targets, write_predictions
from signals.tasks import is_multilabel
from studies.baselines.candidates import DEFAULT, METHODS, N_CANDIDATES
from studies.engine.command import StudyCommand, line_of, open_design, parse_study, run_command, study_meta
from studies.engine.study import Design, Tuning, about_models, run_study

PROG = "cerebeam transfer"


@dataclass(frozen=True, kw_only=True)
class TransferCommand(StudyCommand):
    """Compare ways of using an encoder, and tuned baselines."""

    encoder: Path | None = None
    """Folder of a pretrained encoder."""
    models: tuple[str, ...] = ()
    """Any of studies.baselines.candidates; without, all but those that cost most."""
    seeds: int = 3
    """How often each model is fitted, where seeds matter."""
    inner_folds: int = 3
    """Groups of training subjects that tuning makes."""
    inner_rounds: int = 1
    """How many of them are used."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if unknown := sorted(set(self.models) - set(METHODS)):
            raise ValueError(f"unknown models {unknown}; models are {', '.join(METHODS)}")
        if self.inner_rounds < 1 or self.inner_folds < 2:
            raise ValueError("inner rounds must be at least 1, inner folds at least 2")
        if self.inner_rounds > self.inner_folds:
            raise ValueError(f"inner_rounds={self.inner_rounds} must be at most inner_folds={self.inner_folds}")
        needy = [name for name in self.models if METHODS[name].needs_encoder]
        if not self.has_encoder and needy:
            raise ValueError(f"without --encoder there is nothing to make {needy[0]!r} of: leave it out of --models")

    @property
    def has_encoder(self) -> bool:
        """Whether there is a pretrained encoder, one for all folds or one per fold."""
        return self.encoder is not None or self.encoders is not None

    @property
    def chosen(self) -> tuple[str, ...]:
        """The models that are compared."""
        return self.models or tuple(n for n in DEFAULT if self.has_encoder or not METHODS[n].needs_encoder)


C = TypeVar("C", bound=TransferCommand)


def design_of(command: TransferCommand) -> Design:
    """Return the study of the chosen models."""
    tuning = Tuning(inner_folds=command.inner_folds, rounds=command.inner_rounds)
    return open_design(command, {name: METHODS[name] for name in command.chosen}, tuning=tuning)


def make_table(command: C, *, command_line: str, open_study: Callable[[C], Design] = design_of) -> Predictions:
    """Fit everything, write the predictions and return them; `command_line` goes into the metadata."""
    design = open_study(command)
    task = design.bench.data.task
    finished = partial(print, "finished", flush=True)
    frame = run_study(design, jobs=command.jobs, reopen=partial(open_study, command), finished=finished)
    meta = {
        **study_meta(command, design, command_line=command_line),
        "budget": {"candidates": N_CANDIDATES, "inner_folds": command.inner_folds, "rounds": command.inner_rounds},
        "models": about_models(design),
    }
    predictions = Predictions(frame=frame, task=task.name, classes=task.classes, meta=meta)
    write_predictions(command.output, predictions)
    shutil.rmtree(design.parts.folder)
    return predictions


def scores(predictions: Predictions, *, n_boot: int = 2000) -> str:
    """Return the table for a terminal: means over seeds, and intervals that resample patients."""
    if is_multilabel(predictions.task):
        return _scores_of_each(predictions, n_boot=n_boot)
    reference = next(iter(seeds_of(predictions.models)))
    rows, _ = transfer_table(predictions, reference=reference, n_boot=n_boot, seed=0)
    lines = [f"{'model':<26}" + "".join(f"{metric:>26}" for metric in TRANSFER_METRICS) + f"{'seeds':>7}"]
    for row in rows:
        known = (row.metrics[metric] for metric in TRANSFER_METRICS)
        cells = "".join(f"{f'{m.value:.3f} [{m.low:.3f}, {m.high:.3f}]':>26}" for m in known)
        lines.append(f"{row.model:<26}{cells}{row.n_seeds:>7}")
    return "\n".join(lines)


def _scores_of_each(predictions: Predictions, *, n_boot: int) -> str:
    """Return the table of a multi-label task, a line for each model and seed."""
    lines = [f"{'model':<26}{'macro AUROC':>26}{'macro AUPRC':>14}"]
    for name in predictions.models:
        frame, classes = predictions.of(name), predictions.classes
        people = frame["subject_id"].to_numpy(dtype=str)
        prob, target = probabilities(frame, classes), targets(frame, classes)
        found = scores_of(prob, target, people, classes, n_boot=n_boot, seed=0)
        lines.append(f"{name:<26}{shown(found.macro_auroc):>26}{found.macro_auprc:>14.3f}")
    return "\n".join(lines)


def main(argv: Sequence[str] | None = None) -> None:
    """Run from the command line."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    command = parse_study(TransferCommand, arguments, prog=PROG)

    def work() -> None:
        print(scores(make_table(command, command_line=line_of(PROG, arguments))))  # noqa: T201

    run_command(PROG, work)


if __name__ == "__main__":
    main()
