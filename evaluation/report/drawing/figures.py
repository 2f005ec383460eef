"""Figures of the evaluation report, each mark with a <title> that holds its numbers."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

from signals.pages.svg import ACCENT, INK, SHADES, SOFT, WIDTH, line, number, svg, text, ticks

LONGEST_LABEL = 26
"""Characters of a row's label; there is room for them beside an axis of half the width."""

_STYLE = (
    f'text{{font:12.5px "Source Sans 3","Segoe UI",Arial,sans-serif;fill:{INK}}}.soft{{fill:{SOFT}}}'
    f".over{{fill:{SOFT};stroke:#fff;stroke-width:5px;paint-order:stroke}}"
)


@dataclass(frozen=True, kw_only=True)
class Figure:
    """A figure by name, so that it can be written as a file; `svg` empty where there is nothing to draw."""

    name: str
    title: str
    svg: str
    note: str = ""
    """Why there is nothing to draw."""

    def html(self) -> str:
        """Return the figure for a page."""
        if not self.svg:
            return f'<p class="note">{escape(self.title)}: {escape(self.note)}.</p>'
        return (
            f'<figure id="figure-{escape(self.name)}"><figcaption>{escape(self.title)}</figcaption>{self.svg}</figure>'
        )

    def standalone(self) -> str:
        """Return the figure as an SVG file of its own, with its fonts and colours."""
        opened = self.svg.replace("<svg ", '<svg xmlns="http://www.w3.org/2000/svg" ', 1)
        head, _, rest = opened.partition(">")
        return f'<?xml version="1.0" encoding="UTF-8"?>\n{head}><style>{_STYLE}</style>{rest}\n'


def shortened(label: str, most: int) -> str:
    """Return a label of at most so many characters; "…" stands for what was cut."""
    return label if len(label) <= most else label[: most - 1] + "…"


def dot_plot(
    rows: Sequence[tuple[str, Mapping[str, Any]]],
    *,
    name: str,
    title: str,
    reference: tuple[float, str] | None = None,
) -> Figure:
    """Return named estimates with their intervals on one axis, and a dashed line for `reference`."""
    known = [row[key] for _, row in rows for key in ("value", "low", "high") if row[key] is not None]
    known += [reference[0]] if reference else []
    if not known:
        return Figure(name=name, title=title, svg="", note="undefined throughout")
    marks = ticks(min(known), max(known))
    longest = min(max(len(label) for label, _ in rows), LONGEST_LABEL)
    left, right, top, step = max(118.0, 16 + 7.0 * longest), WIDTH - 16.0, 14.0, 26.0
    height = top + step * len(rows) + 44

    def at(value: float) -> float:
        return left + (value - marks[0]) / (marks[-1] - marks[0]) * (right - left)

    bottom = top + step * len(rows)
    parts = [
        line(at(m), top - 6, at(m), bottom) + text(at(m), bottom + 16, f"{m:g}", anchor="middle", cls="soft")
        for m in marks
    ]
    if reference:
        parts.append(line(at(reference[0]), top - 6, at(reference[0]), bottom, colour=INK, dash="3 3"))
        words, is_right = f"{reference[1]} {reference[0]:.2f}", at(reference[0]) > WIDTH / 2
        words, anchor = (f"{words} ┊", "end") if is_right else (f"┊ {words}", "start")
        parts.append(text(at(reference[0]), bottom + 33, words, anchor=anchor, cls="soft"))
    for i, (label, row) in enumerate(rows):
        y = top + step * i + step / 2
        parts.append(text(left - 10, y + 4, shortened(label, LONGEST_LABEL), anchor="end"))
        if row["value"] is None:
            parts.append(text(left + 4, y + 4, "undefined", cls="over"))
            continue
        hover = f"{label}: {number(row['value'], 3)}"
        if row["low"] is not None:
            hover += f" ({number(row['low'], 3)} to {number(row['high'], 3)})"
            parts.append(line(at(row["low"]), y, at(row["high"]), y, colour=ACCENT, width=2))
        hollow = ' fill="#fff"' if row["low"] is None else f' fill="{ACCENT}"'
        parts.append(
            f'<circle cx="{at(row["value"]):.1f}" cy="{y:.1f}" r="4.5" stroke="{ACCENT}" stroke-width="2"{hollow}>'
            f"<title>{escape(hover)}</title></circle>"
        )
    return Figure(name=name, title=title, svg=svg(height, "".join(parts), title))


def unit_square(
    left: float, top: float, size: float
) -> tuple[Callable[[float, float], tuple[float, float]], list[str]]:
    """Return where a point of two shares lies on a square of `size` pixels, and the square's grid with its numbers."""

    def at(x: float, y: float) -> tuple[float, float]:
        return left + x * size, top + (1 - y) * size

    parts = []
    for mark in (0.0, 0.2, 0.4, 0.6, 0.8, 1.0):
        parts.append(line(*at(0, mark), *at(1, mark)) + line(*at(mark, 0), *at(mark, 1)))
        parts.append(text(left - 8, at(0, mark)[1] + 4, f"{mark:.1f}", anchor="end", cls="soft"))
        parts.append(text(at(mark, 0)[0], top + size + 18, f"{mark:.1f}", anchor="middle", cls="soft"))
    return at, parts


def reliability_plot(bins: Sequence[Mapping[str, Any]], *, name: str, title: str = "") -> Figure:
    """Return stated probability against frequency, dots as large as their bins are full."""
    left, top, size = 52.0, 10.0, 330.0
    at, parts = unit_square(left, top, size)
    parts.append(line(*at(0, 0), *at(1, 1), colour=INK, dash="3 3"))
    most = max((b["n_windows"] for b in bins), default=1) or 1
    for b in (b for b in bins if b["n_windows"]):
        x, y = at(b["confidence"], b["accuracy"])
        parts.append(line(x, at(0, b["accuracy_low"])[1], x, at(0, b["accuracy_high"])[1], colour=ACCENT, width=1.5))
        hover = f"probability {b['confidence']:.2f}, right {b['accuracy']:.2f} of {b['n_windows']} windows"
        radius = 3 + 6 * (b["n_windows"] / most) ** 0.5
        parts.append(
            f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{radius:.1f}" fill="{ACCENT}"><title>{hover}</title></circle>'
        )
    parts.append(
        text(left + size / 2, top + size + 38, "probability of the predicted class", anchor="middle", cls="soft")
    )
    parts.append(text(left + 6, top + 14, "share that is right", cls="soft"))
    title = title or "Reliability: on the dashed line, probabilities are frequencies"
    return Figure(name=name, title=title, svg=svg(top + size + 48, "".join(parts), title))


def curves_plot(curves: Mapping[str, Sequence[Sequence[float]]], *, name: str, title: str) -> Figure:
    """Return values over training steps, one line a curve."""
    points = [point for curve in curves.values() for point in curve]
    steps, values = [p[0] for p in points], [p[1] for p in points]
    marks, across = ticks(min(values), max(values)), (min(steps), max(max(steps), min(steps) + 1))
    left, right, top, bottom = 52.0, WIDTH - 12.0, 12.0, 220.0

    def at(x: float, y: float) -> tuple[float, float]:
        up = (y - marks[0]) / ((marks[-1] - marks[0]) or 1.0)  # a curve that stays at 0 has one mark
        return left + (x - across[0]) / (across[1] - across[0]) * (right - left), bottom - up * (bottom - top)

    parts = [
        line(left, at(0, m)[1], right, at(0, m)[1])
        + text(left - 8, at(0, m)[1] + 4, f"{m:g}", anchor="end", cls="soft")
        for m in marks
    ]
    for i, (label, curve) in enumerate(curves.items()):
        colour = SHADES[i % len(SHADES)]
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in (at(*point) for point in curve))
        hover = f"{label}: {curve[0][1]:.3g} at step {curve[0][0]:.0f}, {curve[-1][1]:.3g} at step {curve[-1][0]:.0f}"
        parts.append(
            f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"><title>{escape(hover)}</title></polyline>'
        )
        y = bottom + 42 + 18 * i
        parts.append(line(left, y - 4, left + 18, y - 4, colour=colour, width=3) + text(left + 24, y, hover))
    parts.append(text(left, bottom + 18, f"step {across[0]:.0f}", cls="soft"))
    parts.append(text(right, bottom + 18, f"step {across[1]:.0f}", anchor="end", cls="soft"))
    height = bottom + 48 + 18 * len(curves)
    return Figure(name=name, title=title, svg=svg(height, "".join(parts), title))
