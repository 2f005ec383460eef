"""How a network on raw EEG looks at a window: derivations, band and clipping. It is a part of the model.

Shapes: B batch, C channel, D derivation, T sample.
"""

from typing import Literal, get_args

import torch
import torch.nn.functional as F
from scipy.signal import firwin
from torch import Tensor, nn

from signals.modality import Modality
from signals.montage.references import bipolar_matrix
from signals.window import ABSENT

Derivation = Literal["referential", "double-banana"]
_TRANSITION = 0.25
"""Width of the low-pass filter's slope, as a share of its edge."""


class View(nn.Module):
    """Absent channels are zero; then derivations, a zero-phase low-pass filter and soft clipping, each if requested.

    derivation: "double-banana" gives the 18 pairs of `signals.montage.references.DOUBLE_BANANA`; a pair that lacks
    an electrode is silent. low_pass_hz: edge of a symmetric FIR filter (Hamming window, -6 dB at the edge), 0 for
    none; the lower edge is the profile's. soft_clip: c tanh(x / c), in units of the normalised signal, 0 for none.
    """

    pairs_DC: Tensor
    taps_11T: Tensor

    def __init__(
        self, modality: Modality, *, derivation: str = "referential", low_pass_hz: float = 0.0, soft_clip: float = 0.0
    ) -> None:
        """Raise ValueError for an unknown derivation, a missing electrode, an edge beyond half the rate, a negative."""
        super().__init__()
        if derivation not in get_args(Derivation):
            raise ValueError(f"derivation={derivation!r} is none of {', '.join(get_args(Derivation))}")
        if not 0 <= low_pass_hz < modality.sfreq / 2:
            raise ValueError(f"low_pass_hz={low_pass_hz} must lie between 0 and {modality.sfreq / 2:g}")
        if soft_clip < 0:
            raise ValueError(f"soft_clip={soft_clip} must not be below 0")
        self.is_bipolar, self.low_pass_hz, self.soft_clip = derivation != "referential", low_pass_hz, soft_clip
        self.n_chans, self.ch_names = modality.n_chans, tuple(modality.ch_names)
        if self.is_bipolar:
            self.register_buffer("pairs_DC", torch.from_numpy(bipolar_matrix(modality.ch_names)))
            self.n_chans, self.ch_names = len(self.pairs_DC), ()
        if low_pass_hz:
            half = round(3.3 * modality.sfreq / (2 * _TRANSITION * low_pass_hz))
            taps = firwin(2 * half + 1, low_pass_hz, fs=modality.sfreq)
            self.register_buffer("taps_11T", torch.from_numpy(taps).float()[None, None])

    def forward(self, x_BCT: Tensor, ch_state_BC: Tensor) -> Tensor:
        """Return what the network sees, shape (B, D, T)."""
        present_BC = ch_state_BC != ABSENT
        x_BDT = torch.where(present_BC[..., None], x_BCT, 0.0)
        if self.is_bipolar:
            both_BD = present_BC.to(x_BDT) @ self.pairs_DC.abs().T > 1.5
            x_BDT = torch.where(both_BD[..., None], self.pairs_DC @ x_BDT, 0.0)
        if self.low_pass_hz:
            n_times = x_BDT.shape[-1]
            flat = F.conv1d(x_BDT.reshape(-1, 1, n_times), self.taps_11T, padding=self.taps_11T.shape[-1] // 2)
            x_BDT = flat.reshape(x_BDT.shape)
        return self.soft_clip * torch.tanh(x_BDT / self.soft_clip) if self.soft_clip else x_BDT
