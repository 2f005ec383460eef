"""In what numbers a forward pass is computed."""

from typing import Literal

import torch

Precision = Literal["auto", "fp32", "tf32", "bf16", "fp16"]


def resolve_precision(precision: Precision, device: torch.device) -> Precision:
    """Return what "auto" means on a device: bf16 on a GPU that has it, else fp32."""
    if precision != "auto":
        return precision
    return "bf16" if device.type == "cuda" and torch.cuda.is_bf16_supported() else "fp32"


def allow_tf32(precision: Precision, device: torch.device) -> None:
    """Let a GPU use TF32 for what is left in float32, unless all of it was wanted."""
    if device.type == "cuda" and precision != "fp32":
        torch.set_float32_matmul_precision("high")


def autocast(precision: Precision, device: torch.device) -> torch.autocast:
    """Return the context in which forward passes of a precision are computed on a device."""
    low = {"bf16": torch.bfloat16, "fp16": torch.float16}.get(precision)
    return torch.autocast(device.type, low, enabled=low is not None)
