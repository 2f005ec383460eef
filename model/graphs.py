"""Networks as ONNX graphs with a dynamic batch and a dynamic length, and all that a bundle must say of them."""

import json
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from model.classifier import Classifier, ClassifierConfig
from model.encoder import Encoder, EncoderConfig, electrode_ids
from model.supervised import MODEL_TYPE as SUPERVISED
from model.supervised import Supervised
from signals.bundle import BundleError
from signals.modality import Modality
from signals.normalise import Normaliser
from signals.tasks import TASKS, Task
from signals.windows import MEASURED

OPSET = 18
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

    @property
    def outputs(self) -> tuple[str, str]:
        """Names of what the network returns."""
        return ("logits", "representation") if self.task is not None else ("representation", "channels")

    @property
    def n_parameters(self) -> int:
        """How many numbers were learnt."""
        return sum(p.numel() for p in self.network.parameters())


def load_exportable(folder: Path) -> Exportable:
    """Return a saved `Classifier` or `Supervised`, ready to be exported.

    Raises BundleError for a folder that holds none, and for a network that does not say how its windows were prepared.
    """
    config = _config(folder)
    if config.get("model_type") == SUPERVISED:
        return _supervised(folder)
    if config.get("model_type") != ClassifierConfig.model_type:
        raise BundleError(f"{folder} holds a {config.get('model_type')!r}: export takes classifiers and networks")
    classifier = Classifier.from_pretrained(folder, local_files_only=True).eval()
    step = classifier.encoder.config.token_times
    span = classifier.head.span_tokens
    return Exportable(
        network=classifier,
        name="encoder and head",
        task=TASKS[classifier.config.task],
        modality=classifier.modality,
        normaliser=classifier.normaliser,
        profile=classifier.config.profile,
        provenance=classifier.config.provenance,
        step_times=step,
        min_times=step * (2 if span is None else max(2, span[1])),
    )


def _supervised(folder: Path) -> Exportable:
    try:
        model = Supervised.from_pretrained(folder)
    except ValueError as error:
        raise BundleError(str(error)) from None
    if not model.profile:
        raise BundleError(f"{folder} does not say how its windows were prepared (no profile): fit and save it again")
    second = round(model.modality.sfreq)
    span = model.task.label_span_s
    return Exportable(
        network=model,
        name=model.name,
        task=model.task,
        modality=model.modality,
        normaliser=model.normaliser,
        profile=model.profile,
        provenance=model.provenance,
        step_times=second,
        min_times=second * (2 if span is None else round(span[1])),
    )


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

    position_C3: Tensor
    electrode_ids_C: Tensor
    adjacency_CC: Tensor

    def __init__(self, encoder: Encoder, modality: Modality) -> None:
        super().__init__()
        self.encoder = encoder
        self.register_buffer("position_C3", torch.tensor(modality.positions))
        self.register_buffer("electrode_ids_C", electrode_ids(modality.ch_names))
        self.register_buffer("adjacency_CC", torch.from_numpy(modality.adjacency()))

    def forward(self, x_BCT: Tensor, ch_state_BC: Tensor) -> tuple[Tensor, Tensor]:
        """Return (window_BD, channels_BCD) of normalised windows."""
        out = self.encoder(x_BCT, self.position_C3, ch_state_BC, self.electrode_ids_C, adjacency_CC=self.adjacency_CC)
        return out["window_BD"], out["channels_BCD"]


def write_graph(model: Exportable, path: Path) -> None:
    """Write a network as ONNX: inputs signal and ch_state, both of any batch size, the signal of any length."""
    n_chans = model.modality.n_chans
    example = (
        torch.randn(2, n_chans, model.min_times + model.step_times),
        torch.full((2, n_chans), MEASURED, dtype=torch.int64),
    )
    # One unknown a step: the length must stay a multiple of it.
    steps = torch.export.Dim("n_steps", min=model.min_times // model.step_times, max=MAX_STEPS)
    batch = torch.export.Dim("batch", min=1, max=65536)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the exporter warns of its own internals
        torch.onnx.export(
            model.network,
            example,
            path,
            input_names=["signal", "ch_state"],
            output_names=list(model.outputs),
            dynamic_shapes=({0: batch, 2: model.step_times * steps}, {0: batch}),
            opset_version=OPSET,
            dynamo=True,
            external_data=False,
            verbose=False,
        )
    strip(path)


def strip(path: Path) -> None:
    """Take out of a graph what a runtime does not need: shapes it can infer, and the exporter's notes.

    They are a third of a small file, tell paths of the machine that wrote it, and noted shapes get in the way of
    whoever changes the graph.
    """
    import onnx  # only exports need it

    model = onnx.load(path)
    graph = model.graph
    del graph.value_info[:]
    for part in (model, graph, *graph.node, *graph.initializer, *graph.input, *graph.output, *model.functions):
        part.ClearField("metadata_props")
        part.ClearField("doc_string")
    onnx.save(model, path)
