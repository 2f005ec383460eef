from dataclasses import dataclass
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from signals.shards.sharding import (
    WINDOW_BYTES_PER_S,
    block_order,
    block_seconds,
    by_site,
    chunk_hash,
    chunk_s,
    chunk_seconds,
    cut_site,
    shard_key,
)
from signals.windows.blocks import Block, WindowStart
from signals.windows.profiles import PRETRAIN


@dataclass(frozen=True)
class Plan:
    """What sharding looks at in a plan."""

    source_sha256: str
    site_id: str = "north"
    uri: str = "/north/a.edf"
    profile = PRETRAIN


def blocks_of(recording, hours, site="north"):
    """Blocks of 120 s, 12 windows of 10 s at 256 Hz, as a recording of that length has them."""
    starts = [WindowStart(0, second * 256) for second in range(0, round(hours * 3600), 10)]
    return [Block(Plan(recording, site), tuple(starts[i : i + 12])) for i in range(0, len(starts), 12)]


def shards_of(blocks, shard_mb=128.0):
    """The same steps as the pipeline's, without a runner: {(site, shard, total): blocks}."""
    seconds = {}
    for block in blocks:
        key, s = chunk_seconds(block, shard_mb)
        seconds[key] = seconds.get(key, 0) + s
    sites = {}
    for site, chunk in map(by_site, seconds.items()):
        sites.setdefault(site, []).append(chunk)
    firsts = dict(cut_site(site, shard_mb) for site in sites.items())
    shards = {}
    for block in blocks:
        key, same = shard_key(block, firsts, shard_mb)
        shards.setdefault(key, []).append(same)
    return shards


def test_a_chunk_is_an_eighth_of_a_shard_and_at_most_half_an_hour():
    # 64 MB / 6800 bytes a second = 9412 s; of 128 MB an eighth would be 2353 s.
    assert chunk_s(64.0) == pytest.approx(64e6 / WINDOW_BYTES_PER_S / 8) == pytest.approx(1176.5, abs=0.1)
    assert chunk_s(128.0) == 1800.0


def test_shards_are_balanced_and_touch_few_recordings():
    n_recordings, hours = 50, 8
    shards = shards_of([block for i in range(n_recordings) for block in blocks_of(f"{i:064x}", hours)])
    sizes = [sum(map(block_seconds, blocks)) for blocks in shards.values()]
    wanted = 50 * 8 * 3600 / len(sizes)
    # Each end of a shard lies within half a chunk of where it should.
    assert max(abs(size - wanted) for size in sizes) <= chunk_s(128.0) + 120
    assert 100 < wanted * WINDOW_BYTES_PER_S / 1e6 < 150
    # About 10 chunks; hashing every block on its own made it all 50 recordings (of 158 blocks in a shard).
    assert max(len({block.plan.source_sha256 for block in blocks}) for blocks in shards.values()) <= 12
    assert len({shard for _, shard, _ in shards}) == len(shards) == next(iter(shards))[2]


def test_a_shard_reads_each_chunk_in_one_go():
    blocks = sorted(blocks_of("a" * 64, 2), key=lambda block: block_order(block, 128.0))
    chunks = [chunk_hash(block, 128.0) for block in blocks]
    changes = sum(a != b for a, b in pairwise(chunks))
    assert changes == len(set(chunks)) - 1
    steps = [b.starts[0].start - a.starts[0].start for a, b in pairwise(blocks)]
    assert sum(step == 120 * 256 for step in steps) >= len(blocks) - len(set(chunks))


def test_a_small_site_still_has_work_for_several_workers():
    # 4 hours are 98 MB: one shard by size. They have 8 chunks of 30 min, so 4 shards.
    assert len(shards_of([b for i in range(4) for b in blocks_of(f"{i:064x}", 1)])) == 4


@given(
    hours=st.lists(st.floats(0.01, 3), min_size=1, max_size=6),
    shard_mb=st.sampled_from([0.2, 5.0, 128.0]),
    seed=st.randoms(use_true_random=False),
)
def test_every_block_has_a_shard_whatever_the_order(hours, shard_mb, seed):
    blocks = [b for i, h in enumerate(hours) for b in blocks_of(f"{i:064x}", h, site=f"s{i % 2}")]
    shards = shards_of(blocks, shard_mb)
    shuffled = list(blocks)
    seed.shuffle(shuffled)
    order = {key: sorted(bs, key=lambda b: block_order(b, shard_mb)) for key, bs in shards.items()}
    again = {
        key: sorted(bs, key=lambda b: block_order(b, shard_mb)) for key, bs in shards_of(shuffled, shard_mb).items()
    }
    assert order == again
    assert sorted(map(id, blocks)) == sorted(id(b) for bs in shards.values() for b in bs)
    for site, _, total in shards:
        assert {i for s, i, _ in shards if s == site} == set(range(total))
