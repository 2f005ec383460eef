"""EfficientNet on a window's own power over time and frequency, which the network makes from samples itself.

A spectrogram of 4-s frames shows a rhythm as a line and wipes out what sets periodic discharges apart from it: the
pauses. Here every frequency has a frame of a few of its own cycles (a scalogram), so that discharges up to about
2 a second are columns and slow rhythms are lines.

Shapes: B batch, C channel, P pair, R region, F frequency, S step of time, T sample, K class, D width.
"""

import numpy as np
import torch
from torch import Tensor, nn

from model.supervised.eegnet import Decimate
from model.supervised.efficientnet import SpectrogramNet
from model.supervised.networks import NetworkShape
from signals.electrodes import CHAINS

FREQS = np.geomspace(0.7, 20.0, 32)
"""Hz."""
FRAME_CYCLES, FRAME_S = 2.5, (0.3, 2.0)
"""Cycles that a frame holds, within a shortest and a longest frame."""
LOG_RANGE = (-6.0, 2.0)
"""log10 of power of a normalised signal; outside of it is cut off."""
_WORKING_HZ = 64.0


class ScalogramNet(nn.Module):
    """`SpectrogramNet` on the power of samples, of the label's span and some seconds around it."""

    def __init__(
        self,
        shape: NetworkShape,
        *,
        dropout: float = 0.3,
        width: float = 0.5,
        depth: float = 0.5,
        drop_connect: float = 0.0,
        step_s: float = 0.1875,
        context_s: float = 5.0,
    ) -> None:
        """Take EfficientNet's coefficients, the step of the image's columns, and how much is seen around the span."""
        super().__init__()
        self.power = ChainPower(shape, step_s=step_s)
        self.span = None if shape.span_s is None else tuple(round(s / self.power.step_s) for s in shape.span_s)
        self.context = round(context_s / self.power.step_s)
        self.image_net = SpectrogramNet(
            shape, dropout=dropout, width=width, depth=depth, drop_connect=drop_connect, layout="placed",
            image_size=(len(FREQS), self._n_columns(shape)), n_regions=self.power.n_regions, n_freqs=len(FREQS),
            log_range=LOG_RANGE,
        )  # fmt: skip

    def _n_columns(self, shape: NetworkShape) -> int:
        if self.span is not None:
            return max(self.span[1] - self.span[0] + 2 * self.context, len(FREQS))
        return max(round((shape.window_s or 0.0) / self.power.step_s), len(FREQS))

    def forward(self, x_BCT: Tensor) -> tuple[Tensor, Tensor]:
        """Return (logits_BK, embedding_BD); raises ValueError where the window ends before the span."""
        logits_BK, embedding_BD = self.image_net(self.around(self.power(x_BCT)))
        return logits_BK, embedding_BD

    def around(self, power_BRFS: Tensor) -> Tensor:
        """Return the columns of the label's span and its context."""
        if self.span is None:
            return power_BRFS
        start, stop = self.span
        if power_BRFS.shape[-1] < stop:
            raise ValueError(f"{power_BRFS.shape[-1]} steps end before the label's span, steps {self.span}")
        return power_BRFS[..., max(start - self.context, 0) : stop + self.context]

    @torch.no_grad()
    def standardise(self, x_BCT: Tensor) -> None:
        """Take from training windows what is usual at each frequency."""
        self.image_net.standardise(torch.cat([self.around(self.power(x_1CT)) for x_1CT in x_BCT.split(16)]))

    def stages(self) -> list[list[nn.Module]]:
        """Return the stages from input to output."""
        return self.image_net.stages()


class ChainPower(nn.Module):
    """log10 of the mean power of each chain's bipolar pairs every `step_s`; nothing of it is learnt.

    Without the chains' electrodes every channel is a region of its own.
    """

    pairs_PC: Tensor
    waves_FT: Tensor

    def __init__(self, shape: NetworkShape, *, step_s: float) -> None:
        super().__init__()
        self.decimate = Decimate(max(1, round(shape.sfreq / _WORKING_HZ)))
        sfreq = shape.sfreq / self.decimate.factor
        self.step = round(step_s * sfreq)
        self.step_s = self.step / sfreq
        pairs = chain_pairs(shape.ch_names)
        self.n_regions = shape.n_chans if pairs is None else len(CHAINS)
        matrix = np.eye(shape.n_chans) if pairs is None else pairs
        self.register_buffer("pairs_PC", torch.from_numpy(matrix).float())
        self.register_buffer("waves_FT", torch.from_numpy(waves(sfreq)).float())

    def forward(self, x_BCT: Tensor) -> Tensor:
        """Return log10 power, shape (B, R, F, S), NaN for a region without a complete pair.

        An absent channel is 0 throughout, as `model.supervised.view.View` leaves it.
        """
        here_BC = (x_BCT != 0).any(-1).to(x_BCT)
        here_BP = (here_BC @ self.pairs_PC.abs().T >= self.pairs_PC.abs().sum(1)).to(x_BCT)
        x_BPT = self.pairs_PC @ self.decimate(x_BCT)
        n_windows, n_pairs, n_times = x_BPT.shape
        n_taps = self.waves_FT.shape[-1]
        parts = nn.functional.conv1d(
            x_BPT.reshape(-1, 1, n_times), self.waves_FT[:, None], stride=self.step, padding=n_taps // 2
        )
        power = parts[:, : len(FREQS)].square() + parts[:, len(FREQS) :].square()
        power_BRPFS = power.reshape(n_windows, self.n_regions, n_pairs // self.n_regions, len(FREQS), -1)
        here_BRP = here_BP.reshape(n_windows, self.n_regions, -1)
        n_BR11 = here_BRP.sum(-1)[..., None, None]
        mean_BRFS = (power_BRPFS * here_BRP[..., None, None]).sum(2) / n_BR11.clamp(min=1)
        log_BRFS = mean_BRFS.clamp(min=10.0 ** LOG_RANGE[0]).log10()
        return torch.where(n_BR11 > 0, log_BRFS, torch.nan)


def chain_pairs(ch_names: tuple[str, ...]) -> np.ndarray | None:
    """Return the bipolar pairs of all chains, in order, shape (n_pairs, n_chans); None if an electrode is missing."""
    pairs = [pair for chain in CHAINS.values() for pair in chain]
    if not {name for pair in pairs for name in pair} <= set(ch_names):
        return None
    matrix = np.zeros((len(pairs), len(ch_names)))
    for row, (plus, minus) in enumerate(pairs):
        matrix[row, ch_names.index(plus)], matrix[row, ch_names.index(minus)] = 1.0, -1.0
    return matrix


def waves(sfreq: float) -> np.ndarray:
    """Return cosines, then sines, of `FREQS` in their frames (Hann), shape (2 x n_freqs, n_taps).

    A frame's middle is the middle of the taps, whose number is odd. A sine of amplitude 1 has a power of 1/4.
    """
    half = round(FRAME_S[1] * sfreq / 2)
    times = np.arange(-half, half + 1) / sfreq
    frame_s = np.clip(FRAME_CYCLES / FREQS, *FRAME_S)[:, None]
    frames = np.where(np.abs(times) < frame_s / 2, np.cos(np.pi * times / frame_s) ** 2, 0.0)
    frames /= frames.sum(axis=1, keepdims=True)
    phase = 2 * np.pi * FREQS[:, None] * times
    return np.concatenate([frames * np.cos(phase), frames * np.sin(phase)])
