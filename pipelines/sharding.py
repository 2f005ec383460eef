"""Which shard a block of windows belongs to: hashes decide, so that neither runner nor worker count changes it."""

import hashlib

from signals.prepare import Block

WINDOW_BYTES_PER_S = 19 * 256 * 2
"""Roughly what a second of a window takes in a shard; decides how many shards a site gets."""


def block_hash(block: Block) -> str:
    """Return the sort key of a block, hex: recording, segment and first window decide it."""
    first = block.starts[0]
    return hashlib.sha256(f"{block.plan.source_sha256}/{first.segment}/{first.start}".encode()).hexdigest()


def n_shards(seconds: float, shard_mb: float) -> int:
    """Return into how many shards of about `shard_mb` MB that many seconds of windows are divided; at least 1."""
    return max(1, round(seconds * WINDOW_BYTES_PER_S / (shard_mb * 1e6)))


def shards_of_site(site_seconds: tuple[str, float], shard_mb: float) -> tuple[str, int]:
    """Return (site_id, number of shards)."""
    site_id, seconds = site_seconds
    return site_id, n_shards(seconds, shard_mb)


def block_seconds(block: Block) -> tuple[str, float]:
    """Return (site_id, seconds of windows)."""
    return block.plan.site_id, len(block.starts) * block.plan.profile.window_s


def shard_key(block: Block, shards_of_site: dict[str, int]) -> tuple[tuple[str, int, int], Block]:
    """Return ((site_id, shard, number of shards), block)."""
    site_id = block.plan.site_id
    total = shards_of_site[site_id]
    return (site_id, int(block_hash(block)[:12], 16) % total, total), block
