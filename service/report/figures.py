"""Figures of a patient report as SVG: the timeline of answers, and epochs of EEG."""

from collections.abc import Sequence

import numpy as np

from service.formats.findings import Findings
from signals.pages.svg import INK, RULE, SOFT, line, svg, text
from signals.viewing.montages import Row

COLOURS = {
    "Seizure": "#d55e00", "LPD": "#e69f00", "GPD": "#cc79a7", "LRDA": "#0072b2", "GRDA": "#56b4e9", "Other": "#9aa5ad",
}  # fmt: skip
"""The six classes as in the viewer (service/viewer/static/style.js; a test compares the two)."""
_UNKNOWN = "#7a8790"
_WIDTH, _LEFT, _ROW = 1000.0, 64.0, 22.0
_MOST_ROWS = 12
_SIDES = {"left": "#1f4fa8", "right": "#a83232", "midline": "#2b6b3f"}


def colour_of(name: str) -> str:
    """Return the colour of a class."""
    return COLOURS.get(name, _UNKNOWN)


def timeline(findings: Findings, duration_s: float) -> str:
    """Return the answers hour by hour, or in as many rows as fit on a page."""
    per_row = max(3600.0, duration_s / _MOST_ROWS)
    n_rows = max(1, int(np.ceil(duration_s / per_row)))
    parts = []
    for row in range(n_rows):
        top, start = 14 + row * (_ROW + 10), row * per_row
        parts.append(text(0, top + _ROW - 6, clock(start), cls="soft"))
        share = min(1.0, (duration_s - start) / per_row)
        parts.append(_box(_LEFT, top, share * (_WIDTH - _LEFT), _ROW, "#ffffff", RULE))
    for answer in findings.answers:
        a, b = findings.span(answer)
        row = int(a // per_row)
        top, x = 14 + row * (_ROW + 10), _LEFT + (a - row * per_row) / per_row * (_WIDTH - _LEFT)
        wide = (b - a) / per_row * (_WIDTH - _LEFT)
        parts.append(_box(x, top, wide + 0.2, _ROW, colour_of(answer.predicted_class)))
    label = f"Predicted class over time, a row for each {per_row / 3600:.3g} h"
    return svg(20 + n_rows * (_ROW + 10), "".join(parts), label, width=_WIDTH)


def epoch(x: np.ndarray, rows: Sequence[Row], *, sfreq: float, start_s: float, uv_per_row: float = 70.0) -> str:
    """Return traces, shape (n_rows, n_times), µV, negative up, with seconds below and a bar of `uv_per_row`."""
    height = 15.0 * len(rows) + 34
    parts, seconds = [], x.shape[1] / sfreq
    for second in range(int(seconds) + 1):
        at = _LEFT + second / seconds * (_WIDTH - _LEFT - 20)
        parts.append(line(at, 4, at, height - 24))
        if second < seconds:
            parts.append(text(at + 3, height - 8, clock(start_s + second), cls="soft"))
    for number, (row, values) in enumerate(zip(rows, x, strict=True)):
        middle = 12 + 15.0 * number
        parts.append(text(0, middle + 4, row.label))
        parts += [_trace(part, sfreq, seconds, middle, uv_per_row, first, row.side) for first, part in _whole(values)]
    parts.append(line(_WIDTH - 8, 8, _WIDTH - 8, 23, colour=INK, width=2))
    parts.append(text(_WIDTH - 14, 20, f"{uv_per_row:g} µV", anchor="end", cls="over"))
    return svg(height, "".join(parts), f"EEG from {clock(start_s)}, {len(rows)} rows", width=_WIDTH)


def _whole(values: np.ndarray) -> list[tuple[int, np.ndarray]]:
    """Return the stretches of a row without a missing sample."""
    edges = np.flatnonzero(np.diff(np.concatenate([[0], (~np.isnan(values)).astype(np.int8), [0]])))
    return [(int(a), values[a:b]) for a, b in zip(edges[::2], edges[1::2], strict=True) if b - a > 1]


def _trace(
    values: np.ndarray, sfreq: float, seconds: float, middle: float, uv_per_row: float, first: int, side: str
) -> str:
    at = _LEFT + (first + np.arange(len(values))) / sfreq / seconds * (_WIDTH - _LEFT - 20)
    y = middle + np.clip(values, -400, 400) / uv_per_row * 15.0
    points = " ".join(f"{a:.1f},{b:.1f}" for a, b in zip(at.tolist(), y.tolist(), strict=True))
    return f'<polyline points="{points}" fill="none" stroke="{_SIDES.get(side, SOFT)}" stroke-width="0.9"/>'


def _box(x: float, y: float, width: float, height: float, fill: str, stroke: str = "none") -> str:
    return f'<rect x="{x:.1f}" y="{y:.1f}" width="{width:.2f}" height="{height:.1f}" fill="{fill}" stroke="{stroke}"/>'


def clock(seconds: float) -> str:
    """Return hours, minutes and seconds."""
    whole = round(seconds)
    return f"{whole // 3600:02d}:{whole // 60 % 60:02d}:{whole % 60:02d}"
