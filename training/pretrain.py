"""Pretraining: hide parts of unlabelled windows, learn to fill them in, measure it on subjects never trained on.

`python -m training.pretrain --recipe eeg_tiny --shards DIR --output DIR`, or the same under torchrun. Started again
with the same options after an interruption (exit code 75), it goes on from the last checkpoint.

OUT/encoder/ model for transformers; OUT/checkpoints/; OUT/metrics.jsonl; OUT/reconstruction.parquet;
OUT/pretrain_subjects.json the subjects trained on and held out.
"""

import json
import sys
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch

from model.encoder import Encoder
from model.pretraining.pretraining import PretrainModel
from signals.shards.normalise import Normaliser
from signals.version import code_version
from training.command import parse_command, run_main
from training.corpus.order import check_batch
from training.corpus.pretrain_batches import make_order, pretrain_batch, step_batches
from training.corpus.shards import Shards
from training.corpus.splits import evenly, hold_out
from training.objectives.reconstruction import evaluate_reconstruction
from training.objectives.validation import validate
from training.recipes.pretraining import RECIPES, PretrainRecipe
from training.trainer.distributed import Backend, Processes, start_processes
from training.trainer.optim import make_optimizer, make_scheduler
from training.trainer.run_page import write_run_page
from training.trainer.saving import Saver, resume
from training.trainer.stopping import RESUME_EXIT, Stopped, StopRequest
from training.trainer.throughput import Monitor, forward_backward_flops
from training.trainer.tracking import TrackerName, open_trackers
from training.trainer.train import Trainer, run_steps

SUBJECTS_FILE = "pretrain_subjects.json"


@dataclass(frozen=True, kw_only=True)
class PretrainCommand:
    """Pretrain an encoder on a shard set."""

    shards: tuple[Path, ...]
    """Shard sets that pipelines.preprocess wrote, of one modality; windows may differ in length."""
    output: Path
    """Folder of the run."""
    exclude_sites: tuple[str, ...] = ()
    """Sites that are neither trained on nor scored."""
    max_steps: int | None = None
    """Stop after this many steps; the schedule stays the recipe's."""
    dist: Backend = "auto"
    """How processes talk: torchrun's and horovodrun's environments are recognised."""
    track: tuple[TrackerName, ...] = ()
    """Where numbers go besides OUT/metrics.jsonl."""
    recipe: str
    """Name of the recipe that gave the configuration."""
    config: PretrainRecipe
    """The recipe, with overrides."""


def pretrain(command: PretrainCommand, processes: Processes, stop: StopRequest) -> bool:
    """Run, or go on with, a pretraining; returns False if a signal stopped it (it can be started again)."""
    recipe = command.config
    check_batch(batch=recipe.batch, world_size=processes.world_size)
    shards = Shards(
        command.shards, exclude_sites=command.exclude_sites, max_corrupt=recipe.max_corrupt, on_shard=stop.check
    )
    train, held_out = _sides(shards, recipe)
    train_subjects = sorted({shards.entries[i].subject_id for i in train})
    normaliser = _normaliser(shards, train_subjects, recipe)
    about = {
        "config": asdict(recipe),
        "manifest_digest": shards.manifest.digest,
        "exclude_sites": sorted(command.exclude_sites),
        "code_version": code_version(),
    }
    trainer = _trainer(shards, recipe, processes, stop)
    saver = Saver(command.output / "checkpoints", processes, keep=recipe.keep, in_background=recipe.save_in_background)
    decides = {name: about[name] for name in ("config", "manifest_digest", "exclude_sites")}
    resume(trainer, saver.folder, decides, defaults=asdict(PretrainRecipe()))
    finished = _train(command, trainer, saver, shards, normaliser, train, held_out, about)
    if finished and processes.is_main:
        with trainer.average.applied(trainer.module) if trainer.average is not None else nullcontext():
            _finish(command, trainer, shards, normaliser, train_subjects, held_out, about)
    processes.barrier()
    return finished


def _sides(shards: Shards, recipe: PretrainRecipe) -> tuple[list[int], list[int]]:
    """Return windows to train on and windows to be scored, by whole subjects."""
    subjects = [entry.subject_id for entry in shards.entries]
    train, held_out = hold_out(subjects, share=recipe.held_out_share, seed=recipe.split_seed)
    if recipe.choose_share == 0:
        return train, held_out
    fewer, chosen_by = hold_out([subjects[i] for i in train], share=recipe.choose_share, seed=recipe.split_seed + 1)
    return [train[i] for i in fewer], [train[i] for i in chosen_by]


def _normaliser(shards: Shards, train_subjects: Sequence[str], recipe: PretrainRecipe) -> Normaliser:
    known = shards.manifest.subjects
    return Normaliser.fit(
        recipe.normalisation,
        {s: known[s].moments for s in train_subjects},
        {s: known[s].site_id for s in train_subjects},
        train_subjects,
        sensor_types=shards.manifest.modality.sensor_types,
    )


def _trainer(shards: Shards, recipe: PretrainRecipe, processes: Processes, stop: StopRequest) -> Trainer:
    torch.manual_seed(recipe.seed)  # weights, the same on every rank
    model = PretrainModel(Encoder(recipe.encoder), shards.manifest.modality, recipe.weights)
    optimizer = make_optimizer(model, learning_rate=recipe.learning_rate, weight_decay=recipe.weight_decay)
    return Trainer(
        module=model,
        optimizer=optimizer,
        scheduler=make_scheduler(optimizer, warmup_steps=recipe.warmup_steps, steps=recipe.steps),
        processes=processes,
        seed=recipe.seed,
        precision=recipe.precision,
        clip_norm=recipe.clip_norm,
        ema_decay=recipe.ema_decay,
        compile=recipe.compile,
        stop=stop,
    )


def _train(
    command: PretrainCommand,
    trainer: Trainer,
    saver: Saver,
    shards: Shards,
    normaliser: Normaliser,
    train: Sequence[int],
    held_out: Sequence[int],
    about: Mapping[str, Any],
) -> bool:
    recipe, processes = command.config, trainer.processes
    n_steps = min(recipe.steps, command.max_steps or recipe.steps)
    tracker = open_trackers(
        command.output,
        also=command.track,
        after_step=trainer.step,
        active=processes.is_main,
        config={"recipe": command.recipe, **asdict(recipe)},
    )
    order = make_order(shards, train, recipe)
    place = {"rank": processes.rank, "world_size": processes.world_size}
    batches = step_batches(shards, order, normaliser, recipe, steps=range(trainer.step, n_steps), **place)
    looked = evenly(held_out, recipe.validate_windows)
    model = trainer.module
    assert isinstance(model, PretrainModel)
    sample = pretrain_batch(shards, order.step(0)[0], normaliser, recipe, step=0)
    monitor = Monitor(
        tracker,
        step_flops=forward_backward_flops(model, sample, processes.device) * recipe.batch / recipe.micro_batch,
        world_size=processes.world_size,
        device=processes.device,
    )
    validation = HeldOutValidation(shards, looked, normaliser, recipe)

    def save(t: Trainer) -> None:
        state = lambda: {**t.state(), **about, "loader": {"step": t.step, "windows_per_epoch": len(order)}}  # noqa: E731
        saver.save(state, step=t.step, score=validation.scores.get(t.step), wait=t.stop.asked)

    try:
        finished = run_steps(
            trainer,
            batches,
            n_steps=n_steps,
            label="pretrain",
            tracker=monitor,
            save=save,
            save_every=recipe.save_every,
            validation=validation,
        )
        saver.close()
    finally:
        batches.close()
        tracker.close()
        if processes.is_main:
            write_run_page(command.output)
    return finished


@dataclass
class HeldOutValidation:
    """The error at hidden samples of held-out windows, of the averaged weights where there are any."""

    shards: Shards
    windows: Sequence[int]
    normaliser: Normaliser
    recipe: PretrainRecipe
    scores: dict[int, float] = field(default_factory=dict)
    """Error by step: what chooses the best checkpoint."""
    is_over: bool = False

    @property
    def every(self) -> int:
        """Steps between looks."""
        return self.recipe.validate_every

    def __call__(self, trainer: Trainer) -> dict[str, float]:
        """Return the values of `training.objectives.validation.validate`."""
        model = trainer.module
        assert isinstance(model, PretrainModel)
        with trainer.average.applied(model) if trainer.average is not None else nullcontext():
            values = validate(
                model,
                self.shards,
                self.windows,
                self.normaliser,
                trainer.processes,
                masks=self.recipe.masks,
                crop_s=self.recipe.crop_s,
                filling=self.recipe.filling,
                seed=self.recipe.seed,
            )
        self.scores[trainer.step] = values["valid_error"]
        return values


def _finish(
    command: PretrainCommand,
    trainer: Trainer,
    shards: Shards,
    normaliser: Normaliser,
    train_subjects: Sequence[str],
    held_out: Sequence[int],
    about: Mapping[str, Any],
) -> None:
    """Write the encoder, who it was trained on, and how well it fills gaps of subjects it was not trained on.

    What is here already is done again after an interruption.
    """
    model = trainer.module
    assert isinstance(model, PretrainModel)
    model.encoder.save_pretrained(command.output / "encoder")
    told = {
        "train": list(train_subjects),
        "held_out": sorted({shards.entries[i].subject_id for i in held_out}),
        "normalisation": command.config.normalisation,
        "recipe": command.recipe,
        **about,
    }
    for folder in (command.output, command.output / "encoder"):
        (folder / SUBJECTS_FILE).write_text(json.dumps(told, indent=1) + "\n")
    evaluate_reconstruction(
        command.output / "reconstruction.parquet",
        model,
        shards,
        held_out,
        normaliser,
        seed=command.config.split_seed,
        max_windows=command.config.evaluate_windows,
        filling=command.config.filling,
        on_window=trainer.stop.check,
    )


def main(argv: Sequence[str] | None = None) -> None:
    """Run from the command line."""
    prog = "training.pretrain"
    arguments = sys.argv[1:] if argv is None else argv
    command = parse_command(PretrainCommand, RECIPES, arguments, default_recipe="eeg_tiny", prog=prog)

    def work() -> None:
        stop = StopRequest()
        with stop.listening():
            processes = start_processes(command.dist)
            try:
                finished = pretrain(command, processes, stop)
            except Stopped:  # before the first step or after the last: nothing to save that is not saved
                finished = False
            processes.close()
        if not finished:
            raise SystemExit(RESUME_EXIT)

    run_main(prog, work)


if __name__ == "__main__":
    main()
