"""The members of a six-class reader: fitted, written as graphs, and answering as they do for a server."""

import hashlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path

import numpy as np

from model.bundling.graphs import Exportable, load_exportable, write_graph
from model.bundling.parity import onnx_session
from model.patterns.forest import forest_of
from model.patterns.graphs import Member as PatternModel
from model.patterns.graphs import write_pattern_graph
from model.patterns.perceptron import fit_perceptron
from signals.bundles.bundle import PATTERNS, Graph
from signals.bundles.inputs import Batch
from signals.modality import EEG_1020
from signals.shards.normalise import Normaliser
from signals.tasks import SIX_CLASS
from signals.window import Window
from studies.baselines.patterns import fit_extra_trees, fit_pattern_logistic
from studies.reading.rows import Reading
from training.corpus.labelled import Labelled

N_PERCEPTRONS = 3
"""Networks on pattern features, of different seeds: what they disagree about is a part of the uncertainty."""
N_TREES, MIN_LEAF = 120, 8
"""Of the trees: as many as a bundle of a few MB holds."""
MIN_S = 30.0
"""Shortest window that pattern features are defined for, seconds."""
_BATCH = 8


@dataclass(frozen=True)
class Fitted:
    """A member that can be written."""

    name: str
    model: PatternModel | Exportable
    folder: Path | None = None
    """Of a network."""

    @property
    def file(self) -> str:
        """Name of its graph."""
        return f"{self.name}.onnx"

    def write(self, folder: Path) -> Graph:
        """Write its graph into a folder and return what a bundle states of it."""
        path = folder / self.file
        if isinstance(self.model, Exportable):
            write_graph(self.model, path)
            weights = hashlib.sha256(((self.folder or Path()) / "model.safetensors").read_bytes()).hexdigest()
            return Graph(
                file=self.file, name=self.model.name, normaliser=self.model.normaliser, weights_sha256=weights,
                step_times=self.model.step_times, min_times=self.model.min_times, inputs=self.model.inputs,
            )  # fmt: skip
        write_pattern_graph(self.model, path)
        return Graph(
            file=self.file, name=self.name, normaliser=Normaliser(kind="window"), step_times=1,
            min_times=round(MIN_S * EEG_1020.sfreq), weights_sha256=hashlib.sha256(path.read_bytes()).hexdigest(),
            inputs=(PATTERNS,), features=self.model.names,
        )  # fmt: skip


def fit_members(reading: Reading, *, seed: int, networks: Sequence[Path] = ()) -> list[Fitted]:
    """Return members on pattern features, fitted on whole windows and ten seconds alike, and saved networks.

    Raises ValueError for a network that has learnt from a subject that members are chosen on.
    """
    names, x = reading.patterns(reading.learn)
    data, rows = twice(reading.data, reading.learn), np.arange(2 * len(reading.learn))
    trees = fit_extra_trees(x, data, rows, seed=seed, n_trees=N_TREES, min_leaf=MIN_LEAF)
    votes = data.targets[rows].astype(np.float64)
    fitted = [
        Fitted("logistic", fit_pattern_logistic(names, x, data, rows)),
        Fitted("trees", forest_of(trees, names=names, classes=SIX_CLASS.classes)),
        *(
            Fitted(f"perceptron-{k}", fit_perceptron(x, votes, names=names, classes=SIX_CLASS.classes, seed=seed + k))
            for k in range(N_PERCEPTRONS)
        ),
    ]
    return fitted + [network(folder, reading) for folder in networks]


def network(folder: Path, reading: Reading) -> Fitted:
    """Return a saved network as a member; raises ValueError for one that knows who members are chosen on."""
    model = load_exportable(folder)
    if model.task != SIX_CLASS or model.modality.ch_names != EEG_1020.ch_names:
        raise ValueError(f"{folder} is no six-class model on {EEG_1020.name}")
    known = set(model.provenance.get("train_subjects", ())) & set(reading.data.subjects[reading.held_out].tolist())
    if known:
        raise ValueError(f"{folder} was trained on {len(known)} of the subjects that members are chosen on")
    return Fitted(model.name.replace("_", "-"), model, folder)


def twice(data: Labelled, rows: np.ndarray) -> Labelled:
    """Return labelled rows one after the other, twice: the labels of `Reading.patterns`."""
    both = np.tile(rows, 2)
    return replace(data, windows=data.windows[both], targets=data.targets[both])


Predict = Callable[[Iterable[Window]], np.ndarray]


def predictor_of(folder: Path, graphs: Sequence[Graph]) -> Predict:
    """Return how written graphs are asked: windows to logits, shape (n_members, n_windows, n_classes)."""
    sessions = [onnx_session(folder / graph.file) for graph in graphs]

    def predict(windows: Iterable[Window]) -> np.ndarray:
        parts, left = [], iter(windows)
        while some := list(islice(left, _BATCH)):
            batch = Batch(some)
            feeds = [batch.feed(graph) for graph in graphs]
            parts.append(np.stack([s.run(["logits"], feed)[0] for s, feed in zip(sessions, feeds, strict=True)]))
        return np.concatenate(parts, axis=1)

    return predict
