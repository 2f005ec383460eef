"""A six-class reader as a bundle: members' graphs, combiner, calibration, and how far graphs are from models."""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch

from model.bundling.card import RESEARCH_ONLY
from model.bundling.graphs import Exportable, write_combiner
from model.bundling.parity import TOLERANCE, Parity, called, onnx_session
from model.patterns.graphs import Member as PatternModel
from model.stacking import Stacker
from signals.bundles.answers import combined
from signals.bundles.bundle import CARD, COMBINER, FP32, BundleError, Graph, graph_fields, mark, write_bundle
from signals.bundles.calibration import tempered
from signals.bundles.inputs import Batch
from signals.modality import EEG_1020
from signals.tasks import SIX_CLASS
from signals.version import code_version, source_digest
from signals.window import Window
from signals.windows.profiles import SIX_CLASS as PROFILE
from studies.reading.choice import MEAN, Chosen, stacker_of
from studies.reading.members import Fitted, predictor_of
from studies.reading.rows import Reading


def write_reader(
    output: Path, members: Sequence[Fitted], chosen: Chosen, reading: Reading, windows: Sequence[Window], *, seed: int
) -> Parity:
    """Write the chosen members as a bundle, whole or not at all, and return how far graphs are from models.

    `windows` are what the two are compared on. Raises BundleError where they disagree, and for an existing output.
    """
    kept = [member for member in members if member.name in chosen.held.names]
    everyone = np.arange(len(chosen.held.target))
    combiner = None if chosen.combiner == MEAN else stacker_of(
        chosen.held, everyone, seed=seed, combiner=chosen.combiner)  # fmt: skip
    found: list[Parity] = []

    def fill(folder: Path) -> dict[str, Any]:
        graphs = tuple(member.write(folder) for member in kept)
        if combiner is not None:
            write_combiner(combiner, len(kept), len(SIX_CLASS.classes), folder / COMBINER)
        found.append(parity(folder, kept, graphs, combiner, windows, temperature=chosen.calibration.temperature))
        if not found[0].ok:
            raise BundleError(f"the ONNX graphs disagree with the models: {asdict(found[0])}; no bundle was written")
        (folder / CARD).write_text(card(kept, chosen, reading, found[0]), encoding="utf-8")
        return about(graphs, chosen, reading, found[0], seed=seed)

    write_bundle(output, fill)
    return found[0]


def parity(
    folder: Path, members: Sequence[Fitted], graphs: Sequence[Graph], stacker: Stacker | None,
    windows: Sequence[Window], *, temperature: float,
) -> Parity:  # fmt: skip
    """Return how far the calibrated probabilities of graphs are from those of the models."""
    theirs = predictor_of(folder, graphs)(windows)
    ours = np.stack([_answers(m, g, windows) for m, g in zip(members, graphs, strict=True)])
    session = None if stacker is None else onnx_session(folder / COMBINER)
    a = tempered(combined(ours, called(stacker)), temperature)
    b = tempered(combined(theirs, called(session)), temperature)
    return Parity(
        n_windows=len(windows), n_synthetic=len(windows), max_probability_difference=float(np.abs(a - b).max()),
        decisions_differ=int((a.argmax(axis=1) != b.argmax(axis=1)).sum()), tolerance=TOLERANCE,
        shapes={"whole": len(windows) // 2, "ten seconds": len(windows) - len(windows) // 2},
    )  # fmt: skip


def _answers(member: Fitted, graph: Graph, windows: Sequence[Window]) -> np.ndarray:
    """Return a model's own logits, shape (n_windows, n_classes)."""
    rows = []
    for window in windows:
        feed = Batch([window]).feed(graph)
        if isinstance(member.model, Exportable):
            with torch.inference_mode():
                inputs = (torch.from_numpy(feed[name]) for name in graph.inputs)
                rows.append(member.model.network(*inputs)[0].numpy()[0])
        else:
            rows.append(_logits(member.model, feed[graph.inputs[0]])[0])
    return np.stack(rows)


def _logits(model: PatternModel, row: np.ndarray) -> np.ndarray:
    return model.logits(row)


def about(
    graphs: tuple[Graph, ...], chosen: Chosen, reading: Reading, agreement: Parity, *, seed: int
) -> dict[str, Any]:
    """Return the content of bundle.json, but for digests."""
    manifest = reading.data.shards.manifest
    subjects = {part: reading.data.subjects[rows] for part, rows in _parts(reading).items()}
    member = {
        "manifest_digest": manifest.digest, "seed": seed,
        **{f"families_{part}": _families(reading, rows) for part, rows in _parts(reading).items()},
        "trained_on": sorted(mark(str(one)) for part in subjects.values() for one in np.unique(part)),
    }  # fmt: skip
    return {
        "kind": "ensemble", "precision": FP32,
        "task": {"name": SIX_CLASS.name, "classes": list(SIX_CLASS.classes)},
        "modality": EEG_1020.to_dict(), "profile": PROFILE.to_dict(), "graphs": graph_fields(graphs),
        "combiner": None if chosen.combiner == MEAN else COMBINER,
        "calibration": {**chosen.calibration.to_dict(), "split_digest": manifest.digest},
        "parity": asdict(agreement),
        "held_out": {
            "coverage": chosen.coverage, "set_size": chosen.set_size, "answered": chosen.answered,
            "answered_wrong": chosen.answered_wrong,
        },
        "provenance": {
            "members": [member] * len(graphs), "code_version": code_version(),
            "model_code_sha256": source_digest(Path(__file__).parent),
        },
    }  # fmt: skip


def card(members: Sequence[Fitted], chosen: Chosen, reading: Reading, agreement: Parity) -> str:
    """Return the bundle's card as Markdown."""
    parts = {part: ", ".join(f"{name} ({n})" for name, n in _families(reading, rows).items())
             for part, rows in _parts(reading).items()}  # fmt: skip
    below = chosen.calibration.abstain_below
    return "\n".join([
        "# Cerebeam bundle: a six-class reader that learnt from generators", "", SIX_CLASS.description, "",
        f"- classes: {', '.join(SIX_CLASS.classes)}",
        f"- input: {PROFILE.window_s:g} s of {EEG_1020.name}, or ten seconds that stand where its label speaks",
        f"- members: {', '.join(member.name for member in members)}; combined by their {chosen.combiner}",
        f"- members learnt from generated segments: {parts['learnt']}",
        f"- chosen, combined and calibrated on other generators: {parts['chosen']}",
        f"- temperature {chosen.calibration.temperature:.3g}; "
        f"abstains {'never' if below is None else f'below a confidence of {below:.2f}'}; prediction sets miss at most "
        f"10% of such segments ({chosen.coverage:.1%} held on families left out)",
        f"- largest difference of the graphs from the models over {agreement.n_windows} segments: "
        f"{agreement.max_probability_difference:.1e}",
        "- no real label was used; docs/results/six_class.md has what real segments showed", "", RESEARCH_ONLY, "",
    ])  # fmt: skip


def _parts(reading: Reading) -> dict[str, np.ndarray]:
    return {"learnt": reading.learn, "chosen": reading.held_out}


def _families(reading: Reading, rows: np.ndarray) -> dict[str, int]:
    names, counts = np.unique(reading.families[rows], return_counts=True)
    return {str(name): int(n) for name, n in zip(names, counts, strict=True)}
