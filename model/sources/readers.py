"""What makes tokens of each source: twelve leads, the image of a page, numbers, categories.

A reader returns tokens, shape (B, M, D), and which of them hold anything, bool (B, M). What is absent is read as zeros
and marked: no NaN reaches a network.

Shapes: B batch, C channel, T sample, N step, H height, W width, M token, D width, F field.
"""

import torch
from torch import Tensor, nn

from model.supervised.efficientnet import SpectrogramNet
from model.supervised.multiscale import MultiScaleNet
from model.supervised.networks import NetworkShape
from signals.bundles.metadata import Metadata

Tokens = tuple[Tensor, Tensor]
STEP_POOL = 4
"""Steps of the signal network that make a token."""


class SignalReader(nn.Module):
    """Tokens of leads, in time: the multi-scale network, four steps a token."""

    def __init__(
        self, dim: int, *, n_chans: int, sfreq: float, widths: tuple[int, ...],
        span_s: tuple[float, float] | None = None,
    ) -> None:  # fmt: skip
        """span_s: the stretch that the label is about, whose tokens are marked; None for the whole window."""
        super().__init__()
        self.n_chans = n_chans
        shape = NetworkShape(n_chans=n_chans, sfreq=sfreq, n_classes=1, span_s=span_s)
        self.network = MultiScaleNet(shape, widths=widths)
        del self.network.classes  # tokens are taken before them
        self.project = nn.Linear(2 * self.network.dim, dim)
        self.inside = None if span_s is None else nn.Parameter(torch.randn(dim))

    def forward(self, signals_BCT: Tensor) -> Tokens:
        """Read leads that are normalised; a lead that holds NaN anywhere is absent, a window without any lead too."""
        if signals_BCT.ndim != 3 or signals_BCT.shape[1] != self.n_chans or not signals_BCT.shape[2]:
            raise ValueError(f"signals have shape {tuple(signals_BCT.shape)}, not (batch, {self.n_chans}, n_times)")
        there_BC = torch.isfinite(signals_BCT).all(-1)
        x_BCT = torch.where(there_BC[..., None], signals_BCT, 0.0)
        steps_BDN = self.network.steps(x_BCT)
        pooled = nn.functional.avg_pool1d(steps_BDN, STEP_POOL, ceil_mode=True)
        peaks = nn.functional.max_pool1d(steps_BDN, STEP_POOL, ceil_mode=True)
        tokens_BMD = self.project(torch.cat([pooled, peaks], 1).transpose(1, 2))
        if self.inside is not None:
            tokens_BMD = tokens_BMD + self._inside_M1(steps_BDN) * self.inside
        return tokens_BMD, there_BC.any(-1)[:, None].expand(-1, tokens_BMD.shape[1])

    def _inside_M1(self, steps_BDN: Tensor) -> Tensor:
        """Return which tokens hold a step of the label's span; raises ValueError where the window ends before it."""
        span = self.network.pool.span
        assert span is not None
        if steps_BDN.shape[-1] < span[1]:
            raise ValueError(f"{steps_BDN.shape[-1]} steps end before the label's span, steps {span}")
        first_M = torch.arange(0, steps_BDN.shape[-1], STEP_POOL, device=steps_BDN.device)[:, None]
        return ((first_M < span[1]) & (first_M + STEP_POOL > span[0])).to(steps_BDN)


class ImageReader(nn.Module):
    """Tokens of a page's image, one for each place of an EfficientNet's last map."""

    def __init__(self, dim: int, *, width: float, depth: float) -> None:
        super().__init__()
        shape = NetworkShape(n_chans=1, sfreq=1.0, n_classes=1)
        self.features = SpectrogramNet(shape, width=width, depth=depth, layout="tiled", drop_connect=0.0).features
        self.project = nn.Linear(self.features.config.hidden_dim, dim)

    def forward(self, images_B3HW: Tensor) -> Tokens:
        """Read images of 0 to 1, at least 32 pixels each way; one that holds NaN anywhere is absent."""
        if images_B3HW.ndim != 4 or images_B3HW.shape[1] != 3 or min(images_B3HW.shape[2:]) < 32:
            raise ValueError(
                f"images have shape {tuple(images_B3HW.shape)}, not (batch, 3, height, width) of 32 or more"
            )
        there_B = torch.isfinite(images_B3HW).flatten(1).all(1)
        # Paper is light: ink is what is far from 1.
        x_B3HW = torch.where(there_B[:, None, None, None], 1.0 - images_B3HW, 0.0)
        map_BDHW = self.features.encoder(self.features.embeddings(x_B3HW)).last_hidden_state
        tokens_BMD = self.project(map_BDHW.flatten(2).transpose(1, 2))
        return tokens_BMD, there_B[:, None].expand(-1, tokens_BMD.shape[1])


class NumberReader(nn.Module):
    """A token for each number: its field, and how far it is from what is usual."""

    mean_F: Tensor
    spread_F: Tensor

    def __init__(self, dim: int, metadata: Metadata) -> None:
        super().__init__()
        n = len(metadata.numbers)
        self.register_buffer("mean_F", torch.tensor([number.mean for number in metadata.numbers]))
        self.register_buffer("spread_F", torch.tensor([number.spread for number in metadata.numbers]))
        self.field = nn.Embedding(n, dim)
        self.slope = nn.Embedding(n, dim)

    def forward(self, values_BF: Tensor) -> Tokens:
        """Read numbers in their own units, NaN where absent."""
        _check_fields("numerical_metadata", values_BF, len(self.mean_F))
        there_BF = torch.isfinite(values_BF)
        scaled_BF = torch.where(there_BF, (values_BF - self.mean_F) / self.spread_F, 0.0).clamp(-5, 5)
        return self.field.weight + scaled_BF[..., None] * self.slope.weight, there_BF


class CategoryReader(nn.Module):
    """A token for each category: one of its levels'."""

    first_F: Tensor
    levels_F: Tensor

    def __init__(self, dim: int, metadata: Metadata) -> None:
        super().__init__()
        levels = [len(field.levels) for field in metadata.categories]
        self.register_buffer("levels_F", torch.tensor(levels, dtype=torch.int64))
        self.register_buffer("first_F", torch.tensor([sum(levels[:i]) for i in range(len(levels))], dtype=torch.int64))
        self.level = nn.Embedding(sum(levels), dim)

    def forward(self, levels_BF: Tensor) -> Tokens:
        """Read numbers of levels, -1 where absent; raises ValueError for a level that a category does not have."""
        _check_fields("categorical_metadata", levels_BF, len(self.first_F))
        if (levels_BF >= self.levels_F).any() or (levels_BF < -1).any():
            raise ValueError(f"categorical_metadata must lie between -1 and {(self.levels_F - 1).tolist()} by field")
        there_BF = levels_BF >= 0
        return self.level(self.first_F + levels_BF.clamp(min=0)), there_BF


def _check_fields(name: str, values_BF: Tensor, n_fields: int) -> None:
    if values_BF.ndim != 2 or values_BF.shape[1] != n_fields:
        raise ValueError(f"{name} has shape {tuple(values_BF.shape)}, not (batch, {n_fields})")
