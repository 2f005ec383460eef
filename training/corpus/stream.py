"""What each step of a pretraining trains on, from one corpus or several with sampling weights."""

from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from training.corpus.buckets import Part, bucketed, stacked
from training.corpus.lanes import LaneOrder
from training.corpus.order import MicroBatch, Order, order_crc
from training.corpus.partners import Partners
from training.corpus.prefetch import prefetch
from training.corpus.source import Choice, Source
from training.corpus.steps import StepBatches
from training.objectives.preparation import Preparation

Planned = tuple[int, list[list[Part]], Tensor]
"""A step, its micro-batches of parts of one source or several, and the place after it (see `LaneOrder.place`)."""


@dataclass(frozen=True, kw_only=True)
class Reading:
    """How a run reads its corpora."""

    batch: int
    micro_batch: int
    seed: int
    n_lanes: int = 8
    """Of corpora that are too large to be listed; at least as many as there are processes."""
    listed_most: int = 1 << 20
    rank: int
    world_size: int


class Stream:
    """This process's part of the endless stream over all sources."""

    def __init__(
        self,
        sources: Sequence[Source],
        choices: Sequence[Choice],
        reading: Reading,
        weights: Sequence[float] = (),
        *,
        partners: Sequence[Partners] = (),
    ) -> None:
        """`weights`: each corpus's share of a step's windows; by their numbers of windows without.

        `partners`: of the windows of each corpus, where a step reads them too.
        """
        self.sources, self.reading, self.partners = sources, reading, partners
        sizes = [len(source.corpus) for source in sources]
        quotas = shares(weights or sizes, reading.batch)
        self._orders: list[Order | LaneOrder] = [
            self._order(source, choice, quota) for source, choice, quota in zip(sources, choices, quotas, strict=True)
        ]

    def __len__(self) -> int:
        """Return how many windows an epoch over all sources has."""
        return sum(map(len, self._orders))

    def _order(self, source: Source, choice: Choice, quota: int) -> Order | LaneOrder:
        reading, corpus = self.reading, source.corpus
        budget = {"batch": quota, "budget_times": reading.micro_batch * source.crop_times, "seed": reading.seed}
        if len(corpus) > reading.listed_most:
            return LaneOrder(
                corpus, choice, crop_times=source.crop_times, rank=reading.rank, world_size=reading.world_size,
                n_lanes=reading.n_lanes, **budget,
            )  # fmt: skip
        rows = choice.rows(corpus)
        return Order(rows.numbers, rows.shards, rows.n_times.clip(max=source.crop_times), **budget)

    @property
    def place(self) -> Tensor:
        """Where this process's lanes are, float64, shape (n, 3); those of all processes add up."""
        places = [order.place for order in self._orders if isinstance(order, LaneOrder)]
        return torch.cat(places) if places else torch.zeros((0, 3), dtype=torch.float64)

    def go_to(self, place: Tensor) -> None:
        """Go on from the sum of all processes' places."""
        lanes = [order for order in self._orders if isinstance(order, LaneOrder)]
        for order, part in zip(lanes, place.split([order.n_lanes for order in lanes]), strict=True):
            order.go_to(part)

    def first(self) -> tuple[int, MicroBatch]:
        """Return a micro-batch like those of the run, without going on, and its source."""
        for number, order in enumerate(self._orders):
            if isinstance(order, Order):
                return number, order.step(0)[0]
        lanes = self._orders[0]
        assert isinstance(lanes, LaneOrder)
        place = lanes.place
        micro = lanes.next_step()[0]
        lanes.go_to(place)
        return 0, micro

    def read(self, groups: Sequence[Sequence[Part]]) -> list[tuple[int, dict[str, Tensor]]]:
        """Return raw micro-batches of groups, each with the number of its first source; empty ones are left out.

        Where partners are read, it stands in them whose each window is, and which are a pair.
        """
        made = []
        for group in groups:
            parts = []
            for number, micro in group:
                raw = self.sources[number].raw(micro)
                if self.partners:
                    raw = self.partners[number].identified(raw, micro, source=number, n_sources=len(self.sources))
                parts.append(raw)
            batch = stacked(parts)
            if len(batch["x_BCT"]):
                made.append((group[0][0], batch))
        return made

    def partner_groups(self, groups: Sequence[Sequence[Part]]) -> list[list[Part]]:
        """Return groups of partners of the windows of groups; those without any are left out."""
        drawn = [[(number, self.partners[number].of(micro)) for number, micro in group] for group in groups]
        there = [[(number, micro) for number, micro in group if micro.windows] for group in drawn]
        return [group for group in there if group]

    def plan(self, steps: range) -> Iterator[Planned]:
        """Yield what this process trains on in each step."""
        reading = self.reading
        for step in steps:
            listed, own = [], []
            for number, order in enumerate(self._orders):
                if isinstance(order, Order):
                    listed += [(number, micro) for micro in order.step(step, world_size=reading.world_size)]
                else:
                    own += [(number, micro) for micro in order.next_step()]
            mine = self._bucketed(listed)[reading.rank :: reading.world_size]
            yield step, [*mine, *self._bucketed(own)], self.place

    def _bucketed(self, parts: Sequence[Part]) -> list[list[Part]]:
        """Return micro-batches; those of sources of one rate may share a forward pass."""
        reading, groups = self.reading, []
        most = min(reading.micro_batch, max(1, reading.batch // reading.world_size))
        n_chans = [source.corpus.manifest.modality.n_chans for source in self.sources]
        for sfreq in sorted({source.sfreq for source in self.sources}):
            groups += bucketed([part for part in parts if self.sources[part[0]].sfreq == sfreq], n_chans, most=most)
        return groups


def shares(weights: Sequence[float], batch: int) -> list[int]:
    """Return how many of a step's windows each corpus gives: by weight, at least one each.

    Raises ValueError for weights that are not positive, and for fewer windows than corpora.
    """
    if min(weights) <= 0 or len(weights) > batch:
        raise ValueError(f"weights={list(weights)} must be positive, and at most as many as batch={batch}")
    exact = [weight / sum(weights) * batch for weight in weights]
    quotas = [max(1, int(value)) for value in exact]
    while sum(quotas) != batch:
        step = 1 if sum(quotas) < batch else -1
        movable = [k for k, quota in enumerate(quotas) if quota + step >= 1]
        quotas[max(movable, key=lambda k: step * (exact[k] - quotas[k]))] += step
    return quotas


@dataclass(frozen=True)
class Prepare:
    """Makes steps of raw samples steps to train on, each source by its own preparation."""

    preparations: Sequence[Preparation]
    line_steps: int = 0
    """First steps, whose gaps start from the line."""
    views: Sequence[Preparation] = ()
    """How partners are prepared, where there are any."""

    def __call__(self, step: StepBatches) -> StepBatches:
        """Return the step, prepared, on the device of its samples."""
        made = []
        for raw, number in zip(step.micro_batches, step.sources, strict=True):
            preparation = self.preparations[number]
            made.append((replace(preparation, filling="line") if step.step < self.line_steps else preparation)(raw))
        partners = None if step.partners is None else Prepare(self.views)(step.partners)
        return replace(step, micro_batches=made, partners=partners)


def step_batches(stream: Stream, steps: range, prepare: Prepare | None, *, n_workers: int) -> Generator[StepBatches]:
    """Yield what each step trains on, on this process.

    Samples are read ahead, by `n_workers` processes or, without, a thread; with `prepare` they are prepared there too.
    """

    def make(planned: Planned) -> StepBatches:
        step, groups, place = planned
        read = stream.read(groups)
        seconds = [raw["x_BCT"][:, 0].numel() / stream.sources[number].sfreq for number, raw in read]
        raw_step = replace(
            _raw_step(read),
            step=step,
            eeg_hours=sum(seconds) / 3600,
            order_crc=order_crc([micro for group in groups for _, micro in group]),
            place=place,
            partners=_raw_step(stream.read(stream.partner_groups(groups))) if stream.partners else None,
        )
        if prepare is not None:
            return prepare(raw_step)
        on_host = n_workers == 0 and all(source.resident is None for source in stream.sources)
        return raw_step.pinned() if on_host and torch.cuda.is_available() else raw_step

    plan = stream.plan(steps)
    if n_workers == 0:
        yield from prefetch(make, plan)
    else:
        yield from DataLoader(
            _Steps(make),
            batch_size=None,
            sampler=plan,
            num_workers=n_workers,
            multiprocessing_context="fork",
        )


def _raw_step(read: Sequence[tuple[int, dict[str, Tensor]]]) -> StepBatches:
    micro_batches, sources = [raw for _, raw in read], tuple(number for number, _ in read)
    return StepBatches(micro_batches=micro_batches, sources=sources, eeg_hours=0.0)


@dataclass(frozen=True)
class _Steps(Dataset[StepBatches]):
    """Steps by their plan, as torch's loader wants them."""

    make: Callable[[Planned], StepBatches]

    def __getitem__(self, planned: Planned) -> StepBatches:
        return self.make(planned)
