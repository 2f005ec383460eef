"""Ten seconds of EEG as one drawing: channels below each other, flagged seconds shaded."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

import numpy as np

from pipelines.report.figures import AMBER, RED
from signals.description.artifacts import kinds_of
from signals.pages.svg import INK, WIDTH, line, svg, text
from signals.window import ABSENT, INTERPOLATED, MEASURED

_LEFT, _TOP, _STEP = 58.0, 20.0, 15.0
COLOURS = {"measured": INK, "interpolated": AMBER, "second under a flag": "#f0d3d1"}
STEP_UV = 0.1
"""What one step of the stored values is worth."""
_MOST = 2.2
"""Rows that a course may leave its own by; beyond it is cut off."""


@dataclass(frozen=True, kw_only=True)
class Row:
    """One channel's course."""

    name: str
    values: tuple[int | None, ...] | None
    """As of `extremes`; None where nothing was recorded."""

    @classmethod
    def from_dict(cls, fields: Mapping[str, Any]) -> "Row":
        """Build a row from its JSON."""
        return cls(name=fields["name"], values=None if fields["values"] is None else tuple(fields["values"]))


@dataclass(frozen=True, kw_only=True)
class Example:
    """The same seconds of one recording before and after preparation."""

    site_id: str
    recording_id: str
    label: str
    start_s: float
    """Onset in the recording, seconds since its start."""
    native_sfreq: float
    sfreq: float
    band: tuple[float, float]
    mains_hz: float | None
    before: tuple[Row, ...]
    """As read, each channel's median taken off."""
    after: tuple[Row, ...]
    ch_state: tuple[int, ...]
    flags: tuple[tuple[int, ...], ...]
    """Bit set of `signals.description.artifacts.KINDS` per channel and second."""

    @classmethod
    def from_dict(cls, fields: Mapping[str, Any]) -> "Example":
        """Build an example from its JSON."""
        low, high = fields["band"]
        return cls(
            **{
                **fields,
                "band": (low, high),
                "before": tuple(Row.from_dict(row) for row in fields["before"]),
                "after": tuple(Row.from_dict(row) for row in fields["after"]),
                "ch_state": tuple(fields["ch_state"]),
                "flags": tuple(tuple(row) for row in fields["flags"]),
            }
        )


def traces(example: Example, side: str, *, row_uv: float) -> str:
    """Return the channels of an example "before" or "after", each row `row_uv` from the next."""
    if side == "before":
        title = f"Before: as read, {example.native_sfreq:g} Hz"
        n_seconds, n_rows = len(example.flags[0]), len(example.before)
        drawing = courses(example.before, [MEASURED] * n_rows, [[0] * n_seconds] * n_rows, row_uv=row_uv, title=title)
    else:
        title = f"After: prepared, {example.sfreq:g} Hz"
        drawing = courses(example.after, example.ch_state, example.flags, row_uv=row_uv, title=title)
    return f"<figure><figcaption>{title}</figcaption>{drawing}</figure>"


def courses(
    rows: Sequence[Row],
    states: Sequence[int],
    flags: Sequence[Sequence[int]],
    *,
    row_uv: float,
    title: str,
    width: float = WIDTH,
) -> str:
    """Return rows as an SVG, `row_uv` apart."""
    bottom, right, n_seconds = _TOP + _STEP * len(rows), width - 4.0, len(flags[0])
    per_second = (right - _LEFT) / n_seconds
    body = [line(_LEFT + per_second * s, _TOP, _LEFT + per_second * s, bottom, width=0.6) for s in range(n_seconds + 1)]
    over = []
    for i, (row, state) in enumerate(zip(rows, states, strict=True)):
        y = _TOP + _STEP * (i + 0.5)
        for second, bits in enumerate(flags[i]):
            body += [_flag(second, per_second, y, row.name, bits)] if bits else []
        colour = AMBER if state == INTERPOLATED else INK
        body.append(
            f'<text x="{_LEFT - 6:.0f}" y="{y + 4:.1f}" text-anchor="end" style="font-size:11px;fill:{colour}">{escape(row.name)}</text>'
        )
        if row.values is None:
            word = "absent" if state == ABSENT else "not recorded"
            over.append(line(_LEFT, y, right, y, dash="2 4") + text(_LEFT + 6, y + 4, word, cls="over"))
        else:
            body.append(_course(row.values, right, y, _STEP * STEP_UV / row_uv, colour))
    under = text(_LEFT, bottom + 30, "0 s", cls="soft") + text(
        right, bottom + 30, f"{n_seconds} s", anchor="end", cls="soft"
    )
    under += text((_LEFT + right) / 2, bottom + 30, f"rows lie {row_uv:g} µV apart", anchor="middle", cls="soft")
    return svg(bottom + 36, "".join([*body, *over, under]), title, width=width)


def extremes(x: np.ndarray, n_bins: int = 220) -> tuple[int | None, ...]:
    """Return x, shape (n_times,), µV, as the lowest and highest sample of each of at most `n_bins` bins, in order of time.

    Drawn at that width it looks like x itself, spikes and all; every n-th sample would not. Values are in steps of
    `STEP_UV`, None for a bin without a sample.
    """
    n_bins = max(1, min(n_bins, len(x) // 2))
    values: list[int | None] = []
    # Equal bins to the sample: numpy's array_split puts the longer ones first, which bends the time axis.
    edges = np.arange(n_bins + 1) * len(x) // n_bins
    for part in np.split(x, edges[1:-1]):
        present = part[np.isfinite(part)]
        if not present.size:
            values += [None, None]
            continue
        values += [round(float(present[i]) / STEP_UV) for i in sorted((int(present.argmin()), int(present.argmax())))]
    return tuple(values)


def row_distance(rows: Sequence[Row]) -> float:
    """Return how far apart rows are best drawn, µV: a round number a little above the usual swing."""
    sizes = sorted(
        sorted(abs(v) for v in row.values if v is not None)[int(0.9 * sum(v is not None for v in row.values))]
        for row in rows
        if row.values is not None and any(v is not None for v in row.values)
    )
    distance = 2.2 * STEP_UV * (sizes[len(sizes) // 2] if sizes else 0.0)
    return next((m * 10.0**e for e in range(4) for m in (1, 2, 5) if m * 10.0**e >= distance), 10000.0)


def _flag(second: int, per_second: float, y: float, name: str, bits: int) -> str:
    title = escape(f"{name}, second {second}: {', '.join(kinds_of(bits))}")
    x, top = _LEFT + per_second * second, y - _STEP / 2
    return f'<rect x="{x:.1f}" y="{top:.1f}" width="{per_second:.1f}" height="{_STEP:g}" fill="{RED}" fill-opacity=".17"><title>{title}</title></rect>'


def _course(values: Sequence[int | None], right: float, y: float, px_a_step: float, colour: str) -> str:
    # Tenths of a pixel in whole numbers, relative: half the bytes of absolute ones.
    parts: list[str] = []
    last: tuple[int, int] | None = None
    per_value, most = 10 * (right - _LEFT) / len(values), _MOST * _STEP
    for i, value in enumerate(values):
        if value is None:
            last = None
            continue
        swing = min(max(value * px_a_step, -most), most)
        point = (round(10 * _LEFT + per_value * (i + 0.5)), round(10 * (y - swing)))
        parts.append(f"M{point[0]} {point[1]}" if last is None else f"l{point[0] - last[0]} {point[1] - last[1]}")
        last = point
    return f'<path d="{"".join(parts)}" transform="scale(.1)" fill="none" stroke="{colour}" stroke-width="8" stroke-linejoin="round"/>'
