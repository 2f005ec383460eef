"""python -m serving.deploy.tensorrt BUNDLE --output DIR: TensorRT engines from a bundle's graphs, with the real
builder.

TensorRT for RTX (`tensorrt-rtx` of PyPI) builds ahead of time, without a GPU, for compute capability 7.5 to 12.1;
classic TensorRT (`tensorrt`) builds for the GPU that is there. Either takes fp32, fp16 and int8, with an optimisation
profile for any batch and length. With `--check SHARDS` the engine is run and must agree with ONNX Runtime, or is not
written.
What is missing on this machine is reported in one line, exit code 3.
"""

import argparse
import hashlib
import json
import shutil
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from serving.deploy.engines import (
    CLASSIC,
    INSTALL,
    RTX,
    TOLERANCES,
    Agreement,
    Shapes,
    agreement,
    build,
    graph_of,
    load_tensorrt,
)
from serving.deploy.gpu import Gpu, MissingError, find_gpu
from serving.runtime import check_windows
from signals.bundles.bundle import FP32, METADATA, PATTERNS, SPECTROGRAM, Bundle, BundleError, Graph, load_bundle
from signals.bundles.inputs import feed, windows_of_shards
from signals.command_line import Parser
from signals.files import PARTIAL
from signals.json_output import add_json, print_json
from signals.shards.manifest import ManifestError

PROG = "cerebeam tensorrt"
MISSING_EXIT = 3
ABOUT, TIMING_CACHE = "engines.json", "timing.cache"
COMPUTE_CAPABILITIES = ("8.0", "8.6", "8.9", "12.0")


@dataclass(frozen=True, kw_only=True)
class Built:
    """One engine, as engines.json lists it."""

    file: str
    graph: str
    precision: str
    built_for: str
    """Compute capability, and the GPU's name where it was built on one."""
    library: str
    version: str
    shapes: Shapes
    sha256: str
    parity: Agreement | None = field(default=None)
    """None: the engine was never run."""


def feeds_of(bundle: Bundle, graph: Graph, shards: Path | None, n_windows: int) -> list[dict[str, np.ndarray]]:
    """Return inputs of a graph from a shard set, window by window; none without one."""
    if shards is None:
        return []
    windows = list(windows_of_shards([shards], n_windows=n_windows))
    check_windows(bundle, graph, windows)
    return [feed([window], graph) for window in windows]


def targets(library: str, names: Sequence[str], gpu: Gpu | None) -> list[str]:
    """Return the compute capabilities to build for; raises MissingError where classic TensorRT finds no GPU."""
    if library == RTX:
        return list(names) or list(COMPUTE_CAPABILITIES)
    if gpu is None:
        raise MissingError(f"classic TensorRT builds on the GPU that it is for, and there is none here: {INSTALL}")
    if names and list(names) != [gpu.compute_capability]:
        raise BundleError(f"classic TensorRT builds for this GPU only, compute capability {gpu.compute_capability}")
    return [gpu.compute_capability]


def write_engines(bundle: Bundle, args: argparse.Namespace) -> list[Built]:
    """Write engines of all graphs, precisions and compute capabilities, whole or not at all, and return them."""
    if bundle.precision != FP32 or bundle.task is None:
        raise BundleError(f"{bundle.path} is {bundle.precision} {bundle.kind}: engines are built from fp32 classifiers")
    if odd := {name for graph in bundle.graphs for name in graph.inputs} & {SPECTROGRAM, PATTERNS, METADATA}:
        raise BundleError(f"{bundle.path} has a member that reads {odd.pop()}; engines are for networks on samples")
    if args.output.exists():
        raise BundleError(f"output {args.output} exists already; choose another")
    if "int8" in args.precision and args.ranges is None:
        raise BundleError("int8 needs --ranges: a shard set that ranges of activations come from")
    library, trt = load_tensorrt(args.library)
    gpu = find_gpu()
    places = targets(library, args.compute_capability, gpu)
    if args.check and gpu is None:
        raise MissingError("--check runs the engine, and there is no GPU with a driver here; build without it")
    partial = args.output.with_name(args.output.name + PARTIAL)
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    try:
        built = [
            _write_one(bundle, graph, args, partial, precision, place, (library, trt), gpu)
            for graph in bundle.graphs
            for precision in args.precision
            for place in places
        ]
        about = {"bundle_digest": bundle.about["digest"], "engines": [asdict(one) for one in built]}
        (partial / ABOUT).write_text(json.dumps(about, indent=1, sort_keys=True) + "\n", encoding="utf-8")
        partial.rename(args.output)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return built


def _write_one(
    bundle: Bundle, graph: Graph, args: argparse.Namespace, folder: Path, precision: str, place: str,
    tensorrt: tuple[str, Any], gpu: Gpu | None,
) -> Built:  # fmt: skip
    library, trt = tensorrt
    feeds = feeds_of(bundle, graph, args.ranges, args.ranges_windows) if precision == "int8" else []
    calibrated = library == CLASSIC and hasattr(trt, "IInt8EntropyCalibrator2")
    scratch = folder / "scratch.onnx"
    onnx_path = bundle.path / graph.file if calibrated else graph_of(bundle, graph, precision, feeds, scratch)
    shapes = Shapes.of(bundle, graph, max_batch=args.max_batch)
    cache = args.timing_cache or folder / TIMING_CACHE
    plan = build(trt, library, onnx_path, precision, shapes, built_for=place, cache=cache, feeds=feeds)
    scratch.unlink(missing_ok=True)
    path = folder / f"{Path(graph.file).stem}-sm{place.replace('.', '')}-{precision}.engine"
    path.write_bytes(plan)
    on_gpu = gpu is not None and library == CLASSIC
    built = Built(
        file=path.name,
        graph=graph.file,
        precision=precision,
        built_for=f"{place} ({gpu.name})" if on_gpu and gpu else place,
        library=library,
        version=trt.__version__,
        shapes=shapes,
        sha256=hashlib.sha256(plan).hexdigest(),
    )
    if not args.check or gpu is None or gpu.compute_capability != place:
        return built
    agreed = agreement(trt, path, bundle, graph, feeds_of(bundle, graph, args.check, args.check_windows), precision)
    if not agreed.ok:
        raise BundleError(f"{path.name} disagrees with ONNX Runtime: {asdict(agreed)}; nothing was written")
    return replace(built, parity=agreed)


def parse_args(argv: Sequence[str] | None) -> argparse.Namespace:
    """Return the parsed command line."""
    parser = Parser(prog=PROG, description="TensorRT engines from a bundle's graphs")
    parser.add_argument("bundle", type=Path, help="folder made by cerebeam export, fp32")
    parser.add_argument("--output", type=Path, required=True, help="folder of the engines; must not exist yet")
    parser.add_argument("--library", choices=(CLASSIC, RTX), help="which TensorRT; classic first if not given")
    parser.add_argument(
        "--compute-capability", nargs="+", default=[], metavar="X.Y", choices=("7.5", *COMPUTE_CAPABILITIES, "12.1"),
        help=f"GPUs to build for ahead of time (tensorrt_rtx); {', '.join(COMPUTE_CAPABILITIES)} if not given",
    )  # fmt: skip
    parser.add_argument("--precision", nargs="+", default=["fp16"], choices=tuple(TOLERANCES), help="of the engines")
    parser.add_argument("--ranges", type=Path, help="shard set that ranges of int8 come from")
    parser.add_argument("--ranges-windows", type=int, default=32, help="how many of its windows")
    parser.add_argument("--max-batch", type=int, default=16, help="largest batch that an engine takes")
    parser.add_argument(
        "--timing-cache", type=Path, help="file that keeps classic TensorRT's measurements for the next build"
    )
    parser.add_argument("--check", type=Path, help="shard set on which the engine is run and compared; needs the GPU")
    parser.add_argument("--check-windows", type=int, default=200, help="how many of its windows")
    add_json(parser, "the engines that were built")
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> int:
    """Run from the command line; returns 0, 2 for bad input, or 3 where something is missing on this machine."""
    args = parse_args(argv)
    try:
        built = write_engines(load_bundle(args.bundle), args)
    except MissingError as error:
        print(f"{PROG}: {error}", file=sys.stderr)  # noqa: T201
        return MISSING_EXIT
    except (BundleError, ManifestError) as error:
        print(f"{PROG}: {error}", file=sys.stderr)  # noqa: T201
        return 2
    if args.json:
        print_json({"output": args.output, "engines": built})
        return 0
    for one in built:
        size = (args.output / one.file).stat().st_size / 1e6
        parity = one.parity
        run = f"differs by {parity.max_probability_difference:.1e} at most" if parity else "built, never run"
        print(f"{one.file}  {size:.1f} MB  {one.library} {one.version}  for {one.built_for}  {run}")  # noqa: T201
    return 0


if __name__ == "__main__":
    sys.exit(main())
