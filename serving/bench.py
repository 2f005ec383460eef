"""python -m serving.bench BUNDLE... [--model DIR]: how fast, how large, how soon, for every form of a model.

Each form runs in a process of its own. They take turns, round by round, so that a slower minute of the machine
meets all of them. Latency is that of one window, prepared; "segment" is from the samples of one file, as recorded and
in memory, to the answer, with nothing prepared that no graph reads. With --model,
torch stands beside the bundles: eager, compiled, and in INT8 (python -m model.bench). OMP_NUM_THREADS sets the threads
of all of them.
"""

import argparse
import json
import os
import platform
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from serving.runtime import PROVIDER_EXIT, ProviderError, answer_batch, check_provider, windows_of_file
from signals.bundles.bundle import BundleError, load_bundle
from signals.bundles.inputs import wanted, windows_of_recording
from signals.bundles.timing import Samples, answer_timings
from signals.command_line import Parser, count, new_file
from signals.progress import progress
from signals.recording.recording import UnreadableError

PROG = "cerebeam bench"
TORCH_FORMS = ("eager", "compiled", "int8")


@dataclass(frozen=True, kw_only=True)
class Measured:
    """One form's figures."""

    form: str
    n_bytes: int
    """Weights and graph on disk."""
    first_answer_s: float
    """From the start of the process to the first answer for a file."""
    peak_mb: float
    """Largest resident memory of the process, MiB."""
    latency_ms: tuple[float, ...] = field(repr=False)
    """One prepared window, every repeat."""
    segment_ms: tuple[float, ...] = field(repr=False)
    """The samples of one file, prepared and answered, every repeat."""
    batch_s: tuple[float, ...] = field(repr=False)
    """A batch of prepared windows, every repeat."""
    batch_size: int

    def latency(self, percent: float) -> float:
        """Return a percentile of the latency, ms."""
        return float(np.percentile(self.latency_ms, percent))

    @property
    def segment_p50_ms(self) -> float:
        """Median time of one file, ms."""
        return float(np.median(self.segment_ms))

    @property
    def throughput(self) -> float:
        """Windows a second in batches, at the median."""
        return self.batch_size / float(np.median(self.batch_s))


class Child:
    """A form's process."""

    def __init__(self, form: str, command: Sequence[str]) -> None:
        self.form, self.command = form, command
        self.started = time.clock_gettime(time.CLOCK_MONOTONIC)
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        hello = self._read()
        self.n_bytes, self.first_answer_s = int(hello["n_bytes"]), hello["ready"] - self.started

    def __enter__(self) -> "Child":
        return self

    def __exit__(self, *_: object) -> None:
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process.wait()

    def request(self, what: str, *, size: int = 1, repeats: int = 1) -> dict[str, Any]:
        """Return the child's answer to one request."""
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps({"what": what, "size": size, "repeats": repeats}) + "\n")
        self.process.stdin.flush()
        return self._read()

    def _read(self) -> dict[str, Any]:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            raise BundleError(f"form {self.form} ended with code {self.process.wait()}: {' '.join(self.command)}")
        return dict(json.loads(line))


def measure(forms: dict[str, Sequence[str]], *, rounds: int, repeats: int, batch_size: int) -> list[Measured]:
    """Return the figures of forms, given as the commands of their processes; raises BundleError where one dies."""
    with ExitStack() as stack:
        children = [stack.enter_context(Child(form, command)) for form, command in forms.items()]
        timings: dict[str, dict[str, list[float]]] = {
            child.form: {"one": [], "file": [], "many": []} for child in children
        }
        for _ in progress(range(rounds), "bench", unit="rounds"):
            for child in children:
                of_form = timings[child.form]
                child.request("batch")  # whoever ran in between has taken the caches
                of_form["one"] += child.request("batch", repeats=repeats)["seconds"]
                of_form["file"] += child.request("segment")["seconds"]
                of_form["many"] += child.request("batch", size=batch_size)["seconds"]
        return [
            Measured(
                form=child.form,
                n_bytes=child.n_bytes,
                first_answer_s=child.first_answer_s,
                peak_mb=child.request("memory")["peak_mb"],
                latency_ms=tuple(1e3 * s for s in timings[child.form]["one"]),
                segment_ms=tuple(1e3 * s for s in timings[child.form]["file"]),
                batch_s=tuple(timings[child.form]["many"]),
                batch_size=batch_size,
            )
            for child in children
        ]


def run_bundle(path: Path, file: str) -> None:
    """Be the process of one bundle."""
    bundle = load_bundle(path)
    (window, *_) = windows_of_file(bundle, file)

    samples = Samples.of_file(file)

    def one_segment(_: int) -> None:
        windows = windows_of_recording(bundle.profile, samples.recording(), want=wanted(bundle.graphs))
        answer_batch(bundle, list(windows))

    answer_timings(
        {"batch": lambda n: answer_batch(bundle, [window] * n), "segment": one_segment}, n_bytes=bundle.n_bytes
    )


def table(measured: Sequence[Measured]) -> str:
    """Return the figures for a terminal."""
    widest = max(len(one.form) for one in measured)
    lines = [
        f"{'form':<{widest}}  {'p50 ms':>8}  {'p95 ms':>8}  {'p99 ms':>8}  {'segment ms':>10}  {'windows/s':>9}  "
        f"{'first s':>8}  {'peak MB':>8}  {'MB':>7}"
    ]
    lines += [
        f"{one.form:<{widest}}  {one.latency(50):8.1f}  {one.latency(95):8.1f}  {one.latency(99):8.1f}  "
        f"{one.segment_p50_ms:10.1f}  {one.throughput:9.1f}  {one.first_answer_s:8.2f}  {one.peak_mb:8.0f}  "
        f"{one.n_bytes / 1e6:7.2f}"
        for one in measured
    ]
    return "\n".join(lines)


def hardware() -> str:
    """Return what runs here: processor, cores, threads, GPU provider, versions."""
    import onnxruntime

    lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines() if Path("/proc/cpuinfo").is_file() else []
    cpu = next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), platform.processor())
    threads = os.environ.get("OMP_NUM_THREADS", "all")
    providers = ", ".join(name.removesuffix("ExecutionProvider") for name in onnxruntime.get_available_providers())
    return (
        f"{os.cpu_count()} x {cpu}, {threads} threads, {platform.system()}, Python {platform.python_version()}, "
        f"ONNX Runtime {onnxruntime.__version__} ({providers})"
    )


def forms_of(
    bundles: Sequence[Path], model: Path | None, file: Path, torch_forms: Sequence[str]
) -> dict[str, Sequence[str]]:
    """Return the command of each form by name; raises BundleError for two bundles of the same name."""
    python = (sys.executable, "-m")
    forms: dict[str, Sequence[str]] = {}
    for path in bundles:
        if path.name in forms:
            raise BundleError(f"two bundles are called {path.name}; rename one")
        forms[path.name] = (*python, "serving.bench", str(path), "--segment", str(file), "--child")
    if model is not None:
        for form in torch_forms:
            forms[f"torch {form}"] = (*python, "model.bench", str(model), "--segment", str(file), "--form", form)
    return forms


def parse_args(argv: Sequence[str] | None) -> argparse.Namespace:
    """Return the parsed command line."""
    parser = Parser(prog=PROG, description="latency, throughput, memory and size of bundles, beside torch if requested")
    parser.add_argument("bundle", type=Path, nargs="+", help="folders made by cerebeam export or quantise")
    parser.add_argument("--model", type=Path, help="folder of the trained model, for torch's own forms")
    parser.add_argument("--torch-forms", nargs="+", choices=TORCH_FORMS, default=TORCH_FORMS, help="which of them")
    parser.add_argument("--segment", type=Path, required=True, help="a recording of one window")
    parser.add_argument("--rounds", type=count, default=10, help="how many rounds of all forms")
    parser.add_argument("--repeats", type=count, default=5, help="windows a round")
    parser.add_argument("--batch-size", type=count, default=16, help="windows of a batch, for the throughput")
    parser.add_argument(
        "--json", action="store_true", help="one JSON object: the machine and every repeat of each form"
    )
    parser.add_argument("--output", type=new_file, help="JSON file for all figures")
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> int:
    """Run from the command line; returns 0, or 2 with one line on standard error."""
    args = parse_args(argv)
    try:
        _ = [load_bundle(path).classes for path in args.bundle]  # an encoder has no answers to wait for
        check_provider()
        if args.child:
            run_bundle(args.bundle[0], str(args.segment))
            return 0
        forms = forms_of(args.bundle, args.model, args.segment, args.torch_forms)
        measured = measure(forms, rounds=args.rounds, repeats=args.repeats, batch_size=args.batch_size)
    except ProviderError as error:
        print(f"{PROG}: {error}", file=sys.stderr)  # noqa: T201
        return PROVIDER_EXIT
    except (BundleError, UnreadableError) as error:
        print(f"{PROG}: {error}", file=sys.stderr)  # noqa: T201
        return 2
    facts = {"hardware": hardware(), "forms": [asdict(one) for one in measured]}
    print(json.dumps(facts) if args.json else f"{facts['hardware']}\n{table(measured)}")  # noqa: T201
    if args.output:
        args.output.write_text(json.dumps(facts, indent=1) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
