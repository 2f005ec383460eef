"""What one step trains on, as whoever reads hands it to the trainer."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

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
    partners: "StepBatches | None" = None
    """Other stretches of the windows' recordings (`training.corpus.partners`), where they are read."""
    measures: Mapping[str, float] = field(default_factory=dict)
    """What is known of the step before it is taken, to be logged with it; over all processes."""

    def pinned(self) -> "StepBatches":
        """Return the step in page-locked memory, from which a GPU copies while it computes."""
        locked = [{name: t.pin_memory() for name, t in batch.items()} for batch in self.micro_batches]
        return replace(self, micro_batches=locked, partners=self.partners and self.partners.pinned())

    def to(self, device: torch.device) -> "StepBatches":
        """Return the step with its tensors on a device."""
        moved = [{name: t.to(device, non_blocking=True) for name, t in batch.items()} for batch in self.micro_batches]
        return replace(self, micro_batches=moved, partners=self.partners and self.partners.to(device))
