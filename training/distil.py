"""Distillation: a small student learns from the labels and from a teacher's probabilities of the same windows.

`python -m training.distil --teacher DIR [DIR ...] --shards DIR --recipe resnet_gru --no-encoder --output DIR`

The teacher is the mean of saved models, of a predictions file, or of both; the student is whatever the recipe trains
(an encoder with a head, or a network), or a model given by `--student`, such as a pruned one. Loss (Hinton et al.
2015): (1 - a) KL to the votes + a T^2 KL to the teacher's softened probabilities. The teacher predicts windows
as they are, the student learns from changed ones (mirrored and so on).

Neither student nor teacher may have been trained on the people in the table, by id or by recording: test sites are
refused where a teacher, or the fold of a predictions file that predicts a training window, was trained on one of them.
"""

import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any

import numpy as np

from model.freezing import freeze
from model.saved import TaskModel, load_task_model, model_name
from signals.json_output import print_json
from training.command import Sections, check_output, parse_command, run_alone
from training.corpus.corpus import Corpus
from training.corpus.labelled import Labelled, labelled, task_named, with_contrast
from training.finetune import without_encoder
from training.fitting.fit import Fitting, fitted_to, sides
from training.fitting.held_out import Score, Seen, known_subjects, learnt_from, score_model, score_of, with_seen
from training.fitting.inference import check_fits
from training.fitting.learning import learn
from training.fitting.teachers import Teacher, measured_side, share_out_of_fold, teacher_of, teachers_in
from training.objectives.teaching import Teaching, check_teaching
from training.parallel.distributed import Processes
from training.recipes.finetuning import RECIPES, FinetuneRecipe


@dataclass(frozen=True, kw_only=True)
class DistilCommand:
    """Train a small student on labels and on a teacher's probabilities."""

    shards: Path
    """Shard set with labels."""
    task: str
    """Name of a task of signals.tasks."""
    output: Path
    """Folder of the student; must not exist yet."""
    encoder: Path | None
    """Folder of a pretrained encoder for a student with one; `--no-encoder` for random weights, and for networks."""
    teacher: tuple[Path, ...] = ()
    """Folders of task models; their mean teaches."""
    predictions: Path | None = None
    """Predictions file whose models, but "prior" and "mean", join the mean: those of studies.loso are out-of-fold."""
    student: Path | None = None
    """Folder of a model to start from, instead of a fresh one."""
    test_sites: tuple[str, ...] = ()
    """Never trained on, measured on; all subjects that no teacher was trained on, without."""
    weight: float = 0.5
    """Share of the teacher in the loss."""
    temperature: float = 2.0
    """Softens teacher and student alike."""
    json: bool = False
    """One JSON object: parameters and scores of teacher and student."""
    recipe: str
    """Name of the recipe that gave the configuration."""
    config: Annotated[FinetuneRecipe, Sections]
    """The recipe of the student, with overrides."""


@dataclass(frozen=True, kw_only=True)
class Distilled:
    """A student and its scores."""

    student: TaskModel
    student_score: Score
    teacher_score: Score | None
    """None where the teacher has no predictions of the test windows."""
    teacher_parameters: int | None
    out_of_fold: float
    """Share of the taught windows whose subjects no member of the teacher was trained on."""

    @property
    def kl_gap(self) -> float:
        """The student's KL less the teacher's, nan without the latter."""
        return self.student_score.kl - self.teacher_score.kl if self.teacher_score else float("nan")


def distil(command: DistilCommand, processes: Processes) -> Distilled | None:
    """Teach, measure and save a student; returns None if a signal stopped it."""
    check_output(command.output)
    if not command.teacher and command.predictions is None:
        raise ValueError("a student needs a teacher: give --teacher DIR, --predictions FILE, or both")
    check_teaching(command.weight, command.temperature)
    task = task_named(command.task)
    if task.multilabel:
        raise ValueError(f"task {task.name!r} has several classes a window: a teacher's distribution is over one")
    data = with_contrast(labelled(Corpus.open(command.shards), task))
    student = None if command.student is None else _student(command, data)
    teachers = [teacher_of(folder, data) for folder in command.teacher]
    teachers += teachers_in(command.predictions, data) if command.predictions else []
    test = measured_side(data, teachers, command.test_sites)
    result = teach(data, teachers, test, command, processes, student=student)
    if result is not None:
        result.student.save_pretrained(command.output)
    return result


def _student(command: DistilCommand, data: Labelled) -> TaskModel:
    """Return the model to start from; raises ValueError where recipe, task or signals are not the model's."""
    assert command.student is not None
    if command.encoder is not None:
        raise ValueError("--student brings its own weights; give --no-encoder beside it")
    student = load_task_model(command.student)
    check_fits(command.student, student, data)
    if model_name(student) != command.config.model.name:
        raise ValueError(
            f"{command.student} is a model {model_name(student)!r}, recipe {command.recipe!r} trains "
            f"{command.config.model.name!r}: choose a recipe of the same"
        )
    return student


def teach(
    data: Labelled,
    teachers: Sequence[Teacher],
    test: np.ndarray,
    command: DistilCommand,
    processes: Processes,
    *,
    student: TaskModel | None = None,
) -> Distilled | None:
    """Return the student, trained on every window but the test rows, and how it did there; None if it was stopped.

    student: the model to start from, a fresh one of the recipe without.
    """
    prob = np.mean([teacher.probabilities for teacher in teachers], axis=0)
    train = np.setdiff1d(np.arange(len(data.windows)), test)
    if np.isnan(prob[train]).any():
        raise ValueError(
            f"{np.isnan(prob[train]).any(axis=1).sum()} of {len(train)} training windows are not in the predictions "
            "file: it must be of these shards"
        )
    teaching = Teaching(probabilities=prob, weight=command.weight, temperature=command.temperature)
    taught = _trained(replace(data, teaching=teaching), train, command, processes, student)
    if taught is None:
        return None
    out_of_fold = share_out_of_fold(data, teachers, train)
    heard = [seen for teacher in teachers for seen in teacher.heard(train)] if command.weight else []
    about = Seen.of(taught.config.provenance, name="the student")
    taught.config.provenance = {
        **with_seen(taught.config.provenance, [about, *heard]),
        "distillation": {
            "teacher": [Path(teacher.name).name for teacher in teachers], "weight": command.weight,
            "temperature": command.temperature,
            "out_of_fold": out_of_fold,
        },
    }  # fmt: skip
    sizes = [teacher.n_parameters for teacher in teachers if teacher.n_parameters is not None]
    return Distilled(
        student=taught,
        student_score=score_model(taught, data, test),
        teacher_score=None if np.isnan(prob[test]).any() else score_of(data, test, prob[test]),
        teacher_parameters=sum(sizes) if len(sizes) == len(teachers) else None,
        out_of_fold=out_of_fold,
    )


def _trained(
    data: Labelled, train: np.ndarray, command: DistilCommand, processes: Processes, student: TaskModel | None
) -> TaskModel | None:
    recipe, log = command.config, command.output.with_name(f"{command.output.name}.jsonl")
    if student is None:
        fitting = Fitting(data, command.encoder, seed=recipe.seed, processes=processes)
        return fitting.fit(train, recipe, metrics=log, name="student")
    before = Seen.of(student.config.provenance, name=str(command.student))
    test = set(data.subjects.tolist()) - set(data.subjects[train].tolist())
    if known := test & known_subjects(data, [before]):
        raise ValueError(f"{command.student} was trained on {len(known)} subjects of the test side, first {min(known)}")
    freeze(student, recipe.regularise.freeze)
    run = {
        "processes": processes, "metrics": log, "name": "student", "checkpoints": log.with_suffix(".checkpoints"),
    }  # fmt: skip
    learnt: TaskModel | None = learn(student, data, sides(data, train, recipe), recipe, **run)  # type: ignore[arg-type]
    if learnt is not None:
        first, now = learnt.config.provenance, fitted_to(data, train, recipe)
        source = "+".join(
            sorted({*str(first.get("label_source", now["label_source"])).split("+"), now["label_source"]})
        )
        seen = [before, learnt_from(data, train, before.pretraining, name="the student")]
        learnt.config.provenance = with_seen({**first, **now}, seen) | {"label_source": source}
    return learnt


def as_fields(result: Distilled) -> dict[str, Any]:
    """Return teacher and student in numbers."""
    return {
        "teacher": {"n_parameters": result.teacher_parameters, "score": result.teacher_score},
        "student": {"n_parameters": _size(result.student), "score": result.student_score},
        "kl_gap": result.kl_gap,
        "out_of_fold": result.out_of_fold,
    }


def _size(model: TaskModel) -> int:
    return sum(p.numel() for p in model.parameters())


def table(result: Distilled) -> str:
    """Return teacher and student side by side as text."""
    lines = [f"{'':<10}{'parameters':>12}{'balanced accuracy':>19}{'KL':>8}"]
    scores = [("teacher", result.teacher_parameters, result.teacher_score)]
    for name, n_parameters, score in [*scores, ("student", _size(result.student), result.student_score)]:
        size = "?" if n_parameters is None else f"{n_parameters:,}"
        prob = (
            "no predictions of the test windows"
            if score is None
            else f"{score.balanced_accuracy:>19.3f}{score.kl:>8.3f}"
        )
        lines.append(f"{name:<10}{size:>12}{prob}")
    lines.append(
        f"student KL - teacher KL: {result.kl_gap:.3f} on {result.student_score.n_windows} windows of people whom "
        "neither was trained on"
    )
    lines.append(
        f"{result.out_of_fold:.0%} of the taught windows are out-of-fold: of people whom the teacher was not trained on"
    )
    return "\n".join(lines)


def main(argv: Sequence[str] | None = None) -> None:
    """Run from the command line."""
    prog = "cerebeam distil"
    arguments = without_encoder(sys.argv[1:] if argv is None else argv)
    command = parse_command(DistilCommand, RECIPES, arguments, default_recipe="probe", prog=prog)

    def work(processes: Processes) -> bool:
        result = distil(command, processes)
        if result is not None and command.json:
            print_json({"output": command.output, **as_fields(result)})
        elif result is not None:
            print(table(result))  # noqa: T201
        return result is not None

    run_alone(prog, work)


if __name__ == "__main__":
    main()
