"""HuBERT pretrained on shards of leads, without labels: the peer of `training.pretrain` in the tables over hearts.

OUT/encoder/ the network; OUT/checkpoints/; OUT/metrics.jsonl; OUT/units.json, how well units of held-out subjects are
predicted. Started again after an interruption a run goes on from its last checkpoint, step by step the same.
"""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from model.pretraining.hubert import Hubert, HubertPretraining, load_hubert
from signals.files import atomic_file
from signals.shards.normalise import Normaliser
from signals.version import code_version
from training.corpus.corpus import Corpus
from training.corpus.order import MicroBatch
from training.corpus.source import Choice, Source
from training.corpus.splits import evenly, hold_out_names
from training.corpus.stream import Reading, Stream, step_batches
from training.parallel.distributed import start_processes
from training.provenance import SUBJECTS_FILE, trained_on
from training.recipes.hubert import HubertRecipe
from training.trainer.monitoring import monitored
from training.trainer.saving import Saver, resume
from training.trainer.start import new_trainer
from training.trainer.stopping import StopRequest
from training.trainer.train import Trainer, run_steps
from training.units import HiddenUnits, fit_units, scaled


def pretrain_hubert(
    shards: Path, output: Path, recipe: HubertRecipe, *, teacher: Path | None = None, stop: StopRequest | None = None
) -> bool:
    """Run, or go on with, a pretraining; returns False if a signal stopped it (it can be started again).

    teacher: folder of a finished run, whose network's hidden states make the units of a second round. Raises
    ValueError for a folder of another run, a teacher that is none, crops shorter than a frame, fewer frames than units.
    """
    corpus = Corpus.open(shards)
    train, held_out = hold_out_names(
        corpus.manifest.subjects, share=recipe.data.held_out_share, seed=recipe.data.split_seed
    )
    sfreq = corpus.manifest.modality.sfreq
    source = Source(
        corpus=corpus, normaliser=Normaliser(kind="window"), crop_times=round(recipe.data.crop_s * sfreq),
        seed=(recipe.seed, 1),
    )  # fmt: skip
    if source.crop_times < recipe.model.reach:
        raise ValueError(f"crop_s={recipe.data.crop_s:g} is shorter than a frame of {recipe.model.reach} samples")
    about = {
        "config": asdict(recipe), "manifest_digest": corpus.manifest.digest, "teacher": str(teacher or ""),
        "code_version": code_version(),
    }  # fmt: skip
    objective = _objective(recipe, teacher)
    trainer = new_trainer(
        objective, recipe, start_processes("single"), n_steps=recipe.schedule.steps, stop=stop or StopRequest()
    )
    saver = Saver(output / "checkpoints", trainer.processes, keep=recipe.track.keep)
    decides = {name: about[name] for name in ("config", "manifest_digest", "teacher")}
    if resume(trainer, saver.folder, decides, defaults=asdict(HubertRecipe())) is None:
        rows = _rows(source, train, most=recipe.data.unit_windows)
        fit_units(objective.model, batches_of(source, rows, trainer.processes.device), seed=recipe.seed)
    if not _train(trainer, source, train, recipe, output, saver, about):
        return False
    facts = {"held_out": held_out, **trained_on([corpus], train, former=teacher), **about}
    (output / SUBJECTS_FILE).write_text(json.dumps(facts, indent=1) + "\n", encoding="utf-8")
    with trainer.evaluated():  # averaged weights, where there are any
        objective.model.encoder.save(output / "encoder")
        found = score(objective, batches_of(source, _rows(source, held_out), trainer.processes.device))
    with atomic_file(output / "units.json") as file:  # the last: what makes the run complete
        file.write(json.dumps(found).encode())
    return True


def _objective(recipe: HubertRecipe, teacher: Path | None) -> HiddenUnits:
    torch.manual_seed(recipe.seed)
    former = None if teacher is None else load_hubert(teacher / "encoder")
    model = HubertPretraining(Hubert(recipe.model), n_units=recipe.objective.n_units, teacher=former)
    chosen = recipe.objective
    return HiddenUnits(model, start_share=chosen.start_share, span=chosen.span, seed=(recipe.seed, 1))


def _train(
    trainer: Trainer, source: Source, train: Sequence[str], recipe: HubertRecipe, output: Path, saver: Saver,
    about: dict[str, Any],
) -> bool:  # fmt: skip
    n_steps = recipe.schedule.steps
    reading = Reading(
        batch=recipe.optim.batch, micro_batch=recipe.optim.micro_batch, seed=recipe.seed, rank=0, world_size=1
    )
    stream = Stream([source], [Choice(train)], reading)
    _, micro = stream.first()
    batches = step_batches(stream, range(trainer.step, n_steps), None, n_workers=0)

    def save(t: Trainer) -> None:
        saver.save(lambda: {**t.state(), **about}, step=t.step, wait=t.stop.requested)

    page = monitored(
        output / "metrics.jsonl", trainer, source.raw(micro), batch=recipe.optim.batch, config=asdict(recipe),
        also=recipe.track.to,
    )  # fmt: skip
    with closing(batches), page as tracker:
        finished = run_steps(
            trainer, batches, n_steps=n_steps, label="hubert", tracker=tracker, save=save,
            save_every=recipe.track.save_every,
        )  # fmt: skip
        saver.close()
    return finished


def _rows(source: Source, people: Sequence[str], *, most: int = 100) -> list[int]:
    return evenly(Choice(people).rows(source.corpus).numbers.tolist(), most)


def batches_of(
    source: Source, windows: Sequence[int], device: torch.device, *, size: int = 8
) -> Iterator[dict[str, Tensor]]:
    """Yield windows by number as raw batches, each with its own number as sample number; crops alike are together."""
    lengths = [min(source.corpus.entry(number).n_times, source.crop_times) for number in windows]
    for length in sorted(set(lengths)):
        rows = [number for number, n_times in zip(windows, lengths, strict=True) if n_times == length]
        for start in range(0, len(rows), size):
            part = tuple(rows[start : start + size])
            raw = source.raw(MicroBatch(windows=part, samples=part, n_times=length))
            yield {name: values.to(device) for name, values in raw.items()}


@torch.no_grad()
def score(objective: HiddenUnits, batches: Iterable[Mapping[str, Tensor]]) -> dict[str, float]:
    """Return how well units of hidden frames are predicted, and what the commonest unit alone would give."""
    model, hits, losses, units = objective.model.eval(), 0, 0.0, []
    for batch in batches:
        x_BCT, mask_BCN = scaled(batch), objective.mask(batch)
        true = model.units(model.features(x_BCT))[mask_BCN]
        logits = model.logits(x_BCT, mask_BCN)
        hits += int((logits.argmax(-1) == true).sum())
        losses += float(torch.nn.functional.cross_entropy(logits, true, reduction="sum"))
        units.append(true.cpu().numpy())
    share = np.bincount(np.concatenate(units), minlength=objective.model.units.centre_KF.shape[0])
    n = int(share.sum())
    frequent = share[share > 0] / n
    return {
        "accuracy": hits / n, "accuracy_commonest": float(share.max() / n), "loss": losses / n,
        "loss_frequencies": float(-(frequent * np.log(frequent)).sum()), "n_frames": n,
    }  # fmt: skip
