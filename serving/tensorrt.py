"""python -m serving.tensorrt BUNDLE --output DIR: TensorRT engines from a bundle's graphs, with the real builder.

TensorRT for RTX (`tensorrt-rtx` of PyPI) builds ahead of time, without a GPU, for compute capability 7.5 to 12.1;
classic TensorRT (`tensorrt`) builds for the GPU that is there. Either takes fp32, fp16 and int8, with an optimisation
profile for any batch and length. With `--check SHARDS` the engine is run and must agree with ONNX Runtime, or is not
written.
What is missing on this machine is said in one line, exit code 3.
"""

import argparse
import hashlib
import json
import shutil
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from serving.gpu import DeviceArrays, Engine, Gpu, MissingError, find_gpu
from serving.int8 import calibrate, write_static
from serving.runtime import check_windows, onnx_session
from signals.answers import softmax
from signals.atomic import PARTIAL
from signals.bundle import FP32, SPECTROGRAM, Bundle, BundleError, Graph, load_bundle
from signals.command_line import Parser
from signals.manifest import ManifestError
from signals.served import feed, windows_of_shards

PROG = "serving.tensorrt"
MISSING_EXIT = 3
ABOUT, TIMING_CACHE = "engines.json", "timing.cache"
CLASSIC, RTX = "tensorrt", "tensorrt_rtx"
COMPUTE_CAPABILITIES = ("8.0", "8.6", "8.9", "12.0")
TOLERANCES = {"fp32": 1e-3, "fp16": 2e-2, "int8": 1e-1}
"""Largest difference of a probability from ONNX Runtime in fp32."""
SAME_DECISIONS = 0.99
"""Least share of windows with the same decision."""
_INSTALL = "pip install 'cerebeam[tensorrt]' (tensorrt-rtx), or use NVIDIA's TensorRT container (infra/tensorrt/)"


@dataclass(frozen=True, kw_only=True)
class Shapes:
    """An optimisation profile: smallest, usual and largest batch and length."""

    batches: tuple[int, int, int] = (1, 1, 16)
    n_times: tuple[int, int, int]

    @classmethod
    def of(cls, bundle: Bundle, graph: Graph, *, max_batch: int) -> "Shapes":
        """Return the profile for a graph: from its shortest window to twice the usual one."""
        usual = round(bundle.profile.window_s * bundle.modality.sfreq)
        return cls(batches=(1, 1, max_batch), n_times=(graph.min_times, max(usual, graph.min_times), 2 * usual))


@dataclass(frozen=True, kw_only=True)
class Agreement:
    """How well an engine agrees with ONNX Runtime in fp32."""

    n_windows: int
    max_probability_difference: float
    same_decisions: float
    tolerance: float

    @property
    def ok(self) -> bool:
        """Whether the engine may be shipped; nan fails."""
        return self.max_probability_difference <= self.tolerance and self.same_decisions >= SAME_DECISIONS


@dataclass(frozen=True, kw_only=True)
class Built:
    """One engine, as engines.json tells it."""

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


def load_tensorrt(name: str | None) -> tuple[str, Any]:
    """Return (name, module) of classic TensorRT or TensorRT for RTX; raises MissingError where neither is there."""
    tried = []
    for candidate in (CLASSIC, RTX) if name is None else (name,):
        try:
            module = __import__(candidate)
            if hasattr(module, "Builder"):
                return candidate, module
            tried.append(f"{candidate} holds no builder")
        except (ImportError, OSError, RuntimeError) as error:  # a stub raises what it likes
            tried.append(f"{candidate}: {str(error).splitlines()[0] if str(error) else type(error).__name__}")
    raise MissingError(f"no TensorRT here ({'; '.join(tried)}): {_INSTALL}")


def graph_of(bundle: Bundle, graph: Graph, precision: str, feeds: Sequence[Mapping[str, np.ndarray]], to: Path) -> Path:
    """Return the ONNX file of a precision that a strongly typed network takes; `feeds` give int8 its ranges."""
    path = bundle.path / graph.file
    if precision == "fp32":
        return path
    if precision == "int8":
        write_static(calibrate(path, [dict(feed) for feed in feeds], symmetric=True), to, symmetric=True)
        return to
    import onnx
    from onnxruntime.transformers.float16 import convert_float_to_float16

    # TensorRT counts in whole numbers and fp32 only.
    onnx.save(convert_float_to_float16(onnx.load(path), keep_io_types=True, op_block_list=["Range"]), to)
    return to


def build(
    trt: Any, library: str, onnx_path: Path, precision: str, shapes: Shapes, *, built_for: str, cache: Path,
    feeds: Sequence[Mapping[str, np.ndarray]] = (),
) -> bytes:  # fmt: skip
    """Return a serialised engine; raises BundleError, with the parser's or builder's own words, where there is none."""
    logger = trt.Logger(trt.Logger.ERROR)
    builder = trt.Builder(logger)
    config = builder.create_builder_config()
    typed = library == RTX or not hasattr(trt.BuilderFlag, "FP16")
    flags = 1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED) if typed else 0
    network = builder.create_network(flags)
    parser = trt.OnnxParser(network, logger)
    if not parser.parse(onnx_path.read_bytes()):
        raise BundleError(f"TensorRT does not take the graph: {parser.get_error(0)}")
    n_chans = network.get_input(0).shape[1]
    profile = builder.create_optimization_profile()
    low, usual, high = zip(shapes.batches, shapes.n_times, strict=True)
    profile.set_shape("signal", *((batch, n_chans, n_times) for batch, n_times in (low, usual, high)))
    profile.set_shape("ch_state", *((batch, n_chans) for batch in shapes.batches))
    config.add_optimization_profile(profile)
    if library == RTX:
        config.num_compute_capabilities = 1
        config.set_compute_capability(getattr(trt.ComputeCapability, f"SM{built_for.replace('.', '')}"), 0)
    else:
        config.set_timing_cache(config.create_timing_cache(cache.read_bytes() if cache.is_file() else b""), False)
    if not typed and precision != "fp32":
        config.set_flag(trt.BuilderFlag.FP16)
        if precision == "int8":
            config.set_flag(trt.BuilderFlag.INT8)
            config.int8_calibrator = entropy_calibrator(trt, feeds)
            config.set_calibration_profile(profile)
    plan = builder.build_serialized_network(network, config)
    if plan is None:
        raise BundleError(
            f"TensorRT built no engine of {onnx_path.name} in {precision} for {built_for}; its log says why"
        )
    if library == CLASSIC:
        cache.write_bytes(bytes(config.get_timing_cache().serialize()))
    return bytes(plan)


def entropy_calibrator(trt: Any, feeds: Sequence[Mapping[str, np.ndarray]]) -> Any:
    """Return classic TensorRT's calibrator, fed with windows of the calibration shards one by one."""

    class Calibrator(trt.IInt8EntropyCalibrator2):
        def __init__(self) -> None:
            super().__init__()
            self.left, self.arrays = iter(feeds), DeviceArrays()

        def get_batch_size(self) -> int:
            return 1

        def get_batch(self, names: list[str]) -> list[int] | None:
            feed = next(self.left, None)
            return None if feed is None else [self.arrays.put(np.ascontiguousarray(feed[name])) for name in names]

        def read_calibration_cache(self) -> None:
            return None

        def write_calibration_cache(self, cache: Any) -> None:
            """Nothing: calibration is repeated with each build, so that no stale ranges are used."""

    return Calibrator()


def agreement(
    trt: Any, engine_path: Path, bundle: Bundle, graph: Graph, feeds: Sequence[Mapping[str, np.ndarray]], precision: str
) -> Agreement:
    """Return how far the engine's probabilities are from ONNX Runtime's; needs the GPU that it was built for."""
    engine, session = Engine(trt, engine_path), onnx_session(bundle.path / graph.file)
    worst, same = 0.0, []
    for given in feeds:
        ours = softmax(session.run(["logits"], dict(given))[0])
        theirs = softmax(engine.run(given, "logits").astype(np.float32))
        worst = float(np.maximum(worst, np.abs(ours - theirs).max()))
        same += (ours.argmax(1) == theirs.argmax(1)).tolist()
    return Agreement(
        n_windows=len(same),
        max_probability_difference=worst,
        same_decisions=float(np.mean(same)),
        tolerance=TOLERANCES[precision],
    )


def feeds_of(bundle: Bundle, graph: Graph, shards: Path | None, n_windows: int) -> list[dict[str, np.ndarray]]:
    """Return inputs of a graph from a shard set, window by window; none without one."""
    if shards is None:
        return []
    windows = list(windows_of_shards([shards], n_windows=n_windows))
    check_windows(bundle, graph, windows)
    return [feed([window], graph) for window in windows]


def targets(library: str, asked: Sequence[str], gpu: Gpu | None) -> list[str]:
    """Return the compute capabilities to build for; raises MissingError where classic TensorRT finds no GPU."""
    if library == RTX:
        return list(asked) or list(COMPUTE_CAPABILITIES)
    if gpu is None:
        raise MissingError(f"classic TensorRT builds on the GPU that it is for, and there is none here: {_INSTALL}")
    if asked and list(asked) != [gpu.compute_capability]:
        raise BundleError(f"classic TensorRT builds for this GPU only, compute capability {gpu.compute_capability}")
    return [gpu.compute_capability]


def write_engines(bundle: Bundle, args: argparse.Namespace) -> list[Built]:
    """Write engines of all graphs, precisions and compute capabilities, whole or not at all, and return them."""
    if bundle.precision != FP32 or bundle.task is None:
        raise BundleError(f"{bundle.path} is {bundle.precision} {bundle.kind}: engines are built from fp32 classifiers")
    if any(SPECTROGRAM in graph.inputs for graph in bundle.graphs):
        raise BundleError(f"{bundle.path} has a member that reads spectrograms; engines are for networks on samples")
    if args.output.exists():
        raise BundleError(f"output {args.output} exists already; choose another")
    if "int8" in args.precision and args.calibration is None:
        raise BundleError("int8 needs --calibration: a shard set that ranges of activations come from")
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
    feeds = feeds_of(bundle, graph, args.calibration, args.calibration_windows) if precision == "int8" else []
    calibrated = library == CLASSIC and hasattr(trt, "IInt8EntropyCalibrator2")
    scratch = folder / "scratch.onnx"
    onnx_path = bundle.path / graph.file if calibrated else graph_of(bundle, graph, precision, feeds, scratch)
    shapes = Shapes.of(bundle, graph, max_batch=args.max_batch)
    plan = build(
        trt, library, onnx_path, precision, shapes, built_for=place, cache=folder / TIMING_CACHE, feeds=feeds
    )  # fmt: skip
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
    found = agreement(trt, path, bundle, graph, feeds_of(bundle, graph, args.check, args.check_windows), precision)
    if not found.ok:
        raise BundleError(f"{path.name} disagrees with ONNX Runtime: {asdict(found)}; nothing was written")
    return replace(built, parity=found)


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
    parser.add_argument("--calibration", type=Path, help="shard set that ranges of int8 come from")
    parser.add_argument("--calibration-windows", type=int, default=32, help="how many of its windows")
    parser.add_argument("--max-batch", type=int, default=16, help="largest batch that an engine takes")
    parser.add_argument("--check", type=Path, help="shard set on which the engine is run and compared; needs the GPU")
    parser.add_argument("--check-windows", type=int, default=200, help="how many of its windows")
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> int:
    """Run from the command line; returns 0, 2 for bad input, or 3 where this machine lacks something."""
    args = parse_args(argv)
    try:
        built = write_engines(load_bundle(args.bundle), args)
    except MissingError as error:
        print(f"{PROG}: {error}", file=sys.stderr)  # noqa: T201
        return MISSING_EXIT
    except (BundleError, ManifestError) as error:
        print(f"{PROG}: {error}", file=sys.stderr)  # noqa: T201
        return 2
    for one in built:
        size = (args.output / one.file).stat().st_size / 1e6
        parity = one.parity
        run = f"differs by {parity.max_probability_difference:.1e} at most" if parity else "built, never run"
        print(f"{one.file}  {size:.1f} MB  {one.library} {one.version}  for {one.built_for}  {run}")  # noqa: T201
    return 0


if __name__ == "__main__":
    sys.exit(main())
