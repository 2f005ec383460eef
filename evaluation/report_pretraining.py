"""How well masked signal was filled in, and the course of training."""

from collections.abc import Mapping
from html import escape
from typing import Any

from evaluation.report_figures import curves_plot, dot_plot
from evaluation.report_text import Facts, cell, interval
from signals.page import table


def pretraining_section(facts: Facts) -> str:
    """Return how well masked signal was filled in, and the course of training."""
    scores, history = facts["reconstruction"], facts["history"]
    if not scores and not history:
        return ""
    parts = ["<h2>Pretraining</h2>"]
    if scores:
        overall = next(s for s in scores if s["method"] == "model" and s["low_ms"] == 0 and s["high_ms"] is None)
        parts.append(
            f"<p>Filling in masked signal of held-out windows, the model’s squared error is <b>{escape(interval(overall['ratio_to_linear']))}</b> times that of a "
            f"straight line across the gap and <b>{escape(interval(overall['ratio_to_mean']))}</b> times that of the mean; below 1 is better.</p>"
        )
        rows = [
            f"<tr{' class=main' if s['method'] == 'model' else ''}><td>{_span(s)}</td><td>{escape(s['method'])}</td>{cell(s['mse'])}{cell(s['r'])}"
            f"{cell(s['ratio_to_linear'])}{cell(s['ratio_to_mean'])}</tr>"
            for s in scores
        ]
        parts.append(table(["Gap or band", "Method", "MSE ↓", "r ↑", "Error / line", "Error / mean"], rows))
        ours = [s for s in scores if s["method"] == "model"]
        parts.append("<div class=pair>" + "".join(
            dot_plot([(_span(s), s[key]) for s in ours], title=f"Error of the model over that of {words}", reference=(1.0, "equal"))
            for key, words in (("ratio_to_linear", "a straight line"), ("ratio_to_mean", "the mean"))
        ) + "</div>")  # fmt: skip
    if history:
        parts.append(curves_plot(history, title="Loss in pretraining"))
    return "".join(parts)


def _span(score: Mapping[str, Any]) -> str:
    if score["band"] != "all":
        return str(score["band"])
    if score["high_ms"] is None:
        return "all gaps" if score["low_ms"] == 0 else f"{score['low_ms']:g}+ ms"
    return f"{score['low_ms']:g}–{score['high_ms']:g} ms"
