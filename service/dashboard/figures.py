"""Charts of the dashboard as Plotly figures, each from a run's metrics or a report's facts; the look of the reports."""

from collections.abc import Mapping, Sequence
from typing import Any

import plotly.graph_objects as go

from service.report.figures import colour_of
from signals.pages.svg import ACCENT, INK, RULE, SHADES, SOFT

_FACE = '"Source Sans 3","Segoe UI","Helvetica Neue",Arial,"Liberation Sans",sans-serif'
_SHARES = [[0.0, "#ffffff"], [1.0, ACCENT]]
Rows = Sequence[Mapping[str, Any]]


def empty(words: str) -> go.Figure:
    """Return a figure that names why there is nothing in it."""
    figure = _figure("")
    figure.update_layout(xaxis={"visible": False}, yaxis={"visible": False})
    figure.add_annotation(text=words, showarrow=False, font={"size": 15, "color": SOFT})
    return figure


def course(rows: Rows, names: Sequence[str], title: str, unit: str, *, log: bool = False) -> go.Figure:
    """Return measures over the steps of a run."""
    known = [name for name in names if any(name in row for row in rows)]
    if not known:
        return empty(f"{title}: nothing yet")
    figure = _figure(title)
    for number, name in enumerate(known):
        points = [(row["step"], row[name]) for row in rows if name in row and "step" in row]
        steps, values = zip(*points, strict=True)
        colour = SHADES[number % len(SHADES)]
        figure.add_scatter(x=steps, y=values, name=name.replace("_", " "), mode="lines", line={"color": colour})
    figure.update_xaxes(title="step")
    figure.update_yaxes(title=unit, type="log" if log else "linear")
    return figure


def confusion(facts: Mapping[str, Any]) -> go.Figure:
    """Return the confusion matrix by row, grave errors outlined."""
    known = facts.get("confusion")
    if not known:
        return empty("Confusion matrix: this report has none")
    classes, shares, counts = known["classes"], known["row_shares"], known["counts"]
    words = [[f"{share:.0%}<br>{count:g}" for share, count in zip(*row, strict=True)]
             for row in zip(shares, counts, strict=True)]  # fmt: skip
    figure = _figure("Confusion matrix: share of each true class")
    figure.add_heatmap(
        z=shares, x=classes, y=classes, text=words, texttemplate="%{text}", colorscale=_SHARES, zmin=0, zmax=1,
        showscale=False, xgap=2, ygap=2,
    )  # fmt: skip
    for one in known["grave"]:
        x, y = classes.index(one["predicted"]), classes.index(one["true"])
        figure.add_shape(
            type="rect", x0=x - 0.5, x1=x + 0.5, y0=y - 0.5, y1=y + 0.5, line={"color": "#b3261e", "width": 2.5}
        )
    figure.update_xaxes(title="predicted")
    figure.update_yaxes(title="true", autorange="reversed")
    return figure


def roc(facts: Mapping[str, Any]) -> go.Figure:
    """Return a curve per class."""
    known = facts.get("curves")
    if not known:
        return empty("ROC: this report has no curves")
    figure = _figure("ROC, one class against the others")
    for one in known["classes"]:
        x, y = zip(*one["roc"], strict=True)
        figure.add_scatter(x=x, y=y, name=one["name"], mode="lines", line={"color": colour_of(one["name"])})
    figure.add_scatter(x=[0, 1], y=[0, 1], mode="lines", line={"color": RULE, "dash": "dot"}, showlegend=False)
    figure.update_xaxes(title="1 − specificity", range=[0, 1])
    figure.update_yaxes(title="sensitivity", range=[0, 1])
    return figure


def reliability(facts: Mapping[str, Any]) -> go.Figure:
    """Return accuracy over confidence with its intervals."""
    known = [one for one in facts.get("reliability") or [] if one["confidence"] is not None]
    if not known:
        return empty("Calibration: this report has none")
    figure = _figure("Calibration: accuracy over confidence")
    value = [one["accuracy"] for one in known]
    error = {
        "type": "data", "symmetric": False, "color": SOFT,
        "array": [one["accuracy_high"] - one["accuracy"] for one in known],
        "arrayminus": [one["accuracy"] - one["accuracy_low"] for one in known],
    }  # fmt: skip
    figure.add_scatter(
        x=[one["confidence"] for one in known], y=value, error_y=error, mode="markers+lines", line={"color": ACCENT},
        text=[f"{one['n_windows']} windows" for one in known], showlegend=False,
    )  # fmt: skip
    figure.add_scatter(x=[0, 1], y=[0, 1], mode="lines", line={"color": RULE, "dash": "dot"}, showlegend=False)
    figure.update_xaxes(title="confidence", range=[0, 1])
    figure.update_yaxes(title="accuracy", range=[0, 1])
    return figure


def by_site(facts: Mapping[str, Any], metric: str = "balanced_accuracy") -> go.Figure:
    """Return a metric of each model at each site, with intervals."""
    known = facts.get("sites")
    if not known:
        return empty("Sites: this report has none")
    figure = _figure(f"{metric.replace('_', ' ').capitalize()} by site")
    for number, (model, sites) in enumerate(known.items()):
        _add_estimates(figure, model, [(one["name"], one["metrics"].get(metric)) for one in sites], number)
    return figure


def by_model(facts: Mapping[str, Any], metric: str = "balanced_accuracy") -> go.Figure:
    """Return a metric of each model over all windows, with intervals."""
    known = facts.get("models")
    if not known:
        return empty("Models: this report has none")
    figure = _figure(f"{metric.replace('_', ' ').capitalize()} by model")
    _add_estimates(figure, "", [(name, one["metrics"].get(metric)) for name, one in known.items()], 0)
    return figure


def _add_estimates(
    figure: go.Figure, name: str, rows: Sequence[tuple[str, Mapping[str, Any] | None]], number: int
) -> None:
    there = [(label, one) for label, one in rows if one is not None and one["value"] is not None]
    error = {
        "type": "data", "symmetric": False,
        "array": [(one["high"] if one["high"] is not None else one["value"]) - one["value"] for _, one in there],
        "arrayminus": [one["value"] - (one["low"] if one["low"] is not None else one["value"]) for _, one in there],
    }  # fmt: skip
    figure.add_scatter(
        x=[label for label, _ in there], y=[one["value"] for _, one in there], error_y=error, mode="markers",
        marker={"color": SHADES[number % len(SHADES)], "size": 10}, name=name, showlegend=bool(name),
    )  # fmt: skip


def _figure(title: str) -> go.Figure:
    figure = go.Figure()
    figure.update_layout(
        title={"text": title, "font": {"size": 16}}, font={"family": _FACE, "size": 13, "color": INK}, height=360,
        paper_bgcolor="#ffffff", plot_bgcolor="#ffffff", margin={"l": 60, "r": 20, "t": 44, "b": 48},
        legend={"orientation": "h", "y": -0.22},
    )  # fmt: skip
    figure.update_xaxes(gridcolor=RULE, zeroline=False)
    figure.update_yaxes(gridcolor=RULE, zeroline=False)
    return figure
