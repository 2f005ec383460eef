"""Cross-validation over whole patients: any models on the very same folds, out-of-fold predictions on disk.

    python -m studies.crossval --shards DIR --task six-class --encoder DIR --output OUT/predictions.parquet \\
        --recipes probe resnet_gru efficientnet_small [--folds 5 | --holdout 0.2] [--group site] [--seeds 3]

Folds keep patients whole and spread classes evenly; `--holdout 0.2` trains once on 80% of patients instead. The split
stands in OUT/predictions.split.json, its sha256 in the predictions' metadata. A model is named by its recipe; with
several seeds by recipe#seed0, ..., and recipe/mean is their mean, with its uncertainty. Fitted models stay in
OUT/folds/<model>/<fold>. Options of the recipes' sections hold for all models: `--schedule.epochs 3`.

Exit code 75: a signal stopped it; the same command goes on from there.
"""

import json
import shlex
import shutil
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from evaluation.scenarios.transfer import SEED_MARK
from evaluation.schemas.predictions import Predictions, write_predictions
from signals.bundles.calibration import decompose
from signals.command_line import Parser
from signals.files import atomic_file
from studies.loso import make_folds, prediction_rows, run_config, split_meta, window_rows
from studies.parts import Parts, parts_folder
from training.command import overridden, run_alone
from training.corpus.corpus import Corpus
from training.corpus.labelled import Labelled, labelled, task_named, with_contrast
from training.corpus.splits import Fold, Grouping, check_classes, describe, hold_out_subjects
from training.fitting.fit import Fitting
from training.fitting.inference import predict
from training.parallel.distributed import Processes
from training.recipes.finetuning import RECIPES, FinetuneRecipe

PROG = "studies.crossval"


@dataclass(frozen=True, kw_only=True)
class CrossvalCommand:
    """A resolved run."""

    shards: Path
    task: str
    encoder: Path | None
    output: Path
    recipes: dict[str, FinetuneRecipe]
    group: Grouping
    folds: int
    holdout: float | None
    """Share of patients that are held out, once; None for folds."""
    seeds: int
    seed: int

    def __post_init__(self) -> None:
        if self.seeds < 1:
            raise ValueError(f"seeds={self.seeds} must be at least 1")
        if self.holdout is not None and not 0 < self.holdout < 1:
            raise ValueError(f"holdout={self.holdout} must lie between 0 and 1")
        if self.holdout is not None and self.group == "site":
            raise ValueError("--holdout leaves patients out; leave out --group site")

    @property
    def models(self) -> dict[str, FinetuneRecipe]:
        """Every recipe with every seed, by the name that predictions carry."""
        if self.seeds == 1:
            return {name: replace(recipe, seed=self.seed) for name, recipe in self.recipes.items()}
        return {
            f"{name}{SEED_MARK}{seed}": replace(recipe, seed=self.seed + seed)
            for name, recipe in self.recipes.items()
            for seed in range(self.seeds)
        }


def crossval(command: CrossvalCommand, processes: Processes, *, command_line: str) -> bool:
    """Fit every model and predict on every fold and write the predictions; returns False if a signal stopped it."""
    data = with_contrast(labelled(Corpus.open(command.shards), task_named(command.task)))
    folds = folds_of(command, data)
    fitting = Fitting(data, command.encoder, seed=command.seed, processes=processes)
    parts = Parts(parts_folder(command.output), run_config(command, data, folds))
    for name, recipe in command.models.items():
        for fold in folds:
            if parts.read(_part(name, fold)) is None:
                made = _fit_and_predict(command, data, fitting, fold, name, recipe)
                if made is None:
                    return False
                parts.write(_part(name, fold), made)
    frame = pd.concat([rows for fold in folds for rows in _rows(command, data, fold, parts)], ignore_index=True)
    described = describe(folds, data.subjects, _recordings(data))
    meta = {
        **split_meta(data, folds, command.group, fitting.pretraining),
        "encoder": "random" if command.encoder is None else "pretrained",
        "models": {name: _about(recipe, folds, parts, name) for name, recipe in command.models.items()},
        "command": command_line,
        "seed": command.seed,
    }
    write_predictions(
        command.output, Predictions(frame=frame, task=data.task.name, classes=data.task.classes, meta=meta)
    )
    with atomic_file(command.output.with_suffix(".split.json")) as file:
        split = {"sha256": meta["split_digest"], "manifest_digest": meta["manifest_digest"], "folds": described}
        file.write((json.dumps(split, indent=1, sort_keys=True) + "\n").encode())
    shutil.rmtree(parts.folder)
    return True


def folds_of(command: CrossvalCommand, data: Labelled) -> list[Fold]:
    """Return the folds over rows of `data`; raises ValueError where a class would only be tested, never learnt."""
    if command.holdout is None:
        folds = make_folds(data, command.group, n_folds=command.folds, seed=command.seed)
    else:
        train, test = hold_out_subjects(data.subjects, data.labels, share=command.holdout, seed=command.seed)
        folds = [Fold(name="holdout", train=train, test=test)]
    check_classes(folds, data.labels, data.task.classes)
    return folds


def _fit_and_predict(
    command: CrossvalCommand, data: Labelled, fitting: Fitting, fold: Fold, name: str, recipe: FinetuneRecipe
) -> dict[str, Any] | None:
    kept = command.output.parent / "folds" / name / fold.name
    began = time.process_time()
    model = fitting.fit(fold.train, recipe, metrics=kept.with_suffix(".jsonl"), name=f"{name} without {fold.name}")
    if model is None:
        return None
    fitted = time.process_time()
    model.save_pretrained(kept)
    began = time.process_time()
    probabilities, _ = predict(model, data.shards, data.windows[fold.test])
    return {
        "probabilities": probabilities.tolist(),
        "fit_cpu_s": fitted - began,
        "predict_cpu_s": time.process_time() - began,
    }


def _part(name: str, fold: Fold) -> str:
    return f"{name}/{fold.name}"


def _recordings(data: Labelled) -> np.ndarray:
    return np.array([data.shards.entries[i].recording_id for i in data.windows])


def _finished(parts: Parts, name: str, fold: Fold) -> dict[str, Any]:
    found = parts.read(_part(name, fold))
    assert found is not None
    return found


def _rows(command: CrossvalCommand, data: Labelled, fold: Fold, parts: Parts) -> Iterator[pd.DataFrame]:
    windows, classes = window_rows(data, fold.test), data.task.classes
    for recipe in command.recipes:
        names = [name for name in command.models if name.split(SEED_MARK)[0] == recipe]
        predicted = [np.array(_finished(parts, name, fold)["probabilities"]) for name in names]
        for name, probabilities in zip(names, predicted, strict=True):
            yield prediction_rows(windows, probabilities, classes, model=name, fold=fold.name)
        if len(predicted) > 1:
            members = np.stack(predicted)
            yield prediction_rows(windows, members.mean(axis=0), classes, model=f"{recipe}/mean", fold=fold.name,
                                  **decompose(members).columns())  # fmt: skip
    prior = data.targets[fold.train].astype(np.float64).mean(axis=0)
    yield prediction_rows(windows, np.tile(prior / prior.sum(), (len(windows), 1)), classes, model="prior",
                          fold=fold.name)  # fmt: skip


def _about(recipe: FinetuneRecipe, folds: Sequence[Fold], parts: Parts, name: str) -> dict[str, Any]:
    found = [_finished(parts, name, fold) for fold in folds]
    n_windows = sum(len(fold.test) for fold in folds)
    return {
        "recipe": asdict(recipe),
        "fit_cpu_s": sum(one["fit_cpu_s"] for one in found),
        "predict_cpu_ms_per_window": 1e3 * sum(one["predict_cpu_s"] for one in found) / n_windows,
    }


def parse_args(argv: Sequence[str]) -> CrossvalCommand:
    """Return the resolved command; exits with code 2 and one line for mistakes."""
    parser = Parser(prog=PROG, description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--shards", type=Path, required=True, help="shard set with labels")
    parser.add_argument("--task", required=True, help="name of a task of signals.tasks")
    parser.add_argument("--encoder", type=Path, help="folder of a pretrained encoder; random weights without")
    parser.add_argument("--output", type=Path, required=True, help="predictions file of all models")
    parser.add_argument("--recipes", nargs="+", required=True, choices=sorted(RECIPES), help="what to train")
    parser.add_argument("--group", choices=("subject", "site"), default="subject", help="what is left out")
    parser.add_argument("--folds", type=int, default=5, help="groups of patients; sites make one fold each")
    parser.add_argument("--holdout", type=float, help="hold out this share of patients once, instead of folds")
    parser.add_argument("--seeds", type=int, default=1, help="members of each model, which differ in their seed")
    parser.add_argument("--seed", type=int, default=0, help="of the folds and of the first member")
    parser.add_argument("--tiny", action="store_true", help="the recipes' tiny forms")
    known, settings = parser.parse_known_args(argv)
    given = vars(known)
    tiny = given.pop("tiny")
    try:
        recipes = {name: overridden(RECIPES[name](tiny=tiny), settings, prog=PROG) for name in given.pop("recipes")}
        return CrossvalCommand(recipes=recipes, **given)
    except ValueError as error:
        parser.error(str(error))


def main(argv: Sequence[str] | None = None) -> None:
    """Run from the command line."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    command = parse_args(arguments)
    command_line = f"python -m {PROG} {shlex.join(arguments)}"
    run_alone(PROG, lambda processes: crossval(command, processes, command_line=command_line))


if __name__ == "__main__":
    main()
