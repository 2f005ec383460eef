import math
import random
from collections.abc import Mapping, Sequence

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from training.corpus.steps import StepBatches
from training.monitors.tracking import Trackers
from training.parallel.distributed import Single
from training.trainer.generators import rng_state, set_rng_state
from training.trainer.optim import make_scheduler
from training.trainer.precision import resolve_precision
from training.trainer.train import NonFiniteLossError, Trainer, run_steps

ALONE = Single(rank=0, world_size=1, device=torch.device("cpu"))


class Line(nn.Module):
    """Least squares with one weight; `fails` defines what to do in which forward pass, counted from 0."""

    def __init__(self, fails: Mapping[int, Exception] | None = None) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.tensor([0.0]))
        self.weights = {"error": 1.0}
        self.fails, self.rows = dict(fails or {}), []

    def forward(self, batch: Mapping[str, Tensor]) -> dict[str, Tensor]:
        number = len(self.rows)
        self.rows.append(len(batch["x"]))
        if number in self.fails:
            raise self.fails[number]
        return {"error": ((batch["x"] * self.weight - batch["y"]) ** 2).sum()}

    def counts(self, batch: Mapping[str, Tensor]) -> dict[str, Tensor]:
        return {"error": torch.tensor(float(len(batch["x"])))}


def trainer(module: nn.Module, **more: object) -> Trainer:
    optimizer = torch.optim.SGD(module.parameters(), lr=0.1)
    scheduler = make_scheduler(optimizer, warmup_steps=1, steps=1000)
    return Trainer(module=module, optimizer=optimizer, scheduler=scheduler, processes=ALONE, seed=0, **more)


def batch(x: Sequence[float], y: Sequence[float]) -> dict[str, Tensor]:
    return {"x": torch.tensor(x), "y": torch.tensor(y)}


def test_a_step_averages_over_windows_whatever_the_micro_batches() -> None:
    # Mean over the four windows of (0 - y)^2 is (1 + 4 + 9 + 16) / 4 = 7.5; its slope at 0 is -2 mean(x y) = -5,
    # clipped to 1, so the weight becomes 0.1.
    whole, parts = trainer(Line()), trainer(Line())
    values = whole.take_step([batch([1, 1, 1, 1], [1, 2, 3, 4])])
    shared = parts.take_step([batch([1], [1]), batch([1, 1, 1], [2, 3, 4])])
    assert values is not None
    assert shared is not None
    assert values["loss"] == shared["loss"] == pytest.approx(7.5)
    assert values["grad_norm"] == shared["grad_norm"] == pytest.approx(5.0)
    assert whole.module.weight.item() == parts.module.weight.item() == pytest.approx(0.1)


@pytest.mark.parametrize(
    "error", [torch.OutOfMemoryError("CUDA out of memory"), RuntimeError("DefaultCPUAllocator: can't allocate memory")]
)
def test_out_of_memory_halves_the_micro_batch_and_keeps_the_step(
    error: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    plain = trainer(Line())
    plain.take_step([batch([1, 1, 1, 1], [1, 2, 3, 4])])
    short = trainer(Line({0: error, 1: error}))
    values = short.take_step([batch([1, 1, 1, 1], [1, 2, 3, 4])])
    assert values is not None
    assert values["loss"] == pytest.approx(7.5)
    assert short.module.rows == [4, 2, 1, 1, 1, 1]  # 4 fails, 2 fails, then four parts of one window
    assert short.module.weight.item() == plain.module.weight.item()
    assert short.halvings == 2
    assert "step 1: out of memory; micro-batches are now cut into 4 parts" in caplog.text
    short.take_step([batch([1, 1], [1, 2])])  # it stays so
    assert short.module.rows[-2:] == [1, 1]


def test_other_errors_are_not_swallowed_and_memory_that_never_fits_ends() -> None:
    with pytest.raises(RuntimeError, match="shapes"):
        trainer(Line({0: RuntimeError("shapes do not match")})).take_step([batch([1], [1])])
    never = trainer(Line({number: torch.OutOfMemoryError() for number in range(100)}))
    with pytest.raises(MemoryError, match="step 1: out of memory even"):
        never.take_step([batch([1, 1], [1, 1])])


def test_stop_in_the_middle_of_accumulation_changes_nothing() -> None:
    class StopsItself(Line):
        def __init__(self) -> None:
            super().__init__()
            self.norm = nn.BatchNorm1d(1)

        def forward(self, batch: Mapping[str, Tensor]) -> dict[str, Tensor]:
            run.stop.requested = len(self.rows) == 1
            self.norm(torch.stack([batch["x"], batch["y"]])[:, :1].float())  # its averages move in any forward pass
            return super().forward(batch)

    run = trainer(StopsItself())
    before = {name: value.clone() for name, value in run.module.state_dict().items()}
    assert run.take_step([batch([1], [1])] * 3) is None
    assert len(run.module.rows) == 2
    assert run.step == 0
    assert all(torch.equal(value, before[name]) for name, value in run.module.state_dict().items())


def test_a_stopped_run_saves_what_it_has_once() -> None:
    run, saved = trainer(Line()), []

    def batches():
        for step in range(5):
            run.stop.requested = step == 2
            yield StepBatches(micro_batches=[batch([1], [1])], eeg_hours=1.0)

    done = run_steps(
        run, batches(), n_steps=5, label="", tracker=Trackers(), save=lambda t: saved.append(t.step), save_every=100
    )
    assert not done
    assert saved == [2]


def test_non_finite_loss_or_gradient_is_named_before_the_step() -> None:
    run = trainer(Line())
    run.step = 4
    with pytest.raises(NonFiniteLossError, match="step 5: a loss is not finite"):
        run.take_step([batch([math.inf], [1])])
    # The loss is 1e18, the gradient -2e39: beyond float32.
    with pytest.raises(NonFiniteLossError, match="step 5: the gradient's norm is inf"):
        run.take_step([batch([1e30], [1e9])])
    assert run.module.weight.item() == 0.0


def test_fp16_scales_the_loss_and_leaves_out_steps_that_overflow() -> None:
    run = trainer(Line(), precision="fp16")
    assert run.scaler.is_enabled()
    # With the scale of 65,536 a gradient of 2 x 1e35 overflows float32; unscaled it does not.
    values = run.take_step([batch([1e17], [1e18])])
    assert values is not None
    assert run.module.weight.item() == 0.0
    assert values["loss_scale"] == 32768.0
    run.take_step([batch([1], [1])])
    assert run.module.weight.item() > 0
    assert run.state()["scaler"]["scale"] == 32768.0


def test_average_of_weights_follows_and_is_lent() -> None:
    run = trainer(Line(), ema_decay=0.5)
    weights = []
    for _ in range(3):
        run.take_step([batch([1], [100])])
        weights.append(run.module.weight.item())
    # decay is min(0.5, (1 + step) / (10 + step)): 2/11, 3/12, 4/13
    expected = 0.0
    for decay, weight in zip((2 / 11, 3 / 12, 4 / 13), weights, strict=True):
        expected = decay * expected + (1 - decay) * weight
    assert run.average is not None
    with run.average.applied(run.module):
        assert run.module.weight.item() == pytest.approx(expected, rel=1e-6)
    assert run.module.weight.item() == weights[-1]
    again = trainer(Line(), ema_decay=0.5)
    again.load_state({**run.state(), "step": 3})
    assert torch.equal(again.average.averages["weight"], run.average.averages["weight"])


def test_generators_come_back() -> None:
    state = rng_state()
    drawn = (torch.rand(3), np.random.rand(3), random.random())  # noqa: NPY002
    set_rng_state(state)
    assert torch.equal(torch.rand(3), drawn[0])
    np.testing.assert_array_equal(np.random.rand(3), drawn[1])  # noqa: NPY002
    assert random.random() == drawn[2]


def test_precision_by_itself_is_full_on_a_cpu() -> None:
    assert resolve_precision("auto", torch.device("cpu")) == "fp32"
    assert resolve_precision("bf16", torch.device("cpu")) == "bf16"


def test_a_compiled_module_takes_the_same_step() -> None:
    class Wide(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            torch.manual_seed(0)
            self.layers = nn.Sequential(nn.Linear(8, 16), nn.GELU(), nn.Linear(16, 1))
            self.weights = {"size": 1.0}

        def forward(self, batch: Mapping[str, Tensor]) -> dict[str, Tensor]:
            return {"size": (self.layers(batch["x"]) ** 2).sum()}

        def counts(self, batch: Mapping[str, Tensor]) -> dict[str, Tensor]:
            return {"size": torch.tensor(float(len(batch["x"])))}

    x = {"x": torch.randn(4, 8)}
    plain, compiled = trainer(Wide()), trainer(Wide(), compile=True)
    a, b = plain.take_step([x]), compiled.take_step([x])
    assert a is not None
    assert b is not None
    assert b["loss"] == pytest.approx(a["loss"], rel=1e-5)
    torch.testing.assert_close(compiled.module.state_dict(), plain.module.state_dict(), rtol=1e-4, atol=1e-6)
