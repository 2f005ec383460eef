from contextlib import nullcontext

import pytest
import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from tests.training.ranks import in_ranks
from training.parallel import gradients
from training.parallel.distributed import Single, TorchGroup
from training.parallel.gradients import GradientSums, buckets


def network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(5, 8), nn.GELU(), nn.Linear(8, 8), nn.GELU(), nn.Linear(8, 3))


def grads(module: nn.Module) -> list[Tensor]:
    return [p.grad.clone() for p in module.parameters() if p.grad is not None]


def inputs(rank: int, n: int = 3) -> list[Tensor]:
    generator = torch.Generator().manual_seed(rank)
    return [torch.randn((4, 5), generator=generator) for _ in range(n)]


@pytest.mark.parametrize("bucket_bytes", [1, 200, 1 << 20])
def test_sums_are_those_of_torch_s_own_parallel_with_no_sync(
    bucket_bytes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gradients, "BUCKET_BYTES", bucket_bytes)

    def work(processes: TorchGroup) -> float:
        ours, theirs = network(), DistributedDataParallel(network())
        sums = GradientSums(ours, processes)
        for _ in range(2):  # torch arranges its buckets anew after the first step
            ours.zero_grad()
            theirs.zero_grad()
            sums.begin()
            for number, x in enumerate(inputs(processes.rank)):
                is_last = number == 2
                with sums.overlapping() if is_last else nullcontext():
                    ours(x).square().sum().backward()
                with nullcontext() if is_last else theirs.no_sync():
                    theirs(x).square().sum().backward()
            sums.finish()
        pairs = zip(grads(ours), grads(theirs), strict=True)
        # Theirs is a mean over processes.
        return max(float((a - processes.world_size * b).abs().max() / a.abs().max()) for a, b in pairs)

    assert max(in_ranks(2, work)) < 1e-5


def test_buckets_travel_while_the_last_backward_pass_goes_on_and_not_before() -> None:
    def work(processes: TorchGroup) -> tuple[int, int]:
        module = network()
        sums, sent = GradientSums(module, processes), []
        real = processes.start_sum
        object.__setattr__(processes, "start_sum", lambda values: sent.append(len(sent)) or real(values))
        module(inputs(0)[0]).sum().backward()
        before = len(sent)
        with sums.overlapping():
            module(inputs(0)[1]).sum().backward()
        during = len(sent)
        sums.finish()
        assert len(sent) == during
        return before, during

    small = gradients.BUCKET_BYTES
    gradients.BUCKET_BYTES = 100
    try:
        # Sizes from the last parameter on, bytes: 12 + 96, then 32 + 256, then 32 + 160; a bucket is full at 100.
        assert in_ranks(2, work) == [(0, 3)] * 2
    finally:
        gradients.BUCKET_BYTES = small


@pytest.mark.parametrize("failing", ["no micro-batch", "stopped half-way", "part of the module"])
def test_nobody_waits_for_a_process_that_gives_less(failing: str) -> None:
    def work(processes: TorchGroup) -> list[Tensor]:
        module = network()
        sums = GradientSums(module, processes)
        sums.begin()
        if processes.rank == 1:
            if failing == "part of the module":
                with sums.overlapping():
                    module[4](torch.ones(2, 8)).sum().backward()
            elif failing == "stopped half-way":
                module(inputs(1)[0]).sum().backward()
        else:
            with sums.overlapping():
                module(inputs(0)[0]).square().sum().backward()
        sums.finish()
        return grads(module)

    first, second = in_ranks(2, work)
    assert len(first) == 6
    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))


def test_what_is_shut_is_not_sent_until_it_is_opened() -> None:
    def work(processes: TorchGroup) -> list[int]:
        module = network()
        module[0].requires_grad_(False)
        sums, numbers = GradientSums(module, processes), []
        for _ in range(2):
            module.zero_grad()
            sums.begin()
            with sums.overlapping():
                module(inputs(0)[0]).sum().backward()
            sums.finish()
            numbers.append(sum(p.grad is not None for p in module.parameters()))
            module[0].requires_grad_(True)
        return numbers

    assert in_ranks(2, work) == [[4, 6]] * 2


def test_alone_nothing_is_sent() -> None:
    module = network()
    sums = GradientSums(module, Single(rank=0, world_size=1, device=torch.device("cpu")))
    with sums.overlapping():
        module(inputs(0)[0]).sum().backward()
    expected = grads(module)
    sums.finish()
    assert all(torch.equal(a, b) for a, b in zip(grads(module), expected, strict=True))


def test_buckets_keep_types_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    parameters = [nn.Parameter(torch.zeros(4)), nn.Parameter(torch.zeros(4, dtype=torch.float64))]
    assert [len(bucket) for bucket in buckets([*parameters, parameters[1]])] == [1, 2]


def test_four_processes_that_go_on_end_with_the_same_bits(monkeypatch: pytest.MonkeyPatch) -> None:
    """The order in which four numbers are added up shows in the last bit, so buckets may not change on the way."""
    monkeypatch.setattr(gradients, "BUCKET_BYTES", 200)

    def step(module: nn.Module, sums: GradientSums, rank: int, number: int) -> None:
        x = inputs(10 * number + rank, 1)[0]
        module.zero_grad()
        sums.begin()
        with sums.overlapping():
            module(x).square().sum().backward()
        sums.finish()
        with torch.no_grad():
            for parameter in module.parameters():
                parameter -= 1e-3 * parameter.grad  # type: ignore[operator]

    def work(processes: TorchGroup) -> bool:
        whole, cut = network(), network()
        sums = GradientSums(whole, processes)
        for number in range(4):
            step(whole, sums, processes.rank, number)
        for number in range(4):
            if number in (0, 2):  # started, and started again
                again = network()
                again.load_state_dict(cut.state_dict())
                cut, sums = again, GradientSums(again, processes)
            step(cut, sums, processes.rank, number)
        pairs = zip(whole.parameters(), cut.parameters(), strict=True)
        return all(torch.equal(a, b) for a, b in pairs)

    assert in_ranks(4, work) == [True] * 4
