"""A quick look at held-out windows while training: error at hidden samples, in all and by frequency band."""

from collections.abc import Sequence

import numpy as np
import torch

from model.pretraining.masking import MaskPlan
from model.pretraining.pretraining import PretrainModel
from signals.shards.normalise import Normaliser
from training.corpus.pretrain_batches import masked_batch
from training.corpus.shards import Shards
from training.objectives.gap_filling import Filling
from training.trainer.distributed import Processes

BANDS_HZ = {"delta": (0.5, 4.0), "theta": (4.0, 8.0), "alpha": (8.0, 13.0), "beta": (13.0, 30.0), "gamma": (30.0, 70.0)}


def validate(
    model: PretrainModel,
    shards: Shards,
    windows: Sequence[int],
    normaliser: Normaliser,
    processes: Processes,
    *,
    masks: MaskPlan,
    crop_s: float,
    filling: Filling = "line",
    seed: int,
    batch: int = 8,
) -> dict[str, float]:
    """Return "valid_error" and "valid_error_<band>": squared error at hidden samples over the truth's own power there.

    Below 1 is better than zero, the mean. Every call hides the same samples of the same windows, whatever the number of
    processes, which share the windows out.
    """
    sfreq = shards.manifest.modality.sfreq
    sums = np.zeros((1 + len(BANDS_HZ), 2))
    model.eval()
    groups = [windows[start : start + batch] for start in range(0, len(windows), batch)]
    for chosen in groups[processes.rank :: processes.world_size]:
        tensors = masked_batch(
            shards, chosen, chosen, normaliser, masks=masks, crop_s=crop_s, filling=filling, seed=(seed, 4)
        )
        with torch.inference_mode():
            on_device = {name: tensor.to(processes.device) for name, tensor in tensors.items()}
            estimate = model.reconstruct(on_device).float().cpu().numpy()
        sums += _error_and_power(tensors["x_BCT"].numpy(), estimate, tensors["mask_BCT"].numpy(), sfreq)
    total = processes.sum(torch.from_numpy(sums).float()).cpu().numpy()
    names = ["valid_error", *(f"valid_error_{band}" for band in BANDS_HZ)]
    return {
        name: float(error / power) if power > 0 else float("nan")
        for name, (error, power) in zip(names, total, strict=True)
    }


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
