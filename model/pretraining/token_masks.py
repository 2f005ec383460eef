"""What is hidden where targets are latents: half to three fifths of a window's whole tokens, in blocks.

A block is some seconds of an electrode and its nearest ones; some windows lose whole channels, or all channels for a
stretch, besides. A second of one channel can be guessed from the same second next to it and from the seconds around:
blocks take both away, so that it takes the rest of the window to predict what is hidden.

Windows are average-referenced: what is visible holds the sum of what is hidden. `against_visible` measures each sample
against the mean of the channels that are visible there, so that what a model sees is a function of visible potentials
alone (`model.pretraining.masking`). Who is visible changes from token to token: within half a token of a block's edge a
channel's share of the mean grows from next to nothing, so that nothing jumps where a block begins.

Shapes: B batch, C channel, T sample, N token, K block.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from model.montage import Montage
from model.pretraining.draws import Draws
from model.pretraining.masking import MIN_GROUP
from signals.window import ABSENT, INTERPOLATED, MEASURED

_AT_ONCE = 64
"""Blocks that are laid over a window in one operation."""


@dataclass(frozen=True, kw_only=True)
class BlockPlan:
    """How whole tokens are hidden."""

    token_times: int = 256
    """Samples of a token."""
    block_tokens: tuple[int, int] = (1, 4)
    """Shortest and longest block, tokens: seconds."""
    hidden_share: float = 0.6
    """Blocks are added until the next would hide more than this share of the measured channels' tokens."""
    channels_chance: float = 0.3
    """Chance of a window to lose some whole channels: up to an eighth, at least one."""
    stretch_chance: float = 0.3
    """Chance of a window of at least 5 tokens to lose all channels for up to a fifth of it."""
    gaps_share: float = 0.15
    """Share of windows that lose spans of samples instead (`model.pretraining.masking`)."""
    described_tokens: int = 0
    """Length of the stretch whose description is predicted (`described_start`), tokens; 0: none."""
    described_chance: float = 0.5
    """Chance of a window to lose all channels for such a stretch."""

    def __post_init__(self) -> None:
        if self.token_times < 2:
            raise ValueError(f"token_times={self.token_times} must be at least 2")
        if not 1 <= self.block_tokens[0] <= self.block_tokens[1]:
            raise ValueError(f"block_tokens={self.block_tokens} must be at least 1 and not shrink")
        if not 0 < self.hidden_share < 1:
            raise ValueError(f"hidden_share={self.hidden_share} must lie between 0 and 1")
        if self.described_tokens < 0:
            raise ValueError(f"described_tokens={self.described_tokens} must not be negative")
        for name in ("channels_chance", "stretch_chance", "gaps_share", "described_chance"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name}={getattr(self, name)} must lie between 0 and 1")

    def n_tokens(self, n_times: int) -> int:
        """Return how many tokens so many samples begin."""
        return -(-n_times // self.token_times)


def draw_tokens(draws: Draws, montage: Montage, n_tokens: int, plan: BlockPlan) -> Tensor:
    """Return which tokens to hide of each window, bool, shape (B, C, n_tokens).

    Who takes part and who is never hidden is as in `masking.draw_masks`; interpolated channels are hidden wherever a
    measured one is. Fewer than 4 measured channels, and leads of an electrocardiogram, are hidden together. Where a
    single block is more than the share, nothing is hidden but whole channels and stretches.
    """
    takes_part_BC, leads_B = _takes_part(montage), ~montage.is_referenced_BC.any(1)
    measured_BC = (montage.ch_state_BC == MEASURED) & takes_part_BC
    together_B = leads_B | (measured_BC.sum(1) < 2 * MIN_GROUP)
    n_blocks = 8 * (n_tokens + 1)
    first_BCN = torch.full((*measured_BC.shape, n_tokens), n_blocks, device=measured_BC.device)
    near_BKC = _groups(draws, montage, measured_BC, together_B, n_blocks)
    when_BKN = _stretches(draws, "block", n_blocks, n_tokens, plan.block_tokens)
    number_K = torch.arange(n_blocks, device=first_BCN.device)
    for k in range(0, n_blocks, _AT_ONCE):
        part = slice(k, k + _AT_ONCE)
        laid_BKCN = near_BKC[:, part, :, None] & when_BKN[:, part, None]
        first_BCN = torch.minimum(first_BCN, torch.where(laid_BKCN, number_K[part, None, None], n_blocks).amin(1))
    whole_BCN = _whole(draws, measured_BC, together_B, n_tokens, plan)
    first_BCN = torch.where(whole_BCN, -1, first_BCN).masked_fill(~measured_BC[..., None], 2 * n_blocks)
    # The first block that would go beyond the share, and all after it, stay away.
    most_B = (plan.hidden_share * measured_BC.sum(1) * n_tokens).long()
    stop_B1 = first_BCN.flatten(1).sort(1).values.gather(1, most_B[:, None]).clamp(min=0)
    hidden_BCN = first_BCN < stop_B1[..., None]
    hidden_BCN = hidden_BCN & (measured_BC.sum(1) >= MIN_GROUP)[:, None, None]
    follows_BC = (montage.ch_state_BC == INTERPOLATED) & takes_part_BC
    return hidden_BCN | (follows_BC[..., None] & hidden_BCN.any(1, keepdim=True))


def described_start(draws: Draws, montage: Montage, n_times: int, plan: BlockPlan) -> Tensor:
    """Return the first token of the stretch that `draw_tokens` hides on all channels to be described, int64, (B,).

    -1 where there is none: by chance, in windows that lose spans, with fewer than `MIN_GROUP` measured channels, and
    where the stretch would be more than two fifths of the window.
    """
    start_B = _described(draws, plan.n_tokens(n_times), plan)
    n_measured_B = ((montage.ch_state_BC == MEASURED) & _takes_part(montage)).sum(1)
    in_spans_B = draws.uniform("gaps")[:, 0] < plan.gaps_share
    return torch.where(in_spans_B | (n_measured_B < MIN_GROUP), -1, start_B)


def _described(draws: Draws, n_tokens: int, plan: BlockPlan) -> Tensor:
    start_B = _scaled(draws.uniform("described start")[:, 0], max(1, n_tokens - plan.described_tokens + 1))
    fits = 0 < 5 * plan.described_tokens <= 2 * n_tokens
    return torch.where((draws.uniform("described")[:, 0] < plan.described_chance) & fits, start_B, -1)


def _takes_part(montage: Montage) -> Tensor:
    """Return the channels that may be hidden, bool, (B, C): EEG, or leads where there is none."""
    is_eeg_BC = montage.is_referenced_BC
    return is_eeg_BC | ~is_eeg_BC.any(1, keepdim=True)


def _groups(draws: Draws, montage: Montage, measured_BC: Tensor, together_B: Tensor, n_blocks: int) -> Tensor:
    """Return the channels of each block: one drawn and its nearest, up to a fifth of all, bool, (B, K, C)."""
    n_B = measured_BC.sum(1)
    place_BC3 = torch.nan_to_num(montage.position_BC3.float())
    centre_BK = _scaled(draws.uniform("centre", n_blocks), n_B[:, None].clamp(min=1))
    by_state_BC = (~measured_BC).long().argsort(dim=1, stable=True)
    place_BK3 = place_BC3.gather(1, by_state_BC.gather(1, centre_BK)[..., None].expand(-1, -1, 3))
    apart_BKC = (place_BK3[:, :, None] - place_BC3[:, None]).square().sum(-1)
    apart_BKC = apart_BKC.masked_fill(~measured_BC[:, None], torch.inf)
    rank_BKC = apart_BKC.argsort(dim=-1, stable=True).argsort(dim=-1, stable=True)
    size_BK = 1 + _scaled(draws.uniform("block size", n_blocks), (n_B // 5).clamp(min=1)[:, None])
    size_BK = torch.where(together_B[:, None], n_B[:, None], size_BK)
    return (rank_BKC < size_BK[..., None]) & measured_BC[:, None]


def _stretches(draws: Draws, purpose: str, n: int, n_tokens: int, lengths: tuple[int, int]) -> Tensor:
    """Return stretches of tokens, bool, (B, n, n_tokens); they may begin before the window and end after it."""
    shortest, longest = (min(length, n_tokens) for length in lengths)
    length_BK = shortest + _scaled(draws.uniform(f"{purpose} length", n), longest - shortest + 1)
    start_BK = 1 - length_BK + _scaled(draws.uniform(f"{purpose} start", n), n_tokens + length_BK - 1)
    at_N = torch.arange(n_tokens, device=length_BK.device)
    return (at_N >= start_BK[..., None]) & (at_N < (start_BK + length_BK)[..., None])


def _whole(draws: Draws, measured_BC: Tensor, together_B: Tensor, n_tokens: int, plan: BlockPlan) -> Tensor:
    """Return whole channels and stretches of all channels that are hidden whatever the blocks, bool, (B, C, N)."""
    n_B = measured_BC.sum(1)
    key_BC = draws.uniform("channels", measured_BC.shape[1]).masked_fill(~measured_BC, 2.0)
    rank_BC = key_BC.argsort(dim=1, stable=True).argsort(dim=1, stable=True)
    size_B = 1 + _scaled(draws.uniform("number of channels")[:, 0], (n_B // 8).clamp(min=1))
    loses_B = (draws.uniform("whole channels")[:, 0] < plan.channels_chance) & ~together_B
    channels_BC = (rank_BC < size_B[:, None]) & loses_B[:, None] & measured_BC
    if n_tokens < 5:
        return channels_BC[..., None].expand(-1, -1, n_tokens)
    stops_B = draws.uniform("whole stretch")[:, 0] < plan.stretch_chance
    stretch_BN = _stretches(draws, "stretch", 1, n_tokens, (1, n_tokens // 5))[:, 0] & stops_B[:, None]
    start_B1, at_N = _described(draws, n_tokens, plan)[:, None], torch.arange(n_tokens, device=stretch_BN.device)
    stretch_BN |= (start_B1 >= 0) & (at_N >= start_B1) & (at_N < start_B1 + plan.described_tokens)
    return channels_BC[..., None] | (measured_BC[..., None] & stretch_BN[:, None])


def _scaled(uniform: Tensor, n: Tensor | int) -> Tensor:
    """Return whole numbers from 0 to n - 1 of uniform ones in [0, 1)."""
    return torch.minimum((uniform.double() * n).long(), torch.as_tensor(n, device=uniform.device) - 1)


def against_visible(x_BCT: Tensor, hidden_BCN: Tensor, montage: Montage, token_times: int) -> Tensor:
    """Return what is visible against the mean of the measured channels that are visible at each sample, hidden ones 0.

    Channels without a common reference, and absent ones, keep what is visible of them.
    """
    n_times = x_BCT.shape[-1]
    is_eeg_BC = montage.is_referenced_BC
    counted_BC = (montage.ch_state_BC == MEASURED) & is_eeg_BC
    rise_S = ((torch.arange(token_times, device=x_BCT.device) + 0.5) * (2 / token_times)).clamp(max=1).to(x_BCT)
    before_BCN, after_BCN = F.pad(hidden_BCN, (1, 0))[..., :-1], F.pad(hidden_BCN, (0, 1))[..., 1:]
    weight_BCNS = (counted_BC[..., None] & ~hidden_BCN)[..., None] * torch.where(before_BCN[..., None], rise_S, 1.0)
    weight_BCNS = weight_BCNS * torch.where(after_BCN[..., None], rise_S.flip(0), 1.0)
    weight_BCT = weight_BCNS.flatten(2)[..., :n_times].to(x_BCT)
    mean_B1T = (x_BCT * weight_BCT).sum(1, keepdim=True) / weight_BCT.sum(1, keepdim=True).clamp(min=1e-6)
    moves_BC1 = ((montage.ch_state_BC != ABSENT) & is_eeg_BC)[..., None]
    return (x_BCT - mean_B1T * moves_BC1).masked_fill(samples(hidden_BCN, token_times, n_times), 0.0)


def samples(hidden_BCN: Tensor, token_times: int, n_times: int) -> Tensor:
    """Return the samples of tokens, bool, (B, C, n_times)."""
    return hidden_BCN.repeat_interleave(token_times, dim=-1)[..., :n_times]


def whole_tokens(mask_BCT: Tensor, token_times: int) -> Tensor:
    """Return the tokens of which every sample is hidden, bool, (B, C, N); the last one may be shorter."""
    missing = -mask_BCT.shape[-1] % token_times
    return F.pad(mask_BCT, (0, missing), value=True).unflatten(-1, (-1, token_times)).all(-1)
