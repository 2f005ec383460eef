"""Figures as inline SVG: drawn small, so that they stay legible on a phone, and sharp in print.

Every mark may carry a <title>, which browsers show when the pointer rests on it. Both reports draw with these.
"""

from html import escape

ACCENT, INK, SOFT, RULE = "#175676", "#1d2429", "#5d6a72", "#d5dbdf"
WIDTH = 440
SHADES = (ACCENT, "#c07a1a", "#7a8790", "#6b4c8a", "#3f7d58", "#a3445a")


def number(value: float | None, digits: int = 2) -> str:
    """Return a number as text; "–" where it is undefined."""
    return "–" if value is None else f"{round(value, digits) + 0.0:.{digits}f}".replace("-", "−")


def svg(height: float, body: str, label: str, *, width: float = WIDTH) -> str:
    """Return an SVG element, of the common width unless another is given."""
    return f'<svg viewBox="0 0 {width:g} {height:.0f}" role="img" aria-label="{escape(label)}">{body}</svg>'


def standalone(drawing: str) -> str:
    """Return an SVG element as an image of its own, which no page's style sheet reaches."""
    style = 'xmlns="http://www.w3.org/2000/svg" font-family="sans-serif" font-size="12.5"'
    return drawing.replace("<svg ", f"<svg {style} ", 1)


def text(x: float, y: float, words: str, *, anchor: str = "start", cls: str = "") -> str:
    """Return a text element."""
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" class="{cls}">{escape(words)}</text>'


def line(x1: float, y1: float, x2: float, y2: float, *, colour: str = RULE, width: float = 1, dash: str = "") -> str:
    """Return a straight line."""
    dashes = f' stroke-dasharray="{dash}"' if dash else ""
    return f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" stroke="{colour}" stroke-width="{width}"{dashes}/>'


def ticks(low: float, high: float) -> list[float]:
    """Return about five round numbers that cover [low, high]; at least two, also where both are one."""
    high = high if high - low > 1e-6 else low + 0.1
    span = high - low
    exponent = 0
    while 10.0**exponent * 5 > span:
        exponent -= 1
    while 10.0**exponent * 50 < span:
        exponent += 1
    step = next(m * 10.0**exponent for m in (1, 2, 5, 10) if span / (m * 10.0**exponent) <= 6)
    first, last = int(low // step), int(-(-high // step))
    return [round(i * step, 10) for i in range(first, last + 1)]
