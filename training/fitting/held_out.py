"""Who a changed model may be trained on and who it is measured on, and how well it does there."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from evaluation.measures.metrics import balanced_accuracy, confusion_matrix, kl_rows, predicted_shares
from evaluation.measures.multilabel import balanced_decisions, binary_loss
from model.saved import TaskModel
from training.corpus.labelled import Labelled
from training.fitting.inference import predict
from training.provenance import pretraining_of


@dataclass(frozen=True, kw_only=True)
class Score:
    """How well a model does on people it was not trained on."""

    balanced_accuracy: float
    kl: float
    """Mean KL(target || model), nats; of a multi-label task the mean over classes, each for itself."""
    n_windows: int


@dataclass(frozen=True, kw_only=True)
class Seen:
    """Whom a model was trained on, as far as that is listed, and what its encoder was pretrained on."""

    name: str
    """What the model is called in messages."""
    subjects: frozenset[str] = field(repr=False)
    recordings: frozenset[str] = field(repr=False)
    """Digests of files, the same under every salt; empty where they are not listed."""
    salts: frozenset[str]
    pretraining: Mapping[str, Any] = field(repr=False)
    """Entries "pretrain_*" of `evaluation.schemas.origin`."""

    @classmethod
    def of(cls, about: Mapping[str, Any], *, name: str) -> "Seen":
        """Return what a model's provenance, or a fold, states; raises ValueError where it lists nobody."""
        subjects, recordings = (frozenset(about.get(key) or ()) for key in ("train_subjects", "train_recordings"))
        if not subjects and not recordings:
            raise ValueError(f"{name} does not list whom it was trained on, so nobody here can count as unseen by it")
        return cls(
            name=name,
            subjects=subjects,
            recordings=recordings,
            salts=salts_of(str(about.get("salt_id") or "")),
            pretraining={key: value for key, value in about.items() if key.startswith("pretrain_")},
        )


def seen_together(models: Sequence[Seen]) -> dict[str, Any]:
    """Return what the provenance of a model that learnt from all of these states of training and pretraining.

    "train_recordings" is left out, and counts as not known, where one of them does not list its own.
    """
    together: dict[str, Any] = {
        "train_subjects": sorted({name for seen in models for name in seen.subjects}),
        "salt_id": "+".join(sorted({salt for seen in models for salt in seen.salts})),
        **pretraining_of([seen.pretraining for seen in models]),
    }
    if all(seen.recordings for seen in models):
        together["train_recordings"] = sorted({name for seen in models for name in seen.recordings})
    return together


def with_seen(provenance: Mapping[str, Any], models: Sequence[Seen]) -> dict[str, Any]:
    """Return a model's provenance with what all of `models` have seen in the place of what it states of that."""
    others = {key: value for key, value in provenance.items() if key != "train_recordings"}
    return others | seen_together(models)


def learnt_from(data: Labelled, rows: np.ndarray, pretraining: Mapping[str, Any], *, name: str) -> Seen:
    """Return whom a model has seen that learns from rows, and was pretrained before."""
    return Seen(
        name=name,
        subjects=frozenset(data.subjects[rows].tolist()),
        recordings=frozenset(data.recordings[rows].tolist()),
        salts=salts_of(data.shards.manifest.salt_id),
        pretraining=pretraining,
    )


def salts_of(salt_id: str) -> frozenset[str]:
    """Return the salts of an entry "salt_id", which joins several by "+"; "" is the one of ids that are not hashed."""
    return frozenset(salt_id.split("+"))


def known_subjects(data: Labelled, models: Iterable[Seen]) -> set[str]:
    """Return the subjects of `data` whom one of the models was trained on, known by their ids or by a recording.

    Raises ValueError where neither can be compared: ids of another salt, and no list of recordings.
    """
    known: set[str] = set()
    for seen in models:
        if not seen.recordings and seen.salts != salts_of(data.shards.manifest.salt_id):
            raise ValueError(
                f"{seen.name} lists subjects of another salt and no recordings: whether it was trained on subjects of "
                "these shards is not known; prepare both with one salt, or train it anew"
            )
        met = np.isin(data.subjects, sorted(seen.subjects)) | np.isin(data.recordings, sorted(seen.recordings))
        known |= set(data.subjects[met].tolist())
    return known


def held_out_rows(data: Labelled, *, trained: Collection[str], sites: Sequence[str]) -> np.ndarray:
    """Return the rows of the test sites, or, without sites, of all subjects that no model was trained on.

    Raises ValueError for an unknown site, for a subject of a test site that was trained on, and for an empty test side.
    """
    if unknown := sorted(set(sites) - set(data.sites.tolist())):
        raise ValueError(
            f"no labelled window is of site {unknown[0]!r}; sites are {', '.join(sorted(set(data.sites)))}"
        )
    seen = np.isin(data.subjects, sorted(trained))
    if not sites:
        if seen.all():
            raise ValueError(
                "the model was trained on every subject of these shards: nobody is left to measure on; "
                "give a model that was trained without a site (studies.loso keeps one a site in folds/)"
            )
        return np.flatnonzero(~seen)
    chosen = np.isin(data.sites, sites)
    if both := sorted(set(data.subjects[chosen & seen].tolist())):
        raise ValueError(
            f"{len(both)} subjects of the test sites {', '.join(sites)} were trained on, first {both[0]}: "
            "choose other sites, or a model that was trained without them"
        )
    return np.flatnonzero(chosen)


def score_of(data: Labelled, rows: np.ndarray, prob: np.ndarray) -> Score:
    """Return how good probabilities of rows are, float64, shape (n, n_classes)."""
    target = data.targets[rows].astype(np.float64)
    if data.task.multilabel:
        return Score(
            balanced_accuracy=balanced_decisions(prob, target), kl=binary_loss(prob, target), n_windows=len(rows)
        )
    target /= target.sum(axis=1, keepdims=True)
    confusion = confusion_matrix(target.argmax(axis=1), predicted_shares(prob))
    return Score(
        balanced_accuracy=float(balanced_accuracy(confusion)),
        kl=float(kl_rows(target, prob).mean()),
        n_windows=len(rows),
    )


def score_model(model: TaskModel, data: Labelled, rows: np.ndarray) -> Score:
    """Return how well a model does on rows."""
    return score_of(data, rows, predict(model, data.shards, data.windows[rows])[0])
