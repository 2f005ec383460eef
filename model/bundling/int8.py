"""cerebeam quantise-torch: a trained network in torch's own INT8, as one TorchScript file, if it is as good.

Dynamic: linear layers have INT8 weights and quantise what comes in as it comes; convolutions stay in float. The file is
read by torch.jit.load and by libtorch, without this project; beside it int8.json has what the gate saw. The gate is the
one of `cerebeam quantise`, on people that the model was not trained on, and nothing is written where it refuses.
"""

import io
import json
import sys
import warnings
from collections.abc import Sequence
from dataclasses import asdict
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from transformers.utils.logging import disable_progress_bar

from model.bundling.graphs import Exportable, load_exportable, opened
from signals.bundles.bundle import SIGNAL_INPUTS, BundleError, mark
from signals.bundles.inputs import model_input, windows_of_shards
from signals.bundles.int8_gate import MOST_CHANGED, Decided, Gate, check_not_trained_on, labelled
from signals.command_line import Parser
from signals.files import atomic_folder, file_sha256
from signals.json_output import add_json, print_json
from signals.shards.manifest import ManifestError
from signals.window import ABSENT, MEASURED, Window

PROG = "cerebeam quantise-torch"
FILE, ABOUT = "model.pt", "int8.json"
PRECISION = "torch-int8-dynamic"


def int8_model(network: nn.Module) -> nn.Module:
    """Return a copy whose linear layers have INT8 weights and quantise what comes in as it comes."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch announces a successor
        return torch.ao.quantization.quantize_dynamic(network, {nn.Linear}, dtype=torch.qint8)


def export_int8(folder: Path, evaluation: Path, output: Path, *, most_changed: float = MOST_CHANGED) -> Gate:
    """Write a saved model's INT8 form if it passes, and return its gate.

    Raises BundleError for a folder without a task model on samples, for people that it was trained on among
    `evaluation`, for an output that exists, and for a network whose trace holds for one length alone.
    """
    model = load_exportable(folder)
    if model.inputs != SIGNAL_INPUTS:
        raise BundleError(f"{folder} reads {', '.join(model.inputs)}: torch's INT8 form is of networks on samples")
    assert model.task is not None
    if model.task.multilabel:
        raise BundleError(f"the gate counts decisions among classes, and {model.task.name} has several of a window")
    if output.exists():
        raise BundleError(f"output {output} exists already; choose another")
    check_not_trained_on(_trained_on(model), evaluation, model=folder)
    network = int8_model(opened(model.network))
    traced = _traced(network, model)
    _check_lengths(traced, network, model)
    gate = _judge(model, traced, evaluation, most_changed)
    if gate.ok:
        with atomic_folder(output) as partial:
            (partial / FILE).write_bytes(_saved(traced))
            about = _about(model, gate) | {"made_from": file_sha256(folder / "model.safetensors")}
            about["files"] = {FILE: file_sha256(partial / FILE)}
            (partial / ABOUT).write_text(json.dumps(about, indent=1, sort_keys=True) + "\n", encoding="utf-8")
    return gate


def _trained_on(model: Exportable) -> set[str] | None:
    if "train_subjects" not in model.provenance:
        return None
    return {mark(name) for part in ("train_subjects", "train_recordings") for name in model.provenance.get(part, ())}


def _traced(network: nn.Module, model: Exportable) -> Any:
    with warnings.catch_warnings(), torch.inference_mode():
        warnings.simplefilter("ignore")  # of comparisons of shapes, which `_check_lengths` looks into
        return torch.jit.trace(network, _example(model, 2, model.min_times + model.step_times), check_trace=False)


def _example(model: Exportable, n_windows: int, n_times: int) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(n_times)
    x_BCT = torch.randn(n_windows, model.modality.n_chans, n_times, generator=generator)
    ch_state_BC = torch.full((n_windows, model.modality.n_chans), MEASURED, dtype=torch.int64)
    ch_state_BC[0, 1::3] = ABSENT
    return x_BCT, ch_state_BC


def _check_lengths(traced: Any, network: nn.Module, model: Exportable) -> None:
    """Raise BundleError where the trace answers otherwise than the network, for other batches, lengths and channels."""
    for n_windows, n_steps in product((1, 3), (0, 5)):
        example = _example(model, n_windows, model.min_times + n_steps * model.step_times)
        with torch.inference_mode():
            try:
                same = torch.allclose(traced(*example)[0], network(*example)[0], atol=1e-5)
            except RuntimeError:
                same = False
        if not same:
            raise BundleError(f"network {model.name} as TorchScript holds for one length alone: export it as ONNX")


def _judge(model: Exportable, traced: Any, evaluation: Path, most_changed: float) -> Gate:
    """Return sizes of both forms as TorchScript, their accuracies, and how often they decide alike."""
    assert model.task is not None
    ours, theirs = Decided(true=[], predicted=[]), Decided(true=[], predicted=[])
    for window, true in labelled(windows_of_shards([evaluation]), model.task):
        for decided, form in ((ours, model.network), (theirs, traced)):
            decided.true.append(true)
            decided.predicted.append(int(logits(model, form, [window]).argmax()))
    if len(set(ours.true)) < 2:
        raise BundleError(f"{evaluation} has windows of {len(set(ours.true))} classes of {model.task.name}: no gate")
    n_float = len(_saved(_traced(opened(model.network), model)))
    # Linear layers alone are quantised: their weights are what one byte each could shrink.
    n_weights = sum(4 * module.weight.numel() for module in model.network.modules() if type(module) is nn.Linear)
    return Gate(
        size_ratio=n_float / len(_saved(traced)),
        size_allowed=n_float / (n_float - 0.75 * n_weights),
        weights_share=n_weights / n_float,
        balanced_accuracy_fp32=ours.balanced_accuracy,
        balanced_accuracy_int8=theirs.balanced_accuracy,
        agreement=float(np.mean(np.array(ours.predicted) == np.array(theirs.predicted))),
        most_changed=most_changed,
        n_windows=len(ours.true),
    )


def logits(model: Exportable, network: Any, windows: Sequence[Window]) -> np.ndarray:
    """Return a form's logits of windows, shape (n_windows, n_classes)."""
    signal, ch_state = model_input(windows, model.normaliser)
    with torch.inference_mode():
        return np.asarray(network(torch.from_numpy(signal), torch.from_numpy(ch_state))[0].numpy())


def _saved(traced: Any) -> bytes:
    buffer = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch announces a successor
        torch.jit.save(traced, buffer)
    return buffer.getvalue()


def _about(model: Exportable, gate: Gate) -> dict[str, Any]:
    assert model.task is not None
    return {
        "precision": PRECISION,
        "task": {"name": model.task.name, "classes": list(model.task.classes)},
        "modality": model.modality.to_dict(),
        "profile": dict(model.profile),
        "normaliser": model.normaliser.to_dict(),
        "inputs": list(model.inputs),
        "outputs": list(model.outputs),
        "min_times": model.min_times,
        "step_times": model.step_times,
        "quantisation": {**asdict(gate), "exempt": gate.exempt},
        "torch": torch.__version__,
    }


def main(argv: Sequence[str] | None = None) -> int:
    """Run from the command line; returns 0, or 2 where nothing was written, with one line that gives the reason."""
    parser = Parser(prog=PROG, description="a trained model in torch's own INT8, if it is small enough and as good")
    parser.add_argument("model", type=Path, help="folder of a trained model on samples")
    parser.add_argument(
        "--evaluate", type=Path, required=True, help="shard set with labels, of subjects not trained on"
    )
    parser.add_argument("--output", type=Path, required=True, help="folder of the INT8 form; must not exist yet")
    parser.add_argument(
        "--most-changed", type=float, default=MOST_CHANGED, help="most of the decisions that may change, as a share"
    )
    add_json(parser, "the folder, and what was measured against fp32")
    args = parser.parse_args(argv)
    disable_progress_bar()  # of weights, which are read at once
    try:
        gate = export_int8(args.model, args.evaluate, args.output, most_changed=args.most_changed)
    except (BundleError, ManifestError) as error:
        print(f"{PROG}: {error}", file=sys.stderr)  # noqa: T201
        return 2
    if not gate.ok:
        print(f"{PROG}: not shipped: {' and '.join(gate.refused)}; in all {gate.summary()}", file=sys.stderr)  # noqa: T201
        return 2
    if args.json:
        print_json({"output": args.output, "precision": PRECISION, **asdict(gate)})
    else:
        print(f"{args.output}, {PRECISION}: {gate.summary()}")  # noqa: T201
    return 0


if __name__ == "__main__":
    sys.exit(main())
