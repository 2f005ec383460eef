"""python -m serving.quantise BUNDLE --calibration SHARDS --evaluate SHARDS --output BUNDLE: a bundle in INT8.

The new bundle is written only where it is as small as the graph allows and keeps 99% of the float bundle's balanced
accuracy on held-out windows; both numbers are printed either way. Needs the package onnx beside onnxruntime.
"""

import argparse
import logging
import sys
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from serving.int8 import (
    Sensitivity,
    calibrate,
    layers_of,
    needs_onnx,
    sensitivities,
    worth_leaving,
    write_dynamic,
    write_static,
)
from serving.runtime import check_windows, probabilities
from signals.bundle import (
    CARD,
    FP32,
    INT8_DYNAMIC,
    INT8_STATIC,
    Bundle,
    BundleError,
    Graph,
    graph_fields,
    load_bundle,
    write_bundle,
)
from signals.command_line import Parser
from signals.manifest import ManifestError
from signals.served import feed, windows_of_shards
from signals.tasks import Task
from signals.windows import Window

PROG = "serving.quantise"
SIZE_AIM = 4.0
REACH = 0.85
"""Share of the ratio that one byte a weight would give which counts as all that the graph allows: scales, zero points
and the nodes that apply them take the rest, and weigh more the smaller the network."""
KEPT_AIM = 0.99


@dataclass(frozen=True, kw_only=True)
class Plan:
    """How to quantise."""

    method: str
    """"static" or "dynamic"."""
    n_calibration: int = 32
    """Windows that ranges come from."""
    n_sensitivity: int = 4
    """Windows that layers are judged on."""
    least_gain: float = 0.05
    """Share of the error that a layer must take away to be left in float."""
    float_share: float = 0.05
    """Most of the weights that may be left in float."""


@dataclass(frozen=True, kw_only=True)
class Gate:
    """Whether the INT8 bundle may be shipped."""

    size_ratio: float
    """Bytes of the float graphs over bytes of the INT8 graphs."""
    size_allowed: float
    """The ratio that one byte a weight of the quantised layers would give."""
    balanced_accuracy_fp32: float
    balanced_accuracy_int8: float
    agreement: float
    """Share of windows with the same decision."""
    n_windows: int

    @property
    def accuracy_kept(self) -> float:
        """INT8's share of the float bundle's balanced accuracy."""
        return self.balanced_accuracy_int8 / self.balanced_accuracy_fp32

    @property
    def size_needed(self) -> float:
        """4, or nearly what the graph allows where that is less."""
        return min(SIZE_AIM, REACH * self.size_allowed)

    @property
    def ok(self) -> bool:
        """Whether both hold; nan fails."""
        return self.size_ratio >= self.size_needed and self.accuracy_kept >= KEPT_AIM

    def told(self) -> str:
        """Return both numbers and what was asked, one line."""
        return (
            f"{self.size_ratio:.2f}x smaller (asked {self.size_needed:.2f}x; one byte a weight would give "
            f"{self.size_allowed:.2f}x), balanced accuracy {self.balanced_accuracy_int8:.4f} of "
            f"{self.balanced_accuracy_fp32:.4f} = {self.accuracy_kept:.2%} kept (asked {KEPT_AIM:.0%}) on "
            f"{self.n_windows} windows, {self.agreement:.1%} of decisions the same"
        )


def quantise(bundle: Bundle, calibration: Path, evaluation: Path, output: Path, plan: Plan) -> Gate:
    """Write the INT8 bundle if it passes, and return what the gate saw.

    Raises BundleError for a bundle that is no float classifier, shards without labels of its task, an output that
    exists.
    """
    needs_onnx()
    if bundle.precision != FP32:
        raise BundleError(f"{bundle.path} is {bundle.precision} already; quantise the float bundle")
    if bundle.task is None:
        raise BundleError(f"{bundle.path} holds an encoder: without classes, no gate can be asked")
    seen: list[Gate] = []

    def fill(folder: Path) -> dict[str, Any]:
        left = [_write_member(bundle, graph, calibration, folder / graph.file, plan) for graph in bundle.graphs]
        if bundle.combiner is not None:
            (folder / bundle.combiner).write_bytes((bundle.path / bundle.combiner).read_bytes())
        made = replace(bundle, path=folder, precision=INT8_STATIC if plan.method == "static" else INT8_DYNAMIC)
        gate = ask(bundle, made, evaluation, left)
        seen.append(gate)
        if not gate.ok:
            raise _NotShippedError
        card = (bundle.path / CARD).read_text(encoding="utf-8")
        (folder / CARD).write_text(f"{card.rstrip()}\n\nIn INT8 ({plan.method}): {gate.told()}.\n", encoding="utf-8")
        return _about(made, gate, plan, left)

    with suppress(_NotShippedError):
        write_bundle(output, fill)
    return seen[0]


class _NotShippedError(Exception):
    """The gate said no."""


def _about(made: Bundle, gate: Gate, plan: Plan, left: Sequence[Sequence[Sensitivity]]) -> dict[str, Any]:
    kept = {name: value for name, value in made.about.items() if name not in ("digest", "files", "schema_version")}
    return {
        **kept,
        "precision": made.precision,
        "graphs": graph_fields(made.graphs),
        "quantisation": {
            **asdict(plan),
            **asdict(gate),
            "left_in_float": [[asdict(one) for one in member] for member in left],
            "made_from": made.about["digest"],
        },
    }


def _write_member(bundle: Bundle, graph: Graph, calibration: Path, output: Path, plan: Plan) -> tuple[Sensitivity, ...]:
    """Write one member in INT8 and return the layers that were left in float."""
    path = bundle.path / graph.file
    if plan.method == "dynamic":
        write_dynamic(path, output)
        return ()
    windows = list(windows_of_shards([calibration], n_windows=plan.n_calibration))
    check_windows(bundle, graph, windows)
    feeds = [feed([window], graph) for window in windows]
    calibrated = calibrate(path, feeds)
    looked_at = feeds[:: max(1, len(feeds) // plan.n_sensitivity)][: plan.n_sensitivity]
    found = sensitivities(calibrated, looked_at, "logits")
    left = worth_leaving(found, least_gain=plan.least_gain, float_share=plan.float_share)
    write_static(calibrated, output, leave=[one.layer.node for one in left])
    return left


def ask(float_bundle: Bundle, made: Bundle, evaluation: Path, left: Sequence[Sequence[Sensitivity]]) -> Gate:
    """Return what both bundles say of held-out labelled windows, and their sizes."""
    assert float_bundle.task is not None
    true, ours, theirs = [], [], []
    labelled = _labelled(windows_of_shards([evaluation]), float_bundle.task)
    while batch := list(islice(labelled, 8)):
        windows = [window for window, _ in batch]
        true += [index for _, index in batch]
        ours += probabilities(float_bundle, windows).argmax(axis=1).tolist()
        theirs += probabilities(made, windows).argmax(axis=1).tolist()
    if len(set(true)) < 2:
        raise BundleError(f"{evaluation} has windows of {len(set(true))} classes of {float_bundle.task.name}: no gate")
    n_float, n_left = float_bundle.n_bytes, sum(one.layer.n_bytes for member in left for one in member)
    n_weights = sum(
        layer.n_bytes for graph in float_bundle.graphs for layer in layers_of(float_bundle.path / graph.file)
    )
    return Gate(
        size_ratio=n_float / made.n_bytes,
        size_allowed=n_float / (n_float - 0.75 * (n_weights - n_left)),
        balanced_accuracy_fp32=balanced_accuracy(true, ours),
        balanced_accuracy_int8=balanced_accuracy(true, theirs),
        agreement=float(np.mean(np.array(ours) == np.array(theirs))),
        n_windows=len(true),
    )


def balanced_accuracy(true: Sequence[int], predicted: Sequence[int]) -> float:
    """Return the mean over the classes that occur of the share that was recognised."""
    right = np.array(true) == np.array(predicted)
    return float(np.mean([right[np.array(true) == k].mean() for k in sorted(set(true))]))


def _labelled(windows: Iterator[Window], task: Task) -> Iterator[tuple[Window, int]]:
    """Yield windows with the number of their class: that of most votes, or the hard label."""
    for window in windows:
        if task.vote_columns and len(window.votes) == len(task.classes) and sum(window.votes) > 0:
            yield window, int(np.argmax(window.votes))
        elif (name := task.class_of(window.label)) is not None:
            yield window, task.classes.index(name)


def parse_args(argv: Sequence[str] | None) -> argparse.Namespace:
    """Return the parsed command line."""
    parser = Parser(prog=PROG, description="a bundle in INT8, if it is small enough and as good")
    parser.add_argument("bundle", type=Path, help="folder made by cerebeam export, fp32")
    parser.add_argument(
        "--calibration", type=Path, required=True, help="shard set that ranges of activations come from"
    )
    parser.add_argument(
        "--evaluate", type=Path, required=True, help="shard set with labels, of subjects not trained on"
    )
    parser.add_argument("--output", type=Path, required=True, help="folder of the INT8 bundle; must not exist yet")
    parser.add_argument("--method", choices=("static", "dynamic"), default="static", help="when activations get ranges")
    parser.add_argument("--float-share", type=float, default=0.05, help="most of the weights that may stay in float")
    parser.add_argument("--calibration-windows", type=int, default=32, help="how many windows ranges come from")
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> int:
    """Run from the command line; returns 0, or 2 where no bundle was written, with one line that says why."""
    args = parse_args(argv)
    logging.getLogger().setLevel(logging.ERROR)  # the quantiser advises on its own internals
    plan = Plan(method=args.method, n_calibration=args.calibration_windows, float_share=args.float_share)
    try:
        gate = quantise(load_bundle(args.bundle), args.calibration, args.evaluate, args.output, plan)
    except (BundleError, ManifestError) as error:
        print(f"{PROG}: {error}", file=sys.stderr)  # noqa: T201
        return 2
    if not gate.ok:
        print(f"{PROG}: not shipped: {gate.told()}", file=sys.stderr)  # noqa: T201
        return 2
    print(f"bundle {args.output}: {gate.told()}")  # noqa: T201
    return 0


if __name__ == "__main__":
    sys.exit(main())
