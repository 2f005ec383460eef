"""Mask R-CNN (He et al. 2017) of torchvision, where torchvision imports; refused with the reason elsewhere."""

from importlib import import_module
from typing import Any

from torch import Tensor, nn


class MaskRCNN(nn.Module):
    """torchvision's ResNet-50 with a feature pyramid, weights drawn; the one door to torchvision in this project."""

    def __init__(self, *, n_classes: int = 2, image_px: int = 256) -> None:
        super().__init__()
        if reason := self.unavailable():
            raise ValueError(f"Mask R-CNN cannot be built: {reason}")
        detection = import_module("torchvision.models.detection")
        self.detector = detection.maskrcnn_resnet50_fpn(
            weights=None, weights_backbone=None, num_classes=n_classes, min_size=image_px, max_size=image_px
        )

    @staticmethod
    def unavailable() -> str:
        """Return why it cannot be built here, empty where it can."""
        try:
            import_module("torchvision.models.detection")
        except ImportError as error:
            return f"torchvision does not import ({error})"
        except (RuntimeError, AttributeError) as error:  # its compiled operators do not fit this torch
            return f"torchvision does not fit this torch ({str(error).splitlines()[0]})"
        return ""

    def forward(self, image_BCHW: Tensor, targets: list[dict[str, Tensor]] | None = None) -> Any:
        """Return losses in training, boxes, labels, scores and masks of each image otherwise."""
        return self.detector(list(image_BCHW), targets)
