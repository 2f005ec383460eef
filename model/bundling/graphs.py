"""Networks as ONNX graphs with a dynamic batch and a dynamic length, and all that a bundle must state about them.

Shapes: B batch, C channel, T sample, N step of time, H head, D width, K class, M member, R region, F bin, S column.
"""

import json
import math
import warnings
from collections.abc import Mapping
from copy import deepcopy
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from model.bundling.tracing import OPSET, strip, trace
from model.classifier import Classifier
from model.encoder import Encoder
from model.encoder_config import EncoderConfig
from model.layers.fusion import GatedCrossAttention
from model.montage import FixedMontage
from model.saved import TaskModel, load_task_model, model_name
from model.supervised.supervised import Supervised
from signals.bundles.bundle import METADATA, SIGNAL_INPUTS, SPECTROGRAM, BundleError
from signals.modality import Modality
from signals.shards.normalise import Normaliser
from signals.tasks import TASKS, Task
from signals.window import MEASURED
from signals.windows.surroundings import SPECTROGRAM_SHAPE

MAX_STEPS = 4096
"""Longest window, in steps of `Exportable.step_times`: over an hour of seconds."""


@dataclass(frozen=True, kw_only=True)
class Exportable:
    """A network with what is needed to use it on a window."""

    network: nn.Module = field(repr=False)
    """Called with signal and ch_state; returns (logits, representation) or, an encoder, (representation, channels)."""
    name: str
    task: Task | None
    modality: Modality
    normaliser: Normaliser
    profile: Mapping[str, Any]
    provenance: Mapping[str, Any]
    step_times: int
    """The length must be a multiple of this, samples."""
    min_times: int
    """Shortest window, samples."""
    inputs: tuple[str, ...] = SIGNAL_INPUTS
    """Names of what the network is called with, in order."""
    fields: tuple[str, ...] = ()
    """Fields of the person that it reads, columns of METADATA."""

    @property
    def outputs(self) -> tuple[str, str]:
        """Names of what the network returns."""
        return ("logits", "representation") if self.task is not None else ("representation", "channels")

    @property
    def n_parameters(self) -> int:
        """How many numbers were learnt."""
        return sum(p.numel() for p in self.network.parameters())


def load_exportable(folder: Path) -> Exportable:
    """Return a saved task model, ready to be exported.

    Raises BundleError for a folder that holds none, and for a network that does not say how its windows were prepared.
    """
    try:
        model = load_task_model(folder)
    except (ValueError, FileNotFoundError) as error:
        raise BundleError(str(error)) from None
    config, inputs = model.config, _inputs(model)
    if config.task not in TASKS:
        raise BundleError(f"{folder} is for the unknown task {config.task!r}; tasks are {', '.join(sorted(TASKS))}")
    if "window_s" not in config.profile:
        raise BundleError(f"{folder} does not say how its windows were prepared (no profile): fit and save it again")
    if SPECTROGRAM in inputs and not config.profile.get("spectrogram"):
        raise BundleError(f"{folder} reads spectrograms that its profile does not make: prepare six-class-spectrogram")
    step, shortest = _lengths(model)
    return Exportable(
        network=_called(model, inputs).eval(),
        name=model_name(model),
        task=TASKS[config.task],
        modality=model.modality,
        normaliser=model.normaliser,
        profile=config.profile,
        provenance=config.provenance,
        step_times=step,
        min_times=shortest,
        inputs=inputs,
        fields=model.fields if isinstance(model, Supervised) else (),
    )


def _called(model: TaskModel, inputs: tuple[str, ...]) -> nn.Module:
    """Return a model as something that is called with these inputs, in order."""
    if isinstance(model, Supervised) and inputs == (SPECTROGRAM,):
        return SpectrogramOnly(model)
    return SignalAndMetadata(model) if METADATA in inputs else model


def _inputs(model: TaskModel) -> tuple[str, ...]:
    """Return what a model must be called with: an encoder that listens to spectrograms hears both."""
    if isinstance(model, Supervised):
        signal = (*SIGNAL_INPUTS, METADATA) if model.fields else SIGNAL_INPUTS
        return (SPECTROGRAM,) if model.reads_spectrogram else signal
    listens = SPECTROGRAM in model.encoder.config.fusion
    return (*SIGNAL_INPUTS, SPECTROGRAM) if listens else SIGNAL_INPUTS


def _lengths(model: TaskModel) -> tuple[int, int]:
    """Return the step that lengths are multiples of, and the shortest: it must reach the end of the label's span."""
    if isinstance(model, Classifier):
        step, span = int(model.encoder.config.token_times), model.head.span_tokens
        return step, step * (2 if span is None else max(2, span[1]))
    step, span_s = round(model.modality.sfreq), model.config.label_span_s
    return step, step * (2 if span_s is None else max(2, math.ceil(span_s[1])))


class SpectrogramOnly(nn.Module):
    """A network on spectrograms without the samples that it does not read."""

    def __init__(self, model: Supervised) -> None:
        super().__init__()
        self.model = model

    def forward(self, spectrogram_BRFS: Tensor) -> tuple[Tensor, Tensor]:
        """Return (logits_BK, embedding_BD)."""
        logits_BK, embedding_BD = self.model.network(spectrogram_BRFS)
        return logits_BK, embedding_BD


class SignalAndMetadata(nn.Module):
    """A network on samples and fields of the person without the spectrogram that it does not read."""

    def __init__(self, model: TaskModel) -> None:
        super().__init__()
        self.model = model

    def forward(self, x_BCT: Tensor, ch_state_BC: Tensor, metadata_BF: Tensor) -> tuple[Tensor, Tensor]:
        """Return (logits_BK, embedding_BD)."""
        logits_BK, embedding_BD = self.model(x_BCT, ch_state_BC, metadata_BF=metadata_BF)
        return logits_BK, embedding_BD


def load_encoder(
    folder: Path, *, modality: Modality, profile: Mapping[str, Any], about: Mapping[str, Any]
) -> Exportable:
    """Return a pretrained encoder for windows of a modality; each window is scaled by its own size, as in training."""
    if _config(folder).get("model_type") != EncoderConfig.model_type:
        raise BundleError(f"{folder} holds no encoder; name the folder encoder/ of a pretraining")
    encoder = Encoder.from_pretrained(folder, local_files_only=True).eval()
    step = encoder.config.token_times
    return Exportable(
        network=Embedder(encoder, modality).eval(),
        name="encoder",
        task=None,
        modality=modality,
        normaliser=Normaliser(kind="window"),
        profile=profile,
        provenance=about,
        step_times=step,
        min_times=2 * step,
    )


def _config(folder: Path) -> dict[str, Any]:
    path = folder / "config.json"
    if not path.is_file() or not (folder / "model.safetensors").is_file():
        raise BundleError(f"{folder} is no model: it needs config.json and model.safetensors; make one with finetune")
    return dict(json.loads(path.read_text(encoding="utf-8")))


class Embedder(nn.Module):
    """An encoder for one modality, as a graph wants it: two inputs, two outputs."""

    def __init__(self, encoder: Encoder, modality: Modality) -> None:
        super().__init__()
        self.encoder = encoder
        self.montage = FixedMontage(modality)

    def forward(self, x_BCT: Tensor, ch_state_BC: Tensor) -> tuple[Tensor, Tensor]:
        """Return (window_BD, channels_BCD) of normalised windows."""
        out = self.encoder(x_BCT, self.montage(ch_state_BC))
        return out["window_BD"], out["channels_BCD"]


def write_graph(model: Exportable, path: Path) -> None:
    """Write a network as ONNX with a dynamic batch and, of a signal, a dynamic length.

    Encoders, recurrent networks and those of several sources are traced. The newer exporter reasons about an encoder's
    symbolic shapes for ten times as long and writes its GELU in a form that ONNX Runtime does not recognise; recurrent
    networks it unrolls into one length. A length that tracing fixes fails in the parity that follows each export
    (`model.bundling.parity`).
    Raises BundleError where the exporter has no form for an operator of it.
    """
    example, names = _example(model)
    try:
        if any(isinstance(module, nn.RNNBase | Encoder | GatedCrossAttention) for module in model.network.modules()):
            free = names | {name: {0: "batch"} for name in model.outputs}
            trace(opened(model.network), example, path, inputs=model.inputs, outputs=model.outputs, free=free)
        else:
            _export(model, example, path)
    except torch.onnx.errors.OnnxExporterError as error:
        raise BundleError(f"network {model.name} has no form in ONNX: {str(error).strip().splitlines()[0]}") from error


def _example(model: Exportable) -> tuple[tuple[Tensor, ...], dict[str, dict[int, str]]]:
    """Return inputs to trace a network with, and names of those of their dimensions that are free."""
    n_chans, n_times = model.modality.n_chans, model.min_times + model.step_times
    every: dict[str, tuple[Tensor, dict[int, str]]] = {
        "signal": (torch.randn(2, n_chans, n_times), {0: "batch", 2: "n_times"}),
        "ch_state": (torch.full((2, n_chans), MEASURED, dtype=torch.int64), {0: "batch"}),
        SPECTROGRAM: (torch.randn(2, *SPECTROGRAM_SHAPE), {0: "batch"}),
        METADATA: (torch.ones(2, len(model.fields)), {0: "batch"}),
    }
    return tuple(every[name][0] for name in model.inputs), {name: every[name][1] for name in model.inputs}


def _export(model: Exportable, example: tuple[Tensor, ...], path: Path) -> None:
    """Write a network of convolutions by the newer exporter."""
    batch = torch.export.Dim("batch", min=1, max=65536)
    # One unknown a step: the length must stay a multiple of it.
    steps = torch.export.Dim("n_steps", min=model.min_times // model.step_times, max=MAX_STEPS)
    shapes = {"signal": {0: batch, 2: model.step_times * steps}, "ch_state": {0: batch}, SPECTROGRAM: {0: batch}}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the exporter warns of its own internals
        torch.onnx.export(
            model.network,
            example,
            path,
            input_names=list(model.inputs),
            output_names=list(model.outputs),
            dynamic_shapes=tuple(shapes[name] for name in model.inputs),
            opset_version=OPSET,
            dynamo=True,
            external_data=False,
            verbose=False,
        )
    strip(path)


def opened(network: nn.Module) -> nn.Module:
    """Return a copy whose attention layers can be traced for any length: torch's own write theirs into the graph."""
    copy = deepcopy(network)
    for module in list(copy.modules()):
        for name, child in list(module.named_children()):
            if isinstance(child, nn.MultiheadAttention):
                setattr(module, name, OpenAttention(child))
    return copy.eval()


class OpenAttention(nn.Module):
    """nn.MultiheadAttention of a sequence to itself, batch first, without masks."""

    def __init__(self, attention: nn.MultiheadAttention) -> None:
        super().__init__()
        if not attention.batch_first or attention.in_proj_weight is None or attention.bias_k is not None:
            raise BundleError(
                "attention with keys of another width, extra biases or batch second has no form in ONNX here"
            )
        self.attention = attention

    def forward(self, x_BND: Tensor, *_: Tensor, **__: Any) -> tuple[Tensor, None]:
        """Return the attended steps; keys and values are the queries' own sequence."""
        B, N, D = x_BND.shape
        H = self.attention.num_heads
        qkv = F.linear(x_BND, self.attention.in_proj_weight, self.attention.in_proj_bias)
        q_BHND, k_BHND, v_BHND = qkv.reshape(B, N, 3, H, D // H).permute(2, 0, 3, 1, 4)
        mixed_BHND = F.scaled_dot_product_attention(q_BHND, k_BHND, v_BHND)
        return self.attention.out_proj(mixed_BHND.transpose(1, 2).reshape(B, N, D)), None


def write_combiner(stacker: nn.Module, n_members: int, n_classes: int, path: Path) -> None:
    """Write a meta-learner (`model.stacking`) as ONNX: members' probabilities in, logits out."""
    example, outputs = torch.full((2, n_members, n_classes), 1 / n_classes), ("logits", "weights", "members")
    free = {name: {0: "batch"} for name in ("probabilities", *outputs)}
    trace(stacker, (example,), path, inputs=("probabilities",), outputs=outputs, free=free)
