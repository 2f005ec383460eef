"""Lines with their intervals over a number, and clouds of points."""

from collections.abc import Callable, Mapping, Sequence
from html import escape

from evaluation.report.drawing.figures import Figure, shortened, unit_square
from signals.pages.svg import INK, SHADES, WIDTH, line, number, svg, text, ticks

Point = tuple[float, float, float | None, float | None]
"""x, y, low, high."""
_MARKS = ("circle", "square", "diamond", "triangle")


def band_plot(
    curves: Mapping[str, Sequence[Point]],
    *,
    name: str,
    title: str,
    x_label: str,
    names: Mapping[float, str] | None = None,
    reference: tuple[float, str] | None = None,
) -> Figure:
    """Return lines over x with their intervals shaded; `names` puts words at the x axis instead of numbers."""
    points = [point for curve in curves.values() for point in curve]
    if not points:
        return Figure(name=name, title=title, svg="", note="undefined throughout")
    values = [v for p in points for v in p[1:] if v is not None] + ([reference[0]] if reference else [])
    up, across = ticks(min(values), max(values)), sorted({p[0] for p in points})
    low_x, high_x = across[0], max(across[-1], across[0] + 1e-9)
    left, right, top, bottom = 52.0, WIDTH - 16.0, 12.0, 210.0

    def at(x: float, y: float) -> tuple[float, float]:
        rise = (y - up[0]) / (up[-1] - up[0])
        return left + (x - low_x) / (high_x - low_x) * (right - left), bottom - rise * (bottom - top)

    parts = [
        line(left, at(low_x, m)[1], right, at(low_x, m)[1])
        + text(left - 8, at(low_x, m)[1] + 4, f"{m:g}", anchor="end", cls="soft")
        for m in up
    ]
    named = names or {
        x: f"{x:g}" for x in (across if len(across) < 8 else ticks(low_x, high_x)) if low_x <= x <= high_x
    }
    for i, (x, words) in enumerate(sorted(named.items())):
        # Words take two rows in turn, so that long ones do not meet.
        anchor = "start" if x == low_x else "end" if x == high_x else "middle"
        parts.append(
            text(at(x, up[0])[0], bottom + 16 + (14 * (i % 2) if names else 0), words, anchor=anchor, cls="soft")
        )
    foot = bottom + (46 if names else 34)
    parts.append(text((left + right) / 2, foot, x_label, anchor="middle", cls="soft"))
    if reference:
        y = at(low_x, reference[0])[1]
        parts.append(line(left, y, right, y, colour=INK, dash="3 3"))
        parts.append(text(right - 2, y - 5, reference[1], anchor="end", cls="over"))
    for i, (label, curve) in enumerate(curves.items()):
        parts.append(_curve(label, curve, SHADES[i % len(SHADES)], at))
        y = foot + 20 + 18 * i
        parts.append(
            line(left, y - 4, left + 18, y - 4, colour=SHADES[i % len(SHADES)], width=3) + text(left + 24, y, label)
        )
    height = foot + 26 + 18 * len(curves)
    return Figure(name=name, title=title, svg=svg(height, "".join(parts), title))


def _curve(name: str, curve: Sequence[Point], colour: str, at: Callable[[float, float], tuple[float, float]]) -> str:
    known = [(p[0], low, high) for p in curve if (low := p[2]) is not None and (high := p[3]) is not None]
    parts = []
    if len(known) > 1:
        edge = [at(x, high) for x, _, high in known] + [at(x, low) for x, low, _ in reversed(known)]
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in edge)
        parts.append(f'<polygon points="{path}" fill="{colour}" opacity="0.13"/>')
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in (at(p[0], p[1]) for p in curve))
    parts.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"/>')
    if len(curve) < 20:
        for p in curve:
            x, y = at(p[0], p[1])
            hover = f"{name}, {p[0]:g}: {number(p[1], 3)}"
            if p[2] is not None:
                hover += f" ({number(p[2], 3)} to {number(p[3], 3)})"
            parts.append(
                f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3.5" fill="{colour}"><title>{escape(hover)}</title></circle>'
            )
    return "".join(parts)


def square_plot(
    curves: Mapping[str, Sequence[Sequence[float]]],
    *,
    name: str,
    title: str,
    x_label: str,
    y_label: str,
    diagonal: bool = False,
) -> Figure:
    """Return curves of shares over shares, both axes from 0 to 1; `diagonal` draws what guessing gives."""
    left, top, size = 52.0, 32.0, 300.0
    at, parts = unit_square(left, top, size)
    if diagonal:
        parts.append(line(*at(0, 0), *at(1, 1), colour=INK, dash="3 3"))
    for i, (label, points) in enumerate(curves.items()):
        colour = SHADES[i % len(SHADES)]
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in (at(p[0], p[1]) for p in points))
        parts.append(
            f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"><title>{escape(label)}</title></polyline>'
        )
        x, y = left + (i % 3) * 120, top + size + 62 + 18 * (i // 3)
        parts.append(line(x, y - 4, x + 18, y - 4, colour=colour, width=3) + text(x + 24, y, label))
    parts.append(text(left + size / 2, top + size + 38, x_label, anchor="middle", cls="soft"))
    parts.append(text(left - 26, top - 14, y_label, cls="soft"))
    height = top + size + 70 + 18 * ((len(curves) + 2) // 3)
    return Figure(name=name, title=title, svg=svg(height, "".join(parts), title))


def strip_plot(
    groups: Mapping[str, Sequence[float]], *, name: str, title: str, y_label: str, reference: tuple[float, str]
) -> Figure:
    """Return one dot per patient, in a column per group, heights from 0 to 1; equal heights stand side by side."""
    if not any(groups.values()):
        return Figure(name=name, title=title, svg="", note="no patients")
    left, right, top, bottom = 52.0, WIDTH - 12.0, 32.0, 250.0
    step = (right - left) / len(groups)

    def height(value: float) -> float:
        return bottom - value * (bottom - top)

    parts = [
        line(left, height(m), right, height(m)) + text(left - 8, height(m) + 4, f"{m:.1f}", anchor="end", cls="soft")
        for m in (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)
    ]
    parts.append(line(left, height(reference[0]), right, height(reference[0]), colour=INK, dash="3 3"))
    is_staggered = len(groups) > 4
    room = int(step * (2 if is_staggered else 1) / 7.5)
    words = [shortened(label, max(room, 4)) for label in groups]
    for i, (label, values) in enumerate(groups.items()):
        middle, taken = left + step * (i + 0.5), dict[float, int]()
        for value in sorted(values):
            place = round(value, 2)
            n = taken[place] = taken.get(place, 0) + 1
            x = middle + (n // 2) * 7 * (1 if n % 2 else -1)
            x = min(max(x, middle - step / 2 + 4), middle + step / 2 - 4)
            parts.append(
                f'<circle cx="{x:.1f}" cy="{height(value):.1f}" r="3.2" fill="{SHADES[0]}" fill-opacity="0.7">'
                f"<title>{escape(label)}: {value:.2f}</title></circle>"
            )
        parts.append(text(middle, bottom + 18 + 14 * (i % 2 if is_staggered else 0), words[i], anchor="middle"))
    parts.append(text(left - 26, top - 14, y_label, cls="soft"))
    parts.append(text(right - 2, height(reference[0]) - 5, reference[1], anchor="end", cls="over"))
    return Figure(name=name, title=title, svg=svg(bottom + 44, "".join(parts), title))


def cloud_plot(points: Sequence[Sequence[float]], groups: Sequence[str], *, name: str, title: str) -> Figure:
    """Return points coloured, and shaped, by name; the legend counts them."""
    if not points:
        return Figure(name=name, title=title, svg="", note="too few windows")
    known = sorted(set(groups))
    left, top, width, height = 8.0, 8.0, WIDTH - 16.0, 300.0
    spans = [(min(p[k] for p in points), max(p[k] for p in points)) for k in (0, 1)]

    def at(point: Sequence[float]) -> tuple[float, float]:
        x, y = ((point[k] - low) / max(high - low, 1e-9) for k, (low, high) in enumerate(spans))
        return left + 6 + x * (width - 12), top + 6 + (1 - y) * (height - 12)

    parts = [f'<rect x="{left}" y="{top}" width="{width}" height="{height}" fill="none" stroke="#d5dbdf"/>']
    for point, group in zip(points, groups, strict=True):
        parts.append(_mark(*at(point), known.index(group)))
    x, y = left, top + height + 22
    for i, group in enumerate(known):
        words = f"{group or 'no label'} ({sum(g == group for g in groups)})"
        reach = 26 + 7.2 * len(words)
        if x + reach > WIDTH and x > left:
            x, y = left, y + 20
        parts.append(_mark(x + 7, y - 4, i) + text(x + 16, y, words))
        x += reach
    return Figure(name=name, title=title, svg=svg(y + 10, "".join(parts), title))


def _mark(x: float, y: float, kind: int) -> str:
    colour, shape = SHADES[kind % len(SHADES)], _MARKS[kind // len(SHADES) % len(_MARKS)]
    look = f'fill="{colour}" fill-opacity="0.65"'
    if shape == "circle":
        return f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" {look}/>'
    path = {
        "square": f"M{x - 3:.1f} {y - 3:.1f}h6v6h-6z",
        "diamond": f"M{x:.1f} {y - 4:.1f}l4 4l-4 4l-4 -4z",
        "triangle": f"M{x:.1f} {y - 4:.1f}l4 7h-8z",
    }[shape]
    return f'<path d="{path}" {look}/>'
