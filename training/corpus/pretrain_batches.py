"""Batches of pretraining: windows cropped, parts of them hidden, all drawn from sample numbers alone."""

from collections.abc import Generator, Sequence

import numpy as np
import torch
from torch import Tensor

from model.pretraining.masking import MaskPlan, draw_mask, hide
from signals.shards.normalise import Normaliser
from signals.tasks import TASKS
from signals.window import ABSENT
from training.corpus.order import MicroBatch, Order, order_crc
from training.corpus.prefetch import prefetch
from training.corpus.shards import Shards
from training.objectives.gap_filling import Filling, fill_to_start
from training.recipes.pretraining import PretrainRecipe
from training.trainer.train import StepBatches


def masked_batch(
    shards: Shards,
    windows: Sequence[int],
    samples: Sequence[int],
    normaliser: Normaliser,
    *,
    masks: MaskPlan,
    crop_s: float,
    filling: Filling = "line",
    seed: tuple[int, ...],
) -> dict[str, Tensor]:
    """Return truth, filled signal, mask, channel states and sleep stages (-1 without) of windows that are equally long.

    Crops and masks depend on `seed` and the sample numbers, one a window, and on nothing else.
    """
    modality = shards.manifest.modality
    sfreq, is_eeg = modality.sfreq, np.array(modality.sensor_types) == "eeg"
    x, states, hidden, filled, sleep = [], [], [], [], []
    for window, sample in zip(windows, samples, strict=True):
        whole, ch_state = shards.normalised(window, normaliser)
        n_times = min(whole.shape[1], round(crop_s * sfreq))
        rng = np.random.default_rng((*seed, sample))
        start = int(rng.integers(0, whole.shape[1] - n_times + 1))
        states.append(ch_state.astype(np.int64))
        hidden.append(draw_mask(rng, ch_state, n_times, sfreq=sfreq, plan=masks, referenced=is_eeg))
        truth, _ = hide(whole[:, start : start + n_times], hidden[-1], ch_state, referenced=is_eeg)
        seen = fill_to_start(truth, hidden[-1], np.where(is_eeg, ch_state, ABSENT), filling)
        x.append(truth)
        filled.append(seen)
        stage = TASKS["sleep"].class_of(shards.entries[window].label)
        sleep.append(-1 if stage is None else TASKS["sleep"].classes.index(stage))
    return {
        "x_BCT": torch.from_numpy(np.stack(x)),
        "filled_BCT": torch.from_numpy(np.stack(filled)),
        "mask_BCT": torch.from_numpy(np.stack(hidden)),
        "ch_state_BC": torch.from_numpy(np.stack(states)),
        "sleep_target_B": torch.tensor(sleep),
    }


def pretrain_batch(
    shards: Shards, micro: MicroBatch, normaliser: Normaliser, recipe: PretrainRecipe, *, step: int
) -> dict[str, Tensor]:
    """Return a micro-batch of a step of the run, which says what its gaps start from."""
    return masked_batch(
        shards,
        micro.windows,
        micro.samples,
        normaliser,
        masks=recipe.masks,
        crop_s=recipe.crop_s,
        filling="line" if step < recipe.line_steps else recipe.filling,
        seed=(recipe.seed, 1),
    )


def make_order(shards: Shards, chosen: Sequence[int], recipe: PretrainRecipe) -> Order:
    """Return the stream over chosen windows; a micro-batch holds `micro_batch` crops, or more of shorter windows."""
    n_crop = round(recipe.crop_s * shards.manifest.modality.sfreq)
    entries = [shards.entries[i] for i in chosen]
    return Order(
        chosen,
        [entry.shard for entry in entries],
        [min(entry.n_times, n_crop) for entry in entries],
        batch=recipe.batch,
        budget_times=recipe.micro_batch * n_crop,
        seed=recipe.seed,
    )


def step_batches(
    shards: Shards,
    order: Order,
    normaliser: Normaliser,
    recipe: PretrainRecipe,
    *,
    rank: int,
    world_size: int,
    steps: range,
) -> Generator[StepBatches]:
    """Yield what each step trains on, on this rank, made ahead of time."""
    sfreq = shards.manifest.modality.sfreq

    def make(step: int) -> StepBatches:
        mine = order.step(step, world_size=world_size)[rank::world_size]
        return StepBatches(
            micro_batches=[pretrain_batch(shards, micro, normaliser, recipe, step=step) for micro in mine],
            eeg_hours=sum(len(micro.windows) * micro.n_times for micro in mine) / sfreq / 3600,
            order_crc=order_crc(mine),
        )

    return prefetch(make, steps, workers=recipe.loader_threads)
