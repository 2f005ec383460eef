"""Training and test sides: always whole subjects."""

import hashlib
import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

Grouping = Literal["site", "subject"]


@dataclass(frozen=True, kw_only=True)
class Fold:
    """One side's training and test rows."""

    name: str
    train: np.ndarray
    test: np.ndarray


@dataclass(frozen=True, kw_only=True)
class Sides:
    """Who is trained on and who is scored."""

    train: Sequence[str]
    held_out: Sequence[str]


def site_folds(sites: np.ndarray, subjects: np.ndarray) -> list[Fold]:
    """Return one fold a site that leaves it out.

    Raises ValueError with fewer than two sites, and for a subject who was seen at two of them.
    """
    names = np.unique(sites)
    if len(names) < 2:
        raise ValueError(f"leaving a site out needs at least 2 sites with labels, found {names.tolist()}")
    for subject in np.unique(subjects):
        if len(seen := np.unique(sites[subjects == subject])) > 1:
            raise ValueError(
                f"subject {subject} was seen at the sites {seen.tolist()}: no site can be left out cleanly"
            )
    return [
        Fold(name=str(name), train=np.flatnonzero(sites != name), test=np.flatnonzero(sites == name)) for name in names
    ]


def subject_folds(subjects: np.ndarray, labels: np.ndarray, *, n_folds: int, seed: int) -> list[Fold]:
    """Return folds of whole subjects with classes spread evenly; raises ValueError with fewer subjects than folds."""
    n_subjects = len(np.unique(subjects))
    if not 2 <= n_folds <= n_subjects:
        raise ValueError(f"folds={n_folds} must be at least 2 and at most the number of subjects, {n_subjects}")
    fold_of = _spread(subjects, labels, n_folds=n_folds, seed=seed)
    row_fold = np.array([fold_of[s] for s in subjects])
    return [
        Fold(name=f"fold{k}", train=np.flatnonzero(row_fold != k), test=np.flatnonzero(row_fold == k))
        for k in range(n_folds)
    ]


def hold_out_subjects(
    subjects: np.ndarray, labels: np.ndarray, *, share: float, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """Return rows to train on and rows to validate on, about `share` of subjects, classes spread evenly.

    Raises ValueError with fewer than two subjects.
    """
    n_subjects = len(np.unique(subjects))
    if n_subjects < 2:
        raise ValueError("training needs at least 2 subjects with labels: one of them chooses when to stop")
    fold = subject_folds(subjects, labels, n_folds=min(n_subjects, max(2, round(1 / share))), seed=seed)[0]
    return fold.train, fold.test


def _spread(subjects: np.ndarray, labels: np.ndarray, *, n_folds: int, seed: int) -> dict[str, int]:
    """Return the fold of each subject: largest first, each where its classes are rarest so far."""
    names = np.random.default_rng(seed).permutation(np.unique(subjects))
    n_classes = int(labels.max()) + 1
    counts = {str(s): np.bincount(labels[subjects == s], minlength=n_classes).astype(float) for s in names}
    wanted = np.maximum(sum(counts.values()), 1e-9) / n_folds
    filled, n_taken = np.zeros((n_folds, n_classes)), np.zeros(n_folds)
    fold_of = {}
    for subject in sorted(counts, key=lambda s: -counts[s].sum()):
        after = (((filled + counts[subject]) / wanted) ** 2).sum(axis=1) - ((filled / wanted) ** 2).sum(axis=1)
        # no fold gets more than its share of subjects, and none stays empty
        open_folds = [k for k in range(n_folds) if n_taken[k] < -(-len(names) // n_folds)]
        fold = min(open_folds, key=lambda k: (n_taken[k] > 0 and (n_taken == 0).any(), after[k], n_taken[k]))
        fold_of[subject] = fold
        filled[fold] += counts[subject]
        n_taken[fold] += 1
    return fold_of


def describe(folds: Sequence[Fold], subjects: np.ndarray, recordings: np.ndarray) -> list[dict[str, Any]]:
    """Return the folds as subjects and recordings, for metadata."""
    return [
        {
            "name": fold.name,
            **{
                f"{side}_{what}": sorted(set(values[getattr(fold, side)].tolist()))
                for side in ("train", "test")
                for what, values in (("subjects", subjects), ("recordings", recordings))
            },
        }
        for fold in folds
    ]


def check_classes(folds: Sequence[Fold], labels: np.ndarray, classes: Sequence[str]) -> None:
    """Raise ValueError, naming fold and class, where a class cannot be learnt since only the test side has it."""
    for fold in folds:
        only = sorted(set(labels[fold.test].tolist()) - set(labels[fold.train].tolist()))
        if only:
            raise ValueError(
                f"class {classes[only[0]]!r} cannot be learnt without {fold.name}, which alone has it: "
                "the labels do not allow this task to be tested on people who were not trained on"
            )


def split_digest(described: Sequence[Mapping[str, Any]]) -> str:
    """Return the sha256 of `describe`'s output."""
    return hashlib.sha256(json.dumps(list(described), sort_keys=True).encode()).hexdigest()


def hold_out_names(names: Collection[str], *, share: float, seed: int) -> tuple[list[str], list[str]]:
    """Return subjects to train on and those held out: those of the lowest hashes, at least one on each side.

    Raises ValueError with fewer than two subjects.
    """
    subjects = sorted(set(names), key=lambda subject: hashlib.sha256(f"{seed}/{subject}".encode()).digest())
    if len(subjects) < 2:
        raise ValueError("pretraining needs at least 2 subjects: one of them is held out")
    n_held_out = min(max(1, round(share * len(subjects))), len(subjects) - 1)
    return subjects[n_held_out:], subjects[:n_held_out]


def hold_out(subject_ids: Sequence[str], *, share: float, seed: int) -> tuple[list[int], list[int]]:
    """Return rows to train on and rows held out, whole subjects: those of the lowest hashes.

    At least one subject lies on each side. Raises ValueError with fewer than two subjects.
    """
    held_out = set(hold_out_names(subject_ids, share=share, seed=seed)[1])
    sides: tuple[list[int], list[int]] = ([], [])
    for row, subject in enumerate(subject_ids):
        sides[subject in held_out].append(row)
    return sides


def evenly(rows: Sequence[int], most: int) -> list[int]:
    """Return at most `most` of the rows, evenly chosen from first to last."""
    if len(rows) <= most:
        return list(rows)
    return [rows[i] for i in np.linspace(0, len(rows) - 1, most).astype(int)]
