"""From stored samples to a masked batch: scaled, cropped, changed, hidden and filled, as functions on the device.

Whatever is drawn depends on the seed and a window's sample number alone (`model.pretraining.draws`).

Shapes: B batch, C channel, T sample.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from model.montage import Montage
from model.pretraining.draws import Draws
from model.pretraining.masking import MIN_GROUP, MaskPlan, draw_masks, hide
from signals.shards.normalise import CLIP
from signals.window import ABSENT, MEASURED
from training.objectives.gap_filling import Filling, fill_to_start
from training.objectives.planting.targets import Planting

Batch = Mapping[str, Tensor]


@dataclass(frozen=True, kw_only=True)
class Preparation:
    """How stored windows become what pretraining sees."""

    sfreq: float
    masks: MaskPlan
    seed: tuple[int, ...]
    filling: Filling = "line"
    """What estimates start from; all but "line" are computed on the CPU, window by window."""
    gain_sd: float = 0.0
    """Spread of a window's random gain, in log units."""
    drop_channels: float = 0.0
    """Chance of each channel to be taken for absent; never fewer than `2 * MIN_GROUP` measured ones are left."""
    hides: bool = True
    """Whether anything is hidden; without, the model sees all of the truth."""
    planting: Planting | None = None
    """Lays simulated patterns over the windows, and adds their truth to the batch."""

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
        truth_BCT, filled_BCT = hide(x_BCT, mask_BCT, state_BC, is_eeg_BC=is_eeg_BC)
        if self.filling != "line" and self.hides:
            filled_BCT = self._filled(truth_BCT, mask_BCT, torch.where(montage.is_primary_BC, state_BC, ABSENT))
        rest = {name: value for name, value in raw.items() if name not in ("inverse_scale_BC", "sample_B")}
        return {**rest, "x_BCT": truth_BCT, "filled_BCT": filled_BCT, "mask_BCT": mask_BCT, "ch_state_BC": state_BC}

    def _filled(self, truth_BCT: Tensor, mask_BCT: Tensor, state_BC: Tensor) -> Tensor:
        arrays = zip(*(values.cpu().numpy() for values in (truth_BCT, mask_BCT, state_BC)), strict=True)
        filled = [torch.from_numpy(fill_to_start(x, mask, state, self.filling)) for x, mask, state in arrays]
        return torch.stack(filled).to(truth_BCT.device)


def dropped(draws: Draws, ch_state_BC: Tensor, chance: float) -> Tensor:
    """Return states with channels taken for absent at random, not where too few measured ones would be left."""
    drop_BC = draws.uniform("dropped", ch_state_BC.shape[1]) < chance
    left_B = ((ch_state_BC == MEASURED) & ~drop_BC).sum(1)
    return torch.where(drop_BC & (left_B >= 2 * MIN_GROUP)[:, None], ABSENT, ch_state_BC)


def crop_starts(seed: tuple[int, ...], samples: Tensor, n_times: Tensor, crop_times: int) -> Tensor:
    """Return where the crop of each window starts, int64, shape (B,); windows have `n_times` samples."""
    free = (n_times - crop_times).clamp(min=0)
    return Draws(seed, samples).integers("crop", torch.zeros_like(free), free)
