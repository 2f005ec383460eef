"""How well masked signal was filled in, and the course of training."""

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from evaluation.report.figures import curves_plot, dot_plot
from evaluation.report.text import Facts, cell, interval
from signals.pages.page import table

_AGAINST = {
    "ratio_to_linear": "a straight line across the gap",
    "ratio_to_mean": "the mean",
    "ratio_to_spline": "spherical splines",
    "ratio_to_ar": "an autoregressive model",
    "ratio_to_filling": "what it starts from",
}


def pretraining_section(facts: Facts) -> str:
    """Return how well masked signal was filled in, and the course of training."""
    scores, history = facts["reconstruction"], facts["history"]
    if not scores and not history:
        return ""
    parts = ["<h2>Pretraining</h2>"]
    if scores:
        parts += _filling(scores)
    if history:
        parts.append(curves_plot(history, title="Loss in pretraining"))
    return "".join(parts)


def _filling(scores: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return a sentence, the table by gap, plots against each baseline, and the table by band."""
    whole = [s for s in scores if s["band"] == "all"]
    overall = next(s for s in whole if s["method"] == "model" and s["low_ms"] == 0 and s["high_ms"] is None)
    known = [key for key in _AGAINST if overall[key]["value"] is not None]
    told = " and ".join(f"<b>{escape(interval(overall[key]))}</b> times that of {_AGAINST[key]}" for key in known)
    ours = [s for s in whole if s["method"] == "model"]
    plots = [
        dot_plot(
            [(_span(s), s[key]) for s in ours],
            title=f"Error of the model over that of {_AGAINST[key]}",
            reference=(1.0, "equal"),
        )
        for key in known
    ]
    head = ["Method", "MSE ↓", "r ↑", *(f"Error / {key.removeprefix('ratio_to_')}" for key in known)]
    parts = [
        f"<p>Filling in masked signal of held-out windows, the model’s squared error is {told}; below 1 is better.</p>",
        table(["Gap", *head], [_row(s, [_span(s)], known) for s in whole]),
        "<div class=pair>" + "".join(plots) + "</div>",
    ]
    banded = [s for s in scores if s["band"] != "all"]
    if banded:
        rows = [_row(s, [escape(s["band"]), _span(s)], known) for s in banded]
        words = "Truth and estimate are filtered alike; hidden samples are scored."
        parts.append(
            f"<details><summary>By band</summary><p>{words}</p>{table(['Band', 'Gap', *head], rows)}</details>"
        )
    return parts


def _row(score: Mapping[str, Any], first: Sequence[str], known: Sequence[str]) -> str:
    cells = "".join(f"<td>{text}</td>" for text in (*first, escape(score["method"])))
    return f"<tr{' class=main' if score['method'] == 'model' else ''}>{cells}{cell(score['mse'])}{cell(score['r'])}{''.join(cell(score[key]) for key in known)}</tr>"


def _span(score: Mapping[str, Any]) -> str:
    if score["high_ms"] is None:
        return "all gaps" if score["low_ms"] == 0 else f"{score['low_ms']:g}+ ms"
    return f"{score['low_ms']:g}–{score['high_ms']:g} ms"
