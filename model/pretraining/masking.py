"""What is hidden in pretraining: spans of samples, drawn and referenced so that algebra cannot fill them in.

Windows are average-referenced, and some channels are interpolated from others: every visible channel then holds a
share of the hidden ones. Where r is the reference and the visible channels are s_v - r, their sum tells r, and r tells
the sum of what is hidden, however many channels are hidden at once. So `draw_mask` hides one group of channels in a
window, all at the same samples, and interpolated channels wherever anything is hidden; and `hide` measures the whole
window against the mean m of the channels that are never hidden in it. What is visible at a hidden sample, s_v - m, is
then a function of visible potentials alone, whatever the reference was, and so tells nothing of a hidden potential that
physiology does not tell. The truth, s_h - m, has the same reference at every sample, so that a gap fits its edges. (The
mean of what is visible at each sample would hide the sum as well, but it jumps wherever a gap begins.)

For independent potentials of equal power the best linear guess of s_h - m, and of its sum over hidden channels, is
zero: m is uncorrelated with every s_v - m.

Shapes: C channel, T sample. Arrays are NumPy's: masks are made in the loader's thread.
"""

from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np

from signals.window import ABSENT, INTERPOLATED, MEASURED

MIN_GROUP = 2
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
    rng: np.random.Generator,
    ch_state: np.ndarray,
    n_times: int,
    *,
    sfreq: float,
    plan: MaskPlan,
    referenced: np.ndarray | None = None,
) -> np.ndarray:
    """Return what to hide of a window, bool, shape (n_chans, n_times).

    referenced: which channels share a reference (EEG), bool, shape (n_chans,), all by default; others are never hidden.
    Absent channels are never hidden (there is nothing to hide). "random" hides spans of a quarter to half of the
    measured channels, "whole-channel" all of up to a quarter, "whole-time" spans of all channels, which is also what
    fewer than 4 measured channels get. Raises ValueError for fewer than `MIN_GROUP`.
    """
    takes_part = np.ones(len(ch_state), dtype=bool) if referenced is None else referenced
    measured = np.flatnonzero((ch_state == MEASURED) & takes_part)
    n = len(measured)
    if n < MIN_GROUP:
        raise ValueError(f"a window with {n} measured channels cannot be masked: at least {MIN_GROUP} needed")
    weights = np.asarray(plan.schedule_weights) / sum(plan.schedule_weights)
    schedule = SCHEDULES[rng.choice(len(SCHEDULES), p=weights)]
    if n < 2 * MIN_GROUP:
        schedule = "whole-time"
    mask = np.zeros((len(ch_state), n_times), dtype=bool)
    if schedule == "whole-channel":
        mask[_group(rng, measured, MIN_GROUP, n // 4)] = True
    else:
        group = measured if schedule == "whole-time" else _group(rng, measured, n // 4, n // 2)
        mask[group] = place_spans(
            rng, n_times, sfreq=sfreq, span_ms=plan.span_ms, hidden_share=plan.hidden_share, unit=plan.unit_times
        )
    mask[(ch_state == INTERPOLATED) & takes_part] = mask.any(axis=0)
    return mask


def _group(rng: np.random.Generator, channels: np.ndarray, fewest: int, most: int) -> np.ndarray:
    """Return `fewest` to `most` channels drawn at random, but at least MIN_GROUP."""
    fewest = max(MIN_GROUP, fewest)
    return rng.choice(channels, int(rng.integers(fewest, max(fewest, most) + 1)), replace=False)


def hide(
    x: np.ndarray, mask: np.ndarray, ch_state: np.ndarray, *, referenced: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Return the truth and what a model sees of it, both float32, shape (n_chans, n_times).

    The truth is the window against the mean of the measured channels that are never hidden in it; where there is none
    ("whole-time" masks), nothing is visible at a hidden sample, and the reference stays. The model sees `fill_hidden`
    of the truth. `referenced` as for `draw_mask`; channels that are not, and absent ones, keep their values.
    """
    takes_part = np.ones(len(ch_state), dtype=bool) if referenced is None else referenced
    visible = (ch_state == MEASURED) & takes_part & ~mask.any(axis=-1)
    truth = np.array(x, dtype=np.float32)
    if visible.any():
        truth[(ch_state != ABSENT) & takes_part] -= truth[visible].mean(axis=0)
    return truth, fill_hidden(truth, mask)


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
