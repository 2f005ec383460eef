"""Pretraining: how well masked signal was reconstructed, and the course of training."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from evaluation.report.context import Context
from evaluation.report.drawing.blocks import Block, Details, Pair, Text
from evaluation.report.drawing.figures import curves_plot, dot_plot
from evaluation.report.drawing.tables import Row, Table, estimate, words
from evaluation.report.drawing.wording import Facts, interval
from evaluation.report.sections.section import Section
from evaluation.scenarios.reconstruction import score_reconstruction

_HISTORY_POINTS = 200
_BASELINES = {
    "ratio_to_linear": ("linear interpolation across the gap", "linear"),
    "ratio_to_mean": ("the mean", "mean"),
    "ratio_to_spline": ("spherical splines", "spline"),
    "ratio_to_ar": ("an autoregressive model", "ar"),
    "ratio_to_filling": ("the untrained filling that it starts from", "filling"),
}


def facts(context: Context) -> Mapping[str, Any]:
    """Return the reconstruction scores and the training log, None where there is no file."""
    rows, history = context.sources.reconstruction, context.sources.history
    scores = None if rows is None else score_reconstruction(rows, n_boot=context.n_boot, seed=context.seed)
    return {"reconstruction": scores, "history": None if history is None else history_facts(history)}


def history_facts(history: Sequence[Mapping[str, Any]]) -> dict[str, list[list[float]]]:
    """Return (step, value) points, at most 200 per curve, for every logged number with "loss" in its name."""
    curves: dict[str, list[list[float]]] = {}
    for i, line in enumerate(history):
        for name, value in line.items():
            if "loss" in name and isinstance(value, (int, float)) and math.isfinite(value):
                curves.setdefault(name, []).append([float(line.get("step", i)), float(value)])
    return {name: points[:: max(1, math.ceil(len(points) / _HISTORY_POINTS))] for name, points in curves.items()}


def render(facts: Facts) -> Sequence[Block]:
    """Return reconstruction by gap and band, and the loss over training."""
    blocks = _reconstruction(facts["reconstruction"]) if facts["reconstruction"] else []
    if facts["history"]:
        blocks.append(curves_plot(facts["history"], name="pretraining-loss", title="Loss in pretraining"))
    return blocks


def _reconstruction(scores: Sequence[Mapping[str, Any]]) -> list[Block]:
    """Return a sentence, the table by gap, a figure per baseline, and the table by band."""
    whole = [s for s in scores if s["band"] == "all"]
    overall = next(s for s in whole if s["method"] == "model" and s["low_ms"] == 0 and s["high_ms"] is None)
    known = [key for key in _BASELINES if overall[key]["value"] is not None]
    ratios = " and ".join(f"**{interval(overall[key])}** times that of {_BASELINES[key][0]}" for key in known)
    ours = [s for s in whole if s["method"] == "model"]
    figures = tuple(
        dot_plot(
            [(_span(s), s[key]) for s in ours],
            name=f"reconstruction-{_BASELINES[key][1]}",
            title=f"Error of the model over that of {_BASELINES[key][0]}",
            reference=(1.0, "equal"),
        )
        for key in known
    )
    blocks: list[Block] = [
        Text(
            f"Reconstructing masked signal of held-out windows, the model’s squared error is {ratios}; below 1 is better."
        ),
        _table(whole, known, name="reconstruction"),
        Pair(figures),
    ]
    banded = [s for s in scores if s["band"] != "all"]
    if banded:
        note = Text("Truth and estimate are filtered alike; masked samples are scored.")
        table = _table(banded, known, name="reconstruction-by-band", banded=True)
        blocks.append(Details("By band", (note, table)))
    return blocks


def _table(scores: Sequence[Mapping[str, Any]], known: Sequence[str], *, name: str, banded: bool = False) -> Table:
    rows = tuple(
        Row(
            cells=(
                *((words(s["band"]),) if banded else ()),
                words(_span(s)),
                words(s["method"]),
                estimate(s["mse"]),
                estimate(s["r"]),
                *(estimate(s[key]) for key in known),
            ),
            main=s["method"] == "model",
        )
        for s in scores
    )
    ratios = (f"Error / {_BASELINES[key][1]}" for key in known)
    columns = (*(("Band",) if banded else ()), "Gap", "Method", "MSE ↓", "r ↑", *ratios)
    return Table(name=name, columns=columns, rows=rows)


def _span(score: Mapping[str, Any]) -> str:
    if score["high_ms"] is None:
        return "all gaps" if score["low_ms"] == 0 else f"{score['low_ms']:g}+ ms"
    return f"{score['low_ms']:g}–{score['high_ms']:g} ms"


SECTION = Section(name="pretraining", title="Pretraining", facts=facts, render=render)
