"""Models on what a report would say of a window (`signals.patterns.features`), and on an encoder's tokens beside it."""

import hashlib
import inspect
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from model.patterns.logistic import LogisticModel, logistic_of
from signals.files import atomic_file
from signals.patterns import features as patterns
from signals.patterns import periodicity
from signals.windows.margins import as_if_short
from studies.baselines.classical import expanded, fit_logistic
from training.corpus.corpus import Corpus
from training.corpus.labelled import Labelled

N_TREES = 300


def pattern_table(
    shards: Corpus, windows: Sequence[int] | np.ndarray, *, keep: Path | None = None,
    recorded_s: tuple[float, float] | None = None,
) -> tuple[tuple[str, ...], np.ndarray]:  # fmt: skip
    """Return names and values of the features of windows by number, float32, shape (n, n_features).

    `recorded_s`: as if only these seconds of each window had been recorded (`signals.windows.margins`). `keep`: a file
    that holds rows of earlier calls, by window and by the code that made them; new ones are added.
    """
    version = hashlib.sha256((inspect.getsource(patterns) + inspect.getsource(periodicity)).encode()).hexdigest()
    names, known = _kept(keep, version)
    mark = "" if recorded_s is None else f" {recorded_s[0]:g}-{recorded_s[1]:g} s"
    wanted = [shards.entries[int(i)].key + mark for i in windows]
    missing = [(key, int(i)) for key, i in zip(wanted, windows, strict=True) if key not in known]
    for key, number in tqdm(missing, desc="pattern features", unit="window", disable=None):
        window = shards.window(number)
        x = window.data
        if recorded_s is not None:
            x = as_if_short(x, *(round(second * window.sfreq) for second in recorded_s))
        row = patterns.pattern_features(x, window.sfreq)
        names, known[key] = tuple(row), np.array(list(row.values()), dtype=np.float32)
    if keep is not None and missing:
        with atomic_file(keep) as file:
            rows = np.stack(list(known.values()))
            np.savez_compressed(file, version=version, names=np.array(names), keys=np.array(list(known)), rows=rows)
    return names, np.stack([known[key] for key in wanted])


def _kept(path: Path | None, version: str) -> tuple[tuple[str, ...], dict[str, np.ndarray]]:
    if path is None or not path.is_file():
        return (), {}
    with np.load(path, allow_pickle=False) as held:
        if str(held["version"]) != version:
            return (), {}
        return tuple(held["names"].tolist()), dict(zip(held["keys"].tolist(), held["rows"], strict=True))


def fit_extra_trees(
    x: np.ndarray, data: Labelled, rows: np.ndarray, *, seed: int, min_leaf: int = 3, n_trees: int | None = None
) -> Any:
    """Return extra trees (Geurts et al. 2006, doi:10.1007/s10994-006-6226-1) fitted on rows of x to the targets."""
    from sklearn.ensemble import ExtraTreesClassifier

    repeated, classes, weights = expanded(data, rows)
    model = ExtraTreesClassifier(n_trees or N_TREES, min_samples_leaf=min_leaf, max_features=0.15, random_state=seed)
    return model.fit(x[repeated], classes, sample_weight=weights)


def fit_pattern_logistic(names: Sequence[str], x: np.ndarray, data: Labelled, rows: np.ndarray) -> LogisticModel:
    """Return a logistic regression fitted on rows of x to the targets, inputs held within 1% and 99%."""
    low, high = np.quantile(x[rows], [0.01, 0.99], axis=0)
    model = fit_logistic(np.clip(x, low, high), data, rows, penalty=0.1)
    scaler, regression = model[0], model[-1]
    return logistic_of(
        scaler.mean_, scaler.scale_, regression.coef_, regression.intercept_, limits=(low, high), names=names,
        classes=data.task.classes,
    )  # fmt: skip
