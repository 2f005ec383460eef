"""Out of memory is no reason to die: every rank cuts its micro-batches, and accumulation keeps the global batch."""

import logging
from collections.abc import Mapping

import torch
from torch import Tensor

logger = logging.getLogger(__name__)

MAX_HALVINGS = 10


def is_out_of_memory(error: BaseException) -> bool:
    """Return whether an error says that a device or the host had no memory left."""
    if isinstance(error, (MemoryError, torch.OutOfMemoryError)):
        return True
    # PyTorch's allocator for CPUs raises a plain RuntimeError.
    return isinstance(error, RuntimeError) and "can't allocate memory" in str(error)


def release() -> None:
    """Give cached device memory back before trying again."""
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def split(batch: Mapping[str, Tensor], halvings: int) -> list[dict[str, Tensor]]:
    """Return a micro-batch in up to 2 ** halvings parts of nearly equal numbers of windows, in order."""
    n_rows = len(next(iter(batch.values())))
    n_parts = min(2**halvings, n_rows)
    parts = {name: tensor.tensor_split(n_parts) for name, tensor in batch.items()}
    return [{name: tensors[part] for name, tensors in parts.items()} for part in range(n_parts)]
