"""python -m service.monitoring.page: the dashboards without Grafana, as one HTML page, drawn from a Prometheus.

Every query of every dashboard is sent as it stands in Grafana's JSON; a panel without data states so, one whose query
is refused shows the error. The page needs no network once it is written.
"""

import json
import re
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path

from service.monitoring.boards import Board, BoardError, Panel, Query, read_boards
from signals.command_line import Parser
from signals.files import atomic_file
from signals.pages.page import document
from signals.pages.svg import RULE, SHADES, line, svg, text, ticks

_N_STEPS = 240
_MOST_LINES = 12
_HEIGHT, _LEFT, _BOTTOM, _TOP, _WIDTH = 190.0, 52.0, 24.0, 8.0, 440.0
_CSS = """main{max-width:1180px}figure p{font-size:14px}
.boards{display:grid;grid-template-columns:repeat(auto-fit,minmax(330px,1fr));gap:8px 32px}
ul.legend{list-style:none;margin:2px 0 0;padding:0;font-size:13px;color:var(--soft)}
ul.legend li{display:inline-block;margin-right:14px}
ul.legend i{display:inline-block;width:14px;height:3px;vertical-align:4px;margin-right:5px}"""


@dataclass(frozen=True)
class Line:
    """One series of a panel."""

    legend: str
    points: tuple[tuple[float, float], ...]
    """UTC seconds and value; what is not finite is left out."""


@dataclass(frozen=True)
class Drawn:
    """What a panel's queries gave."""

    lines: tuple[Line, ...]
    error: str = ""


def fetch(prometheus: str, query: Query, *, start: float, stop: float) -> Drawn:
    """Return the series of a query; the error in words where Prometheus refuses it.

    Raises BoardError where Prometheus does not answer.
    """
    step = max(1.0, (stop - start) / _N_STEPS)
    values = {"query": query.expr, "start": start, "end": stop, "step": step}
    url = f"{prometheus.rstrip('/')}/api/v1/query_range?{urllib.parse.urlencode(values)}"
    try:
        with urllib.request.urlopen(url, timeout=20) as reply:
            result = json.load(reply)["data"]["result"]
    except urllib.error.HTTPError as error:
        return Drawn((), str(json.loads(error.read() or b"{}").get("error", error)))
    except (OSError, ValueError) as error:
        raise BoardError(f"Prometheus at {prometheus} does not answer: {error}") from None
    return Drawn(tuple(_line(query, series) for series in result))


def _line(query: Query, series: dict[str, object]) -> Line:
    labels, values = series["metric"], series["values"]
    assert isinstance(labels, dict)
    assert isinstance(values, list)
    legend = re.sub(r"\{\{\s*(\w+)\s*\}\}", lambda found: str(labels.get(found[1], "")), query.legend)
    numbers = ((float(at), float(value)) for at, value in values)
    return Line(legend, tuple((at, value) for at, value in numbers if abs(value) < float("inf")))


def draw(panel: Panel, drawn: Sequence[Drawn], *, start: float, stop: float) -> str:
    """Return a panel as a figure."""
    lines = [each for one in drawn for each in one.lines if each.points]
    errors = [one.error for one in drawn if one.error]
    if errors:
        body = f'<p class="error">{escape(errors[0])}</p>'
    elif not lines:
        body = '<p class="note">No data in this span.</p>'
    else:
        body = _chart(panel, lines, start=start, stop=stop)
    return f"<figure><figcaption>{escape(panel.title)}</figcaption>{body}</figure>"


def _chart(panel: Panel, lines: Sequence[Line], *, start: float, stop: float) -> str:
    shown = sorted(lines, key=lambda each: -max(value for _, value in each.points))[:_MOST_LINES]
    high = max(value for each in shown for _, value in each.points)
    marks = ticks(0.0, high if high > 0 else 1.0)
    top, width, height = marks[-1], _WIDTH - _LEFT - 6, _HEIGHT - _TOP - _BOTTOM

    def place(at: float, value: float) -> tuple[float, float]:
        return _LEFT + width * (at - start) / (stop - start), _TOP + height * (1 - max(value, 0.0) / top)

    parts = []
    for mark in marks:
        y = place(start, mark)[1]
        parts += [line(_LEFT, y, _WIDTH - 6, y, colour=RULE),
                  text(_LEFT - 6, y + 4, f"{mark:g}", anchor="end", cls="soft")]  # fmt: skip
    for at, anchor in ((start, "start"), (stop, "end")):
        clock = time.strftime("%H:%M:%S", time.gmtime(at))
        parts.append(text(place(at, 0)[0], _HEIGHT - 6, clock, anchor=anchor, cls="soft"))
    for number, each in enumerate(shown):
        points = [place(*point) for point in each.points]
        points += [(points[0][0] + 2, points[0][1])] * (len(points) == 1)
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
        colour = SHADES[number % len(SHADES)]
        parts.append(
            f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="1.8">'
            f"<title>{escape(each.legend)}</title></polyline>"
        )
    legend = "".join(
        f'<li><i style="background:{SHADES[number % len(SHADES)]}"></i>{escape(each.legend)} '
        f"{each.points[-1][1]:.3g}</li>"
        for number, each in enumerate(shown)
    )
    more = f"<li>and {len(lines) - len(shown)} more</li>" if len(lines) > len(shown) else ""
    label = f"{panel.title}, {panel.unit}"
    return f'{svg(_HEIGHT, "".join(parts), label, width=_WIDTH)}<ul class="legend">{legend}{more}</ul>'


def page(boards: Sequence[Board], prometheus: str, *, minutes: float, now: float) -> tuple[str, int]:
    """Return the page of dashboards over the last minutes, and how many queries were refused."""
    start, sections, n_refused = now - 60 * minutes, [], 0
    for board in boards:
        figures = []
        for panel in board.panels:
            drawn = [fetch(prometheus, query, start=start, stop=now) for query in panel.queries]
            n_refused += sum(bool(one.error) for one in drawn)
            figures.append(draw(panel, drawn, start=start, stop=now))
        sections.append(f'<h2>{escape(board.title)}</h2><div class="boards">{"".join(figures)}</div>')
    span = f"{minutes:g} minutes until {time.strftime('%Y-%m-%d %H:%M:%S', time.gmtime(now))} UTC"
    return document(f'<p class="sub">{span}</p>{"".join(sections)}', title="Cerebeam: watching", css=_CSS), n_refused


def main(argv: Sequence[str] | None = None) -> int:
    """Run from the command line; returns 0, 1 where a query was refused, or 2 with one line on standard error."""
    parser = Parser(prog="cerebeam boards", description="the dashboards as one HTML page, without Grafana")
    parser.add_argument("--prometheus", default="http://127.0.0.1:9090", help="its address")
    parser.add_argument("--output", type=Path, required=True, help="the page")
    parser.add_argument("--minutes", type=float, default=60.0, help="span, ending now (default 60)")
    args = parser.parse_args(argv)
    try:
        if not 0 < args.minutes <= 60 * 24 * 31:
            raise BoardError(f"--minutes {args.minutes:g} must lie within 0 and a month")
        html, n_refused = page(read_boards(), args.prometheus, minutes=args.minutes, now=time.time())
        with atomic_file(args.output) as file:
            file.write(html.encode())
    except (BoardError, OSError) as error:
        print(f"cerebeam boards: {error}", file=sys.stderr)  # noqa: T201
        return 2
    if n_refused:
        print(f"cerebeam boards: {n_refused} queries were refused; the page shows why", file=sys.stderr)  # noqa: T201
    return int(n_refused > 0)


if __name__ == "__main__":
    sys.exit(main())
