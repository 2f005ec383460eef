"""make bench-archive: how many hours of EEG a bundle answers in a minute, in how much memory, and whether it loses any.

    python -m benchmarks archive [--hours H] [--parts PART ...] [--output DIR] [--thousand]

Parts: speed (two workers, hop 10 s: the tiny encoder, whose windows share preparation alone, and a network on
spectrograms, whose windows share columns too), equal (rows against the service's jobs), killed (kill -9, then resume),
shared (what preparing in blocks saves). --thousand: speed on 1,000 h in forty files, which needs 26 GB of disk. The
networks have random weights: they cost what trained ones do.
"""

import argparse
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pyarrow.parquet as pq

from benchmarks.benches.load.processes import family, memory_mb
from benchmarks.harness import figure, machine, module
from pipelines.scoring.summary import read_summary
from serving.model import open_model
from serving.rows import answer_rows, keyed_rows
from signals.files import file_sha256
from signals.readers.registry import open_recording
from signals.windows.blocks import Block, blocks, plan_windows
from signals.windows.plan import plan_recording
from signals.windows.prepare import prepare_block
from synthetic.recordings.long_recording import long_recording

HOP_S = 10.0
WORKERS = 2
PARTS = ("speed", "equal", "killed", "shared")
KINDS = ("tiny", "spectrogram")


def archive(folder: Path, hours: float, n_files: int, *, first: int = 0) -> Path:
    """Return a folder of files of 19 channels at 200 Hz that have so many hours together, made where it is missing."""
    for number in range(n_files):
        path = folder / f"{first + number:03d}-{hours / n_files:g}h.edf"
        if not path.exists():
            folder.mkdir(parents=True, exist_ok=True)
            long_recording(path, hours=hours / n_files, n_chans=19, sfreq=200, seed=first + number)
    return folder


def bundle(output: Path, kind: str) -> Path:
    """Return a bundle of random weights, made where it is missing."""
    folder = output / f"bundle-{kind}"
    if folder.exists():
        return folder
    profile = "six-class" if kind == "tiny" else "six-class-spectrogram"
    shards = output / f"shards-{kind}"
    if not shards.exists():
        module(
            "pipelines.preprocess", "--input", archive(output / "sample", 0.3, 1), "--output", shards, "--salt", "s",
            "--profile", profile,
        )  # fmt: skip
    _export(kind, shards, output / f"model-{kind}", folder)
    return folder


def _export(kind: str, shards: Path, model: Path, folder: Path) -> None:
    import torch

    from model.classifier import new_classifier
    from model.encoder import Encoder
    from model.encoder_config import sized
    from model.export import export, load_models
    from model.supervised.supervised import new_network
    from signals.modality import EEG_1020
    from signals.shards.normalise import Normaliser
    from signals.tasks import SIX_CLASS
    from signals.windows import profiles

    torch.manual_seed(0)
    normaliser, provenance = Normaliser(kind="window"), {"train_subjects": ["a"], "pretrain_subjects": []}
    if kind == "tiny":
        profile = profiles.SIX_CLASS.to_dict()
        new_classifier(
            Encoder(sized("tiny")), SIX_CLASS, EEG_1020, normaliser, dropout=0.1, profile=profile, provenance=provenance
        ).save_pretrained(model)
    else:
        profile = profiles.SIX_CLASS_SPECTROGRAM.to_dict()
        new_network(
            "efficientnet_small", SIX_CLASS, EEG_1020, normaliser, dropout=0.1, profile=profile, provenance=provenance
        ).save_pretrained(model)
    export(load_models([model]), [shards], folder, n_windows=24)


def command(files: Path, of: Path, output: Path, *more: str) -> list[str]:
    """Return the command that answers an archive."""
    return [sys.executable, "-m", "pipelines.score", "--input", str(files), "--bundle", str(of), "--output",
            str(output), "--hop", f"{HOP_S:g}", "--salt", "s", f"--direct_num_workers={WORKERS}", *more]  # fmt: skip


def watched(args: Sequence[str]) -> tuple[float, float]:
    """Run a command; returns (seconds, largest peak of resident memory of one of its processes, MB)."""
    started, peaks = time.perf_counter(), dict[int, float]()
    process = subprocess.Popen(args)
    while process.poll() is None:
        for pid in family(process.pid):
            peaks[pid] = max(peaks.get(pid, 0.0), memory_mb(pid, "VmHWM"))
        time.sleep(0.1)
    if process.returncode:
        sys.exit(f"{' '.join(args)} failed with code {process.returncode}")
    return time.perf_counter() - started, max(peaks.values())


def speed(output: Path, hours: float, n_files: int, kinds: Sequence[str] = KINDS) -> None:
    """Answer an archive with two workers."""
    files = archive(output / f"archive-{hours:g}h", hours, n_files)
    loaded = " (under load)" if os.getloadavg()[0] > 1.5 else ""
    for kind in kinds:
        of, answers = bundle(output, kind), output / "answers"
        shutil.rmtree(answers, ignore_errors=True)
        seconds, peak_mb = watched(command(files, of, answers))
        summary = read_summary(str(answers))
        name = "" if kind == "tiny" else f"_{kind}"
        figure(f"archive_hours_per_minute{name}", 60 * summary.hours / seconds, f"EEG-hours, start included{loaded}")
        figure(f"archive_worker_mb{name}", peak_mb, "MB, the largest process")
        figure(f"archive_windows{name}", summary.windows["answered"], "windows")


def equal(output: Path) -> None:
    """Compare an archive's rows with those that a job of the service makes of the same file."""
    files, of, answers = archive(output / "short", 0.4, 1), bundle(output, "tiny"), output / "answers-equal"
    shutil.rmtree(answers, ignore_errors=True)
    watched(command(files, of, answers))
    (path,) = files.glob("*.edf")
    model, digest = open_model(of), file_sha256(path)
    windows = model.windows(open_recording(str(path)), source_sha256=digest, hop_s=HOP_S)
    found = [answer for batch in model.answers_of(windows) for answer in batch]
    rows = answer_rows(
        found, classes=model.bundle.classes, label_span_s=model.bundle.profile.label_span_s, model=model.name,
        model_digest=model.digest,
    )  # fmt: skip
    theirs = keyed_rows(rows, source_sha256=digest, sfreq=model.bundle.modality.sfreq)
    tables = [pq.ParquetFile(table).read().to_pylist() for table in sorted(answers.glob("site=*/*.parquet"))]
    ours = [row for table in tables for row in table]
    same = len(ours) == len(theirs) and all(
        abs(mine[name] - value) < 1e-6 if isinstance(value, float) else mine[name] == value
        for mine, row in zip(ours, theirs, strict=True) for name, value in row.items()
    )  # fmt: skip
    figure("archive_equals_api", int(same), f"1: all {len(theirs)} rows")


def killed(output: Path) -> None:
    """Kill a run with -9 when its first table is whole, resume it, and count windows."""
    files, of, answers = archive(output / "killed", 4.0, 4), bundle(output, "tiny"), output / "answers-killed"
    working = answers.with_name(f"{answers.name}.partial")
    for folder in (answers, working):
        shutil.rmtree(folder, ignore_errors=True)
    process = subprocess.Popen(command(files, of, answers), start_new_session=True)
    while process.poll() is None and not list(working.glob("_progress/site=*/*.json")):
        time.sleep(0.05)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    n_kept = len(list(working.glob("_progress/site=*/*.json")))
    watched(command(files, of, answers, "--resume"))
    keys = [key for table in answers.glob("site=*/*.parquet")
            for key in pq.ParquetFile(table).read(["window_key"])["window_key"].to_pylist()]  # fmt: skip
    figure("archive_kept", n_kept, "tables taken over")
    figure("archive_lost", read_summary(str(answers)).windows["planned"] - len(set(keys)), "windows")
    figure("archive_doubled", len(keys) - len(set(keys)), "windows")


def shared(output: Path) -> None:
    """Prepare the windows of half an hour block by block, and each for itself."""
    (path,) = archive(output / "half", 0.5, 1).glob("*.edf")
    recording = open_recording(str(path))
    for kind in KINDS:
        model = open_model(bundle(output, kind))
        plan = plan_recording(
            recording, replace(model.bundle.profile, hop_s=HOP_S), site_id="s", subject_id="s", source_sha256="0" * 64
        )
        starts = plan_windows(recording, plan)
        together = _seconds(recording, list(blocks(plan, starts)), model.intake.want)
        apart = _seconds(recording, [Block(plan, (start,)) for start in starts], model.intake.want)
        windows = prepare_block(recording, next(blocks(plan, starts))).windows
        started = time.process_time()
        model.answers(windows)
        network = (time.process_time() - started) / len(windows)
        figure(f"archive_prepare_ms_{kind}", 1e3 * together / len(starts), "ms of the processor a window, in blocks")
        figure(f"archive_prepare_ms_{kind}_apart", 1e3 * apart / len(starts), "ms of the processor a window, alone")
        figure(f"archive_network_ms_{kind}", 1e3 * network, "ms of the processor a window")


def _seconds(recording: object, of: Sequence[Block], want: frozenset[str]) -> float:
    started = time.process_time()
    for block in of:
        prepare_block(recording, block, want=want)  # type: ignore[arg-type]
    return time.process_time() - started


def main() -> int:
    """Run the bench."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, default=Path("bench-output/archive"))
    parser.add_argument("--hours", type=float, default=24.0, help="of the recording that is answered (default 24)")
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=PARTS)
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=KINDS, help="bundles whose speed is measured")
    parser.add_argument("--thousand", action="store_true", help="speed on 1,000 h in forty files")
    args = parser.parse_args()
    print(machine())
    if "speed" in args.parts:
        speed(args.output, args.hours, 1, args.kinds)
    if args.thousand:
        speed(args.output, 1000.0, 40, args.kinds)
    if "equal" in args.parts:
        equal(args.output)
    if "killed" in args.parts:
        killed(args.output)
    if "shared" in args.parts:
        shared(args.output)
    return 0


if __name__ == "__main__":
    sys.exit(main())
