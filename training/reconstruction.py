"""Scores reconstruction on held-out windows and writes the sums that evaluation reads."""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from evaluation.reconstruction import write_reconstruction
from model.masking import MaskPlan, draw_mask, hide
from model.pretraining import PretrainModel
from signals.normalise import Normaliser
from signals.windows import MEASURED
from training.data import Entry, Shards
from training.splits import evenly

SPAN_BINS_MS = ((15.0, 60.0), (60.0, 200.0), (200.0, 500.0))


def evaluate_reconstruction(
    path: Path,
    model: PretrainModel,
    shards: Shards,
    windows: Sequence[int],
    normaliser: Normaliser,
    *,
    seed: int,
    max_s: float = 10.0,
    max_windows: int = 200,
    on_window: Callable[[], None] = lambda: None,
) -> None:
    """Write one row a window, bin of span lengths and method: the model, the line across the gap, and the mean.

    The mean is that of the channel's visible samples. At most `max_windows` windows, evenly chosen, and the first
    `max_s` seconds of each are scored; `on_window` is called before each. Windows without two measured channels cannot
    be masked and are left out.
    """
    modality = shards.manifest.modality
    sfreq, is_eeg = modality.sfreq, np.array(modality.sensor_types) == "eeg"
    device = next(model.parameters()).device
    model.eval()
    rows = []
    for number in evenly(windows, max_windows):
        on_window()
        batch = shards.batch([number], normaliser)
        n_times = min(batch.x_BCT.shape[-1], round(max_s * sfreq))
        whole, ch_state = batch.x_BCT[0, :, :n_times], batch.ch_state_BC[0]
        if np.count_nonzero((ch_state == MEASURED) & is_eeg) < 2:
            continue
        for place, span_ms in enumerate(SPAN_BINS_MS):
            rng = np.random.default_rng((seed, 2, place, int(batch.entries[0].key, 16)))
            plan = MaskPlan(span_ms=span_ms, schedule_weights=(1.0, 0.0, 0.0))
            mask = draw_mask(rng, ch_state, n_times, sfreq=sfreq, plan=plan, referenced=is_eeg)
            x, filled = hide(whole, mask, ch_state, referenced=is_eeg)
            arrays = {"filled_BCT": filled, "mask_BCT": mask, "ch_state_BC": ch_state}
            with torch.inference_mode():
                tensors = {name: torch.from_numpy(a[None]).to(device) for name, a in arrays.items()}
                estimate = model.reconstruct(tensors)[0].cpu().numpy()
            counted = mask & (ch_state == MEASURED)[:, None]
            estimates = {"model": estimate, "linear": filled, "mean": _visible_mean(x, mask)}
            rows += [
                {**_who(batch.entries[0], span_ms), "method": method, **_sums(x[counted], y[counted])}
                for method, y in estimates.items()
            ]
    write_reconstruction(path, pd.DataFrame(rows))


def _visible_mean(x: np.ndarray, mask: np.ndarray) -> np.ndarray:
    means = np.where(mask, 0, x).sum(-1, keepdims=True) / np.maximum((~mask).sum(-1, keepdims=True), 1)
    return np.broadcast_to(means, x.shape)


def _who(entry: Entry, span_ms: tuple[float, float]) -> dict[str, object]:
    return {
        "window_key": entry.key,
        "subject_id": entry.subject_id,
        "site_id": entry.site_id,
        "span_ms_low": span_ms[0],
        "span_ms_high": span_ms[1],
    }


def _sums(truth: np.ndarray, estimate: np.ndarray) -> dict[str, float]:
    x, y = truth.astype(np.float64), estimate.astype(np.float64)
    return {
        "n_samples": len(x),
        "sum_squared_error": float(((y - x) ** 2).sum()),
        "sum_x": float(x.sum()),
        "sum_y": float(y.sum()),
        "sum_xy": float((x * y).sum()),
        "sum_xx": float((x * x).sum()),
        "sum_yy": float((y * y).sum()),
    }
