"""TensorRT's builder behind one function: graphs in, engines out, and how far an engine is from ONNX Runtime."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from serving.deploy.gpu import DeviceArrays, Engine, MissingError
from serving.deploy.int8 import calibrate, write_static
from serving.runtime import onnx_session
from signals.bundles.bundle import Bundle, BundleError, Graph
from signals.bundles.calibration import activated

CLASSIC, RTX = "tensorrt", "tensorrt_rtx"
TOLERANCES = {"fp32": 1e-3, "fp16": 2e-2, "int8": 1e-1}
"""Largest difference of a probability from ONNX Runtime in fp32."""
SAME_DECISIONS = 0.99
"""Least share of windows with the same decision."""
INSTALL = "pip install 'cerebeam[tensorrt]' (tensorrt-rtx), or use NVIDIA's TensorRT container (infra/tensorrt/)"


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
    raise MissingError(f"no TensorRT here ({'; '.join(tried)}): {INSTALL}")


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
    model = onnx.load(path)
    _give_own_constants(model.graph)
    onnx.save(convert_float_to_float16(model, keep_io_types=True, op_block_list=["Range"]), to)
    return to


def _give_own_constants(graph: Any) -> None:
    """Give each use of a float constant one of its own: the converter casts a shared one twice under one name."""
    from onnx import TensorProto

    constants = {tensor.name: tensor for tensor in graph.initializer if tensor.data_type == TensorProto.FLOAT}
    seen: set[str] = set()
    for number, node in enumerate(graph.node):
        for place, name in enumerate(node.input):
            if name in seen:
                own = graph.initializer.add()
                own.CopyFrom(constants[name])
                own.name = node.input[place] = f"{name}_{number}_{place}"
            elif name in constants:
                seen.add(name)


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
    engine, session = Engine(trt, engine_path), onnx_session(bundle, graph.file)
    worst, same, several = 0.0, [], bundle.task is not None and bundle.task.multilabel
    for feed in feeds:
        ours = activated(session.run(["logits"], dict(feed))[0], multilabel=several)
        theirs = activated(engine.run(feed, "logits").astype(np.float32), multilabel=several)
        worst = float(np.maximum(worst, np.abs(ours - theirs).max()))
        alike = ((ours >= 0.5) == (theirs >= 0.5)).all(1) if several else ours.argmax(1) == theirs.argmax(1)
        same += alike.tolist()
    return Agreement(
        n_windows=len(same),
        max_probability_difference=worst,
        same_decisions=float(np.mean(same)),
        tolerance=TOLERANCES[precision],
    )
