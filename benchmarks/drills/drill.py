"""make drill: interrupt a training run in every way, and see that it ends as if nothing had happened.

    python -m benchmarks.drills.drill [--output DIR] [--times N] [--steps N] [--only kill kill-2 kill-4 finetune ...]

Each part trains the same tiny model on a small synthetic shard set and compares it with an uninterrupted run: final
parameters bit for bit at equal world size, order of samples and losses at another one. kill-2 and kill-4 kill all of
two and four processes at once; finetune interrupts a fit, by kill -9 and SIGTERM in turn.
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
from contextlib import suppress
from pathlib import Path

import torch
from safetensors.torch import load_file

from benchmarks.harness import figure, machine, module
from training.trainer.checkpoints import checkpoints, load_checkpoint
from training.trainer.saving import SAVE_FAILED_EXIT
from training.trainer.stopping import RESUME_EXIT

OPTIONS = ["--tiny", "--track.save-every", "3", "--track.validate-every", "7",
           "--track.validate-windows", "4", "--regularise.ema-decay", "0.9"]  # fmt: skip


class Drill:
    """Runs of one training, each in a folder of its own."""

    def __init__(self, output: Path, *, times: int, n_steps: int, seed: int) -> None:
        self.output, self.times, self.n_steps, self.rng = output, times, n_steps, random.Random(seed)
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
        print(f"  uninterrupted: {self.n_steps} steps in {seconds:.1f} s")

    def start(self, folder: Path, *, launcher: list[str] | None = None, limit: Callable[[], None] | None = None,
              extra: tuple[str, ...] = ()) -> "subprocess.Popen[bytes]":  # fmt: skip
        """Start the run in a session of its own, or go on with it."""
        options = [*OPTIONS, "--schedule.steps", str(self.n_steps), *extra, "--shards", str(self.shards)]
        command = ["-m", "training.pretrain", *options, "--output", str(folder)]
        return self.launch(folder, command, launcher=launcher, limit=limit)

    def launch(
        self, folder: Path, command: list[str], *, launcher: list[str] | None = None,
        limit: Callable[[], None] | None = None,
    ) -> "subprocess.Popen[bytes]":  # fmt: skip
        """Start a command in a session of its own, its output in the folder's terminal.log."""
        folder.mkdir(parents=True, exist_ok=True)
        with (folder / "terminal.log").open("ab") as log:
            return subprocess.Popen(
                [*(launcher or [sys.executable]), *command], stderr=log, stdout=log, preexec_fn=limit,
                env={**os.environ, "OMP_NUM_THREADS": "1"}, start_new_session=True,
            )  # fmt: skip

    def run(self, folder: Path, **how: object) -> tuple[int, float]:
        """Run to the end; returns (exit code, seconds)."""
        began = time.perf_counter()
        process = self.start(folder, **how)  # type: ignore[arg-type]
        return process.wait(timeout=1200), time.perf_counter() - began

    def equal(self, folder: Path, whole: Path | None = None) -> bool:
        """Whether a run ended with the uninterrupted run's state, bit for bit, and took every step once."""
        whole = whole or self.whole
        a, b = (load_checkpoint(checkpoints(run / "checkpoints")[-1]) for run in (whole, folder))
        same = all(
            torch.equal(a[part][name], b[part][name]) for part in ("model", "average") for name in a[part]
        ) and _same(a["optimizer"], b["optimizer"])
        return same and self.steps(folder) == self.steps(whole)

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
    _kill(drill, drill.output / "kill", drill.whole, "", launcher=None)


def kill_of(n_processes: int) -> Callable[[Drill], None]:
    """Return the same for several processes, all of which die at once."""

    def part(drill: Drill) -> None:
        whole, launcher = drill.output / f"whole-{n_processes}", _torchrun(n_processes)
        assert drill.run(whole, launcher=launcher)[0] == 0
        _kill(drill, drill.output / f"kill-{n_processes}", whole, f"_{n_processes}", launcher=launcher)

    return part


def _kill(drill: Drill, folder: Path, whole: Path, suffix: str, *, launcher: list[str] | None) -> None:
    kills, in_save = 0, 0
    while kills < drill.times:
        process = drill.start(folder, launcher=launcher)
        wants_save = kills % 4 == 3
        hit = _until(process, _saving(folder) if wants_save else _later(folder, drill.rng), poll_s=0.0002)
        if not hit:
            break  # the run ended before its time
        _kill_session(process)
        kills, in_save = kills + 1, in_save + wants_save
    step = _step(folder)
    code, _ = drill.run(folder, launcher=launcher)
    print(
        f"  {kills} kills, {in_save} of them during a save; at step {step} of {drill.n_steps} after the last one; "
        f"exit {code}"
    )
    figure(f"drill_kills{suffix}", kills, "kills")
    figure(f"drill_bit_equal{suffix}", float(code == 0 and drill.equal(folder, whole)), "share")


def _kill_session(process: "subprocess.Popen[bytes]") -> None:
    """Kill a process and all that it started: torchrun's workers have process groups of their own."""
    pids = subprocess.run(
        ["pgrep", "--session", str(process.pid)], capture_output=True, text=True, check=False
    ).stdout.split()
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(int(pid), signal.SIGKILL)
    process.wait()


def finetune(drill: Drill) -> None:
    """Kill -9 and SIGTERM, in turn, a fit of two stages with batch normalisation, mixing and dropout."""
    shards = drill.output / "segments"
    module("synthetic.critical_corpus", "--output", shards, "--segments", "24", "--held-out", "0")
    command = [
        "-m", "training.finetune", "--recipe", "eegnet", "--tiny", "--schedule.epochs", "40",
        "--schedule.patience", "40", "--augment.mixup", "0.2", "--track.save-every", "3", "--shards", str(shards),
        "--task", "six-class", "--no-encoder", "--output",
    ]  # fmt: skip
    whole, folder = drill.output / "fit-whole", drill.output / "fit"
    assert drill.launch(whole, [*command, str(whole)]).wait(timeout=1200) == 0
    interrupted = 0
    for number in range(drill.times):
        process = drill.launch(folder, [*command, str(folder)])
        if not _until(process, _later(folder, drill.rng)):
            break
        process.send_signal(signal.SIGKILL if number % 2 else signal.SIGTERM)
        process.wait(timeout=60)
        interrupted += 1
    code = drill.launch(folder, [*command, str(folder)]).wait(timeout=1200)
    a, b = (load_file(run / "model.safetensors") for run in (whole, folder))
    same = code == 0 and all(torch.equal(a[name], b[name]) for name in a)
    print(f"  {interrupted} interruptions, exit {code}, weights equal: {same}")
    figure("drill_fit_bit_equal", float(same), f"share_{interrupted}_interruptions")


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
    _until(stopped, lambda: _step(folder) >= drill.n_steps // 20)
    stopped.send_signal(signal.SIGTERM)
    stopped.wait(timeout=60)
    whole = [Path(uri) for uri in checkpoints(folder / "checkpoints")]
    size = whole[-1].stat().st_size

    def small() -> None:  # files beyond this size cannot be written, as on a full disk
        resource.setrlimit(resource.RLIMIT_FSIZE, (size // 2, size // 2))

    code, _ = drill.run(folder, limit=small)
    intact = [Path(uri) for uri in checkpoints(folder / "checkpoints")] == whole
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
            _until(process, lambda begun=begun: _step(changing) >= begun + drill.n_steps // 10)
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
    """Torchrun restarts after one of two workers was killed, many times over."""
    survived, worst, n_runs = 0, 0.0, max(1, drill.times // 2)
    for number in range(n_runs):
        folder = drill.output / f"elastic-{number}"
        process = drill.start(folder, launcher=_torchrun(2, "--max-restarts=3"))
        _until(process, lambda folder=folder: _step(folder) >= drill.n_steps // 13)  # type: ignore[misc]
        workers = subprocess.run(
            ["pgrep", "-f", f"training.pretrain.*{folder}$"], capture_output=True, text=True, check=False
        ).stdout.split()
        victims = [int(pid) for pid in workers if int(pid) != process.pid]
        os.kill(victims[number % len(victims)], signal.SIGKILL)
        code = process.wait(timeout=1200)
        same = [s[2] for s in drill.steps(folder)] == [s[2] for s in drill.steps(drill.whole)]
        off = _difference(drill, folder) if code == 0 and same else float("nan")
        survived += off < 1e-3
        worst = max(worst, off)
        print(f"  exit {code}; every step once, same order of samples: {same}; loss off by {off:.2g}", flush=True)
    figure("elastic_restarts_survived", survived, f"of_{n_runs}")
    figure("elastic_loss_difference", worst, "relative")


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


PARTS: dict[str, Callable[[Drill], None]] = {
    "kill": kill,
    "kill-2": kill_of(2),
    "kill-4": kill_of(4),
    "terminate": terminate,
    "finetune": finetune,
    "disk": disk,
    "world": world,
    "elastic": elastic,
}


def main() -> None:
    """Run all parts, or one."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", type=Path, default=Path("bench-output/drill"))
    parser.add_argument("--times", type=int, default=20)
    parser.add_argument(
        "--steps", type=int, default=400, help="of each run: enough that it is not over before its time"
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", nargs="+", choices=sorted(PARTS), default=list(PARTS))
    args = parser.parse_args()
    print(machine())
    shutil.rmtree(args.output, ignore_errors=True)
    drill = Drill(args.output.resolve(), times=args.times, n_steps=args.steps, seed=args.seed)
    print("== prepare", flush=True)
    drill.prepare()
    for name in args.only:
        print(f"== {name}", flush=True)
        PARTS[name](drill)


if __name__ == "__main__":
    main()
