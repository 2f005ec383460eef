"""Classical models on numbers that describe a window: logistic regression, and gradient boosting of trees.

Targets may be distributions: a window then counts once for each class, weighted by its share, which is exactly the
cross-entropy to the distribution.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from signals.description.features import BANDS
from signals.window import ABSENT
from training.corpus.corpus import Corpus
from training.corpus.labelled import Labelled
from training.fitting.loss import class_weights

FLOOR = 1e-4
"""Least probability of a class: one that no training window had cannot be ruled out."""


def stored_features(shards: Corpus, windows: Sequence[int] | np.ndarray) -> np.ndarray:
    """Return all stored features of windows by number, float32, shape (n, n_chans * n_features + 3 n_features).

    Channel by channel (nan where a channel is absent), then mean, spread and largest over the primary channels that are
    there, which do not depend on the montage. Raises ValueError for shards without features.
    """
    values = _by_channel(shards, windows)
    eeg = values[:, : shards.manifest.modality.n_primary]
    over = [what(eeg, axis=1) for what in (np.nanmean, np.nanstd, np.nanmax)]
    return np.concatenate([values.reshape(len(values), -1), *over], axis=1)


def band_powers(shards: Corpus, windows: Sequence[int] | np.ndarray) -> np.ndarray:
    """Return log10 and relative band powers by channel, float32, shape (n, n_chans * 2 n_bands); see `filled`.

    Raises ValueError for shards whose features hold none.
    """
    names, columns = _band_names(), shards.manifest.features
    if missing := set(names) - set(columns):
        raise ValueError(f"{shards.names} stores no band powers: {sorted(missing)[0]} is missing")
    values = _by_channel(shards, windows)[:, :, [columns.index(name) for name in names]]
    return filled(values, n_primary=shards.manifest.modality.n_primary)


def has_band_powers(data: Labelled) -> bool:
    """Return whether the shards' features hold band powers, as those of an electroencephalogram do."""
    return set(_band_names()) <= set(data.shards.manifest.features)


def _band_names() -> list[str]:
    return [f"{band}_{kind}" for band in BANDS for kind in ("log10_uv2", "relative")]


def filled_features(shards: Corpus, windows: Sequence[int] | np.ndarray) -> np.ndarray:
    """Return all stored features by channel, float32, shape (n, n_chans * n_features), without nan; see `filled`."""
    return filled(_by_channel(shards, windows), n_primary=shards.manifest.modality.n_primary)


def filled(values: np.ndarray, *, n_primary: int | None = None) -> np.ndarray:
    """Return (n, n_chans, n_values) in rows; an absent channel has the mean of the primary channels that are there.

    The first `n_primary` channels are the primary ones, by default all.
    """
    mean = np.nanmean(values[:, :n_primary], axis=1, keepdims=True)
    return np.where(np.isnan(values), mean, values).reshape(len(values), -1)


def _by_channel(shards: Corpus, windows: Sequence[int] | np.ndarray) -> np.ndarray:
    """Return stored features, nan where a channel is absent; one at least is there, or no window had been written."""
    found = [shards.window(int(i)) for i in windows]
    values = np.stack([window.features for window in found]).astype(np.float32)
    n_features = len(shards.manifest.features)
    if values.shape[2] != n_features:
        raise ValueError(f"{shards.names} stores {values.shape[2]} features a channel, not {n_features}")
    values[np.stack([window.ch_state for window in found]) == ABSENT] = np.nan
    return values


def fit_logistic(x: np.ndarray, data: Labelled, rows: np.ndarray, *, penalty: float) -> Any:
    """Return a standardised logistic regression fitted on rows of x; `penalty` is that of the mean loss.

    The penalty does not depend on how many windows there are: C = 1 / (penalty * n). Raises ValueError where the rows
    are of one class.
    """
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    if data.task.multilabel:
        return EachClass.fit(
            lambda: make_pipeline(StandardScaler(), LogisticRegression(C=1.0 / (penalty * len(rows)), max_iter=2000)),
            x[rows], data.targets[rows],
        )  # fmt: skip
    repeated, classes, weights = expanded(data, rows)
    if len(left := np.unique(classes)) < 2:
        people = sorted(set(data.subjects[rows].tolist()))
        raise ValueError(
            f"all {len(rows)} windows of {len(people)} training subjects are of class "
            f"{data.task.classes[int(left[0])]!r}: leave other people out, by --group, --folds or --inner-folds"
        )
    regression = LogisticRegression(C=1.0 / (penalty * weights.sum()), max_iter=2000)
    model = make_pipeline(StandardScaler(), regression)
    return model.fit(x[repeated], classes, logisticregression__sample_weight=weights)


def fit_boosting(
    x: np.ndarray, data: Labelled, rows: np.ndarray, *, learning_rate: float, max_leaf_nodes: int, seed: int
) -> Any:
    """Return gradient-boosted trees (histogram method) fitted on rows of x; nan is a value of its own to them.

    A column that is nan in all of these rows tells nothing, and is not split on.
    """
    from sklearn.ensemble import HistGradientBoostingClassifier

    make = partial(
        HistGradientBoostingClassifier,
        learning_rate=learning_rate,
        max_leaf_nodes=max_leaf_nodes,
        max_iter=60,
        min_samples_leaf=8,
        l2_regularization=1.0,
        max_features=0.2,
        early_stopping=False,
        random_state=seed,
    )
    shown = np.where(np.isnan(x[rows]).all(axis=0), 0.0, x)  # scikit-learn 1.9 raises on a column without a value
    if data.task.multilabel:
        return EachClass.fit(make, shown[rows], data.targets[rows])
    repeated, classes, weights = expanded(data, rows)
    return make().fit(shown[repeated], classes, sample_weight=weights)


@dataclass(frozen=True)
class EachClass:
    """One model for each class of a multi-label task."""

    models: tuple[Any, ...]
    """None for a class that every training window has, or none."""
    shares: tuple[float, ...]
    """Share of the training windows that have each class."""

    @classmethod
    def fit(cls, make: Callable[[], Any], x: np.ndarray, targets: np.ndarray) -> "EachClass":
        """Return models fitted on rows of x, each to its class."""
        positive = targets > 0.5
        models = tuple(make().fit(x, y) if 0 < y.sum() < len(y) else None for y in positive.T)
        return cls(models, tuple(positive.mean(axis=0).tolist()))

    def predict_proba(self, x: np.ndarray) -> np.ndarray:
        """Return the probability of each class for itself, float64, shape (n, n_classes)."""
        columns = [
            np.full(len(x), share) if model is None else model.predict_proba(x)[:, 1]
            for model, share in zip(self.models, self.shares, strict=True)
        ]
        return np.stack(columns, axis=1)


def n_learnt(model: Any) -> int:
    """Return how many coefficients logistic regressions have."""
    if isinstance(model, EachClass):
        return sum(n_learnt(one) for one in model.models if one is not None)
    return int(model[-1].coef_.size + model[-1].intercept_.size)


def expanded(data: Labelled, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return rows, once for each class with weight, classes, and weights; the same say as in
    `training.fitting.learning`."""
    targets = data.targets[rows].astype(np.float64)
    balance = class_weights(data, rows)
    weighted = targets if balance is None else targets * balance
    row, cls = np.nonzero(weighted > 0)
    return rows[row], cls, weighted[row, cls]


def probabilities(model: Any, x: np.ndarray, n_classes: int) -> np.ndarray:
    """Return class probabilities, float64, shape (n, n_classes), none below `FLOOR`."""
    if isinstance(model, EachClass):
        return np.clip(model.predict_proba(x), FLOOR, 1 - FLOOR)
    result = np.zeros((len(x), n_classes))
    result[:, model.classes_] = model.predict_proba(x)
    result = np.maximum(result, FLOOR)
    return result / result.sum(axis=1, keepdims=True)
