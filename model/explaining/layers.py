"""Which layer of a network a class activation map is taken from, and the map as an explanation."""

import numpy as np
import torch
from torch import nn

from explain.explanation import Explanation, n_steps
from model.classifier import Classifier
from model.explaining.cams import GRAD_CAM, GRAD_CAM_PP, class_activation
from model.explaining.gradients import Centred
from model.supervised.efficientnet import SpectrogramNet
from model.supervised.resnet_gru import ResNetGRU


def cam_layer(network: nn.Module) -> tuple[nn.Module, int, bool]:
    """Return the last layer that keeps places, which axis of its output counts features, and whether channels stay.

    The first network of a known kind inside counts. Raises ValueError where there is none.
    """
    for module in network.modules():
        if isinstance(module, Classifier):
            return module.encoder.norm, 3, True  # (B, C, N, D)
        if isinstance(module, ResNetGRU):
            return module.blocks, 1, False
        if isinstance(module, SpectrogramNet):
            return module.features.encoder, 1, False
    raise ValueError(f"no layer with places is known in {type(network).__name__}")


def activation_map(network: nn.Module, x: np.ndarray, target: int, *, sfreq: float, plus: bool = False) -> Explanation:
    """Return Grad-CAM, or Grad-CAM++, of a window (n_chans, n_times), stretched over its steps.

    A map is no finer than its layer: places of two axes are summed over frequency. Raises ValueError as `cam_layer`.
    """
    layer, feature_axis, has_channels = cam_layer(network)
    found = class_activation(network, layer, x, target, feature_axis=feature_axis, plus=plus)
    places = found if has_channels else found.reshape(-1, found.shape[-1]).sum(axis=0)[None]
    with torch.inference_mode():
        score = float(Centred(network)(torch.from_numpy(np.asarray(x, dtype=np.float32))[None])[0, target])
    return stretched(
        places, x, sfreq=sfreq, target=target, score=score, method=GRAD_CAM_PP if plus else GRAD_CAM,
        has_channels=has_channels,
    )  # fmt: skip


def stretched(
    places: np.ndarray, x: np.ndarray, *, sfreq: float, target: int, score: float, method: str, has_channels: bool
) -> Explanation:
    """Return places (n_chans or 1, n_places) that share a window evenly as an explanation of its steps."""
    n = n_steps(x.shape[1], sfreq)
    at = np.minimum(((np.arange(n) + 0.5) / n * places.shape[1]).astype(int), places.shape[1] - 1)
    values = places[:, at] * places.shape[1] / n
    if not has_channels:
        values = np.repeat(values / len(x), len(x), axis=0)
    return Explanation(
        method=method, target=target, values=values[..., None], score=score, base=0.0, has_channels=has_channels,
        sums=False,
    )  # fmt: skip
