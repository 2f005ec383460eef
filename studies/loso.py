"""Honest evidence: train without a site (or without a group of subjects), then predict it; once for every site.

`python -m studies.loso --shards DIR --task six-class --encoder DIR --group site --output OUT/predictions.parquet`
writes rows of the recipe's model ("encoder", or a network by name) and of "prior" (the training fold's mean target),
and the model trained on all sites into OUT/final or `--final DIR`, for export, with the temperature and thresholds
that the predictions give (`studies.calibrate`). The model of each fold stays in OUT/folds/<fold>, for
`studies.stress`.

Exit code 75: a signal stopped it; the same command goes on from there (OUT/<name>.parts, OUT/folds/*.checkpoints).
"""

import logging
import shutil
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

import numpy as np

from evaluation.schemas.predictions import Predictions, read_predictions, write_predictions
from studies.baselines.candidates import METHODS, by_recipe
from studies.calibrate import calibration_of, summary, write_calibration
from studies.engine.command import StudyCommand, line_of, open_design, parse_study, run_command, study_meta
from studies.engine.study import Design, about_models, run_study
from training.command import overridden
from training.recipes.finetuning import RECIPES, FinetuneRecipe
from training.trainer.stopping import RESUME_EXIT

PROG = "cerebeam loso"
logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class LosoCommand(StudyCommand):
    """Leave one site (or one group of subjects) out, in turn, and predict it."""

    final: Path | None = None
    """Folder for the model trained on everything; `final` beside the predictions without."""
    recipe: str = "probe"
    """Name of the recipe."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.recipe not in RECIPES:
            raise ValueError(f"unknown recipe {self.recipe!r}; recipes are {', '.join(sorted(RECIPES))}")
        if self.encoders is not None and self.encoder is None:
            raise ValueError("--encoders has one per fold; the final model, of all sites, needs --encoder too")

    @property
    def config(self) -> FinetuneRecipe:
        """The recipe, with overrides."""
        return overridden(RECIPES[self.recipe](tiny=self.tiny), [*self.settings, "--seed", str(self.seed)], prog=PROG)


def design_of(command: LosoCommand) -> Design:
    """Return the study of the recipe's model and the prior."""
    recipe, kept = command.config, command.output.parent / "folds"
    own = by_recipe(recipe, folder=lambda bench: kept / bench.unit.fold)
    return open_design(command, {recipe.model.name: own, "prior": METHODS["prior"]}, learn_all_classes=False)


def fit_final(command: LosoCommand, design: Design) -> None:
    """Train the recipe's model on all windows and save it; leaves the program where a signal stopped the fit."""
    bench, log = design.bench, command.output.parent / "folds" / "final.jsonl"
    everything = np.arange(len(bench.data.windows))
    final = bench.final_fitting.fit(everything, command.config, metrics=log, name="final")
    if final is None:
        raise SystemExit(RESUME_EXIT)
    final.save_pretrained(final_folder(command))


def final_folder(command: LosoCommand) -> Path:
    """Return where the model of all sites stays."""
    return command.final or command.output.parent / "final"


def leave_out(command: LosoCommand, *, command_line: str) -> None:
    """Train and predict every fold, and train the final model beside them.

    `command_line` goes into the metadata.
    """
    design, recipe = design_of(command), command.config
    task = design.bench.data.task
    frame = run_study(
        design, jobs=command.jobs, reopen=partial(design_of, command), beside=[partial(fit_final, command)]
    )
    meta = {
        **study_meta(command, design, command_line=command_line),
        "recipe": {"name": command.recipe, **asdict(recipe)},
        "models": about_models(design),
    }
    write_predictions(command.output, Predictions(frame=frame, task=task.name, classes=task.classes, meta=meta))
    calibration = calibration_of(read_predictions(command.output), recipe.model.name)
    write_calibration(final_folder(command), calibration)
    logger.info("%s", summary(calibration))
    shutil.rmtree(design.parts.folder)


def main(argv: Sequence[str] | None = None) -> None:
    """Run from the command line."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    command = parse_study(LosoCommand, arguments, prog=PROG)
    run_command(PROG, lambda: leave_out(command, command_line=line_of(PROG, arguments)))


if __name__ == "__main__":
    main()
