"""Pictures of one representative beat on twelve leads, in a layout of pages, with the P, Q, R, S and T points of each.

What a heart or a lead does not have is no point. Points are exact: they are read from the beat before its noise.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw

from signals.modality import ECG_12
from signals.paper.layout import LAYOUTS
from synthetic.heart.leads import HeartRecord, NoiseLevels, generate
from synthetic.heart.person import draw_heart
from synthetic.heart.truth import QRS, P, Wave

BEFORE_S, AFTER_S = 0.35, 0.55
"""Of the picture around the onset of the QRS complex."""
SHOWN_MV = 4.0
"""From a panel's lower to its upper edge; 0 mV lies below the middle."""
_QUIET = NoiseLevels(wander=0.0, mains=0.0, muscle=0.0)
_LEAST_MV = {"P": 0.03, "Q": 0.05, "R": 0.05, "S": 0.05, "T": 0.04}
_ZERO, _FINE = 0.55, 4
_NOISE_MV = 0.008


@dataclass(frozen=True)
class BeatPoint:
    """One point of one lead."""

    lead: str
    wave: str
    at_s: float
    """From the picture's left edge of the panel."""
    mv: float
    span_s: tuple[float, float]


@dataclass(frozen=True, kw_only=True)
class BeatPicture:
    """A picture with its truth."""

    image: np.ndarray
    """uint8, shape (side, side, 3)."""
    x_mv: np.ndarray
    """What is drawn, shape (12, n_times)."""
    record_mv: np.ndarray
    """The record that it is cut from, with noise of its own, shape (12, n_record)."""
    start_s: float
    """Of the beat in the record."""
    sfreq: float
    points: tuple[BeatPoint, ...]
    layout: str = "3x4"
    """Of `signals.paper.layout.LAYOUTS`, without a rhythm strip."""


def draw_beat(
    rng: np.random.Generator, condition: str, *, image_px: int = 256, sfreq: float = 500.0, layout: str = "3x4"
) -> BeatPicture:
    """Return the picture of a beat of a person in a condition of `synthetic.heart.person.CONDITIONS`.

    Raises ValueError for a layout that is none of `signals.paper.layout.LAYOUTS`.
    """
    if layout not in LAYOUTS:
        raise ValueError(f"layout={layout!r} is none of {', '.join(LAYOUTS)}")
    heart = draw_heart(rng, condition)
    record = generate(rng, condition, heart=heart, duration_s=6.0, sfreq=sfreq, noise=_QUIET)
    wave = _usual(record, heart.qrs_s)
    first = round((wave.onset_s - BEFORE_S) * sfreq)
    beat = record.x_mv[:, first : first + round((BEFORE_S + AFTER_S) * sfreq)]
    beat = beat - beat[:, round(BEFORE_S * sfreq), None]
    points = _points(beat, record, wave, first / sfreq)
    x_mv = beat + rng.normal(0.0, _NOISE_MV, beat.shape)
    record_mv = record.x_mv + rng.normal(0.0, _NOISE_MV, record.x_mv.shape)
    return BeatPicture(
        image=beat_image(x_mv, image_px, layout=layout), x_mv=x_mv, record_mv=record_mv, start_s=first / sfreq,
        sfreq=sfreq, points=points, layout=layout,
    )  # fmt: skip


def _usual(record: HeartRecord, qrs_s: float) -> Wave:
    """Return a QRS complex that is not ectopic and has room around it; the first that fits."""
    stop = record.x_mv.shape[1] / record.sfreq - AFTER_S - 0.01
    return next(
        wave for wave in record.waves
        if wave.kind == QRS and abs(wave.offset_s - wave.onset_s - qrs_s) < 1e-6 and BEFORE_S < wave.onset_s < stop
    )  # fmt: skip


def _points(beat: np.ndarray, record: HeartRecord, qrs: Wave, start_s: float) -> tuple[BeatPoint, ...]:
    """Return the points of a quiet beat, mV against the level at its QRS onset."""
    rr = 0.6
    near = [w for w in record.waves if w.kind != QRS and -rr < w.peak_s - qrs.onset_s < rr]
    before = [w for w in near if w.kind == P and w.peak_s < qrs.onset_s and w.onset_s >= start_s]
    after = [w for w in near if w.kind != P and w.peak_s > qrs.onset_s and w.offset_s < start_s + BEFORE_S + AFTER_S]
    found = []
    spans = [("P", wave) for wave in before[-1:]] + [("T", wave) for wave in after[:1]]
    for lead, x in zip(ECG_12.ch_names, beat, strict=True):
        for name, wave in spans:
            span = (wave.onset_s - start_s, wave.offset_s - start_s)
            at = _extreme(np.abs(x), math.ceil(span[0] * record.sfreq), math.floor(span[1] * record.sfreq))
            found.append(BeatPoint(lead, name, at / record.sfreq, float(x[at]), span))
        found += _complex(lead, x, (qrs.onset_s - start_s, qrs.offset_s - start_s), record.sfreq)
    return tuple(point for point in found if abs(point.mv) >= _LEAST_MV[point.wave])


def _complex(lead: str, x: np.ndarray, span: tuple[float, float], sfreq: float) -> list[BeatPoint]:
    """Return Q, R and S: the highest place of the complex, and the lowest before and behind it where they are below."""
    on, off = (round(edge * sfreq) for edge in span)
    r = _extreme(x, on, off)
    places = {"Q": _extreme(-x, on, r), "R": r, "S": _extreme(-x, r, off)}
    return [
        BeatPoint(lead, wave, at / sfreq, float(x[at]), (max(at / sfreq - 0.02, 0.0), at / sfreq + 0.02))
        for wave, at in places.items()
        if wave == "R" or x[at] < 0
    ]


def _extreme(x: np.ndarray, first: int, last: int) -> int:
    return first + int(np.argmax(x[first : last + 1]))


def panel(lead: str, layout: str = "3x4") -> tuple[int, int]:
    """Return the row and column of a lead's panel."""
    return next(
        (row, leads.index(lead)) for row, leads in enumerate(LAYOUTS[layout].panels) if lead in leads
    )  # fmt: skip


def on_picture(
    lead: str, at_s: np.ndarray | float, mv: np.ndarray | float, layout: str = "3x4"
) -> tuple[np.ndarray, np.ndarray]:
    """Return x and y, shares of the picture, of times and voltages of a lead."""
    row, column = panel(lead, layout)
    panels = LAYOUTS[layout].panels
    x = (column + np.asarray(at_s) / (BEFORE_S + AFTER_S)) / len(panels[0])
    y = (row + np.clip(_ZERO - np.asarray(mv) / SHOWN_MV, 0.0, 1.0)) / len(panels)
    return np.asarray(x), np.asarray(y)


def from_picture(x: float, y: float, layout: str = "3x4") -> tuple[str, float, float]:
    """Return lead, seconds and mV of a place on the picture: the reverse of `on_picture`."""
    panels = LAYOUTS[layout].panels
    row, column = min(int(y * len(panels)), len(panels) - 1), min(int(x * len(panels[0])), len(panels[0]) - 1)
    at_s = (x * len(panels[0]) - column) * (BEFORE_S + AFTER_S)
    return panels[row][column], at_s, (_ZERO - (y * len(panels) - row)) * SHOWN_MV


def ink_of(leads: Mapping[str, np.ndarray], image_px: int, layout: str = "3x4") -> np.ndarray:
    """Return how much of each pixel the lines of leads by name, mV, cover, float32, shape (image_px, image_px)."""
    side = image_px * _FINE
    mask = Image.new("L", (side, side), 0)
    pencil = ImageDraw.Draw(mask)
    for lead, values in leads.items():
        at_s = np.linspace(0.0, BEFORE_S + AFTER_S, len(values), endpoint=False)
        points = np.round(np.stack(on_picture(lead, at_s, values, layout), axis=1) * side).astype(int)
        pencil.line([(int(a), int(b)) for a, b in points], fill=255, width=_FINE + _FINE // 2, joint="curve")
    return np.asarray(mask.reduce(_FINE), dtype=np.float32) / 255


def beat_image(x_mv: np.ndarray, image_px: int, *, layout: str = "3x4") -> np.ndarray:
    """Return the picture of a beat of twelve leads, uint8, shape (image_px, image_px, 3)."""
    ink = ink_of(dict(zip(ECG_12.ch_names, x_mv, strict=True)), image_px, layout)[..., None]
    paper = np.full((image_px, image_px, 3), (255, 252, 247), dtype=np.float32)
    for lead in ECG_12.ch_names:
        for at in (0.15, 0.35, 0.55, 0.75):
            paper[:, int(on_picture(lead, at, 0.0, layout)[0] * image_px)] = (246, 208, 205)
        for mv in (-1.0, 0.0, 1.0, 2.0):
            paper[int(on_picture(lead, 0.0, mv, layout)[1] * image_px)] = (246, 208, 205)
    return np.round(paper * (1 - ink) + np.array((25, 22, 35), dtype=np.float32) * ink).astype(np.uint8)
