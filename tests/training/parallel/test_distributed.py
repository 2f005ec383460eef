import importlib.util
import os
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.distributed as dist
from torch import nn

from training.parallel import distributed
from training.parallel.distributed import Single, start_processes

TORCHRUN = ["-m", "torch.distributed.run", "--nproc_per_node=2", "--standalone"]
# Each rank has gradients of its own, one parameter is used on rank 0 only, buckets are as small as one parameter.
SUMS = """
import sys, torch
from torch import nn
from training.parallel import distributed, gradients
gradients.BUCKET_BYTES = 1
processes = distributed.start_processes(sys.argv[1])
torch.manual_seed(0)
module = nn.ModuleList([nn.Linear(3, 2), nn.Linear(2, 2)])
processes.check_same(module)
sums = gradients.GradientSums(module, processes)
loss = sum(p.sum() for number, p in enumerate(module.parameters()) if number < 2 or processes.rank == 0)
with sums.overlapping():
    (loss * 10.0 ** processes.rank).backward()
sums.finish()
assert [p.grad.unique().tolist() for p in module.parameters()] == [[11.0], [11.0], [1.0], [1.0]]
assert processes.sum(torch.tensor([1.0, processes.rank])).tolist() == [2.0, 1.0]
if processes.rank:
    nn.init.zeros_(module[0].weight)
try:
    processes.check_same(module)
except RuntimeError as error:
    assert "same parameters" in str(error)
else:
    raise AssertionError("other parameters on rank 1 went unnoticed")
processes.barrier()
processes.close()
sys.stdout.write(f"done {processes.rank} {processes.world_size}\\n")  # one write: two ranks share the stream
"""


def launch(command: list[str]) -> str:
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=240, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def horovodrun() -> list[str]:
    if importlib.util.find_spec("horovod") is None:
        pytest.skip("Horovod is not built here: make install-horovod")
    return [str(Path(sys.executable).parent / "horovodrun"), "--gloo", "-np", "2", sys.executable]


@pytest.fixture
def script(tmp_path: Path) -> str:
    path = tmp_path / "sums.py"
    path.write_text(SUMS)
    return str(path)


def test_gradients_are_summed_over_torch_processes(script: str) -> None:
    output = launch([sys.executable, *TORCHRUN, script, "auto"])
    assert "done 0 2" in output
    assert "done 1 2" in output


def test_gradients_are_summed_over_horovod_processes(script: str) -> None:
    output = launch([*horovodrun(), script, "auto"])
    assert "done 0 2" in output
    assert "done 1 2" in output


def test_horovod_gives_the_losses_of_one_process(
    toy_shards: Path, tmp_path: Path, metrics_of: Callable[[Path], list[dict[str, float]]]
) -> None:
    launcher = horovodrun()
    more = ["-m", "training.pretrain", "--tiny", "--schedule.steps", "6", "--model.dim", "32",
            "--model.depth", "1", "--model.stem-dim", "32"]  # fmt: skip
    more += ["--shards", str(toy_shards), "--output"]
    launch([sys.executable, *more, str(tmp_path / "one")])
    launch([*launcher, *more, str(tmp_path / "two"), "--dist", "horovod"])
    one, two = ([line["loss"] for line in metrics_of(tmp_path / name)] for name in ("one", "two"))
    np.testing.assert_allclose(two, one, rtol=1e-4)


def test_a_missing_horovod_is_reported_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "horovod", None)
    monkeypatch.setitem(sys.modules, "horovod.torch", None)
    with pytest.raises(ValueError, match="Horovod is not installed .*: make install-horovod, or start with torchrun"):
        start_processes("horovod")


def test_alone_nothing_is_exchanged() -> None:
    alone = Single(rank=0, world_size=1, device=torch.device("cpu"))
    alone.check_same(nn.Linear(2, 1))
    values = torch.ones(2)
    assert alone.start_sum(values)() is values
    assert alone.is_main


def test_a_start_does_not_see_what_dead_processes_left_in_the_store() -> None:
    store = dist.HashStore()
    store.set("token/1", "of a dead process")  # rank 1 of the last start; rank 2 left nothing
    store.set("rank 1 listens at", "a port that is closed")

    def begin(rank: int) -> dist.Store:
        return distributed.fresh_store(store, rank, 3)

    for _ in range(2):
        with ThreadPoolExecutor(3) as pool:
            stores = list(pool.map(begin, range(3)))
        assert not any(part.check(["rank 1 listens at"]) for part in stores)
        stores[1].set("rank 1 listens at", "a new port")
        assert [part.get("rank 1 listens at") for part in stores] == [b"a new port"] * 3
