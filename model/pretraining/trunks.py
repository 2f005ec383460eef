"""What pretraining heads can stand on: the encoder, or a ResNet1D-GRU in its place, as a control.

Shapes: B batch, C channel, T sample, S step of the network (a patch's length), N token, D width.
"""

from collections.abc import Callable
from typing import Any, Literal

import torch
from torch import Tensor, nn

from model.encoder import Encoder, check_input, pad_to_multiple
from model.encoder_config import EncoderConfig
from model.montage import Montage, electrode_ids
from model.supervised.resnet_gru import StepNetwork
from signals.modality import EEG_1020, Modality
from signals.window import ABSENT

Trunk = Literal["encoder", "resnet-gru"]


class ResNetTrunk(nn.Module):
    """The ResNet1D-GRU of `model.supervised` with tokens for the same heads: the control of planted truth.

    Its first convolution sums up all channels, so one row of features for each quarter of a second is all that it
    has; a linear layer reads the tokens of every channel from the four rows of a second, with weights of its own for
    each channel. So heads read the same places, at the same resolution and width, as of the encoder: a discharge in a
    slot of a channel, maps over the head. What a channel shows alone reaches its tokens through the shared rows only.
    It takes the electrodes of one modality in their order, no other montage, and knows no hidden samples: heads that
    fill samples or read the encoder's stem are not for it. There is no dropout, as in the encoder.

    Batch normalisation takes its statistics from a micro-batch: other than the encoder's, a step depends on how the
    batch is cut. Averaged weights keep the running statistics of the weights themselves.
    """

    ids_C: Tensor

    def __init__(self, config: EncoderConfig, modality: Modality = EEG_1020) -> None:
        """Take the width and the resolution of tokens from an encoder's configuration; the rest of it is not used.

        Raises ValueError where the network's steps are not as long as the encoder's patches.
        """
        super().__init__()
        self.config, self.ch_names = config, tuple(modality.ch_names)
        self.network = StepNetwork(modality.n_chans, dropout=0.0)
        if self.network.step_times != config.patch_times:
            raise ValueError(f"patch_times={config.patch_times} must be {self.network.step_times}, the network's step")
        self.tokens = nn.Linear(config.merge * self.network.dim, modality.n_chans * config.dim)
        self.norm = nn.LayerNorm(config.dim)
        self.register_buffer("ids_C", electrode_ids(modality.ch_names), persistent=False)

    def forward(self, x_BCT: Tensor, montage: Montage, **unused: Any) -> dict[str, Tensor]:
        """Return "tokens_BCND" of normalised windows, absent channels 0; takes what `Encoder.forward` does.

        Raises ValueError for other electrodes than the modality's, and as `check_input` does.
        """
        if not torch.compiler.is_compiling():
            check_input(x_BCT, montage.ch_state_BC)
            self._check(montage)
        present_BC = montage.ch_state_BC != ABSENT
        x_BCT = torch.where(present_BC[..., None], x_BCT, torch.zeros_like(x_BCT))
        x_BCT, _ = pad_to_multiple(x_BCT, None, self.config.token_times)
        seconds_BNF = self.network.steps(x_BCT).unflatten(1, (-1, self.config.merge)).flatten(2)
        tokens_BNCD = self.tokens(seconds_BNF).unflatten(-1, (len(self.ch_names), self.config.dim))
        return {"tokens_BCND": self.norm(tokens_BNCD.transpose(1, 2)) * present_BC[..., None, None]}

    def _check(self, montage: Montage) -> None:
        ids_BC = montage.electrode_ids_BC
        if ids_BC.shape[1] != len(self.ids_C) or not (ids_BC == self.ids_C).all():
            raise ValueError(f"the resnet-gru trunk takes the {len(self.ids_C)} electrodes {' '.join(self.ch_names)}")


TRUNKS: dict[Trunk, Callable[[EncoderConfig], nn.Module]] = {"encoder": Encoder, "resnet-gru": ResNetTrunk}
"""Trunks by name."""
