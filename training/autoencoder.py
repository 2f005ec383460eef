"""Train the anomaly autoencoder on shards, without labels, and write it as one ONNX file.

python -m training.autoencoder --shards DIR --output MODEL.onnx
"""

import json
import logging
import sys
import time
from collections.abc import Generator, Mapping, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
from torch import Tensor, nn

from model.pretraining.autoencoder import Autoencoder, export_autoencoder, parity
from signals.bundles.anomaly import SCHEMA_VERSION, model_input, window_score
from signals.description.artifacts import BIT
from signals.description.quality import SPOILT
from signals.json_output import print_json
from signals.version import code_version
from signals.window import MEASURED, Window
from training.command import Sections, check_output, parse_command, run_main
from training.corpus.corpus import Corpus
from training.corpus.order import Order, order_crc
from training.corpus.prefetch import prefetch
from training.corpus.splits import hold_out
from training.corpus.steps import Batch, StepBatches
from training.parallel.distributed import start_processes
from training.recipes.autoencoding import RECIPES, AutoencoderRecipe
from training.trainer.start import new_trainer
from training.trainer.train import run_steps

logger = logging.getLogger(__name__)
_NOT_LEARNT = SPOILT | BIT["blink"] | BIT["line"]
"""Seconds that the loss leaves out: eyes and mains reach many electrodes, and would be learnt like brain activity."""
TOLERANCE = 1e-3
"""Largest difference of a score between ONNX Runtime and torch."""


@dataclass(frozen=True, kw_only=True)
class AutoencoderCommand:
    """Train the anomaly autoencoder on shards, without labels, and write it as one ONNX file."""

    shards: Path
    """Folder made by pipelines.preprocess."""
    output: Path
    """The ONNX file; must not exist yet."""
    exclude_sites: tuple[str, ...] = ()
    """Sites that are left out altogether."""
    json: bool = False
    """One JSON object: the file, its loss, thresholds and parameters."""
    recipe: str = "eeg_autoencoder"
    """Name of a recipe in training/recipes/autoencoding.py."""
    config: Annotated[AutoencoderRecipe, Sections] = field(default_factory=AutoencoderRecipe)
    """The recipe, resolved."""


def train(command: AutoencoderCommand) -> dict[str, Any]:
    """Train, calibrate on held-out subjects and write the file; returns its metadata.

    Raises ValueError for an output that exists, shards that cannot be trained on, and an ONNX file that disagrees with
    torch.
    """
    recipe = command.config
    check_output(command.output)
    shards = Corpus.open(command.shards, exclude_sites=command.exclude_sites)
    manifest, started = shards.manifest, time.perf_counter()
    subjects = [entry.subject_id for entry in shards.entries]
    chosen, held_out = hold_out(subjects, share=recipe.data.held_out_share, seed=recipe.seed)
    command.output.parent.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(recipe.seed)
    model = Autoencoder(recipe.model, manifest.modality)
    processes, n_steps = start_processes("single"), recipe.schedule.steps
    trainer = new_trainer(AutoencoderObjective(model), recipe, processes, n_steps=n_steps)
    curve = Curve()
    batches = _batches(model, shards, chosen, recipe)
    with closing(batches):
        run_steps(
            trainer, batches, n_steps=n_steps, label="autoencoder", tracker=curve, save=lambda t: None,
            save_every=n_steps,
        )  # fmt: skip
    if trainer.average is not None:
        trainer.average.keep(trainer.module)
    losses = curve.losses
    model.cpu().eval()
    _calibrate(model, shards, held_out)
    tenth = max(1, n_steps // 10)
    about = {
        "schema_version": SCHEMA_VERSION,
        "modality": manifest.modality.to_dict(),
        "profile": manifest.profile,
        "normalisation": "robust window scale, clipped at 20; NaN where not measured",
        "manifest_digest": manifest.digest,
        "exclude_sites": sorted(command.exclude_sites),
        "recipe": asdict(recipe),
        "loss": [round(float(np.mean(part)), 4) for part in (losses[:tenth], losses[-tenth:])],
        "thresholds": clean_thresholds(model, shards, held_out),
        "n_parameters": sum(p.numel() for p in model.parameters()),
        "code_version": code_version(),
    }
    _write(model, shards, held_out, command.output, about)
    logger.info("%d steps in %.0f s, loss %s", n_steps, time.perf_counter() - started, about["loss"])
    return about


def _write(model: Autoencoder, shards: Corpus, windows: Sequence[int], path: Path, about: dict[str, Any]) -> None:
    """Write the file, and take it away again if it does not say what torch says."""
    beside = path.with_name(path.name + ".unchecked")
    try:
        export_autoencoder(model, beside, about=about)
        off = parity(model, beside, [_input(shards.window(i)) for i in windows[:8]])
        if not off <= TOLERANCE:
            raise ValueError(f"the ONNX file disagrees with torch by {off:.2g}: nothing was written")
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)


def _input(window: Window) -> np.ndarray:
    return model_input(window.data, window.primary_state)


class AutoencoderObjective(nn.Module):
    """How far the guesses of hidden electrodes are off, per channel-second."""

    def __init__(self, model: Autoencoder) -> None:
        super().__init__()
        self.model, self.weights = model, {"guess": 1.0}

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        """Return the total over a batch of `_batches`."""
        parts = (batch[name] for name in ("x_BCT", "seen_BC", "corrupted_BCT", "counts_BCS"))
        return {"guess": self.model.total(*parts)}

    def counts(self, batch: Batch) -> dict[str, Tensor]:
        """Return the number of channel-seconds that count."""
        return {"guess": self.model.count(batch["seen_BC"], batch["counts_BCS"])}


class Curve:
    """A tracker that keeps the loss of each step."""

    def __init__(self) -> None:
        self.losses: list[float] = []

    def log(self, step: int, values: Mapping[str, float]) -> None:
        """Take a step's loss."""
        self.losses.append(values["loss"])

    def close(self) -> None:
        """Do nothing."""


def _batches(
    model: Autoencoder, shards: Corpus, chosen: Sequence[int], recipe: AutoencoderRecipe
) -> Generator[StepBatches]:
    n_times = shards.n_times
    order = Order(
        chosen,
        [shards.place(i)[0] for i in chosen],
        [n_times] * len(chosen),
        batch=recipe.optim.batch,
        budget_times=recipe.optim.micro_batch * n_times,
        seed=recipe.seed,
    )

    def make(step: int) -> StepBatches:
        (micro,) = order.step(step)
        rows = [
            _sample(np.random.default_rng((recipe.seed, 3, sample)), shards.window(window), model, recipe)
            for window, sample in zip(micro.windows, micro.samples, strict=True)
        ]
        parts = [torch.from_numpy(np.stack(part)) for part in zip(*rows, strict=True)]
        batch = dict(zip(("x_BCT", "seen_BC", "corrupted_BCT", "counts_BCS"), parts, strict=True))
        hours = len(rows) * parts[0].shape[-1] / shards.manifest.modality.sfreq / 3600
        return StepBatches(micro_batches=[batch], eeg_hours=hours, order_crc=order_crc([micro]))

    return prefetch(make, range(recipe.schedule.steps))


def _sample(
    rng: np.random.Generator, window: Window, model: Autoencoder, recipe: AutoencoderRecipe
) -> tuple[np.ndarray, ...]:
    """Return signal, seen channels, spoilt signal and seconds that count, of a random stretch of a window."""
    n_second = model.n_second
    n_seconds = min(recipe.data.crop_s, window.artifact_mask.shape[1])
    first = int(rng.integers(0, window.artifact_mask.shape[1] - n_seconds + 1))
    x = np.nan_to_num(_input(window))[:, first * n_second : (first + n_seconds) * n_second]
    measured = window.primary_state == MEASURED
    groups = model.groups_GC.numpy()
    hidden = groups[rng.integers(len(groups))] if rng.random() < 0.6 else rng.random(x.shape[0]) < rng.uniform(0.1, 0.4)
    seen = measured & ~hidden
    if rng.random() < recipe.augment.absent_share:
        seen &= rng.random(x.shape[0]) >= rng.uniform(0.0, 0.6)
    spoilt = _spoil(rng, x, np.flatnonzero(seen)) if rng.random() < recipe.augment.corrupted_share else x
    counts = (window.artifact_mask[:, first : first + n_seconds] & _NOT_LEARNT) == 0
    # What was left out of sight without being hidden on purpose is guessed too: the more to learn from.
    return x, seen.astype(np.float32), spoilt, (counts & measured[:, None]).astype(np.float32)


def _spoil(rng: np.random.Generator, x: np.ndarray, seen: np.ndarray) -> np.ndarray:
    """Return the signal with one to three of the seen channels spoilt by noise, a step, silence or another time."""
    out = x.copy()
    for channel in rng.permutation(seen)[: rng.integers(1, 4)]:
        kind, size = rng.integers(4), np.float32(np.exp(rng.uniform(0.0, 2.5)))
        start = int(rng.integers(0, x.shape[1]))
        if kind == 0:
            noise = rng.standard_normal(x.shape[1] - start, dtype=np.float32)
            out[channel, start:] += size * (noise if rng.random() < 0.5 else np.cumsum(noise) / 16)
        elif kind == 1:
            out[channel, start:] += size * rng.choice([-1, 1])
        elif kind == 2:
            out[channel, start:] = 0.0
        else:
            out[channel] = np.roll(out[channel], start)[::-1]
    return out


def _calibrate(model: Autoencoder, shards: Corpus, windows: Sequence[int]) -> None:
    found = []
    for number in windows:
        window = shards.window(number)
        with torch.inference_mode():
            errors, _ = model.errors(torch.from_numpy(_input(window)[None]))
        good = (window.primary_state == MEASURED)[:, None] & ((window.artifact_mask & _NOT_LEARNT) == 0)
        found.append(errors[0].numpy()[:, good])
    values = np.concatenate(found, axis=1)
    if values.shape[1] < 100:
        raise ValueError(f"the held-out subjects have {values.shape[1]} good channel-seconds, 100 are needed")
    model.calibrate(values)


def clean_thresholds(model: Autoencoder, shards: Corpus, windows: Sequence[int]) -> dict[str, float]:
    """Return the window scores that 1, 5 and 10% of held-out windows without a flag pass; see
    `signals.bundles.anomaly`."""
    scores = []
    for number in windows:
        window = shards.window(number)
        if not (window.artifact_mask[window.primary_state == MEASURED] & _NOT_LEARNT).any():
            with torch.inference_mode():
                scores.append(window_score(model(torch.from_numpy(_input(window)[None]))[0].numpy()))
    if not scores:
        return {}
    return {f"{share:g}": round(float(np.quantile(scores, 1 - share)), 4) for share in (0.01, 0.05, 0.1)}


def main(argv: Sequence[str] | None = None) -> None:
    """Run from the command line."""
    prog = "cerebeam autoencoder"
    arguments = sys.argv[1:] if argv is None else argv
    command = parse_command(AutoencoderCommand, RECIPES, arguments, default_recipe="eeg_autoencoder", prog=prog)

    def work() -> None:
        about = train(command)
        summary = {name: about[name] for name in ("loss", "thresholds", "n_parameters")}
        if command.json:
            print_json({"output": command.output, **summary})
        else:
            sys.stdout.write(f"{command.output} {json.dumps(summary)}\n")

    run_main(prog, work)


if __name__ == "__main__":
    main()
