"""The encoder with its pretraining heads: sums of losses and what they are divided by (`model.heads`)."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from model.encoder import Encoder, electrode_ids
from model.heads import HEADS, Tensors
from model.layers.fusion import sensor_type_ids
from signals.modality import Modality


class PretrainModel(nn.Module):
    """Runs the encoder on the masked signal and every head on its output."""

    position_C3: Tensor
    electrode_ids_C: Tensor
    adjacency_CC: Tensor
    sensor_type_C: Tensor | None

    def __init__(self, encoder: Encoder, modality: Modality, weights: Mapping[str, float]) -> None:
        super().__init__()
        self.encoder, self.weights = encoder, dict(weights)
        self.heads = nn.ModuleDict({name: HEADS[name](encoder.config) for name in weights})
        self.register_buffer("position_C3", torch.tensor(modality.positions), persistent=False)
        self.register_buffer("electrode_ids_C", electrode_ids(modality.ch_names), persistent=False)
        self.register_buffer("adjacency_CC", torch.from_numpy(modality.adjacency()), persistent=False)
        sensor_type_C = sensor_type_ids(modality.sensor_types) if set(modality.sensor_types) != {"eeg"} else None
        self.register_buffer("sensor_type_C", sensor_type_C, persistent=False)

    def encode(self, batch: Tensors) -> dict[str, Tensor]:
        """Return the encoder's intermediates of "filled_BCT", "mask_BCT", "ch_state_BC", perhaps "spectrogram_BRFS"."""
        return self.encoder(
            batch["filled_BCT"],
            self.position_C3,
            batch["ch_state_BC"],
            self.electrode_ids_C,
            mask_BCT=batch["mask_BCT"],
            adjacency_CC=self.adjacency_CC,
            sensor_type=self.sensor_type_C,
            spectrogram_BRFS=batch.get("spectrogram_BRFS"),
        )

    def reconstruct(self, batch: Tensors) -> Tensor:
        """Return the window with hidden samples predicted, shape (B, C, T)."""
        return self.heads["reconstruction"](self.encode(batch), batch)["reconstruction_BCT"]

    def forward(self, batch: Tensors) -> dict[str, Tensor]:
        """Return each head's sum of losses, scalars; batch also holds the truth, "x_BCT"."""
        batch = dict(batch)
        out = self.encode(batch)
        if "contrastive" in self.heads:
            batch["true_merged_BCND"] = self.encoder.embed(batch["x_BCT"])
        if "spectral" in self.heads:
            batch["true_spectra_BCNF"] = self.encoder.spectra(batch["x_BCT"])
        return {name: head.total(head(out, batch), batch) for name, head in self.heads.items()}

    def counts(self, batch: Tensors) -> dict[str, Tensor]:
        """Return what each head's sum is to be divided by, scalars."""
        return {name: head.count(batch) for name, head in self.heads.items()}
