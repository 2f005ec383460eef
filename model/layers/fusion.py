"""Gated fusion: EEG tokens listen to other sensors and to a spectrogram, and any of them may be absent.

Both reach the EEG by cross-attention behind a gate that starts closed (Alayrac et al. 2022, Flamingo, for images): at
initialisation, and for a window without the source, the EEG's tokens are exactly those of the encoder without it.

Shapes: B batch, C channel, N trunk token, D width, H head, Q query, M source token, L list of independent attentions,
R region, F frequency bin, S step of the spectrogram, E step width, G steps of a source token.
"""

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from signals.electrodes import CHAINS
from signals.spectrograms import REGIONAL_FREQS

SOURCES = ("sensors", "spectrogram")
"""What an encoder can be made to listen to."""
SENSOR_TYPES = ("eeg", "eog", "emg", "ecg")
EEG = SENSOR_TYPES.index("eeg")
STEP_S, GROUP_STEPS, STEP_WIDTH = 2.0, 10, 64
"""A spectrogram has a step every 2 s; ten of them, embedded at a width of 64 each, make a token."""


def sensor_type_ids(sensor_types: Sequence[str]) -> Tensor:
    """Return numbers in SENSOR_TYPES, int64, shape (n_chans,); raises ValueError for a type that is not there."""
    if unknown := set(sensor_types) - set(SENSOR_TYPES):
        raise ValueError(f"sensor types {sorted(unknown)} are none of {list(SENSOR_TYPES)}")
    return torch.tensor([SENSOR_TYPES.index(sensor_type) for sensor_type in sensor_types])


def check_spectrogram(x_BCT: Tensor, spectrogram: Tensor | None, fusion: Sequence[str]) -> None:
    """Raise ValueError, with the value and the rule, for a spectrogram that does not fit the signal or the encoder."""
    if spectrogram is None:
        return
    if "spectrogram" not in fusion:
        raise ValueError(f"a spectrogram came in, but the encoder has fusion={list(fusion)}")
    expected = (x_BCT.shape[0], len(CHAINS), len(REGIONAL_FREQS))
    if spectrogram.ndim != 4 or tuple(spectrogram.shape[:3]) != expected or not spectrogram.shape[3]:
        raise ValueError(f"spectrogram has shape {tuple(spectrogram.shape)}, not {expected} and at least one step")


class GatedCrossAttention(nn.Module):
    """Attention from one list of tokens to another, behind a gate."""

    def __init__(self, dim: int, n_heads: int, *, opened: float = 0.0) -> None:
        """opened: where the gate starts, 0 for shut; a model that is trained from nothing begins with open ones."""
        super().__init__()
        self.n_heads = n_heads
        self.query_norm, self.source_norm = nn.LayerNorm(dim), nn.LayerNorm(dim)
        self.query, self.key_value = nn.Linear(dim, dim), nn.Linear(dim, 2 * dim)
        self.out = nn.Linear(dim, dim)
        self.gate = nn.Parameter(torch.full((dim,), opened))

    def forward(self, x_LQD: Tensor, source_LMD: Tensor, there_LM: Tensor) -> Tensor:
        """Return what to add to x: exactly 0 while the gate is closed, and where no source token is there."""
        L, Q, D = x_LQD.shape
        any_L = there_LM.any(-1)
        q_LHQD = self.query(self.query_norm(x_LQD)).reshape(L, Q, self.n_heads, -1).transpose(1, 2)
        key_value = self.key_value(self.source_norm(source_LMD)).reshape(L, -1, 2, self.n_heads, D // self.n_heads)
        k_LHMD, v_LHMD = key_value.permute(2, 0, 3, 1, 4)
        # Attention to nothing is undefined: where nothing is there it goes to everything, and the result is dropped.
        allowed_LM = there_LM | ~any_L[:, None]
        mixed = F.scaled_dot_product_attention(q_LHQD, k_LHMD, v_LHMD, attn_mask=allowed_LM[:, None, None])
        heard_LQD = self.out(mixed.transpose(1, 2).reshape(L, Q, D)) * self.gate.tanh()
        return torch.where(any_L[:, None, None], heard_LQD, torch.zeros_like(heard_LQD))


class SensorFusion(nn.Module):
    """EEG tokens listen to the eyes, muscles and heart at the same token of time."""

    def __init__(self, dim: int, n_heads: int) -> None:
        super().__init__()
        self.kind = nn.Embedding(len(SENSOR_TYPES), dim)
        nn.init.normal_(self.kind.weight, std=0.02)
        self.cross = GatedCrossAttention(dim, n_heads)

    def forward(self, x_BCND: Tensor, is_eeg_BC: Tensor, present_BC: Tensor) -> Tensor:
        """Return the tokens; those of other channels than EEG as they were."""
        B, C, N, D = x_BCND.shape
        flat_LCD = x_BCND.transpose(1, 2).reshape(B * N, C, D)
        there_LC = (present_BC & ~is_eeg_BC)[:, None].expand(-1, N, -1).reshape(B * N, C)
        heard_BCND = self.cross(flat_LCD, flat_LCD, there_LC).reshape(B, N, C, D).transpose(1, 2)
        return x_BCND + heard_BCND * is_eeg_BC[..., None, None]


class SpectrogramFusion(nn.Module):
    """EEG tokens listen to the minutes around their window: tokens of a region and 20 s of its spectrogram.

    A spectrogram holds log10 µV²/Hz, NaN where nothing is known, and its middle is the window's. Its tokens know
    their region, their distance from the middle, and which of their bins are known; the EEG's tokens know their own
    distance from the middle.
    """

    def __init__(self, dim: int, n_heads: int, *, token_s: float) -> None:
        """token_s: length of an EEG token, seconds."""
        super().__init__()
        self.token_s = token_s
        self.step = nn.Linear(2 * len(REGIONAL_FREQS), STEP_WIDTH)
        self.group = nn.Linear(GROUP_STEPS * STEP_WIDTH, dim)
        self.region = nn.Embedding(len(CHAINS), dim)
        nn.init.normal_(self.region.weight, std=0.02)
        self.time = nn.Linear(2 * N_TIME_RATES, dim)
        self.cross = GatedCrossAttention(dim, n_heads)

    def forward(self, x_BCND: Tensor, spectrogram_BRFS: Tensor, hears_BC: Tensor) -> Tensor:
        """Return the tokens; those of channels that do not hear (other sensors, absent ones) as they were."""
        B, C, N, D = x_BCND.shape
        source_BMD, known_BM = self.tokens(spectrogram_BRFS.to(x_BCND))
        offset_N = (torch.arange(N, device=x_BCND.device, dtype=x_BCND.dtype) + 0.5 - N / 2) * self.token_s
        asking_BCND = x_BCND + self.time(_time_features(offset_N))
        heard_BQD = self.cross(asking_BCND.reshape(B, C * N, D), source_BMD, known_BM)
        return x_BCND + heard_BQD.reshape(B, C, N, D) * hears_BC[..., None, None]

    def tokens(self, spectrogram_BRFS: Tensor) -> tuple[Tensor, Tensor]:
        """Return source tokens, shape (B, M, D), and which of them know anything, bool, shape (B, M)."""
        B, R, _, n_steps = spectrogram_BRFS.shape
        known_BRFS = torch.isfinite(spectrogram_BRFS)
        # log10 µV²/Hz of EEG lies between about -2 and 4.
        values = torch.where(known_BRFS, (spectrogram_BRFS - 1.0) / 2.0, torch.zeros_like(spectrogram_BRFS))
        both_BRSF = torch.cat([values, known_BRFS.to(values)], 2).transpose(2, 3)
        missing = -n_steps % GROUP_STEPS
        both_BRSF = F.pad(both_BRSF, (0, 0, 0, missing))
        known_BRS = F.pad(known_BRFS.any(2), (0, missing))
        n_groups = (n_steps + missing) // GROUP_STEPS
        steps_BRSE = F.gelu(self.step(both_BRSF))
        token_BRND = self.group(steps_BRSE.reshape(B, R, n_groups, GROUP_STEPS * STEP_WIDTH))
        first_N = torch.arange(n_groups, device=values.device, dtype=values.dtype) * GROUP_STEPS
        # Step i lies (i - n_steps // 2) steps from the middle, which is a step's own centre.
        offset_N = (first_N + (GROUP_STEPS - 1) / 2 - n_steps // 2) * STEP_S
        token_BRND = token_BRND + self.region.weight[:, None] + self.time(_time_features(offset_N))
        known_BRN = known_BRS.reshape(B, R, n_groups, GROUP_STEPS).any(-1)
        return token_BRND.flatten(1, 2), known_BRN.flatten(1, 2)


N_TIME_RATES = 8


def _time_features(offset_N: Tensor) -> Tensor:
    """Return sines and cosines of seconds from the middle, periods of 8 to 1024 s, shape (N, 2 N_TIME_RATES)."""
    rates = 2 * math.pi / (8.0 * 2.0 ** torch.arange(N_TIME_RATES, device=offset_N.device, dtype=offset_N.dtype))
    angle = offset_N[:, None] * rates
    return torch.cat([angle.sin(), angle.cos()], -1)
