"""What is hidden in pretraining: spans of samples, drawn so that algebra alone cannot fill them in.

Windows are average-referenced and some channels are interpolated from others, so channels depend on each other
linearly. Whatever is hidden is therefore hidden in a group of at least `MIN_GROUP` measured channels at once, and
interpolated channels are hidden wherever anything is.

Shapes: C channel, T sample. Arrays are NumPy's: masks are made in the loader's thread.
"""

from dataclasses import dataclass
from functools import partial
from typing import Literal, get_args

import numpy as np

from signals.windows import INTERPOLATED, MEASURED

MIN_GROUP, MAX_GROUP = 2, 6
SPAN_MS = (15.0, 500.0)
SCHEDULES = ("random", "whole-time", "whole-channel")
MaskUnit = Literal["samples", "patches"]


@dataclass(frozen=True, kw_only=True)
class MaskPlan:
    """How windows are masked."""

    span_ms: tuple[float, float] = SPAN_MS
    """Shortest and longest hidden span, milliseconds; lengths are log-uniform."""
    hidden_share: float = 0.3
    """Expected share of a channel's samples in spans."""
    schedule_weights: tuple[float, float, float] = (0.75, 0.05, 0.2)
    """Odds of "random", "whole-time" and "whole-channel" for a window."""
    mask_unit: MaskUnit = "samples"
    """What spans begin and end on: any sample, or patches, to whole numbers of which they are lengthened."""
    patch_times: int = 64
    """Samples of a patch."""

    def __post_init__(self) -> None:
        if not 0 < self.span_ms[0] < self.span_ms[1]:
            raise ValueError(f"span_ms={self.span_ms} must grow and be positive")
        if not 0 < self.hidden_share < 1:
            raise ValueError(f"hidden_share={self.hidden_share} must lie between 0 and 1")
        if len(self.schedule_weights) != len(SCHEDULES) or min(self.schedule_weights) < 0:
            raise ValueError(f"schedule_weights={self.schedule_weights} must be {len(SCHEDULES)} weights of at least 0")
        if self.mask_unit not in get_args(MaskUnit):
            raise ValueError(f"mask_unit={self.mask_unit!r} is none of {list(get_args(MaskUnit))}")
        if self.patch_times < 1:
            raise ValueError(f"patch_times={self.patch_times} must be positive")

    @property
    def unit_times(self) -> int:
        """Samples of the unit that spans are made of."""
        return self.patch_times if self.mask_unit == "patches" else 1


def span_lengths(
    rng: np.random.Generator, n: int, *, sfreq: float, span_ms: tuple[float, float], unit: int = 1
) -> np.ndarray:
    """Return log-uniform span lengths, int64, shape (n,), in units: samples, at least 2, or `unit` samples, rounded up.

    A unit above 1 is a patch: a span becomes as many whole patches as it takes to hold it.
    """
    low, high = np.log(span_ms)
    n_times = np.exp(rng.uniform(low, high, n)) * sfreq / 1000
    return np.maximum(2, np.rint(n_times)).astype(np.int64) if unit == 1 else np.ceil(n_times / unit).astype(np.int64)


def place_spans(
    rng: np.random.Generator,
    n_times: int,
    *,
    sfreq: float,
    span_ms: tuple[float, float],
    hidden_share: float,
    unit: int = 1,
) -> np.ndarray:
    """Return a mask of spans that do not touch, bool, shape (n_times,); gaps between spans are exponential.

    Every span is whole: none is cut at the ends, so that a span can always be interpolated from both sides. With a
    `unit` above 1, spans and gaps are whole patches of so many samples. Raises ValueError for less than three units.
    """
    n_units = n_times // unit
    if n_units < 3:
        raise ValueError(f"n_times={n_times} holds fewer than 3 units of {unit} samples: nothing can be hidden in it")
    mean = _mean_length(sfreq, span_ms, unit)
    mean_gap = mean * (1 - hidden_share) / hidden_share
    n_most = max(4, int(3 * n_units / (mean + mean_gap)))
    lengths = span_lengths(rng, n_most, sfreq=sfreq, span_ms=span_ms, unit=unit)
    gaps = np.maximum(2 if unit == 1 else 1, np.rint(rng.exponential(mean_gap, n_most))).astype(np.int64)
    stops = np.cumsum(gaps + lengths)
    starts = stops - lengths
    mask = np.zeros(n_units, dtype=bool)
    for start, stop in zip(starts, stops, strict=True):
        if stop >= n_units - 1:
            break
        mask[start:stop] = True
    if not mask.any():  # a first gap that swallowed a short window
        length = int(min(lengths[0], n_units - 2))
        start = int(rng.integers(1, n_units - length))
        mask[start : start + length] = True
    return np.pad(np.repeat(mask, unit), (0, n_times - n_units * unit))


def _mean_length(sfreq: float, span_ms: tuple[float, float], unit: int) -> float:
    """Return the expected length of a span, in units."""
    if unit == 1:
        return float((span_ms[1] - span_ms[0]) / np.log(span_ms[1] / span_ms[0]) * sfreq / 1000)
    return float(np.ceil(np.geomspace(*span_ms, 1001) * sfreq / 1000 / unit).mean())


def draw_mask(
    rng: np.random.Generator, ch_state: np.ndarray, n_times: int, *, sfreq: float, plan: MaskPlan
) -> np.ndarray:
    """Return what to hide of a window, bool, shape (n_chans, n_times).

    Absent channels are never hidden (there is nothing to hide). Raises ValueError for a window with fewer than
    `MIN_GROUP` measured channels: hiding one of them leaves nothing to predict it from but its own past.
    """
    measured = np.flatnonzero(ch_state == MEASURED)
    if len(measured) < MIN_GROUP:
        raise ValueError(
            f"a window with {len(measured)} measured channels cannot be masked: at least {MIN_GROUP} needed"
        )
    weights = np.asarray(plan.schedule_weights) / sum(plan.schedule_weights)
    schedule = SCHEDULES[rng.choice(len(SCHEDULES), p=weights)]
    mask = np.zeros((len(ch_state), n_times), dtype=bool)
    spans = partial(
        place_spans, rng, n_times, sfreq=sfreq, span_ms=plan.span_ms, hidden_share=plan.hidden_share,
        unit=plan.unit_times,
    )  # fmt: skip
    if schedule == "random":
        for group in _groups(rng, measured):
            mask[group] = spans()
    elif schedule == "whole-time":
        mask[measured] = spans()
    else:
        n_hidden = int(rng.integers(MIN_GROUP, max(MIN_GROUP, len(measured) // 4) + 1))
        mask[rng.choice(measured, min(n_hidden, len(measured)), replace=False)] = True
    mask[ch_state == INTERPOLATED] = mask.any(axis=0)
    return mask


def _groups(rng: np.random.Generator, channels: np.ndarray) -> list[np.ndarray]:
    """Return a random partition into groups of MIN_GROUP to MAX_GROUP channels (more where a rest would be alone)."""
    shuffled, groups = rng.permutation(channels), []
    while len(shuffled) >= 2 * MIN_GROUP:
        size = int(rng.integers(MIN_GROUP, min(MAX_GROUP, len(shuffled) - MIN_GROUP) + 1))
        groups.append(shuffled[:size])
        shuffled = shuffled[size:]
    return [*groups, shuffled]


def fill_hidden(x: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Return the signal with hidden samples replaced by the line across their gap, float32, shape (n_chans, n_times).

    A gap at an end takes the nearest visible sample; a channel that is hidden entirely becomes 0.
    """
    n_times = x.shape[-1]
    index = np.arange(n_times)
    before = np.maximum.accumulate(np.where(mask, -1, index), axis=-1)
    after = np.minimum.accumulate(np.where(mask, n_times, index)[..., ::-1], axis=-1)[..., ::-1]
    left = np.where(before < 0, after, before)
    right = np.where(after >= n_times, before, after)
    nothing = left >= n_times
    left, right = np.clip(left, 0, n_times - 1), np.clip(right, 0, n_times - 1)
    x_left, x_right = np.take_along_axis(x, left, -1), np.take_along_axis(x, right, -1)
    share = (index - left) / np.maximum(right - left, 1)
    line = x_left + (x_right - x_left) * share
    return np.where(mask, np.where(nothing, 0.0, line), x).astype(np.float32)
