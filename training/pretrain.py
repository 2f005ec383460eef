"""Pretraining: hide parts of unlabelled windows, learn to fill them in, measure it on subjects never trained on.

`python -m training.pretrain --recipe eeg_tiny --shards DIR --output DIR`, or the same under torchrun. Started again
with the same options after an interruption (exit code 75), it goes on from the last checkpoint.

OUT/encoder/ model for transformers; OUT/checkpoints/; OUT/metrics.jsonl; OUT/reconstruction.parquet;
OUT/pretrain_subjects.json the subjects trained on and held out.
"""

import hashlib
import json
import logging
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from model.checkpoint import load_newest, save_checkpoint
from model.encoder import Encoder
from model.masking import draw_mask, fill_hidden
from model.pretraining import PretrainModel
from signals.normalise import Normaliser
from signals.version import code_version
from training.command import parse_command, run_main
from training.data import Entry, Order, Shards, check_batches, micro_batches_of, prefetch
from training.distributed import Processes, start_processes
from training.loop import RESUME_EXIT, MetricsLog, Trainer, run_steps
from training.optim import make_optimizer, make_scheduler
from training.recipes.pretraining import RECIPES, PretrainRecipe
from training.reconstruction import evaluate_reconstruction

logger = logging.getLogger(__name__)
SUBJECTS_FILE = "pretrain_subjects.json"


@dataclass(frozen=True, kw_only=True)
class PretrainCommand:
    """Pretrain an encoder on a shard set."""

    shards: Path
    """Shard set that pipelines.preprocess wrote."""
    output: Path
    """Folder of the run."""
    exclude_sites: tuple[str, ...] = ()
    """Sites that are neither trained on nor scored."""
    max_steps: int | None = None
    """Stop after this many steps; the schedule stays the recipe's."""
    recipe: str
    """Name of the recipe that gave the configuration."""
    config: PretrainRecipe
    """The recipe, with overrides."""


def hold_out(entries: Sequence[Entry], *, share: float, seed: int) -> tuple[list[int], list[int]]:
    """Return numbers of windows to train on and of windows held out, whole subjects: those of the lowest hashes.

    At least one subject lies on each side. Raises ValueError with fewer than two subjects.
    """
    subjects = sorted({entry.subject_id for entry in entries}, key=lambda s: _hash(f"{seed}/{s}"))
    if len(subjects) < 2:
        raise ValueError("pretraining needs at least 2 subjects: one of them is held out")
    n_held_out = min(max(1, round(share * len(subjects))), len(subjects) - 1)
    held_out = set(subjects[:n_held_out])
    sides: tuple[list[int], list[int]] = ([], [])
    for number, entry in enumerate(entries):
        sides[entry.subject_id in held_out].append(number)
    return sides


def _hash(text: str) -> bytes:
    return hashlib.sha256(text.encode()).digest()


def pretrain_batch(
    shards: Shards, windows: Sequence[int], samples: Sequence[int], normaliser: Normaliser, recipe: PretrainRecipe
) -> dict[str, Tensor]:
    """Return a micro-batch: truth, filled signal, mask and channel states; crops and masks depend on sample numbers."""
    batch = shards.batch(windows, normaliser)
    n_times = min(shards.n_times, round(recipe.crop_s * shards.manifest.modality.sfreq))
    x, masks, filled = [], [], []
    for row, sample in enumerate(samples):
        rng = np.random.default_rng((recipe.seed, 1, sample))
        start = int(rng.integers(0, shards.n_times - n_times + 1))
        x.append(batch.x_BCT[row, :, start : start + n_times])
        masks.append(
            draw_mask(rng, batch.ch_state_BC[row], n_times, sfreq=shards.manifest.modality.sfreq, plan=recipe.masks)
        )
        filled.append(fill_hidden(x[-1], masks[-1]))
    return {
        "x_BCT": torch.from_numpy(np.stack(x)),
        "filled_BCT": torch.from_numpy(np.stack(filled)),
        "mask_BCT": torch.from_numpy(np.stack(masks)),
        "ch_state_BC": torch.from_numpy(batch.ch_state_BC),
    }


def pretrain(command: PretrainCommand, processes: Processes) -> bool:
    """Run, or go on with, a pretraining; returns False if a signal stopped it (it can be started again)."""
    recipe = command.config
    check_batches(batch=recipe.batch, micro_batch=recipe.micro_batch, world_size=processes.world_size)
    shards = Shards(command.shards, exclude_sites=command.exclude_sites)
    train, held_out = hold_out(shards.entries, share=recipe.held_out_share, seed=recipe.seed)
    train_subjects = sorted({shards.entries[i].subject_id for i in train})
    subjects = shards.manifest.subjects
    normaliser = Normaliser.fit(
        recipe.normalisation,
        {s: subjects[s].moments for s in train_subjects},
        {s: subjects[s].site_id for s in train_subjects},
        train_subjects,
    )
    torch.manual_seed(recipe.seed)  # weights, the same on every rank
    model = PretrainModel(Encoder(recipe.encoder), shards.manifest.modality, recipe.weights)
    optimizer = make_optimizer(model, learning_rate=recipe.learning_rate, weight_decay=recipe.weight_decay)
    trainer = Trainer(
        module=model,
        optimizer=optimizer,
        scheduler=make_scheduler(optimizer, warmup_steps=recipe.warmup_steps, steps=recipe.steps),
        processes=processes,
        seed=recipe.seed,
        precision=recipe.precision,
        clip_norm=recipe.clip_norm,
    )
    about = {
        "config": asdict(recipe),
        "manifest_digest": shards.manifest.digest,
        "exclude_sites": sorted(command.exclude_sites),
        "code_version": code_version(),
    }
    _resume(trainer, command.output / "checkpoints", about)
    n_steps = min(recipe.steps, command.max_steps or recipe.steps)
    finished = run_steps(
        trainer,
        _batches(shards, Order(shards.entries, train, seed=recipe.seed), normaliser, recipe, trainer, n_steps),
        n_steps=n_steps,
        label="pretrain",
        log=MetricsLog(command.output / "metrics.jsonl", after_step=trainer.step, active=processes.is_main),
        save=lambda t: _save(t, command.output / "checkpoints", about, recipe),
        save_every=recipe.save_every,
        window_s=min(recipe.crop_s, shards.n_times / shards.manifest.modality.sfreq),
        windows_per_step=recipe.batch,
    )
    if finished and processes.is_main:
        _finish(command, model, shards, normaliser, train_subjects, held_out, about)
    processes.barrier()
    return finished


def _batches(
    shards: Shards, order: Order, normaliser: Normaliser, recipe: PretrainRecipe, trainer: Trainer, n_steps: int
) -> Iterator[list[dict[str, Tensor]]]:
    def make(step: int) -> list[dict[str, Tensor]]:
        place = {"rank": trainer.processes.rank, "world_size": trainer.processes.world_size}
        return [
            pretrain_batch(shards, [order.window_of(s) for s in samples], samples, normaliser, recipe)
            for samples in micro_batches_of(step, batch=recipe.batch, micro_batch=recipe.micro_batch, **place)
        ]

    return prefetch(make, range(trainer.step, n_steps))


def _resume(trainer: Trainer, folder: Path, about: Mapping[str, Any]) -> None:
    state = load_newest(folder)
    if state is None:
        return
    wrong = [name for name in ("config", "manifest_digest", "exclude_sites") if state[name] != about[name]]
    if wrong:
        raise ValueError(f"{folder} belongs to another run ({', '.join(wrong)} differ): choose another --output")
    trainer.load_state(state)
    logger.info("going on from step %d", trainer.step)


def _save(trainer: Trainer, folder: Path, about: Mapping[str, Any], recipe: PretrainRecipe) -> None:
    if trainer.processes.is_main:
        state = {**trainer.state(), **about, "loader": {"sample": trainer.step * recipe.batch}}
        save_checkpoint(folder, state, step=trainer.step, keep=recipe.keep)
    trainer.processes.barrier()


def _finish(
    command: PretrainCommand,
    model: PretrainModel,
    shards: Shards,
    normaliser: Normaliser,
    train_subjects: Sequence[str],
    held_out: Sequence[int],
    about: Mapping[str, Any],
) -> None:
    """Write the encoder, who it was trained on, and how well it fills gaps of subjects it was not trained on."""
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
        command.output / "reconstruction.parquet", model, shards, held_out, normaliser, seed=command.config.seed
    )


def main(argv: Sequence[str] | None = None) -> None:
    """Run from the command line."""
    prog = "training.pretrain"
    arguments = sys.argv[1:] if argv is None else argv
    command = parse_command(PretrainCommand, RECIPES, arguments, default_recipe="eeg_tiny", prog=prog)

    def work() -> None:
        processes = start_processes()
        finished = pretrain(command, processes)
        processes.close()
        if not finished:
            raise SystemExit(RESUME_EXIT)

    run_main(prog, work)


if __name__ == "__main__":
    main()
