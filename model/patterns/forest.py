"""An ensemble of decision trees as plain arrays: no pickle to trust, no scikit-learn to run it."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from scipy.special import softmax

_LEAF = -1
SHARE_FLOOR = 1e-3
"""Least share of which a logit is taken: a class that no leaf has seen cannot be ruled out."""


@dataclass(frozen=True, kw_only=True)
class Forest:
    """Trees one after the other; `feature` is -1 at a leaf, and a tree's root is where it begins."""

    names: tuple[str, ...]
    """Inputs, in order."""
    classes: tuple[str, ...]
    """Outputs, in order."""
    roots: np.ndarray = field(repr=False)
    """int32, shape (n_trees,)."""
    feature: np.ndarray = field(repr=False)
    """int16, shape (n_nodes,)."""
    threshold: np.ndarray = field(repr=False)
    """float32, shape (n_nodes,): go left where the input is at most this."""
    left: np.ndarray = field(repr=False)
    """int32, shape (n_nodes,): number of the left child."""
    right: np.ndarray = field(repr=False)
    value: np.ndarray = field(repr=False)
    """float32, shape (n_nodes, n_classes): what a leaf adds; zeros elsewhere."""
    offset: np.ndarray | None = field(default=None, repr=False)
    """Boosted trees: shape (n_classes,), log-odds before the first tree. Leaves then add log-odds, otherwise they hold
    class shares, whose mean over trees is the answer."""

    def predict(self, x: np.ndarray) -> np.ndarray:
        """Return class probabilities, float64, shape (n, n_classes); x (n, n_inputs), taken as float32.

        Raises ValueError for another number of inputs.
        """
        x = np.asarray(x, dtype=np.float32)
        if x.ndim != 2 or x.shape[1] != len(self.names):
            raise ValueError(f"x has shape {x.shape}; the forest reads (n, {len(self.names)})")
        at = np.tile(self.roots, (len(x), 1))
        rows = np.arange(len(x))[:, None]
        while (inner := self.feature[at] != _LEAF).any():
            feature = np.where(inner, self.feature[at], 0)
            goes_left = x[rows, feature] <= self.threshold[at]
            at = np.where(inner, np.where(goes_left, self.left[at], self.right[at]), at)
        value = self.value[at].astype(np.float64)
        if self.offset is None:
            return np.asarray(value.mean(axis=1))
        return np.asarray(softmax(self.offset + value.sum(axis=1), axis=1))

    def logits(self, x: np.ndarray) -> np.ndarray:
        """Return logarithms of the probabilities, floored at `SHARE_FLOOR`; raises as `predict`."""
        return np.asarray(np.log(np.maximum(self.predict(x), SHARE_FLOOR)))


def forest_of(model: Any, *, names: Sequence[str], classes: Sequence[str]) -> Forest:
    """Return scikit-learn's fitted forest or gradient-boosting classifier as a forest.

    Its classes must be 0, 1, ... in the order of `classes`; raises ValueError otherwise.
    """
    if list(model.classes_) != list(range(len(classes))):
        raise ValueError(
            f"the model knows the classes {np.asarray(model.classes_).tolist()}, not 0 to {len(classes) - 1}"
        )
    stages: list[tuple[Any, int | None]]
    if hasattr(model, "init_"):
        stages = [(tree.tree_, number) for stage in model.estimators_ for number, tree in enumerate(stage)]
        offset = np.log(model.init_.class_prior_)
        rate = model.learning_rate
    else:
        stages, offset, rate = [(estimator.tree_, None) for estimator in model.estimators_], None, 1.0
    parts = [_nodes(tree, number, n_classes=len(classes), rate=rate) for tree, number in stages]
    starts = np.cumsum([0, *(tree.node_count for tree, _ in stages)])[:-1]
    joined = {name: np.concatenate([part[name] for part in parts]) for name in ("feature", "threshold", "value")}
    sides = {
        side: np.concatenate(
            [np.where(p["feature"] < 0, _LEAF, p[side] + k) for p, k in zip(parts, starts, strict=True)]
        )
        for side in ("left", "right")
    }
    return Forest(
        names=tuple(names), classes=tuple(classes), roots=starts.astype(np.int32), offset=offset,
        **joined, **{side: number.astype(np.int32) for side, number in sides.items()},
    )  # fmt: skip


def _nodes(tree: Any, number: int | None, *, n_classes: int, rate: float) -> dict[str, np.ndarray]:
    """Return a tree's nodes; `number`: the class that a boosted tree is for."""
    leaf = tree.children_left == _LEAF
    value = np.zeros((tree.node_count, n_classes))
    if number is None:
        shares = tree.value[:, 0, :]
        value[leaf] = (shares / shares.sum(axis=1, keepdims=True))[leaf]
    else:
        value[leaf, number] = rate * tree.value[leaf, 0, 0]
    return {
        "feature": np.where(leaf, _LEAF, tree.feature).astype(np.int16),
        # Scikit-learn compares a float32 input with a float64 threshold: rounding it down keeps every decision.
        "threshold": _rounded_down(tree.threshold),
        "left": tree.children_left, "right": tree.children_right, "value": value.astype(np.float32),
    }  # fmt: skip


def _rounded_down(values: np.ndarray) -> np.ndarray:
    """Return the largest float32 that is not above each value."""
    near = values.astype(np.float32)
    return np.where(near > values, np.nextafter(near, np.float32(-np.inf)), near).astype(np.float32)
