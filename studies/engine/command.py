"""What all commands of studies share: their options, the data they open, and how they end.

One grammar: options of the study, then `--SECTION.FIELD VALUE` for every model that trains by a recipe, as in
`training.finetune`.
"""

import logging
import shlex
import signal
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from types import FrameType
from typing import Annotated, Any, NoReturn, TypeVar

import tyro

from model.saved import check_model_dir
from signals.files import file_sha256
from signals.tasks import TASKS, Task
from signals.version import code_version
from studies.engine.bench import Bench, Method
from studies.engine.folds import study_folds
from studies.engine.parts import Parts, parts_folder
from studies.engine.rows import split_meta
from studies.engine.study import Design, Tuning
from training.command import overridden, parsed, run_alone, show_fields
from training.corpus.corpus import Corpus
from training.corpus.labelled import Labelled, labelled, task_named, with_contrast
from training.corpus.splits import Fold, Grouping, check_classes
from training.finetune import without_encoder
from training.fitting.fit import NOT_PRETRAINED
from training.recipes.finetuning import FinetuneRecipe
from training.trainer.stopping import RESUME_EXIT

logger = logging.getLogger(__name__)
C = TypeVar("C")


@dataclass(frozen=True, kw_only=True)
class StudyCommand:
    """What every study is given."""

    shards: Path
    """Shard set that pipelines.preprocess wrote, with labels."""
    task: str
    """Name of a task of signals.tasks, or of any other whose `--classes` are given."""
    classes: tuple[str, ...] = ()
    """Labels of a task that signals.tasks does not name; its windows are the shards'."""
    encoder: Path | None
    """Folder of a pretrained encoder; `--no-encoder` for random weights."""
    encoders: Path | None = None
    """Folder with a folder per fold, by its name, of encoders that were pretrained without that fold."""
    output: Path
    """Predictions file."""
    group: Grouping = "site"
    """What is left out."""
    folds: int = 4
    """Number of groups of subjects; sites make one fold each."""
    holdout: float | None = None
    """Leave out this share of subjects once, instead of folds."""
    seeds: int = 1
    """How often each model is fitted, where seeds matter."""
    seed: int = 0
    """Of the folds and of the first fits."""
    jobs: int = 1
    """Processes."""
    tiny: bool = False
    """Recipes' tiny forms, to try a study."""
    settings: Annotated[tuple[str, ...], tyro.conf.Suppress] = ()

    def __post_init__(self) -> None:
        for name in ("seeds", "jobs", "folds"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name}={getattr(self, name)} must be at least 1")
        if self.holdout is not None and not 0 < self.holdout < 1:
            raise ValueError(f"holdout={self.holdout} must lie between 0 and 1")
        if self.holdout is not None and self.group == "site":
            raise ValueError("--holdout leaves subjects out; give --group subject")
        if self.classes and self.task in TASKS:
            raise ValueError(f"task {self.task!r} has classes of its own; leave out --classes, or name another task")

    @property
    def of_task(self) -> Task:
        """The task that is named, or one of the given classes."""
        return Task(name=self.task, classes=self.classes, window_s=0.0) if self.classes else task_named(self.task)


NO_PART = frozenset(
    {"shards", "encoder", "encoders", "start_from", "variants", "output", "final", "models", "recipes", "seeds", "jobs",
     "subjects", "n_boot"}
)  # fmt: skip
"""Options that do not change a finished part, or that digests stand for."""


def open_data(command: StudyCommand) -> Labelled:
    """Return the labelled windows; sites of one class alone are left out."""
    shards, task = Corpus.open(command.shards), command.of_task
    if command.classes:
        task = replace(task, window_s=shards.n_times / shards.manifest.modality.sfreq)
    return with_contrast(labelled(shards, task))


def fold_encoders(command: StudyCommand, folds: Sequence[Fold]) -> dict[str, Path]:
    """Return the encoder of each fold where there is one per fold; raises FileNotFoundError for one that is not there.

    Each is a folder of an encoder, or of a pretraining that holds one.
    """
    if command.encoders is None:
        return {}
    found = {}
    for fold in folds:
        folder = command.encoders / fold.name
        found[fold.name] = check_model_dir(folder / "encoder" if (folder / "encoder").is_dir() else folder)
    return found


def open_design(
    command: StudyCommand,
    models: Mapping[str, Method],
    *,
    tuning: Tuning | None = None,
    with_mean: bool = False,
    learn_all_classes: bool = True,
    variants: Mapping[str, Sequence[Path]] | None = None,
    start: Path | None = None,
) -> Design:
    """Return the design of a command; start: folder of a fitted model that fits by a recipe start from.

    Raises ValueError for parts of another run and, with `learn_all_classes`, where a test side alone has a class.
    """
    if command.encoder is not None:
        check_model_dir(command.encoder)
    data = open_data(command)
    folds = study_folds(data, command.group, n_folds=command.folds, holdout=command.holdout, seed=command.seed)
    if learn_all_classes:
        check_classes(folds, data.labels, data.task.classes)
    if unread := [name for name, method in models.items() if not method.reads(data)]:
        logger.warning("left out, since they cannot read windows of %s: %s", data.shards.names, ", ".join(unread))
    models = {name: method for name, method in models.items() if name not in unread}
    encoders = fold_encoders(command, folds)
    config = run_config(command, data, folds, encoders)
    if variants:
        config["variants_sha256"] = {name: [_weights(one) for one in each] for name, each in variants.items()}
    if start is not None:
        config["start_sha256"] = _weights(check_model_dir(start))
    parts = Parts(parts_folder(command.output), config)
    bench = Bench(
        data, command.encoder, parts.folder / "logs", encoders=encoders, variants=variants, settings=command.settings,
        seed=command.seed, tiny=command.tiny, exchange=parts.folder / "tokens" if command.jobs > 1 else None,
        start=start,
    )  # fmt: skip
    return Design(
        bench=bench, folds=folds, models=models, parts=parts, seeds=command.seeds, tuning=tuning or Tuning(),
        with_mean=with_mean,
    )  # fmt: skip


def run_config(
    command: StudyCommand, data: Labelled, folds: Sequence[Fold], encoders: Mapping[str, Path]
) -> dict[str, Any]:
    """Return all that decides a study's parts, besides the code outside of signals/: parts of another are refused."""
    encoder, decides = command.encoder, asdict(command)
    return {
        **{name: value for name, value in decides.items() if name not in NO_PART},
        "manifest_digest": data.shards.manifest.digest,
        "encoder_sha256": None if encoder is None else _weights(encoder),
        "encoders_sha256": {name: _weights(folder) for name, folder in sorted(encoders.items())},
        "split_digest": split_meta(data, folds, command.group, NOT_PRETRAINED)["split_digest"],
        "code_version": code_version(),
    }


def _weights(folder: Path) -> str:
    return file_sha256(folder / "model.safetensors")


def study_meta(command: StudyCommand, design: Design, *, command_line: str) -> dict[str, Any]:
    """Return the metadata of a study's predictions: split, pretraining, command."""
    bench = design.bench
    pretrained = command.encoder is not None or command.encoders is not None or bench.start_dir is not None
    meta = split_meta(bench.data, design.folds, command.group, bench.pretraining())
    for fold, described in zip(design.folds, meta["folds"], strict=True):
        described.update(bench.pretraining_without(fold.name))
    return {
        **meta,
        "encoder": "pretrained" if pretrained else "random",
        "command": command_line,
        "seed": command.seed,
    }


def parse_study(command: type[C], argv: Sequence[str], *, prog: str, recipe: FinetuneRecipe | None = None) -> C:
    """Return the resolved command; exits with code 2 and one line for mistakes.

    What is no option of the study is one of the recipes': it is checked against `recipe`, and `--help` lists both.
    """
    arguments, recipe = without_encoder(argv), recipe or FinetuneRecipe()
    if "--help" in arguments or "-h" in arguments:
        show_fields(prog, [(command, None), (type(recipe), recipe)])
    found, settings = parsed(command, arguments, prog=prog)
    overridden(recipe, settings, prog=prog)
    return replace(found, settings=tuple(settings))  # type: ignore[type-var]


def run_command(prog: str, work: Callable[[], None]) -> None:
    """Run a study: one line and code 2 for bad input, the resume code where a signal stopped it."""
    before = {number: signal.signal(number, _stop) for number in (signal.SIGTERM, signal.SIGINT)}

    def alone(_: Any) -> bool:
        work()
        return True

    try:
        run_alone(prog, alone)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _stop(number: int, frame: FrameType | None) -> NoReturn:
    raise SystemExit(RESUME_EXIT)


def line_of(prog: str, arguments: Sequence[str]) -> str:
    """Return the command line for metadata."""
    return f"{prog} {shlex.join(arguments)}"
