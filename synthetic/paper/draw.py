"""Electrocardiograms drawn on paper: grid, calibration pulses, traces and labels; the pixel of every sample is known.

Coordinates of pixels: the centre of the upper left one is (0, 0), x to the right, y down.
"""

from dataclasses import dataclass, field

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from signals.modality import ECG_12
from signals.paper.layout import LAYOUTS, LEAD_IN_MM, PULSE_MV, Layout, PaperScale

PAGE_MM = (297.0, 210.0)
HEADER_MM, LEFT_MM = 22.0, 12.0
GRIDS: dict[str, tuple[tuple[int, int, int], tuple[int, int, int]]] = {
    "red": ((250, 215, 212), (236, 160, 156)),
    "blue": ((214, 226, 247), (158, 186, 228)),
    "green": ((214, 240, 216), (156, 206, 162)),
    "grey": ((226, 226, 226), (190, 190, 190)),
}
"""Colours of the lines at 1 and at 5 mm."""
PRINTED_HZ = 150.0
_FINE = 3
"""Points of drawing per pixel."""


@dataclass(frozen=True, kw_only=True)
class Style:
    """What a page looks like."""

    layout: str = "3x4"
    scale: PaperScale = field(default_factory=PaperScale)
    px_per_mm: float = 12.0
    """300 dots per inch are 11.8."""
    grid: str = "red"
    line_mm: float = 0.35
    """Width of a trace."""
    ink: tuple[int, int, int] = (25, 22, 35)
    paper: tuple[int, int, int] = (255, 252, 247)
    labels: bool = True

    def __post_init__(self) -> None:
        for what, value, known in (("layout", self.layout, LAYOUTS), ("grid", self.grid, GRIDS)):
            if value not in known:
                raise ValueError(f"{what}={value!r} is none of {', '.join(known)}")
        if not 2.0 <= self.px_per_mm <= 24.0:
            raise ValueError(f"px_per_mm={self.px_per_mm:g} is not between 2 and 24")


@dataclass(frozen=True)
class Trace:
    """Where a stretch of a lead lies on the page."""

    lead: str
    first: int
    """Its first sample in the recording."""
    xy_px: np.ndarray
    """Pixel of every sample, float64, shape (n_samples, 2)."""


@dataclass(frozen=True, kw_only=True)
class Page:
    """A picture of a recording, with its truth."""

    image: np.ndarray
    """uint8, shape (height, width, 3)."""
    traces: tuple[Trace, ...]
    style: Style
    sfreq: float
    shown: np.ndarray = field(repr=False)
    """What the page shows, mV, shape (12, n_times); nan where it shows nothing of a lead."""


def draw(x_mv: np.ndarray, sfreq: float, style: Style = Style(), *, title: str = "") -> Page:
    """Return the page of twelve leads, mV, shape (12, n_times), in the order of `signals.modality.ECG_12`.

    Raises ValueError where there are other than twelve leads, or fewer seconds than a row shows.
    """
    layout, scale = LAYOUTS[style.layout], style.scale
    n_shown = round(scale.shown_s * sfreq)
    if x_mv.shape[0] != ECG_12.n_chans or x_mv.shape[1] < n_shown:
        raise ValueError(f"x_mv has shape {x_mv.shape}; a page shows 12 leads of at least {n_shown} samples")
    width, height = (round(mm * style.px_per_mm) for mm in PAGE_MM)
    x0_mm = trace_start_mm(scale)
    levels_mm = row_levels_mm(layout)
    pencil = _Pencil(width, height, style)
    traces, shown = [], np.full((len(x_mv), n_shown), np.nan)
    for level in levels_mm:
        pencil.line(_pulse_mm(level, scale))
    for place in layout.stretches(scale.shown_s):
        first, last = round(place.start_s * sfreq), round(place.stop_s * sfreq)
        row = ECG_12.ch_names.index(place.lead)
        values = x_mv[row, first:last]
        shown[row, first:last] = values
        x_mm = x0_mm + np.arange(first, last) / sfreq * scale.speed
        xy_mm = np.stack([x_mm, levels_mm[place.row] - values * scale.gain], axis=1)
        pencil.line(xy_mm)
        traces.append(Trace(place.lead, first, xy_mm * style.px_per_mm - 0.5))
        if style.labels:
            pencil.text(place.lead, x_mm[0] + 0.5, levels_mm[place.row] - _label_rise_mm(layout))
    if style.labels:
        pencil.text(f"{scale.speed:g} mm/s   {scale.gain:g} mm/mV", LEFT_MM, PAGE_MM[1] - 7.0)
        pencil.text(title, LEFT_MM, 6.0)
    return Page(image=pencil.on_paper(), traces=tuple(traces), style=style, sfreq=sfreq, shown=shown)


def trace_start_mm(scale: PaperScale) -> float:
    """Return where the first sample of a row stands, from the page's left."""
    return LEFT_MM + LEAD_IN_MM + scale.pulse_mm[0] + LEAD_IN_MM


def row_levels_mm(layout: Layout) -> tuple[float, ...]:
    """Return where 0 mV of each row lies, from the page's top."""
    pitch = (PAGE_MM[1] - HEADER_MM - 8.0) / len(layout.rows)
    return tuple(HEADER_MM + (row + 0.5) * pitch + min(0.1 * pitch, 3.0) for row in range(len(layout.rows)))


def _label_rise_mm(layout: Layout) -> float:
    return 12.0 if len(layout.rows) <= 6 else 5.5


def _pulse_mm(level: float, scale: PaperScale) -> np.ndarray:
    """Return the corners of a calibration pulse."""
    width, height = scale.pulse_mm
    rise = LEFT_MM + LEAD_IN_MM
    xs = (LEFT_MM, rise, rise, rise + width, rise + width, rise + width + LEAD_IN_MM)
    ys = (0.0, 0.0, height, height, 0.0, 0.0)
    return np.array([(x, level - y * PULSE_MV) for x, y in zip(xs, ys, strict=True)])


class _Pencil:
    """Draws lines and text in millimetres, finer than pixels."""

    def __init__(self, width: int, height: int, style: Style) -> None:
        self.style = style
        self.mask = Image.new("L", (width * _FINE, height * _FINE), 0)
        self.draw = ImageDraw.Draw(self.mask)
        self.fine = style.px_per_mm * _FINE

    def line(self, xy_mm: np.ndarray) -> None:
        points = np.round(xy_mm * self.fine - 0.5).astype(int)
        width = max(1, round(self.style.line_mm * self.fine))
        self.draw.line([(int(x), int(y)) for x, y in points], fill=255, width=width, joint="curve")

    def text(self, text: str, x_mm: float, y_mm: float, *, height_mm: float = 3.4) -> None:
        font = ImageFont.load_default(size=height_mm * self.fine)
        self.draw.text((x_mm * self.fine, y_mm * self.fine), text, fill=255, font=font)

    def on_paper(self) -> np.ndarray:
        """Return the page, uint8, shape (height, width, 3)."""
        ink = np.asarray(self.mask.reduce(_FINE), dtype=np.float32)[..., None] / 255
        paper = grid_paper(ink.shape[1], ink.shape[0], self.style)
        return np.round(paper * (1 - ink) + np.array(self.style.ink, dtype=np.float32) * ink).astype(np.uint8)


def grid_paper(width: int, height: int, style: Style) -> np.ndarray:
    """Return paper with a line every millimetre and a stronger one every five, float32, shape (height, width, 3)."""
    page = np.broadcast_to(np.array(style.paper, dtype=np.float32), (height, width, 3)).copy()
    for step_mm, line_mm, colour in zip((1.0, 5.0), (0.12, 0.22), GRIDS[style.grid], strict=True):
        across, down = (_coverage(n, step_mm * style.px_per_mm, line_mm * style.px_per_mm) for n in (width, height))
        covered = np.maximum(across[None, :], down[:, None])[..., None]
        page = page * (1 - covered) + np.array(colour, dtype=np.float32) * covered
    return page


def _coverage(n: int, step: float, width: float) -> np.ndarray:
    """Return how much of each pixel lines of a width, a step apart, cover: 0-1, float32, shape (n,)."""
    edges = np.arange(n + 1, dtype=np.float64)
    whole, rest = np.divmod(edges + width / 2, step)
    inked = whole * width + np.minimum(rest, width)
    return np.asarray(np.diff(inked), dtype=np.float32)


def printed(x_mv: np.ndarray, sfreq: float) -> np.ndarray:
    """Return leads as an electrocardiograph draws them: up to 150 Hz (AHA/ACC/HRS 2007)."""
    from scipy import signal

    if sfreq <= 2 * PRINTED_HZ:
        return x_mv
    return np.asarray(signal.sosfiltfilt(signal.butter(2, PRINTED_HZ, fs=sfreq, output="sos"), x_mv))
