"""Where the channels of a batch lie and what they are: what travels with samples to an encoder of any montage.

Shapes: B batch, C channel.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from model.layers.fusion import EEG, sensor_type_ids
from signals.electrodes import POSITIONS
from signals.modality import Modality
from signals.window import ABSENT

UNKNOWN_ELECTRODE = 0
N_NEIGHBOURS = 6
"""Neighbours of an electrode on the graph where nothing else defines them."""
_ELECTRODE_IDS = {name: i + 1 for i, name in enumerate(POSITIONS)}
N_ELECTRODES = len(_ELECTRODE_IDS) + 1
"""Rows of the table of electrode identities; the first is of those without a known name."""


@dataclass(frozen=True, kw_only=True)
class Montage:
    """The channels of a batch of windows; windows may differ in them."""

    position_BC3: Tensor
    """Unit vectors (x to the right, y forwards, z up); anything for absent channels and for sensors."""
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
        montage: Montage = FixedMontage(modality).to(ch_state_BC.device)(ch_state_BC)
        return montage

    @classmethod
    def named(
        cls,
        ch_names: Sequence[str],
        ch_state_BC: Tensor,
        *,
        more: Mapping[str, Sequence[float]] | None = None,
    ) -> "Montage":
        """Return the montage of electrodes by name; neighbours are the nearest `N_NEIGHBOURS` that are there.

        more: directions by name, as for `places`; raises ValueError as it does.
        """
        position_BC3 = places(ch_names, more).to(ch_state_BC.device).expand(len(ch_state_BC), -1, -1)
        ids_C = electrode_ids(ch_names).to(ch_state_BC.device)
        return cls(
            position_BC3=position_BC3,
            electrode_ids_BC=ids_C.expand(len(ch_state_BC), -1),
            sensor_type_BC=torch.full_like(ch_state_BC, EEG, dtype=torch.int64),
            adjacency_BCC=nearest(position_BC3, ch_state_BC != ABSENT),
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
    def is_referenced_BC(self) -> Tensor:
        """Channels whose potential is against a common reference, bool: EEG. Leads have one each."""
        return self.sensor_type_BC == EEG

    @property
    def is_primary_BC(self) -> Tensor:
        """Channels that meet, bool: EEG; where no channel is EEG, as in an electrocardiogram, all of them."""
        is_eeg_BC = self.sensor_type_BC == EEG
        return is_eeg_BC | ~is_eeg_BC.any(-1, keepdim=True)

    def check(self) -> None:
        """Raise ValueError, with the shapes, where its tensors disagree, or an EEG electrode there has no place."""
        B, C = self.ch_state_BC.shape
        shapes = {"position": (B, C, 3), "electrode_ids": (B, C), "sensor_type": (B, C), "adjacency": (B, C, C)}
        for (what, shape), tensor in zip(shapes.items(), list(self.tensors().values())[:4], strict=True):
            if tuple(tensor.shape) != shape:
                raise ValueError(f"{what} has shape {tuple(tensor.shape)}, not {shape} as the channels' states")
        lost_BC = (self.ch_state_BC != ABSENT) & self.is_primary_BC & ~torch.isfinite(self.position_BC3).all(-1)
        if lost_BC.any():
            b, c = (int(i) for i in torch.nonzero(lost_BC)[0])
            raise ValueError(
                f"position is not finite in window {b}, channel {c}: give the electrode a place, or mark it absent"
            )


class FixedMontage(nn.Module):
    """The channels of one modality as a part of a model: gives windows their `Montage`."""

    position_C3: Tensor
    electrode_ids_C: Tensor
    sensor_type_C: Tensor
    adjacency_CC: Tensor

    def __init__(self, modality: Modality) -> None:
        super().__init__()
        self.register_buffer("position_C3", torch.tensor(modality.positions))
        self.register_buffer("electrode_ids_C", electrode_ids(modality.ch_names))
        self.register_buffer("sensor_type_C", sensor_type_ids(modality.sensor_types))
        self.register_buffer("adjacency_CC", torch.from_numpy(modality.adjacency()))

    def forward(self, ch_state_BC: Tensor) -> Montage:
        """Return the montage of windows with these channels' states."""
        n = ch_state_BC.shape[0]
        return Montage(
            position_BC3=self.position_C3.expand(n, -1, -1),
            electrode_ids_BC=self.electrode_ids_C.expand(n, -1),
            sensor_type_BC=self.sensor_type_C.expand(n, -1),
            adjacency_BCC=self.adjacency_CC.expand(n, -1, -1),
            ch_state_BC=ch_state_BC,
        )


def electrode_ids(ch_names: Sequence[str]) -> Tensor:
    """Return rows of the electrode identity table, int64, shape (n_chans,); unknown names share row 0."""
    return torch.tensor([_ELECTRODE_IDS.get(name, UNKNOWN_ELECTRODE) for name in ch_names])


def places(ch_names: Sequence[str], more: Mapping[str, Sequence[float]] | None = None) -> Tensor:
    """Return directions on the unit sphere of known electrodes (10-5 system) and given ones, float32, (n_chans, 3).

    more: directions by name (x to the right, y forwards, z up), for names that `signals.electrodes` does not know, or
    knows otherwise. Raises ValueError for a name without a place, and for a direction of no length.
    """
    positions = {**POSITIONS, **(more or {})}
    if missing := [name for name in ch_names if name not in positions]:
        raise ValueError(f"channels {missing} are no known electrodes: give their positions, or rename or drop them")
    position_C3 = torch.tensor([list(positions[name]) for name in ch_names], dtype=torch.float32)
    length_C1 = position_C3.norm(dim=-1, keepdim=True)
    if not (length_C1 > 0).all():
        raise ValueError(f"positions of {list(ch_names)} hold a direction of no length")
    return position_C3 / length_C1


def nearest(position_BC3: Tensor, present_BC: Tensor, n_neighbours: int = N_NEIGHBOURS) -> Tensor:
    """Return a symmetric neighbourhood of the nearest present electrodes on the sphere, bool, (B, C, C)."""
    n_chans = position_BC3.shape[1]
    if n_chans == 1:
        return torch.zeros_like(present_BC)[..., None]
    cosine_BCC = position_BC3 @ position_BC3.transpose(1, 2)
    itself_CC = torch.eye(n_chans, dtype=torch.bool, device=cosine_BCC.device)
    cosine_BCC = cosine_BCC.masked_fill(~present_BC[:, None, :] | itself_CC, -2.0)
    farthest = cosine_BCC.topk(min(n_neighbours, n_chans - 1), dim=-1).values[..., -1:]
    near_BCC = (cosine_BCC >= farthest) & (cosine_BCC > -1.5)
    return near_BCC | near_BCC.transpose(1, 2)
