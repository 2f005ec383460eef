"""python -m model.export: trained networks to a bundle that a server without torch can run.

    python -m model.export --model DIR --shards DIR --output BUNDLE           one network
    python -m model.export --model DIR DIR DIR --shards DIR --output BUNDLE   an ensemble
    ... --model DIR DIR DIR --stacker DIR ...                                 with a meta-learner
    python -m model.export --encoder DIR --shards DIR --output BUNDLE         embeddings

ONNX graphs have a dynamic batch and a dynamic length. They are compared with torch on windows of the shards and on
synthetic ones, in several batch sizes, lengths and with channels absent; a bundle that disagrees is not written.
Temperature, conformal thresholds and abstention come from calibration.json beside the model, where there is one.
"""

import argparse
import hashlib
import json
import logging
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from transformers.utils.logging import disable_progress_bar

from model.bundling.card import model_card
from model.bundling.graphs import Exportable, load_encoder, load_exportable, write_combiner, write_graph
from model.bundling.parity import N_WINDOWS, Parity, compare, probes
from model.stacking import Stacker, load_stacker
from signals.bundles.bundle import CARD, COMBINER, FP32, BundleError, Graph, graph_fields, mark, write_bundle
from signals.bundles.calibration import Calibration
from signals.command_line import Parser
from signals.progress import progress
from signals.shards.manifest import ManifestError, read_manifest
from signals.version import code_version, source_digest

CALIBRATION = "calibration.json"
PRIVATE = ("train_subjects", "train_recordings", "pretrain_subjects", "pretrain_recordings")
"""Parts of a model's provenance that stay behind: a bundle states how many, and marks by which they are recognised."""


@dataclass(frozen=True, kw_only=True)
class Export:
    """What is exported."""

    models: tuple[Exportable, ...]
    folders: tuple[Path, ...]
    calibration: Calibration
    stacker: Stacker | None = None
    """Meta-learner over the members; None where their mean counts."""

    @property
    def kind(self) -> str:
        """One of signals.bundles.bundle.KINDS."""
        return "encoder" if self.models[0].task is None else "ensemble" if len(self.models) > 1 else "classifier"

    @property
    def files(self) -> tuple[str, ...]:
        """Names of the graphs within the bundle."""
        return ("model.onnx",) if len(self.models) == 1 else tuple(f"member-{i}.onnx" for i in range(len(self.models)))


def read_calibration(path: Path, classes: Sequence[str]) -> Calibration:
    """Return a calibration; without a file, probabilities stay as they are. Raises BundleError for a damaged one."""
    if not path.is_file():
        return Calibration()
    try:
        fields = json.loads(path.read_text(encoding="utf-8"))
        calibration = Calibration.from_dict(fields)
        calibration.check(len(classes))
        if list(classes) != fields.get("classes", list(classes)):
            raise ValueError(f"it is for the classes {', '.join(fields['classes'])}")
    except ValueError as error:
        raise BundleError(f"{path}: {error}; calibrate the model again") from None
    return calibration


def load_models(folders: Sequence[Path], calibration: Path | None = None, stacker: Path | None = None) -> Export:
    """Return the networks of one bundle, members in the order that a meta-learner was fitted on.

    Raises BundleError where they do not belong together.
    """
    models = tuple(load_exportable(folder) for folder in folders)
    first = models[0]
    for folder, model in zip(folders, models, strict=True):
        if (model.task, model.modality) != (first.task, first.modality) or model.profile != first.profile:
            raise BundleError(f"{folder} and {folders[0]} differ in task, modality or profile: no ensemble")
    assert first.task is not None
    # An ensemble is calibrated as a whole: its members' own calibrations do not count.
    path = calibration or (folders[0] / CALIBRATION if len(folders) == 1 else Path())
    if calibration is not None and not calibration.is_file():
        raise BundleError(f"calibration {calibration} does not exist")
    return Export(
        models=models,
        folders=tuple(folders),
        calibration=read_calibration(path, first.task.classes),
        stacker=None if stacker is None else read_stacker(stacker, models),
    )


def read_stacker(folder: Path, models: Sequence[Exportable]) -> Stacker:
    """Return a saved meta-learner; raises BundleError for a folder without one, and for other members."""
    try:
        stacker = load_stacker(folder)
    except FileNotFoundError:
        raise BundleError(f"{folder} holds no meta-learner; studies.stack --save makes one") from None
    names = tuple(model.name for model in models)
    if stacker.members != names:
        raise BundleError(f"{folder} stacks {', '.join(stacker.members)}; the models given are {', '.join(names)}")
    return stacker


def load_encoder_for(folder: Path, shards: Path) -> Export:
    """Return an encoder for windows like those of a shard set."""
    manifest = read_manifest(shards)
    about = {"manifest_digest": manifest.digest}
    model = load_encoder(folder, modality=manifest.modality, profile=manifest.profile, about=about)
    return Export(models=(model,), folders=(folder,), calibration=Calibration())


def export(what: Export, shards: Sequence[Path], output: Path, *, n_windows: int = N_WINDOWS) -> Parity:
    """Write a bundle and return its parity.

    Raises BundleError, and writes nothing, for an existing output, shards of other windows, or graphs that disagree
    with torch.
    """
    for folder in shards:
        if read_manifest(folder).modality != what.models[0].modality:
            raise BundleError(f"{folder} holds windows of another modality than the model takes")
    agreements: list[Parity] = []

    def fill(folder: Path) -> dict[str, Any]:
        members = list(zip(what.models, what.files, strict=True))
        for model, file in progress(members, "export", unit="graphs"):
            write_graph(model, folder / file)
        windows = probes(what.models, shards, n_windows=n_windows)
        graphs = [folder / file for file in what.files]
        combiner = None if what.stacker is None else (what.stacker, folder / COMBINER)
        if combiner is not None:
            write_combiner(combiner[0], len(what.models), combiner[0].n_classes, combiner[1])
        temperature = what.calibration.temperature
        agreement = compare(what.models, graphs, windows, temperature=temperature, combiner=combiner)
        if not agreement.ok:
            raise BundleError(f"the ONNX graph disagrees with torch: {asdict(agreement)}; no bundle was written")
        agreements.append(agreement)
        card = model_card(what.models, what.calibration, agreement)
        (folder / CARD).write_text(card, encoding="utf-8")
        return about_bundle(what, agreement)

    write_bundle(output, fill)
    return agreements[0]


def about_bundle(what: Export, agreement: Parity) -> dict[str, Any]:
    """Return the content of bundle.json, but for digests: see `signals.bundles.bundle`."""
    first = what.models[0]
    graphs = tuple(
        Graph(
            file=file,
            name=model.name,
            normaliser=model.normaliser,
            step_times=model.step_times,
            min_times=model.min_times,
            weights_sha256=hashlib.sha256((folder / "model.safetensors").read_bytes()).hexdigest(),
            inputs=model.inputs,
            fields=model.fields,
        )
        for file, model, folder in zip(what.files, what.models, what.folders, strict=True)
    )
    return {
        "kind": what.kind,
        "precision": FP32,
        "task": None if first.task is None else {"name": first.task.name, "classes": list(first.task.classes)},
        "modality": first.modality.to_dict(),
        "profile": dict(first.profile),
        "graphs": graph_fields(graphs),
        "combiner": None if what.stacker is None else COMBINER,
        "calibration": what.calibration.to_dict(),
        "parity": asdict(agreement),
        "provenance": {
            "members": [_public(model.provenance) for model in what.models],
            "code_version": code_version(),
            "model_code_sha256": source_digest(Path(__file__).parent),
        },
    }


def _public(provenance: Any) -> dict[str, Any]:
    counts = {f"n_{name}": len(provenance[name]) for name in PRIVATE if provenance.get(name) is not None}
    public = {name: value for name, value in provenance.items() if name not in PRIVATE}
    if "train_subjects" not in provenance:
        return {**public, **counts}
    trained_on = {*provenance["train_subjects"], *provenance.get("train_recordings", ())}
    return {**public, **counts, "trained_on": sorted(map(mark, trained_on))}


def parse_args(argv: Sequence[str] | None) -> argparse.Namespace:
    """Return the parsed command line."""
    parser = Parser(prog="cerebeam export", description="trained networks to a bundle")
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--model", type=Path, nargs="+", help="folder of a trained model; several make an ensemble")
    source.add_argument("--encoder", type=Path, help="folder of a pretrained encoder, for embeddings")
    parser.add_argument(
        "--shards", type=Path, nargs="+", required=True, help="shard sets whose windows torch and ONNX are compared on"
    )
    parser.add_argument("--stacker", type=Path, help="folder of the ensemble's meta-learner; the members' mean without")
    parser.add_argument("--calibration", type=Path, help=f"file to read instead of the model's own {CALIBRATION}")
    parser.add_argument("--output", type=Path, required=True, help="folder of the bundle; must not exist yet")
    parser.add_argument("--json", action="store_true", help="one JSON object: the bundle and how it agrees with torch")
    parser.add_argument("--parity-windows", type=int, default=N_WINDOWS, help="how many windows to compare at least")
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> int:
    """Run from the command line; returns 0, or 2 with one line on standard error."""
    args = parse_args(argv)
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)  # it warns of torchvision, which nothing here needs
    disable_progress_bar()  # of weights, which are read at once
    try:
        if args.output.exists():  # before the minute that the rest takes
            raise BundleError(f"output {args.output} exists already; choose another")
        what = (
            load_encoder_for(args.encoder, args.shards[0])
            if args.encoder
            else load_models(args.model, args.calibration, args.stacker)
        )
        agreement = export(what, args.shards, args.output, n_windows=args.parity_windows)
    except (BundleError, ManifestError) as error:
        print(f"cerebeam export: {error}", file=sys.stderr)  # noqa: T201
        return 2
    if args.json:
        print(json.dumps({"output": str(args.output), "kind": what.kind, **asdict(agreement)}))  # noqa: T201
        return 0
    print(  # noqa: T201
        f"bundle {args.output}: {agreement.n_windows} windows ({agreement.n_synthetic} synthetic), largest "
        f"{'embedding' if what.kind == 'encoder' else 'probability'} difference "
        f"{agreement.max_probability_difference:.1e}, decisions that differ {agreement.decisions_differ}"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
