"""A pretrained encoder as a scikit-learn transformer: windows to vectors."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from sklearn.base import BaseEstimator, TransformerMixin

from model.encoder import Encoder
from model.montage import Montage
from signals.modality import EEG_1020
from signals.shards.normalise import Normaliser
from signals.window import ABSENT, MEASURED


class WindowEmbeddings(TransformerMixin, BaseEstimator):
    """Windows to the encoder's vectors, one per window; the encoder is not trained.

    In a pipeline: `make_pipeline(WindowEmbeddings(encoder="OUT/encoder"), StandardScaler(), LogisticRegression())`, on
    `cerebeam.prepare(...).data`. A channel that is flat or not finite in a window counts as absent there.
    """

    def __init__(
        self, encoder: str | Path = "", *, ch_names: Sequence[str] = EEG_1020.ch_names, batch_size: int = 16
    ) -> None:
        """Set the encoder's folder, the windows' electrodes, and how many windows go through it at once."""
        self.encoder = encoder
        self.ch_names = ch_names
        self.batch_size = batch_size

    def fit(self, X: Any, y: Any = None) -> "WindowEmbeddings":
        """Open the encoder; nothing is learnt. Raises OSError for a folder without one, ValueError for no windows."""
        self.n_chans_ = self._windows(X).shape[1]
        self.model_ = Encoder.from_pretrained(self.encoder, local_files_only=True).eval()
        return self

    @torch.no_grad()
    def transform(self, X: Any) -> np.ndarray:
        """Return float32, shape (n_windows, dim), of windows at the encoder's rate, (n_windows, n_chans, n_times).

        Each window is divided by its own size, so that the unit does not matter.
        """
        x, normaliser = self._windows(X), Normaliser(kind="window")
        rows = []
        for start in range(0, len(x), self.batch_size):
            windows = x[start : start + self.batch_size]
            seen = np.isfinite(windows).all(axis=-1) & (np.ptp(np.nan_to_num(windows), axis=-1) > 0)
            state = np.where(seen, MEASURED, ABSENT).astype(np.uint8)
            clean = np.where(seen[..., None], np.nan_to_num(windows), 0.0).astype(np.float32)
            scaled = np.stack([normaliser.apply(one, kept, "", "") for one, kept in zip(clean, state, strict=True)])
            montage = self._montage(torch.from_numpy(state))
            rows.append(self.model_(torch.from_numpy(scaled), montage)["window_BD"].numpy())
        return np.concatenate(rows).astype(np.float32)

    def _montage(self, state: torch.Tensor) -> Montage:
        """Return the electrodes' places, with the neighbours that the encoder knew in training."""
        if tuple(self.ch_names) == EEG_1020.ch_names:
            return Montage.of(EEG_1020, state)
        return Montage.named(self.ch_names, state)

    def _windows(self, x: Any) -> np.ndarray:
        x = np.asarray(x, dtype=np.float32)
        if x.ndim != 3 or 0 in x.shape or x.shape[1] != len(self.ch_names):
            raise ValueError(f"an array of shape {x.shape} is not (n_windows, {len(self.ch_names)}, n_times)")
        return x
