"""What is hidden in pretraining: spans of samples, drawn and referenced so that algebra cannot fill them in.

Windows are average-referenced, and some channels are interpolated from others: every visible channel then holds a
share of the hidden ones. Where r is the reference and the visible channels are s_v - r, their sum gives r, and r gives
the sum of what is hidden, however many channels are hidden at once. So `draw_mask` hides one group of channels in a
window, all at the same samples, and interpolated channels wherever anything is hidden; and `hide` measures the whole
window against the mean m of the channels that are never hidden in it. What is visible at a hidden sample, s_v - m, is
then a function of visible potentials alone, whatever the reference was, and so carries nothing of a hidden potential
but what physiology implies. The truth, s_h - m, has the same reference at every sample, so that a gap fits its edges.
(The mean of what is visible at each sample would hide the sum as well, but it jumps wherever a gap begins.)

For independent potentials of equal power the best linear guess of s_h - m, and of its sum over hidden channels, is
zero: m is uncorrelated with every s_v - m.

Everything is a function of (batch, draws) on the batch's device, without a loop over windows.

Shapes: B batch, C channel, T sample, M span, U unit of a span, R row with gaps.
"""

import math
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
import torch
from torch import Tensor

from model.pretraining.draws import Draws
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


def span_lengths(draws: Draws, n: int, *, sfreq: float, span_ms: tuple[float, float], unit: int = 1) -> Tensor:
    """Return log-uniform span lengths, int64, (B, n), in units: samples, at least 2, or `unit` samples, rounded up.

    A unit above 1 is a patch: a span becomes as many whole patches as it takes to hold it.
    """
    low, high = math.log(span_ms[0]), math.log(span_ms[1])
    n_times = torch.exp(low + (high - low) * draws.uniform("span length", n)) * (sfreq / 1000)
    return n_times.round().clamp(min=2).long() if unit == 1 else (n_times / unit).ceil().long()


def place_spans(
    draws: Draws, n_times: int, *, sfreq: float, span_ms: tuple[float, float], hidden_share: float, unit: int = 1
) -> Tensor:
    """Return masks of spans that do not touch, bool, shape (B, n_times); gaps between spans are exponential.

    Every span is whole: none is cut at the ends, so that a span can always be interpolated from both sides. With a
    `unit` above 1, spans and gaps are whole patches of so many samples. Raises ValueError for less than three units.
    """
    n_units = n_times // unit
    if n_units < 3:
        raise ValueError(f"n_times={n_times} holds fewer than 3 units of {unit} samples: nothing can be hidden in it")
    mean = _mean_length(sfreq, span_ms, unit)
    mean_gap = mean * (1 - hidden_share) / hidden_share
    n_most = max(4, int(3 * n_units / (mean + mean_gap)))
    length_BM = span_lengths(draws, n_most, sfreq=sfreq, span_ms=span_ms, unit=unit)
    gap_BM = (-mean_gap * torch.log(1 - draws.uniform("gap", n_most))).round().clamp(min=2 if unit == 1 else 1).long()
    stop_BM = (gap_BM + length_BM).cumsum(1)
    fits_BM = stop_BM < n_units - 1
    # A first gap that swallowed a short window leaves no span: one is placed anywhere then.
    alone_B = length_BM[:, 0].clamp(max=n_units - 2)
    first_B = draws.integers("span", torch.ones_like(alone_B), n_units - alone_B - 1)
    nothing_B1 = ~fits_BM[:, :1]
    stop_BM = torch.where(fits_BM, stop_BM, n_units)
    start_BM = torch.where(fits_BM, stop_BM - length_BM, n_units)
    start_BM = torch.cat([start_BM, torch.where(nothing_B1, first_B[:, None], n_units)], 1)
    stop_BM = torch.cat([stop_BM, torch.where(nothing_B1, (first_B + alone_B)[:, None], n_units)], 1)
    edge_BU = torch.zeros((len(draws), n_units + 1), dtype=torch.int32, device=length_BM.device)
    one = torch.ones((), dtype=torch.int32, device=length_BM.device)
    edge_BU.scatter_add_(1, start_BM, one.expand_as(start_BM)).scatter_add_(1, stop_BM, -one.expand_as(stop_BM))
    mask_BU = edge_BU[:, :-1].cumsum(1) > 0
    mask_BT = mask_BU.repeat_interleave(unit, dim=1)
    return torch.nn.functional.pad(mask_BT, (0, n_times - n_units * unit))


def _mean_length(sfreq: float, span_ms: tuple[float, float], unit: int) -> float:
    """Return the expected length of a span, in units."""
    if unit == 1:
        return float((span_ms[1] - span_ms[0]) / np.log(span_ms[1] / span_ms[0]) * sfreq / 1000)
    return float(np.ceil(np.geomspace(*span_ms, 1001) * sfreq / 1000 / unit).mean())


def draw_masks(
    draws: Draws, ch_state_BC: Tensor, n_times: int, *, sfreq: float, plan: MaskPlan, is_eeg_BC: Tensor | None = None
) -> Tensor:
    """Return what to hide of each window, bool, shape (B, C, n_times).

    is_eeg_BC: which channels share a reference, all by default; others are never hidden, except where no channel does:
    leads of an electrocardiogram follow from one another exactly, so that spans of all are hidden together, whatever
    the plan, and no sum of visible leads gives a hidden one. Absent channels are never
    hidden (there is nothing to hide). "random" hides spans of a quarter to half of the measured channels,
    "whole-channel" all of up to a quarter, "whole-time" spans of all channels, which is also what fewer than 4 measured
    channels get. In a window with fewer than `MIN_GROUP` measured channels nothing is hidden.
    """
    takes_part_BC = torch.ones_like(ch_state_BC, dtype=torch.bool) if is_eeg_BC is None else is_eeg_BC
    leads_B = ~takes_part_BC.any(1)
    takes_part_BC = takes_part_BC | leads_B[:, None]
    measured_BC = (ch_state_BC == MEASURED) & takes_part_BC
    n_B = measured_BC.sum(1)
    share = np.cumsum(np.asarray(plan.schedule_weights) / sum(plan.schedule_weights))
    drawn_B = draws.uniform("schedule")[:, 0]
    random_B = drawn_B < share[0]
    channel_B = drawn_B >= share[1]
    few_B = (n_B < 2 * MIN_GROUP) | leads_B
    time_B = ~(random_B | channel_B) | few_B
    fewest_B = torch.where(channel_B, MIN_GROUP, (n_B // 4).clamp(min=MIN_GROUP))
    most_B = torch.maximum(fewest_B, torch.where(channel_B, n_B // 4, n_B // 2))
    size_B = torch.where(time_B, n_B, draws.integers("group size", fewest_B, most_B))
    size_B = torch.where(n_B < MIN_GROUP, 0, size_B)
    key_BC = draws.uniform("group", ch_state_BC.shape[1]).masked_fill(~measured_BC, 2.0)
    rank_BC = key_BC.argsort(dim=1, stable=True).argsort(dim=1, stable=True)
    group_BC = (rank_BC < size_B[:, None]) & measured_BC
    spans_BT = place_spans(
        draws, n_times, sfreq=sfreq, span_ms=plan.span_ms, hidden_share=plan.hidden_share, unit=plan.unit_times
    )
    hidden_BT = spans_BT | (channel_B & ~few_B)[:, None]
    follows_BC = (ch_state_BC == INTERPOLATED) & takes_part_BC & group_BC.any(1, keepdim=True)
    return (group_BC | follows_BC)[..., None] & hidden_BT[:, None]


def hide(
    x_BCT: Tensor, mask_BCT: Tensor, ch_state_BC: Tensor, *, is_eeg_BC: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Return the truth and what a model sees of it, both float32, shape (B, C, T).

    The truth is the window against the mean of the measured channels that are never hidden in it; where there is none
    ("whole-time" masks), nothing is visible at a hidden sample, and the reference stays. The model sees `fill_hidden`
    of the truth. `is_eeg_BC` as for `draw_masks`; channels that are not, and absent ones, keep their values.
    """
    truth_BCT = against_never_hidden(x_BCT, mask_BCT, ch_state_BC, is_eeg_BC=is_eeg_BC)
    return truth_BCT, fill_hidden(truth_BCT, mask_BCT)


def against_never_hidden(
    x_BCT: Tensor, mask_BCT: Tensor, ch_state_BC: Tensor, *, is_eeg_BC: Tensor | None = None
) -> Tensor:
    """Return the window against the mean of the measured channels that are never hidden in it (`hide`)."""
    takes_part_BC = torch.ones_like(ch_state_BC, dtype=torch.bool) if is_eeg_BC is None else is_eeg_BC
    visible_BC1 = ((ch_state_BC == MEASURED) & takes_part_BC & ~mask_BCT.any(-1))[..., None]
    mean_B1T = (x_BCT * visible_BC1).sum(1, keepdim=True) / visible_BC1.sum(1, keepdim=True).clamp(min=1)
    moves_BC1 = ((ch_state_BC != ABSENT) & takes_part_BC)[..., None]
    return x_BCT - mean_B1T * moves_BC1


def fill_hidden(x_BCT: Tensor, mask_BCT: Tensor) -> Tensor:
    """Return the signal with hidden samples replaced by the line across their gap, same shape.

    A gap at an end takes the nearest visible sample; a channel that is hidden entirely becomes 0.
    """
    n_times = x_BCT.shape[-1]
    gaps_BC = mask_BCT.any(-1)
    x_RT, mask_RT = x_BCT[gaps_BC], mask_BCT[gaps_BC]  # R rows with gaps: the others stay as they are
    index_T = torch.arange(n_times, device=x_BCT.device, dtype=torch.int16 if n_times < 32_000 else torch.int32)
    before_RT = torch.where(mask_RT, -1, index_T).cummax(-1).values
    after_RT = torch.where(mask_RT, n_times, index_T).flip(-1).cummin(-1).values.flip(-1)
    left_RT = torch.where(before_RT < 0, after_RT, before_RT)
    right_RT = torch.where(after_RT >= n_times, before_RT, after_RT)
    nothing_R1 = mask_RT.all(-1, keepdim=True)
    x_left_RT = x_RT.gather(-1, left_RT.clamp(0, n_times - 1).long())
    x_right_RT = x_RT.gather(-1, right_RT.clamp(0, n_times - 1).long())
    share_RT = (index_T - left_RT).to(x_RT) / (right_RT - left_RT).clamp(min=1).to(x_RT)
    line_RT = torch.where(nothing_R1, 0.0, torch.lerp(x_left_RT, x_right_RT, share_RT))
    filled_BCT = x_BCT.clone()
    filled_BCT[gaps_BC] = torch.where(mask_RT, line_RT, x_RT)
    return filled_BCT
