"""A bundle: a folder with a model and everything needed to prepare its windows, each file with its digest.

bundle/bundle.json   schema version, kind, precision, task, modality, profile, graphs, calibration, parity, provenance,
                     sha256 of every file and of bundle.json itself
bundle/README.md     model card
bundle/*.onnx        one graph per member: inputs signal float32 (batch, n_chans, n_times), normalised, and ch_state
                     int64 (batch, n_chans), and/or spectrogram float32 as in `Window.spectrogram`, or metadata float32
                     (batch, n_fields), NaN where unknown; or patterns float32 (batch, n_features), the row of
                     `signals.patterns.features`. Outputs logits (batch, n_classes),
                     representation (batch, width). An encoder has no logits, but channels (batch, n_chans, width).
bundle/combiner.onnx for a stacked ensemble: input probabilities (batch, n_members, n_classes), output logits
"""

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from signals.bundles.calibration import Calibration
from signals.bundles.metadata import metadata_of
from signals.files import atomic_folder, file_sha256
from signals.modality import Modality
from signals.shards.normalise import Normaliser
from signals.tasks import TASKS, Task
from signals.windows.profiles import Profile

SCHEMA_VERSION = 2
ABOUT, CARD, COMBINER = "bundle.json", "README.md", "combiner.onnx"
KINDS = ("classifier", "ensemble", "encoder")
SIGNAL_INPUTS, SPECTROGRAM, PATTERNS, METADATA = ("signal", "ch_state"), "spectrogram", "patterns", "metadata"
FP32, INT8_STATIC, INT8_DYNAMIC = "fp32", "int8-static", "int8-dynamic"


class BundleError(ValueError):
    """A folder that is no usable bundle, or cannot become one; the message is one line that says why."""


@dataclass(frozen=True, kw_only=True)
class Graph:
    """One member's network."""

    file: str
    """Name within the bundle."""
    name: str
    """What kind of network it is."""
    normaliser: Normaliser
    """How windows in µV are scaled for it."""
    step_times: int
    """The length of a window must be a multiple of this, samples."""
    min_times: int
    """Shortest window, samples."""
    weights_sha256: str
    """Digest of the weights that it was exported from."""
    inputs: tuple[str, ...] = SIGNAL_INPUTS
    """What it is called with: SIGNAL_INPUTS, SPECTROGRAM, or both; SIGNAL_INPUTS and METADATA; or PATTERNS."""
    features: tuple[str, ...] = ()
    """Names of the pattern features that it reads, in order; nothing unless it is called with PATTERNS."""
    fields: tuple[str, ...] = ()
    """Fields of the person that it reads (`signals.bundles.metadata.FIELDS`), in order; nothing unless it is called
    with METADATA."""


@dataclass(frozen=True, kw_only=True)
class Bundle:
    """A checked bundle."""

    path: Path
    kind: str
    """One of KINDS."""
    precision: str
    """"fp32", "int8-static" or "int8-dynamic"."""
    task: Task | None
    """None for an encoder."""
    modality: Modality
    profile: Profile
    graphs: tuple[Graph, ...]
    combiner: str | None = None
    """File of a stacked ensemble's meta-learner; None where the answer is the members' mean."""
    calibration: Calibration = field(default_factory=Calibration)
    about: dict[str, Any] = field(repr=False, default_factory=dict)
    """All of bundle.json."""

    @property
    def classes(self) -> tuple[str, ...]:
        """Classes in probability order; raises BundleError for an encoder."""
        if self.task is None:
            raise BundleError(f"{self.path} holds an encoder: it has embeddings, no classes")
        return self.task.classes

    @property
    def n_bytes(self) -> int:
        """Size of all ONNX files."""
        return sum(path.stat().st_size for path in self.path.glob("*.onnx"))

    @property
    def trained_on(self) -> frozenset[str] | None:
        """`mark` of every subject and recording that a member was trained on; None where one does not list them."""
        members = self.about.get("provenance", {}).get("members") or []
        if not members or any("trained_on" not in member for member in members):
            return None
        return frozenset(mark for member in members for mark in member["trained_on"])

    def digest_of(self, name: str) -> str:
        """Return the sha256 that bundle.json states for a file; raises BundleError for one that it does not list."""
        if name not in self.about.get("files", {}):
            raise BundleError(f"{self.path / ABOUT} does not list {name}: export it again")
        return str(self.about["files"][name])

    def read(self, name: str) -> bytes:
        """Return a file's bytes after checking them, so that what is used is what was checked.

        Raises BundleError for a file that is missing or not the one that bundle.json states.
        """
        try:
            raw = (self.path / name).read_bytes()
        except FileNotFoundError:
            raise BundleError(f"{self.path / name} is missing: export it again") from None
        if hashlib.sha256(raw).hexdigest() != self.digest_of(name):
            raise BundleError(f"{self.path / name} changed while it was read: its sha256 is not the one in {ABOUT}")
        return raw


def mark(identity: str) -> str:
    """Return what a bundle keeps of a subject or recording id: enough to see it again, nothing to find it by."""
    return hashlib.sha256(f"trained on {identity}".encode()).hexdigest()[:16]


def digests(folder: Path) -> dict[str, str]:
    """Return the sha256 of every file of a bundle but bundle.json."""
    return {path.name: file_sha256(path) for path in sorted(folder.iterdir()) if path.name != ABOUT}


def load_bundle(path: Path | str) -> Bundle:
    """Return a bundle after checking its schema and the digest of every file.

    Raises BundleError for a folder without bundle.json, another schema version, an unknown task, a missing or a changed
    file.
    """
    path = Path(path)
    about = _read_about(path)
    for name, digest in about["files"].items():
        file = path / name
        if not file.is_file():
            raise BundleError(f"{path / name} is missing: export it again")
        if file_sha256(file) != digest:
            raise BundleError(f"{file} was changed after the export: its sha256 is not the one in {ABOUT}")
    task = about["task"]
    if task is not None and task["name"] not in TASKS:
        raise BundleError(
            f"{path} is for the unknown task {task['name']!r}; this code knows {', '.join(sorted(TASKS))}"
        )
    try:
        return Bundle(
            path=path,
            kind=about["kind"],
            precision=about["precision"],
            task=None if task is None else TASKS[task["name"]],
            modality=Modality.from_dict(about["modality"]),
            profile=Profile.from_dict(about["profile"]),
            graphs=tuple(_graph(fields) for fields in about["graphs"]),
            combiner=about["combiner"],
            calibration=Calibration.from_dict(about["calibration"]),
            about=about,
        )
    except (KeyError, TypeError, ValueError) as error:
        raise BundleError(f"{path / ABOUT} does not fit this code: {error}; export it again") from None


def _graph(fields: Mapping[str, Any]) -> Graph:
    read: dict[str, Any] = {name: tuple(fields.get(name, ())) for name in ("inputs", "features", "fields")}
    read["normaliser"] = Normaliser.from_dict(fields["normaliser"])
    graph = Graph(**{**fields, **read})
    if (METADATA in graph.inputs) != bool(graph.fields) or tuple(metadata_of(graph.fields).names) != graph.fields:
        raise ValueError(f"{graph.file} reads fields {graph.fields}, which this code does not order so")
    if PATTERNS in graph.inputs:
        from signals.patterns.features import pattern_names  # scipy.signal, for graphs that read them

        if graph.features != pattern_names():
            raise ValueError(f"{graph.file} reads pattern features that this code does not compute")
    return graph


def _read_about(path: Path) -> dict[str, Any]:
    if not (path / ABOUT).is_file():
        raise BundleError(f"{path} is no bundle: it has no {ABOUT}; make one with cerebeam export")
    try:
        about = json.loads((path / ABOUT).read_text(encoding="utf-8"))
        version = about["schema_version"]
    except (ValueError, KeyError, TypeError) as error:
        raise BundleError(f"{path / ABOUT} is damaged: {error!r}") from None
    if version != SCHEMA_VERSION:
        raise BundleError(f"{path} has schema version {version}, this code reads {SCHEMA_VERSION}: export it again")
    if about.get("digest") != _digest(about):
        raise BundleError(f"{path / ABOUT} was changed after the export: export it again")
    return about


def _digest(about: Mapping[str, Any]) -> str:
    fields = {name: value for name, value in about.items() if name != "digest"}
    return hashlib.sha256(json.dumps(fields, sort_keys=True).encode()).hexdigest()


def write_bundle(output: Path, fill: Callable[[Path], dict[str, Any]]) -> dict[str, Any]:
    """Write a bundle whole or not at all, and return the content of its bundle.json.

    `fill` puts the files into the folder that it is given and returns the fields of bundle.json but for schema version
    and digests; where it raises, nothing is left. Raises BundleError for an output that exists.
    """
    if output.exists():
        raise BundleError(f"output {output} exists already; choose another")
    with atomic_folder(output) as partial:
        fields = fill(partial)
        about = {**fields, "schema_version": SCHEMA_VERSION, "files": digests(partial)}
        about["digest"] = _digest(json.loads(json.dumps(about)))
        (partial / ABOUT).write_text(json.dumps(about, indent=1, sort_keys=True) + "\n", encoding="utf-8")
    return about


def graph_fields(graphs: tuple[Graph, ...]) -> list[dict[str, Any]]:
    """Return the graphs as plain values for bundle.json."""
    return [asdict(graph) for graph in graphs]
