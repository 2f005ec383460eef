"""In what numbers a forward pass is computed."""

from typing import Literal

import torch

Precision = Literal["auto", "fp32", "tf32", "bf16", "fp16"]


def resolve_precision(precision: Precision, device: torch.device) -> Precision:
    """Return what "auto" means on a device: bf16 on a GPU that has it, else fp32."""
    if precision != "auto":
        return precision
    return "bf16" if device.type == "cuda" and torch.cuda.is_bf16_supported() else "fp32"
