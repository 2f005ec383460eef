"""Asking a task model about windows that it fits: probabilities and embeddings, once or with dropout left on."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from model.classifier import Classifier
from model.saved import TaskModel, load_task_model
from signals.bundles.calibration import activated
from signals.bundles.metadata import metadata_of, people_of
from signals.tasks import is_multilabel
from training.corpus.corpus import Corpus
from training.corpus.frozen import FrozenTokens
from training.corpus.labelled import Labelled
from training.fitting.spectra import Spectrograms
from training.parallel.distributed import own_device

Windows = Sequence[int] | np.ndarray


def logits_of(model: TaskModel, batch: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
    """Return (logits_BK, embedding_BD) of "x_BCT" or "tokens_BCND", "ch_state_BC" and, if read, "spectrogram_BRFS" or
    "metadata_BF"."""
    if "tokens_BCND" in batch:
        assert isinstance(model, Classifier)
        return model.classify(batch["tokens_BCND"], batch["ch_state_BC"])
    if "spectrogram_BRFS" in batch:
        return model(batch["x_BCT"], batch["ch_state_BC"], batch["spectrogram_BRFS"])
    if "metadata_BF" in batch:
        return model(batch["x_BCT"], batch["ch_state_BC"], metadata_BF=batch["metadata_BF"])
    return model(batch["x_BCT"], batch["ch_state_BC"])


def load_on_device(folder: Path) -> TaskModel:
    """Return a saved task model on this process's GPU, where there is one; raises FileNotFoundError for no model."""
    return load_task_model(folder).to(own_device())


def check_task(path: Path, task: str, classes: Sequence[str], data: Labelled) -> None:
    """Raise ValueError, naming the file, where what it holds is of another task or of other classes than the labels."""
    if task != data.task.name:
        raise ValueError(f"{path} is of task {task!r}, the labels are of {data.task.name!r}")
    if tuple(classes) != tuple(data.task.classes):
        raise ValueError(
            f"{path} has the classes {', '.join(classes)}, task {task!r} has {', '.join(data.task.classes)}: "
            "order counts"
        )


def check_fits(folder: Path, model: TaskModel, data: Labelled) -> None:
    """Raise ValueError, naming what differs, for a model of another task, of other classes or of other signals."""
    check_task(folder, model.config.task, model.config.classes, data)
    reads, held = model.modality, data.shards.manifest.modality
    if reads != held:
        ours, theirs = reads.to_dict(), held.to_dict()
        parts = ", ".join(name for name, value in ours.items() if theirs[name] != value)
        raise ValueError(
            f"{folder} reads {reads.name} windows, the shards hold {held.name}, of another {parts}: prepare recordings "
            "for the model, or choose another"
        )


def reads_spectrogram(model: TaskModel) -> bool:
    """Return whether the model's `forward` takes spectrograms: its network, or the encoder's fusion."""
    if isinstance(model, Classifier):
        return "spectrogram" in model.encoder.config.fusion
    return model.reads_spectrogram


def fields_of(model: TaskModel) -> tuple[str, ...]:
    """Return the fields of the person that the model's `forward` takes, in order; nothing for most models."""
    return () if isinstance(model, Classifier) else model.fields


def metadata_of_windows(shards: Corpus, windows: Windows, fields: Sequence[str]) -> np.ndarray:
    """Return what shards hold of the people of windows, float32, shape (n, n_fields), NaN where they hold nothing."""
    return metadata_of(fields).table(people_of(shards.windows(windows), fields))


def predict(
    model: TaskModel,
    shards: Corpus,
    windows: Windows,
    *,
    batch: int = 16,
    frozen: FrozenTokens | None = None,
    spectra: Spectrograms | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Return probabilities, float64, shape (n, n_classes), and embeddings, float32, shape (n, dim), of windows.

    frozen: kept tokens, where the encoder did not move. spectra: kept spectrograms, where the model reads them.
    """
    model.eval()
    probabilities, embeddings = [], []
    with torch.no_grad():
        for made in _batches(model, shards, windows, batch, frozen, spectra):
            logits_BK, embedding_BD = logits_of(model, made)
            several = is_multilabel(model.config.task)
            probabilities.append(activated(logits_BK.double().cpu().numpy(), multilabel=several))
            embeddings.append(embedding_BD.float().cpu().numpy())
    return np.concatenate(probabilities), np.concatenate(embeddings)


def predict_samples(
    model: TaskModel, shards: Corpus, windows: Windows, *, n_samples: int, seed: int, batch: int = 16
) -> np.ndarray:
    """Return what a model says with dropout left on, float64, shape (n_samples, n, n_classes).

    Monte-Carlo dropout (Gal & Ghahramani 2016). Only dropout is on: batch normalisation keeps its averages. The model
    is left as it was. Raises ValueError for a model without dropout, whose samples would all be the same.
    """
    if n_samples < 2:
        raise ValueError(f"n_samples={n_samples} must be at least 2")
    drawn = []
    with dropout_on(model), torch.no_grad(), torch.random.fork_rng():
        for number, made in enumerate(_batches(model, shards, windows, batch, None, None)):
            torch.manual_seed(int(np.random.SeedSequence((seed, number)).generate_state(1)[0]))
            ready = _tokens(model, made)
            each = [logits_of(model, ready)[0].double().cpu().numpy() for _ in range(n_samples)]
            drawn.append(activated(np.stack(each), multilabel=is_multilabel(model.config.task)))
    return np.concatenate(drawn, axis=1)


@contextmanager
def dropout_on(model: nn.Module) -> Iterator[None]:
    """Leave dropout on, and nothing else: batch normalisation keeps its averages. Evaluation mode afterwards.

    Raises ValueError for a model without dropout, whose samples would all be the same.
    """
    dropouts = [m for m in model.modules() if isinstance(m, (nn.Dropout, nn.MultiheadAttention)) and _rate(m) > 0]
    if not dropouts:
        raise ValueError("the model has no dropout: its samples would all be the same")
    model.eval()
    try:
        for module in dropouts:
            module.training = True  # not .train(): it would reach the modules inside
        yield
    finally:
        model.eval()


def _tokens(model: TaskModel, batch: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return a batch of tokens where the model is an encoder with a head: the encoder has no dropout to repeat."""
    if not isinstance(model, Classifier) or "spectrogram_BRFS" in batch:
        return batch
    tokens_BCND = model.tokens(batch["x_BCT"], batch["ch_state_BC"])
    return {"tokens_BCND": tokens_BCND, "ch_state_BC": batch["ch_state_BC"]}


def _rate(module: nn.Module) -> float:
    return float(module.p if isinstance(module, nn.Dropout) else module.dropout)


def _batches(
    model: TaskModel,
    shards: Corpus,
    windows: Windows,
    size: int,
    frozen: FrozenTokens | None,
    spectra: Spectrograms | None,
) -> Iterator[dict[str, Tensor]]:
    device = next(model.parameters()).device
    if reads_spectrogram(model) and spectra is None:
        spectra = Spectrograms(shards)
    for start in range(0, len(windows), size):
        chosen = windows[start : start + size]
        if frozen is not None:
            assert isinstance(model, Classifier)
            tokens_BCND, ch_state_BC = frozen.batch(model, chosen, [False] * len(chosen))
            yield {"tokens_BCND": tokens_BCND.to(device), "ch_state_BC": ch_state_BC.to(device)}
            continue
        made = shards.batch(chosen, model.normaliser)
        tensors = {"x_BCT": torch.from_numpy(made.x_BCT), "ch_state_BC": torch.from_numpy(made.ch_state_BC)}
        if reads_spectrogram(model) and spectra is not None:
            tensors["spectrogram_BRFS"] = torch.from_numpy(spectra.batch(chosen))
        if fields := fields_of(model):
            tensors["metadata_BF"] = torch.from_numpy(metadata_of_windows(shards, chosen, fields))
        yield {name: values.to(device) for name, values in tensors.items()}
