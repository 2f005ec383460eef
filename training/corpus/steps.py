"""What one step trains on, as whoever reads hands it to the trainer."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

Batch = Mapping[str, Tensor]
"""A micro-batch: tensors by name, a row per window."""


@dataclass(frozen=True, kw_only=True)
class StepBatches:
    """What one step trains on, on this process."""

    micro_batches: Sequence[Batch]
    eeg_hours: float
    order_crc: int = 0
    """`training.corpus.order.order_crc` of this process's windows; those of all add up, modulo 2^32."""
    step: int = 0
    sources: tuple[int, ...] = ()
    """Number of the corpus that each micro-batch comes from, where there may be several."""
    place: Tensor | None = None
    """Where the reading stands after this step (`training.corpus.lanes`)."""

    def pinned(self) -> "StepBatches":
        """Return the step in page-locked memory, from which a GPU copies while it computes."""
        locked = [{name: t.pin_memory() for name, t in batch.items()} for batch in self.micro_batches]
        return replace(self, micro_batches=locked)

    def to(self, device: torch.device) -> "StepBatches":
        """Return the step with its tensors on a device."""
        moved = [{name: t.to(device, non_blocking=True) for name, t in batch.items()} for batch in self.micro_batches]
        return replace(self, micro_batches=moved)
