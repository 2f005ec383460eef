"""Functions run by several real processes of one gloo group, forked so that nothing is imported again."""

import multiprocessing
import tempfile
import traceback
from collections.abc import Callable
from io import BytesIO
from typing import Any

import torch
import torch.distributed as dist

from training.parallel.distributed import TorchGroup


def in_ranks(world_size: int, work: Callable[[TorchGroup], Any], *, timeout_s: float = 120) -> list[Any]:
    """Return what `work` returns in each process; raises AssertionError with the traceback of one that failed."""
    context = multiprocessing.get_context("fork")
    with tempfile.TemporaryDirectory() as folder:
        pipes = [context.Pipe(duplex=False) for _ in range(world_size)]
        processes = [
            context.Process(target=_rank, args=(rank, world_size, f"{folder}/store", work, pipes[rank][1]))
            for rank in range(world_size)
        ]
        for process in processes:
            process.start()
        try:
            found = []
            for receive, _ in pipes:
                assert receive.poll(timeout_s), f"no answer within {timeout_s} s"
                is_good, raw = receive.recv()
                found.append((is_good, torch.load(BytesIO(raw), weights_only=False) if is_good else raw))
        finally:
            for process in processes:
                process.kill()
                process.join()
    failed = [text for is_good, text in found if not is_good]
    assert not failed, failed[0]
    return [value for _, value in found]


def _rank(rank: int, world_size: int, store: str, work: Callable[[TorchGroup], Any], answer: Any) -> None:
    torch.set_num_threads(1)
    try:
        dist.init_process_group("gloo", init_method=f"file://{store}", rank=rank, world_size=world_size)
        processes = TorchGroup(rank=rank, world_size=world_size, device=torch.device("cpu"))
        buffer = BytesIO()  # tensors would travel as shared memory of a process that is gone
        torch.save(work(processes), buffer)
        answer.send((True, buffer.getvalue()))
        processes.barrier()
    except BaseException:
        answer.send((False, traceback.format_exc()))
