"""A drawing of each kind, with distinct values in every place, and how tests read drawings."""

from xml.etree import ElementTree

from evaluation.report.drawing.figures import Figure, curves_plot, dot_plot, reliability_plot
from evaluation.report.drawing.pdf import text_width
from evaluation.report.drawing.plots import band_plot, cloud_plot, square_plot, strip_plot

ROWS = [
    ("north", {"value": 0.62, "low": 0.51, "high": 0.7}),
    ("a name that is too long", {"value": 0.8, "low": 0.75, "high": 0.83}),
    ("unknown", {"value": None, "low": None, "high": None}),
    ("one patient", {"value": 0.45, "low": None, "high": None}),
]
BINS = [
    {"n_windows": n, "confidence": c, "accuracy": a, "accuracy_low": a - 0.1, "accuracy_high": a + 0.07}
    for n, c, a in ((4, 0.15, 0.3), (0, 0.3, None), (16, 0.55, 0.5), (64, 0.9, 0.7))
    if a is not None
]
BAND = {
    "encoder": [(0.0, 0.9, 0.8, 0.95), (1.0, 0.7, 0.65, 0.75), (4.0, 0.6, None, None)],
    "features": [(0.0, 0.7, 0.6, 0.8), (1.0, 0.65, 0.6, 0.7), (4.0, 0.55, 0.5, 0.62)],
}
FIGURES = {
    "dots": dot_plot(ROWS, name="f", title="t", reference=(0.5, "chance")),
    "reliability": reliability_plot(BINS, name="f"),
    "curves": curves_plot({"loss": [(0, 3.0), (10, 2.0), (50, 1.5)], "held out": [(0, 3.1), (50, 2.2)]}, name="f", title="t"),
    "bands": band_plot(BAND, name="f", title="t", x_label="mains hum, µV", reference=(0.5, "chance")),
    "kinds": band_plot(BAND, name="f", title="t", x_label="kind", names={0.0: "none", 1.0: "linked ears", 4.0: "average"}),
    "squares": square_plot(
        {f"class {i}": [(0.0, 0.0), (0.2, 0.5 + 0.1 * i), (1.0, 1.0)] for i in range(5)},
        name="f", title="t", x_label="1 - specificity", y_label="sensitivity", diagonal=True,
    ),
    "strips": strip_plot(
        {"north": [0.1, 0.5, 0.5, 0.5], "south": [0.9], "a hospital with a long name": [0.3, 0.0, 1.0]},
        name="f", title="t", y_label="share that is right", reference=(1 / 3, "guessing"),
    ),
    "clouds": cloud_plot([(i, -i * i) for i in range(30)], [f"group {i % 7}" for i in range(30)], name="f", title="t"),
}  # fmt: skip
PLACES = ("x", "y", "x1", "y1", "x2", "y2", "cx", "cy", "r")


def parsed(figure: Figure) -> ElementTree.Element:
    return ElementTree.fromstring(figure.svg)


def numbers(element: ElementTree.Element, *names: str) -> tuple[float, ...]:
    return tuple(float(element.get(name, "nan")) for name in names)


def word_boxes(drawing: ElementTree.Element) -> list[tuple[str, float, float, float, float]]:
    """Return each text with its left, top, right and bottom; words are 12.5 units high, 3 of them below their line."""
    boxes = []
    for element in drawing.iter("text"):
        words = element.text or ""
        (x, y), wide = numbers(element, "x", "y"), text_width(words)
        left = x - {"start": 0.0, "middle": wide / 2, "end": wide}[element.get("text-anchor", "start")]
        boxes.append((words, left, y - 9.5, left + wide, y + 3.0))
    return boxes


def lines(drawing: ElementTree.Element, *, dashed: bool | None = None) -> list[tuple[float, ...]]:
    found = [e for e in drawing.iter("line") if dashed is None or (e.get("stroke-dasharray") is not None) is dashed]
    return [numbers(e, "x1", "y1", "x2", "y2") for e in found]


def polylines(drawing: ElementTree.Element) -> list[tuple[str, list[tuple[float, ...]]]]:
    """Return colour and points of each line, in order."""
    return [
        (e.get("stroke", ""), [tuple(map(float, pair.split(","))) for pair in (e.get("points") or "").split()])
        for e in drawing.iter("polyline")
    ]


def at(drawing: ElementTree.Element, words: str) -> tuple[float, float]:
    [place] = [numbers(e, "x", "y") for e in drawing.iter("text") if e.text == words]
    return place[0], place[1]


def axis_of_dots(drawing: ElementTree.Element) -> tuple[float, float]:
    """Return where 0 lies on the axis of a dot plot, and how long 1 is."""
    marks = [
        (float(e.text or ""), numbers(e, "x")[0]) for e in drawing.iter("text") if e.get("text-anchor") == "middle"
    ]
    (v0, x0), (v1, x1) = marks[0], marks[-1]
    return x0 - v0 * (x1 - x0) / (v1 - v0), (x1 - x0) / (v1 - v0)


def at_corners(drawing: ElementTree.Element) -> tuple[tuple[float, float], tuple[float, float]]:
    """Return where (0, 0) and (1, 1) of a square lie, by its grid, which is a square."""
    grid = [
        place for place in lines(drawing, dashed=False) if max(abs(place[2] - place[0]), abs(place[3] - place[1])) > 100
    ]
    xs, ys = {x for place in grid for x in place[::2]}, {y for place in grid for y in place[1::2]}
    assert max(xs) - min(xs) == max(ys) - min(ys)
    return (min(xs), max(ys)), (max(xs), min(ys))
