"""Slices of the real pretraining model on two gloo processes, beside the whole model."""

from copy import deepcopy
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from model.encoder import Encoder
from model.encoder_config import EncoderConfig
from model.pretraining.pretraining import PretrainModel
from tests.training.ranks import in_ranks
from training.parallel.distributed import Processes, Sharing, Single, TorchGroup
from training.parallel.sharding import is_sharded, joined, share_out, slices
from training.recipes.finetuning import FinetuneOptim
from training.recipes.sections import Optim
from training.trainer.optim import make_optimizer, make_scheduler
from training.trainer.train import Batch, Trainer

ALONE = Single(rank=0, world_size=1, device=torch.device("cpu"))
CONFIG = EncoderConfig(dim=16, depth=1, n_heads=2, stem_dim=16)
HEADS = {"reconstruction": 1.0, "spectral": 1.0}


def made(seed: int, n: int) -> Batch:
    """Return masked windows of 6 electrodes, 512 samples."""
    rng = torch.Generator().manual_seed(seed)
    x = torch.randn((n, 6, 512), generator=rng)
    mask = torch.zeros_like(x, dtype=torch.bool)
    mask[:, ::2, 100 : 200 + 10 * seed] = True
    position = nn.functional.normalize(torch.randn((6, 3), generator=rng), dim=-1).expand(n, 6, 3)
    return {
        "x_BCT": x, "filled_BCT": x.masked_fill(mask, 0.0), "mask_BCT": mask, "position_BC3": position,
        "electrode_ids_BC": torch.arange(1, 7).expand(n, 6), "sensor_type_BC": torch.zeros((n, 6), dtype=torch.long),
        "adjacency_BCC": torch.ones((n, 6, 6), dtype=torch.bool), "ch_state_BC": torch.full((n, 6), 2),
    }  # fmt: skip


BATCHES = [made(seed, n) for seed, n in enumerate((2, 1, 2))]
"""Three micro-batches: two processes have two and one of them."""


def trainer(processes: Processes, sharing: Sharing = "replicate", **more: Any) -> Trainer:
    torch.manual_seed(0)
    model = PretrainModel(Encoder(CONFIG), HEADS)
    nn.init.normal_(model.heads["reconstruction"].samples.weight, std=0.1)
    whole = deepcopy(model) if sharing == "shard" else None
    share_out(model, processes, sharing)
    optimizer = make_optimizer(model, learning_rate=1e-3, weight_decay=0.05)
    scheduler = make_scheduler(optimizer, warmup_steps=1, steps=10)
    return Trainer(
        module=model, optimizer=optimizer, scheduler=scheduler, processes=processes, seed=0, ema_decay=0.5,
        whole_copy=whole, **more,
    )  # fmt: skip


def steps(run: Trainer, n: int) -> list[dict[str, float]]:
    mine = BATCHES[run.processes.rank :: run.processes.world_size]
    values = [run.take_step(mine) for _ in range(n)]
    assert all(one is not None for one in values)
    return [one for one in values if one is not None]


def weights(run: Trainer) -> dict[str, Tensor]:
    with run.evaluated() as model:
        return {name: value.detach().clone() for name, value in model.state_dict().items()}


def without_gradient(name: str, value: Tensor) -> Tensor:
    """Return which elements are added to all scores of a query alike, so that softmax takes them out.

    What gradient they have is rounding (2e-10 here), and Adam makes steps of it, of the whole rate at most.
    """
    free = torch.zeros_like(value, dtype=torch.bool)
    if name.endswith(".spatial.bias.bias"):
        free[:] = True
    elif name.endswith(".spatial.query_key.bias"):
        free[len(value) // 2 :] = True  # those of the keys
    return free


def assert_close(a: dict[str, Tensor], b: dict[str, Tensor]) -> None:
    for name, value in a.items():
        free = without_gradient(name, value)
        torch.testing.assert_close(value[~free], b[name][~free], rtol=1e-4, atol=1e-5, msg=name)
        torch.testing.assert_close(value[free], b[name][free], rtol=0, atol=3e-3, msg=name)


@pytest.mark.parametrize("sharing", ["replicate", "shard"])
def test_two_processes_take_the_steps_of_one(sharing: Sharing) -> None:
    alone = trainer(ALONE)
    expected = steps(alone, 3)

    def work(processes: TorchGroup) -> tuple[list[dict[str, float]], dict[str, Tensor], int]:
        run = trainer(processes, sharing)
        values = steps(run, 3)
        held = sum(slices(p)["shard"].numel() if is_sharded(run.module) else p.numel() for p in run.module.parameters())
        return values, weights(run), held

    n_parameters = sum(p.numel() for p in alone.module.parameters())
    for values, found, held in in_ranks(2, work):
        for a, b in zip(values, expected, strict=True):
            for name in ("loss", "reconstruction", "spectral", "grad_norm"):
                assert a[name] == pytest.approx(b[name], rel=1e-4)
        assert_close(found, weights(alone))
        assert (held < 0.6 * n_parameters) == (sharing == "shard")


def test_slices_of_one_run_go_on_as_slices_and_as_a_whole() -> None:
    """What two processes save is joined and goes on with two, sliced or not, and with one."""
    expected = trainer(ALONE)
    steps(expected, 2)

    def first(processes: TorchGroup) -> dict[str, Any]:
        run = trainer(processes, "shard")
        steps(run, 1)
        return {**run.state(), "step": run.step}

    state = joined(in_ranks(2, first))
    alone = trainer(ALONE)
    alone.load_state(deepcopy(state))
    steps(alone, 1)
    assert_close(weights(alone), weights(expected))

    def second(processes: TorchGroup) -> list[dict[str, Tensor]]:
        found = []
        for sharing in ("shard", "replicate"):
            run = trainer(processes, sharing)
            run.load_state(deepcopy(state))
            steps(run, 1)
            found.append(weights(run))
        return found

    for found in in_ranks(2, second):
        for one in found:
            assert_close(one, weights(expected))


def test_a_signal_at_any_process_stops_all_before_the_step() -> None:
    def work(processes: TorchGroup) -> tuple[bool, int, bool]:
        run = trainer(processes, "shard")
        run.stop.requested = processes.rank == 1
        stopped = run.take_step(BATCHES[processes.rank :: 2]) is None
        return stopped, run.step, run.stop.requested

    assert in_ranks(2, work) == [(True, 0, True)] * 2


def test_contradictions_are_refused() -> None:
    with pytest.raises(ValueError, match="precision=fp16"):
        Optim(sharing="shard", precision="fp16")
    with pytest.raises(ValueError, match="is for pretraining"):
        FinetuneOptim(sharing="shard")

    class Horovod(Single):
        pass

    with pytest.raises(ValueError, match="is for processes of torchrun"):
        share_out(nn.Linear(1, 1), Horovod(rank=0, world_size=2, device=torch.device("cpu")), "shard")


def test_a_run_that_once_ran_out_of_memory_goes_on_in_slices() -> None:
    # Parts of a micro-batch are passes: two processes would take different numbers of them.
    def work(processes: TorchGroup) -> int:
        run = trainer(processes, "shard")
        run.halvings = 3
        steps(run, 1)
        return run.step

    assert in_ranks(2, work) == [1, 1]
