"""python -m serving.deploy.quantise BUNDLE --ranges SHARDS --evaluate SHARDS --output BUNDLE: a bundle in INT8.

The new bundle is written only where it is as small as the graph allows, keeps 99% of the float bundle's balanced
accuracy on held-out windows and changes few of its decisions there; all three numbers are printed either way. Without
`--method`, the dynamic form is tried where the static one is refused. Needs the package onnx beside onnxruntime.
"""

import argparse
import json
import logging
import sys
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from serving.deploy.int8 import calibrate, layers_of, needs_onnx, write_dynamic, write_static
from serving.deploy.sensitivity import Sensitivity, sensitivities, worth_leaving
from serving.runtime import check_windows, probabilities
from signals.bundles.bundle import (
    CARD,
    FP32,
    INT8_DYNAMIC,
    INT8_STATIC,
    Bundle,
    BundleError,
    Graph,
    digests,
    graph_fields,
    load_bundle,
    write_bundle,
)
from signals.bundles.inputs import feed, windows_of_shards
from signals.bundles.int8_gate import MOST_CHANGED, Decided, Gate, check_not_trained_on, labelled
from signals.command_line import Parser
from signals.progress import progress
from signals.shards.manifest import ManifestError, read_manifest

PROG = "cerebeam quantise"
METHODS = {"static": INT8_STATIC, "dynamic": INT8_DYNAMIC}
"""Precision by method, in the order in which they are tried."""


@dataclass(frozen=True, kw_only=True)
class Plan:
    """How to quantise."""

    method: str
    """"static" or "dynamic"."""
    n_calibration: int = 32
    """Windows that ranges come from."""
    percentile: float = 99.99
    """Of an activation's values, where its range ends on either side."""
    n_sensitivity: int = 4
    """Windows that layers are judged on."""
    least_gain: float = 0.05
    """Share of the error that a layer must take away to be left in float."""
    float_share: float = 0.05
    """Most of the weights that may be left in float."""
    most_changed: float = MOST_CHANGED
    """Most of the windows whose decision may change."""


def quantise_first(
    bundle: Bundle, calibration: Path, evaluation: Path, output: Path, plans: Sequence[Plan]
) -> list[tuple[Plan, Gate]]:
    """Write the INT8 bundle of the first plan that passes, and return what the gate saw of each that was tried.

    Nothing is written where none passes. Raises BundleError for a bundle that is no float classifier, shards without
    labels of its task or with people that it was trained on, an output that exists.
    """
    needs_onnx()
    if bundle.precision != FP32:
        raise BundleError(f"{bundle.path} is {bundle.precision} already; quantise the float bundle")
    if bundle.task is None:
        raise BundleError(f"{bundle.path} holds an encoder: without classes, there is no gate")
    if output.exists():
        raise BundleError(f"output {output} exists already; choose another")
    check_not_trained_on(bundle.trained_on, evaluation, model=bundle.path)
    reference = decided(bundle, evaluation)
    tried: list[tuple[Plan, Gate]] = []
    for plan in plans:
        tried.append((plan, quantise(bundle, reference, calibration, evaluation, output, plan)))
        if tried[-1][1].ok:
            break
    return tried


def quantise(bundle: Bundle, reference: Decided, calibration: Path, evaluation: Path, output: Path, plan: Plan) -> Gate:
    """Write the INT8 bundle if it passes, and return its gate; `reference` has the float bundle's decisions."""
    seen: list[Gate] = []

    def fill(folder: Path) -> dict[str, Any]:
        left = [_write_member(bundle, graph, calibration, folder / graph.file, plan) for graph in bundle.graphs]
        if bundle.combiner is not None:
            (folder / bundle.combiner).write_bytes((bundle.path / bundle.combiner).read_bytes())
        about = {**bundle.about, "files": digests(folder)}
        quantised = replace(bundle, path=folder, precision=METHODS[plan.method], about=about)
        gate = judge(bundle, quantised, reference, decided(quantised, evaluation), left, most_changed=plan.most_changed)
        seen.append(gate)
        if not gate.ok:
            raise _NotShippedError
        card = (bundle.path / CARD).read_text(encoding="utf-8")
        (folder / CARD).write_text(f"{card.rstrip()}\n\nIn INT8 ({plan.method}): {gate.summary()}.\n", encoding="utf-8")
        return _about(quantised, gate, plan, left)

    with suppress(_NotShippedError):
        write_bundle(output, fill)
    return seen[0]


class _NotShippedError(Exception):
    """The gate refused."""


def _about(quantised: Bundle, gate: Gate, plan: Plan, left: Sequence[Sequence[Sensitivity]]) -> dict[str, Any]:
    fields = {
        name: value for name, value in quantised.about.items() if name not in ("digest", "files", "schema_version")
    }
    return {
        **fields,
        "precision": quantised.precision,
        "graphs": graph_fields(quantised.graphs),
        "quantisation": {
            **asdict(plan),
            **asdict(gate),
            "exempt": gate.exempt,
            "left_in_float": [[asdict(one) for one in member] for member in left],
            "made_from": quantised.about["digest"],
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
    calibrated = calibrate(path, feeds, percentile=plan.percentile)
    probes = feeds[:: max(1, len(feeds) // plan.n_sensitivity)][: plan.n_sensitivity]
    layers = sensitivities(calibrated, probes, "logits")
    left = worth_leaving(layers, least_gain=plan.least_gain, float_share=plan.float_share)
    write_static(calibrated, output, leave=[one.layer.node for one in left])
    return left


def decided(bundle: Bundle, evaluation: Path) -> Decided:
    """Return a bundle's decisions on held-out labelled windows; raises BundleError where they are of one class."""
    assert bundle.task is not None
    if bundle.task.multilabel:
        raise BundleError(f"the gate counts decisions among classes, and {bundle.task.name} has several of a window")
    decisions = Decided(true=[], predicted=[])
    n_windows = sum(shard.n_windows for shard in read_manifest(evaluation).shards)
    windows = progress(windows_of_shards([evaluation]), f"{bundle.precision} answers", unit="windows", total=n_windows)
    rows = labelled(iter(windows), bundle.task)
    while batch := list(islice(rows, 8)):
        decisions.true.extend(index for _, index in batch)
        decisions.predicted.extend(probabilities(bundle, [window for window, _ in batch]).argmax(axis=1).tolist())
    if len(set(decisions.true)) < 2:
        raise BundleError(
            f"{evaluation} has windows of {len(set(decisions.true))} classes of {bundle.task.name}: no gate"
        )
    return decisions


def judge(
    float_bundle: Bundle,
    quantised: Bundle,
    ours: Decided,
    theirs: Decided,
    left: Sequence[Sequence[Sensitivity]],
    *,
    most_changed: float,
) -> Gate:
    """Return both bundles' sizes and accuracies, and how often they decide alike; `left` stayed in float."""
    n_float, n_left = float_bundle.n_bytes, sum(one.layer.n_bytes for member in left for one in member)
    n_weights = sum(
        layer.n_bytes for graph in float_bundle.graphs for layer in layers_of(float_bundle.path / graph.file)
    )
    return Gate(
        size_ratio=n_float / quantised.n_bytes,
        size_allowed=n_float / (n_float - 0.75 * (n_weights - n_left)),
        weights_share=n_weights / n_float,
        balanced_accuracy_fp32=ours.balanced_accuracy,
        balanced_accuracy_int8=theirs.balanced_accuracy,
        agreement=float(np.mean(np.array(ours.predicted) == np.array(theirs.predicted))),
        most_changed=most_changed,
        n_windows=len(ours.true),
    )


def parse_args(argv: Sequence[str] | None) -> argparse.Namespace:
    """Return the parsed command line."""
    parser = Parser(prog=PROG, description="a bundle in INT8, if it is small enough and as good")
    parser.add_argument("bundle", type=Path, help="folder made by cerebeam export, fp32")
    parser.add_argument("--ranges", type=Path, required=True, help="shard set that ranges of activations come from")
    parser.add_argument(
        "--evaluate", type=Path, required=True, help="shard set with labels, of subjects not trained on"
    )
    parser.add_argument("--output", type=Path, required=True, help="folder of the INT8 bundle; must not exist yet")
    parser.add_argument(
        "--method", choices=tuple(METHODS), help="when activations get ranges; without: static, else dynamic"
    )
    parser.add_argument(
        "--most-changed", type=float, default=MOST_CHANGED, help="most of the decisions that may change, as a share"
    )
    parser.add_argument("--float-share", type=float, default=0.05, help="most of the weights that may stay in float")
    parser.add_argument("--json", action="store_true", help="one JSON object per method that was tried")
    parser.add_argument("--ranges-windows", type=int, default=32, help="how many windows ranges come from")
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> int:
    """Run from the command line; returns 0, or 2 where no bundle was written, with one line that gives the reason."""
    args = parse_args(argv)
    logging.getLogger().setLevel(logging.ERROR)  # the quantiser advises on its own internals
    plans = [
        Plan(
            method=method,
            n_calibration=args.ranges_windows,
            float_share=args.float_share,
            most_changed=args.most_changed,
        )
        for method in ([args.method] if args.method else METHODS)
    ]
    try:
        tried = quantise_first(load_bundle(args.bundle), args.ranges, args.evaluate, args.output, plans)
    except (BundleError, ManifestError) as error:
        print(f"{PROG}: {error}", file=sys.stderr)  # noqa: T201
        return 2
    if args.json:
        for plan, gate in tried:
            row = {"method": plan.method, "shipped": gate.ok, "refused": gate.refused, **asdict(gate)}
            print(json.dumps(row | {"output": str(args.output) if gate.ok else None}))  # noqa: T201
        return 0 if tried[-1][1].ok else 2
    for plan, gate in tried:
        if gate.ok:
            print(f"bundle {args.output}, {METHODS[plan.method]}: {gate.summary()}")  # noqa: T201
            return 0
        why = f"{METHODS[plan.method]} not shipped: {' and '.join(gate.refused)}; in all {gate.summary()}"
        print(f"{PROG}: {why}", file=sys.stderr)  # noqa: T201
    return 2


if __name__ == "__main__":
    sys.exit(main())
