"""HuBERT (Hsu et al. 2021, doi:10.1109/TASLP.2021.3122291) over leads, and its pretraining: units of hidden frames.

transformers' own network by configuration, with drawn weights. Each lead is a sequence for itself. A frame is what the
convolutions make of one stretch of samples; its unit is the nearest of k centres in a space of features, which are
spectral at first and hidden states of a trained network in a second round. Spans of frames are hidden, and the network
predicts their units, by the cosine between its output and a vector per unit.

Shapes: B batch, C channel, T sample, N frame, D width, F feature, K unit.
"""

import json
import math
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from transformers import HubertConfig, HubertModel

from model.pretraining.draws import Draws

CONFIG_FILE, WEIGHTS_FILE = "config.json", "model.safetensors"
LEAD_MV = 0.25
"""What leads in mV are divided by (`signals.modality.FIXED_SCALE`)."""
N_COEFFICIENTS = 8
_FLOOR, _TEMPERATURE, _PROJECTED = 1e-4, 0.1, 64


@dataclass(frozen=True, kw_only=True)
class HubertShape:
    """Size of the network."""

    width: int = 256
    depth: int = 4
    conv: int = 128
    """Channels of the convolutions."""
    kernels: tuple[int, ...] = (10, 3, 3, 2)
    strides: tuple[int, ...] = (5, 2, 2, 2)

    def __post_init__(self) -> None:
        if len(self.kernels) != len(self.strides) or not self.kernels:
            raise ValueError(f"{len(self.kernels)} kernels for {len(self.strides)} strides")
        if self.width % 4:
            raise ValueError(f"width={self.width} is not a multiple of 4")

    @property
    def hop(self) -> int:
        """Samples from one frame to the next."""
        return math.prod(self.strides)

    @property
    def reach(self) -> int:
        """Samples that a frame is made of."""
        return 1 + sum((k - 1) * math.prod(self.strides[:i]) for i, k in enumerate(self.kernels))


class Hubert(nn.Module):
    """Leads in, tokens out: each lead alone."""

    def __init__(self, shape: HubertShape) -> None:
        super().__init__()
        self.shape = shape
        self.network = HubertModel(
            HubertConfig(
                hidden_size=shape.width, num_hidden_layers=shape.depth, num_attention_heads=4,
                intermediate_size=4 * shape.width, conv_dim=[shape.conv] * len(shape.kernels),
                conv_stride=list(shape.strides), conv_kernel=list(shape.kernels),
                num_feat_extract_layers=len(shape.kernels), num_conv_pos_embeddings=16,
                num_conv_pos_embedding_groups=4, hidden_dropout=0.0, attention_dropout=0.0, activation_dropout=0.0,
                feat_proj_dropout=0.0, layerdrop=0.0,
            )
        )  # fmt: skip

    def tokens(self, x_BCT: Tensor, mask_BCN: Tensor | None = None, *, layer: int = -1) -> Tensor:
        """Return the hidden states of a layer, by default the last, (B, C, N, D), of scaled leads.

        mask_BCN: frames that the network does not see.
        """
        B, C, T = x_BCT.shape
        self.network.config.apply_spec_augment = mask_BCN is not None  # without, none may be drawn
        flat = x_BCT.reshape(B * C, T)
        mask = None if mask_BCN is None else mask_BCN.flatten(0, 1)
        if layer == -1:
            out = self.network(flat, mask_time_indices=mask).last_hidden_state
        else:
            out = self.network(flat, mask_time_indices=mask, output_hidden_states=True).hidden_states[layer]
        return out.unflatten(0, (B, C))

    def forward(self, x_BCT: Tensor) -> Tensor:
        """Return a vector of each window, shape (B, D), of leads in mV: the mean over frames and leads."""
        return self.tokens(x_BCT / LEAD_MV).mean((1, 2))

    def save(self, folder: Path) -> None:
        """Write configuration and weights, to be read by `load_hubert`."""
        folder.mkdir(parents=True, exist_ok=True)
        (folder / CONFIG_FILE).write_text(json.dumps(asdict(self.shape)), encoding="utf-8")
        save_file({name: value.contiguous() for name, value in self.state_dict().items()}, folder / WEIGHTS_FILE)


def load_hubert(folder: Path) -> Hubert:
    """Return the network of a folder that `Hubert.save` wrote; raises ValueError where there is none."""
    if not (folder / CONFIG_FILE).is_file() or not (folder / WEIGHTS_FILE).is_file():
        raise ValueError(f"{folder} has no {CONFIG_FILE} and {WEIGHTS_FILE}")
    fields: dict[str, Any] = json.loads((folder / CONFIG_FILE).read_text(encoding="utf-8"))
    fields |= {name: tuple(fields[name]) for name in ("kernels", "strides")}
    network = Hubert(HubertShape(**fields))
    network.load_state_dict(load_file(folder / WEIGHTS_FILE))
    return network


def spectral_frames(x_BCT: Tensor, shape: HubertShape) -> Tensor:
    """Return features of the very samples that each frame is made of, shape (B, C, N, 2 `N_COEFFICIENTS`).

    The first cosines of the log spectrum, as mel-frequency coefficients without the mel scale, and how they change to
    the frames around.
    """
    stretches = x_BCT.unfold(-1, shape.reach, shape.hop)
    window = torch.hann_window(shape.reach, device=x_BCT.device)
    power = torch.fft.rfft(stretches * window).abs().square()
    lines = torch.log(power / window.sum() ** 2 + _FLOOR)
    n = lines.shape[-1]
    order = torch.arange(min(N_COEFFICIENTS, n), device=x_BCT.device)[:, None]
    at = torch.arange(n, device=x_BCT.device) + 0.5
    cosines = lines @ (torch.cos(torch.pi * order * at / n) * (2 / n) ** 0.5).T
    padded = torch.cat([cosines[:, :, :1], cosines, cosines[:, :, -1:]], 2)
    return torch.cat([cosines, (padded[:, :, 2:] - padded[:, :, :-2]) / 2], -1)


class Units(nn.Module):
    """Features of frames to units: the nearest of k centres, after features are put on one scale."""

    mean_F: Tensor
    scale_F: Tensor
    centre_KF: Tensor

    def __init__(self, n_units: int, n_features: int) -> None:
        super().__init__()
        self.register_buffer("mean_F", torch.zeros(n_features))
        self.register_buffer("scale_F", torch.ones(n_features))
        self.register_buffer("centre_KF", torch.zeros(n_units, n_features))

    def set(self, mean_F: Tensor, scale_F: Tensor, centre_KF: Tensor) -> None:
        """Take the scale of features and the centres, in scaled features."""
        for buffer, value in zip(
            (self.mean_F, self.scale_F, self.centre_KF), (mean_F, scale_F, centre_KF), strict=True
        ):
            buffer.copy_(value)

    def forward(self, features: Tensor) -> Tensor:
        """Return the unit of each frame, int64, of features of shape (..., F)."""
        scaled = ((features - self.mean_F) / self.scale_F).flatten(0, -2)
        return (
            torch.cdist(scaled, self.centre_KF, compute_mode="donot_use_mm_for_euclid_dist")
            .argmin(-1)
            .reshape(features.shape[:-1])
        )


class HubertPretraining(nn.Module):
    """The network with what it is pretrained by; `teacher`, of a second round, gives the features of units."""

    def __init__(self, encoder: Hubert, *, n_units: int, teacher: Hubert | None = None) -> None:
        super().__init__()
        self.encoder, self.teacher = encoder, teacher
        if teacher is not None:
            teacher.requires_grad_(False)
        n_features = 2 * min(N_COEFFICIENTS, encoder.shape.reach // 2 + 1)
        self.units = Units(n_units, n_features if teacher is None else teacher.shape.width)
        self.project = nn.Linear(encoder.shape.width, _PROJECTED)
        self.vectors = nn.Embedding(n_units, _PROJECTED)

    @torch.no_grad()
    def features(self, x_BCT: Tensor) -> Tensor:
        """Return what units are made of, (B, C, N, F): of a teacher, the hidden states half way up."""
        if self.teacher is None:
            return spectral_frames(x_BCT, self.encoder.shape)
        return self.teacher.eval().tokens(x_BCT, layer=self.teacher.shape.depth // 2)

    def logits(self, x_BCT: Tensor, mask_BCN: Tensor) -> Tensor:
        """Return the logits of the units of hidden frames, shape (n_hidden, K)."""
        out = self.project(self.encoder.tokens(x_BCT, mask_BCN)[mask_BCN])
        return F.normalize(out, dim=-1) @ F.normalize(self.vectors.weight, dim=-1).T / _TEMPERATURE


def hidden_frames(draws: Draws, shape: tuple[int, int, int], *, start_share: float, span: int) -> Tensor:
    """Return which frames are hidden, bool, shape (B, C, N): spans that may overlap, each lead for itself.

    start_share: chance of a frame to begin a span of `span` frames.
    """
    B, C, N = shape
    starts = draws.uniform("units", C * N).reshape(B, C, N) < start_share
    grown = F.max_pool1d(F.pad(starts.float(), (span - 1, 0)), span, stride=1)
    return grown > 0
