"""A picture of a printed electrocardiogram back to millivolts."""

from dataclasses import dataclass, field

import numpy as np

from signals.modality import ECG_12
from signals.paper.crossings import Edges, take_apart
from signals.paper.grid import FLAT_PX_PER_MM, Flat, flatten
from signals.paper.ink import UnreadablePageError, darkness
from signals.paper.layout import LAYOUTS, Layout, PaperScale, Stretch, layout_of
from signals.paper.pulses import Rows, find_rows
from signals.paper.trace import follow, heights, runs_of

_LEAST_INKED = 0.8
"""Share of a stretch's columns that must have ink of its trace."""
_LONGEST_HOLE_S = 0.1
"""Without ink, that is filled by a line."""
_LONGEST_CROSSING_S = 0.2
"""Between the two places where a QRS complex crosses the next row."""
SFREQ = 500.0


@dataclass(frozen=True, kw_only=True)
class Digitised:
    """What a page shows of the twelve leads."""

    x_mv: np.ndarray
    """float64, shape (12, n_times), leads of `signals.modality.ECG_12`; nan where the page shows nothing of a lead."""
    sfreq: float
    layout: str
    scale: PaperScale
    px_per_mm: float
    """Of the picture."""
    rotation_deg: float
    """Of the page in the picture, anticlockwise; a page on its side or its head is turned by steps of 90° first."""
    flat: Flat = field(repr=False)
    """The page that it was read from, upright."""
    rows: Rows = field(repr=False)


def digitise(
    image: np.ndarray, *, sfreq: float = SFREQ, speed: float | None = None, gain: float | None = None,
    layout: str | None = None,
) -> Digitised:  # fmt: skip
    """Return the leads of a page, uint8, shape (height, width, 3).

    speed, gain, layout: mm/s, mm/mV and a name of `LAYOUTS` where they are known; read from the page otherwise. Raises
    UnreadablePageError, with the reason, for a page that cannot be read: nothing is guessed.
    """
    if image.ndim != 3 or image.shape[2] != 3 or min(image.shape[:2]) < 300:
        raise UnreadablePageError(f"a picture of shape {image.shape} is too small: at least 300 x 300 pixels, colours")
    flat = flatten(darkness(image))
    flat, rows, n_turns = _upright(flat, speed, gain)
    plan = _layout(rows, layout)
    places = list(plan.stretches(rows.scale.shown_s))
    traces = _traces(flat, rows, places)
    x_mv = np.full((ECG_12.n_chans, round(rows.scale.shown_s * sfreq)), np.nan)
    for place in places:
        first, last = round(place.start_s * sfreq), round(place.stop_s * sfreq)
        values = _stretch(traces[place.row], rows, place, np.arange(first, last) / sfreq)
        x_mv[ECG_12.ch_names.index(place.lead), first:last] = values
    return Digitised(
        x_mv=x_mv, sfreq=sfreq, layout=plan.name, scale=rows.scale, px_per_mm=flat.px_per_mm,
        rotation_deg=flat.rotation_deg + 90.0 * n_turns, flat=flat, rows=rows,
    )  # fmt: skip


def _upright(flat: Flat, speed: float | None, gain: float | None) -> tuple[Flat, Rows, int]:
    """Return the page with its pulses at the left, its rows, and by how many quarters it was turned."""
    failure = None
    for n_turns in (0, 2, 1, 3):
        turned = Flat(np.rot90(flat.ink, -n_turns), flat.level, flat.px_per_mm, flat.rotation_deg)
        try:
            return turned, find_rows(turned, speed=speed, gain=gain), n_turns
        except UnreadablePageError as error:
            failure = failure or error
    assert failure is not None
    raise failure


def _layout(rows: Rows, name: str | None) -> Layout:
    n_rows = len(rows.level_px)
    known = ", ".join(f"{one.name} of {len(one.rows)}" for one in LAYOUTS.values())
    if name is not None:
        if len(LAYOUTS[name].rows) != n_rows:
            raise UnreadablePageError(f"{n_rows} rows with a calibration pulse found, and {name} was given; {known}")
        return LAYOUTS[name]
    if (found := layout_of(n_rows)) is None:
        raise UnreadablePageError(f"{n_rows} rows with a calibration pulse found; layouts are {known}")
    return found


def _traces(flat: Flat, rows: Rows, places: list[Stretch]) -> list[Edges]:
    """Return the ink of each row's trace, neighbours taken apart."""
    n_columns = flat.ink.shape[1]
    traces = [Edges(np.full(n_columns, np.nan), np.full(n_columns, np.nan)) for _ in rows.level_px]
    reach = _reach_px(rows)
    for place in places:
        level = rows.level_px[place.row]
        at = _columns(rows, place, n_columns)
        top, bottom = max(round(level - reach), 0), round(level + reach)
        part = flat.ink[top:bottom, at]
        if part.shape[1] < (place.stop_s - place.start_s) * rows.px_per_s - FLAT_PX_PER_MM:
            raise UnreadablePageError(f"lead {place.lead} is cut off by the picture's edge")
        upper, lower = follow(runs_of(part, flat.level), level - top)
        traces[place.row].upper[at], traces[place.row].lower[at] = upper + top, lower + top
    longest = round(_LONGEST_CROSSING_S * rows.px_per_s)
    for row, levels in enumerate(zip(rows.level_px[:-1], rows.level_px[1:], strict=True)):
        take_apart(traces[row], traces[row + 1], levels, longest=longest)
    return traces


def _columns(rows: Rows, place: Stretch, n_columns: int) -> slice:
    """Return the columns of a stretch."""
    left, right = (round(rows.x0_px[place.row] + at * rows.px_per_s) for at in (place.start_s, place.stop_s))
    return slice(max(left, 0), min(right, n_columns))


def _stretch(trace: Edges, rows: Rows, place: Stretch, at_s: np.ndarray) -> np.ndarray:
    """Return a stretch's samples at times of its row, mV."""
    at = _columns(rows, place, len(trace.upper))
    upper, lower = trace.upper[at], trace.lower[at]
    inked = np.isfinite(upper)
    if inked.mean() < _LEAST_INKED:
        raise UnreadablePageError(f"the trace of lead {place.lead} is lost in {1 - inked.mean():.0%} of its length")
    columns, at_y = heights(upper, lower)
    seconds = (columns + at.start - rows.x0_px[place.row]) / rows.px_per_s
    values = (rows.level_px[place.row] - at_y) / (rows.scale.gain * FLAT_PX_PER_MM)
    result = np.interp(at_s, seconds, values)
    after = np.clip(np.searchsorted(seconds, at_s), 1, len(seconds) - 1)
    is_hole = (seconds[after] - seconds[after - 1] > _LONGEST_HOLE_S) & (at_s > seconds[0]) & (at_s < seconds[-1])
    result[is_hole] = np.nan
    return result


def _reach_px(rows: Rows) -> float:
    """Return how far from its 0 mV a trace is looked for."""
    pitch = float(np.median(np.diff(rows.level_px))) if len(rows.level_px) > 1 else 40.0 * FLAT_PX_PER_MM
    return max(1.2 * pitch, 2.5 * rows.scale.gain * FLAT_PX_PER_MM)
