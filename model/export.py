"""python -m model.export: a trained task model to a bundle that a server without torch can run.

    python -m model.export --model DIR --shards DIR --output BUNDLE

The ONNX graph has a dynamic batch and a dynamic length. It is compared with torch on windows of the shards, in several
batch sizes, lengths and with channels absent; a graph that disagrees is not written.
"""

import hashlib
import json
import logging
import shutil
import sys
import warnings
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch

from model.classifier import Classifier
from signals.command_line import Parser
from signals.manifest import ManifestError, read_manifest
from signals.records import decode_window
from signals.tasks import TASKS
from signals.tfrecord import read_shard
from signals.version import code_version
from signals.windows import ABSENT

BUNDLE_SCHEMA_VERSION = 1
OPSET = 18
TOLERANCE = 1e-4
"""Largest difference of a class probability between torch and ONNX, fp32."""


class ExportError(ValueError):
    """A model that cannot be exported; the message is one line that says why."""


@dataclass(frozen=True, kw_only=True)
class Parity:
    """How well the exported graph agrees with torch."""

    n_windows: int
    max_probability_difference: float
    decisions_differ: int
    tolerance: float = TOLERANCE

    @property
    def ok(self) -> bool:
        """Whether the graph may be shipped."""
        return self.decisions_differ == 0 and self.max_probability_difference <= self.tolerance


Batch = tuple[np.ndarray, np.ndarray]
"""Normalised signal float32 (batch, n_chans, n_times) and channel states int64 (batch, n_chans)."""


def export_onnx(classifier: Classifier, path: Path, *, n_times: int) -> None:
    """Write the classifier as ONNX: inputs signal and ch_state, outputs logits and representation."""
    n_chans = classifier.modality.n_chans
    example = (torch.randn(2, n_chans, n_times), torch.full((2, n_chans), 2, dtype=torch.int64))
    # One unknown a token: the length must stay a multiple of what a trunk token covers.
    token_times = classifier.encoder.config.token_times
    length = token_times * torch.export.Dim("n_tokens", min=min_tokens(classifier), max=4096)
    batch = torch.export.Dim("batch", min=1, max=65536)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the exporter warns of its own internals
        torch.onnx.export(
            classifier,
            example,
            path,
            input_names=["signal", "ch_state"],
            output_names=["logits", "representation"],
            dynamic_shapes=({0: batch, 2: length}, {0: batch}),
            opset_version=OPSET,
            dynamo=True,
            external_data=False,
            verbose=False,
        )


def min_tokens(classifier: Classifier) -> int:
    """Return the shortest input, in trunk tokens: it must reach the end of the label's span."""
    span = classifier.head.span_tokens
    return 2 if span is None else max(2, span[1])


def parity(classifier: Classifier, path: Path, batches: Sequence[Batch]) -> Parity:
    """Compare class probabilities of an ONNX file with torch's over batches of any size and length."""
    import onnxruntime  # only the comparison needs it

    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    differences, decisions, n_windows = [0.0], 0, 0
    for signal, ch_state in batches:
        with torch.inference_mode():
            logits, _ = classifier(torch.from_numpy(signal), torch.from_numpy(ch_state))
        (theirs,) = session.run(["logits"], {"signal": signal, "ch_state": ch_state})
        a = logits.softmax(-1).double().numpy()
        b = torch.from_numpy(theirs).softmax(-1).double().numpy()
        differences.append(float(np.abs(a - b).max()))
        decisions += int((a.argmax(1) != b.argmax(1)).sum())
        n_windows += len(signal)
    # NumPy's maximum, unlike Python's, lets a NaN through, and a NaN fails the gate.
    largest = float(np.max(differences))
    return Parity(n_windows=n_windows, max_probability_difference=largest, decisions_differ=decisions)


def parity_batches(classifier: Classifier, shards_dir: Path, *, n_windows: int) -> list[Batch]:
    """Return batches of windows: as they are, one by one, without three channels, shorter and longer."""
    manifest = read_manifest(shards_dir)
    records = (record for shard in manifest.shards for record in read_shard(shards_dir / shard.path))
    windows = [decode_window(record) for record in islice(records, n_windows)]
    scale, types = classifier.normaliser.apply, classifier.modality.sensor_types
    signal = np.stack([scale(w.data, w.ch_state, w.subject_id, w.site_id, types) for w in windows])
    ch_state = np.stack([w.ch_state for w in windows]).astype(np.int64)
    fewer = ch_state.copy()
    fewer[:, [0, 9, 18]] = ABSENT
    token_times = classifier.encoder.config.token_times
    n_tokens = signal.shape[2] // token_times
    shorter = max(min_tokens(classifier), n_tokens * 3 // 4) * token_times
    batches = [(signal[i : i + 8], ch_state[i : i + 8]) for i in range(0, len(signal), 8)]
    batches += [(signal[i : i + 1], ch_state[i : i + 1]) for i in range(min(4, len(signal)))]
    batches += [(signal[:8], fewer[:8]), (np.ascontiguousarray(signal[:8, :, :shorter]), ch_state[:8])]
    batches.append((np.concatenate([signal[:4], signal[:4]], axis=2), ch_state[:4]))
    return batches


def export(model_dir: Path, shards_dir: Path, output: Path, *, n_windows: int = 64) -> Parity:
    """Write a bundle and return its parity.

    Raises ExportError, and writes nothing, for a folder that is no model, an existing output, or a graph that disagrees
    with torch.
    """
    if output.exists():
        raise ExportError(f"output {output} exists already; choose another")
    if not (model_dir / "config.json").is_file():
        raise ExportError(f"{model_dir} is no model: it has no config.json; make one with training.finetune")
    classifier = Classifier.from_pretrained(model_dir).eval()
    batches = parity_batches(classifier, shards_dir, n_windows=n_windows)
    partial = output.with_name(output.name + ".partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    try:
        export_onnx(classifier, partial / "model.onnx", n_times=batches[0][0].shape[2])
        agreement = parity(classifier, partial / "model.onnx", batches)
        if not agreement.ok:
            raise ExportError(f"the ONNX graph disagrees with torch: {asdict(agreement)}; no bundle was written")
        (partial / "README.md").write_text(model_card(classifier, agreement), encoding="utf-8")
        digests = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(partial.iterdir())}
        about = about_bundle(classifier, agreement, digests)
        (partial / "bundle.json").write_text(json.dumps(about, indent=1, sort_keys=True) + "\n", encoding="utf-8")
        partial.rename(output)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return agreement


def about_bundle(classifier: Classifier, agreement: Parity, digests: dict[str, str]) -> dict[str, Any]:
    """Return what a server must know: see `serving.bundle`."""
    config = classifier.config
    return {
        "schema_version": BUNDLE_SCHEMA_VERSION,
        "task": {"name": config.task, "classes": config.classes},
        "modality": config.modality,
        "profile": config.profile,
        "normaliser": config.normaliser,
        "temperature": 1.0,
        "token_times": classifier.encoder.config.token_times,
        "min_tokens": min_tokens(classifier),
        "parity": asdict(agreement),
        "provenance": {**config.provenance, "code_version": code_version()},
        "files": digests,
    }


def model_card(classifier: Classifier, agreement: Parity) -> str:
    """Return a short card that travels with the bundle."""
    config, task = classifier.config, TASKS[classifier.config.task]
    n_parameters = sum(p.numel() for p in classifier.parameters())
    return "\n".join(
        [
            f"# Cerebeam bundle: {task.name}",
            "",
            task.description,
            "",
            f"- classes: {', '.join(config.classes)}",
            f"- input: {config.window_s:g} s of {classifier.modality.name}, {classifier.modality.sfreq:g} Hz",
            f"- parameters: {n_parameters:,}",
            f"- ONNX opset {OPSET}; largest difference of a probability from torch over {agreement.n_windows} windows:"
            f" {agreement.max_probability_difference:.1e}",
            "",
            "Research use only. Not a medical device: no output may guide care without an expert reading the EEG.",
            "",
        ]
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Run from the command line; returns 0, or 2 with one line on standard error."""
    parser = Parser(prog="model.export", description="a trained task model to a bundle")
    parser.add_argument("--model", type=Path, required=True, help="folder made by training.finetune or training.loso")
    parser.add_argument(
        "--shards", type=Path, required=True, help="shard set whose windows torch and ONNX are compared on"
    )
    parser.add_argument("--output", type=Path, required=True, help="folder of the bundle; must not exist yet")
    parser.add_argument("--parity-windows", type=int, default=64, help="how many windows to compare")
    args = parser.parse_args(argv)
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)  # it warns of torchvision, which nothing here needs
    try:
        agreement = export(args.model, args.shards, args.output, n_windows=args.parity_windows)
    except (ExportError, ManifestError) as error:
        print(f"model.export: {error}", file=sys.stderr)  # noqa: T201
        return 2
    print(  # noqa: T201
        f"bundle {args.output}: {agreement.n_windows} windows, largest probability difference "
        f"{agreement.max_probability_difference:.1e}, decisions that differ {agreement.decisions_differ}"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
