"""make drill: interrupt a training run in every way, and see that it ends as if nothing had happened.

    python -m benchmarks.drills.drill [--output DIR] [--times N] [--only kill|terminate|disk|world|elastic]

Each part trains the same tiny model on a small synthetic shard set and compares it with one uninterrupted run: final
parameters bit for bit at equal world size, order of samples and losses at another one.
"""

import argparse
import json
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch

from benchmarks.harness import figure, machine, module
from model.checkpoint import checkpoints, load_checkpoint
from training.trainer.saving import SAVE_FAILED_EXIT
from training.trainer.stopping import RESUME_EXIT

STEPS = 400
OPTIONS = ["--tiny", "--steps", str(STEPS), "--save-every", "3", "--validate-every", "7", "--validate-windows", "4",
           "--ema-decay", "0.9"]  # fmt: skip
GRACE_S = 5.0


class Drill:
    """Runs of one training, each in a folder of its own."""

    def __init__(self, output: Path, *, times: int, seed: int) -> None:
        self.output, self.times, self.rng = output, times, random.Random(seed)
        self.shards = output / "shards"
        self.whole = output / "whole"

    def prepare(self) -> None:
        """Make the shards and the uninterrupted run."""
        corpus = self.output / "corpus"
        module("synthetic.synthesize", "--output", corpus, "--subjects-per-site", "2", "--seed", "1")
        module("pipelines.preprocess", "--input", corpus, "--labels", corpus / "labels.csv", "--output", self.shards,
               "--site-from", "folder")  # fmt: skip
        code, seconds = self.run(self.whole)
        assert code == 0
        print(f"  uninterrupted: {STEPS} steps in {seconds:.1f} s")

    def start(self, folder: Path, *, launcher: list[str] | None = None, limit: Callable[[], None] | None = None,
              extra: tuple[str, ...] = ()) -> "subprocess.Popen[bytes]":  # fmt: skip
        """Start the run, or go on with it."""
        folder.mkdir(parents=True, exist_ok=True)
        command = [*(launcher or [sys.executable]), "-m", "training.pretrain", *OPTIONS, *extra]
        command += ["--shards", str(self.shards), "--output", str(folder)]
        with (folder / "terminal.log").open("ab") as log:
            return subprocess.Popen(
                command, stderr=log, stdout=log, preexec_fn=limit, env={**os.environ, "OMP_NUM_THREADS": "1"}
            )

    def run(self, folder: Path, **how: object) -> tuple[int, float]:
        """Run to the end; returns (exit code, seconds)."""
        began = time.perf_counter()
        process = self.start(folder, **how)  # type: ignore[arg-type]
        return process.wait(timeout=600), time.perf_counter() - began

    def equal(self, folder: Path) -> bool:
        """Whether a run ended with the uninterrupted run's state, bit for bit, and took every step once."""
        a, b = (load_checkpoint(checkpoints(run / "checkpoints")[-1]) for run in (self.whole, folder))
        same = all(
            torch.equal(a[part][name], b[part][name]) for part in ("model", "average") for name in a[part]
        ) and _same(a["optimizer"], b["optimizer"])
        return same and self.steps(folder) == self.steps(self.whole)

    def steps(self, folder: Path) -> list[tuple[int, float, int]]:
        """Return (step, loss, order of samples) of each logged step."""
        lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
        return [(line["step"], line["loss"], line["order_crc"]) for line in lines]


def _same(a: object, b: object) -> bool:
    if isinstance(a, torch.Tensor) and isinstance(b, torch.Tensor):
        return torch.equal(a, b)
    if isinstance(a, dict) and isinstance(b, dict):
        return a.keys() == b.keys() and all(_same(a[key], b[key]) for key in a)
    if isinstance(a, (list, tuple)) and isinstance(b, (list, tuple)):
        return len(a) == len(b) and all(map(_same, a, b))
    return a == b


def kill(drill: Drill) -> None:
    """Kill -9 at random moments, every fourth time while a checkpoint is being written."""
    folder, kills, in_save = drill.output / "kill", 0, 0
    while kills < drill.times:
        process = drill.start(folder)
        wants_save = kills % 4 == 3
        hit = _until(process, _saving(folder) if wants_save else _later(folder, drill.rng), poll_s=0.0002)
        if not hit:
            break  # the run ended before its time
        process.kill()
        process.wait()
        kills, in_save = kills + 1, in_save + wants_save
    step = _step(folder)
    code, _ = drill.run(folder)
    print(
        f"  {kills} kills, {in_save} of them during a save; at step {step} of {STEPS} after the last one; exit {code}"
    )
    figure("drill_kills", kills, "kills")
    figure("drill_bit_equal", float(code == 0 and drill.equal(folder)), "share")


def terminate(drill: Drill) -> None:
    """SIGTERM at random moments."""
    folder, saved, seconds = drill.output / "terminate", 0, []
    for _ in range(drill.times):
        process = drill.start(folder)
        if not _until(process, _later(folder, drill.rng)):
            break
        began = time.perf_counter()
        process.send_signal(signal.SIGTERM)
        code = process.wait(timeout=60)
        seconds.append(time.perf_counter() - began)
        newest = load_checkpoint(checkpoints(folder / "checkpoints")[-1])["step"]
        logged = drill.steps(folder)[-1][0]
        # What was logged is what was saved: nothing is lost, nothing will be repeated.
        saved += code == RESUME_EXIT and newest == logged
    code, _ = drill.run(folder)
    print(f"  {len(seconds)} terminated; slowest exit {max(seconds):.2f} s; equal in the end: {drill.equal(folder)}")
    figure("sigterm_saved", saved if code == 0 and drill.equal(folder) else 0, f"of_{len(seconds)}")
    figure("sigterm_worst_s", max(seconds), "s")


def disk(drill: Drill) -> None:
    """A disk that is full at a save, then a newest checkpoint that is cut short."""
    folder = drill.output / "disk"
    stopped = drill.start(folder)
    _until(stopped, lambda: _step(folder) >= 20)
    stopped.send_signal(signal.SIGTERM)
    stopped.wait(timeout=60)
    whole = checkpoints(folder / "checkpoints")
    size = whole[-1].stat().st_size

    def small() -> None:  # files beyond this size cannot be written, as on a full disk
        resource.setrlimit(resource.RLIMIT_FSIZE, (size // 2, size // 2))

    code, _ = drill.run(folder, limit=small)
    intact = checkpoints(folder / "checkpoints") == whole
    lines = [line for line in (folder / "terminal.log").read_text().splitlines() if "cannot save" in line]
    print(f"  full disk: exit {code}, earlier checkpoints kept: {intact}, logged: {lines[-1] if lines else 'nothing'}")
    raw = whole[-1].read_bytes()
    whole[-1].write_bytes(raw[: len(raw) // 2])
    again, _ = drill.run(folder)
    noticed = "falling back" in (folder / "terminal.log").read_text()
    survived = code == SAVE_FAILED_EXIT and intact and bool(lines) and again == 0 and noticed and drill.equal(folder)
    print(f"  newest checkpoint cut short: noticed: {noticed}, equal in the end: {drill.equal(folder)}")
    figure("disk_survived", float(survived), "share")


def world(drill: Drill) -> None:
    """Two processes give the losses of one; a run of two goes on as one and as two again."""
    folder = drill.output / "two"
    drill.run(folder, launcher=_torchrun(2))
    figure("ddp_loss_difference", _difference(drill, folder), "relative")
    changing, places = drill.output / "changing", []
    for n_processes in (2, 1, 2):
        last = n_processes == 2 and bool(places)
        process = drill.start(changing, launcher=_torchrun(n_processes))
        begun = _step(changing)
        if not last:
            _until(process, lambda begun=begun: _step(changing) >= begun + 40)
            process.send_signal(signal.SIGTERM)
        process.wait(timeout=600)
        places.append(_step(changing))
    same = [s[2] for s in drill.steps(changing)] == [s[2] for s in drill.steps(drill.whole)]
    print(f"  2 processes to step {places[0]}, 1 to {places[1]}, 2 to {places[2]}; same order of samples: {same}")
    figure("world_change_loss_difference", _difference(drill, changing) if same else float("nan"), "relative")
    try:
        import horovod.torch  # noqa: F401
    except ImportError:
        print("  Horovod is not installed (make install-horovod): not run")
        return
    horovodrun = [str(Path(sys.executable).parent / "horovodrun"), "--gloo", "-np", "2", sys.executable]
    drill.run(drill.output / "horovod", launcher=horovodrun, extra=("--dist", "horovod"))
    figure("horovod_loss_difference", _difference(drill, drill.output / "horovod"), "relative")


def elastic(drill: Drill) -> None:
    """Torchrun restarts after one of two workers was killed."""
    folder = drill.output / "elastic"
    process = drill.start(folder, launcher=_torchrun(2, "--max-restarts=3"))
    _until(process, lambda: _step(folder) >= 30)
    workers = subprocess.run(
        ["pgrep", "-f", f"training.pretrain.*{folder}"], capture_output=True, text=True, check=False
    ).stdout.split()
    victim = next(int(pid) for pid in reversed(workers) if int(pid) != process.pid)
    os.kill(victim, signal.SIGKILL)
    code = process.wait(timeout=600)
    same = [s[2] for s in drill.steps(folder)] == [s[2] for s in drill.steps(drill.whole)]
    print(f"  worker {victim} killed; exit {code}; every step once, same order of samples: {same}")
    figure("elastic_loss_difference", _difference(drill, folder) if code == 0 and same else float("nan"), "relative")


def _torchrun(n_processes: int, *more: str) -> list[str]:
    return [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc_per_node={n_processes}", *more]


def _difference(drill: Drill, folder: Path) -> float:
    pairs = zip(drill.steps(drill.whole), drill.steps(folder), strict=True)
    return max(abs(a[1] - b[1]) / abs(a[1]) for a, b in pairs)


def _step(folder: Path) -> int:
    path = folder / "metrics.jsonl"
    lines = path.read_bytes().splitlines() if path.exists() else []
    for line in reversed(lines):
        try:
            return int(json.loads(line)["step"])
        except ValueError:
            continue
    return 0


def _later(folder: Path, rng: random.Random) -> Callable[[], bool]:
    """Return a question that turns true some random while after the first new step."""
    begun, wait_s, seen = _step(folder), rng.uniform(0, 0.5), [0.0]

    def now() -> bool:
        if not seen[0] and _step(folder) > begun:
            seen[0] = time.perf_counter()
        return bool(seen[0]) and time.perf_counter() - seen[0] >= wait_s

    return now


def _saving(folder: Path) -> Callable[[], bool]:
    return lambda: any((folder / "checkpoints").glob(".*.partial"))


def _until(process: "subprocess.Popen[bytes]", question: Callable[[], bool], *, poll_s: float = 0.002) -> bool:
    """Wait until a question turns true; returns whether the process still ran then."""
    deadline = time.monotonic() + 300
    while not question():
        if process.poll() is not None or time.monotonic() > deadline:
            return False
        time.sleep(poll_s)
    return process.poll() is None


PARTS = {"kill": kill, "terminate": terminate, "disk": disk, "world": world, "elastic": elastic}


def main() -> None:
    """Run all parts, or one."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", type=Path, default=Path("bench-output/drill"))
    parser.add_argument("--times", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", choices=sorted(PARTS))
    args = parser.parse_args()
    print(machine())
    shutil.rmtree(args.output, ignore_errors=True)
    drill = Drill(args.output.resolve(), times=args.times, seed=args.seed)
    print("== prepare", flush=True)
    drill.prepare()
    for name in [args.only] if args.only else PARTS:
        print(f"== {name}", flush=True)
        PARTS[name](drill)


if __name__ == "__main__":
    main()
