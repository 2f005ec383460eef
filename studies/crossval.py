"""Cross-validation over whole patients: any recipes on the very same folds, out-of-fold predictions on disk.

    python -m studies.crossval --shards DIR --task six-class --encoder DIR --output OUT/predictions.parquet \\
        --recipes probe resnet_gru efficientnet_small [--folds 5 | --holdout 0.2] [--group site] [--seeds 3]

Folds keep patients whole and spread classes evenly; `--holdout 0.2` trains once on 80% of patients instead. The split
stands in OUT/predictions.split.json, its sha256 in the predictions' metadata. A model is named by its recipe; with
several seeds by recipe#seed0, ..., and recipe/mean is their mean, with its uncertainty. Fitted models stay in
OUT/folds/<model>/<fold>. With `--subjects 8 64` each recipe learns from so many people of each training side, drawn by
the seed, and is called recipe@8, recipe@64. Options of the recipes' sections hold for all models:
`--schedule.epochs 3`.

Exit code 75: a signal stopped it; the same command goes on from there.
"""

import json
import shutil
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from evaluation.scenarios.transfer import SEED_MARK
from evaluation.schemas.predictions import Predictions, write_predictions
from signals.files import atomic_file
from studies.baselines.candidates import METHODS, by_recipe
from studies.engine.bench import Bench, Method
from studies.engine.command import StudyCommand, line_of, open_design, parse_study, run_command, study_meta
from studies.engine.few import check_numbers, named, numbers_within
from studies.engine.study import Design, about_models, run_study
from training.command import overridden
from training.corpus.splits import Grouping
from training.recipes.finetuning import RECIPES

PROG = "cerebeam crossval"


@dataclass(frozen=True, kw_only=True)
class CrossvalCommand(StudyCommand):
    """Cross-validate recipes over whole patients."""

    encoder: Path | None = None
    """Folder of a pretrained encoder; random weights without."""
    start_from: Path | None = None
    """Folder of a fitted model of the same classes, whose weights, head included, all fits start from."""
    recipes: tuple[str, ...]
    """What to train, by name."""
    group: Grouping = "subject"
    """What is left out."""
    folds: int = 5
    """Groups of patients; sites make one fold each."""
    subjects: tuple[int, ...] = ()
    """Numbers of training people to learn from; those that a fold has not are left out. Without any, all."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if unknown := sorted(set(self.recipes) - set(RECIPES)):
            raise ValueError(f"unknown recipes {unknown}; recipes are {', '.join(sorted(RECIPES))}")
        check_numbers(self.subjects)

    def method(self, name: str, n_subjects: int = 0) -> Method:
        """Return the training by a recipe on so many people (0: all); what it fits stays in OUT/folds."""
        recipe = overridden(RECIPES[name](tiny=self.tiny), self.settings, prog=PROG)
        called = named(name, n_subjects)

        def folder(bench: Bench) -> Path:
            seed = bench.unit.what.removeprefix("seed")
            model = called if self.seeds == 1 else f"{called}{SEED_MARK}{seed}"
            return self.output.parent / "folds" / model / bench.unit.fold

        return replace(by_recipe(recipe, folder=folder, label=f"{called} "), n_subjects=n_subjects)


def design_of(command: CrossvalCommand) -> Design:
    """Return the study of the recipes and the prior."""
    models = {name: command.method(name) for name in command.recipes}
    design = open_design(command, {**models, "prior": METHODS["prior"]}, with_mean=True, start=command.start_from)
    if not command.subjects:
        return design
    numbers = numbers_within(design, command.subjects)
    read = [name for name in command.recipes if name in design.models]
    curves = {named(name, n): command.method(name, n) for name in read for n in numbers}
    return replace(design, models={**curves, "prior": METHODS["prior"]})


def crossval(command: CrossvalCommand, *, command_line: str) -> None:
    """Fit every model, predict on every fold, and write the predictions."""
    design = design_of(command)
    task = design.bench.data.task
    frame = run_study(design, jobs=command.jobs, reopen=partial(design_of, command))
    meta = {**study_meta(command, design, command_line=command_line), "models": about_models(design)}
    write_predictions(command.output, Predictions(frame=frame, task=task.name, classes=task.classes, meta=meta))
    with atomic_file(command.output.with_suffix(".split.json")) as file:
        # What each fold's encoder had seen is no part of the split, nor of its digest.
        folds = [
            {key: value for key, value in fold.items() if not key.startswith("pretrain_")} for fold in meta["folds"]
        ]
        split = {"sha256": meta["split_digest"], "manifest_digest": meta["manifest_digest"], "folds": folds}
        file.write((json.dumps(split, indent=1, sort_keys=True) + "\n").encode())
    shutil.rmtree(design.parts.folder)


def main(argv: Sequence[str] | None = None) -> None:
    """Run from the command line."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    command = parse_study(CrossvalCommand, arguments, prog=PROG)
    run_command(PROG, lambda: crossval(command, command_line=line_of(PROG, arguments)))


if __name__ == "__main__":
    main()
