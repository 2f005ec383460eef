"""Objectives of networks that read pictures: its class, masks and points on it. Sums with counts, for `Trainer`.

A batch holds "image_BCHW", 0-1, and what is true: "class_B", "mask_BKHW" (0 or 1), or "wave_BM" (-1 behind the last
point), "box_BM4" and "key_BM2".

Shapes: B batch, C channel, H, W image, K class, M point.
"""

from collections.abc import Mapping

import torch.nn.functional as F
from torch import Tensor, nn

from model.images.mask2former import Mask2Former
from model.images.matching import TruePoints, total
from model.images.points import Points
from model.images.unet import UNet


class PictureClasses(nn.Module):
    """The cross-entropy of a picture's class."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network, self.weights = network, {"classes": 1.0}

    def forward(self, batch: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return the sum over pictures."""
        return {"classes": F.cross_entropy(self.network(batch["image_BCHW"]), batch["class_B"], reduction="sum")}

    def counts(self, batch: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return the number of pictures."""
        return {"classes": batch["image_BCHW"].new_tensor(float(len(batch["class_B"])))}


class PictureMasks(nn.Module):
    """The loss of a network of kind "mask" (`model.images.backbones`), of its own kind: `loss_sum`."""

    def __init__(self, network: UNet | Mask2Former) -> None:
        super().__init__()
        self.network, self.weights = network, {"masks": 1.0}

    def forward(self, batch: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return the sum over pictures."""
        return {"masks": self.network.loss_sum(batch["image_BCHW"], batch["mask_BKHW"])}

    def counts(self, batch: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return the number of pictures."""
        return {"masks": batch["image_BCHW"].new_tensor(float(len(batch["mask_BKHW"])))}


class PicturePoints(nn.Module):
    """The loss of a set of points (`model.images.matching`)."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network, self.weights = network, {"points": 1.0}

    def forward(self, batch: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return the sum over points."""
        return {"points": total(Points(*self.network(batch["image_BCHW"])), true_points(batch))}

    def counts(self, batch: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return the number of points."""
        return {"points": (batch["wave_BM"] >= 0).sum().float()}


def true_points(batch: Mapping[str, Tensor]) -> list[TruePoints]:
    """Return the points of each picture of a batch, without what fills the rows up."""
    there_BM = batch["wave_BM"] >= 0
    return [
        TruePoints(wave[there], box[there], key[there])
        for wave, box, key, there in zip(batch["wave_BM"], batch["box_BM4"], batch["key_BM2"], there_BM, strict=True)
    ]
