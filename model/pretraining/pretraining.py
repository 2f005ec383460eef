"""The encoder, or a control in its place, with pretraining heads: sums of losses and their counts (`model.heads`)."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from model.heads import HEADS, Tensors
from model.montage import Montage
from model.pretraining import knowledge_head, latent_heads  # noqa: F401 (registers their heads)
from model.pretraining.recording_head import RECORDING_CONTRAST, RecordingHead
from model.pretraining.teacher import Teacher, frozen
from model.pretraining.trunks import ResNetTrunk
from model.pretraining.truth_heads import TRUTH_HEADS

_SAMPLES = ("reconstruction", "gaps")
_SPECTRA = ("spectral", "decibels")


class PretrainModel(nn.Module):
    """Runs the encoder on the masked signal and every head on its output; a batch holds its `Montage`."""

    encoder: Any
    """An `Encoder`, or a `ResNetTrunk` in its place."""
    teacher: Teacher | None = None
    """Whose latents and keys are predicted: until one is given, a copy of the model as it is at the first batch."""

    def __init__(
        self,
        encoder: nn.Module,
        weights: Mapping[str, float],
        *,
        mask_token: bool = False,
        options: Mapping[str, Mapping[str, Any]] | None = None,
    ) -> None:
        """Take the heads' weights; with a mask token hidden samples are not filled in (`Encoder.forward`).

        options: further arguments of heads, by their names. What heads measure besides has the weight 0. Raises
        ValueError for heads that a `ResNetTrunk` cannot serve: all but those of planted truth.
        """
        super().__init__()
        if isinstance(encoder, ResNetTrunk) and (others := [name for name in weights if name not in TRUTH_HEADS]):
            raise ValueError(f"the resnet-gru trunk serves the heads {TRUTH_HEADS}, not {others}")
        self.encoder, options = encoder, options or {}
        self.heads = nn.ModuleDict({name: HEADS[name](encoder.config, **options.get(name, {})) for name in weights})
        measures = [measure for head in self.heads.values() for measure in head.measures]
        self.weights = {**weights, **dict.fromkeys(measures, 0.0)}
        if mask_token:
            self.mask_token_D = nn.Parameter(0.02 * torch.randn(encoder.config.dim))

    def encode(self, batch: Tensors) -> dict[str, Tensor]:
        """Return the encoder's intermediates of "filled_BCT", "mask_BCT", perhaps "spectrogram_BRFS"."""
        return self.encoder(
            batch["filled_BCT"],
            Montage.from_batch(batch),
            mask_BCT=batch["mask_BCT"],
            spectrogram_BRFS=batch.get("spectrogram_BRFS"),
            mask_token_D=getattr(self, "mask_token_D", None),
        )

    @property
    def fills_gaps(self) -> bool:
        """Whether a head predicts samples of gaps."""
        return any(name in self.heads for name in _SAMPLES)

    @property
    def fills_channels(self) -> bool:
        """Whether a head predicts the samples of channels that are hidden entirely."""
        return "reconstruction" in self.heads

    def reconstruct(self, batch: Tensors) -> Tensor:
        """Return the window with hidden samples predicted, shape (B, C, T); raises ValueError where no head does."""
        for name in _SAMPLES:
            if name in self.heads:
                return self.heads[name](self.encode(batch), batch)["reconstruction_BCT"]
        raise ValueError(f"none of the heads {list(self.heads)} predicts samples")

    def spectra(self, batch: Tensors) -> tuple[Tensor, Tensor] | None:
        """Return predicted and true log spectra of tokens, (B, C, N, F); None where no head predicts them."""
        for name in _SPECTRA:
            if name in self.heads:
                batch = {**batch, "true_spectra_BCNF": self.encoder.spectra(batch["x_BCT"])}
                return self.heads[name](self.encode(batch), batch)["spectra_BCNF"], batch["true_spectra_BCNF"]
        return None

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
        if any(name in self.heads for name in _SPECTRA):
            batch["true_spectra_BCNF"] = self.encoder.spectra(batch["x_BCT"])
        if "latents" in self.heads:
            batch["true_latents_BCND"] = self.latents(batch)
        totals: dict[str, Tensor] = {}
        for name, head in self.heads.items():
            results = head(out, batch)
            totals |= {name: head.total(results, batch), **head.measured(results, batch)}
        return totals

    def latents(self, batch: Tensors) -> Tensor:
        """Return what the teacher makes of whole windows, (B, C, N, D)."""
        return self._taught().latents(batch)

    def keys(self, batch: Tensors) -> Tensor:
        """Return what the teacher makes of whole windows for others to find, (B, D), of unit length."""
        return self._taught().keys(batch)

    @property
    def key_width(self) -> int:
        """Width of keys; 0 where no head finds any."""
        return next((head.width for head in self.heads.values() if isinstance(head, RecordingHead)), 0)

    def _taught(self) -> Teacher:
        if self.teacher is None:
            head = frozen(self.heads[RECORDING_CONTRAST]) if self.key_width else None
            self.teacher = Teacher(self.encoder, head=head)
        return self.teacher

    def counts(self, batch: Tensors) -> dict[str, Tensor]:
        """Return what each sum is to be divided by, scalars."""
        counts: dict[str, Tensor] = {}
        for name, head in self.heads.items():
            counts |= dict.fromkeys((name, *head.measures), head.count(batch))
        return counts
