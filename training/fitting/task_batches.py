"""What a task model trains on: windows as tensors with their targets, changed at random, in the run's one order."""

from collections.abc import Generator

import numpy as np
import torch
from torch import Tensor

from model.classifier import Classifier
from model.saved import TaskModel
from training.corpus.frozen import FrozenTokens
from training.corpus.labelled import Labelled
from training.corpus.order import MicroBatch, Order, check_batch, order_crc
from training.corpus.prefetch import prefetch
from training.corpus.steps import StepBatches
from training.fitting.inference import fields_of, metadata_of_windows, reads_spectrogram
from training.fitting.policy import settled
from training.fitting.spectra import Spectrograms
from training.objectives.augment import STRENGTHS, Augmentation, mirror_order
from training.objectives.losses import vote_weights
from training.objectives.mixing import cutmix, mixup
from training.parallel.distributed import Processes
from training.recipes.finetuning import FinetuneRecipe


class TaskBatches:
    """Makes micro-batches; whatever is drawn depends on the recipe's seed and the sample's number alone."""

    def __init__(
        self,
        data: Labelled,
        recipe: FinetuneRecipe,
        model: TaskModel,
        *,
        frozen: FrozenTokens | None,
        spectra: Spectrograms | None,
    ) -> None:
        self.data, self.recipe, self.model, self.frozen = data, recipe, model, frozen
        self.spectra = (spectra or Spectrograms(data.shards)) if reads_spectrogram(model) else None
        modality, task = model.modality, data.task
        self.window_s = data.shards.n_times / modality.sfreq
        self.augment = settled(recipe.augment, task)
        self.fields = fields_of(model)
        if self.fields and (self.augment.mixup or self.augment.cutmix):
            raise ValueError(
                f"mixup and cutmix join two people, of whom {', '.join(self.fields)} differ: set them to 0 for a model "
                "that reads metadata"
            )
        self.augmentation = Augmentation(
            sfreq=modality.sfreq,
            window_s=self.window_s,
            span_s=task.label_span_s,
            mirror_with=mirror_order(modality),
            ch_names=modality.ch_names,
            **{name: getattr(self.augment, name) for name in STRENGTHS},
        )
        self._normaliser = model.normaliser
        self._row_of = {int(window): row for row, window in enumerate(data.windows)}

    def sample(self, rows: np.ndarray) -> dict[str, Tensor]:
        """Return a micro-batch like the run's, of the first of these rows."""
        windows = tuple(self.data.windows[rows[: self.recipe.optim.micro_batch]].tolist())
        return self.tensors(MicroBatch(windows, tuple(range(len(windows))), self.data.shards.n_times))

    def tensors(self, micro: MicroBatch) -> dict[str, Tensor]:
        """Return "x_BCT" or "tokens_BCND", "ch_state_BC", "target_BK", and what else model and recipe want."""
        rows = [self._row_of[window] for window in micro.windows]
        made = self._kept(micro) if self.frozen is not None else self._changed(micro)
        made["target_BK"] = torch.from_numpy(self.data.targets[rows])
        if self.data.teaching is not None:
            made["taught_BK"] = torch.from_numpy(self.data.teaching.softened(rows))
        if self.recipe.objective.vote_weight:
            n_votes = torch.from_numpy(self.data.n_votes[rows])
            made["weight_B"] = vote_weights(n_votes, power=self.recipe.objective.vote_weight)
        return self._mixed(made, micro)

    def _kept(self, micro: MicroBatch) -> dict[str, Tensor]:
        assert self.frozen is not None
        assert isinstance(self.model, Classifier)
        mirrored = [self._rng(sample).random() < self.augment.mirror for sample in micro.samples]
        tokens_BCND, ch_state_BC = self.frozen.batch(self.model, micro.windows, mirrored)
        return {"tokens_BCND": tokens_BCND, "ch_state_BC": ch_state_BC}

    def _changed(self, micro: MicroBatch) -> dict[str, Tensor]:
        batch = self.data.shards.batch(micro.windows, self._normaliser)
        states = batch.ch_state_BC
        changes = [self.augmentation.draw(self._rng(sample), states[row]) for row, sample in enumerate(micro.samples)]
        changed = [
            self.augmentation.signal(change, batch.x_BCT[row], states[row]) for row, change in enumerate(changes)
        ]
        made = {
            "x_BCT": torch.from_numpy(np.stack([x for x, _ in changed])),
            "ch_state_BC": torch.from_numpy(np.stack([state for _, state in changed])),
        }
        if self.spectra is not None:
            powers = self.spectra.batch(micro.windows)
            of_each = [self.augmentation.spectrogram(change, powers[row]) for row, change in enumerate(changes)]
            made["spectrogram_BRFS"] = torch.from_numpy(np.stack(of_each).astype(np.float32))
        if self.fields:
            made["metadata_BF"] = torch.from_numpy(self._metadata(micro))
        return made

    def _metadata(self, micro: MicroBatch) -> np.ndarray:
        """Return the people's fields, each left out with the chance of the recipe, so that none is relied on."""
        table = metadata_of_windows(self.data.shards, micro.windows, self.fields)
        seeds = ((self.recipe.seed, 7, sample) for sample in micro.samples)
        drawn = np.stack([np.random.default_rng(seed).random(table.shape[1]) for seed in seeds])
        return np.where(drawn < self.recipe.regularise.drop_metadata, np.float32(np.nan), table)

    def _mixed(self, made: dict[str, Tensor], micro: MicroBatch) -> dict[str, Tensor]:
        rng = np.random.default_rng((self.recipe.seed, 5, micro.samples[0]))
        if self.augment.mixup:
            made = mixup(rng, made, alpha=self.augment.mixup)
        if self.augment.cutmix and rng.random() < self.augment.cutmix:
            made = cutmix(rng, made, window_s=self.window_s, span_s=self.data.task.label_span_s)
        return made

    def _rng(self, sample: int) -> np.random.Generator:
        return np.random.default_rng((self.recipe.seed, 3, sample))


def step_batches(batches: TaskBatches, train: np.ndarray, steps: range, processes: Processes) -> Generator[StepBatches]:
    """Yield what each step trains on, on this rank, made ahead of time.

    `train` are rows of the labelled windows.
    """
    data, recipe = batches.data, batches.recipe
    n_times = data.shards.n_times
    order = Order(
        data.windows[train],
        [data.shards.place(i)[0] for i in data.windows[train].tolist()],
        [n_times] * len(train),
        batch=recipe.optim.batch,
        budget_times=recipe.optim.micro_batch * n_times,
        seed=recipe.seed,
    )
    rank, world_size = processes.rank, processes.world_size
    check_batch(batch=recipe.optim.batch, world_size=world_size)

    def make(step: int) -> StepBatches:
        mine = order.step(step, world_size=world_size)[rank::world_size]
        n_windows = sum(len(micro.windows) for micro in mine)
        return StepBatches(
            micro_batches=[batches.tensors(micro) for micro in mine],
            eeg_hours=n_windows * n_times / data.shards.manifest.modality.sfreq / 3600,
            order_crc=order_crc(mine),
        )

    return prefetch(make, steps)
