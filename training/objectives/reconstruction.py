"""Scores reconstruction on held-out windows: the sums that evaluation reads."""

from collections.abc import Callable, Iterator, Sequence

import numpy as np
import pandas as pd
import torch

from evaluation.scenarios.reconstruction import METHODS, SUMS
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
from training.parallel.distributed import Processes

SPAN_BINS_MS = ((15.0, 60.0), (60.0, 200.0), (200.0, 500.0))
WAYS = ("all", *BANDS)
"""The whole signals, then both filtered to each band alike."""


def evaluate_reconstruction(
    model: PretrainModel,
    corpus: Corpus,
    windows: Sequence[int],
    normaliser: Normaliser,
    *,
    seed: int,
    processes: Processes,
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
    two measured channels cannot be masked and are left out. The processes share the windows out: all call this alike,
    with the same model, and each returns all rows.
    """
    model.eval()
    chosen, modality = evenly(windows, max_windows), corpus.manifest.modality
    if not chosen:  # a corpus without held-out people, for all processes alike
        return pd.DataFrame()
    sums = np.zeros((len(chosen), len(SPAN_BINS_MS), len(METHODS), len(WAYS), len(SUMS)))
    scored = np.zeros(len(chosen))
    for place in range(processes.rank, len(chosen), processes.world_size):
        for batch in corpus.each([chosen[place]], normaliser, on_window):
            found = _window_sums(batch, model, modality, seed=seed, filling=filling, max_s=max_s)
            if found is not None:
                sums[place], scored[place] = found, 1
    sums, scored = (processes.sum(torch.from_numpy(each)).cpu().numpy() for each in (sums, scored))
    kept = np.flatnonzero(scored).tolist()
    return pd.DataFrame([row for place in kept for row in _rows(corpus.entry(chosen[place]), sums[place])])


def _rows(entry: IndexRow, sums: np.ndarray) -> Iterator[dict[str, object]]:
    """Yield a window's rows of its sums, shape (bins, methods, ways, sums)."""
    for span_ms, of_methods in zip(SPAN_BINS_MS, sums, strict=True):
        for method, of_ways in zip(METHODS, of_methods, strict=True):
            for way, values in zip(WAYS, of_ways, strict=True):
                numbers = dict(zip(SUMS, values.tolist(), strict=True))
                numbers["n_samples"] = round(numbers["n_samples"])
                yield {**_who(entry, span_ms), "method": method, "band": way, **numbers}


def _window_sums(
    batch: WindowBatch, model: PretrainModel, modality: Modality, *, seed: int, filling: Filling, max_s: float
) -> np.ndarray | None:
    """Return the sums of a window, shape (bins, methods, ways, sums); None where it cannot be masked."""
    sfreq, is_eeg = modality.sfreq, np.array(modality.sensor_types) == modality.kind
    n_times = min(batch.x_BCT.shape[-1], round(max_s * sfreq))
    whole, ch_state = batch.x_BCT[0, :, :n_times], batch.ch_state_BC[0]
    scored = (ch_state == MEASURED) & is_eeg
    if np.count_nonzero(scored) < MIN_GROUP:
        return None
    key = torch.tensor([int(batch.entries[0].key, 16) >> 1])
    states = torch.from_numpy(ch_state)[None]
    eeg = Montage.of(modality, states).is_referenced_BC
    sums = np.zeros((len(SPAN_BINS_MS), len(METHODS), len(WAYS), len(SUMS)))
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
        counted = mask & scored[:, None]
        truths = _ways(x, counted, sfreq)
        for row, method in enumerate(METHODS):
            guesses = _ways(estimates[method], counted, sfreq)
            sums[place, row] = [_sums(truth, guess) for truth, guess in zip(truths, guesses, strict=True)]
    return sums


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


def _ways(x: np.ndarray, counted: np.ndarray, sfreq: float) -> list[np.ndarray]:
    """Return the counted samples of a signal as it is, then filtered to each band, by WAYS."""
    spectrum, freqs = np.fft.rfft(x, axis=-1), np.fft.rfftfreq(x.shape[-1], 1 / sfreq)
    bands = [np.fft.irfft(spectrum * ((freqs >= low) & (freqs < high)), n=x.shape[-1], axis=-1)
             for low, high in BANDS.values()]  # fmt: skip
    return [way[counted].astype(np.float64) for way in (x, *bands)]


def _sums(x: np.ndarray, y: np.ndarray) -> tuple[float, ...]:
    """Return what SUMS names, of the truth x and the estimate y."""
    return (len(x), ((y - x) ** 2).sum(), x.sum(), y.sum(), (x * y).sum(), (x * x).sum(), (y * y).sum())
