"""The transfer table: every way of using an encoder, and tuned baselines, on the very same folds.

`python -m studies.transfer --shards DIR --task T --encoder DIR --output transfer.parquet --group site --seeds 3`

Hyper-parameters are chosen in each fold from `N_CANDIDATES` settings by cross-validation over whole subjects of the
training side; test subjects have no say. Each fold's choice serves all seeds.

Exit code 75: it was asked to stop; the same command goes on after the last finished model, fold and seed, which stand
beside the output until it is written.
"""

import logging
import multiprocessing
import shlex
import shutil
import signal
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn

import numpy as np
import pandas as pd
import torch
import transformers

from evaluation.scenarios.transfer import SEED_MARK, TRANSFER_METRICS, seeds_of, transfer_table
from evaluation.schemas.predictions import Predictions, write_predictions
from signals.command_line import Parser
from studies.baselines.candidates import CONTENDERS, DEFAULT, N_CANDIDATES, Bench, Contender, Params
from studies.loso import make_folds, prediction_rows, run_config, split_meta, window_rows
from studies.parts import Parts, parts_folder
from training.command import check_model_dir, run_main
from training.corpus.corpus import Corpus
from training.corpus.labelled import Labelled, labelled, task_named, with_contrast
from training.corpus.splits import Fold, check_classes, subject_folds
from training.fitting.fit import start_encoder
from training.fitting.learning import class_weights
from training.trainer.stopping import RESUME_EXIT

PROG = "studies.transfer"


@dataclass(frozen=True, kw_only=True)
class TransferCommand:
    """A resolved run."""

    shards: Path
    task: str
    encoder: Path | None
    output: Path
    group: str
    folds: int
    models: tuple[str, ...]
    seeds: int
    inner_folds: int
    inner_rounds: int
    """How many of the inner folds are asked."""
    jobs: int

    def __post_init__(self) -> None:
        if unknown := sorted(set(self.models) - set(CONTENDERS)):
            raise ValueError(f"unknown models {unknown}; models are {', '.join(CONTENDERS)}")
        if min(self.seeds, self.inner_rounds, self.jobs, self.folds) < 1 or self.inner_folds < 2:
            raise ValueError("seeds, folds, inner rounds and jobs must be at least 1, inner folds at least 2")
        if self.inner_rounds > self.inner_folds:
            raise ValueError(f"inner_rounds={self.inner_rounds} must be at most inner_folds={self.inner_folds}")
        needy = [name for name in self.models if CONTENDERS[name].needs_encoder]
        if self.encoder is None and needy:
            raise ValueError(f"without --encoder there is nothing to make {needy[0]!r} of: leave it out of --models")


class Table:
    """The folds and all that their fits share; one in each process."""

    def __init__(self, command: TransferCommand) -> None:
        self.command = command
        task = task_named(command.task)
        if command.encoder is not None:
            check_model_dir(command.encoder)
        data = with_contrast(labelled(Corpus.open(command.shards), task))
        self.folds = make_folds(data, command.group, n_folds=command.folds, seed=0)  # type: ignore[arg-type]
        check_classes(self.folds, data.labels, task.classes)
        self.parts = Parts(parts_folder(command.output), run_config(command, data, self.folds))
        self.bench = Bench(data, command.encoder, self.parts.folder / "logs")

    @property
    def data(self) -> Labelled:
        """All labelled windows."""
        return self.bench.data

    def seeds(self, contender: Contender) -> range:
        """Return the seeds of a contender: one where they change nothing."""
        return range(self.command.seeds if contender.seeded else 1)

    def finish(self, name: str, fold_number: int) -> None:
        """Tune and fit a model for one fold, with every seed, as far as that was not done before."""
        contender, fold = CONTENDERS[name], self.folds[fold_number]
        tuned = self._part(name, fold, "tuned", lambda: self._tune(contender, fold))
        for seed in self.seeds(contender):
            self._part(name, fold, f"seed{seed}", lambda s=seed: self._ask(contender, fold, tuned["params"], s))

    def part(self, name: str, fold: Fold, what: str) -> dict[str, Any] | None:
        """Return a finished part, or None."""
        return self.parts.read(f"{name.replace('/', '--')}/{fold.name}/{what}")

    def _part(self, name: str, fold: Fold, what: str, make: Any) -> dict[str, Any]:
        found = self.part(name, fold, what)
        if found is None:
            started = time.process_time()
            found = {**make(), "cpu_seconds": time.process_time() - started}
            self.parts.write(f"{name.replace('/', '--')}/{fold.name}/{what}", found)
        return found

    def _ask(self, contender: Contender, fold: Fold, params: Params, seed: int) -> dict[str, Any]:
        return {"probabilities": contender.fit(self.bench, fold.train, params, seed)(fold.test).tolist()}

    def _tune(self, contender: Contender, fold: Fold) -> dict[str, Any]:
        """Return the params with the least mean loss over inner folds of training subjects."""
        if len(contender.candidates) == 1:
            return {"params": dict(contender.candidates[0]), "losses": []}
        inner = inner_folds(self.data, fold.train, n_folds=self.command.inner_folds)[: self.command.inner_rounds]
        losses = [
            float(
                np.mean([loss(self.data, i.test, contender.fit(self.bench, i.train, params, 0)(i.test)) for i in inner])
            )
            for params in contender.candidates
        ]
        return {"params": dict(contender.candidates[int(np.argmin(losses))]), "losses": losses}


def inner_folds(data: Labelled, train: np.ndarray, *, n_folds: int) -> list[Fold]:
    """Return folds of whole subjects within the training rows, as rows of `data`."""
    within = subject_folds(data.subjects[train], data.labels[train], n_folds=n_folds, seed=1)
    return [Fold(name=fold.name, train=train[fold.train], test=train[fold.test]) for fold in within]


def loss(data: Labelled, rows: np.ndarray, probabilities: np.ndarray) -> float:
    """Return the mean cross-entropy to the targets, with the class weights that training uses."""
    balance = class_weights(data, rows)
    weight = data.targets[rows] * (1.0 if balance is None else balance)
    return -float((weight * np.log(probabilities + 1e-9)).sum() / weight.sum())


_TABLE: list[Table] = []


def _open_table(command: TransferCommand) -> None:
    torch.set_num_threads(1)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the first process ends the others
    logging.getLogger("training").setLevel(logging.ERROR)  # the first process has said it
    transformers.utils.logging.disable_progress_bar()
    _TABLE[:] = [Table(command)]


def _finish(unit: tuple[str, int]) -> tuple[str, int]:
    _TABLE[0].finish(*unit)
    return unit


def _finished(table: Table) -> Iterator[tuple[str, int]]:
    """Yield each (model, fold number) as it is finished, in `jobs` processes."""
    units = [(name, fold) for name in table.command.models for fold in range(len(table.folds))]
    if table.command.jobs == 1:
        for unit in units:
            table.finish(*unit)
            yield unit
        return
    context = multiprocessing.get_context("spawn")
    with context.Pool(table.command.jobs, _open_table, (table.command,)) as pool:
        yield from pool.imap_unordered(_finish, units)


def make_table(command: TransferCommand, *, told: str) -> None:
    """Fit everything and write the predictions; `told` is the command line, for the metadata."""
    table = Table(command)
    left = {name: len(table.folds) for name in command.models}
    for name, _ in _finished(table):
        left[name] -= 1
        if not left[name]:
            print(f"{name:<26}{seconds(table, name):8.1f} s of processor", flush=True)  # noqa: T201
    _, pretraining = start_encoder(command.encoder, seed=0)
    meta = {
        **split_meta(table.data, table.folds, command.group, pretraining),
        "encoder": "random" if command.encoder is None else "pretrained",
        "budget": {"candidates": N_CANDIDATES, "inner_folds": command.inner_folds, "rounds": command.inner_rounds},
        "models": {name: _about(table, name) for name in command.models},
        "command": told,
    }
    frame = pd.concat([rows for fold in table.folds for rows in _rows(table, fold)])
    task = table.data.task
    predictions = Predictions(frame=frame, task=task.name, classes=task.classes, meta=meta)
    write_predictions(command.output, predictions)
    shutil.rmtree(table.parts.folder)
    print(scores(predictions))  # noqa: T201


def scores(predictions: Predictions, *, n_boot: int = 2000) -> str:
    """Return the table for a terminal: means over seeds, and intervals that resample patients."""
    reference = next(iter(seeds_of(predictions.models)))
    rows, _ = transfer_table(predictions, reference=reference, n_boot=n_boot, seed=0)
    lines = [f"{'model':<26}" + "".join(f"{metric:>26}" for metric in TRANSFER_METRICS) + f"{'seeds':>7}"]
    for row in rows:
        known = (row.metrics[metric] for metric in TRANSFER_METRICS)
        cells = "".join(f"{f'{m.value:.3f} [{m.low:.3f}, {m.high:.3f}]':>26}" for m in known)
        lines.append(f"{row.model:<26}{cells}{row.n_seeds:>7}")
    return "\n".join(lines)


def seconds(table: Table, name: str) -> float:
    """Return the processor time of a model's tuning and fits, all folds and seeds."""
    return sum(_whole(table, name, fold, what)["cpu_seconds"] for fold in table.folds for what in _whats(table, name))


def _whats(table: Table, name: str) -> list[str]:
    return ["tuned", *(f"seed{seed}" for seed in table.seeds(CONTENDERS[name]))]


def _whole(table: Table, name: str, fold: Fold, what: str) -> dict[str, Any]:
    found = table.part(name, fold, what)
    assert found is not None
    return found


def _about(table: Table, name: str) -> dict[str, Any]:
    tuned = {fold.name: _whole(table, name, fold, "tuned") for fold in table.folds}
    return {
        "about": CONTENDERS[name].about,
        "cpu_seconds": seconds(table, name),
        "candidates": [dict(params) for params in CONTENDERS[name].candidates],
        "chosen": {fold: part["params"] for fold, part in tuned.items()},
        "inner_losses": {fold: part["losses"] for fold, part in tuned.items()},
    }


def _rows(table: Table, fold: Fold) -> Iterator[pd.DataFrame]:
    windows = window_rows(table.data, fold.test)
    for name in table.command.models:
        for seed in table.seeds(CONTENDERS[name]):
            probabilities = np.array(_whole(table, name, fold, f"seed{seed}")["probabilities"])
            model = f"{name}{SEED_MARK}{seed}" if CONTENDERS[name].seeded else name
            yield prediction_rows(windows, probabilities, table.data.task.classes, model=model, fold=fold.name)


def parse_args(argv: Sequence[str]) -> TransferCommand:
    """Return the resolved command; exits with code 2 and one line for mistakes."""
    parser = Parser(prog=PROG, description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--shards", type=Path, required=True, help="shard set with labels")
    parser.add_argument("--task", required=True, help="name of a task of signals.tasks")
    parser.add_argument("--encoder", type=Path, help="folder of a pretrained encoder")
    parser.add_argument("--output", type=Path, required=True, help="predictions file of all models")
    parser.add_argument("--group", choices=("site", "subject"), default="site", help="what is left out")
    parser.add_argument("--folds", type=int, default=4, help="groups of subjects; sites make one fold each")
    parser.add_argument("--models", nargs="+", help=f"any of {', '.join(CONTENDERS)}; all but full/random by default")
    parser.add_argument("--seeds", type=int, default=3, help="how often each model is fitted, where seeds matter")
    parser.add_argument("--inner-folds", type=int, default=3, help="groups of training subjects that tuning makes")
    parser.add_argument("--inner-rounds", type=int, default=1, help="how many of them are asked")
    parser.add_argument("--jobs", type=int, default=1, help="processes")
    given = vars(parser.parse_args(argv))
    known = [name for name in DEFAULT if given["encoder"] is not None or not CONTENDERS[name].needs_encoder]
    try:
        return TransferCommand(**{**given, "models": tuple(given["models"] or known)})
    except ValueError as error:
        parser.error(str(error))


def _stop(number: int, frame: FrameType | None) -> NoReturn:
    raise SystemExit(RESUME_EXIT)


def main(argv: Sequence[str] | None = None) -> None:
    """Run from the command line."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    command = parse_args(arguments)
    before = {number: signal.signal(number, _stop) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        run_main(PROG, lambda: make_table(command, told=f"python -m {PROG} {shlex.join(arguments)}"))
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


if __name__ == "__main__":
    main()
