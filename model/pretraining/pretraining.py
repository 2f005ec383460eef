"""The encoder with its pretraining heads: sums of losses and what they are divided by (`model.heads`)."""

from collections.abc import Mapping

from torch import Tensor, nn

from model.encoder import Encoder
from model.heads import HEADS, Tensors
from model.montage import Montage
from model.pretraining.truth_heads import TRUTH_HEADS


class PretrainModel(nn.Module):
    """Runs the encoder on the masked signal and every head on its output; a batch holds its `Montage`."""

    def __init__(self, encoder: Encoder, weights: Mapping[str, float]) -> None:
        super().__init__()
        self.encoder, self.weights = encoder, dict(weights)
        self.heads = nn.ModuleDict({name: HEADS[name](encoder.config) for name in weights})

    def encode(self, batch: Tensors) -> dict[str, Tensor]:
        """Return the encoder's intermediates of "filled_BCT", "mask_BCT", perhaps "spectrogram_BRFS"."""
        return self.encoder(
            batch["filled_BCT"],
            Montage.from_batch(batch),
            mask_BCT=batch["mask_BCT"],
            spectrogram_BRFS=batch.get("spectrogram_BRFS"),
        )

    def reconstruct(self, batch: Tensors) -> Tensor:
        """Return the window with hidden samples predicted, shape (B, C, T)."""
        return self.heads["reconstruction"](self.encode(batch), batch)["reconstruction_BCT"]

    def predict(self, batch: Tensors) -> dict[str, Tensor]:
        """Return what the truth heads say of a batch, by the names of their results."""
        out = self.encode(batch)
        heads = [self.heads[name] for name in TRUTH_HEADS if name in self.heads]
        return {name: value for head in heads for name, value in head(out, batch).items()}

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
