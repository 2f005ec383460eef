"""A quick look at held-out windows while training: error at hidden samples by band, and a probe of the embedding."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from model.pretraining.pretraining import PretrainModel
from signals.shards.index import IndexRow
from training.corpus.order import MicroBatch
from training.corpus.partners import Partners
from training.corpus.source import Source
from training.objectives.preparation import Preparation
from training.parallel.distributed import Processes

BANDS_HZ = {"delta": (0.5, 4.0), "theta": (4.0, 8.0), "alpha": (8.0, 13.0), "beta": (13.0, 30.0), "gamma": (30.0, 70.0)}
NEIGHBOURS = 5


@dataclass(frozen=True, kw_only=True)
class Look:
    """Windows of a corpus to look at, and how they are hidden."""

    source: Source
    preparation: Preparation
    windows: Sequence[int]
    partners: Partners | None = None
    """Other stretches of the windows' recordings, where recordings are contrasted."""

    def micro_batches(self, size: int) -> list[MicroBatch]:
        """Return the windows, each with its own number as sample number, by length."""
        by_length: dict[int, list[int]] = {}
        for number in self.windows:
            n_times = min(self.source.corpus.entry(number).n_times, self.source.crop_times)
            by_length.setdefault(n_times, []).append(int(number))
        return [
            MicroBatch(windows=tuple(numbers[i : i + size]), samples=tuple(numbers[i : i + size]), n_times=n_times)
            for n_times, numbers in sorted(by_length.items())
            for i in range(0, len(numbers), size)
        ]


def validate(model: PretrainModel, looks: Sequence[Look], processes: Processes, *, batch: int = 8) -> dict[str, float]:
    """Return "valid_error" and "valid_error_<band>": squared error at hidden samples over the truth's own power there.

    Below 1 is better than zero, the mean. Every call hides the same samples of the same windows, whatever the number of
    processes, which share the windows out.
    """
    sums = np.zeros((1 + len(BANDS_HZ), 2))
    model.eval()
    work = [(look, micro) for look in looks for micro in look.micro_batches(batch)]
    for look, micro in work[processes.rank :: processes.world_size]:
        raw = {name: tensor.to(processes.device) for name, tensor in look.source.raw(micro).items()}
        made = look.preparation(raw)
        with torch.inference_mode():
            estimate = model.reconstruct(made).float().cpu().numpy()
        x, mask = made["x_BCT"].cpu().numpy(), made["mask_BCT"].cpu().numpy()
        sums += _error_and_power(x, estimate, mask, look.source.sfreq)
    total = processes.sum(torch.from_numpy(sums)).cpu().numpy()
    names = ["valid_error", *(f"valid_error_{band}" for band in BANDS_HZ)]
    return {
        name: float(error / power) if power > 0 else float("nan")
        for name, (error, power) in zip(names, total, strict=True)
    }


def probe(model: PretrainModel, looks: Sequence[Look], processes: Processes, *, batch: int = 8) -> dict[str, float]:
    """Return "knn_accuracy" of labels that windows carry: balanced, each by its neighbours of other subjects.

    The encoder sees whole, unhidden crops; neighbours are those of largest cosine between its window embeddings. The
    main process does it and all hear it. Nothing where fewer than two classes have windows of two subjects.
    """
    value = torch.zeros(2, dtype=torch.float64)
    if processes.is_main:
        accuracy = _probe(model, looks, processes.device, batch)
        value = torch.tensor([float(accuracy is not None), accuracy or 0.0], dtype=torch.float64)
    is_there, accuracy = processes.from_main(value).tolist()
    return {"knn_accuracy": accuracy} if is_there else {}


def check_probe(looks: Sequence[Look]) -> None:
    """Raise ValueError where the windows' labels leave the probe nothing to do."""
    entries = [look.source.corpus.entry(number) for look in looks for number in look.windows]
    if len(_classes(entries)) < 2:
        raise ValueError(
            f"choose_by=probe needs labels of two classes, each of two held-out people; the {len(entries)} windows of "
            "a look have none: raise --track.validate-windows, or choose by error"
        )


def _classes(entries: Sequence[IndexRow]) -> list[str]:
    """Return the labels that windows of two subjects carry."""
    subjects_of = {
        label: {e.subject_id for e in entries if e.label == label} for label in {e.label for e in entries} - {""}
    }
    return sorted(label for label, subjects in subjects_of.items() if len(subjects) > 1)


def _probe(model: PretrainModel, looks: Sequence[Look], device: torch.device, batch: int) -> float | None:
    classes = _classes([look.source.corpus.entry(number) for look in looks for number in look.windows])
    if len(classes) < 2:
        return None
    model.eval()
    embeddings, labels, subjects = [], [], []
    for look in looks:
        for micro in look.micro_batches(batch):
            raw = {name: tensor.to(device) for name, tensor in look.source.raw(micro).items()}
            made = look.preparation(raw)
            whole = {**made, "filled_BCT": made["x_BCT"], "mask_BCT": torch.zeros_like(made["mask_BCT"])}
            with torch.inference_mode():
                embeddings.append(model.encode(whole)["window_BD"].float().cpu().numpy())
            kept = [look.source.corpus.entry(int(n)) for n in raw["sample_B"].tolist()]
            labels += [e.label for e in kept]
            subjects += [e.subject_id for e in kept]
    known = np.isin(labels, classes)
    return knn_accuracy(np.concatenate(embeddings)[known], np.array(labels)[known], np.array(subjects)[known])


def knn_accuracy(embedding: np.ndarray, labels: np.ndarray, subjects: np.ndarray, *, k: int = NEIGHBOURS) -> float:
    """Return the balanced accuracy of the commonest label among the k nearest windows of other subjects, by cosine.

    embedding: shape (n, n_dims). Of labels that are equally common, that of the nearest window wins.
    """
    unit = embedding / np.maximum(np.linalg.norm(embedding, axis=1, keepdims=True), 1e-12)
    cosine = np.where(subjects[:, None] == subjects[None], -np.inf, unit @ unit.T)
    right: dict[str, list[bool]] = {}
    for row, label in enumerate(labels):
        nearest = [n for n in np.argsort(-cosine[row], kind="stable")[:k] if np.isfinite(cosine[row, n])]
        votes = labels[nearest].tolist()
        right.setdefault(str(label), []).append(bool(votes) and max(votes, key=votes.count) == label)
    return float(np.mean([np.mean(of_class) for of_class in right.values()]))


def _error_and_power(x: np.ndarray, y: np.ndarray, mask: np.ndarray, sfreq: float) -> np.ndarray:
    """Return sums of (error squared, truth squared) over hidden samples: all of them, then band by band."""
    freqs = np.fft.rfftfreq(x.shape[-1], 1 / sfreq)
    error_f, truth_f = np.fft.rfft(np.where(mask, y - x, 0), axis=-1), np.fft.rfft(x, axis=-1)
    rows = [((y - x)[mask] ** 2).sum(), (x[mask] ** 2).sum()]
    for low, high in BANDS_HZ.values():
        kept = (freqs >= low) & (freqs < high)
        for spectrum in (error_f, truth_f):
            rows.append((np.fft.irfft(spectrum * kept, n=x.shape[-1], axis=-1)[mask] ** 2).sum())
    return np.array(rows).reshape(-1, 2)
