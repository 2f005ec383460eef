"""Whether a form in INT8 may be shipped: as small as asked, as accurate, with few decisions changed."""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from signals.bundles.bundle import BundleError, mark
from signals.shards.manifest import read_manifest
from signals.tasks import Task
from signals.window import Window

SIZE_AIM = 3.9
"""Times smaller that INT8 must be: four, less what the scales of the weights take."""
REACH = 0.85
"""Share of the ratio that one byte per weight would give which an exempt model must reach: scales, zero points and the
nodes that apply them take the rest, and weigh more the smaller the network."""
KEPT_AIM = 0.99
MOST_CHANGED = 0.02
"""Equal accuracy may hide that other windows are right: most of the decisions that may change."""


@dataclass(frozen=True, kw_only=True)
class Gate:
    """Whether the INT8 bundle may be shipped."""

    size_ratio: float
    """Bytes of the float graphs over bytes of the INT8 graphs."""
    size_allowed: float
    """The ratio that one byte a weight of the quantised layers would give."""
    weights_share: float
    """Of the float graphs' bytes, in layers that can be quantised."""
    balanced_accuracy_fp32: float
    balanced_accuracy_int8: float
    agreement: float
    """Share of windows with the same decision."""
    most_changed: float = MOST_CHANGED
    """Most of the windows that may be decided otherwise."""
    n_windows: int

    @property
    def accuracy_kept(self) -> float:
        """INT8's share of the float bundle's balanced accuracy."""
        return self.balanced_accuracy_int8 / self.balanced_accuracy_fp32

    @property
    def exempt(self) -> str:
        """Why `SIZE_AIM` is not asked of this model, in words; empty where it is.

        Weights dominate a file where one byte for each would make it that much smaller. What a plan leaves in float
        exempts nobody.
        """
        reachable = 1 / (1 - 0.75 * self.weights_share)
        if reachable >= SIZE_AIM:
            return ""
        return (
            f"exempt from {SIZE_AIM:g}x: weights are {self.weights_share:.1%} of the file, one byte each gives "
            f"{reachable:.2f}x"
        )

    @property
    def size_needed(self) -> float:
        """`SIZE_AIM`, or nearly what the graph allows where weights do not dominate it."""
        return REACH * self.size_allowed if self.exempt else SIZE_AIM

    @property
    def refused(self) -> tuple[str, ...]:
        """What does not hold, in words; nan does not hold."""
        gates = {
            f"{self.size_ratio:.2f}x smaller, not {self.size_needed:.2f}x": self.size_ratio >= self.size_needed,
            f"{self.accuracy_kept:.2%} of the balanced accuracy kept, not {KEPT_AIM:.0%}": self.accuracy_kept
            >= KEPT_AIM,
            f"{1 - self.agreement:.1%} of decisions changed, more than {self.most_changed:.1%}": self.agreement
            >= 1 - self.most_changed,
        }
        return tuple(words for words, holds in gates.items() if not holds)

    @property
    def ok(self) -> bool:
        """Whether all three hold."""
        return not self.refused

    def summary(self) -> str:
        """Return the measured and the required numbers, one line."""
        required = "; ".join(filter(None, [f"required {self.size_needed:.2f}x", self.exempt]))
        return (
            f"{self.size_ratio:.2f}x smaller ({required}), balanced accuracy {self.balanced_accuracy_int8:.4f} of "
            f"{self.balanced_accuracy_fp32:.4f} = {self.accuracy_kept:.2%} kept (required {KEPT_AIM:.0%}), "
            f"{self.agreement:.1%} of decisions the same (required {1 - self.most_changed:.1%}) on {self.n_windows} "
            "windows"
        )


@dataclass(frozen=True, kw_only=True)
class Decided:
    """A bundle's classes of labelled windows, as numbers."""

    true: list[int] = field(repr=False)
    predicted: list[int] = field(repr=False)

    @property
    def balanced_accuracy(self) -> float:
        """The mean over the classes that occur of the share that was recognised."""
        return balanced_accuracy(self.true, self.predicted)


def check_not_trained_on(trained_on: Collection[str] | None, evaluation: Path, *, model: Path) -> None:
    """Raise BundleError where a subject or recording of the shards is among the `mark`s of those that a model was
    trained on, or where nobody can know."""
    if trained_on is None:
        raise BundleError(f"{model} does not list who it was trained on: export it again")
    subjects = read_manifest(evaluation).subjects
    known = [
        name
        for name, entry in sorted(subjects.items())
        if set(trained_on) & {mark(name), *map(mark, entry.recording_ids)}
    ]
    if known:
        raise BundleError(
            f"the model was trained on {len(known)} of the {len(subjects)} subjects of {evaluation}, first {known[0]}: "
            "give --evaluate shards of people that it does not know"
        )


def balanced_accuracy(true: Sequence[int], predicted: Sequence[int]) -> float:
    """Return the mean over the classes that occur of the share that was recognised."""
    right = np.array(true) == np.array(predicted)
    return float(np.mean([right[np.array(true) == k].mean() for k in sorted(set(true))]))


def labelled(windows: Iterator[Window], task: Task) -> Iterator[tuple[Window, int]]:
    """Yield windows with the number of their class: that of most votes, or the hard label."""
    for window in windows:
        if task.vote_columns and len(window.votes) == len(task.classes) and sum(window.votes) > 0:
            yield window, int(np.argmax(window.votes))
        elif (name := task.class_of(window.label)) is not None:
            yield window, task.classes.index(name)
