"""Random numbers by sample: the same for a sample on any device, in any batch, on any process.

A counter-based generator (splitmix64: Steele, Lea & Flood 2014) in torch's whole numbers: what is drawn for a sample
depends on the seed, the sample's number and the purpose alone, so a batch may be cut, shared out and resumed at will.
"""

import zlib
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor


def _signed(value: int) -> int:
    return value - (1 << 64) if value >= 1 << 63 else value


_STEP, _FIRST, _SECOND = (_signed(v) for v in (0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB))


class Draws:
    """Draws for a batch of samples."""

    def __init__(self, seed: int | Sequence[int], sample_B: Tensor) -> None:
        """Take a seed, and the samples' numbers, int64, shape (B,)."""
        word = int(np.random.SeedSequence(seed).generate_state(1, np.uint64)[0])
        self._key_B = _mixed(_mixed(sample_B.long()) + _signed(word))

    def __len__(self) -> int:
        """Return the number of samples."""
        return len(self._key_B)

    def uniform(self, purpose: str, n: int = 1) -> Tensor:
        """Return numbers in [0, 1), float32, shape (B, n), on the samples' device; the same for the same purpose."""
        counter = torch.arange(n, device=self._key_B.device) + (zlib.crc32(purpose.encode()) << 31)
        bits_BN = _mixed(self._key_B[:, None] ^ _mixed(counter))
        return ((bits_BN >> 40) & 0xFFFFFF).float() / (1 << 24)

    def integers(self, purpose: str, low_B: Tensor, high_B: Tensor) -> Tensor:
        """Return whole numbers from `low_B` to `high_B`, both included, int64, shape (B,)."""
        n_B = high_B - low_B + 1
        return low_B + torch.minimum((self.uniform(purpose)[:, 0].double() * n_B).long(), n_B - 1)

    def normal(self, purpose: str, n: int = 1) -> Tensor:
        """Return normal numbers, float32, shape (B, n) (Box & Muller 1958)."""
        size, turn = self.uniform(f"{purpose}, size", n), self.uniform(f"{purpose}, turn", n)
        return (-2 * torch.log(1 - size)).sqrt() * torch.cos(2 * torch.pi * turn)


def _mixed(z: Tensor) -> Tensor:
    """Return splitmix64's mixing of int64 words; products wrap around, right shifts bring in zeros."""
    z = z + _STEP
    z = (z ^ ((z >> 30) & ((1 << 34) - 1))) * _FIRST
    z = (z ^ ((z >> 27) & ((1 << 37) - 1))) * _SECOND
    return z ^ ((z >> 31) & ((1 << 33) - 1))
