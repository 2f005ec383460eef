"""Corpora too large to be listed: every window once an epoch, by any number of processes, from any place."""

from collections.abc import Callable
from pathlib import Path

import pytest

from signals.shards.normalise import Normaliser
from training.corpus.corpus import Corpus
from training.corpus.lanes import LaneOrder
from training.corpus.order import MicroBatch, order_crc
from training.corpus.source import Choice, Source
from training.corpus.stream import Reading, Stream, shares

N_LANES, BATCH = 4, 8


def lanes(corpus: Corpus, rank: int = 0, world_size: int = 1, **more: object) -> LaneOrder:
    return LaneOrder(
        corpus, more.pop("keep", Choice(corpus.manifest.subjects)), crop_times=1024, batch=BATCH,
        budget_times=2 * 1024, seed=3, rank=rank, world_size=world_size, n_lanes=N_LANES,
    )  # fmt: skip


def pairs(micros: list[MicroBatch]) -> list[tuple[int, int]]:
    return sorted(pair for m in micros for pair in zip(m.windows, m.samples, strict=True))


@pytest.fixture
def corpus(toy_shards: Path) -> Corpus:
    return Corpus.open(toy_shards)


def test_every_epoch_has_every_window_once(corpus: Corpus) -> None:
    order = lanes(corpus)
    drawn = [pair for _ in range(18) for pair in pairs(order.next_step())]  # 144 samples: four epochs of 36
    assert len(set(drawn)) == len(drawn) == 144
    epochs = [sorted(window for window, sample in drawn if sample // 36 == epoch) for epoch in range(4)]
    # 12 shards of 3 windows are 9 windows a lane and epoch, and a lane gives 2 a step: all keep in step here.
    assert epochs == [list(range(36))] * 4
    assert corpus.n_decoded == 0


@pytest.mark.parametrize("world_size", [2, 3, 4])
def test_a_step_is_the_same_for_any_number_of_processes(corpus: Corpus, world_size: int) -> None:
    alone = lanes(corpus)
    ranks = [lanes(corpus, rank, world_size) for rank in range(world_size)]
    shards_of: list[set[int]] = [set() for _ in ranks]
    for _ in range(4):  # less than an epoch
        whole, parts = alone.next_step(), [order.next_step() for order in ranks]
        assert sorted(pair for part in parts for pair in pairs(part)) == pairs(whole)
        assert sum(map(order_crc, parts)) % 2**32 == order_crc(whole)
        for own, part in zip(shards_of, parts, strict=True):
            own |= {corpus.place(window)[0] for window, _ in pairs(part)}
    # no shard is read by two processes
    assert sum(map(len, shards_of)) == len(set().union(*shards_of))


@pytest.mark.parametrize("stopped_after", [1, 4, 5, 11])
def test_a_place_is_all_that_is_needed_to_go_on_with_other_processes(corpus: Corpus, stopped_after: int) -> None:
    alone = lanes(corpus)
    whole = [pairs(alone.next_step()) for _ in range(20)]
    first = [lanes(corpus, rank, 2) for rank in range(2)]
    for _ in range(stopped_after):
        for order in first:
            order.next_step()
    place = sum(order.place for order in first)
    then = [lanes(corpus, rank, 4) for rank in range(4)]
    for order in then:
        order.go_to(place)
    for step in range(stopped_after, 20):
        assert sorted(pair for order in then for pair in pairs(order.next_step())) == whole[step]


def test_windows_that_take_no_part_are_passed_over(corpus: Corpus) -> None:
    order = lanes(corpus, keep=Choice(["site0-s1", "site2-s0"]))
    drawn = [window for _ in range(6) for window, _ in pairs(order.next_step())]
    assert set(drawn) == {3, 4, 5, 24, 25, 26}
    with pytest.raises(ValueError, match="no windows of .* are left"):
        lanes(corpus, keep=Choice(["nobody"])).next_step()


def test_contradictions_are_refused(corpus: Corpus) -> None:
    with pytest.raises(ValueError, match="lanes=4 must be at least the 5 processes"):
        lanes(corpus, world_size=5)


def test_quality_decides_by_the_index_alone(make_toy_shards: Callable[..., Path]) -> None:
    corpus = Corpus.open(make_toy_shards(n_sites=1, n_subjects=2))
    assert len(Choice(corpus.manifest.subjects, min_quality=0.99).rows(corpus).numbers) == 6  # the toy's are 1
    with pytest.raises(ValueError, match="no windows"):
        Choice([], min_quality=0.5).rows(corpus)
    index = corpus.index(0).set_column(corpus.index(0).schema.get_field_index("quality"), "quality", [[0.2, None, 0.7]])
    kept = Choice(corpus.manifest.subjects, min_quality=0.5)(index)
    assert kept.tolist() == [False, False, True]


def test_good_windows_alone_are_chosen_by_the_index(make_toy_shards: Callable[..., Path]) -> None:
    corpus = Corpus.open(make_toy_shards(n_sites=1, n_subjects=1))
    index = corpus.index(0)
    place = index.schema.get_field_index("quality_verdict")
    choice = Choice(corpus.manifest.subjects, good_only=True)
    index = index.set_column(place, "quality_verdict", [["good", "artifacts+noise", "noise"]])
    assert choice(index).tolist() == [True, False, False]
    assert Choice(corpus.manifest.subjects)(index).tolist() == [True, True, True]
    older = index.set_column(place, "quality_verdict", [["good", None, "noise"]])
    with pytest.raises(ValueError, match="good_only: the shards were written before decisions on quality"):
        choice(older)
    assert corpus.n_decoded == 0


@pytest.mark.parametrize(("weights", "expected"), [((1, 1), [4, 4]), ((3, 1), [6, 2]), ((1000, 1), [7, 1])])
def test_corpora_give_windows_by_their_weights(weights: tuple[float, ...], expected: list[int]) -> None:
    assert shares(weights, 8) == expected


def test_weights_that_cannot_be_kept_are_refused() -> None:
    with pytest.raises(ValueError, match="must be positive"):
        shares((1.0, 0.0), 8)
    with pytest.raises(ValueError, match="at most as many as batch=1"):
        shares((1.0, 1.0), 1)


@pytest.mark.parametrize("world_size", [1, 2, 4])
def test_each_window_is_decoded_once_whatever_the_number_of_processes(toy_shards: Path, world_size: int) -> None:
    """One listed corpus and one read by lanes, mixed by weights; each process opens its own."""
    decoded = set[int]()
    n_decoded = drawn = 0
    for rank in range(world_size):
        sources = [
            Source(corpus=Corpus.open(toy_shards), normaliser=Normaliser(kind="window"), crop_times=1024, seed=(0, 1))
            for _ in range(2)
        ]
        reading = Reading(batch=16, micro_batch=4, seed=0, n_lanes=4, rank=rank, world_size=world_size)
        choices = [Choice(source.corpus.manifest.subjects) for source in sources]
        stream = Stream(sources, choices, reading, (1.0, 1.0))
        # lanes for the second: one more window than may be listed
        stream._orders[1] = LaneOrder(
            sources[1].corpus, choices[1], crop_times=1024, batch=8, budget_times=4096, seed=0, rank=rank,
            world_size=world_size, n_lanes=4,
        )  # fmt: skip
        for _, groups, place in stream.plan(range(4)):  # 32 windows of each: less than an epoch
            assert place.shape == (4, 3)
            for number, micro in (part for group in groups for part in group):
                raw = sources[number].raw(micro)
                drawn += len(raw["x_BCT"])
                decoded |= {1000 * number + window for window in micro.windows}
        n_decoded += sum(source.corpus.n_decoded for source in sources)
    assert drawn == len(decoded) == 64
    assert n_decoded == 64
