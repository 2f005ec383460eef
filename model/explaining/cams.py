"""Class activation maps: which places of a layer's feature maps speak for a class; and attention rollout.

Grad-CAM (Selvaraju et al. 2017) weighs feature maps by their mean gradient, Grad-CAM++ (Chattopadhay et al. 2018) by a
mean over places that favours where the gradient is positive. A map is as fine as its layer, no finer: `resolution`.
Rollout (Abnar and Zuidema 2020) multiplies attention matrices; it knows nothing of classes, and is a heuristic.

Shapes: B batch, D feature, N place (of any number of axes), H head, Q, M step.
"""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn

from model.explaining.gradients import Centred

GRAD_CAM, GRAD_CAM_PP, ROLLOUT = "Grad-CAM", "Grad-CAM++", "attention rollout"


def class_activation(
    network: nn.Module, layer: nn.Module, x: np.ndarray, target: int, *, feature_axis: int = 1, plus: bool = False
) -> np.ndarray:
    """Return a layer's map for a class in a window (n_chans, n_times), at least 0, shape of the layer's places.

    feature_axis: which axis of the layer's output counts features; the batch is the first.
    """
    kept: list[Tensor] = []

    def keep(_: nn.Module, __: object, out: object) -> None:
        first = out[0] if isinstance(out, tuple) else getattr(out, "last_hidden_state", out)
        assert isinstance(first, Tensor)
        kept.append(first)

    handle = layer.register_forward_hook(keep)
    try:
        x_1CT = torch.from_numpy(np.asarray(x, dtype=np.float32))[None].requires_grad_(True)
        value = Centred(network)(x_1CT)[0, target]
        (slope,) = torch.autograd.grad(value, kept[0])
    finally:
        handle.remove()
    features_DN, slope_DN = (each.detach()[0].movedim(feature_axis - 1, 0).double() for each in (kept[0], slope))
    places = tuple(range(1, features_DN.ndim))
    weights = plus_weights(features_DN, slope_DN) if plus else slope_DN.mean(places)
    found = (weights.reshape(-1, *(1,) * len(places)) * features_DN).sum(0)
    return np.asarray(torch.relu(found).numpy())


def plus_weights(features_DN: Tensor, slope_DN: Tensor) -> Tensor:
    """Return Grad-CAM++'s weight of each feature map, shape (D,): equation 19, of the exponential score."""
    places = tuple(range(1, features_DN.ndim))
    square, cube = slope_DN.square(), slope_DN**3
    below = 2 * square + (features_DN * cube).sum(places, keepdim=True)
    alpha = torch.where(below != 0, square / torch.where(below != 0, below, 1.0), 0.0)
    return (alpha * torch.relu(slope_DN)).sum(places)


def rollout(attentions: Sequence[np.ndarray]) -> np.ndarray:
    """Return how much each step of the first layer reaches each of the last, rows adding up to 1, (n_steps, n_steps).

    attentions: one matrix a layer, rows adding up to 1, shape (n_heads, n_steps, n_steps). Raises ValueError for rows
    that do not.
    """
    n_steps = attentions[0].shape[-1]
    total = np.eye(n_steps)
    for attention_HQM in attentions:
        if not np.allclose(attention_HQM.sum(axis=-1), 1, atol=1e-4):
            raise ValueError("rows of an attention matrix must add up to 1")
        mixed = attention_HQM.mean(axis=0) / 2 + np.eye(n_steps) / 2
        total = mixed @ total
    return total


def attentions_of(network: nn.Module, x: np.ndarray) -> list[np.ndarray]:
    """Return the weights of each nn.MultiheadAttention of a sequence to itself, in order, (n_heads, n_steps, n_steps).

    Fused attention gives no weights; they are computed again from each layer's input.
    """
    found: list[np.ndarray] = []

    def keep(module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        assert isinstance(module, nn.MultiheadAttention)
        x_BMD = inputs[0]
        qk = torch.nn.functional.linear(x_BMD, module.in_proj_weight, module.in_proj_bias).chunk(3, dim=-1)[:2]
        q_BHMD, k_BHMD = (part.reshape(*part.shape[:2], module.num_heads, -1).transpose(1, 2) for part in qk)
        weights = (q_BHMD @ k_BHMD.transpose(-1, -2) / q_BHMD.shape[-1] ** 0.5).softmax(-1)
        found.append(weights[0].double().numpy())

    layers = [module for module in network.modules() if isinstance(module, nn.MultiheadAttention)]
    handles = [layer.register_forward_pre_hook(keep) for layer in layers]
    try:
        with torch.inference_mode():
            network(torch.from_numpy(np.asarray(x, dtype=np.float32))[None])
    finally:
        for handle in handles:
            handle.remove()
    return found
