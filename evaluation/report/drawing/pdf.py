"""Figures as PDF files: the drawing of a page's SVG, one page of its size, text in Helvetica.

Only what `evaluation.report.drawing` and `signals.pages.svg` draw is known: lines, circles, polylines, polygons,
rectangles, paths of straight lines and text. Anything else raises ValueError, so that nothing is left out unseen.
"""

import re
from collections.abc import Iterator, Mapping
from xml.etree import ElementTree

from signals.pages.svg import INK, SOFT

FONT_SIZE = 12.5
_REPLACED = {"−": "–", "┊": "|", "κ": "kappa", "≤": "<=", "≥": ">=", "→": "->", "↑": "", "↓": ""}
"""Characters that Helvetica's encoding does not have."""
_WIDTHS = (
    278, 278, 355, 556, 556, 889, 667, 191, 333, 333, 389, 584, 278, 333, 278, 278, 556, 556, 556, 556, 556, 556, 556,
    556, 556, 556, 278, 278, 584, 584, 584, 556, 1015, 667, 667, 722, 722, 667, 611, 778, 722, 278, 500, 667, 556, 833,
    722, 778, 667, 778, 722, 667, 611, 722, 667, 944, 667, 667, 611, 278, 278, 278, 469, 556, 333, 556, 556, 500, 556,
    556, 278, 556, 556, 222, 222, 500, 222, 833, 556, 556, 556, 556, 333, 500, 278, 556, 500, 722, 500, 500, 500, 334,
    260, 334, 584,
)  # fmt: skip
"""Widths of Helvetica's characters from the space to the tilde, thousandths of the size (Adobe's core font metrics)."""
_OTHER_WIDTH = 556
_ROUND = 0.5522847498
"""Where the control points of a quarter circle lie, as a share of its radius."""


def pdf_bytes(svg: str) -> bytes:
    """Return an SVG of this package as a PDF file of one page; equal drawings give equal bytes.

    Raises ValueError for an element that is not known.
    """
    root = ElementTree.fromstring(svg)
    width, height = (float(part) for part in root.attrib["viewBox"].split()[2:])
    shades: dict[str, str] = {}
    body = [f"1 0 0 -1 0 {height:g} cm"]  # SVG counts downwards
    for element in root:
        body += ["q", *_operators(element, shades), "Q"]
    return _file("\n".join(body).encode("cp1252"), width=width, height=height, shades=shades)


def _operators(element: ElementTree.Element, shades: dict[str, str]) -> Iterator[str]:
    tag, at = element.tag.rpartition("}")[2], element.attrib
    if tag == "text":
        yield from _text(element)
        return
    opacity = at.get("opacity") or at.get("fill-opacity")
    if opacity:
        yield f"/{shades.setdefault(opacity, f'A{len(shades)}')} gs"
    fill = "" if tag in ("line", "polyline") else at.get("fill", INK).replace("none", "")
    stroke = at.get("stroke", "")
    if fill:
        yield f"{_colour(fill)} rg"
    if stroke:
        yield f"{_colour(stroke)} RG {float(at.get('stroke-width', 1)):g} w"
    if "stroke-dasharray" in at:
        yield f"[{at['stroke-dasharray']}] 0 d"
    yield from _outline(tag, at)
    yield {(True, True): "B", (True, False): "f", (False, True): "S"}.get((bool(fill), bool(stroke)), "n")


def _outline(tag: str, at: Mapping[str, str]) -> Iterator[str]:
    if tag == "line":
        yield f"{at['x1']} {at['y1']} m {at['x2']} {at['y2']} l"
    elif tag in ("polyline", "polygon"):
        for i, point in enumerate(at["points"].split()):
            x, y = point.split(",")
            yield f"{x} {y} {'l' if i else 'm'}"
        if tag == "polygon":
            yield "h"
    elif tag == "rect":
        yield f"{at['x']} {at['y']} {at['width']} {at['height']} re"
    elif tag == "circle":
        yield from _circle(float(at["cx"]), float(at["cy"]), float(at["r"]))
    elif tag == "path":
        yield from _path(at["d"])
    else:
        raise ValueError(f"a figure holds <{tag}>, which has no form in PDF")


def _circle(x: float, y: float, r: float) -> Iterator[str]:
    k = _ROUND * r
    yield f"{x + r:.3f} {y:.3f} m"
    for a, b, c, d, to_x, to_y in (
        (r, k, k, r, 0.0, r), (-k, r, -r, k, -r, 0.0), (-r, -k, -k, -r, 0.0, -r), (k, -r, r, -k, r, 0.0),
    ):  # fmt: skip
        yield f"{x + a:.3f} {y + b:.3f} {x + c:.3f} {y + d:.3f} {x + to_x:.3f} {y + to_y:.3f} c"


def _path(d: str) -> Iterator[str]:
    """Yield a path of M, l, h, v and z; the lower-case ones are relative."""
    x = y = 0.0
    for command, numbers in re.findall(r"([A-Za-z])([^A-Za-z]*)", d):
        values = [float(value) for value in re.findall(r"-?[\d.]+", numbers)]
        if command == "z":
            yield "h"
            continue
        if command == "M":
            x, y = values
        elif command == "l":
            x, y = x + values[0], y + values[1]
        elif command == "h":
            x += values[0]
        elif command == "v":
            y += values[0]
        else:
            raise ValueError(f"a figure's path holds {command!r}, which has no form in PDF")
        yield f"{x:g} {y:g} {'m' if command == 'M' else 'l'}"


def _text(element: ElementTree.Element) -> Iterator[str]:
    words = "".join(_REPLACED.get(c, c) for c in "".join(element.itertext()))
    words = words.encode("cp1252", errors="replace").decode("cp1252")
    x, y = float(element.attrib["x"]), float(element.attrib["y"])
    x -= text_width(words) * {"middle": 0.5, "end": 1.0}.get(element.attrib.get("text-anchor", ""), 0.0)
    kind = element.attrib.get("class", "")
    escaped = words.replace("\\", r"\\").replace("(", r"\(").replace(")", r"\)")
    place = f"BT /F1 {FONT_SIZE:g} Tf 1 0 0 -1 {x:.2f} {y:.2f} Tm"
    if kind == "over":  # a white rim keeps words legible over lines
        yield f"1 1 1 RG 5 w 1 j {place} 1 Tr ({escaped}) Tj ET"
    yield f"{_colour(SOFT if kind in ('soft', 'over') else INK)} rg {place} 0 Tr ({escaped}) Tj ET"


def text_width(words: str) -> float:
    """Return how wide words are in Helvetica at FONT_SIZE, points."""
    return sum(_WIDTHS[ord(c) - 32] if 32 <= ord(c) < 127 else _OTHER_WIDTH for c in words) * FONT_SIZE / 1000


def _colour(text: str) -> str:
    digits = text.removeprefix("#")
    digits = "".join(2 * c for c in digits) if len(digits) == 3 else digits
    return " ".join(f"{int(digits[i : i + 2], 16) / 255:.3f}" for i in (0, 2, 4))


def _file(content: bytes, *, width: float, height: float, shades: Mapping[str, str]) -> bytes:
    states = " ".join(f"/{name} << /ca {float(value):g} >>" for value, name in shades.items())
    font = "<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica /Encoding /WinAnsiEncoding >>"
    objects = [
        b"<< /Type /Catalog /Pages 2 0 R >>",
        b"<< /Type /Pages /Kids [3 0 R] /Count 1 >>",
        f"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 {width:g} {height:g}] /Contents 4 0 R /Resources << /Font "
        f"<< /F1 {font} >> /ExtGState << {states} >> >> >>".encode(),
        b"<< /Length %d >>\nstream\n%b\nendstream" % (len(content), content),
    ]
    out, places = bytearray(b"%PDF-1.4\n%\xe2\xe3\xcf\xd3\n"), []
    for number, body in enumerate(objects, start=1):
        places.append(len(out))
        out += b"%d 0 obj\n%b\nendobj\n" % (number, body)
    start = len(out)
    out += b"xref\n0 %d\n0000000000 65535 f \n" % (len(objects) + 1)
    out += b"".join(b"%010d 00000 n \n" % place for place in places)
    out += b"trailer\n<< /Size %d /Root 1 0 R >>\nstartxref\n%d\n%%%%EOF\n" % (len(objects) + 1, start)
    return bytes(out)
