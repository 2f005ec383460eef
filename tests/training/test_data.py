import threading
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from signals.manifest import COMPLETED, ManifestError
from signals.normalise import Normaliser
from signals.windows import INTERPOLATED, MEASURED
from training.data import Order, Shards, check_batches, epoch_order, micro_batches_of, prefetch

WINDOW = Normaliser(kind="window")


def test_windows_come_back_normalised_with_who_they_are(toy_shards: Path) -> None:
    shards = Shards(toy_shards)
    assert len(shards.entries) == 36
    assert shards.n_times == 2560
    batch = shards.batch([0, 35], WINDOW)
    assert batch.x_BCT.shape == (2, 19, 2560)
    assert batch.x_BCT.dtype == np.float32
    # the window's scale is the median of the measured channels' standard deviations
    for row, x in enumerate(batch.x_BCT):
        assert np.median(x[batch.ch_state_BC[row] == MEASURED].std(axis=1)) == pytest.approx(1.0, abs=0.01)
    assert [entry.subject_id for entry in batch.entries] == ["site0-s0", "site2-s3"]
    assert shards.batch([1], WINDOW).ch_state_BC[0, 4] == INTERPOLATED


def test_memory_budget_changes_no_sample(toy_shards: Path) -> None:
    roomy, tight = Shards(toy_shards), Shards(toy_shards, cache_bytes=1)
    indices = [30, 2, 17, 2]
    np.testing.assert_array_equal(roomy.batch(indices, WINDOW).x_BCT, tight.batch(indices, WINDOW).x_BCT)
    assert len(tight._cache) == 1


def test_excluded_sites_are_not_read(toy_shards: Path) -> None:
    shards = Shards(toy_shards, exclude_sites=["site1"])
    assert {entry.site_id for entry in shards.entries} == {"site0", "site2"}
    assert all("site1" not in shards.manifest.shards[number].path for number in shards._cache)


def test_wrong_shard_sets_are_refused(toy_shards: Path, make_toy_shards: Callable[..., Path], tmp_path: Path) -> None:
    with pytest.raises(ManifestError, match="no shard set"):
        Shards(tmp_path / "nothing")
    with pytest.raises(ValueError, match="'site9'"):
        Shards(toy_shards, exclude_sites=["site9"])
    with pytest.raises(ValueError, match="outside of the excluded sites"):
        Shards(toy_shards, exclude_sites=["site0", "site1", "site2"])
    unfinished = make_toy_shards(n_sites=1, n_subjects=1)
    (unfinished / COMPLETED).unlink()
    with pytest.raises(ManifestError, match="unfinished"):
        Shards(unfinished)


def test_epoch_order_is_a_seeded_permutation_that_keeps_shards_together() -> None:
    shard_of = np.repeat(np.arange(40), 5)
    order = epoch_order(shard_of, seed=1, epoch=0, block_shards=4)
    assert sorted(order) == list(range(200))
    assert (order == epoch_order(shard_of, seed=1, epoch=0, block_shards=4)).all()
    assert (order != epoch_order(shard_of, seed=1, epoch=1, block_shards=4)).any()
    assert (order != epoch_order(shard_of, seed=2, epoch=0, block_shards=4)).any()
    # blocks of 4 shards of 5 windows: each 20 samples touch 4 shards only
    assert all(len(set(shard_of[block])) == 4 for block in order.reshape(10, 20))


@pytest.mark.parametrize("world_size", [1, 2, 4])
def test_order_does_not_depend_on_world_size(toy_shards: Path, world_size: int) -> None:
    shards = Shards(toy_shards)
    order = Order(shards.entries, range(5, 30), seed=3)
    for step in range(6):
        seen = [
            samples
            for rank in range(world_size)
            for samples in micro_batches_of(step, batch=8, micro_batch=2, rank=rank, world_size=world_size)
        ]
        assert sorted(sample for samples in seen for sample in samples) == list(range(step * 8, step * 8 + 8))
        assert {tuple(samples) for samples in seen} == {(s, s + 1) for s in range(step * 8, step * 8 + 8, 2)}
    epochs = [[order.window_of(sample) for sample in range(start, start + 25)] for start in (0, 25)]
    assert all(sorted(epoch) == list(range(5, 30)) for epoch in epochs)
    assert epochs[0] != epochs[1]
    assert Order(shards.entries, range(5, 30), seed=3).window_of(31) == epochs[1][6]


def test_world_size_that_does_not_divide_is_refused() -> None:
    check_batches(batch=8, micro_batch=2, world_size=4)
    with pytest.raises(ValueError, match="batch=8 is no multiple of micro_batch=2 x 3 processes"):
        check_batches(batch=8, micro_batch=2, world_size=3)


def test_prefetch_keeps_order_and_raises_in_place() -> None:
    def make(number: int) -> int:
        if number == 3:
            raise RuntimeError("shard 3")
        return number * 10

    values = prefetch(make, range(5))
    assert [next(values) for _ in range(3)] == [0, 10, 20]
    with pytest.raises(RuntimeError, match="shard 3"):
        next(values)
    assert list(prefetch(make, range(3), depth=1)) == [0, 10, 20]


def test_prefetch_leaves_no_thread_behind() -> None:
    values = prefetch(lambda n: time.sleep(0.05) or n, range(1000))
    assert next(values) == 0
    values.close()
    assert "prefetch" not in {thread.name for thread in threading.enumerate()}
