"""Which GPU this machine has, by its driver, and running an engine on it."""

import ctypes
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

_CC_MAJOR, _CC_MINOR = 75, 76  # CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR and _MINOR of cuda.h


class MissingError(RuntimeError):
    """Something that is missing on this machine; the message names it, and how to get it."""


@dataclass(frozen=True, kw_only=True)
class Gpu:
    """The first GPU of this machine."""

    name: str
    compute_capability: str
    """"8.6" and so on."""


def find_gpu() -> Gpu | None:
    """Return the first GPU, or None where there is no driver or no device."""
    try:
        cuda = ctypes.CDLL("libcuda.so.1")
    except OSError:
        return None
    count, device, name = ctypes.c_int(), ctypes.c_int(), ctypes.create_string_buffer(256)
    major, minor = ctypes.c_int(), ctypes.c_int()
    if cuda.cuInit(0) or cuda.cuDeviceGetCount(ctypes.byref(count)) or not count.value:
        return None
    errors = (
        cuda.cuDeviceGet(ctypes.byref(device), 0),
        cuda.cuDeviceGetName(name, len(name), device),
        cuda.cuDeviceGetAttribute(ctypes.byref(major), _CC_MAJOR, device),
        cuda.cuDeviceGetAttribute(ctypes.byref(minor), _CC_MINOR, device),
    )
    if any(errors):
        raise MissingError(f"the CUDA driver does not name its device: error codes {errors}")
    return Gpu(name=name.value.decode(), compute_capability=f"{major.value}.{minor.value}")


def cuda_runtime() -> Any:
    """Return NVIDIA's Python binding of the CUDA runtime; raises MissingError where it is not installed."""
    try:
        from cuda.bindings import runtime
    except ImportError:
        raise MissingError("running an engine needs NVIDIA's binding of CUDA: pip install cuda-python") from None
    return runtime


class DeviceArrays:
    """Buffers on the GPU, freed together when the block ends."""

    def __init__(self) -> None:
        self.cuda = cuda_runtime()
        self.pointers: list[Any] = []

    def __enter__(self) -> "DeviceArrays":
        return self

    def __exit__(self, *_: object) -> None:
        for pointer in self.pointers:
            self.cuda.cudaFree(pointer)

    def empty(self, n_bytes: int) -> int:
        """Return the address of a new buffer."""
        (pointer,) = self._ask(self.cuda.cudaMalloc(n_bytes))
        self.pointers.append(pointer)
        return int(pointer)

    def put(self, array: np.ndarray) -> int:
        """Return the address of a copy of the array."""
        pointer = self.empty(array.nbytes)
        kind = self.cuda.cudaMemcpyKind.cudaMemcpyHostToDevice
        self._ask(self.cuda.cudaMemcpy(pointer, array.ctypes.data, array.nbytes, kind))
        return pointer

    def get(self, pointer: int, into: np.ndarray) -> np.ndarray:
        """Copy a buffer into an array, and return it."""
        kind = self.cuda.cudaMemcpyKind.cudaMemcpyDeviceToHost
        self._ask(self.cuda.cudaMemcpy(into.ctypes.data, pointer, into.nbytes, kind))
        return into

    def wait(self) -> None:
        """Wait for everything that was queued on the device."""
        self._ask(self.cuda.cudaDeviceSynchronize())

    def _ask(self, answer: tuple[Any, ...]) -> tuple[Any, ...]:
        code, *values = answer
        if int(code):
            raise MissingError(f"CUDA refused with error {int(code)}: the GPU is out of memory or of another driver")
        return tuple(values)


class Engine:
    """A TensorRT engine on the GPU of this machine."""

    def __init__(self, trt: Any, path: Path) -> None:
        """Load a plan; raises MissingError where this GPU or this TensorRT cannot take it."""
        self.trt = trt
        runtime = trt.Runtime(trt.Logger(trt.Logger.ERROR))
        self.engine = runtime.deserialize_cuda_engine(path.read_bytes())
        if self.engine is None:
            raise MissingError(f"{path.name} does not load here: it is for another GPU or another version of TensorRT")
        self.context = self.engine.create_execution_context()

    def run(self, feed: Mapping[str, np.ndarray], output: str) -> np.ndarray:
        """Return one output of the engine for a batch."""
        context, engine = self.context, self.engine
        with DeviceArrays() as arrays:
            for name, value in feed.items():
                context.set_input_shape(name, value.shape)
                context.set_tensor_address(name, arrays.put(np.ascontiguousarray(value)))
            results = {}
            for name in (engine.get_tensor_name(i) for i in range(engine.num_io_tensors)):
                if name in feed:
                    continue
                dtype = self.trt.nptype(engine.get_tensor_dtype(name))
                results[name] = np.empty(tuple(context.get_tensor_shape(name)), dtype=dtype)
                context.set_tensor_address(name, arrays.empty(results[name].nbytes))
            if not context.execute_async_v3(0):
                raise MissingError("TensorRT did not run the engine; its log says why")
            arrays.wait()
            return arrays.get(context.get_tensor_address(output), results[output])
