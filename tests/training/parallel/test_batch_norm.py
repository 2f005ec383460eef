import pytest
import torch
from torch import Tensor, nn

from tests.training.ranks import in_ranks
from training.parallel.batch_norm import norms_of, synced
from training.parallel.distributed import Single, TorchGroup


def network(momentum: float | None = 0.1) -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv1d(2, 4, 3), nn.BatchNorm1d(4, momentum=momentum), nn.ReLU(), nn.Conv1d(4, 3, 3),
        nn.BatchNorm1d(3, affine=False),
    )  # fmt: skip


def data() -> Tensor:
    return 5 + torch.randn((7, 2, 12), generator=torch.Generator().manual_seed(1))


def outcome(module: nn.Module) -> list[Tensor]:
    return [*(p.grad for p in module.parameters()), *module.buffers()]


@pytest.mark.parametrize("momentum", [0.1, None])
@pytest.mark.parametrize("world_size", [2, 3])
def test_any_share_of_windows_gives_the_statistics_and_gradients_of_one_process(
    world_size: int, momentum: float | None
) -> None:
    whole = network(momentum)
    y = whole(data())
    (y * y.detach().sin()).sum().backward()

    def work(processes: TorchGroup) -> list[Tensor]:
        module = network(momentum)
        mine = data()[processes.rank :: processes.world_size]  # 7 windows: unequal shares
        with synced(module, processes):
            out = module(mine)
        (out * out.detach().sin()).sum().backward()
        for parameter in module.parameters():
            parameter.grad = processes.sum(parameter.grad)
        return outcome(module)

    for found in in_ranks(world_size, work):
        for a, b in zip(found, outcome(whole), strict=True):
            torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-4)


def test_a_window_that_goes_along_counts_nothing() -> None:
    def work(processes: TorchGroup) -> list[Tensor]:
        module = network()
        with synced(module, processes) as weight:
            weight.value = 1.0 - processes.rank
            x = data() if processes.rank == 0 else torch.full((1, 2, 12), 1e6)
            (module(x).square().sum() * weight.value).backward()
        return list(module.buffers())

    whole = network()
    whole(data())
    for found in in_ranks(2, work):
        for a, b in zip(found, whole.buffers(), strict=True):
            torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-5)


def test_norms_are_themselves_again_and_shut_ones_stay_as_they_are() -> None:
    def work(processes: TorchGroup) -> bool:
        module = network()
        norms_of(module)[0].eval()
        before = norms_of(module)[0].running_mean.clone()
        with synced(module, processes):
            module(data())
        assert torch.equal(norms_of(module)[0].running_mean, before)
        return all("forward" not in vars(norm) for norm in norms_of(module))

    assert in_ranks(2, work) == [True, True]
    alone = network()
    with synced(alone, Single(rank=0, world_size=1, device=torch.device("cpu"))):
        assert all("forward" not in vars(norm) for norm in norms_of(alone))
