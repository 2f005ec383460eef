"""The one engine of all studies: folds x models x seeds -> predictions, resumed where it was interrupted.

Settings of a model are compared in each fold by cross-entropy on whole subjects of its training side; test subjects
have no say. The choice made with the first seed serves all seeds. What is finished is kept as a part; the fit that a
signal stopped goes on from its own checkpoint.
"""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from evaluation.scenarios.transfer import SEED_MARK
from signals.bundles.calibration import decompose
from studies.engine.bench import Bench, Fitted, Method, Params, Unit, folder_name
from studies.engine.folds import inner_folds, loss, of_subjects
from studies.engine.parts import Parts
from studies.engine.rows import prediction_rows, window_rows
from studies.engine.workers import in_processes
from training.corpus.splits import Fold


@dataclass(frozen=True, kw_only=True)
class Tuning:
    """How settings of a model are compared within a training side."""

    inner_folds: int = 3
    """Groups that its subjects make."""
    rounds: int = 1
    """How many of them are predicted in turn."""


@dataclass(frozen=True, kw_only=True)
class Design:
    """What a study compares: models, on the same folds of one data set, with so many seeds."""

    bench: Bench
    folds: Sequence[Fold]
    models: Mapping[str, Method]
    """By the name that predictions carry."""
    parts: Parts
    seeds: int = 1
    tuning: Tuning = Tuning()
    with_mean: bool = False
    """Whether the mean of several seeds is a model too, name/mean, with its uncertainty."""

    def seeds_of(self, name: str) -> range:
        """Return the seeds of a model, from the study's first on: one where they change nothing."""
        first = self.bench.seed
        return range(first, first + (self.seeds if self.models[name].seeded else 1))

    def row_names(self, name: str) -> dict[int, str]:
        """Return the name that rows carry, by seed."""
        seeds = self.seeds_of(name)
        return {seed: name if len(seeds) == 1 else f"{name}{SEED_MARK}{n}" for n, seed in enumerate(seeds)}


@dataclass(frozen=True, kw_only=True)
class Job:
    """One piece of work: a model's fit in a fold with a seed, or, without one, the choice of its settings."""

    model: str
    fold: int
    seed: int | None


def run_study(
    design: Design,
    *,
    jobs: int = 1,
    reopen: Callable[[], Design] | None = None,
    finished: Callable[[str], None] = lambda name: None,
    beside: Sequence[Callable[[Design], None]] = (),
) -> pd.DataFrame:
    """Return rows of predictions of every model, fold and seed, fitting what no earlier run has finished.

    jobs: processes, each with the design that `reopen` gives, which can be pickled. `finished` is called with each
    model once all of it is there. beside: further work on the design, begun first in several processes and last in one;
    it can be pickled too, and is done again in each run. Raises SystemExit with the resume code where a signal stopped
    a fit.
    """
    left = {name: len(design.folds) * len(design.seeds_of(name)) for name in design.models}
    for task in _done(design, jobs, reopen, beside):
        if task.seed is not None:
            left[task.model] -= 1
            if not left[task.model]:
                finished(task.model)
    return pd.concat([rows for fold in design.folds for rows in _rows(design, fold)], ignore_index=True)


def _done(
    design: Design, jobs: int, reopen: Callable[[], Design] | None, beside: Sequence[Callable[[Design], None]]
) -> Iterator[Job]:
    """Yield each task once it is finished, in order of models and folds in one process."""
    fits = [
        Job(model=name, fold=number, seed=seed)
        for name in design.models
        for number in range(len(design.folds))
        for seed in design.seeds_of(name)
    ]
    if jobs == 1 or reopen is None:
        for task in fits:
            yield finish(design, task)
        for work in beside:
            work(design)
        return
    choices = list(dict.fromkeys(Job(model=t.model, fold=t.fold, seed=None) for t in fits))
    wanted = [t for t in choices if not design.models[t.model].n_subjects]
    for done in in_processes(_take, reopen, jobs, [wanted, [*beside, *fits]]):
        if isinstance(done, Job):
            yield done


def _take(design: Design, work: Job | Callable[[Design], None]) -> Job | Callable[[Design], None]:
    if isinstance(work, Job):
        return finish(design, work)
    work(design)
    return work


def finish(design: Design, task: Job) -> Job:
    """Do one task, as far as that was not done before."""
    method, fold = design.models[task.model], design.folds[task.fold]
    first = design.bench.seed
    seed = first if task.seed is None else task.seed
    # People are drawn by the seed, so settings that are chosen among few of them are chosen anew for each seed.
    tuned_by = seed if method.n_subjects else first
    tuned = _part(design, task.model, fold, _tuned(design, task.model, tuned_by),
                  lambda what: _tune(design, method, fold, tuned_by, what))  # fmt: skip
    if task.seed is not None:
        _part(design, task.model, fold, f"seed{seed - first}",
              lambda what: _fit(design, task.model, fold, tuned["params"], seed, what))  # fmt: skip
    return task


def _tuned(design: Design, name: str, seed: int) -> str:
    return f"tuned{seed - design.bench.seed}" if design.models[name].n_subjects else "tuned"


def _part(design: Design, name: str, fold: Fold, what: str, make: Callable[[Unit], dict[str, Any]]) -> dict[str, Any]:
    key = f"{folder_name(name)}/{fold.name}/{what}"
    found = design.parts.read(key)
    if found is None:
        started = time.process_time(), time.perf_counter()
        found = make(Unit(model=name, fold=fold.name, what=what))
        found |= {"cpu_seconds": time.process_time() - started[0], "seconds": time.perf_counter() - started[1]}
        design.parts.write(key, found)
    return found


def _learn_from(design: Design, method: Method, rows: np.ndarray, seed: int) -> np.ndarray:
    if not method.n_subjects:
        return rows
    return of_subjects(design.bench.data, rows, n_subjects=method.n_subjects, seed=seed)


def _tune(design: Design, method: Method, fold: Fold, seed: int, unit: Unit) -> dict[str, Any]:
    """Return the params with the least mean loss over inner folds of training subjects."""
    if len(method.candidates) == 1:
        return {"params": dict(method.candidates[0]), "losses": []}
    data, train = design.bench.data, _learn_from(design, method, fold.train, seed)
    inner = inner_folds(data, train, n_folds=design.tuning.inner_folds)[: design.tuning.rounds]

    def tried(number: int, params: Params, side: Fold) -> float:
        design.bench.begin(Unit(model=unit.model, fold=unit.fold, what=f"{unit.what}-{number}-{side.name}"))
        return loss(data, side.test, method.fit(design.bench, side.train, params, seed)(side.test))

    losses = [
        float(np.mean([tried(number, params, side) for side in inner]))
        for number, params in enumerate(method.candidates)
    ]
    best = int(np.argmin(np.nan_to_num(losses, nan=np.inf)))  # a setting whose training failed is no choice
    return {"params": dict(method.candidates[best]), "losses": losses}


def _fit(design: Design, name: str, fold: Fold, params: Params, seed: int, unit: Unit) -> dict[str, Any]:
    method, started = design.models[name], time.process_time()
    design.bench.begin(unit)
    fitted = method.fit(design.bench, _learn_from(design, method, fold.train, seed), params, seed)
    between = time.process_time()
    probabilities = np.asarray(fitted(fold.test))
    if not (method.may_refuse or np.isfinite(probabilities).all()):
        raise ValueError(f"{name} gives no finite probabilities in fold {fold.name}, {unit.what}: its training failed")
    known = fitted if isinstance(fitted, Fitted) else Fitted(predict=fitted)
    return {
        "probabilities": probabilities.tolist(),
        "fit_cpu_s": between - started,
        "predict_cpu_s": time.process_time() - between,
        "n_parameters": known.n_parameters,
        "n_learnt": known.n_learnt,
        "facts": known.facts,
    }


def part_of(design: Design, name: str, fold: Fold, what: str) -> dict[str, Any]:
    """Return a finished part: `what` is "tuned" or "seed0", ... ."""
    found = design.parts.read(f"{folder_name(name)}/{fold.name}/{what}")
    assert found is not None
    return found


def probabilities_of(design: Design, name: str, fold: Fold, seed: int) -> np.ndarray:
    """Return a finished fit's probabilities of the fold's test rows, float64, shape (n, n_classes)."""
    return np.array(part_of(design, name, fold, f"seed{seed - design.bench.seed}")["probabilities"], dtype=np.float64)


def _rows(design: Design, fold: Fold) -> Iterator[pd.DataFrame]:
    """Yield rows of each model; test rows that a model gave no answer to have none."""
    windows, classes = window_rows(design.bench.data, fold.test), design.bench.data.task.classes
    for name in design.models:
        names = design.row_names(name)
        predicted = [probabilities_of(design, name, fold, seed) for seed in names]
        for row_name, probabilities in zip(names.values(), predicted, strict=True):
            answered = np.isfinite(probabilities).all(axis=1)
            yield prediction_rows(windows[answered], probabilities[answered], classes, model=row_name, fold=fold.name)
        if design.with_mean and len(predicted) > 1:
            members = np.stack(predicted)
            yield prediction_rows(windows, members.mean(axis=0), classes, model=f"{name}/mean", fold=fold.name,
                                  **decompose(members).columns())  # fmt: skip


def about_models(design: Design) -> dict[str, dict[str, Any]]:
    """Return what a predictions file's metadata states of each model of the study, by the name of its rows."""
    return {
        row_name: _about(design, name, seed)
        for name in design.models
        for seed, row_name in design.row_names(name).items()
    }


def _about(design: Design, name: str, seed: int) -> dict[str, Any]:
    method, first = design.models[name], design.bench.seed
    fits = {fold.name: part_of(design, name, fold, f"seed{seed - first}") for fold in design.folds}
    tuned_by = seed if method.n_subjects else first
    tuned = {fold.name: part_of(design, name, fold, _tuned(design, name, tuned_by)) for fold in design.folds}
    one = next(iter(fits.values()))
    n_windows = sum(len(fold.test) for fold in design.folds)
    tuning = list(tuned.values()) if seed == tuned_by else []
    return {
        "about": method.about,
        **one["facts"],
        "fit_cpu_s": sum(part["fit_cpu_s"] for part in fits.values()),
        "predict_cpu_ms_per_window": 1e3 * sum(part["predict_cpu_s"] for part in fits.values()) / n_windows,
        "cpu_seconds": sum(part["cpu_seconds"] for part in [*fits.values(), *tuning]),
        "seconds": sum(part["seconds"] for part in [*fits.values(), *tuning]),
        "n_parameters": one["n_parameters"],
        "n_learnt": one["n_learnt"],
        "device": str(design.bench.processes.device),
        "candidates": [dict(params) for params in method.candidates],
        "chosen": {fold: part["params"] for fold, part in tuned.items()},
        "inner_losses": {fold: part["losses"] for fold, part in tuned.items()},
    }
