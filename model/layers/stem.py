"""The stem: from samples to patches and trunk tokens, amplitude kept.

Nothing in it normalises: the window was scaled as a whole and clipped when it was loaded, so that a token still knows
how large its samples were. Three convolutions shorten a patch of 64 samples to one step; after the first, at 64 Hz,
each channel gets mixtures of what the other channels' first filters passed; log spectra of a token's second and of the
four seconds around it come in beside them.

Shapes: B batch, C channel, M mixture, T sample, P patch (0.25 s), N trunk token (1 s), S sample, E stem width,
D width, F frequency bin.
"""

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from model.encoder_config import FIRST_WIDTH, EncoderConfig

SLOW_TOKENS, SLOW_SAMPLES = 4, 32
"""Slow rhythms need more than a second: each token also sees the spectrum of 4 tokens, thinned to 32 samples each."""
_KERNELS = (15, 7, 7)
_TYPICAL_LOG_AMPLITUDE = -2.2
"""Mean of the log amplitudes of windows that were scaled to unit variance."""


class Stem(nn.Module):
    """Embeds patches of the waveform, with mixtures of other channels, and merges them into trunk tokens."""

    spectrum_SF: Tensor
    slow_basis_SF: Tensor

    def __init__(self, config: EncoderConfig) -> None:
        super().__init__()
        self.config = config
        width = config.stem_dim
        strides = (4, 4, config.patch_times // 16)
        n_mixed = config.n_mixed if config.graph else 0
        widths = ((2, FIRST_WIDTH), (FIRST_WIDTH + n_mixed, inner_width(width)), (inner_width(width), width))
        self.convs = nn.ModuleList(
            Shortening(*widths[i], _KERNELS[i], strides[i], causal=config.causal) for i in range(3)
        )
        self.register_buffer("spectrum_SF", spectrum_basis(config))
        self.spectrum = nn.Linear(self.spectrum_SF.shape[1] // 2, config.dim)
        self.register_buffer("slow_basis_SF", slow_basis())
        self.slow = nn.Linear(self.slow_basis_SF.shape[1] // 2, config.dim)
        self.merge = nn.Linear(config.merge * width, config.dim)
        self._start()

    def _start(self) -> None:
        """Draw weights so that waveform and spectra come into a token equally large, and centred.

        With torch's own weights the waveform has a thousandth of the spectra's variance in a token, and nine tenths of
        a token are the same in every window: whatever follows hears little else for hundreds of steps.
        """
        for conv in self.convs:
            nn.init.kaiming_normal_(conv.weight, nonlinearity="relu")
            nn.init.zeros_(conv.bias)
        nn.init.kaiming_normal_(self.merge.weight, nonlinearity="linear")
        with torch.no_grad():
            for lines in (self.spectrum, self.slow):
                lines.bias.copy_(-_TYPICAL_LOG_AMPLITUDE * lines.weight.sum(1))

    def forward(self, x_BCT: Tensor, mask_BCT: Tensor | None, weight_BMCC: Tensor | None) -> tuple[Tensor, Tensor]:
        """Return patches "stem_BCPE" and trunk tokens "merged_BCND" of a signal that fills whole tokens.

        weight_BMCC: what channels (columns) weigh in the mixtures of others (rows); None where channels do not meet.
        """
        B, C, T = x_BCT.shape
        hidden_BCT = torch.zeros_like(x_BCT) if mask_BCT is None else mask_BCT.to(x_BCT)
        first_LET = self.convs[0](torch.stack([x_BCT, hidden_BCT], 2).reshape(B * C, 2, T))
        steps_LET = F.gelu(first_LET)
        if weight_BMCC is not None:
            steps_LET = torch.cat([steps_LET, self._mixed(first_LET, weight_BMCC)], 1)
        steps_LET = F.gelu(self.convs[1](steps_LET))
        stem_BCPE = F.gelu(self.convs[2](steps_LET)).transpose(1, 2).reshape(B, C, -1, self.config.stem_dim)
        fast_BCNF, slow_BCNF = self.spectra(x_BCT)
        groups_BCND = stem_BCPE.reshape(B, C, -1, self.config.merge * self.config.stem_dim)
        return stem_BCPE, self.merge(groups_BCND) + self.spectrum(fast_BCNF) + self.slow(slow_BCNF)

    def _mixed(self, first_LET: Tensor, weight_BMCC: Tensor) -> Tensor:
        """Return for each channel what the others' first filters passed, mixed, shape (L, M, T / 4)."""
        B, M, C, _ = weight_BMCC.shape
        passed_BMCT = first_LET[:, :M].reshape(B, C, M, -1).transpose(1, 2)
        return (weight_BMCC.to(passed_BMCT) @ passed_BMCT).transpose(1, 2).reshape(B * C, M, -1)

    def spectra(self, x_BCT: Tensor) -> tuple[Tensor, Tensor]:
        """Return log amplitudes of each token's second, and of the four seconds around it; whole tokens only."""
        seconds_BCNS = x_BCT.reshape(*x_BCT.shape[:2], -1, self.config.token_times)
        slow_BCNS = self._slow_stretches(seconds_BCNS)
        return _log_amplitude(seconds_BCNS, self.spectrum_SF), _log_amplitude(slow_BCNS, self.slow_basis_SF)

    def _slow_stretches(self, seconds_BCNS: Tensor) -> Tensor:
        """Return for each token the SLOW_TOKENS around it (or before it where causal), thinned to SLOW_SAMPLES each."""
        B, C, N, _ = seconds_BCNS.shape
        thinned = seconds_BCNS.reshape(B, C, N * SLOW_SAMPLES, -1).mean(-1)
        around = (SLOW_TOKENS - 1) * SLOW_SAMPLES
        before = around if self.config.causal else around // 2
        tokens = F.pad(thinned, (before, around - before)).reshape(B, C, -1, SLOW_SAMPLES)
        return torch.cat([tokens[:, :, i : N + i] for i in range(SLOW_TOKENS)], -1)


class Shortening(nn.Conv1d):
    """A convolution that shortens time by its stride; padded with zeros around, or before where causal."""

    def __init__(self, n_in: int, n_out: int, kernel: int, stride: int, *, causal: bool) -> None:
        super().__init__(n_in, n_out, kernel, stride)
        reach = kernel - stride
        self.reach = (reach, 0) if causal else (reach // 2, reach - reach // 2)

    def forward(self, x: Tensor) -> Tensor:
        """Return the shortened steps, shape (L, n_out, T / stride)."""
        return super().forward(F.pad(x, self.reach))


def inner_width(stem_dim: int) -> int:
    """Return how many channels the stem's second convolution has."""
    return max(1, stem_dim // 2)


def n_spectral_lines(config: EncoderConfig) -> int:
    """Return how many log amplitudes `Encoder.spectra` has a token."""
    return (spectrum_basis(config).shape[1] + slow_basis().shape[1]) // 2


def spectrum_basis(config: EncoderConfig) -> Tensor:
    """Return cosines and sines under a Hann window, so that a unit sine has power 1, shape (token_times, 2 F)."""
    n_times = config.token_times
    freqs = np.arange(0.0, config.max_freq + 1e-9, config.sfreq / n_times)
    phase_SF = 2 * np.pi * np.arange(n_times)[:, None] * freqs / config.sfreq
    return _windowed(phase_SF)


def slow_basis() -> Tensor:
    """Return the basis of every line but 0 up to half of the thinned rate's Nyquist: 0.25-8 Hz for tokens of 1 s."""
    n_times = SLOW_TOKENS * SLOW_SAMPLES
    phase_SF = 2 * np.pi * np.arange(n_times)[:, None] * np.arange(1, n_times // 4 + 1) / n_times
    return _windowed(phase_SF)


def _windowed(phase_SF: np.ndarray) -> Tensor:
    window_S1 = np.hanning(len(phase_SF) + 1)[:-1, None]
    basis = np.concatenate([np.cos(phase_SF), np.sin(phase_SF)], 1) * window_S1 * 2 / window_S1.sum()
    return torch.tensor(basis, dtype=torch.float32)


def _log_amplitude(x_BCNS: Tensor, basis_SF: Tensor) -> Tensor:
    """Return log amplitudes, shape (B, C, N, F); by a constant basis, since ONNX's opset 18 lacks torch.fft."""
    real, imag = (x_BCNS @ basis_SF).float().chunk(2, dim=-1)
    return 0.5 * torch.log(real.square() + imag.square() + 1e-3)
