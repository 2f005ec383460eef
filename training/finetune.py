"""Fine-tuning: an encoder and a head, or another network, learn a task from labelled windows.

`python -m training.finetune --shards DIR --task six-class --encoder DIR --output DIR` (`--no-encoder` for random
weights, and for the recipes of networks, which read none), or the same under torchrun. OUT holds config.json and
model.safetensors of a `model.saved.TaskModel`, training.json the resolved command, metrics.jsonl and curves.html. An
encoder that has learnt is in OUT/encoder too, with who it has seen: another task, or other sites, can start from it.
Exit code 75: a signal stopped it; the same command goes on from there (OUT/metrics.checkpoints).
"""

import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np

from model.classifier import Classifier
from model.encoder import Encoder
from signals.version import code_version
from training.command import Sections, parse_command, run_main, write_config
from training.corpus.corpus import Corpus
from training.corpus.labelled import Labelled, labelled, task_named, with_contrast
from training.fitting.fit import Fitting
from training.parallel.distributed import Processes, start_processes
from training.provenance import SUBJECTS_FILE, trained_on
from training.recipes.finetuning import RECIPES, FinetuneRecipe
from training.trainer.stopping import RESUME_EXIT


@dataclass(frozen=True, kw_only=True)
class FinetuneCommand:
    """Fine-tune an encoder for a task on all labelled windows of a shard set."""

    shards: Path
    """Shard set that pipelines.preprocess wrote, with labels."""
    task: str
    """Name of a task of signals.tasks."""
    encoder: Path | None
    """Folder of a pretrained encoder (`encoder/` of a pretraining); `--no-encoder` for random weights."""
    start_from: Path | None = None
    """Folder of a fitted model of the same classes, whose weights, head included, this fit starts from."""
    output: Path
    """Folder of the model."""
    recipe: str
    """Name of the recipe that gave the configuration."""
    config: Annotated[FinetuneRecipe, Sections]
    """The recipe, with overrides."""


def finetune(command: FinetuneCommand, processes: Processes) -> bool:
    """Fine-tune on all labelled windows and save the model; returns False if a signal stopped it."""
    task = task_named(command.task)
    data = with_contrast(labelled(Corpus.open(command.shards), task))
    fitting = Fitting(data, command.encoder, seed=command.config.seed, processes=processes, start=command.start_from)
    if processes.is_main:
        write_config(command.output / "training.json", command)
    everything, metrics = np.arange(len(data.windows)), command.output / "metrics.jsonl"
    model = fitting.fit(everything, command.config, metrics=metrics, name="finetune")
    if model is not None and processes.is_main:
        model.save_pretrained(command.output)
        if isinstance(model, Classifier) and encoder_learns(command.config):
            keep_encoder(command, model.encoder, data)
    return model is not None


def encoder_learns(recipe: FinetuneRecipe) -> bool:
    """Return whether a recipe changes the encoder's own weights; adapters are beside them."""
    return not recipe.model.adapter and not {"stem", "trunk"} <= set(recipe.regularise.freeze)


def keep_encoder(command: FinetuneCommand, encoder: Encoder, data: Labelled) -> None:
    """Write the encoder as a pretraining does, with everybody whom it or the encoder that it started from has seen."""
    folder = command.output / "encoder"
    encoder.save_pretrained(folder)
    subjects = sorted(set(data.subjects.tolist()))
    former = command.start_from / "encoder" if command.start_from else command.encoder
    facts = {
        "held_out": [],
        **trained_on([data.shards], subjects, former=former),
        "normalisation": command.config.data.normalisation,
        "recipe": command.recipe,
        "task": command.task,
        "manifest_digest": data.shards.manifest.digest,
        "code_version": code_version(),
    }
    (folder / SUBJECTS_FILE).write_text(json.dumps(facts, indent=1) + "\n")


def main(argv: Sequence[str] | None = None) -> None:
    """Run from the command line."""
    prog = "cerebeam finetune"
    arguments = without_encoder(sys.argv[1:] if argv is None else argv)
    command = parse_command(FinetuneCommand, RECIPES, arguments, default_recipe="probe", prog=prog)

    def work() -> None:
        processes = start_processes()
        finished = finetune(command, processes)
        processes.close()
        if not finished:
            raise SystemExit(RESUME_EXIT)

    run_main(prog, work)


def without_encoder(arguments: Sequence[str]) -> list[str]:
    """Return the arguments with `--no-encoder` written out as `--encoder None`."""
    return [part for a in arguments for part in (["--encoder", "None"] if a == "--no-encoder" else [a])]


if __name__ == "__main__":
    main()
