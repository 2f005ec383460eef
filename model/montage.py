"""Where the channels of a batch lie and what they are: what travels with samples to an encoder of any montage.

Shapes: B batch, C channel.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from model.encoder import electrode_ids
from model.layers.fusion import EEG, sensor_type_ids
from signals.modality import Modality


@dataclass(frozen=True, kw_only=True)
class Montage:
    """The channels of a batch of windows; windows may differ in them."""

    position_BC3: Tensor
    """Unit vectors (x to the right, y forwards, z up)."""
    electrode_ids_BC: Tensor
    """Rows of the encoder's identity table."""
    sensor_type_BC: Tensor
    """Numbers in `model.layers.fusion.SENSOR_TYPES`."""
    adjacency_BCC: Tensor
    """True at neighbours of the electrode graph."""
    ch_state_BC: Tensor
    """ABSENT, INTERPOLATED or MEASURED."""

    @classmethod
    def of(cls, modality: Modality, ch_state_BC: Tensor) -> "Montage":
        """Return the montage of windows of one modality, with their channels' states, on the states' device."""
        n, device = len(ch_state_BC), ch_state_BC.device

        def each(values: Tensor) -> Tensor:
            return values.to(device).expand(n, *values.shape)

        return cls(
            position_BC3=each(torch.tensor(modality.positions)),
            electrode_ids_BC=each(electrode_ids(modality.ch_names)),
            sensor_type_BC=each(sensor_type_ids(modality.sensor_types)),
            adjacency_BCC=each(torch.from_numpy(modality.adjacency())),
            ch_state_BC=ch_state_BC,
        )

    @classmethod
    def from_batch(cls, batch: Mapping[str, Tensor]) -> "Montage":
        """Return the montage among a batch's tensors."""
        return cls(**{name: batch[name] for name in cls.__dataclass_fields__})

    def tensors(self) -> dict[str, Tensor]:
        """Return the tensors by name, as they stand in a batch."""
        return {name: getattr(self, name) for name in self.__dataclass_fields__}

    @property
    def is_eeg_BC(self) -> Tensor:
        """Which channels are EEG."""
        return self.sensor_type_BC == EEG
