import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from training.corpus.order import Order, check_batches, epoch_order


def test_epoch_order_is_a_seeded_permutation_that_keeps_shards_together() -> None:
    shard_of = np.repeat(np.arange(40), 5)
    order = epoch_order(shard_of, seed=1, epoch=0, block_shards=4)
    assert sorted(order) == list(range(200))
    assert (order == epoch_order(shard_of, seed=1, epoch=0, block_shards=4)).all()
    assert (order != epoch_order(shard_of, seed=1, epoch=1, block_shards=4)).any()
    assert (order != epoch_order(shard_of, seed=2, epoch=0, block_shards=4)).any()
    # blocks of 4 shards of 5 windows: each 20 samples touch 4 shards only
    assert all(len(set(shard_of[block])) == 4 for block in order.reshape(10, 20))


def order_of(n_windows: int = 25, *, budget_times: int = 2560 * 2, seed: int = 3) -> Order:
    return Order(
        range(5, 5 + n_windows), np.arange(n_windows) // 3, [2560] * n_windows, budget_times=budget_times, seed=seed
    )


def test_every_epoch_has_every_window_once_in_another_order() -> None:
    order = order_of()
    assert order.n_micro == 13  # 12 pairs and one alone
    epochs = [[order.micro_batch(13 * epoch + place) for place in range(13)] for epoch in (0, 1)]
    for epoch, micros in enumerate(epochs):
        assert sorted(w for micro in micros for w in micro.windows) == list(range(5, 30))
        samples = [s for micro in micros for s in micro.samples]
        assert sorted(samples) == list(range(25 * epoch, 25 * epoch + 25))
    assert [m.windows for m in epochs[0]] != [m.windows for m in epochs[1]]


def test_any_micro_batch_can_be_asked_for_first() -> None:
    order = order_of()
    known = [order.micro_batch(number) for number in range(40)]
    assert order_of().micro_batch(31) == known[31]
    assert [order_of().micro_batch(number) for number in (39, 2)] == [known[39], known[2]]
    assert order_of(seed=4).micro_batch(0) != known[0]


@pytest.mark.parametrize("world_size", [1, 2, 4])
def test_a_step_is_the_same_for_any_number_of_processes(world_size: int) -> None:
    order = order_of()
    for step in range(6):
        whole = order.step(step, n_micro=4)
        shared = [order.step(step, n_micro=4)[rank::world_size] for rank in range(world_size)]
        assert sorted((m for mine in shared for m in mine), key=lambda m: m.samples) == sorted(
            whole, key=lambda m: m.samples
        )


@given(
    lengths=st.lists(st.sampled_from([512, 2560, 12800]), min_size=1, max_size=40),
    budget=st.integers(256, 30000),
    seed=st.integers(0, 5),
)
def test_micro_batches_are_of_one_length_and_within_the_budget(lengths: list[int], budget: int, seed: int) -> None:
    order = Order(range(len(lengths)), np.arange(len(lengths)) // 4, lengths, budget_times=budget, seed=seed)
    micros = [order.micro_batch(number) for number in range(order.n_micro)]
    assert sorted(w for micro in micros for w in micro.windows) == list(range(len(lengths)))
    for micro in micros:
        assert {lengths[w] for w in micro.windows} == {micro.n_times}
        assert len(micro.windows) == 1 or len(micro.windows) * micro.n_times <= budget


def test_world_size_that_does_not_divide_is_refused() -> None:
    check_batches(batch=8, micro_batch=2, world_size=4)
    with pytest.raises(ValueError, match="batch=8 is no multiple of micro_batch=2 x 3 processes"):
        check_batches(batch=8, micro_batch=2, world_size=3)
