"""Teachers of a distillation: their probabilities of each labelled window, and whom the model behind them has seen."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from evaluation.audit.fingerprint import content_hash
from evaluation.schemas.origin import FoldSides
from evaluation.schemas.predictions import MEAN, PRIOR, Predictions, probabilities, read_predictions
from training.corpus.labelled import Labelled
from training.fitting.held_out import Seen, held_out_rows, known_subjects
from training.fitting.inference import check_fits, check_task, load_on_device, predict

_LOOKS = 64
"""Windows of a predictions file whose samples are compared with those of the shards."""


@dataclass(frozen=True, kw_only=True)
class Teacher:
    """One member's probabilities of every labelled window, and whom the models behind them have seen."""

    name: str
    probabilities: np.ndarray = field(repr=False)
    """float64, shape (n, n_classes); nan without."""
    seen: tuple[Seen, ...] = field(repr=False)
    """Of each model that speaks: a saved one, or one of each fold."""
    model_of: np.ndarray = field(repr=False)
    """For each labelled window its model's place in `seen`, int, shape (n,); -1 without."""
    n_parameters: int | None = None

    def heard(self, rows: np.ndarray) -> list[Seen]:
        """Return the models that speak of rows."""
        return [self.seen[i] for i in np.unique(self.model_of[rows]) if i >= 0]


def teacher_of(folder: Path, data: Labelled) -> Teacher:
    """Return a saved model's probabilities of all windows.

    Raises ValueError for another task or other signals, and for a model that does not list whom it was trained on.
    """
    model = load_on_device(folder)
    check_fits(folder, model, data)
    prob, _ = predict(model, data.shards, data.windows)
    return Teacher(
        name=str(folder),
        probabilities=prob,
        seen=(Seen.of(model.config.provenance, name=str(folder)),),
        model_of=np.zeros(len(prob), dtype=int),
        n_parameters=sum(p.numel() for p in model.parameters()),
    )


def teachers_in(path: Path, data: Labelled) -> list[Teacher]:
    """Return the probabilities of each model of a predictions file but "prior", and but the mean of others there.

    Raises ValueError for another task, for windows of other samples, and where a fold does not list whom its model was
    trained on.
    """
    file = read_predictions(path)
    check_task(path, file.task, file.classes, data)
    names = [name for name in file.models if name != PRIOR]
    if len(names) > 1:
        names = [name for name in names if name != MEAN]
    if not names:
        raise ValueError(f"{path} holds no model but {PRIOR!r}, which teaches nothing that labels do not")
    _check_samples(path, file.of(names[0]), data)
    return [_teacher_in(path, file, name, data) for name in names]


def _check_samples(path: Path, frame: Any, data: Labelled) -> None:
    """Raise ValueError where windows of the same name are of other samples, as after another `preprocess`."""
    if "content_hash" not in frame.columns:
        return
    hashes = dict(zip(frame["window_key"], frame["content_hash"], strict=True))
    both = [i for i in data.windows.tolist() if hashes.get(data.shards.entries[i].key)]
    chosen = np.array(both)[np.unique(np.linspace(0, len(both) - 1, _LOOKS).astype(int))] if both else np.array([])
    for number, window in zip(chosen.tolist(), data.shards.windows(chosen), strict=True):
        key = data.shards.entries[number].key
        if content_hash(window) != hashes[key]:
            raise ValueError(f"{path} was predicted from other samples of window {key}: predict these shards anew")


def _teacher_in(path: Path, file: Predictions, name: str, data: Labelled) -> Teacher:
    frame = file.of(name)
    row_of = {key: row for row, key in enumerate(frame["window_key"])}
    rows = np.array([row_of.get(data.shards.entries[i].key, -1) for i in data.windows])
    folds = list(dict.fromkeys(frame["fold"]))
    fold_of = np.array([folds.index(fold) for fold in frame["fold"]])
    prob = probabilities(frame, file.classes)
    sides = {fold.name: fold for fold in file.origin.folds}
    return Teacher(
        name=f"{path}:{name}",
        probabilities=np.where(rows[:, None] < 0, np.nan, prob[rows]),
        seen=tuple(_seen_by_fold(path, file, fold, sides.get(fold)) for fold in folds),
        model_of=np.where(rows < 0, -1, fold_of[rows]),
    )


def _seen_by_fold(path: Path, file: Predictions, name: str, fold: FoldSides | None) -> Seen:
    origin = file.origin if fold is None or not fold.has_own_encoder else file.origin.of_fold(fold)
    about = vars(origin) | {"salt_id": origin.train_salt_id or origin.salt_id}
    if fold is not None:
        about |= {key: getattr(fold, key) for key in ("train_subjects", "train_recordings")}
    return Seen.of(about, name=f"{path}, fold {name!r},")


def measured_side(data: Labelled, teachers: Sequence[Teacher], sites: Sequence[str]) -> np.ndarray:
    """Return the rows to measure on.

    Raises ValueError where a teacher of a training window learnt from one of them, and where nobody is left to train.
    Without sites: the subjects whom no teacher of any window was trained on. Subjects are known by their ids and by
    their recordings, which are the same under every salt.
    """
    everyone = [seen for teacher in teachers for seen in teacher.seen]
    test = held_out_rows(data, trained=() if sites else known_subjects(data, everyone), sites=sites)
    if len(test) == len(data.windows):
        why = (
            "every labelled window is of a test site" if sites else "no teacher has seen anybody here; name test sites"
        )
        raise ValueError(f"nobody is left to train on: {why}")
    test_subjects = set(data.subjects[test].tolist())
    train = np.setdiff1d(np.arange(len(data.windows)), test)
    for teacher in teachers:
        if leaked := known_subjects(data, teacher.heard(train)) & test_subjects:
            raise ValueError(
                f"{teacher.name} learnt from {len(leaked)} subjects of the test side, first {min(leaked)}, before it "
                "predicted training windows: choose other test sites, or a teacher that was trained without them"
            )
    return test


def share_out_of_fold(data: Labelled, teachers: Iterable[Teacher], rows: np.ndarray) -> float:
    """Return the share of rows whose subjects no model that speaks of them was trained on."""
    outside = np.ones(len(rows), dtype=bool)
    for teacher in teachers:
        known = [known_subjects(data, [seen]) for seen in teacher.seen]
        outside &= [data.subjects[row] not in known[teacher.model_of[row]] for row in rows]
    return float(outside.mean())
