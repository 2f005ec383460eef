"""The teacher: an encoder of averaged weights that sees the whole window, and gives latents and keys.

It owns no weights: its parameters are the very tensors of a moving average of the student's
(`training.trainer.ema.WeightAverage`), which moves after each step, and is saved and resumed with a run. The encoder
that a run keeps in the end is the teacher.
"""

from collections.abc import Mapping
from copy import deepcopy
from typing import TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from model.encoder import Encoder
from model.montage import Montage

N_BLOCKS = 3
"""Targets are means over the last blocks (at most so many): single layers make narrower ones."""
Module = TypeVar("Module", bound=nn.Module)


def frozen(student: Module, averages: Mapping[str, Tensor] | None = None) -> Module:
    """Return a copy without gradients, whose parameters are the averages by name; of the same weights without any."""
    copied = deepcopy(student).eval().requires_grad_(False)
    for name, parameter in copied.named_parameters():
        if averages is not None:
            parameter.data = averages[name]
    return copied


class Teacher:
    """Gives latents and keys; not a module, so that it is neither trained, nor saved, nor counted with its student."""

    def __init__(
        self, student: Encoder, averages: Mapping[str, Tensor] | None = None, *, head: nn.Module | None = None
    ) -> None:
        """Take the student's shape and the averages of its parameters, and the `frozen` head that gives keys, if any.

        Without averages, the student's weights are copied.
        """
        self._encoder, self._head = frozen(student, averages), head

    @torch.no_grad()
    def latents(self, batch: Mapping[str, Tensor]) -> Tensor:
        """Return "true_latents_BCND" of a batch of whole windows "x_BCT": each token of mean 0 and variance 1."""
        latents_BCND = self._seen(batch, n_latent_blocks=N_BLOCKS)["latents_BCND"].float()
        return F.layer_norm(latents_BCND, latents_BCND.shape[-1:])

    @torch.no_grad()
    def keys(self, batch: Mapping[str, Tensor]) -> Tensor:
        """Return directions (B, D) of a batch of whole windows "x_BCT" (`model.pretraining.recording_head`)."""
        if self._head is None:
            raise ValueError("this teacher has no head that gives keys")
        direction_BD: Tensor = self._head(self._seen(batch), batch)["direction_BD"]
        return direction_BD

    def _seen(self, batch: Mapping[str, Tensor], *, n_latent_blocks: int = 0) -> dict[str, Tensor]:
        return self._encoder(
            batch["x_BCT"],
            Montage.from_batch(batch),
            spectrogram_BRFS=batch.get("spectrogram_BRFS"),
            n_latent_blocks=n_latent_blocks,
        )
