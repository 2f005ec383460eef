"""Single weights set to zero by magnitude, for good (Han et al. 2015).

Zeros alone make nothing smaller or faster: a dense tensor keeps its size in the file, and its products their time. What
really removes parameters is `model.compression.pruning`.
"""

from typing import Literal

import torch
from torch import Tensor, nn

Scope = Literal["global", "matrix"]
"""Whether all matrices compete for what is kept, or each loses the same share."""


def zero_weights(model: nn.Module, share: float, *, scope: Scope = "global") -> dict[str, Tensor]:
    """Set the smallest `share` of the weights of matrices and kernels to zero, for good, and return where they stay.

    Masks are bool by parameter name, False where a weight is zero now. Gradients vanish there from now on, so that
    training with this project's AdamW leaves the zeros. Vectors and embeddings are left alone. The dense model is
    neither smaller nor faster for it. Raises ValueError for a share outside (0, 1).
    """
    if not 0 < share < 1:
        raise ValueError(f"share={share} must lie between 0 and 1")
    embeddings = {f"{prefix}.weight" for prefix, module in model.named_modules() if isinstance(module, nn.Embedding)}
    matrices = {name: p for name, p in model.named_parameters() if p.ndim > 1 and name not in embeddings}
    groups = [list(matrices)] if scope == "global" else [[name] for name in matrices]
    masks: dict[str, Tensor] = {}
    for names in groups:
        sizes = torch.cat([matrices[name].detach().abs().flatten() for name in names])
        kept = torch.ones_like(sizes, dtype=torch.bool)
        kept[sizes.argsort(stable=True)[: round(share * len(sizes))]] = False
        parts = kept.split([matrices[name].numel() for name in names])
        masks |= {name: part.reshape(matrices[name].shape) for name, part in zip(names, parts, strict=True)}
    for name, mask in masks.items():
        matrices[name].data.mul_(mask)
        _keep_zero(matrices[name], mask)
    return masks


def _keep_zero(parameter: nn.Parameter, mask: Tensor) -> None:
    if parameter.requires_grad:
        parameter.register_hook(lambda grad: grad * mask)


def zero_share(model: nn.Module) -> float:
    """Return the share of parameters that are exactly zero."""
    n_zeros = sum(int((p == 0).sum()) for p in model.parameters())
    return n_zeros / sum(p.numel() for p in model.parameters())
