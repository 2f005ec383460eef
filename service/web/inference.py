"""Open Inference Protocol v2 over HTTP, with its extension for binary tensors: for tritonclient and KServe's client.

https://github.com/kserve/open-inference-protocol, and Triton's extension_binary_data.md.
"""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import orjson

from service.answering.house import class_row
from service.refusals import Refusal
from service.web.answers import share_of_entropy
from service.web.bodies import MOST_CHANNELS, MOST_TIMES, Sample, read_json
from serving.intake import SFREQ
from serving.model import Model
from serving.runtime import Answer

EEG, SPECTROGRAM = "eeg", "spectrogram"
HEADER_LENGTH = "inference-header-content-length"
OUTPUTS = ("probabilities", "uncertainty", "abstained", "predicted_class")
_MOST_WINDOWS = 64


@dataclass(frozen=True)
class InferRequest:
    """A request's samples and which outputs it wants, binary or not."""

    id: str | None
    samples: list[Sample]
    outputs: dict[str, bool]
    """Name to whether it is wanted as bytes."""
    timeout_s: float | None


def metadata(model: Model) -> dict[str, Any]:
    """Return a model's description by the protocol."""
    n_chans, n_classes = model.bundle.modality.n_chans, len(model.bundle.classes)
    inputs = [{"name": EEG, "datatype": "FP32", "shape": [-1, n_chans, round(model.bundle.profile.window_s * SFREQ)]}]
    if model.spectrogram_shape is not None:
        inputs.append({"name": SPECTROGRAM, "datatype": "FP32", "shape": [-1, *model.spectrogram_shape]})
    return {
        "name": model.name,
        "versions": [model.digest[:12]],
        "platform": "onnxruntime_onnx",
        "inputs": inputs,
        "outputs": [
            {"name": "probabilities", "datatype": "FP32", "shape": [-1, n_classes]},
            {"name": "uncertainty", "datatype": "FP32", "shape": [-1, 1]},
            {"name": "abstained", "datatype": "BOOL", "shape": [-1, 1]},
            {"name": "predicted_class", "datatype": "BYTES", "shape": [-1, 1]},
        ],
    }


def read_request(body: bytes, header_length: str | None) -> InferRequest:
    """Return the request in a body whose JSON part is `header_length` bytes long, all of it without.

    Raises Refusal 400 for what is not of the protocol, 422 for tensors that the model does not take.
    """
    n_header = len(body)
    if header_length is not None:
        if not header_length.isdigit() or int(header_length) > len(body):
            raise _malformed("Inference-Header-Content-Length is longer than the body")
        n_header = int(header_length)
    fields, raw = read_json(body[:n_header]), memoryview(body)[n_header:]
    tensors = _tensors(fields.get("inputs"), raw)
    if EEG not in tensors or set(tensors) - {EEG, SPECTROGRAM}:
        raise Refusal(422, "invalid_request", f"inputs must be {EEG} and, where the model reads it, {SPECTROGRAM}")
    parameters = fields.get("parameters")
    parameters = parameters if isinstance(parameters, dict) else {}
    return InferRequest(
        id=_id(fields), samples=_samples(tensors, parameters), outputs=_outputs(fields, parameters),
        timeout_s=_timeout(parameters),
    )  # fmt: skip


def _tensors(inputs: Any, raw: memoryview) -> dict[str, np.ndarray]:
    if not isinstance(inputs, list) or not 0 < len(inputs) <= 4:
        raise _malformed("inputs is no list of tensors")
    tensors: dict[str, np.ndarray] = {}
    for tensor in inputs:
        if not isinstance(tensor, dict) or not isinstance(tensor.get("name"), str) or tensor["name"] in tensors:
            raise _malformed("an input is no object with a name of its own")
        if tensor.get("datatype") != "FP32":
            raise _malformed("an input's datatype is not FP32")
        shape = _shape(tensor.get("shape"))
        parameters = tensor.get("parameters")
        n_bytes = parameters.get("binary_data_size") if isinstance(parameters, dict) else None
        if n_bytes is None:
            tensors[tensor["name"]] = _listed(tensor.get("data"), shape)
            continue
        if n_bytes != 4 * math.prod(shape) or n_bytes > len(raw):
            raise _malformed("binary_data_size is not what the shape needs, or the body ends before")
        tensors[tensor["name"]] = np.frombuffer(raw[:n_bytes], dtype="<f4").reshape(shape)
        raw = raw[n_bytes:]
    if len(raw):
        raise _malformed("the body goes on after the last tensor")
    if not all(np.isfinite(tensor).all() for tensor in tensors.values()):
        raise Refusal(422, "not_finite", "an input holds a number that is not finite")
    return tensors


def _shape(value: Any) -> tuple[int, ...]:
    sizes = value if isinstance(value, list) else []
    most = (_MOST_WINDOWS, MOST_CHANNELS, MOST_TIMES, MOST_TIMES)
    whole = all(isinstance(size, int) and not isinstance(size, bool) and size > 0 for size in sizes)
    if not 2 <= len(sizes) <= 4 or not whole or any(size > at_most for size, at_most in zip(sizes, most, strict=False)):
        raise _malformed("an input's shape is not windows x channels x samples of a size that can be answered")
    return tuple(sizes)


def _listed(data: Any, shape: tuple[int, ...]) -> np.ndarray:
    try:
        values = np.asarray(data)
        if values.dtype.kind in "fiu":
            with np.errstate(over="ignore"):
                return values.astype(np.float32).reshape(shape)
    except ValueError:
        pass
    raise _malformed("an input's data is not the numbers that its shape needs")


def _samples(tensors: dict[str, np.ndarray], parameters: dict[str, Any]) -> list[Sample]:
    eeg = tensors[EEG] if tensors[EEG].ndim == 3 else tensors[EEG][None]
    spectrograms: list[np.ndarray | None] = [None] * len(eeg)
    if SPECTROGRAM in tensors:
        given = tensors[SPECTROGRAM] if tensors[SPECTROGRAM].ndim == 4 else tensors[SPECTROGRAM][None]
        if len(given) != len(eeg):
            raise Refusal(422, "invalid_request", "there are not as many spectrograms as windows")
        spectrograms = list(given)
    if eeg.ndim != 3:
        raise _malformed(f"{EEG} is not windows x channels x samples")
    sfreq = parameters.get("sfreq", SFREQ)
    if isinstance(sfreq, bool) or not isinstance(sfreq, int | float) or not 30 <= sfreq <= 20_000:
        raise Refusal(422, "unusable_rate", "the parameter sfreq is no number from 30 to 20000")
    return [Sample(x, float(sfreq), None, s) for x, s in zip(eeg, spectrograms, strict=True)]


def _outputs(fields: dict[str, Any], parameters: dict[str, Any]) -> dict[str, bool]:
    binary = parameters.get("binary_data_output") is True
    wanted = fields.get("outputs")
    if wanted is None:
        return dict.fromkeys(OUTPUTS, binary)
    result = {}
    for output in wanted if isinstance(wanted, list) else [None]:
        if not isinstance(output, dict) or output.get("name") not in OUTPUTS:
            raise _malformed(f"an output is none of {', '.join(OUTPUTS)}")
        given = output.get("parameters")
        result[output["name"]] = given.get("binary_data", binary) is True if isinstance(given, dict) else binary
    return result


def _id(fields: dict[str, Any]) -> str | None:
    value = fields.get("id")
    return value if isinstance(value, str) and len(value) <= 128 and value.isprintable() else None


def _timeout(parameters: dict[str, Any]) -> float | None:
    """Return Triton's `timeout`, which is in microseconds, as seconds."""
    value = parameters.get("timeout")
    if isinstance(value, bool) or not isinstance(value, int) or not 0 < value < 3_600_000_000:
        return None
    return value / 1e6


def write_response(model: Model, request: InferRequest, answers: list[Answer]) -> tuple[bytes, dict[str, str]]:
    """Return body and headers of a response: JSON, then the outputs that are wanted as bytes, in order."""
    values = _values(model, answers)
    described, parts = [], []
    for name, binary in request.outputs.items():
        datatype, array = values[name]
        output: dict[str, Any] = {"name": name, "datatype": datatype, "shape": list(array.shape)}
        if binary:
            raw = _bytes_of(array)
            output["parameters"] = {"binary_data_size": len(raw)}
            parts.append(raw)
        else:
            output["data"] = array.reshape(-1).tolist()
        described.append(output)
    fields = {"model_name": model.name, "model_version": model.digest[:12], "outputs": described}
    header = orjson.dumps(fields | ({"id": request.id} if request.id is not None else {}))
    if not parts:
        return header, {"content-type": "application/json"}
    headers = {"content-type": "application/octet-stream", HEADER_LENGTH: str(len(header))}
    return b"".join([header, *parts]), headers


def _values(model: Model, answers: list[Answer]) -> dict[str, tuple[str, np.ndarray]]:
    classes, below = model.bundle.classes, model.bundle.calibration.abstain_below
    column = (len(answers), 1)
    abstained = [below is not None and answer.confidence < below for answer in answers]
    return {
        "probabilities": ("FP32", np.stack([class_row(answer, classes) for answer in answers])),
        "uncertainty": ("FP32", np.array([share_of_entropy(a) for a in answers], dtype=np.float32).reshape(column)),
        "abstained": ("BOOL", np.array(abstained, dtype=bool).reshape(column)),
        "predicted_class": ("BYTES", np.array([a.predicted_class for a in answers], dtype=object).reshape(column)),
    }


def _bytes_of(array: np.ndarray) -> bytes:
    if array.dtype != object:
        return array.astype(array.dtype.newbyteorder("<"), copy=False).tobytes()
    texts = [str(value).encode() for value in array.reshape(-1)]
    return b"".join(len(text).to_bytes(4, "little") + text for text in texts)


def _malformed(error: str) -> Refusal:
    return Refusal(400, "invalid_tensor", error, "see the Open Inference Protocol, v2")
