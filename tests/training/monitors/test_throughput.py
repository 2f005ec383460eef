import pytest
import torch
from torch import nn

from training.monitors import throughput
from training.monitors.stopwatch import Stopwatch
from training.monitors.throughput import PEAK_TFLOPS, Monitor, Usage, forward_backward_flops, peak_flops

CPU = torch.device("cpu")


class Toy(nn.Module):
    def __init__(self):
        super().__init__()
        self.linear, self.norm = nn.Linear(8, 4, bias=False), nn.BatchNorm1d(4)

    def forward(self, batch):
        return self.norm(self.linear(batch["x"]))


def test_work_of_a_matrix_product():
    module, batch = Toy().train(), {"x": torch.randn(5, 8)}
    before, state = module.norm.running_mean.clone(), torch.get_rng_state()
    # 2 x 5 x 8 x 4 for the product, twice as much for the way back.
    assert forward_backward_flops(module, batch, CPU) == 3 * 2 * 5 * 8 * 4
    assert module.training
    assert torch.equal(module.norm.running_mean, before)
    assert torch.equal(torch.get_rng_state(), state)
    assert forward_backward_flops(module.eval(), batch, CPU) == 960
    assert not module.training


@pytest.mark.parametrize(
    ("name", "tflops"),
    [("NVIDIA H200", 989.0), ("NVIDIA H100 80GB HBM3", 989.0), ("NVIDIA A100-SXM4-40GB", 312.0),
     ("NVIDIA L40S", 362.0), ("NVIDIA L4", 121.0), ("NVIDIA A10G", 70.0), ("Tesla T4", 65.0),
     ("Tesla V100-SXM2-16GB", 125.0), ("GTX 970", None)],
)  # fmt: skip
def test_peaks_of_devices(monkeypatch, name, tflops):
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: name)
    assert peak_flops(torch.device("cuda")) == (None if tflops is None else tflops * 1e12)
    assert peak_flops(CPU) is None


def test_a_name_within_another_comes_later():
    names = list(PEAK_TFLOPS)
    assert names.index("L40S") < names.index("L4")


class Clock:
    def __init__(self, monkeypatch):
        self.wall = self.busy = 100.0
        monkeypatch.setattr(throughput.time, "perf_counter", lambda: self.wall)
        monkeypatch.setattr(throughput.time, "process_time", lambda: self.busy)


def test_cores_busy_since_the_last_reading(monkeypatch):
    clock = Clock(monkeypatch)
    usage = Usage(CPU)
    clock.wall, clock.busy = 104.0, 106.0
    first = usage.read()
    assert first["cpu_cores"] == pytest.approx(1.5)
    assert 10 < first["peak_rss_mb"] < 100_000
    assert set(first) == {"cpu_cores", "peak_rss_mb", "load_average"}
    clock.wall, clock.busy = 106.0, 107.0
    assert usage.read()["cpu_cores"] == pytest.approx(0.5)


class Log:
    def __init__(self):
        self.rows, self.is_closed = [], False

    def log(self, step, values):
        self.rows.append((step, dict(values)))

    def close(self):
        self.is_closed = True


def test_a_monitor_adds_the_arithmetic_of_a_second(monkeypatch):
    log = Log()
    monitor = Monitor(log, step_flops=8e12, world_size=4, device=CPU)
    monitor.log(3, {"step_s": 0.5, "loss": 1.0})
    ((step, values),) = log.rows
    assert (step, values["loss"], values["tflops"]) == (3, 1.0, 4.0)  # 2e12 a process in half a second
    assert "mfu" not in values
    monkeypatch.setattr(throughput, "peak_flops", lambda device: 16e12)
    Monitor(log, step_flops=8e12, world_size=4, device=CPU).log(4, {"step_s": 0.5})
    assert log.rows[1][1]["mfu"] == 0.25
    monitor.close()
    assert log.is_closed


def test_a_stopwatch_adds_up_and_begins_anew(monkeypatch):
    from training.monitors import stopwatch

    times = iter([1.0, 1.5, 2.0, 4.0, 5.0, 5.25])
    monkeypatch.setattr(stopwatch.time, "perf_counter", lambda: next(times))
    watch = Stopwatch(CPU)
    for name in ("load", "step", "load"):
        with watch.part(name):
            pass
    assert watch.read() == {"load_s": 0.75, "step_s": 2.0}
    assert watch.read() == {}
