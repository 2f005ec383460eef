"""Pruning: a task model with fewer parameters, fine-tuned briefly on the people it was trained on.

`python -m training.prune --model DIR --shards DIR --share 0.4 --output DIR [--method mixed] [--test-sites SITE]`
prints parameters, size and what is lost on people who were never trained on. OUT is a model as any other.

Methods: "mixed" takes heads and channels of everything, in the same ratio; "heads", "mlp" and "stem" take of one part,
"blocks" whole blocks; "weights" only sets the smallest weights to zero, which changes neither size nor speed. Of a
ResNet1D-GRU "mixed" takes channels inside of its residual blocks and units of its GRU.
"""

import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
import torch

from model.classifier import Classifier
from model.compression.importance import Example, Importance, magnitude_scores, taylor_scores
from model.compression.narrowing import NETWORK, narrow, plan_widths, width_scores
from model.compression.pruning import Method, plan, prune
from model.compression.sparsity import zero_share, zero_weights
from model.freezing import freeze
from model.saved import TaskModel, load_task_model
from signals.json_output import print_json
from training.command import Sections, check_output, parse_command, run_main
from training.corpus.corpus import Corpus
from training.corpus.labelled import Labelled, labelled, task_named
from training.corpus.splits import evenly
from training.fitting.fit import sides
from training.fitting.held_out import Score, Seen, held_out_rows, known_subjects, learnt_from, score_model, with_seen
from training.fitting.inference import check_fits, reads_spectrogram
from training.fitting.learning import learn
from training.fitting.spectra import Spectrograms
from training.parallel.distributed import Processes, own_device, start_processes
from training.recipes.compression import brief
from training.recipes.finetuning import FinetuneRecipe
from training.trainer.stopping import RESUME_EXIT

PROG = "cerebeam prune"
AnyMethod = Literal[Method, "weights"]


@dataclass(frozen=True, kw_only=True)
class PruneCommand:
    """Take parameters out of a task model, fine-tune what is left, and say what it cost."""

    model: Path
    """Folder of a task model, made by training.finetune or studies.loso."""
    shards: Path
    """Shard set with labels of the model's training subjects and of others to measure on."""
    output: Path
    """Folder of the smaller model; must not exist yet."""
    share: float = 0.4
    """Share of parameters to remove, at least."""
    method: AnyMethod = "mixed"
    """What is taken out: heads and channels ("mixed"), one kind of them, whole blocks, or single weights."""
    importance: Importance = "taylor"
    """How it is decided what matters: gradients on training windows, or sizes of weights."""
    calibration_windows: int = 128
    """Training windows that importance is measured on."""
    test_sites: tuple[str, ...] = ()
    """Where the loss is measured; all subjects whom the model was not trained on, without."""
    task: str | None = None
    """Refuse a model of another task."""
    json: bool = False
    """One JSON object: the stages, each with its parameters and scores."""
    recipe: str = "brief"
    """Name of the recipe that gave the configuration."""
    config: Annotated[FinetuneRecipe, Sections]
    """How what is left is fine-tuned, with overrides."""


@dataclass(frozen=True, kw_only=True)
class Stage:
    """A model at one point of the way."""

    name: str
    n_parameters: int
    zero_share: float
    """Share of parameters that are exactly zero."""
    score: Score


def prune_model(command: PruneCommand, processes: Processes) -> list[Stage] | None:
    """Prune, fine-tune, measure and save; returns the stages, or None if a signal stopped it.

    Raises ValueError for an output that exists, a model of another task than the one named, shards that do not fit it,
    test sites that it was trained on, and a share that the method cannot reach.
    """
    check_output(command.output)
    model = load_task_model(command.model)
    if command.task is not None and model.config.task != task_named(command.task).name:
        raise ValueError(f"{command.model} was trained for task {model.config.task!r}, not {command.task!r}")
    data = labelled(Corpus.open(command.shards), task_named(model.config.task))
    check_fits(command.model, model, data)
    before = Seen.of(model.config.provenance, name=str(command.model))
    train, test = _rows(before, data, command)
    stages = [_stage("as it was", model, data, test)]
    pruned = cut(model.cpu(), data, sides(data, train, command.config)[0], command)
    stages.append(_stage("pruned", pruned, data, test))
    log = command.output.with_name(f"{command.output.name}.jsonl")
    tuned = tune(pruned, data, train, command.config, processes=processes, metrics=log)
    if tuned is None:
        return None
    stages.append(_stage("fine-tuned", tuned, data, test))
    options = {name: getattr(command, name) for name in ("method", "share", "importance")}
    about = {**options, "recipe": asdict(command.config), "stages": [asdict(stage) for stage in stages]}
    seen = [before, learnt_from(data, train, before.pretraining, name="the pruned model")]
    tuned.config.provenance = with_seen(tuned.config.provenance, seen) | {"pruning": about}
    tuned.save_pretrained(command.output)
    return stages


def _rows(before: Seen, data: Labelled, command: PruneCommand) -> tuple[np.ndarray, np.ndarray]:
    """Return rows of the model's own training subjects, and those to measure on."""
    trained = known_subjects(data, [before])
    test = held_out_rows(data, trained=trained, sites=command.test_sites)
    train = np.flatnonzero(np.isin(data.subjects, sorted(trained)))
    if not len(train):
        raise ValueError(f"{command.shards} holds no subject that {command.model} was trained on: nothing to tune with")
    return train, test


def cut(model: TaskModel, data: Labelled, rows: np.ndarray, command: PruneCommand) -> TaskModel:
    """Return the model without what matters least on some of the training rows; it can be trained all over.

    Raises ValueError where the method does not fit the model or cannot remove so much.
    """
    if command.method == "weights":
        freeze(model, ())
        zero_weights(model, command.share)
        return model
    chosen = np.array(evenly(rows.tolist(), command.calibration_windows))
    if not isinstance(model, Classifier):
        if model.config.network != NETWORK or command.method != "mixed":
            there = "'mixed' and 'weights'" if model.config.network == NETWORK else "'weights'"
            raise ValueError(
                f"method {command.method!r} is for encoders with a head; for this network there is {there}"
            )
        widths = plan_widths(model, command.share)
        return narrow(model, widths, width_scores(model, command.importance, _examples(model, data, chosen)))
    shape = plan(model.config, command.method, command.share)
    if command.importance == "taylor":
        scores = taylor_scores(model, _examples(model, data, chosen))
    else:
        scores = magnitude_scores(model)
    smaller = prune(model, shape, scores)
    freeze(smaller, ())
    return smaller


def _examples(model: TaskModel, data: Labelled, rows: np.ndarray, *, batch: int = 16) -> Iterator[Example]:
    spectra = Spectrograms(data.shards) if reads_spectrogram(model) else None
    for start in range(0, len(rows), batch):
        chosen = rows[start : start + batch]
        power_BRFS = None if spectra is None else torch.from_numpy(spectra.batch(data.windows[chosen]))
        made = data.shards.batch(data.windows[chosen], model.normaliser)
        target_BK = torch.from_numpy(data.targets[chosen])
        yield torch.from_numpy(made.x_BCT), torch.from_numpy(made.ch_state_BC), power_BRFS, target_BK


def tune(
    model: TaskModel, data: Labelled, rows: np.ndarray, recipe: FinetuneRecipe, *, processes: Processes, metrics: Path
) -> TaskModel | None:
    """Return the model after training on rows, of whose subjects some choose the epoch; None if it was stopped."""
    run = {"processes": processes, "metrics": metrics, "name": "tune"}
    return learn(model, data, sides(data, rows, recipe), recipe, **run)  # type: ignore[arg-type]


def _stage(name: str, model: TaskModel, data: Labelled, rows: np.ndarray) -> Stage:
    model.to(own_device())
    return Stage(
        name=name,
        n_parameters=sum(p.numel() for p in model.parameters()),
        zero_share=zero_share(model),
        score=score_model(model, data, rows),
    )


def table(stages: Sequence[Stage]) -> str:
    """Return the stages as text: parameters, those kept, size of fp32 weights, zeros, scores on held-out people."""
    whole = stages[0].n_parameters
    lines = [
        f"{'':<12}{'parameters':>12}{'kept':>7}{'MB fp32':>9}{'zeros':>7}{'balanced accuracy':>19}{'KL':>8}"
        f"   ({stages[0].score.n_windows} windows of people it was never trained on)"
    ]
    for stage in stages:
        lines.append(
            f"{stage.name:<12}{stage.n_parameters:>12,}{stage.n_parameters / whole:>7.1%}"
            f"{4 * stage.n_parameters / 1e6:>9.2f}{stage.zero_share:>7.1%}"
            f"{stage.score.balanced_accuracy:>19.3f}{stage.score.kl:>8.3f}"
        )
    lost = stages[0].score.balanced_accuracy - stages[-1].score.balanced_accuracy
    lines.append(f"balanced accuracy lost: {100 * lost:.1f} points")
    if stages[-1].n_parameters == whole:
        lines.append("weights were set to zero, none was removed: size and speed of the dense model are what they were")
    return "\n".join(lines)


def main(argv: Sequence[str] | None = None) -> None:
    """Run from the command line."""
    arguments = sys.argv[1:] if argv is None else argv
    command = parse_command(PruneCommand, {"brief": brief}, arguments, default_recipe="brief", prog=PROG)

    def work() -> None:
        stages = prune_model(command, start_processes("single"))
        if stages is None:
            raise SystemExit(RESUME_EXIT)
        if command.json:
            print_json({"output": command.output, "stages": stages})
        else:
            print(table(stages))  # noqa: T201

    run_main(PROG, work)


if __name__ == "__main__":
    main()
