"""Where the leads stand on a printed electrocardiogram: rows of leads, and the scale that they are drawn to.

Lengths are millimetres of paper, from the page's upper left corner. A row begins with the calibration pulse, 1 mV for
0.2 s (AHA/ACC/HRS 2007, doi:10.1161/CIRCULATIONAHA.106.180200), from which gain and speed are read.
"""

from collections.abc import Iterator
from dataclasses import dataclass

PULSE_MV, PULSE_S = 1.0, 0.2
TRACE_MM = 250.0
"""Length of a row's traces: 10 s at 25 mm/s."""
LEAD_IN_MM = 2.0
"""Between the pulse's falling edge and the first sample, and before its rising edge."""
GAINS, SPEEDS = (5.0, 10.0, 20.0), (25.0, 50.0)
"""What is printed, mm/mV and mm/s."""


@dataclass(frozen=True)
class PaperScale:
    """How large a second and a millivolt are."""

    speed: float = 25.0
    """mm/s."""
    gain: float = 10.0
    """mm/mV."""

    def __post_init__(self) -> None:
        if self.speed not in SPEEDS:
            raise ValueError(f"speed={self.speed:g} mm/s is none of {', '.join(f'{v:g}' for v in SPEEDS)}")
        if self.gain not in GAINS:
            raise ValueError(f"gain={self.gain:g} mm/mV is none of {', '.join(f'{v:g}' for v in GAINS)}")

    @property
    def pulse_mm(self) -> tuple[float, float]:
        """Width and height of the calibration pulse."""
        return PULSE_S * self.speed, PULSE_MV * self.gain

    @property
    def shown_s(self) -> float:
        """Seconds in a row."""
        return TRACE_MM / self.speed


@dataclass(frozen=True)
class Stretch:
    """A lead's place: in which row, from and to which second."""

    lead: str
    row: int
    start_s: float
    stop_s: float


@dataclass(frozen=True)
class Layout:
    """Leads by row, each row's side by side; time runs on from one to the next."""

    name: str
    rows: tuple[tuple[str, ...], ...]

    @property
    def panels(self) -> tuple[tuple[str, ...], ...]:
        """The rows in which each lead stands once: a rhythm strip, which shows one of them again, left out."""
        rows: list[tuple[str, ...]] = []
        for leads in self.rows:
            if not set(leads) & {lead for row in rows for lead in row}:
                rows.append(leads)
        return tuple(rows)

    def stretches(self, shown_s: float) -> Iterator[Stretch]:
        """Yield the leads' places, where a row shows so many seconds."""
        for row, leads in enumerate(self.rows):
            step = shown_s / len(leads)
            for place, lead in enumerate(leads):
                yield Stretch(lead, row, place * step, (place + 1) * step)


_LIMB, _CHEST = ("I", "II", "III", "aVR", "aVL", "aVF"), ("V1", "V2", "V3", "V4", "V5", "V6")
LAYOUTS: dict[str, Layout] = {
    "3x4": Layout("3x4", (*zip(_LIMB[:3], _LIMB[3:], _CHEST[:3], _CHEST[3:], strict=True), ("II",))),
    "6x2": Layout("6x2", tuple(zip(_LIMB, _CHEST, strict=True))),
    "12x1": Layout("12x1", tuple((lead,) for lead in (*_LIMB, *_CHEST))),
}
"""Layouts by name; "3x4" has lead II below as a rhythm strip. Each has its own number of rows."""


def layout_of(n_rows: int) -> Layout | None:
    """Return the layout of so many rows, None where there is none."""
    return next((layout for layout in LAYOUTS.values() if len(layout.rows) == n_rows), None)
