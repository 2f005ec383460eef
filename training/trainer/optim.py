"""Optimiser and schedule: AdamW with parameter groups, linear warm-up, cosine decay."""

import math

import torch
from torch import nn

from model.freezing import group_of


def make_optimizer(
    model: nn.Module, *, learning_rate: float, weight_decay: float, encoder_lr_scale: float = 1.0
) -> torch.optim.AdamW:
    """Return AdamW over trainable parameters.

    Vectors and embeddings are not decayed; stem and trunk learn at `encoder_lr_scale` times the rate of head and
    adapters.
    """
    embeddings = {f"{prefix}.weight" for prefix, module in model.named_modules() if isinstance(module, nn.Embedding)}
    groups: dict[tuple[bool, bool], list[nn.Parameter]] = {}
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            decayed = parameter.ndim > 1 and name not in embeddings
            groups.setdefault((decayed, group_of(name) in ("stem", "trunk")), []).append(parameter)
    return torch.optim.AdamW(
        [
            {
                "params": parameters,
                "weight_decay": weight_decay if decayed else 0.0,
                "lr": learning_rate * (encoder_lr_scale if in_encoder else 1.0),
            }
            for (decayed, in_encoder), parameters in sorted(groups.items(), key=lambda item: item[0])
        ],
        betas=(0.9, 0.98),
    )


def make_scheduler(
    optimizer: torch.optim.Optimizer, *, warmup_steps: int, steps: int, final_share: float = 0.05
) -> torch.optim.lr_scheduler.LambdaLR:
    """Return linear warm-up to the full rate, then a cosine down to `final_share` of it at `steps`."""

    def share(step: int) -> float:
        if step < warmup_steps:
            return (step + 1) / warmup_steps
        progress = min(1.0, (step - warmup_steps) / max(1, steps - warmup_steps))
        return final_share + (1 - final_share) * 0.5 * (1 + math.cos(math.pi * progress))

    return torch.optim.lr_scheduler.LambdaLR(optimizer, share)
