"""A U-Net over one lead (Ronneberger et al. 2015, in one dimension): which wave each sample belongs to.

Shapes: B batch, T sample, D width, K class of `CLASSES`.
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import PretrainedConfig, PreTrainedModel

CLASSES = ("none", "P", "QRS", "T")
"""What a sample is part of; most are part of no wave."""
SFREQ = 250.0
"""Rate of the samples, Hz: at 100 Hz a boundary is lost between two of them."""


class DelineatorConfig(PretrainedConfig):
    """What a delineator is made of."""

    model_type = "cerebeam-delineator"

    def __init__(self, widths: tuple[int, ...] = (12, 16, 24, 32, 48), kernel: int = 9, **kwargs: Any) -> None:
        """Take the number of features of each level, each at half the rate of the one before."""
        self.widths, self.kernel = list(widths), kernel
        super().__init__(**kwargs)


class Delineator(PreTrainedModel):
    """One lead of an electrocardiogram in, the class of each sample out."""

    config_class = DelineatorConfig
    base_model_prefix = "delineator"
    main_input_name = "x_BT"

    def __init__(self, config: DelineatorConfig) -> None:
        super().__init__(config)
        widths, kernel = config.widths, config.kernel
        self.down = nn.ModuleList(_block(a, b, kernel) for a, b in zip((1, *widths), widths, strict=False))
        self.up = nn.ModuleList(
            _block(low + high, high, kernel) for low, high in zip(widths[:0:-1], widths[-2::-1], strict=True)
        )
        self.classes = nn.Conv1d(widths[0], len(CLASSES), 1)
        self.post_init()

    def _init_weights(self, module: nn.Module) -> None:
        """Leave initialisation to the modules themselves."""

    def forward(self, x_BT: Tensor) -> Tensor:
        """Return logits_BKT of leads at `SFREQ`, scaled by `model.delineation.waves.prepared`; any length."""
        n_times = x_BT.shape[-1]
        x_BDT = F.pad(x_BT, (0, -n_times % 2 ** len(self.up)))[:, None]
        kept: list[Tensor] = []
        for level, block in enumerate(self.down):
            x_BDT = block(F.max_pool1d(x_BDT, 2) if level else x_BDT)
            kept.append(x_BDT)
        x_BDT = kept.pop()
        for block in self.up:
            x_BDT = block(torch.cat([F.interpolate(x_BDT, scale_factor=2.0, mode="nearest"), kept.pop()], 1))
        logits_BKT: Tensor = self.classes(x_BDT)
        return logits_BKT[..., :n_times]


def _block(n_in: int, n_out: int, kernel: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv1d(n_in, n_out, kernel, padding=kernel // 2, bias=False), nn.BatchNorm1d(n_out), nn.ReLU(),
        nn.Conv1d(n_out, n_out, kernel, padding=kernel // 2, bias=False), nn.BatchNorm1d(n_out), nn.ReLU(),
    )  # fmt: skip
