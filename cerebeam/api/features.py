"""Features of windows as a scikit-learn transformer."""

from typing import Any

import numpy as np
from sklearn.base import BaseEstimator, TransformerMixin

from signals.description.features import FEATURES, features


class WindowFeatures(TransformerMixin, BaseEstimator):
    """Windows to rows of features: time, frequency and wavelet features of each channel, or their mean over channels.

    In a pipeline: `make_pipeline(WindowFeatures(sfreq=256.0), StandardScaler(), LogisticRegression())`, on
    `cerebeam.prepare(...).data` or on any array of windows.
    """

    def __init__(self, *, sfreq: float = 256.0, per_channel: bool = True) -> None:
        """Set the rate in Hz, and whether each channel keeps its own columns."""
        self.sfreq = sfreq
        self.per_channel = per_channel

    def fit(self, X: Any, y: Any = None) -> "WindowFeatures":
        """Learn the number of channels, nothing else; raises ValueError for what are no windows."""
        self.n_chans_ = _windows(X).shape[1]
        return self

    def transform(self, X: Any) -> np.ndarray:
        """Return features, float32, shape (n_windows, n_columns), of windows in µV, (n_windows, n_chans, n_times).

        Undefined features, such as a flat channel's entropy, are 0. Raises ValueError for another number of channels.
        """
        x = _windows(X)
        if x.shape[1] != self.n_chans_:
            raise ValueError(f"windows have {x.shape[1]} channels, the transformer was fitted on {self.n_chans_}")
        rows = np.nan_to_num(np.stack([features(window, self.sfreq) for window in x]))
        rows = rows.reshape(len(x), -1) if self.per_channel else rows.mean(axis=1)
        return np.asarray(rows, dtype=np.float32)

    def get_feature_names_out(self, input_features: Any = None) -> np.ndarray:
        """Return the columns' names: "0:std" is the feature std of channel 0, "std" its mean over channels."""
        channels = range(self.n_chans_)
        names = [f"{k}:{name}" for k in channels for name in FEATURES] if self.per_channel else list(FEATURES)
        return np.array(names, dtype=object)


def _windows(x: Any) -> np.ndarray:
    x = np.asarray(x, dtype=np.float32)
    if x.ndim != 3 or 0 in x.shape:
        raise ValueError(f"an array of shape {x.shape} is not (n_windows, n_chans, n_times) with at least one of each")
    if not np.isfinite(x).all():
        raise ValueError("windows hold NaN or infinity: fill or leave out those windows")
    return x
