"""A small U-Net (Ronneberger et al. 2015, doi:10.1007/978-3-319-24574-4_28) that marks pixels: traces on paper.

Shapes: B batch, C channel, H, W image, K class.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def _block(n_in: int, n_out: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(n_in, n_out, 3, padding=1), nn.GroupNorm(4, n_out), nn.GELU(),
        nn.Conv2d(n_out, n_out, 3, padding=1), nn.GroupNorm(4, n_out), nn.GELU(),
    )  # fmt: skip


class UNet(nn.Module):
    """Three halvings and back."""

    def __init__(self, *, n_classes: int = 1, width: int = 16) -> None:
        super().__init__()
        widths = [width, 2 * width, 4 * width, 8 * width]
        self.down = nn.ModuleList(_block(a, b) for a, b in zip([3, *widths[:-1]], widths, strict=True))
        self.up = nn.ModuleList(_block(a + b, b) for a, b in zip(widths[:0:-1], widths[-2::-1], strict=True))
        self.classes = nn.Conv2d(width, n_classes, 1)

    def loss_sum(self, image_BCHW: Tensor, mask_BKHW: Tensor) -> Tensor:
        """Return the binary cross-entropy of each picture's pixels, mean over them, summed over pictures."""
        off = F.binary_cross_entropy_with_logits(self(image_BCHW), mask_BKHW.float(), reduction="none")
        return off.mean((1, 2, 3)).sum()

    def forward(self, image_BCHW: Tensor) -> Tensor:
        """Return logits_BKHW of images in 0-1, whose sides are multiples of eight."""
        x, passed = image_BCHW, []
        for depth, block in enumerate(self.down):
            x = block(F.max_pool2d(x, 2) if depth else x)
            passed.append(x)
        for block, beside in zip(self.up, passed[-2::-1], strict=True):
            x = block(torch.cat([F.interpolate(x, scale_factor=2.0, mode="nearest"), beside], 1))
        return self.classes(x)
