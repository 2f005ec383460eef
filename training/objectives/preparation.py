"""From stored samples to a masked batch: scaled, cropped, changed, hidden and filled, as functions on the device.

Whatever is drawn depends on the seed and a window's sample number alone (`model.pretraining.draws`).

Shapes: B batch, C channel, T sample.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from model.montage import Montage
from model.pretraining.draws import Draws
from model.pretraining.masking import MIN_GROUP, MaskPlan, against_never_hidden, draw_masks, hide
from model.pretraining.token_masks import BlockPlan, against_visible, described_start, draw_tokens, samples
from signals.shards.normalise import CLIP
from signals.window import ABSENT, MEASURED
from training.objectives.gap_filling import Filling, fill_to_start
from training.objectives.planting.targets import Planting
from training.objectives.stretches.describing import Describing

Batch = Mapping[str, Tensor]


@dataclass(frozen=True, kw_only=True)
class Preparation:
    """How stored windows become what pretraining sees."""

    sfreq: float
    masks: MaskPlan
    seed: tuple[int, ...]
    blocks: BlockPlan | None = None
    """How whole tokens are hidden, in windows that do not lose spans; nothing is filled in then."""
    filling: Filling = "line"
    """What estimates start from; all but "line" are computed on the CPU, window by window."""
    gain_sd: float = 0.0
    """Spread of a window's random gain, in log units."""
    drop_channels: float = 0.0
    """Chance of each channel to be taken for absent; never fewer than `2 * MIN_GROUP` measured ones are left."""
    hides: bool = True
    """Whether anything is hidden; without, the model sees all of the truth."""
    part_reference: float = 0.0
    """Where nothing is hidden: chance of a window to be against the mean of a drawn part of its measured channels."""
    planting: Planting | None = None
    """Lays simulated patterns over the windows, and adds their truth to the batch."""
    describing: Describing | None = None
    """Describes a stretch that is hidden on all channels, on the CPU, and adds where it is and its description."""

    @torch.no_grad()
    def __call__(self, raw: Batch) -> dict[str, Tensor]:
        """Return truth "x_BCT", "filled_BCT", "mask_BCT", the montage and what else came in, on the batch's device.

        raw: "x_BCT" in µV (ECG: mV), "inverse_scale_BC", "sample_B", and a `Montage`.
        """
        draws = Draws(self.seed, raw["sample_B"])
        montage = Montage.from_batch(raw)
        if self.planting is not None:
            raw = self.planting(draws, raw, sfreq=self.sfreq)
        x_BCT = (raw["x_BCT"] * raw["inverse_scale_BC"][..., None]).clamp(-CLIP, CLIP)
        if self.gain_sd:
            x_BCT = x_BCT * torch.exp(self.gain_sd * draws.normal("gain"))[..., None]
        state_BC = dropped(draws, montage.ch_state_BC, self.drop_channels) if self.drop_channels else raw["ch_state_BC"]
        is_eeg_BC = montage.is_referenced_BC
        if self.hides:
            mask_BCT = draw_masks(
                draws, state_BC, x_BCT.shape[-1], sfreq=self.sfreq, plan=self.masks, is_eeg_BC=is_eeg_BC
            )
        else:
            mask_BCT = torch.zeros_like(x_BCT, dtype=torch.bool)
        if self.hides and self.blocks is not None:
            montage = replace(montage, ch_state_BC=state_BC)
            truth_BCT, filled_BCT, mask_BCT = hide_tokens(draws, x_BCT, mask_BCT, montage, self.blocks)
        else:
            truth_BCT, filled_BCT = hide(x_BCT, mask_BCT, state_BC, is_eeg_BC=is_eeg_BC)
        if self.part_reference and not self.hides:
            montage = replace(montage, ch_state_BC=state_BC)
            truth_BCT = filled_BCT = against_part(draws, truth_BCT, montage, self.part_reference)
        if self.filling != "line" and self.hides and self.blocks is None:
            filled_BCT = self._filled(truth_BCT, mask_BCT, torch.where(montage.is_primary_BC, state_BC, ABSENT))
        rest = {name: value for name, value in raw.items() if name not in ("inverse_scale_BC", "sample_B")}
        made = {**rest, "x_BCT": truth_BCT, "filled_BCT": filled_BCT, "mask_BCT": mask_BCT, "ch_state_BC": state_BC}
        if self.describing is not None and self.blocks is not None and self.hides:
            start_B = described_start(draws, montage, x_BCT.shape[-1], self.blocks)
            made["stretch_B"] = start_B
            made["description_BF"] = self.describing.stretches(raw["x_BCT"], raw["ch_state_BC"], start_B)
        return made

    def _filled(self, truth_BCT: Tensor, mask_BCT: Tensor, state_BC: Tensor) -> Tensor:
        arrays = zip(*(values.cpu().numpy() for values in (truth_BCT, mask_BCT, state_BC)), strict=True)
        filled = [torch.from_numpy(fill_to_start(x, mask, state, self.filling)) for x, mask, state in arrays]
        return torch.stack(filled).to(truth_BCT.device)


def hide_tokens(
    draws: Draws, x_BCT: Tensor, spans_BCT: Tensor, montage: Montage, plan: BlockPlan
) -> tuple[Tensor, Tensor, Tensor]:
    """Return the truth, what a model sees of it, and what is hidden: blocks of tokens, in a share of windows spans.

    Hidden samples are 0 in what is seen. The truth of windows with hidden tokens keeps its own reference, and what is
    seen of it is against what is visible; those with spans are as `hide` makes them.
    """
    n_times = x_BCT.shape[-1]
    hidden_BCN = draw_tokens(draws, montage, plan.n_tokens(n_times), plan)
    in_spans_B11 = (draws.uniform("gaps") < plan.gaps_share)[..., None]
    mask_BCT = torch.where(in_spans_B11, spans_BCT, samples(hidden_BCN, plan.token_times, n_times))
    spanned_BCT = against_never_hidden(x_BCT, spans_BCT, montage.ch_state_BC, is_eeg_BC=montage.is_referenced_BC)
    seen_BCT = against_visible(x_BCT, hidden_BCN, montage, plan.token_times)
    seen_BCT = torch.where(in_spans_B11, spanned_BCT, seen_BCT).masked_fill(mask_BCT, 0.0)
    return torch.where(in_spans_B11, spanned_BCT, x_BCT), seen_BCT, mask_BCT


def against_part(draws: Draws, x_BCT: Tensor, montage: Montage, chance: float) -> Tensor:
    """Return windows, by chance against the mean of about half of their measured channels instead of all of them.

    A window keeps its reference where fewer than `MIN_GROUP` channels are drawn; so do leads and other sensors.
    """
    is_eeg_BC, state_BC = montage.is_referenced_BC, montage.ch_state_BC
    part_BC = (draws.uniform("reference", state_BC.shape[1]) < 0.5) & (state_BC == MEASURED) & is_eeg_BC
    changes_B = (draws.uniform("part reference")[:, 0] < chance) & (part_BC.sum(1) >= MIN_GROUP)
    mean_B1T = (x_BCT * part_BC[..., None]).sum(1, keepdim=True) / part_BC.sum(1)[:, None, None].clamp(min=1)
    moves_BC = (state_BC != ABSENT) & is_eeg_BC & changes_B[:, None]
    return x_BCT - mean_B1T * moves_BC[..., None]


def dropped(draws: Draws, ch_state_BC: Tensor, chance: float) -> Tensor:
    """Return states with channels taken for absent at random, not where too few measured ones would be left."""
    drop_BC = draws.uniform("dropped", ch_state_BC.shape[1]) < chance
    left_B = ((ch_state_BC == MEASURED) & ~drop_BC).sum(1)
    return torch.where(drop_BC & (left_B >= 2 * MIN_GROUP)[:, None], ABSENT, ch_state_BC)


def crop_starts(seed: tuple[int, ...], samples: Tensor, n_times: Tensor, crop_times: int) -> Tensor:
    """Return where the crop of each window starts, int64, shape (B,); windows have `n_times` samples."""
    free = (n_times - crop_times).clamp(min=0)
    return Draws(seed, samples).integers("crop", torch.zeros_like(free), free)
