"""How fast a run is, and how much of its machine it uses."""

import os
import resource
import time
from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from training.monitors.tracking import Tracker

PEAK_TFLOPS = {
    "H200": 989.0,
    "H100": 989.0,
    "A100": 312.0,
    "L40S": 362.0,
    "L4": 121.0,
    "A10G": 70.0,
    "T4": 65.0,
    "V100": 125.0,
}
"""Dense half-precision peak by a part of the device's name, TFLOP/s, from the makers' data sheets."""


def forward_backward_flops(module: nn.Module, batch: Mapping[str, Tensor], device: torch.device) -> int:
    """Return the FLOPs of one forward and backward pass over a batch: matrix products and convolutions only.

    The backward pass counts twice the forward one. Gradients, generators and averages of batch normalisation are left
    as they were.
    """
    was_training = module.training
    module.eval()
    with torch.random.fork_rng(), torch.no_grad(), FlopCounterMode(display=False) as counter:
        module({name: tensor.to(device) for name, tensor in batch.items()})
    module.train(was_training)
    return 3 * int(counter.get_total_flops())


def peak_flops(device: torch.device) -> float | None:
    """Return the device's half-precision peak, FLOP/s, or None where it is not known (a CPU)."""
    if device.type != "cuda":
        return None
    name = torch.cuda.get_device_name(device)
    return next((1e12 * peak for part, peak in PEAK_TFLOPS.items() if part in name), None)


class Usage:
    """What a process used of the machine since the last reading."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._before = (time.perf_counter(), time.process_time())

    def read(self) -> dict[str, float]:
        """Return cpu_cores (busy on average), peak memory of the host, and of the GPU where there is one, MB."""
        now = (time.perf_counter(), time.process_time())
        wall, busy = now[0] - self._before[0], now[1] - self._before[1]
        self._before = now
        values = {
            "cpu_cores": busy / max(wall, 1e-9),
            "peak_rss_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
            "load_average": os.getloadavg()[0],
        }
        if self._device.type == "cuda":
            values["gpu_peak_mb"] = torch.cuda.max_memory_allocated(self._device) / 1e6
            values["gpu_reserved_mb"] = torch.cuda.memory_reserved(self._device) / 1e6
        return values


class Monitor:
    """A tracker that adds to each step what it used of the machine, and the arithmetic it did a second.

    `step_flops` is the work of a whole step over all processes; "mfu" is there where the device's peak is known.
    """

    def __init__(self, tracker: Tracker, *, step_flops: float, world_size: int, device: torch.device) -> None:
        self._tracker, self._flops = tracker, step_flops / world_size
        self._usage, self._peak = Usage(device), peak_flops(device)

    def log(self, step: int, values: Mapping[str, float]) -> None:
        """Pass a step's values on, with more of them."""
        rate = self._flops / values["step_s"]
        more = {"tflops": rate / 1e12, **self._usage.read()}
        if self._peak is not None:
            more["mfu"] = rate / self._peak
        self._tracker.log(step, {**values, **more})

    def close(self) -> None:
        """Close the tracker."""
        self._tracker.close()
