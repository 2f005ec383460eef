"""The models that studies compare: ways of using an encoder, and baselines, each with its candidates for tuning.

Every one that has anything to tune has `N_CANDIDATES` settings, so that none is tuned harder than another.
"""

from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np

from model.classifier import Classifier
from model.freezing import freeze, freeze_all_but_last
from signals.modality import EEG_1020
from studies.baselines import classical as baselines
from studies.baselines.patterns import fit_extra_trees
from studies.engine.bench import Bench, Fitted, Method, Params, Predict
from training.corpus.labelled import Labelled
from training.fitting.fit import fit, fit_network, sides
from training.fitting.learning import learn
from training.recipes.finetuning import (
    FROZEN,
    FinetuneAugment,
    FinetuneOptim,
    FinetuneRecipe,
    FinetuneRegularise,
    FinetuneSchedule,
    probe,
)
from training.recipes.model_shape import TaskModelShape
from training.recipes.sections import changed

N_CANDIDATES = 3
PATTERN_S = 30.0
"""Shortest window that `signals.patterns.features` reads, seconds."""


def prior(bench: Bench, rows: np.ndarray, params: Params, seed: int) -> Predict:
    """Predict the mean training target, whatever the window."""
    mean = bench.data.targets[rows].astype(np.float64).mean(axis=0)
    return lambda test: np.tile(mean / mean.sum(), (len(test), 1))


def uniform(bench: Bench, rows: np.ndarray, params: Params, seed: int) -> Predict:
    """Predict every class alike: what knows nothing, not even which classes are frequent."""
    n_classes = len(bench.data.task.classes)
    return lambda test: np.full((len(test), n_classes), 1 / n_classes)


def linear(kind: str) -> Callable[[Bench, np.ndarray, Params, int], Fitted]:
    """Return a linear probe of the frozen encoder's pooled tokens."""

    def fit_probe(bench: Bench, rows: np.ndarray, params: Params, seed: int) -> Fitted:
        encoder, _ = bench.encoder(kind, seed)
        return _logistic(bench, bench.pooled(kind, seed), rows, params, n_frozen=_size(encoder))

    return fit_probe


def band_power_logistic(bench: Bench, rows: np.ndarray, params: Params, seed: int) -> Fitted:
    """Fit a logistic regression to band powers."""
    return _logistic(bench, bench.band_powers, rows, params)


def log_spectra_logistic(bench: Bench, rows: np.ndarray, params: Params, seed: int) -> Fitted:
    """Fit a logistic regression to log spectra in the encoder's pooling."""
    return _logistic(bench, bench.log_spectra, rows, params)


def pattern_logistic(bench: Bench, rows: np.ndarray, params: Params, seed: int) -> Fitted:
    """Fit a logistic regression to pattern features, held within 1% and 99% of the training rows."""
    x = bench.patterns[1]
    return _logistic(bench, np.clip(x, *np.quantile(x[rows], [0.01, 0.99], axis=0)), rows, params)


def pattern_trees(bench: Bench, rows: np.ndarray, params: Params, seed: int) -> Predict:
    """Fit extra trees to pattern features."""
    x, data = bench.patterns[1], bench.data
    model = fit_extra_trees(x, data, rows, seed=seed, **params)
    return lambda test: baselines.probabilities(model, x[test], len(data.task.classes))


def patterns_exist(data: Labelled) -> bool:
    """Return whether windows have pattern features: the 10-20 electrodes, for long enough."""
    manifest = data.shards.manifest
    return (
        manifest.modality.ch_names == EEG_1020.ch_names and data.shards.n_times >= PATTERN_S * manifest.modality.sfreq
    )


def feature_boosting(bench: Bench, rows: np.ndarray, params: Params, seed: int) -> Predict:
    """Fit gradient-boosted trees to all stored features."""
    x, data = bench.stored_features, bench.data
    model = baselines.fit_boosting(x, data, rows, seed=seed, **params)
    return lambda test: baselines.probabilities(model, x[test], len(data.task.classes))


def _logistic(bench: Bench, x: np.ndarray, rows: np.ndarray, params: Params, *, n_frozen: int = 0) -> Fitted:
    model, n_classes = baselines.fit_logistic(x, bench.data, rows, **params), len(bench.data.task.classes)
    n_learnt = baselines.n_learnt(model)
    return Fitted(
        predict=lambda test: baselines.probabilities(model, x[test], n_classes),
        n_parameters=n_frozen + n_learnt, n_learnt=n_learnt,
    )  # fmt: skip


def _size(module: Any) -> int:
    return sum(p.numel() for p in module.parameters())


PROBE = changed(probe(), schedule={"epochs": 25, "patience": 5})
TUNE = FinetuneRecipe(
    optim=FinetuneOptim(micro_batch=16, encoder_lr_scale=1.0),
    schedule=FinetuneSchedule(epochs=4, patience=2),
    regularise=FinetuneRegularise(dropout=0.5),
)
SCRATCH = FinetuneRecipe(optim=FinetuneOptim(micro_batch=16), schedule=FinetuneSchedule(epochs=15, patience=5))
ADAPT = FinetuneRecipe(
    model=TaskModelShape(adapter="lora"),
    optim=FinetuneOptim(micro_batch=16),
    schedule=FinetuneSchedule(epochs=8, patience=3),
    regularise=FinetuneRegularise(freeze=FROZEN, dropout=0.5),
    augment=FinetuneAugment(drop_channels=0.0),
)


def head(bench: Bench, rows: np.ndarray, params: Params, seed: int) -> Fitted:
    """Train the attention-pooling head on the frozen encoder."""
    return bench.predictor(_fitted(bench, "pretrained", rows, _with(bench, PROBE, seed, params)))


def adapted(bench: Bench, rows: np.ndarray, params: Params, seed: int) -> Fitted:
    """Train low-rank adapters in the frozen encoder's blocks, and the head."""
    return bench.predictor(_fitted(bench, "pretrained", rows, _with(bench, ADAPT, seed, params)))


def encoder_scratch(bench: Bench, rows: np.ndarray, params: Params, seed: int) -> Fitted:
    """Train the encoder and its head end to end from random weights, as long as the networks."""
    recipe = changed(
        _with(bench, SCRATCH, seed, params), optim={"encoder_lr_scale": 1.0}, schedule={"warmup_steps": 30}
    )
    return bench.predictor(_fitted(bench, "random", rows, changed(recipe, regularise={"drop_path": 0.1})))


def last_block(bench: Bench, rows: np.ndarray, params: Params, seed: int) -> Fitted:
    """Train the head, then head and last block together."""
    return _tuned(bench, "pretrained", rows, _with(bench, TUNE, seed, params), freeze_all_but_last)


def full(kind: str) -> Callable[[Bench, np.ndarray, Params, int], Fitted]:
    """Return training of the head, then of everything (Kumar et al. 2022: it distorts the features less)."""

    def fit_all(bench: Bench, rows: np.ndarray, params: Params, seed: int) -> Fitted:
        return _tuned(bench, kind, rows, _with(bench, TUNE, seed, params), lambda model: freeze(model, ()))

    return fit_all


def network(name: str) -> Callable[[Bench, np.ndarray, Params, int], Fitted]:
    """Return training of a supervised network from scratch."""

    def fit_scratch(bench: Bench, rows: np.ndarray, params: Params, seed: int) -> Fitted:
        recipe = _with(bench, SCRATCH, seed, params)
        return bench.predictor(fit_network(bench.data, rows, recipe, network=name, options={}, **bench.run(name)))

    return fit_scratch


def by_recipe(recipe: FinetuneRecipe, *, folder: Callable[[Bench], Path], label: str = "") -> Method:
    """Return training by a recipe from the fold's encoder, or of the network that it names; the fitted model is kept.

    folder: where the model of the fit that is under way stays. label: stands before the fold in logs.
    """

    def fit_recipe(bench: Bench, rows: np.ndarray, params: Params, seed: int) -> Fitted:
        seeded, kept = replace(recipe, seed=seed), folder(bench)
        name = f"{label}without {bench.unit.fold}"
        model = bench.fitting.fit(rows, seeded, metrics=kept.with_suffix(".jsonl"), name=name)
        if model is not None:
            model.save_pretrained(kept)
        return bench.predictor(model, recipe=asdict(seeded))

    return Method(fit=fit_recipe, about=f"by a recipe: {recipe.model.name}")


def _fitted(bench: Bench, kind: str, rows: np.ndarray, recipe: FinetuneRecipe) -> Classifier | None:
    return fit(bench.data, rows, recipe, **bench.start(kind, recipe.seed))


def _tuned(
    bench: Bench, kind: str, rows: np.ndarray, recipe: FinetuneRecipe, open_up: Callable[[Classifier], None]
) -> Fitted:
    model = _fitted(bench, kind, rows, _with(bench, PROBE, recipe.seed, {}))
    if model is not None:
        open_up(model)
        model = learn(model, bench.data, sides(bench.data, rows, recipe), recipe, **bench.run("tune"))
    return bench.predictor(model)


def _with(bench: Bench, recipe: FinetuneRecipe, seed: int, params: Params) -> FinetuneRecipe:
    return replace(changed(bench.recipe(recipe), **params), seed=seed)


def _rates(*rates: float, **sections: Params) -> tuple[Params, ...]:
    return tuple({"optim": {"learning_rate": rate}, **sections} for rate in rates)


_PENALTIES = tuple({"penalty": penalty} for penalty in (0.1, 1.0, 10.0))
_SCRATCH = (*_rates(1e-3, 3e-3, regularise={"dropout": 0.25}), *_rates(1e-3, regularise={"dropout": 0.5}))
_SCRATCH_ENCODER = (*_rates(5e-4, 1e-3, regularise={"dropout": 0.25}), *_rates(1e-3, regularise={"dropout": 0.5}))
"""Lower than the networks' (docs/encoder.md)."""

METHODS: dict[str, Method] = {
    "prior": Method(fit=prior, seeded=False, about="the training side's mean target"),
    "uniform": Method(fit=uniform, seeded=False, about="every class alike"),
    "linear-probe/random": Method(
        fit=linear("random"), candidates=_PENALTIES,
        about="logistic regression on pooled tokens of a frozen encoder with random weights",
    ),
    "linear-probe/pretrained": Method(
        fit=linear("pretrained"), candidates=_PENALTIES, seeded=False, needs_encoder=True,
        about="the same of the pretrained encoder",
    ),
    "head/pretrained": Method(
        fit=head, candidates=_rates(1e-3, 2e-3, 6e-3), needs_encoder=True,
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
    "adapters/pretrained": Method(
        fit=adapted, candidates=_rates(3e-4, 1e-3, 3e-3), needs_encoder=True,
        about="low-rank adapters in the frozen encoder, and the head",
    ),
    "full/random": Method(
        fit=full("random"), candidates=_rates(1e-4, 3e-4, 1e-3), about="head, then everything, from random weights",
    ),
    "scratch/encoder": Method(
        fit=encoder_scratch, candidates=_SCRATCH_ENCODER, about="the encoder end to end from random weights",
    ),
    "eegnet": Method(fit=network("eegnet"), candidates=_SCRATCH, about="compact EEGNet-like network, from scratch"),
    "resnet-gru": Method(
        fit=network("resnet_gru"), candidates=_SCRATCH, about="ResNet1D + GRU + attention, from scratch",
    ),
    "efficientnet": Method(
        fit=network("efficientnet_scalogram"), candidates=_SCRATCH,
        about="EfficientNet on the window's own power, from scratch",
    ),
    "band-power/logistic": Method(
        fit=band_power_logistic, candidates=_PENALTIES, seeded=False, reads=baselines.has_band_powers,
        about="logistic regression on band powers",
    ),
    "log-spectra/logistic": Method(
        fit=log_spectra_logistic, candidates=_PENALTIES, seeded=False,
        about="logistic regression on 83 log-spectral lines in the encoder's pooling, no weights",
    ),
    "patterns/logistic": Method(
        fit=pattern_logistic, candidates=_PENALTIES, seeded=False, reads=patterns_exist,
        about="logistic regression on pattern features",
    ),
    "patterns/extra-trees": Method(
        fit=pattern_trees, candidates=tuple({"min_leaf": n} for n in (1, 3, 9)),
        reads=patterns_exist, about="extra trees on pattern features",
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
TRIVIAL = ("prior", "uniform")
"""What needs no look at a window: the floor of every table."""
COSTLY = ("adapters/pretrained", "full/random", "scratch/encoder", "efficientnet", "patterns/extra-trees")
DEFAULT = tuple(name for name in METHODS if name not in COSTLY)
