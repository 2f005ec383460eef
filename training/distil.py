"""Distillation: a small student learns from the labels and from a teacher's probabilities of the same windows.

`python -m training.distil --teacher DIR [DIR ...] --shards DIR --recipe resnet_gru --no-encoder --output DIR`

The teacher is the mean of saved models, of a predictions file, or of both; the student is whatever the recipe trains
(an encoder with a head, or a network), or a model given by `--student`, such as a pruned one. Loss (Hinton et al.
2015): (1 - a) KL to the votes + a T^2 KL to the teacher's softened probabilities. The teacher predicts windows
as they are, the student learns from changed ones (mirrored and so on).

Neither student nor teacher may have seen the people in the table: test sites are refused where a teacher,
or the fold of a predictions file that predicts a training window, was trained on one of their subjects.
"""

import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any

import numpy as np

from evaluation.schemas.predictions import Predictions, probabilities, read_predictions
from model.freezing import freeze
from model.saved import TaskModel, load_task_model
from signals.json_output import print_json
from training.command import Sections, parse_command, run_alone
from training.corpus.corpus import Corpus
from training.corpus.labelled import Labelled, labelled, task_named, with_contrast
from training.finetune import without_encoder
from training.fitting.fit import Fitting, fitted_to, sides
from training.fitting.held_out import Score, held_out_rows, score_model, score_of
from training.fitting.inference import load_on_device, predict
from training.fitting.learning import learn
from training.objectives.teaching import Teaching
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
    """Predictions file whose models, but for "prior", join the mean: those of studies.loso are out-of-fold."""
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
class Teacher:
    """One member's probabilities of every labelled window, and who it was trained on."""

    name: str
    probabilities: np.ndarray
    """float64, shape (n, n_classes); nan without."""
    trained: tuple[frozenset[str], ...]
    """For each labelled window the subjects that the member was trained on."""
    recordings: tuple[frozenset[str], ...]
    """Likewise their recordings, which compare under any salt; empty where the member does not list them."""
    n_parameters: int | None = None


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


def teacher_of(folder: Path, data: Labelled) -> Teacher:
    """Return a saved model's probabilities of all windows; raises ValueError for another task or modality."""
    model = load_on_device(folder)
    if model.config.task != data.task.name or model.modality != data.shards.manifest.modality:
        raise ValueError(
            f"{folder} is for task {model.config.task!r} on {model.modality.name}, the shards are for "
            f"{data.task.name!r} on {data.shards.manifest.modality.name}"
        )
    prob, _ = predict(model, data.shards, data.windows)
    about = model.config.provenance
    return Teacher(
        name=str(folder),
        probabilities=prob,
        trained=(frozenset(about["train_subjects"]),) * len(prob),
        recordings=(frozenset(about.get("train_recordings") or ()),) * len(prob),
        n_parameters=_size(model),
    )


def teachers_in(path: Path, data: Labelled) -> list[Teacher]:
    """Return the probabilities of each model of a predictions file but "prior"; raises ValueError for another task."""
    file = read_predictions(path)
    if (file.task, file.classes) != (data.task.name, data.task.classes):
        raise ValueError(f"{path} is of task {file.task!r}, not {data.task.name!r}")
    names = [name for name in file.models if name != "prior"]
    if not names:
        raise ValueError(f"{path} holds no model but 'prior', which teaches nothing that labels do not")
    return [_teacher_in(path, file, name, data) for name in names]


def _teacher_in(path: Path, file: Predictions, name: str, data: Labelled) -> Teacher:
    frame, nobody = file.of(name), frozenset[str]()
    trained_of = {fold["name"]: frozenset(fold["train_subjects"]) for fold in file.meta["folds"]}
    recordings_of = {fold["name"]: frozenset(fold.get("train_recordings") or ()) for fold in file.meta["folds"]}
    row_of = {key: row for row, key in enumerate(frame["window_key"])}
    folds, prob = frame["fold"].tolist(), probabilities(frame, file.classes)
    rows = [row_of.get(data.shards.entries[i].key) for i in data.windows]
    nothing = np.full(len(file.classes), np.nan)
    return Teacher(
        name=f"{path}:{name}",
        probabilities=np.stack([nothing if row is None else prob[row] for row in rows]),
        trained=tuple(nobody if row is None else trained_of[folds[row]] for row in rows),
        recordings=tuple(nobody if row is None else recordings_of[folds[row]] for row in rows),
    )


def measured_side(data: Labelled, teachers: Sequence[Teacher], sites: Sequence[str]) -> np.ndarray:
    """Return the rows to measure on; raises ValueError where a teacher of a training window learnt from one of them.

    Without sites: the subjects whom no teacher of any window was trained on.
    """
    if sites:
        test = held_out_rows(data, trained=(), sites=sites)
    else:
        test = held_out_rows(
            data, trained=set().union(*(t for teacher in teachers for t in set(teacher.trained))), sites=()
        )
    test_subjects = set(data.subjects[test].tolist())
    train = np.setdiff1d(np.arange(len(data.windows)), test)
    for teacher in teachers:
        leaked = _heard([teacher.trained], train) & test_subjects
        if leaked:
            raise ValueError(
                f"{teacher.name} learnt from {len(leaked)} subjects of the test side, first {min(leaked)}, before it "
                "predicted training windows: choose other test sites, or a teacher that was trained without them"
            )
    return test


def _heard(members: Sequence[Sequence[frozenset[str]]], train: np.ndarray) -> set[str]:
    """Return what the members learnt from that speak of training rows: their student learns from it too.

    members: of each, for each labelled window, the subjects or recordings that it was trained on.
    """
    return set().union(*{member[row] for member in members for row in train})


def distil(command: DistilCommand, processes: Processes) -> Distilled | None:
    """Teach, measure and save a student; returns None if a signal stopped it."""
    if command.output.exists():
        raise ValueError(f"output {command.output} exists already; choose another")
    if not command.teacher and command.predictions is None:
        raise ValueError("a student needs a teacher: give --teacher DIR, --predictions FILE, or both")
    task = task_named(command.task)
    if task.multilabel:
        raise ValueError(f"task {task.name!r} has several classes a window: a teacher's distribution is over one")
    data = with_contrast(labelled(Corpus.open(command.shards), task))
    teachers = [teacher_of(folder, data) for folder in command.teacher]
    teachers += teachers_in(command.predictions, data) if command.predictions else []
    test = measured_side(data, teachers, command.test_sites)
    result = teach(data, teachers, test, command, processes)
    if result is not None:
        result.student.save_pretrained(command.output)
    return result


def teach(
    data: Labelled, teachers: Sequence[Teacher], test: np.ndarray, command: DistilCommand, processes: Processes
) -> Distilled | None:
    """Return the student, trained on every window but the test rows, and how it did there; None if it was stopped."""
    prob = np.mean([teacher.probabilities for teacher in teachers], axis=0)
    train = np.setdiff1d(np.arange(len(data.windows)), test)
    if np.isnan(prob[train]).any():
        raise ValueError(
            f"{np.isnan(prob[train]).any(axis=1).sum()} of {len(train)} training windows are not in the predictions "
            "file: it must be of these shards"
        )
    teaching = Teaching(probabilities=prob, weight=command.weight, temperature=command.temperature)
    student = _trained(replace(data, teaching=teaching), train, command, processes)
    if student is None:
        return None
    subjects = data.subjects
    own = [subjects[row] not in teacher.trained[row] for teacher in teachers for row in train]
    out_of_fold = float(np.mean(np.reshape(own, (len(teachers), -1)).all(axis=0)))
    about, listening = student.config.provenance, teachers if command.weight else ()
    heard = {
        "train_subjects": _heard([teacher.trained for teacher in listening], train),
        "train_recordings": _heard([teacher.recordings for teacher in listening], train),
    }
    student.config.provenance = {
        **about,
        **{name: sorted({*about[name], *of_teachers}) for name, of_teachers in heard.items()},
        "distillation": {
            "teacher": [Path(teacher.name).name for teacher in teachers], "weight": command.weight,
            "temperature": command.temperature,
            "out_of_fold": out_of_fold,
        },
    }  # fmt: skip
    sizes = [teacher.n_parameters for teacher in teachers if teacher.n_parameters is not None]
    return Distilled(
        student=student,
        student_score=score_model(student, data, test),
        teacher_score=None if np.isnan(prob[test]).any() else score_of(data, test, prob[test]),
        teacher_parameters=sum(sizes) if len(sizes) == len(teachers) else None,
        out_of_fold=out_of_fold,
    )


def _trained(data: Labelled, train: np.ndarray, command: DistilCommand, processes: Processes) -> TaskModel | None:
    recipe, log = command.config, command.output.with_name(f"{command.output.name}.jsonl")
    if command.student is None:
        fitting = Fitting(data, command.encoder, seed=recipe.seed, processes=processes)
        return fitting.fit(train, recipe, metrics=log, name="student")
    student = load_task_model(command.student)
    test = set(data.subjects.tolist()) - set(data.subjects[train].tolist())
    if known := test & set(student.config.provenance["train_subjects"]):
        raise ValueError(f"{command.student} was trained on {len(known)} subjects of the test side, first {min(known)}")
    freeze(student, recipe.regularise.freeze)
    run = {
        "processes": processes, "metrics": log, "name": "student", "checkpoints": log.with_suffix(".checkpoints"),
    }  # fmt: skip
    learnt: TaskModel | None = learn(student, data, sides(data, train, recipe), recipe, **run)  # type: ignore[arg-type]
    if learnt is not None:
        before, now = learnt.config.provenance, fitted_to(data, train, recipe)
        seen = {name: sorted({*before.get(name, ()), *now[name]}) for name in ("train_subjects", "train_recordings")}
        several = {
            name: "+".join(sorted({*before.get(name, now[name]).split("+"), now[name]}))
            for name in ("salt_id", "label_source")
        }
        learnt.config.provenance = {**before, **now, **seen, **several}
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
