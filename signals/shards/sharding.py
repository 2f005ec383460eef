"""Which shard a block of windows belongs to, decided by hashes: neither runner nor number of workers changes it.

A recording is divided into chunks of about half an hour; a site's chunks are put in the order of their hashes and that
line is cut into shards of equal length. So a shard mixes a handful of recordings drawn at random, reads each in long
stretches instead of touching every recording of the site, and no shard is longer than another by more than a chunk.
"""

import hashlib
from bisect import bisect_right
from collections.abc import Iterable
from pathlib import PurePosixPath

from signals.windows.blocks import Block

WINDOW_BYTES_PER_S = 6800
"""What a second of a window takes in a shard, measured over ten real sites (19 channels: 6,000 to 8,500, two:
1,200); decides how many shards a site gets."""
CHUNKS_PER_SHARD = 8
LONGEST_CHUNK_S = 1800.0
FEWEST_SHARDS = 4
"""A site that has the chunks gets at least so many shards, since a shard is what a worker takes."""


def chunk_s(shard_mb: float) -> float:
    """Return the length of a chunk, seconds: an eighth of a shard, at most half an hour."""
    return min(LONGEST_CHUNK_S, shard_mb * 1e6 / WINDOW_BYTES_PER_S / CHUNKS_PER_SHARD)


def chunk_hash(block: Block, shard_mb: float) -> str:
    """Return the hash of the chunk that a block's first window lies in, 64 hex digits."""
    first, profile = block.starts[0], block.plan.profile
    number = int(first.start / profile.signal.sfreq // chunk_s(shard_mb))
    return hashlib.sha256(f"{block.plan.source_sha256}/{first.segment}/{number}".encode()).hexdigest()


def block_order(block: Block, shard_mb: float) -> tuple[str, int, int, str, str]:
    """Return the sort key of a block within its shard: by chunk, then in order of time; copies of a file by name."""
    first, uri = block.starts[0], block.plan.uri
    return chunk_hash(block, shard_mb), first.segment, first.start, PurePosixPath(uri).name, uri


def block_seconds(block: Block) -> float:
    """Return seconds of windows."""
    return len(block.starts) * block.plan.profile.window_s


def chunk_seconds(block: Block, shard_mb: float) -> tuple[tuple[str, str], float]:
    """Return ((site_id, chunk's hash), seconds of windows)."""
    return (block.plan.site_id, chunk_hash(block, shard_mb)), block_seconds(block)


def by_site(chunk: tuple[tuple[str, str], float]) -> tuple[str, tuple[str, float]]:
    """Return (site_id, (chunk's hash, seconds of windows))."""
    (site_id, key), seconds = chunk
    return site_id, (key, seconds)


def cut_site(site: tuple[str, Iterable[tuple[str, float]]], shard_mb: float) -> tuple[str, tuple[str, ...]]:
    """Return (site_id, the hash that each shard of the site begins with, in order)."""
    site_id, chunks = site
    ordered = sorted(chunks)
    total = sum(seconds for _, seconds in ordered)
    wanted = max(round(total * WINDOW_BYTES_PER_S / (shard_mb * 1e6)), min(FEWEST_SHARDS, len(ordered) // 2), 1)
    firsts: dict[int, str] = {}
    before = 0.0
    for key, seconds in ordered:
        firsts.setdefault(int((before + seconds / 2) * wanted / total), key)
        before += seconds
    return site_id, tuple(firsts.values())


def shard_key(
    block: Block, firsts_of_site: dict[str, tuple[str, ...]], shard_mb: float
) -> tuple[tuple[str, int, int], Block]:
    """Return ((site_id, shard, number of shards), block)."""
    site_id = block.plan.site_id
    firsts = firsts_of_site[site_id]
    return (site_id, bisect_right(firsts, chunk_hash(block, shard_mb)) - 1, len(firsts)), block
