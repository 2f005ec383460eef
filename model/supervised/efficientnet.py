"""EfficientNet on regional spectrograms: four chains, 100 bins up to 20 Hz, a column every 2 s, as one image.

Tan & Le 2019 (doi:10.48550/arXiv.1905.11946), in transformers' implementation, built from its configuration alone;
B3 is width 1.2 and depth 1.4.

Shapes: B batch, R region, F frequency bin, S column of 2 s, H, W image, D width, K class.
"""

from pathlib import Path
from typing import Literal

import torch
from torch import Tensor, nn
from transformers import EfficientNetConfig, EfficientNetModel

from model.supervised.networks import NetworkShape
from signals.electrodes import CHAINS
from signals.spectrograms import REGIONAL_FREQS, REGIONAL_STEP_S

Layout = Literal["channels", "placed", "tiled"]
B3 = {"width": 1.2, "depth": 1.4}
LOG_RANGE = (-2.0, 4.0)
"""log10 of µV²/Hz outside of this are cut off: silence, and electrodes that fell off."""
_BASE_STAGES = (1, 2, 2, 3, 3, 4, 1)
_BASE_WIDTH = 1280
_SHOWN = 64


class SpectrogramNet(nn.Module):
    """EfficientNet with mean pooling and one linear layer; what is NaN in a spectrogram is absent, not silent."""

    mean_F1: Tensor
    spread_F1: Tensor

    def __init__(
        self,
        shape: NetworkShape,
        *,
        dropout: float = 0.3,
        width: float = B3["width"],
        depth: float = B3["depth"],
        layout: Layout = "channels",
        image_size: tuple[int, int] = (128, 128),
        drop_connect: float = 0.2,
        n_regions: int = len(CHAINS),
        n_freqs: int = len(REGIONAL_FREQS),
        log_range: tuple[float, float] = LOG_RANGE,
    ) -> None:
        """Take EfficientNet's coefficients and how regions make an image.

        layout: "channels" gives every region a channel, and one more to the label's span; "placed" one more to the
        place on the frequency axis instead, which convolutions do not know (Liu et al. 2018); "tiled" puts the regions
        below each other in three equal channels, which is what pretrained weights need.
        image_size: bins and columns that a spectrogram is brought to, (height of one region, width).
        """
        super().__init__()
        self.shape, self.layout, self.log_range, self.image_size = shape, layout, log_range, tuple(image_size)
        self.register_buffer("mean_F1", torch.zeros(n_freqs, 1))
        self.register_buffer("spread_F1", torch.ones(n_freqs, 1))
        n_channels = 3 if layout == "tiled" else n_regions + 1
        self.features = _fresh(n_channels=n_channels, width=width, depth=depth, drop_connect=drop_connect)
        self.fresh = True
        """Whether the weights are drawn, not loaded."""
        self.dropout = nn.Dropout(dropout)
        self.classes = nn.Linear(self.features.config.hidden_dim, shape.n_classes)

    def forward(self, spectrogram_BRFS: Tensor) -> tuple[Tensor, Tensor]:
        """Return (logits_BK, embedding_BD) of log10 power in µV²/Hz, NaN where a region or a column is absent."""
        image_BCHW = self.image(spectrogram_BRFS)
        features_BDHW = self.features.encoder(self.features.embeddings(image_BCHW)).last_hidden_state
        embedding_BD = features_BDHW.mean((2, 3))
        return self.classes(self.dropout(embedding_BD)), embedding_BD

    def image(self, spectrogram_BRFS: Tensor) -> Tensor:
        """Return the image of a spectrogram, 0 where absent.

        Log power less what is usual at its frequency, and less the window's own level (skull, amplifier).
        """
        present_BRFS = torch.isfinite(spectrogram_BRFS)
        log_BRFS = torch.where(present_BRFS, spectrogram_BRFS, 0.0).clamp(*self.log_range)
        scaled_BRFS = torch.where(present_BRFS, (log_BRFS - self.mean_F1) / self.spread_F1, 0.0)
        n_B111 = present_BRFS.sum((1, 2, 3), keepdim=True).clamp(min=1)
        level_B111 = scaled_BRFS.sum((1, 2, 3), keepdim=True) / n_B111
        image_BRFS = torch.where(present_BRFS, scaled_BRFS - level_B111, 0.0)
        if self.layout == "channels":
            image_BRFS = torch.cat([image_BRFS, self._span(image_BRFS)], 1)
        elif self.layout == "placed":
            place_F1 = torch.linspace(-1.0, 1.0, image_BRFS.shape[2], device=image_BRFS.device)[:, None]
            place_B1FS = place_F1.to(image_BRFS).expand(image_BRFS.shape[0], 1, -1, image_BRFS.shape[3])
            image_BRFS = torch.cat([image_BRFS, place_B1FS], 1)
        image_BRHW = nn.functional.interpolate(image_BRFS, size=self.image_size, mode="bilinear", antialias=True)
        if self.layout == "tiled":
            image_BRHW = image_BRHW.flatten(1, 2)[:, None].expand(-1, 3, -1, -1)
        return image_BRHW

    def _span(self, image_BRFS: Tensor) -> Tensor:
        """Return a channel that is 1 in the columns that the label is about; the middle one is the window's middle."""
        n_columns = image_BRFS.shape[-1]
        marked_S = torch.ones(n_columns, dtype=image_BRFS.dtype, device=image_BRFS.device)
        if self.shape.span_s is not None and self.shape.window_s is not None:
            seconds_S = (torch.arange(n_columns, device=marked_S.device) + 0.5) * REGIONAL_STEP_S
            in_window_S = seconds_S - n_columns * REGIONAL_STEP_S / 2 + self.shape.window_s / 2
            start_s, stop_s = self.shape.span_s
            marked_S = ((in_window_S >= start_s) & (in_window_S < stop_s)).to(marked_S)
        return marked_S.expand(image_BRFS.shape[0], 1, image_BRFS.shape[2], -1)

    def standardise(self, spectrogram_BRFS: Tensor) -> None:
        """Take from training windows what is usual at each frequency: power falls by 2 decades from 1 to 20 Hz.

        Fresh weights begin their averages with these windows too.
        """
        log_FN = spectrogram_BRFS.clamp(*self.log_range).permute(2, 0, 1, 3).flatten(1)
        present_FN = torch.isfinite(log_FN)
        n_F1 = present_FN.sum(1, keepdim=True).clamp(min=1)
        mean_F1 = torch.where(present_FN, log_FN, 0.0).sum(1, keepdim=True) / n_F1
        square_F1 = torch.where(present_FN, log_FN - mean_F1, 0.0).square().sum(1, keepdim=True) / n_F1
        self.mean_F1.copy_(mean_F1)
        self.spread_F1.copy_(square_F1.sqrt().clamp(min=0.05))
        if self.fresh:
            self._begin_averages(spectrogram_BRFS)

    @torch.no_grad()
    def _begin_averages(self, spectrogram_BRFS: Tensor) -> None:
        """Start batch normalisation's averages from what they are averages of.

        They start at a variance of 1, far from the truth, and take some 50 steps to forget it: till then the network is
        evaluated with other scales than it is trained with, and early stopping would choose among accidents.
        """
        norms = [module for module in self.features.modules() if isinstance(module, nn.BatchNorm2d)]
        momenta = [norm.momentum for norm in norms]
        for norm in norms:
            norm.momentum = 1.0
        self.train()
        self(spectrogram_BRFS[:_SHOWN])
        for norm, momentum in zip(norms, momenta, strict=True):
            norm.momentum = momentum

    def load_weights(self, folder: Path) -> None:
        """Start from a saved `EfficientNetModel`; the last layer stays fresh.

        Raises ValueError where the folder holds none, or one of other coefficients or channels.
        """
        if not (folder / "config.json").is_file():
            raise ValueError(f"{folder} holds no EfficientNet: it needs config.json and model.safetensors")
        ours, theirs = self.features.config, EfficientNetConfig.from_pretrained(folder)
        for name in ("num_channels", "width_coefficient", "depth_coefficient"):
            if getattr(ours, name, None) != getattr(theirs, name, None):
                raise ValueError(
                    f"{folder} has {name}={getattr(theirs, name, None)}, the network {getattr(ours, name, None)}"
                )
        saved = EfficientNetModel.from_pretrained(folder, local_files_only=True)
        self.features.load_state_dict(saved.state_dict())
        self.fresh = False

    def stages(self) -> list[list[nn.Module]]:
        """Return the stages from input to output, for opening them one after the other; the last layer is not one."""
        blocks = list(self.features.encoder.blocks)
        groups: list[list[nn.Module]] = [[self.features.embeddings]]
        for repeats in _BASE_STAGES:
            n = _repeats(repeats, self.features.config.depth_coefficient)
            groups.append(blocks[:n])
            blocks = blocks[n:]
        return [*groups, [self.features.encoder.top_conv, self.features.encoder.top_bn]]


def _fresh(*, n_channels: int, width: float, depth: float, drop_connect: float) -> EfficientNetModel:
    """Return EfficientNet with weights to learn from.

    transformers draws batch normalisation's gains around 0 and gives its averages a momentum of 0.99, which are right
    only for weights that are loaded over them: a net trained from those would not learn, and would be evaluated with
    the last batch's statistics. Gains are 1 here, convolutions He's (2015), the momentum torch's.
    """
    config = EfficientNetConfig(
        num_channels=n_channels, width_coefficient=width, depth_coefficient=depth, drop_connect_rate=drop_connect,
        hidden_dim=_rounded(_BASE_WIDTH * width), batch_norm_momentum=0.1,
    )  # fmt: skip
    features = EfficientNetModel(config)
    for module in features.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.ones_(module.weight)
        elif isinstance(module, nn.Conv2d):
            fan_out = module.out_channels * module.kernel_size[0] * module.kernel_size[1] / module.groups
            nn.init.normal_(
                module.weight, std=(2 / fan_out) ** 0.5
            )  # torch's own ignores groups: depthwise ones vanish
    return features


def _rounded(channels: float, divisor: int = 8) -> int:
    """Return EfficientNet's rounding of a width: a multiple of 8 that is at most a tenth too small."""
    rounded = max(divisor, int(channels + divisor / 2) // divisor * divisor)
    return rounded + divisor if rounded < 0.9 * channels else rounded


def _repeats(base: int, depth: float) -> int:
    return -int(-depth * base // 1)
