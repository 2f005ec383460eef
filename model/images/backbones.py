"""Networks that read pictures of electrocardiograms, built from configurations of transformers; weights are drawn.

`IMAGE_NETWORKS` has them by name. Each takes images of shape (B, 3, H, W), 0-1, white paper 1; what comes back goes by
`kind`: "classes" logits (B, K), "mask" logits (B, K, H, W), "instances" as torchvision's detectors, "points" as
`model.images.points.PointNet`. Those of kind "mask" have `loss_sum(image_BCHW, mask_BKHW)`, summed over pictures.
HuBERT, of kind "signal", takes leads of shape (B, C, T), mV, and returns a vector a window.

Shapes: B batch, C channel, H, W image, T sample, K class.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from transformers import (
    EfficientNetConfig,
    EfficientNetModel,
    MobileNetV2Config,
    MobileNetV2Model,
    ResNetConfig,
    ResNetModel,
    ViTConfig,
    ViTModel,
)

from model.images.mask2former import Mask2Former
from model.images.mask_rcnn import MaskRCNN
from model.images.points import PointConfig, PointNet
from model.images.unet import UNet
from model.pretraining.hubert import Hubert, HubertShape


class Classified(nn.Module):
    """A backbone, its mean feature and one linear layer."""

    def __init__(self, backbone: nn.Module, width: int, n_classes: int) -> None:
        super().__init__()
        self.backbone = backbone
        self.classes = nn.Linear(width, n_classes)

    def forward(self, image_BCHW: Tensor) -> Tensor:
        """Return logits_BK of images in 0-1."""
        features = self.backbone(2 * image_BCHW - 1).last_hidden_state
        mean_BD = features.mean((2, 3)) if features.ndim == 4 else features.mean(1)
        return self.classes(mean_BD)


def resnet(
    *, n_classes: int, widths: tuple[int, ...] = (64, 128, 256, 512), depths: tuple[int, ...] = (2, 2, 2, 2)
) -> Classified:
    """Return a ResNet of basic blocks, by default ResNet-18 (He et al. 2016)."""
    config = ResNetConfig(
        embedding_size=widths[0], hidden_sizes=list(widths), depths=list(depths), layer_type="basic"
    )  # fmt: skip
    return Classified(ResNetModel(config), widths[-1], n_classes)


def mobilenet_v2(*, n_classes: int, depth_multiplier: float = 1.0) -> Classified:
    """Return a MobileNetV2 (Sandler et al. 2018)."""
    backbone = MobileNetV2Model(MobileNetV2Config(depth_multiplier=depth_multiplier, finegrained_output=True))
    with torch.no_grad():
        width = backbone.eval()(torch.zeros(1, 3, 64, 64)).last_hidden_state.shape[1]
    return Classified(backbone.train(), width, n_classes)


def vit(*, n_classes: int, image_px: int = 256, patch_px: int = 16, width: int = 192, depth: int = 6) -> Classified:
    """Return a vision transformer (Dosovitskiy et al. 2021)."""
    config = ViTConfig(
        image_size=image_px, patch_size=patch_px, hidden_size=width, num_hidden_layers=depth,
        num_attention_heads=max(2, width // 64), intermediate_size=4 * width, hidden_dropout_prob=0.0,
    )  # fmt: skip
    return Classified(ViTModel(config, add_pooling_layer=False), width, n_classes)


def efficientnet(*, n_classes: int, width: float = 1.0, depth: float = 1.0) -> Classified:
    """Return an EfficientNet, by default B0 (Tan & Le 2019)."""
    config = EfficientNetConfig(width_coefficient=width, depth_coefficient=depth, drop_connect_rate=0.0)
    config.hidden_dim = 8 * round(1280 * width / 8)
    backbone = EfficientNetModel(config)
    # transformers draws gains of batch normalisation around 0, which no training starts from.
    for module in backbone.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.ones_(module.weight)
            module.momentum = 0.1
    return Classified(backbone, config.hidden_dim, n_classes)


@dataclass(frozen=True, kw_only=True)
class ImageNetwork:
    """An entry of the registry."""

    kind: str
    """"classes", "mask", "instances", "points" or "signal"."""
    build: Callable[..., nn.Module]
    tiny: dict[str, Any] = field(default_factory=dict)
    """Options that cut it down to what a test can train."""
    unavailable: Callable[[], str] = lambda: ""
    """Why it cannot be built here, empty where it can."""
    no_export: str = ""
    """Why it has no ONNX form, one line; empty where it has."""


IMAGE_NETWORKS: dict[str, ImageNetwork] = {
    "resnet": ImageNetwork(kind="classes", build=resnet, tiny={"widths": (8, 16, 24, 32), "depths": (1, 1, 1, 1)}),
    "mobilenet_v2": ImageNetwork(kind="classes", build=mobilenet_v2, tiny={"depth_multiplier": 0.25}),
    "vit": ImageNetwork(kind="classes", build=vit, tiny={"image_px": 64, "width": 32, "depth": 2}),
    "efficientnet": ImageNetwork(kind="classes", build=efficientnet, tiny={"width": 0.25, "depth": 0.25}),
    "unet": ImageNetwork(kind="mask", build=UNet, tiny={"width": 8}),
    "mask2former": ImageNetwork(
        kind="mask", build=Mask2Former,
        tiny={"width": 32, "encoder_depth": 1, "decoder_depth": 2, "n_queries": 4, "swin_width": 32,
              "swin_depths": (1, 1, 1, 1), "window": 4, "n_points": 256},
    ),
    "mask_rcnn": ImageNetwork(
        kind="instances", build=MaskRCNN, tiny={"image_px": 64}, unavailable=MaskRCNN.unavailable,
        no_export="the number of its answers differs by picture, and it takes a list of pictures, not a batch",
    ),
    "vit_detr": ImageNetwork(
        kind="points", build=lambda **options: PointNet(PointConfig(**options)),
        tiny={"image_px": 64, "width": 32, "depth": 2, "decoder_depth": 2, "n_queries": 12},
    ),
    "hubert": ImageNetwork(
        kind="signal", build=lambda **options: Hubert(HubertShape(**options)),
        tiny={"width": 32, "depth": 2, "conv": 16},
    ),
}  # fmt: skip
"""Networks by name."""


def build(name: str, **options: Any) -> nn.Module:
    """Return a network of drawn weights; raises ValueError for an unknown name or one that cannot be built here."""
    if name not in IMAGE_NETWORKS:
        raise ValueError(f"unknown network {name!r}; networks are {', '.join(IMAGE_NETWORKS)}")
    if reason := IMAGE_NETWORKS[name].unavailable():
        raise ValueError(f"network {name!r} cannot be built: {reason}")
    return IMAGE_NETWORKS[name].build(**options)
