"""Windows mixed with others of their micro-batch, and their targets with them.

Shapes: B batch, C channel, T sample, R region, F frequency bin, S column, K class.
"""

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

from signals.spectrograms import REGIONAL_STEP_S
from signals.window import ABSENT

Batch = dict[str, Tensor]


def mixup(rng: np.random.Generator, batch: Mapping[str, Tensor], *, alpha: float) -> Batch:
    """Return each window mixed with another one of the batch, targets likewise (Zhang et al. 2018).

    The share is drawn from Beta(alpha, alpha), one for the batch. A channel that either window lacks is absent.
    """
    share = float(rng.beta(alpha, alpha))
    other = torch.from_numpy(rng.permutation(len(batch["target_BK"])))
    mixed = {
        name: share * values + (1 - share) * values[other] for name, values in batch.items() if name != "ch_state_BC"
    }
    return _with_states(mixed, batch["ch_state_BC"], other)


def cutmix(
    rng: np.random.Generator, batch: Mapping[str, Tensor], *, window_s: float, span_s: tuple[float, float] | None
) -> Batch:
    """Return windows of which a stretch is another's, without a target that speaks of what is not there.

    Where the label speaks of a span, either the context after or before it is another window's, and the target stays;
    or the whole span is, and the target goes with it. Where it speaks of the whole window, a stretch is another's and
    targets are mixed by its length (Yun et al. 2019).
    """
    other = torch.from_numpy(rng.permutation(len(batch["target_BK"])))
    start_s, stop_s, share = _stretch(rng, window_s, span_s)
    cut = dict(batch)
    for name, step_s, offset_s in _timed(batch, window_s):
        first, last = (round((second + offset_s) / step_s) for second in (start_s, stop_s))
        values = batch[name].clone()
        values[..., first:last] = batch[name][other][..., first:last]
        cut[name] = values
    for name in {"target_BK", "taught_BK", "weight_B"} & set(batch):
        cut[name] = share * batch[name][other] + (1 - share) * batch[name]
    return _with_states(cut, batch["ch_state_BC"], other)


def _stretch(
    rng: np.random.Generator, window_s: float, span_s: tuple[float, float] | None
) -> tuple[float, float, float]:
    """Return a stretch in seconds, and how much of the target goes with it."""
    if span_s is None:
        length = float(rng.uniform(0.0, window_s))
        onset = float(rng.uniform(0.0, window_s - length))
        return onset, onset + length, length / window_s
    kind = rng.integers(3)
    if kind == 0:
        return *span_s, 1.0
    return (0.0, span_s[0], 0.0) if kind == 1 else (span_s[1], window_s, 0.0)


def _timed(batch: Mapping[str, Tensor], window_s: float) -> list[tuple[str, float, float]]:
    """Return what has time last: its name, seconds a step, and at which second of it the window begins."""
    found = []
    if "x_BCT" in batch:
        found.append(("x_BCT", window_s / batch["x_BCT"].shape[-1], 0.0))
    if "spectrogram_BRFS" in batch:
        around_s = batch["spectrogram_BRFS"].shape[-1] * REGIONAL_STEP_S
        found.append(("spectrogram_BRFS", REGIONAL_STEP_S, (around_s - window_s) / 2))
    return found


def _with_states(mixed: Batch, ch_state_BC: Tensor, other: Tensor) -> Batch:
    state_BC = torch.minimum(ch_state_BC, ch_state_BC[other])
    mixed["ch_state_BC"] = state_BC
    if "x_BCT" in mixed:
        mixed["x_BCT"] = torch.where((state_BC != ABSENT)[..., None], mixed["x_BCT"], 0.0)
    return mixed
