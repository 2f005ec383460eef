"""The windows of a shard set that say something about a task, and what they say."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from signals.tasks import TASKS, Task
from training.corpus.corpus import Corpus
from training.objectives.teaching import Teaching

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Labelled:
    """The windows of a shard set that say something about a task."""

    shards: Corpus
    task: Task
    windows: np.ndarray
    """Numbers in `shards.entries`, int64, shape (n,)."""
    targets: np.ndarray
    """float32, shape (n, n_classes): distributions, votes or one-hot; of a multi-label task 1 for each class there."""
    has_votes: bool
    """Whether the targets are votes."""
    teaching: Teaching | None = None
    """What a teacher says of the same windows, where a student learns from one."""

    @cached_property
    def subjects(self) -> np.ndarray:
        """Subject of each window, shape (n,)."""
        return np.array([self.shards.entries[i].subject_id for i in self.windows])

    @cached_property
    def recordings(self) -> np.ndarray:
        """Recording id of each window, shape (n,)."""
        return np.array([self.shards.entries[i].recording_id for i in self.windows])

    @cached_property
    def sites(self) -> np.ndarray:
        """Site of each window, shape (n,)."""
        return np.array([self.shards.entries[i].site_id for i in self.windows])

    @cached_property
    def n_votes(self) -> np.ndarray:
        """Number of votes on each window, shape (n,); 0 where its label is hard."""
        return np.array([sum(self.shards.entries[i].votes) for i in self.windows], dtype=np.float64)

    @property
    def labels(self) -> np.ndarray:
        """Number of the class of most weight of each window, shape (n,); of several equal ones the rarest."""
        if not self.task.multilabel:
            return self.targets.argmax(axis=1)
        return np.asarray((self.targets / (1.0 + self.targets.sum(axis=0))).argmax(axis=1))

    @property
    def support(self) -> dict[str, int]:
        """Number of windows with each class."""
        return dict(zip(self.task.classes, (self.targets > 0.5).sum(axis=0).tolist(), strict=True))


def task_named(name: str) -> Task:
    """Return a task; raises ValueError, naming the tasks there are, for an unknown name."""
    if name not in TASKS:
        raise ValueError(f"unknown task {name!r}; tasks are {', '.join(sorted(TASKS))}")
    return TASKS[name]


def labelled(shards: Corpus, task: Task) -> Labelled:
    """Return the windows of a task, votes first, else hard labels.

    Raises ValueError where no window has a label of the task, or windows are not of its length.
    """
    wanted = round(task.window_s * shards.manifest.modality.sfreq)
    if task.label_span_s is not None and shards.n_times != wanted:
        raise ValueError(f"task {task.name!r} needs windows of {wanted} samples, {shards.names} has {shards.n_times}")
    windows, targets, votes_seen = [], [], False
    for number, entry in enumerate(shards.entries):
        target = target_of(entry.label, entry.votes, task)
        if target is not None:
            windows.append(number)
            targets.append(target)
            votes_seen |= _votes_count(entry.votes, task)
    if not windows:
        found = sorted({entry.label for entry in shards.entries} - {""})
        tiled = not found and shards.manifest.profile.get("windows") == "tile"
        hint = "; labels with an onset need shards of preprocess --set windows=labelled" if tiled else ""
        raise ValueError(
            f"no window of {shards.names} has a label of task {task.name!r}; labels there: {found[:10]}{hint}"
        )
    return Labelled(
        shards=shards, task=task, windows=np.array(windows), targets=np.stack(targets), has_votes=votes_seen
    )


def with_contrast(data: Labelled) -> Labelled:
    """Return the windows of sites that have two classes or more, and say which sites are left out.

    A site of one class would teach a model to tell sites apart: "control" at one hospital is no control for a disease
    that only another one has. Raises ValueError if no site is left.
    """
    sites, kinds = data.sites, np.unique(data.targets, axis=0, return_inverse=True)[1]
    says = kinds if data.task.multilabel else data.labels
    alone = sorted(site for site in set(sites.tolist()) if len(set(says[sites == site].tolist())) < 2)
    if len(alone) == len(set(sites.tolist())):
        raise ValueError(f"no site has two classes of task {data.task.name!r}; sites with labels: {', '.join(alone)}")
    if alone:
        logger.warning("left out of task %s, since they have one class only: %s", data.task.name, ", ".join(alone))
    kept = ~np.isin(sites, alone)
    return replace(data, windows=data.windows[kept], targets=data.targets[kept])


def _votes_count(votes: Sequence[float], task: Task) -> bool:
    return len(votes) == len(task.vote_columns) > 0 and sum(votes) > 0


def target_of(label: str, votes: Sequence[float], task: Task) -> np.ndarray | None:
    """Return the target, float32, shape (n_classes,), or None without a label of the task."""
    if _votes_count(votes, task):
        return (np.asarray(votes) / np.sum(votes)).astype(np.float32)
    classes = task.classes_of(label)
    return None if classes is None else np.array([name in classes for name in task.classes], dtype=np.float32)
