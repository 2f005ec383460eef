"""Fitting a task model: epochs over training subjects, of whom a few choose the epoch; and asking it."""

import json
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import closing
from copy import deepcopy
from dataclasses import asdict
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor, nn

from model.adapters import add_adapters
from model.classifier import Classifier, new_classifier
from model.encoder import Encoder
from model.freezing import freeze
from model.heads import Tensors, cross_entropy
from model.supervised import Supervised
from signals.normalise import Normaliser
from signals.version import code_version
from training.augment import augment, mirror_order
from training.command import check_model_dir
from training.data import Shards
from training.distributed import Processes
from training.frozen import FrozenTokens
from training.labelled import Labelled
from training.loop import StepBatches, Trainer, run_steps
from training.optim import make_optimizer, make_scheduler
from training.order import MicroBatch, Order, order_crc
from training.prefetch import prefetch
from training.pretrain import SUBJECTS_FILE
from training.recipes.finetuning import FinetuneRecipe
from training.recipes.pretraining import eeg_tiny
from training.splits import hold_out_subjects
from training.tracking import JsonLines, Trackers


def start_encoder(folder: Path | None, *, seed: int) -> tuple[Encoder, dict[str, Any]]:
    """Return an encoder and what is told about its pretraining; random weights of the demo's size without a folder."""
    if folder is None:
        torch.manual_seed(seed)
        return Encoder(eeg_tiny().encoder), {"train": [], "recipe": None}
    encoder, loading = Encoder.from_pretrained(
        check_model_dir(Path(folder)), local_files_only=True, output_loading_info=True
    )
    if wrong := sorted({*loading["missing_keys"], *loading["unexpected_keys"]}):
        raise ValueError(f"{folder} does not fit this code's encoder: {wrong[0]} and {len(wrong) - 1} more differ")
    about = Path(folder) / SUBJECTS_FILE
    return encoder, json.loads(about.read_text()) if about.is_file() else {"train": [], "recipe": None}


TaskModel = Classifier | Supervised
"""What windows are asked of: normalised signal and channel states in, logits and an embedding out."""
M = TypeVar("M", Classifier, Supervised)


class TaskLoss(nn.Module):
    """A model with the cross-entropy to its targets."""

    def __init__(self, model: TaskModel, class_weight_K: Tensor | None) -> None:
        super().__init__()
        self.model = model
        self.register_buffer("class_weight_K", class_weight_K)

    def forward(self, batch: Tensors) -> dict[str, Tensor]:
        """Return "loss" of a batch of "x_BCT" or "tokens_BCND", "ch_state_BC", "target_BK"."""
        if "tokens_BCND" in batch:
            logits_BK, _ = self.model.classify(batch["tokens_BCND"], batch["ch_state_BC"])
        else:
            logits_BK, _ = self.model(batch["x_BCT"], batch["ch_state_BC"])
        return {"loss": cross_entropy(logits_BK, batch["target_BK"], self.class_weight_K)}


def fit(
    data: Labelled,
    chosen: np.ndarray,
    recipe: FinetuneRecipe,
    *,
    encoder: Encoder,
    pretraining: Mapping[str, Any],
    processes: Processes,
    metrics: Path,
    name: str,
    kept: list[FrozenTokens] | None = None,
) -> Classifier | None:
    """Return a classifier trained on chosen rows of `data`; None if a signal stopped the run.

    kept: tokens of this very encoder, frozen, from earlier fits; used, and added to, where normalisers agree.

    Some of the training subjects choose the epoch; no other window has any influence.
    """
    train, valid = sides(data, chosen, recipe)
    torch.manual_seed(recipe.seed)  # the head's weights
    classifier = new_classifier(
        encoder,
        data.task,
        data.shards.manifest.modality,
        _normaliser(data, train, recipe),
        dropout=recipe.dropout,
        profile=data.shards.manifest.profile,
        provenance=_provenance(data, chosen, recipe, pretraining),
    )
    if recipe.adapter:
        add_adapters(classifier, kind=recipe.adapter, rank=recipe.adapter_rank)
    frozen = _frozen(data, recipe, classifier, [] if kept is None else kept)
    _standardise(classifier, data, train, frozen)
    freeze(classifier, recipe.freeze)
    return learn(
        classifier, data, (train, valid), recipe, processes=processes, metrics=metrics, name=name, frozen=frozen
    )


def fit_network(
    data: Labelled,
    chosen: np.ndarray,
    recipe: FinetuneRecipe,
    *,
    network: str,
    options: Mapping[str, Any],
    processes: Processes,
    metrics: Path,
    name: str,
) -> Supervised | None:
    """Return a supervised network of `model.supervised` trained from scratch on chosen rows; None if it was stopped."""
    train, valid = sides(data, chosen, recipe)
    torch.manual_seed(recipe.seed)
    model = Supervised(
        network,
        data.task,
        data.shards.manifest.modality,
        _normaliser(data, train, recipe),
        dropout=recipe.dropout,
        **options,
    )
    return learn(model, data, (train, valid), recipe, processes=processes, metrics=metrics, name=name)


def sides(data: Labelled, chosen: np.ndarray, recipe: FinetuneRecipe) -> tuple[np.ndarray, np.ndarray]:
    """Return the chosen rows that are trained on, and those whose subjects choose the epoch."""
    train, valid = hold_out_subjects(
        data.subjects[chosen], data.labels[chosen], share=recipe.validation_share, seed=recipe.seed
    )
    return chosen[train], chosen[valid]


def learn(
    model: M,
    data: Labelled,
    rows: tuple[np.ndarray, np.ndarray],
    recipe: FinetuneRecipe,
    *,
    processes: Processes,
    metrics: Path,
    name: str,
    frozen: FrozenTokens | None = None,
) -> M | None:
    """Return the model after training what requires gradients, at its best epoch; None if a signal stopped the run.

    rows: those to train on and those that choose the epoch. frozen: tokens to use where the encoder does not move.
    """
    train, valid = rows
    n_epoch_steps = max(1, len(train) // recipe.batch)
    n_steps = n_epoch_steps * recipe.epochs
    optimizer = make_optimizer(
        model,
        learning_rate=recipe.learning_rate,
        weight_decay=recipe.weight_decay,
        encoder_lr_scale=recipe.encoder_lr_scale,
    )
    weights = class_weights(data, train)
    trainer = Trainer(
        module=TaskLoss(model, None if weights is None else torch.from_numpy(weights).float()),
        optimizer=optimizer,
        scheduler=make_scheduler(optimizer, warmup_steps=recipe.warmup_steps, steps=n_steps),
        processes=processes,
        seed=recipe.seed,
        precision=recipe.precision,
        clip_norm=recipe.clip_norm,
    )
    epochs = _Epochs(data, valid, recipe, model, frozen)
    tracker = Trackers([JsonLines(metrics, after_step=0)] if processes.is_main else [])
    batches = _batches(data, train, recipe, model, frozen, trainer, n_steps)
    with trainer.stop.listening(), closing(batches), closing(tracker):
        finished = run_steps(
            trainer,
            epochs.watch(batches, n_epoch_steps),
            n_steps=n_steps,
            label=name,
            tracker=tracker,
            save=lambda _: None,
            save_every=n_steps,
        )
    if not finished:
        return None
    epochs.look()
    model.load_state_dict(epochs.best)
    return model.eval()


class _Epochs:
    """Validation after each epoch: remembers the best weights, and ends the run when patience is over."""

    def __init__(
        self,
        data: Labelled,
        valid: np.ndarray,
        recipe: FinetuneRecipe,
        model: TaskModel,
        frozen: FrozenTokens | None,
    ) -> None:
        self.data, self.valid, self.recipe, self.model, self.frozen = data, valid, recipe, model, frozen
        self.best: dict[str, Tensor] = {}
        self.best_loss, self.since_best = float("inf"), 0

    def watch(self, batches: Iterator[StepBatches], n_epoch_steps: int) -> Iterator[StepBatches]:
        for step, batch in enumerate(batches):
            if step and step % n_epoch_steps == 0 and not self.look():
                return
            yield batch

    def look(self) -> bool:
        """Validate; returns whether to go on."""
        windows = self.data.windows[self.valid]
        log_prob = np.log(predict(self.model, self.data.shards, windows, frozen=self.frozen)[0] + 1e-9)
        loss = -float((self.data.targets[self.valid] * log_prob).sum(axis=1).mean())
        if loss < self.best_loss:
            self.best_loss, self.since_best = loss, 0
            self.best = deepcopy(self.model.state_dict())
        else:
            self.since_best += 1
        return self.since_best < self.recipe.patience


def _standardise(
    classifier: Classifier, data: Labelled, train: np.ndarray, frozen: FrozenTokens | None, *, most: int = 256
) -> None:
    """Show the head up to `most` training windows, evenly chosen, before it learns."""
    tokens = frozen or FrozenTokens(data.shards, classifier)
    windows = data.windows[train[np.unique(np.linspace(0, len(train) - 1, most).astype(int))]]
    classifier.eval()
    with torch.no_grad():
        features = []
        for start in range(0, len(windows), 16):
            chosen = windows[start : start + 16]
            tokens_BCND, ch_state_BC = tokens.batch(classifier, chosen, [False] * len(chosen))
            features.append(classifier.features(tokens_BCND, ch_state_BC))
        classifier.head.standardise(torch.cat(features))


def _frozen(
    data: Labelled, recipe: FinetuneRecipe, classifier: Classifier, kept: list[FrozenTokens]
) -> FrozenTokens | None:
    """Return a store of tokens where the encoder is frozen, nothing but mirroring changes windows, and they fit."""
    changed = recipe.drop_channels > 0 or recipe.gain_sd > 0
    learns = bool(recipe.adapter) and "adapter" not in recipe.freeze
    if changed or learns or not {"stem", "trunk"} <= set(recipe.freeze):
        return None
    if not FrozenTokens.fit_in_memory(data.shards, classifier, len(data.windows)):
        return None
    for tokens in kept:
        if tokens.normaliser == classifier.normaliser:
            return tokens
    kept.append(FrozenTokens(data.shards, classifier))
    return kept[-1]


def _normaliser(data: Labelled, train: np.ndarray, recipe: FinetuneRecipe) -> Normaliser:
    subjects = data.shards.manifest.subjects
    names = sorted(set(data.subjects[train]))
    return Normaliser.fit(
        recipe.normalisation, {s: subjects[s].moments for s in names}, {s: subjects[s].site_id for s in names}, names,
        sensor_types=data.shards.manifest.modality.sensor_types,
    )  # fmt: skip


def _provenance(
    data: Labelled, chosen: np.ndarray, recipe: FinetuneRecipe, pretraining: Mapping[str, Any]
) -> dict[str, Any]:
    return {
        "recipe": asdict(recipe),
        "manifest_digest": data.shards.manifest.digest,
        "config_hash": data.shards.manifest.config_hash,
        "code_version": code_version(),
        "train_subjects": sorted(set(data.subjects[chosen].tolist())),
        "pretrain_subjects": list(pretraining["train"]),
        "pretrain_manifest_digest": pretraining.get("manifest_digest"),
    }


def class_weights(data: Labelled, train: np.ndarray) -> np.ndarray | None:
    """Return weights that give every class of hard labels the same say; votes keep their own frequencies."""
    if data.has_votes:
        return None
    counts = data.targets[train].sum(axis=0)
    return np.where(counts > 0, counts.sum() / np.maximum(counts, 1) / (counts > 0).sum(), 0.0)


def _batches(
    data: Labelled,
    train: np.ndarray,
    recipe: FinetuneRecipe,
    model: TaskModel,
    frozen: FrozenTokens | None,
    trainer: Trainer,
    n_steps: int,
) -> Generator[StepBatches]:
    entries, n_times = data.shards.entries, data.shards.n_times
    order = Order(
        data.windows[train],
        [entries[i].shard for i in data.windows[train]],
        [n_times] * len(train),
        budget_times=recipe.micro_batch * n_times,
        seed=recipe.seed,
    )
    n_micro = recipe.batch // recipe.micro_batch
    step_hours = recipe.batch * n_times / data.shards.manifest.modality.sfreq / 3600
    row_of = {int(window): row for row, window in enumerate(data.windows)}
    mirror_with, normaliser = mirror_order(model.modality), model.normaliser

    def tensors(micro: MicroBatch) -> dict[str, Tensor]:
        windows, samples = micro.windows, micro.samples
        target_BK = torch.from_numpy(data.targets[[row_of[w] for w in windows]])
        if frozen is not None:
            mirrored = [np.random.default_rng((recipe.seed, 3, s)).random() < recipe.mirror for s in samples]
            tokens_BCND, ch_state_BC = frozen.batch(model, windows, mirrored)
            return {"tokens_BCND": tokens_BCND, "ch_state_BC": ch_state_BC, "target_BK": target_BK}
        batch = data.shards.batch(windows, normaliser)
        changed = [
            augment(
                np.random.default_rng((recipe.seed, 3, sample)),
                batch.x_BCT[row],
                batch.ch_state_BC[row],
                mirror_with=mirror_with,
                mirror=recipe.mirror,
                drop_channels=recipe.drop_channels,
                gain_sd=recipe.gain_sd,
            )
            for row, sample in enumerate(samples)
        ]
        return {
            "x_BCT": torch.from_numpy(np.stack([x for x, _ in changed])),
            "ch_state_BC": torch.from_numpy(np.stack([state for _, state in changed])),
            "target_BK": target_BK,
        }

    def make(step: int) -> StepBatches:
        all_ranks = order.step(step, n_micro=n_micro)
        mine = all_ranks[trainer.processes.rank :: trainer.processes.world_size]
        return StepBatches(
            micro_batches=[tensors(micro) for micro in mine], eeg_hours=step_hours, order_crc=order_crc(all_ranks)
        )

    return prefetch(make, range(n_steps))


def predict(
    model: TaskModel,
    shards: Shards,
    windows: Sequence[int] | np.ndarray,
    *,
    batch: int = 16,
    frozen: FrozenTokens | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Return probabilities, float64, shape (n, n_classes), and embeddings, float32, shape (n, dim), of windows."""
    device = next(model.parameters()).device
    normaliser = model.normaliser
    model.eval()
    probabilities, embeddings = [], []
    for start in range(0, len(windows), batch):
        chosen = windows[start : start + batch]
        with torch.no_grad():
            if frozen is None:
                made = shards.batch(chosen, normaliser)
                logits_BK, embedding_BD = model(
                    torch.from_numpy(made.x_BCT).to(device), torch.from_numpy(made.ch_state_BC).to(device)
                )
            else:
                tokens_BCND, ch_state_BC = frozen.batch(model, chosen, [False] * len(chosen))
                logits_BK, embedding_BD = model.classify(tokens_BCND.to(device), ch_state_BC.to(device))
        probabilities.append(logits_BK.double().softmax(-1).cpu().numpy())
        embeddings.append(embedding_BD.float().cpu().numpy())
    return np.concatenate(probabilities), np.concatenate(embeddings)
