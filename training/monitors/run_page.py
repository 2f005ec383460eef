"""A run's curves as one static page, made from its JSON lines whenever a run ends or stops."""

import json
import logging
from html import escape
from pathlib import Path

import numpy as np

from evaluation.report.drawing.figures import curves_plot
from model.heads import HEADS
from signals.files import atomic_file
from signals.pages.page import document, key_values

logger = logging.getLogger(__name__)

MOST_POINTS = 200
PANELS: dict[str, tuple[str, ...]] = {
    "Loss of validation windows": ("valid_loss",),
    "Balanced accuracy of validation windows": ("valid_balanced_accuracy", "knn_accuracy"),
    "Error at hidden samples of held-out windows": ("valid_error",),
    "The same by band": tuple(f"valid_error_{band}" for band in ("delta", "theta", "alpha", "beta", "gamma")),
    "Latents of held-out windows": ("latent_variance", "valid_latent_error"),
    "Gradient norm": ("grad_norm",),
    "Learning rate": ("learning_rate",),
    "EEG-hours per second": ("eeg_hours_per_s",),
    "Seconds of a step": ("step_s", "load_s", "forward_s", "backward_s", "communicate_s", "update_s"),
    "Memory, MB": ("peak_rss_mb", "gpu_peak_mb"),
    "Model FLOPs utilisation": ("mfu",),
}


def write_run_page(path: Path) -> None:
    """Write the curves of a run's JSON lines beside them; nothing without a line.

    metrics.jsonl has curves.html, NAME.jsonl has NAME.html.
    """
    lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()] if path.exists() else []
    if not lines:
        return
    page = path.with_name("curves.html") if path.name == "metrics.jsonl" else path.with_suffix(".html")
    with atomic_file(page) as file:
        file.write(run_page(lines).encode())


def run_page(lines: list[dict[str, float]]) -> str:
    """Return the page of a run's metrics."""
    plots: list[str] = []
    # Heads are entered by their modules, some of which may come in after this one.
    losses = ("loss", *HEADS, "labels", "teacher")
    for title, names in {"Loss": losses, **PANELS}.items():
        curves = {name: _points(lines, name) for name in names}
        if shown := {name: points for name, points in curves.items() if points}:
            plots.append(curves_plot(shown, name=f"run-{len(plots)}", title=title).html())
    last = lines[-1]
    values = {name: f"{value:.5g}" for name, value in last.items() if isinstance(value, (int, float))}
    body = (
        f"<p class=sub>{len(lines)} steps, the last is number {last['step']}. Curves are medians over neighbouring "
        f"steps.</p><div class=pair>{''.join(plots)}</div><h2>The last step</h2>{key_values(values)}"
    )
    return document(body, title=escape("Training run"))


def _points(lines: list[dict[str, float]], name: str) -> list[list[float]]:
    """Return [step, median of about as many values as make MOST_POINTS points]; undefined values are left out."""
    known = [(line["step"], line[name]) for line in lines if np.isfinite(line.get(name, np.nan))]
    if not known:
        return []
    groups = np.array_split(np.array(known, dtype=np.float64), min(MOST_POINTS, len(known)))
    return [[float(group[-1, 0]), float(np.median(group[:, 1]))] for group in groups]
