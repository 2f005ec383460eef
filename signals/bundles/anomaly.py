"""The autoencoder's input, and a window's score from its output; the network itself is an ONNX file.

The file is made by training.autoencoder and run by pipelines.stages.anomaly; this is what both must agree on.
"""

import numpy as np

from signals.shards.normalise import normalise, robust_window_scale
from signals.window import MEASURED

SCHEMA_VERSION = 1
"""Of the metadata in the ONNX file."""
TOP_SHARE = 0.05


def model_input(x: np.ndarray, ch_state: np.ndarray) -> np.ndarray:
    """Return a window as the autoencoder wants it: float32, shape (n_chans, n_times), NaN where not measured.

    x is in µV; it is divided by the window's robust scale and clipped at 20.
    """
    scaled = np.nan_to_num(normalise(x, robust_window_scale(x, ch_state)))
    scaled[ch_state != MEASURED] = np.nan
    return scaled


def window_score(anomaly: np.ndarray) -> float:
    """Return a window's score, the mean over the oddest twentieth of its channel-seconds; nan without any.

    `anomaly` has shape (n_chans, n_seconds), NaN where a channel was not measured.
    """
    scores = np.sort(anomaly[np.isfinite(anomaly)])
    n_top = max(1, int(np.ceil(TOP_SHARE * scores.size)))
    return float(scores[-n_top:].mean()) if scores.size else float("nan")
