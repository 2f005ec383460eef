import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from training.corpus.order import Order, check_batch, epoch_order, order_crc


def test_epoch_order_is_a_seeded_permutation_that_keeps_shards_together() -> None:
    shard_of = np.repeat(np.arange(40), 5)
    order = epoch_order(shard_of, seed=1, epoch=0, block_shards=4)
    assert sorted(order) == list(range(200))
    assert (order == epoch_order(shard_of, seed=1, epoch=0, block_shards=4)).all()
    assert (order != epoch_order(shard_of, seed=1, epoch=1, block_shards=4)).any()
    assert (order != epoch_order(shard_of, seed=2, epoch=0, block_shards=4)).any()
    # blocks of 4 shards of 5 windows: each 20 samples touch 4 shards only
    assert all(len(set(shard_of[block])) == 4 for block in order.reshape(10, 20))


def order_of(n_windows: int = 25, *, batch: int = 4, budget_times: int = 2560 * 2, seed: int = 3) -> Order:
    return Order(
        range(5, 5 + n_windows), np.arange(n_windows) // 3, [2560] * n_windows, batch=batch, budget_times=budget_times,
        seed=seed,
    )  # fmt: skip


def pairs(order: Order, step: int, **more: int) -> list[tuple[int, int]]:
    return [pair for m in order.step(step, **more) for pair in zip(m.windows, m.samples, strict=True)]


def test_every_epoch_has_every_window_once_in_another_order() -> None:
    order = order_of()
    drawn = [pair for step in range(13) for pair in pairs(order, step)]  # 52 samples: two epochs and two more
    assert [sample for _, sample in drawn] == list(range(52))
    first, second = ([window for window, _ in drawn[25 * e : 25 * e + 25]] for e in (0, 1))
    assert sorted(first) == sorted(second) == list(range(5, 30))
    assert first != second


def test_any_step_can_be_requested_first() -> None:
    order = order_of()
    known = [order.step(number) for number in range(40)]
    assert order_of().step(31) == known[31]
    assert [order_of().step(number) for number in (39, 2)] == [known[39], known[2]]
    assert order_of(seed=4).step(0) != known[0]


@pytest.mark.parametrize("world_size", [1, 2, 3, 4])
def test_a_step_is_the_same_for_any_number_of_processes(world_size: int) -> None:
    order = order_of()
    for step in range(6):
        whole, parts = order.step(step), order.step(step, world_size=world_size)
        shared = [parts[rank::world_size] for rank in range(world_size)]
        assert sorted(pairs(order, step, world_size=world_size)) == sorted(pairs(order, step))
        assert all(shared)  # nobody is without work: four windows make four micro-batches where they must
        assert sum(map(order_crc, shared)) % 2**32 == order_crc(whole)
        assert world_size > 2 or parts == whole


@given(
    lengths=st.lists(st.sampled_from([512, 2560, 12800]), min_size=1, max_size=40),
    budget=st.integers(256, 30000),
    batch=st.integers(1, 20),
    seed=st.integers(0, 5),
)
def test_micro_batches_are_of_one_length_and_within_the_budget(
    lengths: list[int], budget: int, batch: int, seed: int
) -> None:
    order = Order(
        range(len(lengths)), np.arange(len(lengths)) // 4, lengths, batch=batch, budget_times=budget, seed=seed
    )
    for step in range(3):
        micros = order.step(step)
        assert sum(len(micro.windows) for micro in micros) == batch
        for micro in micros:
            assert {lengths[w] for w in micro.windows} == {micro.n_times}
            assert len(micro.windows) == 1 or len(micro.windows) * micro.n_times <= budget


def test_more_processes_than_windows_of_a_step_are_refused() -> None:
    check_batch(batch=8, world_size=8)
    with pytest.raises(ValueError, match="batch=8 is smaller than the 9 processes"):
        check_batch(batch=8, world_size=9)
