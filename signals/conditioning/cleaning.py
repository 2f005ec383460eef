"""Cleaning of windows: what may be taken out of a signal before a task sees it, each step off unless a profile asks.

`ica` is one matrix per recording, decided when it is planned (`signals.windows.ica`). The other steps look at one
window and nothing else, so that neither blocks nor runners change them. Their order is fixed: components,
transients, baseline, wavelets.
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from signals.conditioning.wavelets import denoise
from signals.modality import Modality
from signals.montage.montage import Harmoniser
from signals.montage.splines import MIN_FOR_SPLINES, spline_matrix
from signals.window import MEASURED


@dataclass(frozen=True, kw_only=True)
class Cleaning:
    """Which steps are taken; none by default."""

    ica: bool = False
    """Take out independent components of eyes and muscles (`signals.windows.ica`)."""
    transients: bool = False
    """Mend jumps that one electrode shows and its neighbours do not (`mend_transients`)."""
    baseline: bool = False
    """Take out what drifts slower than `BASELINE_HZ` (`correct_baseline`)."""
    wavelets: bool = False
    """Shrink wavelet coefficients that do not stand out of the noise (`signals.conditioning.wavelets.denoise`)."""

    @property
    def any(self) -> bool:
        """Whether a window is touched at all."""
        return self.ica or self.by_window

    @property
    def by_window(self) -> bool:
        """Whether a step is taken that looks at single windows."""
        return self.transients or self.baseline or self.wavelets


BASELINE_HZ = 0.3
"""Fastest cosine of the baseline; rhythmic delta begins at 0.5 Hz."""

TRANSIENT_UV = 60.0
"""Least deflection of one electrode from what its neighbours predict, µV."""
TRANSIENT_Z = 8.0
"""Least deflection over 1.4826 MAD of the same channel's deflections in the window."""
FIELD_SHARE = 0.2
"""Least share of a deflection that the neighbours must show to be spared. Under the average reference the jump of one
electrode shows at the others with -1/18; a cortical discharge, blurred by the skull, with 0.3 and more."""
_REACH_S = 0.06  # cross-fade at both ends of a mended stretch


def clean_window(
    x: np.ndarray, sfreq: float, *, cleaning: Cleaning, fit: Harmoniser, modality: Modality, h_freq: float
) -> np.ndarray:
    """Return a window after the steps that look at single windows, same dtype, shape (n_chans, n_times), µV.

    `fit` is the map that made its channels, `h_freq` the upper edge of the pass band, Hz.
    """
    if cleaning.transients:
        x = mend_transients(x, sfreq, fit=fit, modality=modality)
    if cleaning.baseline:
        x = correct_baseline(x, sfreq)
    if cleaning.wavelets:
        x = denoise(x, sfreq, h_freq=h_freq)
    return x


def correct_baseline(x: np.ndarray, sfreq: float, *, h_freq: float = BASELINE_HZ) -> np.ndarray:
    """Return x without its linear trend and its cosines up to `h_freq`, same shape and dtype.

    A least-squares fit of the discrete cosine basis and a line to the whole window. The band-pass
    (`signals.conditioning.filters.band_taps`) halves only what lies at 0.25 Hz: sweat and cables pass it in part.
    """
    basis = _slow_basis(x.shape[-1], x.shape[-1] / sfreq, h_freq).astype(x.dtype)
    return np.asarray(x - (x @ basis) @ basis.T)


@lru_cache(maxsize=8)
def _slow_basis(n_times: int, duration_s: float, h_freq: float) -> np.ndarray:
    """Return orthonormal columns, shape (n_times, n_slow): constant, cosines k / (2 duration) <= h_freq, a line."""
    t = (np.arange(n_times) + 0.5) / n_times
    cosines = [np.cos(np.pi * k * t) for k in range(int(2 * duration_s * h_freq + 1e-9) + 1)]
    return np.asarray(np.linalg.qr(np.stack([*cosines, t - 0.5], axis=1))[0])


def mend_transients(x: np.ndarray, sfreq: float, *, fit: Harmoniser, modality: Modality) -> np.ndarray:
    """Return x with the jumps of single electrodes taken out, float32, shape (n_chans, n_times), µV.

    What an electrode shows beyond the spherical spline of its neighbours (leave one out) is its own. Where that passes
    `TRANSIENT_UV` and `TRANSIENT_Z`, and the neighbours show less than `FIELD_SHARE` of it against the average, it is
    subtracted from the electrode, and so is the share of it that reference and interpolation brought to the others
    (`signals.montage.montage.Harmoniser.spread`): 1/n under the average reference, nothing under the recorded one. An
    epileptiform spike has a field, so it is spared; the window keeps its length and no stretch is blanked. Only
    measured channels are looked at, and only with `MIN_FOR_SPLINES` of them.
    """
    measured = np.flatnonzero(fit.ch_state == MEASURED)
    if measured.size < MIN_FOR_SPLINES:
        return x
    predict = _leave_one_out(modality, tuple(int(i) for i in measured))
    y = x.astype(np.float32, copy=True)
    for _ in range(3):  # a jump moves its neighbours' prediction: the largest goes first, then they are looked at anew
        seen = y[measured]
        if fit.reference != "average":
            seen = seen - seen.mean(axis=0)
        own = seen - predict @ seen
        stretches = _own_stretches(own, seen - own, sfreq)
        if not stretches:
            return y
        for channel, start, stop in stretches:
            row = measured[channel]
            jump = own[channel, start:stop] * _fade(stop - start, sfreq)
            y[:, start:stop] -= fit.spread[:, row, None] * jump
            y[row, start:stop] -= jump
    return y


@lru_cache(maxsize=64)
def _leave_one_out(modality: Modality, measured: tuple[int, ...]) -> np.ndarray:
    """Return the matrix that predicts each measured channel from the others, float32, zeros on its diagonal."""
    positions = np.asarray(modality.positions)[list(measured)]
    predict = np.zeros((len(measured), len(measured)))
    for row in range(len(measured)):
        others = [i for i in range(len(measured)) if i != row]
        predict[row, others] = spline_matrix(positions[others], positions[row : row + 1])[0]
    return predict.astype(np.float32)


def _own_stretches(own: np.ndarray, predicted: np.ndarray, sfreq: float) -> list[tuple[int, int, int]]:
    """Return (channel, start, stop) of deflections without a field; of those that overlap in time the largest."""
    spread = 1.4826 * np.median(np.abs(own), axis=-1, keepdims=True)
    limit = np.maximum(TRANSIENT_UV, TRANSIENT_Z * spread)
    size = np.abs(own) / limit
    candidates: list[tuple[float, int, int, int]] = []
    for channel in np.flatnonzero(size.max(axis=-1) > 1.0).tolist():
        for start, stop in _runs(size[channel] > 0.25, int(0.1 * sfreq)):
            if size[channel, start:stop].max() <= 1.0:
                continue
            share = _field_share(own[channel, start:stop], predicted[channel, start:stop])
            # Far below zero, the jump is in the prediction: it is a neighbour's.
            if -0.5 < share < FIELD_SHARE:
                # Largest in µV, not over its limit: the electrode that jumped deviates most, its neighbours less.
                candidates.append((float(np.abs(own[channel, start:stop]).max()), channel, start, stop))
    kept: list[tuple[int, int, int]] = []
    for _, owner, start, stop in sorted(candidates, reverse=True):
        if all(stop <= a or b <= start for _, a, b in kept):
            kept.append((owner, start, stop))
    return kept


def _field_share(own: np.ndarray, predicted: np.ndarray) -> float:
    """Return how much of a deflection the neighbours show: the least-squares share of it in their prediction."""
    whole = own + predicted
    return float(predicted @ whole / max(float(whole @ whole), 1e-12))


def _runs(flags: np.ndarray, n_join: int) -> list[tuple[int, int]]:
    """Return (start, stop) of runs of True; runs closer than `n_join` samples are one."""
    edges = np.flatnonzero(np.diff(np.concatenate([[0], flags.astype(np.int8), [0]])))
    runs: list[tuple[int, int]] = []
    for start, stop in zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True):
        if runs and start - runs[-1][1] < n_join:
            runs[-1] = (runs[-1][0], stop)
        else:
            runs.append((start, stop))
    return runs


def _fade(n_times: int, sfreq: float) -> np.ndarray:
    """Return 1 with raised-cosine ends of at most `_REACH_S`, float32, shape (n_times,)."""
    n_edge = min(int(_REACH_S * sfreq), n_times // 4)
    weight = np.ones(n_times, dtype=np.float32)
    edge = (0.5 - 0.5 * np.cos(np.pi * (np.arange(n_edge) + 0.5) / max(n_edge, 1))).astype(np.float32)
    weight[:n_edge] = edge
    weight[n_times - n_edge :] = edge[::-1]
    return weight
