"""What the models of a study work on: one data set, its encoders, and what is computed of them once."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np

from model.encoder import Encoder
from model.saved import TaskModel
from studies.baselines import classical, patterns, spectra
from training.command import overridden
from training.corpus.frozen import FrozenTokens, pooled
from training.corpus.labelled import Labelled
from training.fitting.fit import NOT_PRETRAINED, Fitting, begin_with, pretraining_meta, random_encoder, start_encoder
from training.fitting.inference import predict
from training.parallel.distributed import start_processes
from training.recipes.finetuning import FinetuneRecipe, tiny_form
from training.trainer.stopping import RESUME_EXIT

Predict = Callable[[np.ndarray], np.ndarray]
"""Rows of the labelled windows -> class probabilities, float64, shape (n, n_classes); nan where there is no answer."""
Params = Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Fitted:
    """Predictions of a fitted model, and what a table states of it."""

    predict: Predict
    n_parameters: int | None = None
    """Numbers that the whole model holds; None where they are not counted (trees)."""
    n_learnt: int | None = None
    """Of them, how many were fitted to labels."""
    facts: dict[str, Any] = field(default_factory=dict)
    """Further entries for the predictions' metadata, as JSON takes them; complete once all was predicted."""

    def __call__(self, rows: np.ndarray) -> np.ndarray:
        """Return the probabilities of rows."""
        return self.predict(rows)


@dataclass(frozen=True, kw_only=True)
class Unit:
    """The fit that is under way."""

    model: str = ""
    fold: str = ""
    what: str = ""
    """"seed0", or a setting that is tried: "tuned-0-fold1"."""


class Bench:
    """One per process. What is frozen is computed once; nothing here is fitted to labels."""

    def __init__(
        self,
        data: Labelled,
        encoder_dir: Path | None,
        logs: Path,
        *,
        encoders: Mapping[str, Path] | None = None,
        variants: Mapping[str, Sequence[Path]] | None = None,
        settings: Sequence[str] = (),
        tiny: bool = False,
        seed: int = 0,
        exchange: Path | None = None,
        start: Path | None = None,
        prog: str = "studies",
    ) -> None:
        """Take an encoder for all folds, or `encoders` that were pretrained without a fold, by its name.

        variants: further encoders by name, one per seed. settings: options of recipes, `--schedule.epochs 3`, which
        all models that train by a recipe follow; tiny: in its tiny form. logs: where fits log, and keep the state of an
        interrupted one. exchange: folder in which processes leave tokens of frozen encoders for each other. start:
        folder of a fitted model that fits by a recipe start from.
        """
        self.data, self.logs, self.seed, self.settings, self.prog = data, logs, seed, tuple(settings), prog
        self.start_dir = start
        self._tiny, self.processes, self._exchange = tiny, start_processes("single"), exchange
        self.unit = Unit()
        self._encoder_dir, self._encoders, self._variants = encoder_dir, dict(encoders or {}), dict(variants or {})
        self._kept: dict[tuple[str, int, Path | None], list[FrozenTokens]] = {}
        self._pooled: dict[tuple[str, int, Path | None], np.ndarray] = {}
        self._fittings: dict[Path | None, Fitting] = {}
        self._numbers = count()

    def begin(self, unit: Unit) -> None:
        """Start a fit: its stages log, and are resumed, under its own name."""
        self.unit, self._numbers = unit, count()

    @property
    def encoder_dir(self) -> Path | None:
        """The encoder of the fold that is under way."""
        return self._encoders.get(self.unit.fold, self._encoder_dir)

    @cached_property
    def stored_features(self) -> np.ndarray:
        """All features of the shards."""
        return classical.stored_features(self.data.shards, self.data.windows)

    @cached_property
    def band_powers(self) -> np.ndarray:
        """Band powers alone."""
        return classical.band_powers(self.data.shards, self.data.windows)

    @cached_property
    def log_spectra(self) -> np.ndarray:
        """Log spectra in the encoder's pooling."""
        return spectra.log_spectra(self.data)

    @cached_property
    def patterns(self) -> tuple[tuple[str, ...], np.ndarray]:
        """Names and values of the pattern features of all rows; kept on disk beside the logs."""
        return patterns.pattern_table(self.data.shards, self.data.windows, keep=self.logs.parent / "patterns.npz")

    @property
    def fitting(self) -> Fitting:
        """Fits by a recipe that start from the fold's encoder."""
        return self._fitting(self.encoder_dir)

    @property
    def final_fitting(self) -> Fitting:
        """Fits that leave nothing out: they start from the encoder of all folds."""
        return self._fitting(self._encoder_dir)

    def _fitting(self, folder: Path | None) -> Fitting:
        if folder not in self._fittings:
            self._fittings[folder] = Fitting(
                self.data, folder, seed=self.seed, processes=self.processes, exchange=self._exchange,
                start=self.start_dir,
            )  # fmt: skip
        return self._fittings[folder]

    def pretraining(self) -> dict[str, Any]:
        """Return the facts of pretraining that hold for all folds; of encoders per fold, nothing of the test side."""
        return (
            dict(NOT_PRETRAINED) if self._encoders else begin_with(self._encoder_dir, self.start_dir, seed=self.seed)[2]
        )

    def pretraining_without(self, fold: str) -> dict[str, Any]:
        """Return what a fold's own encoder was pretrained on, for the fold's metadata; nothing where all share one."""
        if fold not in self._encoders:
            return {}
        return pretraining_meta(start_encoder(self._encoders[fold], seed=self.seed)[1])

    def recipe(self, recipe: FinetuneRecipe) -> FinetuneRecipe:
        """Return a recipe with the study's settings taken over."""
        recipe = tiny_form(recipe) if self._tiny else recipe
        return overridden(recipe, self.settings, prog=self.prog) if self.settings else recipe

    def start(self, kind: str, seed: int) -> dict[str, Any]:
        """Return `training.fitting.fit.fit`'s arguments for an encoder of a kind: "pretrained", "random", a variant."""
        encoder, about = self.encoder(kind, seed)
        kept = self._kept.setdefault(self._of(kind, seed), [])
        return {
            "encoder": encoder, "pretraining": about, "kept": kept, "exchange": self._exchange, **self.run("probe"),
        }  # fmt: skip

    def encoder(self, kind: str, seed: int) -> tuple[Encoder, dict[str, Any]]:
        """Return the "pretrained" encoder, one of its very shape with "random" weights of this seed, or a variant."""
        if kind in self._variants:
            return start_encoder(self._variants[kind][seed - self.seed], seed=seed)
        pretrained, about = start_encoder(self.encoder_dir, seed=seed)
        return (pretrained, about) if kind == "pretrained" else random_encoder(pretrained.config, seed=seed)

    def run(self, name: str) -> dict[str, Any]:
        """Return the arguments that say where a fit runs, logs, and keeps its state for a resume."""
        unit = self.unit
        metrics = self.logs / folder_name(unit.model) / unit.fold / unit.what / f"{name}-{next(self._numbers)}.jsonl"
        return {
            "processes": self.processes, "metrics": metrics, "name": name,
            "checkpoints": metrics.with_suffix(".checkpoints"),
        }  # fmt: skip

    def pooled(self, kind: str, seed: int) -> np.ndarray:
        """Return the frozen encoder's pooled tokens of every labelled window, float32, shape (n, n_dims)."""
        key = self._of(kind, seed)
        if key not in self._pooled:
            encoder, _ = self.encoder(kind, seed)
            self._pooled[key] = pooled(self.data, encoder, self._kept.setdefault(key, []))
        return self._pooled[key]

    def _of(self, kind: str, seed: int) -> tuple[str, int, Path | None]:
        is_one = kind == "pretrained" and kind not in self._variants
        return kind, 0 if is_one else seed, self.encoder_dir

    def predictor(self, model: TaskModel | None, **facts: Any) -> Fitted:
        """Return the predictions of a fitted model; leaves the program where a signal stopped the fit."""
        if model is None:
            raise SystemExit(RESUME_EXIT)
        return Fitted(
            predict=lambda rows: predict(model, self.data.shards, self.data.windows[rows])[0],
            n_parameters=sum(p.numel() for p in model.parameters()),
            n_learnt=sum(p.numel() for p in model.parameters() if p.requires_grad),
            facts=facts,
        )


@dataclass(frozen=True, kw_only=True)
class Method:
    """One way to get from labelled training windows to predictions."""

    fit: Callable[[Bench, np.ndarray, Params, int], Predict | Fitted]
    """(bench, training rows, params, seed) -> predictions of any rows."""
    candidates: tuple[Params, ...] = ({},)
    """Settings, of which each fold takes the best on its training side."""
    seeded: bool = True
    """Whether the seed changes anything."""
    needs_encoder: bool = False
    """Whether a pretrained encoder is needed."""
    n_subjects: int = 0
    """Training subjects that it may see, drawn by the seed; 0 for all."""
    may_refuse: bool = False
    """Whether it may leave windows without an answer, which then have no row."""
    reads: Callable[[Labelled], bool] = lambda data: True
    """Whether it can read such windows; a study leaves it out where not."""
    about: str = ""


def folder_name(model: str) -> str:
    """Return a model's name as that of one folder."""
    return model.replace("/", "--")
