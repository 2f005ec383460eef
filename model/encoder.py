"""The encoder: any montage and any length of biosignal in, representations of token, channel and window out.

Channels meet three times. Their relations, small vectors of pairs from place and from the covariance of the window
(`model.layers.relations`), weigh mixtures of the other channels' filtered samples, which each channel's stem sees
beside its own; they bias the attention over channels in every block of the trunk; and a head that fills hidden channels
weighs samples by them again. The stem (`model.layers.stem`) makes patches of a quarter of a second at width E,
amplitude kept; `merge` of them, with log spectra, make one trunk token. A block (`model.layers.blocks`) is attention
over time (rotary positions), attention over channels, and feed-forward; before the middle one, EEG tokens may listen to
other sensors and to a spectrogram (`model.layers.fusion`).

Shapes: B batch, C channel, T sample, P patch (0.25 s), N trunk token (1 s), D width, E stem width, M mixture,
R width of a relation.

Memory grows linearly with the length as long as attention runs fused; its time grows with the square of N, so that
windows up to about ten minutes (N=600) are practical.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint
from transformers import PreTrainedModel

from model.encoder_config import EncoderConfig
from model.layers import adapters
from model.layers.blocks import Block, Company
from model.layers.channel_embedding import ChannelEmbedding
from model.layers.fusion import SensorFusion, SpectrogramFusion, check_spectrogram
from model.layers.relations import Mixing, Relations
from model.layers.stem import Stem
from model.montage import Montage
from signals.window import ABSENT


class Encoder(PreTrainedModel):
    """Relations and mixtures -> stem -> channel embedding -> blocks -> representations."""

    config_class = EncoderConfig
    base_model_prefix = "encoder"
    main_input_name = "x_BCT"

    def __init__(self, config: EncoderConfig) -> None:
        super().__init__(config)
        if config.graph:
            self.relations = Relations(config)
            self.mixing = Mixing(config.relation_dim, config.n_mixed)
        self.stem = Stem(config)
        self.channel_embedding = ChannelEmbedding(config)
        self.blocks = nn.ModuleList(Block(config) for _ in range(config.depth))
        self.drop_paths(config.drop_path)
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

    def drop_paths(self, chance: float) -> None:
        """Leave branches of the last block out with this chance in training, of earlier ones less."""
        for number, block in enumerate(self.blocks):
            block.drop.chance = chance * number / max(1, len(self.blocks) - 1)

    def _init_weights(self, module: nn.Module) -> None:
        """Leave initialisation to the modules themselves."""

    def forward(
        self,
        x_BCT: Tensor,
        montage: Montage,
        *,
        mask_BCT: Tensor | None = None,
        spectrogram_BRFS: Tensor | None = None,
        mask_token_D: Tensor | None = None,
        n_latent_blocks: int = 0,
    ) -> dict[str, Tensor]:
        """Return named intermediates of a batch of windows.

        x_BCT: normalised signal, finite wherever a channel is not absent; a length that is no multiple of
            `token_times` is padded with zeros that are marked as hidden.
        montage: places, identities, kinds, neighbours and states of the channels. Absent ones reach no other channel
            and no average. Sensors other than EEG do not meet the electrodes, nor are they part of "window_BD"; an
            encoder that cannot listen to them leaves them out.
        mask_BCT: True at hidden samples (whose values in x_BCT are a filling).
        spectrogram_BRFS: log10 µV²/Hz of 4 regions in 100 bins and steps of 2 s, NaN where nothing is known.
        mask_token_D: what stands for tokens that are hidden as a whole; hidden samples are then taken as 0, whatever
            their filling.
        n_latent_blocks: of so many of the last blocks "latents_BCND" is the mean, each token standardised.

        "stem_BCPE" patches, "merged_BCND" trunk tokens before channel embedding and blocks, "tokens_BCND",
        "channels_BCD" means over time, "window_BD" mean over EEG channels; where channels meet, "relations_BCCR", and
        "shown_BC", the electrodes with samples that were shown. Raises ValueError as `check_input`,
        `check_spectrogram` and `Montage.check` do.
        """
        if not torch.compiler.is_compiling():  # questions to the values would break the graph
            check_input(x_BCT, montage.ch_state_BC)
            check_spectrogram(x_BCT, spectrogram_BRFS, self.config.fusion)
            montage.check()
        x_BCT, mask_BCT = pad_to_multiple(x_BCT, mask_BCT, self.config.token_times)
        is_eeg_BC, present_BC = montage.is_primary_BC, montage.ch_state_BC != ABSENT
        eeg_BC = present_BC & is_eeg_BC
        if "sensors" not in self.config.fusion:
            present_BC = eeg_BC
        x_BCT = torch.where(present_BC[..., None], x_BCT, torch.zeros_like(x_BCT))
        montage = with_places(montage, eeg_BC, x_BCT)
        hidden_BCN = None
        if mask_token_D is not None and mask_BCT is not None:
            x_BCT = x_BCT.masked_fill(mask_BCT, 0.0)
            hidden_BCN = mask_BCT.unflatten(-1, (-1, self.config.token_times)).all(-1)
        met = self._meet(x_BCT, mask_BCT, hidden_BCN, eeg_BC, montage)
        stem_BCPE, merged_BCND = self.stem(x_BCT, mask_BCT, met.pop("weight_BMCC", None))
        if mask_token_D is not None and hidden_BCN is not None:
            merged_BCND = torch.where(hidden_BCN[..., None], mask_token_D.to(merged_BCND), merged_BCND)
        x_BCND = merged_BCND + self._embedding(montage, is_eeg_BC)[:, :, None]
        company = Company(met.get("relations_BCCR"), eeg_BC)
        latents = []
        for number, block in enumerate(self.blocks):
            if number == len(self.blocks) // 2:
                x_BCND = self._fuse(x_BCND, is_eeg_BC, present_BC, spectrogram_BRFS)
            x_BCND = self._through(block, x_BCND, company)
            if number >= len(self.blocks) - n_latent_blocks:
                latents.append(F.layer_norm(x_BCND, x_BCND.shape[-1:]))
        if latents:
            met["latents_BCND"] = torch.stack(latents).mean(0)
        tokens_BCND = self.norm(x_BCND) * present_BC[..., None, None]
        channels_BCD = tokens_BCND.mean(2)
        return {
            "stem_BCPE": stem_BCPE,
            "merged_BCND": merged_BCND,
            "tokens_BCND": tokens_BCND,
            "channels_BCD": channels_BCD,
            "window_BD": mean_over(channels_BCD, eeg_BC),
            **met,
        }

    def _embedding(self, montage: Montage, is_eeg_BC: Tensor) -> Tensor:
        """Return what is added to each channel's tokens, (B, C, D): who it is, of sensors that are heard their type."""
        embedding_BCD = self.channel_embedding(montage)
        if "sensors" not in self.config.fusion:
            return embedding_BCD
        return torch.where(is_eeg_BC[..., None], embedding_BCD, self.sensors.kind(montage.sensor_type_BC))

    def _through(self, block: Block, x_BCND: Tensor, company: Company) -> Tensor:
        """Return the tokens after a block, whose inner values are computed again for the gradient where that is set."""
        if self.config.gradient_checkpointing and self.training:
            return checkpoint(block, x_BCND, company, use_reentrant=False)
        return block(x_BCND, company)

    def _meet(
        self, x_BCT: Tensor, mask_BCT: Tensor | None, hidden_BCN: Tensor | None, eeg_BC: Tensor, montage: Montage
    ) -> dict[str, Tensor]:
        """Return the channels' relations, who has samples to show, and mixtures' weights; nothing where none meet."""
        if not self.config.graph:
            return {}
        shown_BC, visible_BCT = eeg_BC, x_BCT
        if mask_BCT is not None:
            shown_BC = eeg_BC & ~mask_BCT.all(-1)
            visible_BCT = x_BCT.masked_fill(mask_BCT, 0.0)
        seen_BCN = None if hidden_BCN is None else ~hidden_BCN
        relations_BCCR = self.relations(visible_BCT, shown_BC, eeg_BC, montage, seen_BCN)
        weight_BMCC = self.mixing(relations_BCCR, shown_BC) * eeg_BC[:, None, :, None]
        return {"weight_BMCC": weight_BMCC, "relations_BCCR": relations_BCCR, "shown_BC": shown_BC}

    def _fuse(self, x_BCND: Tensor, is_eeg_BC: Tensor, present_BC: Tensor, spectrogram_BRFS: Tensor | None) -> Tensor:
        """Let EEG tokens listen to the sources that came in."""
        if "sensors" in self.config.fusion:
            x_BCND = self.sensors(x_BCND, is_eeg_BC, present_BC)
        if spectrogram_BRFS is not None:
            x_BCND = self.spectrogram(x_BCND, spectrogram_BRFS, present_BC & is_eeg_BC)
        return x_BCND

    def spectra(self, x_BCT: Tensor) -> Tensor:
        """Return the log spectra that the stem sees of a whole signal, (B, C, N, F)."""
        return torch.cat(self.stem.spectra(pad_to_multiple(x_BCT, None, self.config.token_times)[0]), -1)

    def embed(self, x_BCT: Tensor) -> Tensor:
        """Return the stem's trunk tokens of a whole signal, each channel alone: no mixtures, embedding or blocks."""
        x_BCT, mask_BCT = pad_to_multiple(x_BCT, None, self.config.token_times)
        B, C, _ = x_BCT.shape
        nothing_BMCC = x_BCT.new_zeros(B, self.config.n_mixed, C, C) if self.config.graph else None
        return self.stem(x_BCT, mask_BCT, nothing_BMCC)[1]


def mean_over(channels_BCD: Tensor, here_BC: Tensor) -> Tensor:
    """Return the mean over the channels that are here, (B, D); 0 where none is."""
    return (channels_BCD * here_BC[..., None]).sum(1) / here_BC.sum(1, keepdim=True).clamp(min=1)


def with_places(montage: Montage, needed_BC: Tensor, x_BCT: Tensor) -> Montage:
    """Return the montage with the origin for the place of channels whose place is not needed, in the signal's type."""
    position_BC3 = montage.position_BC3.to(x_BCT)
    position_BC3 = torch.where(needed_BC[..., None], position_BC3, torch.zeros_like(position_BC3))
    return Montage(**{**montage.tensors(), "position_BC3": position_BC3})


def check_input(x_BCT: Tensor, ch_state_BC: Tensor) -> None:
    """Raise ValueError, with the value and the rule, for shapes that disagree or samples that are not finite."""
    if x_BCT.ndim != 3 or 0 in x_BCT.shape:
        raise ValueError(f"x has shape {tuple(x_BCT.shape)}, not (batch, n_chans, n_times) with at least one of each")
    if ch_state_BC.shape != x_BCT.shape[:2]:
        raise ValueError(f"ch_state has shape {tuple(ch_state_BC.shape)}, not {tuple(x_BCT.shape[:2])}")
    finite_BC = torch.isfinite(x_BCT).all(-1) | (ch_state_BC == ABSENT)
    if not finite_BC.all():
        b, c = (int(i) for i in torch.nonzero(~finite_BC)[0])
        raise ValueError(f"x holds NaN or infinity in window {b}, channel {c}, which is not marked absent")


def pad_to_multiple(x_BCT: Tensor, mask_BCT: Tensor | None, n_times: int) -> tuple[Tensor, Tensor | None]:
    """Return signal and mask padded at the end to a multiple of `n_times` samples; padding is marked as hidden."""
    missing = -x_BCT.shape[-1] % n_times
    if missing:
        mask_BCT = torch.zeros_like(x_BCT, dtype=torch.bool) if mask_BCT is None else mask_BCT
        return F.pad(x_BCT, (0, missing)), F.pad(mask_BCT, (0, missing), value=True)
    return x_BCT, mask_BCT
