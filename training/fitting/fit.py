"""Fitting a task model on chosen rows: an encoder with a head, or a network, as a recipe says."""

from collections.abc import Mapping, Sequence
from copy import deepcopy
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch

from model.classifier import Classifier, new_classifier
from model.encoder import Encoder
from model.encoder_config import EncoderConfig
from model.freezing import freeze
from model.layers.adapters import add_adapters
from model.saved import TaskModel, load_encoder, load_task_model
from model.supervised.scalogram import ScalogramNet
from model.supervised.supervised import Supervised, new_network
from signals.bundles.metadata import detail_of
from signals.shards.normalise import Normaliser
from signals.version import code_version
from training.corpus.frozen import FrozenTokens
from training.corpus.labelled import Labelled
from training.corpus.splits import hold_out_subjects
from training.fitting.fitted_start import take_over
from training.fitting.inference import reads_spectrogram
from training.fitting.learning import learn
from training.fitting.spectra import Spectrograms
from training.parallel.distributed import Processes
from training.provenance import facts_of, seen_by
from training.recipes.finetuning import FinetuneRecipe
from training.recipes.model_shape import ENCODER
from training.recipes.pretraining import eeg_tiny

NOT_PRETRAINED: Mapping[str, Any] = {"train": [], "recordings": [], "sites": [], "recipe": None}
"""Facts of an encoder of random weights."""
UNKNOWN_PRETRAINING: Mapping[str, Any] = {"train": [], "recipe": None, "is_known": False}
"""Facts of an encoder whose folder does not list the data of its pretraining."""


def random_encoder(config: EncoderConfig, *, seed: int) -> tuple[Encoder, dict[str, Any]]:
    """Return an encoder of random weights, and that it was not pretrained."""
    torch.manual_seed(seed)
    return Encoder(config), dict(NOT_PRETRAINED)


def start_encoder(folder: Path | None, *, seed: int) -> tuple[Encoder, dict[str, Any]]:
    """Return an encoder and the facts of its pretraining; random weights of the demo's size without a folder.

    A folder of a fitted model, such as `release/six_class`, gives the encoder below its head, and whom it has seen.
    Raises ValueError for a network, which has none.
    """
    if folder is None:
        return random_encoder(eeg_tiny().model.encoder, seed=seed)
    facts = facts_of(folder)
    return load_encoder(folder), dict(UNKNOWN_PRETRAINING) if facts is None else facts


def begin_with(
    encoder: Path | None, start: Path | None, *, seed: int
) -> tuple[TaskModel | None, Encoder, dict[str, Any]]:
    """Return a fitted model to start from, if any, the encoder, and whom both have seen.

    Raises ValueError where both folders are given.
    """
    if start is None:
        return None, *start_encoder(encoder, seed=seed)
    if encoder is not None:
        raise ValueError("--start-from brings its own encoder; give --no-encoder beside it")
    model = load_task_model(start)
    own = model.encoder if isinstance(model, Classifier) else start_encoder(None, seed=seed)[0]
    return model, own, seen_by(model.config.provenance)


def listening(encoder: Encoder) -> Encoder:
    """Return the encoder with a way to listen to spectrograms; behind a closed gate, so that nothing changes at first.

    An encoder that was pretrained with one is returned as it is.
    """
    if "spectrogram" in encoder.config.fusion:
        return encoder
    config = deepcopy(encoder.config)
    config.fusion = [*config.fusion, "spectrogram"]
    more = Encoder(config)
    missing, unexpected = more.load_state_dict(encoder.state_dict(), strict=False)
    assert not unexpected
    assert all(name.startswith("spectrogram.") for name in missing)
    return more


def fit(
    data: Labelled,
    chosen: np.ndarray,
    recipe: FinetuneRecipe,
    *,
    encoder: Encoder,
    pretraining: Mapping[str, Any],
    processes: Processes,
    metrics: Path,
    name: str,
    kept: list[FrozenTokens] | None = None,
    exchange: Path | None = None,
    spectra: Spectrograms | None = None,
    checkpoints: Path | None = None,
    start: TaskModel | None = None,
) -> Classifier | None:
    """Return a classifier trained on chosen rows of `data`; None if a signal stopped the run.

    checkpoints: as in `training.fitting.learning.learn`.
    kept: tokens of this very encoder, frozen, from earlier fits; used, and added to, where normalisers agree.
    exchange: folder in which processes leave such tokens for each other (`training.corpus.frozen`).
    spectra: kept spectrograms of these shards, where the recipe wants them.
    start: a fitted classifier of this encoder, whose head is taken over too; raises ValueError where it does not fit.

    Some of the training subjects choose the epoch; no other window has any influence.
    """
    train, valid = sides(data, chosen, recipe)
    torch.manual_seed(recipe.seed)  # the head's weights
    classifier = new_classifier(
        listening(encoder) if recipe.model.spectrogram else encoder,
        data.task,
        data.shards.manifest.modality,
        _normaliser(data, train, recipe),
        dropout=recipe.regularise.dropout,
        profile=data.shards.manifest.profile,
        provenance=_provenance(data, chosen, recipe, pretraining),
    )
    if start is not None:
        take_over(classifier, start)
    classifier.encoder.drop_paths(recipe.regularise.drop_path)
    if recipe.model.adapter:
        add_adapters(classifier, kind=recipe.model.adapter, rank=recipe.model.adapter_rank)
    frozen = _frozen(data, recipe, classifier, [] if kept is None else kept, exchange)
    if start is None:
        _standardise(classifier, data, train, frozen)
    freeze(classifier, recipe.regularise.freeze)
    if recipe.model.spectrogram:
        for parameter in classifier.encoder.spectrogram.parameters():
            parameter.requires_grad_(True)
    return learn(
        classifier, data, (train, valid), recipe, processes=processes, metrics=metrics, name=name, frozen=frozen,
        spectra=spectra, checkpoints=checkpoints,
    )  # fmt: skip


def fit_network(
    data: Labelled,
    chosen: np.ndarray,
    recipe: FinetuneRecipe,
    *,
    network: str,
    options: Mapping[str, Any],
    processes: Processes,
    metrics: Path,
    name: str,
    spectra: Spectrograms | None = None,
    checkpoints: Path | None = None,
    start: TaskModel | None = None,
    pretraining: Mapping[str, Any] = NOT_PRETRAINED,
) -> Supervised | None:
    """Return a network of `model.supervised.supervised` trained on chosen rows; None if a signal stopped the run.

    spectra: kept spectrograms of these shards, for networks that read them. checkpoints: as in
    `training.fitting.learning.learn`. start: a fitted model of the same network, whose weights are taken over, with
    `pretraining`, whom it has seen; raises ValueError where it does not fit.
    """
    train, valid = sides(data, chosen, recipe)
    check_kept(data.shards.manifest.kept_details, recipe.model.metadata)
    if recipe.model.metadata:
        options = {**options, "fields": list(recipe.model.metadata)}
    torch.manual_seed(recipe.seed)
    model = new_network(
        network,
        data.task,
        data.shards.manifest.modality,
        _normaliser(data, train, recipe),
        dropout=recipe.regularise.dropout,
        profile=data.shards.manifest.profile,
        provenance=_provenance(data, chosen, recipe, pretraining),
        weights=Path(recipe.model.weights) if recipe.model.weights else None,
        view=recipe.model.view,
        **options,
    )
    if reads_spectrogram(model):
        spectra = spectra or Spectrograms(data.shards)
    if start is not None:
        take_over(model, start)
    elif reads_spectrogram(model):
        assert spectra is not None
        model.network.standardise(torch.from_numpy(spectra.batch(data.windows[_some(train)])))
    elif isinstance(model.network, ScalogramNet):
        shown = data.shards.batch(data.windows[_some(train)], model.normaliser)
        x_BCT, ch_state_BC = torch.from_numpy(shown.x_BCT), torch.from_numpy(shown.ch_state_BC)
        model.network.standardise(model.view(x_BCT, ch_state_BC))
    return learn(
        model, data, (train, valid), recipe, processes=processes, metrics=metrics, name=name, spectra=spectra,
        checkpoints=checkpoints,
    )  # fmt: skip


def check_kept(kept: Sequence[str], fields: Sequence[str]) -> None:
    """Raise ValueError for a field of the person that the shards were not requested to keep."""
    if missing := [detail_of(name) for name in fields if detail_of(name) not in kept]:
        raise ValueError(
            f"the shards hold no {', '.join(missing)}: write them with preprocess --keep "
            f"{','.join(dict.fromkeys([*kept, *missing]))}, or leave it out of --model.metadata"
        )


class Fitting:
    """What fits of one data set share: the encoder they start from, and what is computed once.

    Nothing of it is fitted: tokens of a frozen encoder and spectrograms depend on single windows alone.
    """

    def __init__(
        self,
        data: Labelled,
        encoder_dir: Path | None,
        *,
        seed: int,
        processes: Processes,
        exchange: Path | None = None,
        start: Path | None = None,
    ) -> None:
        """Take an encoder's folder, or None for random weights; exchange: as in `fit`.

        start: folder of a fitted model that all fits start from, instead of an encoder's; raises ValueError for both.
        """
        self.data, self.processes, self._exchange = data, processes, exchange
        self.start, self.encoder, self.pretraining = begin_with(encoder_dir, start, seed=seed)
        self._kept: list[FrozenTokens] = []
        self._spectra = Spectrograms(data.shards)

    def fit(self, chosen: np.ndarray, recipe: FinetuneRecipe, *, metrics: Path, name: str) -> TaskModel | None:
        """Return the recipe's model, trained on chosen rows; None if a signal stopped the run.

        The state of a stopped run lies beside the metrics; the same call goes on from there. Raises ValueError where it
        is another fit's.
        """
        shared = {
            "processes": self.processes, "metrics": metrics, "name": name, "spectra": self._spectra,
            "checkpoints": metrics.with_suffix(".checkpoints"), "start": self.start,
        }  # fmt: skip
        if recipe.model.name == ENCODER:
            own = {
                "encoder": self.encoder, "pretraining": self.pretraining, "kept": self._kept,
                "exchange": self._exchange,
            }  # fmt: skip
            return fit(self.data, chosen, recipe, **own, **shared)  # type: ignore[arg-type]
        own = {"network": recipe.model.name, "options": {}}
        if self.start is not None:
            own["pretraining"] = self.pretraining
        return fit_network(self.data, chosen, recipe, **own, **shared)  # type: ignore[arg-type]


def sides(data: Labelled, chosen: np.ndarray, recipe: FinetuneRecipe) -> tuple[np.ndarray, np.ndarray]:
    """Return the chosen rows that are trained on, and those whose subjects choose the epoch."""
    train, valid = hold_out_subjects(
        data.subjects[chosen], data.labels[chosen], share=recipe.data.validation_share, seed=recipe.seed
    )
    return chosen[train], chosen[valid]


def _some(train: np.ndarray, *, most: int = 256) -> np.ndarray:
    """Return up to `most` training rows, evenly chosen."""
    return np.asarray(train[np.unique(np.linspace(0, len(train) - 1, most).astype(int))])


def _standardise(classifier: Classifier, data: Labelled, train: np.ndarray, frozen: FrozenTokens | None) -> None:
    """Show the head some training windows before it learns."""
    tokens = frozen or FrozenTokens(data.shards, classifier)
    windows = data.windows[_some(train)]
    classifier.eval()
    with torch.no_grad():
        features = []
        for start in range(0, len(windows), 16):
            chosen = windows[start : start + 16]
            tokens_BCND, ch_state_BC = tokens.batch(classifier, chosen, [False] * len(chosen))
            features.append(classifier.features(tokens_BCND, ch_state_BC))
        classifier.head.standardise(torch.cat(features))


def _frozen(
    data: Labelled, recipe: FinetuneRecipe, classifier: Classifier, kept: list[FrozenTokens], exchange: Path | None
) -> FrozenTokens | None:
    """Return a store of tokens where the encoder is frozen, nothing but mirroring changes windows, and they fit."""
    learns = bool(recipe.model.adapter) and "adapter" not in recipe.regularise.freeze
    learns |= reads_spectrogram(classifier)
    if recipe.augment.changes_samples or learns or not {"stem", "trunk"} <= set(recipe.regularise.freeze):
        return None
    if not FrozenTokens.fit_in_memory(data.shards, classifier, len(data.windows)):
        return None
    for tokens in kept:
        if tokens.normaliser == classifier.normaliser:
            return tokens
    kept.append(FrozenTokens(data.shards, classifier, exchange=exchange))
    return kept[-1]


def _normaliser(data: Labelled, train: np.ndarray, recipe: FinetuneRecipe) -> Normaliser:
    subjects = data.shards.manifest.subjects
    names = sorted(set(data.subjects[train]))
    return Normaliser.fit(
        recipe.data.normalisation,
        {s: subjects[s].moments for s in names},
        {s: subjects[s].site_id for s in names},
        names,
        sensor_types=data.shards.manifest.modality.sensor_types,
    )


def _provenance(
    data: Labelled, chosen: np.ndarray, recipe: FinetuneRecipe, pretraining: Mapping[str, Any]
) -> dict[str, Any]:
    return fitted_to(data, chosen, recipe) | pretraining_meta(pretraining)


def fitted_to(data: Labelled, chosen: np.ndarray, recipe: FinetuneRecipe) -> dict[str, Any]:
    """Return what a model's provenance states of its fitting: recipe, code, shards, subjects and recordings.

    chosen: rows of `data` that it was fitted to.
    """
    return {
        "recipe": asdict(recipe),
        "manifest_digest": data.shards.manifest.digest,
        "config_hash": data.shards.manifest.config_hash,
        "code_version": code_version(),
        "salt_id": data.shards.manifest.salt_id,
        "label_source": data.shards.manifest.label_source,
        "train_subjects": sorted(set(data.subjects[chosen].tolist())),
        "train_recordings": sorted(set(data.recordings[chosen].tolist())),
    }


def pretraining_meta(pretraining: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a model's provenance and its predictions state of pretraining (`evaluation.schemas.origin`).

    `pretraining` is the content of SUBJECTS_FILE. What it does not hold is left out or None, so that it counts as not
    known.
    """
    meta = {
        "pretrain_subjects": list(pretraining["train"]) if pretraining.get("is_known", True) else None,
        "pretrain_manifest_digest": pretraining.get("manifest_digest"),
    }
    named = {"pretrain_recordings": "recordings", "pretrain_sites": "sites", "pretrain_salt_id": "salt_id"}
    return meta | {name: pretraining[key] for name, key in named.items() if key in pretraining}
