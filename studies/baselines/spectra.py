"""Log spectra without any weight: fixed lines per channel and second, pooled as an encoder's tokens are.

A floor that pretraining has to beat: whatever an encoder's embeddings read beyond it is not in the power spectrum of
single seconds and its place on the head.
"""

import numpy as np
import torch
from numpy.lib.stride_tricks import sliding_window_view

from model.layers.pooling import pooled_statistics
from signals.shards.normalise import Normaliser
from signals.window import ABSENT
from training.corpus.labelled import Labelled

FAST_HZ, SLOW_HZ = 45, 10
"""Lines end here: 1 Hz apart in stretches of one second, 0.25 Hz apart in stretches of four."""
FLOOR = 1e-6
"""Power that is added before the logarithm, in units of a scaled window's."""


def line_tokens(x: np.ndarray, sfreq: float) -> np.ndarray:
    """Return log10 power of each channel and second, float32, shape (n_chans, n_seconds, n_lines).

    x: scaled samples, shape (n_chans, n_times). Lines of 1 to `FAST_HZ` Hz from the second itself, and of 0.5 Hz to
    below `SLOW_HZ` from the four seconds around it (the nearest four at a window's ends), Hann-windowed.
    """
    second = round(sfreq)
    n_seconds = x.shape[1] // second
    fast = _power(x[:, : n_seconds * second].reshape(len(x), n_seconds, second))[..., 1 : FAST_HZ + 1]
    n_slow = min(4, n_seconds)
    stretches = sliding_window_view(x[:, : n_seconds * second], n_slow * second, axis=1)[:, ::second]
    slow = _power(stretches)[..., max(1, n_slow // 2) : n_slow * SLOW_HZ]
    nearest = np.clip(np.arange(n_seconds) - n_slow // 2 + 1, 0, stretches.shape[1] - 1)
    return np.log10(np.concatenate([fast, slow[:, nearest]], axis=-1) + FLOOR).astype(np.float32)


def _power(stretches: np.ndarray) -> np.ndarray:
    """Return power per line, Hann-windowed, so that a sine of amplitude a has a squared over four on its line."""
    n_times = stretches.shape[-1]
    window = np.hanning(n_times + 1)[:-1]
    return np.asarray((np.abs(np.fft.rfft(stretches * window, axis=-1)) / window.sum()) ** 2)


@torch.no_grad()
def log_spectra(data: Labelled) -> np.ndarray:
    """Return pooled log spectra of every labelled window, float32, shape (n, n_dims).

    As `training.corpus.frozen.pooled` pools an encoder's tokens: over the window and, apart, over the label's span.
    """
    modality, normaliser, span = data.shards.manifest.modality, Normaliser(kind="window"), data.task.label_span_s
    position_C3 = torch.tensor(modality.positions)
    is_eeg = np.array(modality.sensor_types) == "eeg"
    rows = []
    for number in data.windows:
        made = data.shards.batch([int(number)], normaliser)
        tokens_BCND = torch.from_numpy(line_tokens(made.x_BCT[0], modality.sfreq))[None]
        present_BC = torch.from_numpy((made.ch_state_BC != ABSENT) & is_eeg)
        stretches = [tokens_BCND]
        if span is not None:
            stretches.append(tokens_BCND[:, :, round(span[0]) : round(span[1])])
        rows.append(torch.cat([pooled_statistics(x, present_BC, position_C3) for x in stretches], -1))
    return torch.cat(rows).numpy()
