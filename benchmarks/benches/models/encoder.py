"""make bench-encoder: what a forward and backward pass of the encoder costs, beside two shapes of the field.

    python -m benchmarks encoder [--only speed|memory|channels] [--rounds N] [--batch N] [--small]

`speed`: EEG-hours a second on 19 channels of 30 s, against LaBraM's and CBraMod's shapes
(`benchmarks.benches.parts.encoder_peers`), each beside an encoder of ours with as many parameters (within 3 %): passes
take turns, medians count. With FLOPs, and on a GPU, in bf16, the share of its peak. Also what tokens of 0.25 s cost.
`memory`: peak of a pass over window lengths from 10 to 300 s, with gradient checkpointing and without; on a CPU each
in a process of its own. `channels`: skill in filling whole channels on people held out, three seeds
(`benchmarks.benches.parts.encoder_channels`); settings are chosen with --choosing, which leaves those people unseen.
"""

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.benches.parts.encoder_channels import FULL_STEPS, SMALL_STEPS, channels
from benchmarks.benches.parts.encoder_peers import SFREQ, CbramodShape, LabramShape
from benchmarks.harness import figure, machine
from model.encoder import Encoder
from model.encoder_config import EncoderConfig, sized
from model.montage import FixedMontage
from signals.modality import EEG_1020
from signals.window import MEASURED
from training.monitors.throughput import peak_flops

SECONDS, LENGTHS_S = 30, (10, 30, 60, 120, 300)
DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")
# As many parameters as either shape has, 5.80 and 4.88 million.
OURS_LABRAM = {"dim": 344, "depth": 3, "n_heads": 4, "stem_dim": 96}
OURS_CBRAMOD = {"dim": 312, "depth": 3, "n_heads": 4, "stem_dim": 96}


class Ours(nn.Module):
    """The encoder on windows of the 10-20 montage."""

    def __init__(self, config: EncoderConfig) -> None:
        super().__init__()
        self.encoder, self.montage = Encoder(config), FixedMontage(EEG_1020)

    def forward(self, x_BCT: Tensor) -> Tensor:
        """Return tokens, shape (B, C, N, D)."""
        state_BC = torch.full(x_BCT.shape[:2], MEASURED, device=x_BCT.device)
        tokens_BCND: Tensor = self.encoder(x_BCT, self.montage(state_BC))["tokens_BCND"]
        return tokens_BCND


@dataclass(kw_only=True)
class Timed:
    """A model, its input, and how long its passes took."""

    name: str
    model: nn.Module
    x_BCT: Tensor
    seconds: list[float]
    gflops: float
    """Of a forward and backward pass over one window."""

    @property
    def n_parameters(self) -> int:
        """Number of weights."""
        return sum(p.numel() for p in self.model.parameters())

    @property
    def median_s(self) -> float:
        """Seconds of a pass."""
        return float(np.median(self.seconds))


def timed(name: str, model: nn.Module, sfreq: int, batch: int) -> Timed:
    """Return a model on its device with noise to run on."""
    model = model.to(DEVICE).train()
    x_BCT = torch.randn(batch, EEG_1020.n_chans, SECONDS * sfreq, device=DEVICE)
    # Fused attention is not counted on every device; its arithmetic is that of the plain one.
    with sdpa_kernel(SDPBackend.MATH), torch.no_grad(), FlopCounterMode(display=False) as counter:
        model(x_BCT[:1])
    return Timed(name=name, model=model, x_BCT=x_BCT, seconds=[], gflops=3 * counter.get_total_flops() / 1e9)


def one_pass(model: nn.Module, x_BCT: Tensor) -> None:
    """Run forward and backward once, in bf16 where there is a GPU."""
    with torch.autocast(DEVICE.type, torch.bfloat16, enabled=DEVICE.type == "cuda"):
        loss = model(x_BCT).float().square().mean()
    loss.backward()
    model.zero_grad(set_to_none=True)
    if DEVICE.type == "cuda":
        torch.cuda.synchronize()


def speed(rounds: int, batch: int) -> None:
    """Ours beside both shapes, at 1 s and at 0.25 s a token."""
    runners = [
        timed("LaBraM's shape", LabramShape(EEG_1020.n_chans, SECONDS), SFREQ, batch),
        timed("ours, as many", Ours(EncoderConfig(**OURS_LABRAM)), 256, batch),
        timed("CBraMod's shape", CbramodShape(), SFREQ, batch),
        timed("ours, as many as that", Ours(EncoderConfig(**OURS_CBRAMOD)), 256, batch),
        timed("ours, 0.25-s tokens", Ours(EncoderConfig(**OURS_LABRAM, merge=1)), 256, batch),
    ]
    for number in range(rounds + 1):
        for runner in runners:
            began = time.perf_counter()
            one_pass(runner.model, runner.x_BCT)
            if number:  # the first pass warms up
                runner.seconds.append(time.perf_counter() - began)
    peak = peak_flops(DEVICE)
    for r in runners:
        hours = batch * SECONDS / 3600 / r.median_s
        low, high = (batch * SECONDS / 3600 / s for s in np.quantile(r.seconds, [0.9, 0.1]))
        mfu = "" if peak is None else f"  mfu {r.gflops * 1e9 * batch / r.median_s / peak:.3f}"
        print(
            f"  {r.name:<22}{r.n_parameters / 1e6:6.2f} M  {r.gflops:7.2f} GFLOP a window  {hours:8.4f} EEG-hours/s "
            f"[{low:.4f}, {high:.4f}]  {r.gflops * batch / r.median_s:8.1f} GFLOP/s{mfu}"
        )
    labram, ours, cbramod, ours_small, small_tokens = (r.median_s for r in runners)
    figure("encoder_eeg_hours_per_s", batch * SECONDS / 3600 / ours, "EEG-hours/s")
    figure("encoder_vs_labram", labram / ours, "times")
    figure("encoder_vs_cbramod", cbramod / ours_small, "times")
    figure("encoder_quarter_second_price", small_tokens / ours, "times")
    if peak is not None:
        figure("encoder_mfu", runners[1].gflops * 1e9 * batch / ours / peak, "share")


def memory() -> None:
    """Peak of a pass over window lengths, with gradient checkpointing and without; one window of 19 channels."""
    peaks = {
        (seconds, checkpointing): _peak_mb(seconds, checkpointing)
        for seconds in LENGTHS_S
        for checkpointing in (False, True)
    }
    print("  window, s     plain, MB   checkpointed, MB")
    for seconds in LENGTHS_S:
        print(f"  {seconds:9d}{peaks[seconds, False]:14.0f}{peaks[seconds, True]:19.0f}")
    longest, shorter = LENGTHS_S[-1], LENGTHS_S[-2]
    growth = (peaks[longest, False] / peaks[shorter, False]) / (longest / shorter)
    figure("encoder_checkpointing_memory_share", peaks[longest, True] / peaks[longest, False], "share")
    figure("encoder_memory_growth", growth, "of_linear")


def _peak_mb(seconds: int, checkpointing: bool) -> float:
    if DEVICE.type == "cuda":
        return pass_peak_mb(seconds, checkpointing)
    command = [
        sys.executable,
        "-m",
        "benchmarks.benches.models.encoder",
        "--peak",
        str(seconds),
        *["--checkpointing"] * checkpointing,
    ]
    return float(json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout))


def pass_peak_mb(seconds: int, checkpointing: bool) -> float:
    """Return what a forward and backward pass over one window needs above the model itself, MB."""
    model = Ours(sized("small", gradient_checkpointing=checkpointing)).to(DEVICE).train()
    one_pass(model, torch.randn(1, EEG_1020.n_chans, 10 * 256, device=DEVICE))  # what libraries take once
    x_BCT = torch.randn(1, EEG_1020.n_chans, seconds * 256, device=DEVICE)
    if DEVICE.type == "cuda":
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        one_pass(model, x_BCT)
        return (torch.cuda.max_memory_allocated() - before) / 1e6
    Path("/proc/self/clear_refs").write_text("5")  # forget the peak so far: proc(5)
    before_mb = _resident_mb("VmRSS")
    one_pass(model, x_BCT)
    return _resident_mb("VmHWM") - before_mb


def _resident_mb(name: str) -> float:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(float(line.split()[1]) / 1024 for line in lines if line.startswith(name))


def main() -> None:
    """Run all parts, or one."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--only", choices=["speed", "memory", "channels"])
    parser.add_argument("--output", type=Path, default=Path("bench-output/encoder"), help="where channels trains")
    parser.add_argument("--steps", type=int, help="of each training of channels")
    parser.add_argument("--choosing", action="store_true", help="score training people instead of those held out")
    parser.add_argument("--small", action="store_true", help="a few steps of one seed, to try channels")
    parser.add_argument("--rounds", type=int, default=15, help="passes of each model")
    parser.add_argument("--batch", type=int, default=64 if DEVICE.type == "cuda" else 2, help="windows of a pass")
    parser.add_argument("--peak", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--checkpointing", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args()
    torch.manual_seed(0)
    if args.peak is not None:
        print(json.dumps(pass_peak_mb(args.peak, args.checkpointing)))
        return
    print(machine() if DEVICE.type == "cpu" else torch.cuda.get_device_name(DEVICE))
    steps, seeds = (SMALL_STEPS, 1) if args.small else (args.steps or FULL_STEPS, 3)
    parts: dict[str, Callable[[], None]] = {
        "speed": lambda: speed(args.rounds, args.batch),
        "memory": memory,
        "channels": lambda: channels(args.output, steps=steps, seeds=seeds, choosing=args.choosing),
    }
    for name in [args.only] if args.only else parts:
        print(f"== {name}", flush=True)
        parts[name]()


if __name__ == "__main__":
    main()
