"""The encoder: any montage and any length of biosignal in, representations of token, channel and window out.

Shapes: B batch, C channel, T sample, P patch (0.25 s), N trunk token (1 s), S sample of a patch, D width, E stem width,
H head, K neighbour, F frequency bin.

A hierarchical stem keeps sample-level detail cheap: patches of `patch_times` samples, each of which also sees half a
patch on either side, are embedded at width E; `merge` of them, with the spectra of their second and
of the four seconds around it, make one trunk token. The trunk alternates attention
over time (per channel, rotary positions: Su et al. 2021, RoFormer) and a graph layer over the electrodes (per token),
whose edge weights are learnt from content and geometry; in the middle of it, EEG tokens may listen to other sensors and
to a spectrogram (`model.layers.fusion`). A head that needs samples back adds the stem's patches again.

Memory grows linearly with the length as long as attention runs fused; its time grows with the square of N, so that
windows up to about ten minutes (N=600) are practical.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint
from transformers import PretrainedConfig, PreTrainedModel

from model.layers import adapters
from model.layers.fusion import EEG, SOURCES, SensorFusion, SpectrogramFusion, check_sources
from signals.electrodes import POSITIONS
from signals.window import ABSENT

SCHEMA_VERSION = 1
UNKNOWN_ELECTRODE = 0
SLOW_TOKENS, SLOW_SAMPLES = 4, 32
"""Slow rhythms need more than a second: each token also sees the spectrum of 4 tokens, thinned to 32 samples each."""
_ELECTRODE_IDS = {name: i + 1 for i, name in enumerate(POSITIONS)}


@dataclass(frozen=True, kw_only=True)
class Size:
    """Widths and depth of a named encoder size."""

    dim: int
    depth: int
    n_heads: int
    stem_dim: int


SIZES = {
    "tiny": Size(dim=128, depth=4, n_heads=4, stem_dim=96),
    "small": Size(dim=256, depth=5, n_heads=8, stem_dim=128),
    "base": Size(dim=512, depth=6, n_heads=8, stem_dim=192),
    "large": Size(dim=896, depth=8, n_heads=14, stem_dim=256),
}
"""About 1, 5, 25 and 100 million parameters."""


class EncoderConfig(PretrainedConfig):
    """Everything that decides the encoder's weights and their meaning."""

    model_type = "cerebeam-encoder"

    def __init__(
        self,
        dim: int = 128,
        depth: int = 4,
        n_heads: int = 4,
        stem_dim: int = 96,
        mlp_ratio: int = 4,
        patch_times: int = 64,
        merge: int = 4,
        sfreq: float = 256.0,
        max_freq: float = 50.0,
        n_neighbours: int = 6,
        temporal_heads: int | None = None,
        mlp_dim: int | None = None,
        key_dim: int | None = None,
        causal: bool = False,
        graph: bool = True,
        positions: bool = True,
        fusion: Sequence[str] = (),
        adapter: Mapping[str, Any] | None = None,
        gradient_checkpointing: bool = False,
        schema_version: int = SCHEMA_VERSION,
        **kwargs: Any,
    ) -> None:
        """Take the shape; `graph` and `positions` exist to be switched off where one asks what they are worth.

        Without `graph` channels exchange nothing; without `positions` a channel's embedding holds only whether it
        was measured. fusion: which of `model.layers.fusion.SOURCES` it can listen to. adapter: "kind" and "rank" of the
        adapters in its blocks, which `model.layers.adapters` puts there. Raises ValueError for contradictions and
        for another schema version than this code reads.
        """
        if dim % n_heads or (dim // n_heads) % 2:
            raise ValueError(f"dim={dim} must be n_heads={n_heads} times an even number")
        if patch_times % 2:
            raise ValueError(f"patch_times={patch_times} must be even")
        if temporal_heads is not None and not 1 <= temporal_heads <= n_heads:
            raise ValueError(f"temporal_heads={temporal_heads} must be at least 1 and at most n_heads={n_heads}")
        if schema_version != SCHEMA_VERSION:
            raise ValueError(f"the encoder has schema_version={schema_version}, this code reads {SCHEMA_VERSION}")
        self.dim, self.depth, self.n_heads, self.stem_dim = dim, depth, n_heads, stem_dim
        self.mlp_ratio, self.patch_times, self.merge = mlp_ratio, patch_times, merge
        self.sfreq, self.max_freq, self.n_neighbours = sfreq, max_freq, n_neighbours
        self.temporal_heads, self.mlp_dim, self.key_dim = temporal_heads, mlp_dim, key_dim
        self.causal, self.gradient_checkpointing = causal, gradient_checkpointing
        self.graph, self.positions = graph, positions
        if unknown := set(fusion) - set(SOURCES):
            raise ValueError(f"fusion names {sorted(unknown)}; sources are {list(SOURCES)}")
        if causal and "spectrogram" in fusion:
            raise ValueError("a causal encoder cannot listen to a spectrogram, which goes on after the window")
        self.fusion, self.adapter = list(fusion), None if adapter is None else dict(adapter)
        self.schema_version = schema_version
        super().__init__(**kwargs)

    @property
    def token_times(self) -> int:
        """Samples of one trunk token."""
        return self.patch_times * self.merge

    @property
    def head_dim(self) -> int:
        """Width of an attention head."""
        return self.dim // self.n_heads

    @property
    def widths(self) -> dict[str, int]:
        """Widths inside of every block: what `temporal_heads`, `mlp_dim`, `key_dim` are where they are not given.

        The number of heads of the attention over time, channels of the feed-forward, and channels of a head's keys in
        the graph layer: a pruned encoder has fewer of each than its `dim` asks for.
        """
        own = {"temporal_heads": self.n_heads, "mlp_dim": self.mlp_ratio * self.dim, "key_dim": self.head_dim}
        return {name: width if getattr(self, name) is None else getattr(self, name) for name, width in own.items()}


def sized(size: str, **overrides: Any) -> EncoderConfig:
    """Return the configuration of a named size; raises ValueError for a name that is not in `SIZES`."""
    if size not in SIZES:
        raise ValueError(f"size={size!r} is none of {sorted(SIZES)}")
    return EncoderConfig(**(asdict(SIZES[size]) | overrides))


def electrode_ids(ch_names: tuple[str, ...]) -> Tensor:
    """Return rows of the electrode identity table, int64, shape (n_chans,); unknown names share row 0."""
    return torch.tensor([_ELECTRODE_IDS.get(name, UNKNOWN_ELECTRODE) for name in ch_names])


def places(ch_names: Sequence[str], more: Mapping[str, Sequence[float]] | None = None) -> Tensor:
    """Return directions on the unit sphere of known electrodes (10-5 system) and given ones, float32, (n_chans, 3).

    given: directions by name (x to the right, y forwards, z up), for names that `signals.electrodes` does not know, or
    knows otherwise. Raises ValueError for a name without a place, and for a direction of no length.
    """
    positions = {**POSITIONS, **(more or {})}
    if missing := [name for name in ch_names if name not in positions]:
        raise ValueError(f"channels {missing} are no known electrodes: give their positions, or rename or drop them")
    position_C3 = torch.tensor([list(positions[name]) for name in ch_names], dtype=torch.float32)
    length_C1 = position_C3.norm(dim=-1, keepdim=True)
    if not (length_C1 > 0).all():
        raise ValueError(f"positions of {list(ch_names)} hold a direction of no length")
    return position_C3 / length_C1


def check_places(position_BC3: Tensor, needed_BC: Tensor) -> None:
    """Raise ValueError where an electrode that is there has no place."""
    wrong_BC = needed_BC & ~torch.isfinite(position_BC3).all(-1)
    if wrong_BC.any():
        b, c = (int(i) for i in torch.nonzero(wrong_BC)[0])
        raise ValueError(
            f"position is not finite in window {b}, channel {c}: give the electrode a place, or mark it absent"
        )


def check_input(x_BCT: Tensor, position: Tensor, ch_state_BC: Tensor) -> None:
    """Raise ValueError, with the value and the rule, for shapes that disagree or samples that are not finite."""
    if x_BCT.ndim != 3 or 0 in x_BCT.shape:
        raise ValueError(f"x has shape {tuple(x_BCT.shape)}, not (batch, n_chans, n_times) with at least one of each")
    if position.ndim not in (2, 3) or tuple(position.shape[-2:]) != (x_BCT.shape[1], 3):
        raise ValueError(f"position has shape {tuple(position.shape)}, not (..., n_chans={x_BCT.shape[1]}, 3)")
    if ch_state_BC.shape != x_BCT.shape[:2]:
        raise ValueError(f"ch_state has shape {tuple(ch_state_BC.shape)}, not {tuple(x_BCT.shape[:2])}")
    finite_BC = torch.isfinite(x_BCT).all(-1) | (ch_state_BC == ABSENT)
    if not finite_BC.all():
        b, c = (int(i) for i in torch.nonzero(~finite_BC)[0])
        raise ValueError(f"x holds NaN or infinity in window {b}, channel {c}, which is not marked absent")


class Encoder(PreTrainedModel):
    """Patches -> channel embedding -> blocks of temporal attention and electrode graph -> representations."""

    config_class = EncoderConfig
    base_model_prefix = "encoder"
    main_input_name = "x_BCT"

    def __init__(self, config: EncoderConfig) -> None:
        super().__init__(config)
        self.stem = Stem(config)
        self.channel_embedding = ChannelEmbedding(config)
        self.blocks = nn.ModuleList(Block(config) for _ in range(config.depth))
        self.norm = nn.LayerNorm(config.dim)
        # Last, so that the same seed gives the same weights with them and without.
        if "sensors" in config.fusion:
            self.sensors = SensorFusion(config.dim, config.n_heads)
        if "spectrogram" in config.fusion:
            token_s = config.token_times / config.sfreq
            self.spectrogram = SpectrogramFusion(config.dim, config.n_heads, token_s=token_s)
        if config.adapter is not None:
            adapters.insert(self, **config.adapter)
        self.post_init()

    def _init_weights(self, module: nn.Module) -> None:
        """Leave initialisation to the modules themselves."""

    def forward(
        self,
        x_BCT: Tensor,
        position: Tensor,
        ch_state_BC: Tensor,
        electrode_ids_C: Tensor | None = None,
        mask_BCT: Tensor | None = None,
        adjacency_CC: Tensor | None = None,
        sensor_type: Tensor | None = None,
        spectrogram_BRFS: Tensor | None = None,
    ) -> dict[str, Tensor]:
        """Return named intermediates of a batch of windows.

        x_BCT: normalised signal, finite wherever a channel is not absent; a length that is no multiple of
            `token_times` is padded with zeros that are marked as hidden.
        position: unit vectors (`places`), shape (C, 3) or (B, C, 3); needed for EEG channels that are present.
        ch_state_BC: ABSENT, INTERPOLATED or MEASURED; absent channels reach no other channel and no average.
        electrode_ids_C: rows of the identity table (`electrode_ids`), shape (C,) or (B, C); unknown without.
        mask_BCT: True at hidden samples (whose values in x_BCT are a filling). adjacency_CC: True at neighbours;
            without it, the `n_neighbours` nearest electrodes that are there.
        sensor_type: numbers in `model.layers.fusion.SENSOR_TYPES`, shape (C,) or (B, C); all EEG without. Other
        sensors are
            no part of the electrode graph, nor of "window_BD"; an encoder that cannot listen to them leaves them out.
        spectrogram_BRFS: log10 µV²/Hz of 4 regions in 100 bins and steps of 2 s, NaN where nothing is known.

        "stem_BCPE" patches, "merged_BCND" trunk tokens before channel embedding and blocks, "tokens_BCND",
        "channels_BCD" means over time, "window_BD" mean over EEG channels. Raises ValueError as `check_input`,
        `check_sources` and `check_places` do.
        """
        if not torch.compiler.is_compiling():  # questions to the values would break the graph
            check_input(x_BCT, position, ch_state_BC)
            check_sources(x_BCT, sensor_type, spectrogram_BRFS, self.config.fusion)
        if not torch.compiler.is_exporting():
            x_BCT, mask_BCT = pad_to_multiple(x_BCT, mask_BCT, self.config.token_times)
        present_BC = ch_state_BC != ABSENT
        is_eeg_BC = None if sensor_type is None else (sensor_type == EEG).expand_as(present_BC)
        if is_eeg_BC is not None and "sensors" not in self.config.fusion:
            present_BC = present_BC & is_eeg_BC
        eeg_BC = present_BC if is_eeg_BC is None else present_BC & is_eeg_BC
        x_BCT = torch.where(present_BC[..., None], x_BCT, torch.zeros_like(x_BCT))
        position_BC3 = position.to(x_BCT).expand(x_BCT.shape[0], -1, -1)
        if not torch.compiler.is_compiling():
            check_places(position_BC3, eeg_BC)
        position_BC3 = torch.where(eeg_BC[..., None], position_BC3, torch.zeros_like(position_BC3))
        stem_BCPE, merged_BCND = self.stem(x_BCT, mask_BCT)
        embedding_BCD = self.channel_embedding(position_BC3, ch_state_BC, electrode_ids_C)
        if sensor_type is not None and is_eeg_BC is not None and "sensors" in self.config.fusion:
            kind_BCD = self.sensors.kind(sensor_type).expand_as(embedding_BCD)
            embedding_BCD = torch.where(is_eeg_BC[..., None], embedding_BCD, kind_BCD)
        x_BCND = merged_BCND + embedding_BCD[:, :, None]
        graph = Graph.of(position_BC3, eeg_BC, is_eeg_BC, adjacency_CC, self.config.n_neighbours)
        for number, block in enumerate(self.blocks):
            if number == len(self.blocks) // 2:
                x_BCND = self._fuse(x_BCND, is_eeg_BC, present_BC, spectrogram_BRFS)
            if self.config.gradient_checkpointing and self.training:
                x_BCND = checkpoint(block, x_BCND, graph, use_reentrant=False)
            else:
                x_BCND = block(x_BCND, graph)
        tokens_BCND = self.norm(x_BCND) * present_BC[..., None, None]
        channels_BCD = tokens_BCND.mean(2)
        window_BD = (channels_BCD * eeg_BC[..., None]).sum(1) / eeg_BC.sum(1, keepdim=True).clamp(min=1)
        return {
            "stem_BCPE": stem_BCPE,
            "merged_BCND": merged_BCND,
            "tokens_BCND": tokens_BCND,
            "channels_BCD": channels_BCD,
            "window_BD": window_BD,
        }

    def _fuse(
        self, x_BCND: Tensor, is_eeg_BC: Tensor | None, present_BC: Tensor, spectrogram_BRFS: Tensor | None
    ) -> Tensor:
        """Let EEG tokens listen to the sources that came in."""
        if is_eeg_BC is not None and "sensors" in self.config.fusion:
            x_BCND = self.sensors(x_BCND, is_eeg_BC, present_BC)
        if spectrogram_BRFS is not None:
            hears_BC = present_BC if is_eeg_BC is None else present_BC & is_eeg_BC
            x_BCND = self.spectrogram(x_BCND, spectrogram_BRFS, hears_BC)
        return x_BCND

    def spectra(self, x_BCT: Tensor) -> Tensor:
        """Return the log spectra that the stem sees of a whole signal, (B, C, N, F)."""
        return torch.cat(self.stem.spectra(pad_to_multiple(x_BCT, None, self.config.token_times)[0]), -1)

    def embed(self, x_BCT: Tensor) -> Tensor:
        """Return the stem's trunk tokens of a whole signal, before channel embedding and blocks, "merged_BCND"."""
        return self.stem(*pad_to_multiple(x_BCT, None, self.config.token_times))[1]


def pad_to_multiple(x_BCT: Tensor, mask_BCT: Tensor | None, n_times: int) -> tuple[Tensor, Tensor | None]:
    """Return signal and mask padded at the end to a multiple of `n_times` samples; padding is marked as hidden."""
    missing = -x_BCT.shape[-1] % n_times
    if missing:
        mask_BCT = torch.zeros_like(x_BCT, dtype=torch.bool) if mask_BCT is None else mask_BCT
        return F.pad(x_BCT, (0, missing)), F.pad(mask_BCT, (0, missing), value=True)
    return x_BCT, mask_BCT


class Stem(nn.Module):
    """Embeds patches of the waveform and merges them, with the log spectrum of their second, into trunk tokens."""

    spectrum_SF: Tensor
    slow_basis_SF: Tensor

    def __init__(self, config: EncoderConfig) -> None:
        super().__init__()
        self.config = config
        width = config.stem_dim
        self.wave = nn.Linear(2 * config.patch_times, 2 * width)
        self.hidden = nn.Linear(2 * config.patch_times, 2 * width, bias=False)
        self.mix = nn.Linear(2 * width, width)
        self.norm = nn.LayerNorm(width)
        self.register_buffer("spectrum_SF", _spectrum_basis(config))
        self.spectrum = nn.Linear(self.spectrum_SF.shape[1] // 2, config.dim)
        self.register_buffer("slow_basis_SF", _slow_basis())
        self.slow = nn.Linear(self.slow_basis_SF.shape[1] // 2, config.dim)
        self.merge = nn.Linear(config.merge * width, config.dim)

    def forward(self, x_BCT: Tensor, mask_BCT: Tensor | None) -> tuple[Tensor, Tensor]:
        """Return patches "stem_BCPE" and trunk tokens "merged_BCND" of a signal that fills whole tokens."""
        B, C = x_BCT.shape[:2]
        wide_BCPE = self.wave(self._patches(x_BCT))
        if mask_BCT is not None:
            wide_BCPE = wide_BCPE + self.hidden(self._patches(mask_BCT.to(x_BCT)))
        stem_BCPE = self.norm(self.mix(F.gelu(wide_BCPE)))
        fast_BCNF, slow_BCNF = self.spectra(x_BCT)
        groups_BCND = stem_BCPE.reshape(B, C, -1, self.config.merge * self.config.stem_dim)
        return stem_BCPE, self.merge(groups_BCND) + self.spectrum(fast_BCNF) + self.slow(slow_BCNF)

    def spectra(self, x_BCT: Tensor) -> tuple[Tensor, Tensor]:
        """Return log amplitudes of each token's second, and of the four seconds around it; whole tokens only."""
        seconds_BCNS = x_BCT.reshape(*x_BCT.shape[:2], -1, self.config.token_times)
        slow_BCNS = self._slow_stretches(seconds_BCNS)
        return _log_amplitude(seconds_BCNS, self.spectrum_SF), _log_amplitude(slow_BCNS, self.slow_basis_SF)

    def _slow_stretches(self, seconds_BCNS: Tensor) -> Tensor:
        """Return for each token the SLOW_TOKENS around it (or before it where causal), thinned to SLOW_SAMPLES each."""
        thinned = seconds_BCNS.unflatten(-1, (SLOW_SAMPLES, -1)).mean(-1).flatten(2)
        around = (SLOW_TOKENS - 1) * SLOW_SAMPLES
        before = around if self.config.causal else around // 2
        tokens = F.pad(thinned, (before, around - before)).unflatten(-1, (-1, SLOW_SAMPLES))
        last = tokens.shape[2] - SLOW_TOKENS + 1
        return torch.cat([tokens[:, :, i : last + i] for i in range(SLOW_TOKENS)], -1)

    def _patches(self, x_BCT: Tensor) -> Tensor:
        """Return patches with half a patch of context on either side, or all of it before where causal."""
        B, C = x_BCT.shape[:2]
        patch = self.config.patch_times
        if self.config.causal:
            whole_BCPS = x_BCT.reshape(B, C, -1, patch)
            return torch.cat([F.pad(whole_BCPS, (0, 0, 1, 0))[:, :, :-1], whole_BCPS], -1)
        half = patch // 2
        padded_BCT = F.pad(x_BCT, (half, half))
        before_BCPS = padded_BCT[..., :-patch].reshape(B, C, -1, patch)
        after_BCPS = padded_BCT[..., patch:].reshape(B, C, -1, patch)
        return torch.cat([before_BCPS, after_BCPS], -1)


def n_spectral_lines(config: EncoderConfig) -> int:
    """Return how many log amplitudes `Encoder.spectra` has a token."""
    return (_spectrum_basis(config).shape[1] + _slow_basis().shape[1]) // 2


def _spectrum_basis(config: EncoderConfig) -> Tensor:
    """Return cosines and sines under a Hann window, so that a unit sine has power 1, shape (token_times, 2 F)."""
    n_times = config.token_times
    freqs = np.arange(0.0, config.max_freq + 1e-9, config.sfreq / n_times)
    phase_SF = 2 * np.pi * np.arange(n_times)[:, None] * freqs / config.sfreq
    return _windowed(phase_SF)


def _slow_basis() -> Tensor:
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


class ChannelEmbedding(nn.Module):
    """Who a channel is: electrode identity, place on the head, and whether it was measured."""

    frequencies: Tensor

    def __init__(self, config: EncoderConfig, n_freqs: int = 4) -> None:
        super().__init__()
        dim, self.positions = config.dim, config.positions
        if self.positions:
            self.identity = nn.Embedding(len(_ELECTRODE_IDS) + 1, dim)
        self.state = nn.Embedding(3, dim)
        if self.positions:
            nn.init.normal_(self.identity.weight, std=0.02)
        nn.init.normal_(self.state.weight, std=0.02)
        if not self.positions:
            return
        self.register_buffer("frequencies", np.pi * 2.0 ** torch.arange(n_freqs) / 2)
        self.place = nn.Sequential(nn.Linear(3 + 6 * n_freqs, dim), nn.GELU(), nn.Linear(dim, dim))

    def forward(self, position_BC3: Tensor, ch_state_BC: Tensor, electrode_ids: Tensor | None) -> Tensor:
        """Return one vector a channel, shape (B, C, D)."""
        state_BCD = self.state(ch_state_BC.long())
        if not self.positions:
            return state_BCD
        angle = (position_BC3[..., None] * self.frequencies).flatten(-2)
        place_BCD = self.place(torch.cat([position_BC3, angle.sin(), angle.cos()], -1))
        if electrode_ids is None:
            electrode_ids = torch.full_like(ch_state_BC, UNKNOWN_ELECTRODE, dtype=torch.long)
        return place_BCD + self.identity(electrode_ids) + state_BCD


@dataclass(frozen=True)
class Graph:
    """Neighbourhood of a batch of montages: who may listen to whom, and the geometry that weighs it."""

    allowed_BCC: Tensor
    geometry_BCCG: Tensor
    is_eeg_BC: Tensor | None
    """Which channels are electrodes of the graph at all; None for all of them."""

    @classmethod
    def of(
        cls,
        position_BC3: Tensor,
        present_BC: Tensor,
        is_eeg_BC: Tensor | None,
        adjacency_CC: Tensor | None,
        n_neighbours: int,
    ) -> "Graph":
        """Build the graph over present electrodes; every one is its own neighbour."""
        cosine_BCC = position_BC3 @ position_BC3.transpose(1, 2)
        itself_CC = torch.eye(cosine_BCC.shape[1], dtype=torch.bool, device=cosine_BCC.device)
        if adjacency_CC is None:
            adjacent_BCC = _nearest(cosine_BCC.masked_fill(~present_BC[:, None, :] | itself_CC, -2.0), n_neighbours)
        else:
            adjacent_BCC = adjacency_CC.to(torch.bool).expand_as(cosine_BCC)
        offset_BCC3 = position_BC3[:, None, :] - position_BC3[:, :, None]
        opposite_BCC = position_BC3[:, :, None, 0] * position_BC3[:, None, :, 0]
        geometry = torch.cat([cosine_BCC[..., None], opposite_BCC[..., None], offset_BCC3], -1)
        return cls((adjacent_BCC & present_BC[:, None, :]) | itself_CC, geometry, is_eeg_BC)


def _nearest(cosine_BCC: Tensor, n_neighbours: int) -> Tensor:
    """Return a symmetric neighbourhood of the `n_neighbours` nearest electrodes on the sphere."""
    n_neighbours = min(n_neighbours, cosine_BCC.shape[-1] - 1)
    if n_neighbours == 0:
        return torch.zeros_like(cosine_BCC, dtype=torch.bool)
    farthest = cosine_BCC.topk(n_neighbours, dim=-1).values[..., -1:]
    near_BCC = (cosine_BCC >= farthest) & (cosine_BCC > -1.5)
    return near_BCC | near_BCC.transpose(1, 2)


class Block(nn.Module):
    """Pre-norm residual block: attention over time, graph layer over electrodes, feed-forward."""

    def __init__(self, config: EncoderConfig) -> None:
        super().__init__()
        self.temporal_norm = nn.LayerNorm(config.dim)
        self.temporal = TemporalAttention(config)
        self.graph = config.graph
        if self.graph:
            self.spatial_norm = nn.LayerNorm(config.dim)
            self.spatial = SpatialGraph(config)
        self.mlp_norm = nn.LayerNorm(config.dim)
        # Places for `model.layers.adapters`.
        self.temporal_adapter: nn.Module | None = None
        self.mlp_adapter: nn.Module | None = None
        width = config.widths["mlp_dim"]
        self.mlp = nn.Sequential(nn.Linear(config.dim, width), nn.GELU(), nn.Linear(width, config.dim))

    def forward(self, x_BCND: Tensor, graph: Graph) -> Tensor:
        """Return the tokens after attention, graph and feed-forward, same shape."""
        temporal_BCND = self.temporal(self.temporal_norm(x_BCND))
        if self.temporal_adapter is not None:
            temporal_BCND = self.temporal_adapter(temporal_BCND)
        x_BCND = x_BCND + temporal_BCND
        if self.graph:
            spatial_BCND = self.spatial(self.spatial_norm(x_BCND), graph)
            if graph.is_eeg_BC is not None:
                spatial_BCND = spatial_BCND * graph.is_eeg_BC[..., None, None]
            x_BCND = x_BCND + spatial_BCND
        mlp_BCND = self.mlp(self.mlp_norm(x_BCND))
        return x_BCND + (mlp_BCND if self.mlp_adapter is None else self.mlp_adapter(mlp_BCND))


class TemporalAttention(nn.Module):
    """Multi-head attention over the tokens of one channel, with rotary positions."""

    def __init__(self, config: EncoderConfig) -> None:
        super().__init__()
        self.n_heads, self.causal = config.widths["temporal_heads"], config.causal
        width = self.n_heads * config.head_dim
        self.qkv = nn.Linear(config.dim, 3 * width)
        self.out = nn.Linear(width, config.dim)

    def forward(self, x_BCND: Tensor) -> Tensor:
        """Return tokens mixed over time, same shape."""
        B, C, N, _ = x_BCND.shape
        qkv = self.qkv(x_BCND).reshape(B * C, N, 3, self.n_heads, -1)
        q_BHND, k_BHND, v_BHND = qkv.permute(2, 0, 3, 1, 4)
        mixed = F.scaled_dot_product_attention(rotate(q_BHND), rotate(k_BHND), v_BHND, is_causal=self.causal)
        return self.out(mixed.transpose(1, 2).reshape(B, C, N, -1))


def rotate(x_BHND: Tensor) -> Tensor:
    """Return queries or keys turned by angles that grow with their position (rotary embedding)."""
    n_tokens, half = x_BHND.shape[-2], x_BHND.shape[-1] // 2
    rate = 1000.0 ** (-torch.arange(half, device=x_BHND.device, dtype=torch.float32) / half)
    angle_ND = torch.arange(n_tokens, device=x_BHND.device, dtype=torch.float32)[:, None] * rate
    cos, sin = angle_ND.cos().to(x_BHND), angle_ND.sin().to(x_BHND)
    even, odd = x_BHND[..., :half], x_BHND[..., half:]
    return torch.cat([even * cos - odd * sin, even * sin + odd * cos], -1)


class SpatialGraph(nn.Module):
    """Graph layer over the electrodes of one token: torch-geometric's dense convolution with learnt edge weights."""

    def __init__(self, config: EncoderConfig) -> None:
        super().__init__()
        from torch_geometric.nn.dense.dense_graph_conv import DenseGraphConv  # takes seconds to import

        self.n_heads = config.n_heads
        self.query_key = nn.Linear(config.dim, 2 * config.n_heads * config.widths["key_dim"])
        self.edge = nn.Sequential(nn.Linear(5, 32), nn.GELU(), nn.Linear(32, config.n_heads))
        self.conv = DenseGraphConv(config.head_dim, config.head_dim)
        self.out = nn.Linear(config.dim, config.dim)

    def forward(self, x_BCND: Tensor, graph: Graph) -> Tensor:
        """Return tokens mixed over neighbouring channels, same shape."""
        B, C, N, D = x_BCND.shape
        H = self.n_heads
        q_BNHCD, k_BNHCD = self.query_key(x_BCND).reshape(B, C, N, 2, H, -1).permute(3, 0, 2, 4, 1, 5)
        score_BNHCC = q_BNHCD @ k_BNHCD.transpose(-1, -2) * (D // H) ** -0.5
        score_BNHCC = score_BNHCC + self.edge(graph.geometry_BCCG).permute(0, 3, 1, 2)[:, None]
        score_BNHCC = score_BNHCC.float().masked_fill(~graph.allowed_BCC[:, None, None], -1e9)
        weight = score_BNHCC.softmax(-1).to(x_BCND).reshape(-1, C, C)
        value = x_BCND.reshape(B, C, N, H, D // H).permute(0, 2, 3, 1, 4).reshape(-1, C, D // H)
        mixed_BNHCD = self.conv(value, weight).reshape(B, N, H, C, D // H)
        return self.out(mixed_BNHCD.permute(0, 3, 1, 2, 4).reshape(B, C, N, D))
