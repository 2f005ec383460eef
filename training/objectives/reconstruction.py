"""Scores reconstruction on held-out windows: the sums that evaluation reads."""

from collections.abc import Callable, Iterator, Sequence

import numpy as np
import pandas as pd
import torch

from model.montage import Montage
from model.pretraining.draws import Draws
from model.pretraining.masking import MIN_GROUP, MaskPlan, draw_masks, hide
from model.pretraining.pretraining import PretrainModel
from signals.description.features import BANDS
from signals.modality import Modality
from signals.shards.index import IndexRow
from signals.shards.normalise import Normaliser
from signals.window import ABSENT, MEASURED
from training.corpus.corpus import Corpus, WindowBatch
from training.corpus.splits import evenly
from training.objectives.gap_filling import Filling, ar_fill, fill_to_start, spline_fill, visible_mean

SPAN_BINS_MS = ((15.0, 60.0), (60.0, 200.0), (200.0, 500.0))
WHOLE = "all"


def evaluate_reconstruction(
    model: PretrainModel,
    corpus: Corpus,
    windows: Sequence[int],
    normaliser: Normaliser,
    *,
    seed: int,
    filling: Filling = "line",
    max_s: float = 10.0,
    max_windows: int = 200,
    on_window: Callable[[], None] = lambda: None,
) -> pd.DataFrame:
    """Return one row per window, bin of span lengths, method and band: the model, and what it is measured against.

    Those are the line across the gap, the mean of the channel's visible samples, spherical splines from the visible
    channels, an autoregressive model of the channel (`training.objectives.gap_filling`), and the `filling` that the
    model itself starts from. At most `max_windows` windows,
    evenly chosen, and the first `max_s` seconds of each are scored; `on_window` is called before each. Windows without
    two measured channels cannot be masked and are left out.
    """
    model.eval()
    rows: list[dict[str, object]] = []
    for batch in corpus.each(evenly(windows, max_windows), normaliser, on_window):
        rows += _window_rows(batch, model, corpus.manifest.modality, seed=seed, filling=filling, max_s=max_s)
    return pd.DataFrame(rows)


def _window_rows(
    batch: WindowBatch, model: PretrainModel, modality: Modality, *, seed: int, filling: Filling, max_s: float
) -> Iterator[dict[str, object]]:
    sfreq, is_eeg = modality.sfreq, np.array(modality.sensor_types) == modality.kind
    n_times = min(batch.x_BCT.shape[-1], round(max_s * sfreq))
    whole, ch_state = batch.x_BCT[0, :, :n_times], batch.ch_state_BC[0]
    scored = (ch_state == MEASURED) & is_eeg
    if np.count_nonzero(scored) < MIN_GROUP:
        return
    key = torch.tensor([int(batch.entries[0].key, 16) >> 1])
    states = torch.from_numpy(ch_state)[None]
    eeg = Montage.of(modality, states).is_referenced_BC
    for place, span_ms in enumerate(SPAN_BINS_MS):
        plan = MaskPlan(span_ms=span_ms, schedule_weights=(1.0, 0.0, 0.0))
        masks = draw_masks(Draws((seed, 2, place), key), states, n_times, sfreq=sfreq, plan=plan, is_eeg_BC=eeg)
        hidden = hide(torch.from_numpy(whole)[None], masks, states, is_eeg_BC=eeg)
        mask, x, line = (part[0].numpy() for part in (masks, *hidden))
        known = np.where(is_eeg, ch_state, ABSENT)
        start = fill_to_start(x, mask, known, filling)
        estimates = {
            "model": _model_fill(model, modality, start, mask, ch_state),
            "filling": start,
            "linear": line,
            "mean": visible_mean(x, mask),
            "spline": spline_fill(x, mask, known, np.asarray(modality.positions)),
            "ar": ar_fill(x, mask, known),
        }
        for method, estimate in estimates.items():
            for sums in _band_sums(x, estimate, mask & scored[:, None], sfreq):
                yield {**_who(batch.entries[0], span_ms), "method": method, **sums}


def _model_fill(
    model: PretrainModel, modality: Modality, start: np.ndarray, mask: np.ndarray, ch_state: np.ndarray
) -> np.ndarray:
    device = next(model.parameters()).device
    montage = Montage.of(modality, torch.from_numpy(ch_state)[None])
    arrays = {"filled_BCT": start, "mask_BCT": mask}
    batch = {**montage.tensors(), **{name: torch.from_numpy(a)[None] for name, a in arrays.items()}}
    with torch.inference_mode():
        filled = model.reconstruct({name: tensor.to(device) for name, tensor in batch.items()})
    return np.asarray(filled[0].cpu().numpy())


def _who(entry: IndexRow, span_ms: tuple[float, float]) -> dict[str, object]:
    return {
        "window_key": entry.key,
        "subject_id": entry.subject_id,
        "site_id": entry.site_id,
        "span_ms_low": span_ms[0],
        "span_ms_high": span_ms[1],
    }


def _band_sums(x: np.ndarray, estimate: np.ndarray, counted: np.ndarray, sfreq: float) -> Iterator[dict[str, object]]:
    """Yield sums over hidden samples of the whole signals, then of both filtered to each band alike."""
    yield {"band": WHOLE, **_sums(x[counted], estimate[counted])}
    freqs = np.fft.rfftfreq(x.shape[-1], 1 / sfreq)
    truth_f, estimate_f = np.fft.rfft(x, axis=-1), np.fft.rfft(estimate, axis=-1)
    for band, (low, high) in BANDS.items():
        kept = (freqs >= low) & (freqs < high)
        filtered = (np.fft.irfft(f * kept, n=x.shape[-1], axis=-1)[counted] for f in (truth_f, estimate_f))
        yield {"band": band, **_sums(*filtered)}


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
