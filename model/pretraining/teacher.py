"""The teacher of latents: an encoder of averaged weights that sees the whole window.

It owns no weights: its parameters are the very tensors of a moving average of the student's
(`training.trainer.ema.WeightAverage`), which moves after each step, and is saved and resumed with a run. The encoder
that a run keeps in the end is the teacher.
"""

from collections.abc import Mapping
from copy import deepcopy

import torch
import torch.nn.functional as F
from torch import Tensor

from model.encoder import Encoder
from model.montage import Montage

N_BLOCKS = 3
"""Targets are means over the last blocks (at most so many): single layers make narrower ones."""


class Teacher:
    """Gives latents; not a module, so that it is neither trained, nor saved, nor counted with its student."""

    def __init__(self, student: Encoder, averages: Mapping[str, Tensor] | None = None) -> None:
        """Take the student's shape, and the averages of its parameters by name; a copy of its weights without."""
        self._encoder = deepcopy(student).eval().requires_grad_(False)
        for name, parameter in self._encoder.named_parameters():
            if averages is not None:
                parameter.data = averages[name]

    @torch.no_grad()
    def latents(self, batch: Mapping[str, Tensor]) -> Tensor:
        """Return "true_latents_BCND" of a batch of whole windows "x_BCT": each token of mean 0 and variance 1."""
        out = self._encoder(
            batch["x_BCT"],
            Montage.from_batch(batch),
            spectrogram_BRFS=batch.get("spectrogram_BRFS"),
            n_latent_blocks=N_BLOCKS,
        )
        latents_BCND = out["latents_BCND"].float()
        return F.layer_norm(latents_BCND, latents_BCND.shape[-1:])
