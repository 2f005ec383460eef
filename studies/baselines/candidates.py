"""The methods of the transfer table: ways of using an encoder, and baselines, each with its candidates for tuning.

Every way that has anything to tune has `N_CANDIDATES` settings, so that none is tuned harder than another.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np

from model.classifier import Classifier
from model.encoder import Encoder
from model.freezing import freeze, freeze_all_but_last
from model.saved import TaskModel
from studies.baselines import classical as baselines
from training.corpus.frozen import FrozenTokens, pooled
from training.corpus.labelled import Labelled
from training.fitting.fit import fit, fit_network, random_encoder, sides, start_encoder
from training.fitting.inference import predict
from training.fitting.learning import learn
from training.parallel.distributed import start_processes
from training.recipes.finetuning import (
    FinetuneOptim,
    FinetuneRecipe,
    FinetuneRegularise,
    FinetuneSchedule,
    probe,
)
from training.recipes.sections import changed
from training.trainer.stopping import RESUME_EXIT

N_CANDIDATES = 3
Predict = Callable[[np.ndarray], np.ndarray]
"""Rows of the labelled windows -> class probabilities, float64, shape (n, n_classes)."""
Params = Mapping[str, Any]


class Bench:
    """What all methods work on; what is frozen is computed once."""

    def __init__(self, data: Labelled, encoder_dir: Path | None, logs: Path) -> None:
        self.data, self.encoder_dir, self.logs = data, encoder_dir, logs
        self.processes = start_processes("single")
        self._kept: dict[tuple[str, int], list[FrozenTokens]] = {}
        self._pooled: dict[tuple[str, int], np.ndarray] = {}
        self._numbers = count()

    @cached_property
    def stored_features(self) -> np.ndarray:
        """All features of the shards."""
        return baselines.stored_features(self.data.shards, self.data.windows)

    @cached_property
    def band_powers(self) -> np.ndarray:
        """Band powers alone."""
        return baselines.band_powers(self.data.shards, self.data.windows)

    def start(self, kind: str, seed: int) -> dict[str, Any]:
        """Return `training.fitting.fit.fit`'s arguments for the "pretrained" encoder, or a "random" one."""
        encoder, about = self.encoder(kind, seed)
        kept = self._kept.setdefault(self._of(kind, seed), [])
        return {"encoder": encoder, "pretraining": about, "kept": kept, **self.run("probe")}

    def encoder(self, kind: str, seed: int) -> tuple[Encoder, dict[str, Any]]:
        """Return the "pretrained" encoder, or one of its very shape with "random" weights of this seed."""
        pretrained, about = start_encoder(self.encoder_dir, seed=seed)
        return (pretrained, about) if kind == "pretrained" else random_encoder(pretrained.config, seed=seed)

    def run(self, name: str) -> dict[str, Any]:
        """Return the arguments that say where a fit runs and logs."""
        return {"processes": self.processes, "metrics": self.logs / f"{name}-{next(self._numbers)}.jsonl", "name": name}

    def pooled(self, kind: str, seed: int) -> np.ndarray:
        """Return the frozen encoder's pooled tokens of every labelled window, float32, shape (n, n_dims)."""
        key = self._of(kind, seed)
        if key not in self._pooled:
            encoder, _ = self.encoder(kind, seed)
            self._pooled[key] = pooled(self.data, encoder, self._kept.setdefault(key, []))
        return self._pooled[key]

    @staticmethod
    def _of(kind: str, seed: int) -> tuple[str, int]:
        return kind, seed if kind == "random" else 0

    def predictor(self, model: TaskModel | None) -> Predict:
        """Return the predictions of a fitted model; leaves the program where a signal stopped the fit."""
        if model is None:
            raise SystemExit(RESUME_EXIT)
        return lambda rows: predict(model, self.data.shards, self.data.windows[rows])[0]


@dataclass(frozen=True, kw_only=True)
class Method:
    """One way to get from labelled training windows to predictions."""

    fit: Callable[[Bench, np.ndarray, Params, int], Predict]
    """(bench, training rows, params, seed) -> predictions of any rows."""
    candidates: tuple[Params, ...] = ({},)
    seeded: bool = True
    """Whether the seed changes anything."""
    needs_encoder: bool = False
    """Whether a pretrained encoder is needed."""
    about: str = ""


def prior(bench: Bench, rows: np.ndarray, params: Params, seed: int) -> Predict:
    """Predict the mean training target, whatever the window."""
    mean = bench.data.targets[rows].astype(np.float64).mean(axis=0)
    return lambda test: np.tile(mean / mean.sum(), (len(test), 1))


def linear(kind: str) -> Callable[[Bench, np.ndarray, Params, int], Predict]:
    """Return a linear probe of the frozen encoder's pooled tokens."""
    return lambda bench, rows, params, seed: _logistic(bench, bench.pooled(kind, seed), rows, params)


def band_power_logistic(bench: Bench, rows: np.ndarray, params: Params, seed: int) -> Predict:
    """Fit a logistic regression to band powers."""
    return _logistic(bench, bench.band_powers, rows, params)


def feature_boosting(bench: Bench, rows: np.ndarray, params: Params, seed: int) -> Predict:
    """Fit gradient-boosted trees to all stored features."""
    x, data = bench.stored_features, bench.data
    model = baselines.fit_boosting(x, data, rows, seed=seed, **params)
    return lambda test: baselines.probabilities(model, x[test], len(data.task.classes))


def _logistic(bench: Bench, x: np.ndarray, rows: np.ndarray, params: Params) -> Predict:
    model = baselines.fit_logistic(x, bench.data, rows, **params)
    return lambda test: baselines.probabilities(model, x[test], len(bench.data.task.classes))


PROBE = changed(probe(), schedule={"epochs": 25, "patience": 5})
TUNE = FinetuneRecipe(
    optim=FinetuneOptim(micro_batch=16, encoder_lr_scale=1.0),
    schedule=FinetuneSchedule(epochs=4, patience=2),
    regularise=FinetuneRegularise(dropout=0.5),
)
SCRATCH = FinetuneRecipe(optim=FinetuneOptim(micro_batch=16), schedule=FinetuneSchedule(epochs=15, patience=5))


def head(bench: Bench, rows: np.ndarray, params: Params, seed: int) -> Predict:
    """Train the attention-pooling head on the frozen encoder."""
    return bench.predictor(_headed(bench, "pretrained", rows, _with(PROBE, seed, params)))


def last_block(bench: Bench, rows: np.ndarray, params: Params, seed: int) -> Predict:
    """Train the head, then head and last block together."""
    return _tuned(bench, "pretrained", rows, _with(TUNE, seed, params), freeze_all_but_last)


def full(kind: str) -> Callable[[Bench, np.ndarray, Params, int], Predict]:
    """Return training of the head, then of everything (Kumar et al. 2022: it distorts the features less)."""

    def fit_all(bench: Bench, rows: np.ndarray, params: Params, seed: int) -> Predict:
        return _tuned(bench, kind, rows, _with(TUNE, seed, params), lambda model: freeze(model, ()))

    return fit_all


def network(name: str) -> Callable[[Bench, np.ndarray, Params, int], Predict]:
    """Return training of a supervised network from scratch."""

    def fit_scratch(bench: Bench, rows: np.ndarray, params: Params, seed: int) -> Predict:
        recipe = _with(SCRATCH, seed, params)
        return bench.predictor(fit_network(bench.data, rows, recipe, network=name, options={}, **bench.run(name)))

    return fit_scratch


def _headed(bench: Bench, kind: str, rows: np.ndarray, recipe: FinetuneRecipe) -> Classifier | None:
    return fit(bench.data, rows, recipe, **bench.start(kind, recipe.seed))


def _tuned(
    bench: Bench, kind: str, rows: np.ndarray, recipe: FinetuneRecipe, open_up: Callable[[Classifier], None]
) -> Predict:
    model = _headed(bench, kind, rows, replace(PROBE, seed=recipe.seed))
    if model is not None:
        open_up(model)
        model = learn(model, bench.data, sides(bench.data, rows, recipe), recipe, **bench.run("tune"))
    return bench.predictor(model)


def _with(recipe: FinetuneRecipe, seed: int, params: Params) -> FinetuneRecipe:
    return replace(changed(recipe, **params), seed=seed)


def _rates(*rates: float, **sections: Params) -> tuple[Params, ...]:
    return tuple({"optim": {"learning_rate": rate}, **sections} for rate in rates)


_PENALTIES = tuple({"penalty": penalty} for penalty in (0.1, 1.0, 10.0))
_SCRATCH = (*_rates(1e-3, 3e-3, regularise={"dropout": 0.25}), *_rates(1e-3, regularise={"dropout": 0.5}))

METHODS: dict[str, Method] = {
    "prior": Method(fit=prior, seeded=False, about="the training side's mean target"),
    "linear-probe/random": Method(
        fit=linear("random"), candidates=_PENALTIES,
        about="logistic regression on pooled tokens of a frozen encoder with random weights",
    ),
    "linear-probe/pretrained": Method(
        fit=linear("pretrained"), candidates=_PENALTIES, seeded=False, needs_encoder=True,
        about="the same of the pretrained encoder",
    ),
    "head/pretrained": Method(
        fit=head, candidates=_rates(3e-4, 1e-3, 3e-3), needs_encoder=True,
        about="attention pooling and two layers on the frozen encoder",
    ),
    "last-block/pretrained": Method(
        fit=last_block, candidates=_rates(1e-4, 3e-4, 1e-3), needs_encoder=True,
        about="head, then head and last block",
    ),
    "full/pretrained": Method(
        fit=full("pretrained"), candidates=_rates(1e-4, 3e-4, 1e-3), needs_encoder=True,
        about="head, then the whole encoder",
    ),
    "full/random": Method(
        fit=full("random"), candidates=_rates(1e-4, 3e-4, 1e-3), about="the same from random weights",
    ),
    "eegnet": Method(fit=network("eegnet"), candidates=_SCRATCH, about="compact EEGNet-like network, from scratch"),
    "resnet-gru": Method(
        fit=network("resnet_gru"), candidates=_SCRATCH, about="ResNet1D + GRU + attention, from scratch",
    ),
    "band-power/logistic": Method(
        fit=band_power_logistic, candidates=_PENALTIES, seeded=False, about="logistic regression on band powers",
    ),
    "features/boosting": Method(
        fit=feature_boosting,
        candidates=(
            {"learning_rate": 0.05, "max_leaf_nodes": 8}, {"learning_rate": 0.15, "max_leaf_nodes": 8},
            {"learning_rate": 0.1, "max_leaf_nodes": 16},
        ),
        about="gradient-boosted trees on all stored features",
    ),
}  # fmt: skip
"""Methods by the name that predictions carry."""
DEFAULT = tuple(name for name in METHODS if name != "full/random")
