"""make bench-training: what the training core promises at more processes, windows and shards than a test has.

    python -m benchmarks training [--output DIR] [--only NAME ...] [--seeds N] [--windows N]

    ranks           8 gloo processes compare equal weights of many seeds: how many are refused
    split           one batch in 1, 2, 4, 8 parts on 1, 2, 4 processes, fp32: largest difference of loss and gradient
    decodes         an epoch read by 1, 2, 4, 8 processes: records decoded per window
    corpus          a simulated corpus of 10^9 windows (manifest and indexes, no sample): opened, shuffled, gone on with
    augment         crop, scale, masks, reference, gain, dropped channels, line: milliseconds per 5-s window
    size            lines of training/, files that one batch of pretraining runs through
    gpu             where there is one: recipe eeg_small with windows on the device, compiled or not

Heads that compare windows with each other (contrastive) and networks with batch normalisation depend on the split by
nature; they are left out of `split_invariance`.
"""

import argparse
import json
import multiprocessing
import os
import resource
import shutil
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
from torch import nn

from benchmarks.benches.models.loader import make_window
from benchmarks.harness import figure, machine
from model.encoder import Encoder
from model.encoder_config import EncoderConfig
from model.pretraining.masking import MaskPlan
from model.pretraining.pretraining import PretrainModel
from signals.modality import EEG_1020
from signals.shards.index import ShardIndex, index_name, index_row, write_index
from signals.shards.manifest import COMPLETED, MANIFEST, Manifest, Shard, SubjectEntry, manifest_json
from signals.shards.moments import Moments
from signals.shards.normalise import Normaliser
from signals.shards.records import encode_window
from signals.shards.tfrecord import write_shard
from signals.windows.profiles import PRETRAIN
from training import pretrain
from training.corpus.corpus import Corpus
from training.corpus.lanes import LaneOrder
from training.corpus.order import MicroBatch
from training.corpus.source import Choice, Source
from training.corpus.stream import Reading, Stream
from training.objectives.preparation import Preparation
from training.parallel.distributed import Processes, Single, TorchGroup
from training.trainer.train import Trainer

ALONE = Single(rank=0, world_size=1, device=torch.device("cpu"))
WINDOW = Normaliser(kind="window")
SPLIT_HEADS = {"reconstruction": 1.0, "spectral": 1.0, "sleep": 0.1}


def in_ranks(world_size: int, work: Callable[[TorchGroup], Any]) -> list[Any]:
    """Return what `work` returns in each of several forked gloo processes."""
    context = multiprocessing.get_context("fork")
    with tempfile.TemporaryDirectory() as folder:
        pipes = [context.Pipe(duplex=False) for _ in range(world_size)]

        def run(rank: int) -> None:
            dist.init_process_group("gloo", init_method=f"file://{folder}/store", rank=rank, world_size=world_size)
            buffer = BytesIO()
            torch.save(work(TorchGroup(rank=rank, world_size=world_size, device=torch.device("cpu"))), buffer)
            pipes[rank][1].send(buffer.getvalue())
            dist.barrier()

        processes = [context.Process(target=run, args=(rank,)) for rank in range(world_size)]
        for process in processes:
            process.start()
        answers = [torch.load(BytesIO(receive.recv()), weights_only=False) for receive, _ in pipes]
        for process in processes:
            process.join()
    return answers


def ranks(args: argparse.Namespace) -> None:
    """Count seeds whose equal weights 8 processes refuse."""

    def refused(processes: TorchGroup) -> int:
        found = 0
        for seed in range(args.seeds):
            torch.manual_seed(seed)
            try:
                processes.check_same(Encoder(EncoderConfig(dim=32, depth=1, n_heads=4, stem_dim=16)))
            except RuntimeError:
                found += 1
        return found

    figure("ranks_refused", max(in_ranks(8, refused)), f"of_{args.seeds}_seeds")


def _step(processes: Processes, source: Source, n_parts: int) -> tuple[float, torch.Tensor]:
    """Return the loss and all gradients of a step over 8 windows, cut into parts that processes share."""
    torch.manual_seed(0)
    model = PretrainModel(Encoder(EncoderConfig(dim=64, depth=2, n_heads=4, stem_dim=32)), SPLIT_HEADS)
    nn.init.normal_(model.heads["reconstruction"].samples.weight, std=0.1)
    prepare = Preparation(sfreq=256.0, masks=MaskPlan(), seed=(0, 1))
    optimizer = torch.optim.SGD(model.parameters(), lr=1.0)
    before = [p.detach().clone() for p in model.parameters()]
    trainer = Trainer(
        module=model, optimizer=optimizer, processes=processes, seed=0, clip_norm=1e9,
        scheduler=torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 1.0),
    )  # fmt: skip
    numbers = np.array_split(np.arange(8), n_parts)
    parts = [prepare(source.raw(MicroBatch(tuple(n.tolist()), tuple(n.tolist()), 1280))) for n in numbers]
    values = trainer.take_step(parts[processes.rank :: processes.world_size])
    assert values is not None
    moved = [a - p.detach() for a, p in zip(before, model.parameters(), strict=True)]
    return values["loss"], torch.cat([part.reshape(-1) for part in moved]).double()


def split(args: argparse.Namespace) -> None:
    """Cut a batch in every way and compare the step with that of the whole."""
    source = Source(corpus=_corpus(args.output / "split", 8, 4), normaliser=WINDOW, crop_times=1280, seed=(0, 1))
    loss, gradient = _step(ALONE, source, 1)
    worst = 0.0
    for world_size in (1, 2, 4):
        found = in_ranks(world_size, lambda group: [_step(group, source, n) for n in (1, 2, 4, 8)])
        for n_parts, (its_loss, its_gradient) in zip((1, 2, 4, 8), found[0], strict=True):
            off = max(abs(its_loss / loss - 1), float((its_gradient - gradient).norm() / gradient.norm()))
            print(f"  {n_parts} parts on {world_size} processes: {off:.2g}")
            worst = max(worst, off)
    figure("split_invariance", worst, "relative")


def decodes(args: argparse.Namespace) -> None:
    """Let 1, 2, 4, 8 processes read an epoch of a listed corpus and of one read by lanes."""
    folder = args.output / "decodes"
    n = len(_corpus(folder, 192, 12))
    worst = 0.0
    for lanes in (False, True):
        for world_size in (1, 2, 4, 8):
            total, windows = 0, 0
            for rank in range(world_size):
                source = Source(corpus=Corpus.open(folder), normaliser=WINDOW, crop_times=1280, seed=(0, 1))
                reading = Reading(
                    batch=16, micro_batch=4, seed=0, rank=rank, world_size=world_size, listed_most=0 if lanes else n
                )
                stream = Stream([source], [Choice(source.corpus.manifest.subjects)], reading)
                for _, groups, _ in stream.plan(range(n // 16)):
                    windows += sum(len(source.raw(micro)["x_BCT"]) for group in groups for _, micro in group)
                total += source.corpus.n_decoded
            print(f"  {'lanes' if lanes else 'listed'}, {world_size} processes: {total} decoded, {windows} used")
            worst = max(worst, total / n)
    figure("decodes_per_window", worst, "decodes")


def corpus(args: argparse.Namespace) -> None:
    """Open 10^9 windows, take steps of 8 processes' lanes, and go on from a place."""
    folder = args.output / "simulated"
    per_shard = 2500
    n_shards = args.windows // per_shard
    _simulate(folder, n_shards, per_shard)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    began = time.perf_counter()
    opened = Corpus.open(folder)
    choice = Choice(opened.manifest.subjects)

    def lanes(rank: int) -> LaneOrder:
        return LaneOrder(
            opened, choice, crop_times=2560, batch=1024, budget_times=32 * 2560, seed=0, rank=rank, world_size=8
        )

    first = lanes(3)
    steps = [first.next_step() for _ in range(4)]
    place = first.place
    following = first.next_step()
    opened_s = time.perf_counter() - began
    again = lanes(3)
    again.go_to(place)
    assert again.next_step() == following
    print(f"  {len(opened):,} windows in {n_shards:,} shards; steps of {sum(len(m.windows) for m in steps[0])} windows")
    figure("corpus_open_s", opened_s, "s")
    figure("corpus_open_gb", resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6, f"GB_peak_{before:.1f}_before")


def augment(args: argparse.Namespace) -> None:
    """Time the preparation of a batch of 5-s windows on one thread."""
    torch.set_num_threads(1)
    source = Source(corpus=_corpus(args.output / "augment", 64, 4), normaliser=WINDOW, crop_times=1280, seed=(0, 1))
    raw = source.raw(MicroBatch(tuple(range(64)), tuple(range(64)), 1280))
    changes = {"gain_sd": 0.2, "drop_channels": 0.1}
    prepare = Preparation(sfreq=256.0, masks=MaskPlan(), seed=(0, 1), **changes)
    for name, preparation, repeats in (
        ("augment_ms_per_window", prepare, 11),
        ("augment_ar_ms_per_window", replace(prepare, filling="window"), 3),
    ):
        times = []
        for _ in range(repeats):
            began = time.process_time()  # of one thread: what others do on the machine does not count
            preparation(raw)
            times.append(1e3 * (time.process_time() - began) / 64)
        figure(name, statistics.median(times), "ms")


def size(args: argparse.Namespace) -> None:
    """Count lines of training/, and the project's files that run while one batch is made and learnt from."""
    root = Path(__file__).parents[3]
    files = sorted((root / "training").rglob("*.py"))
    figure("training_lines", sum(len(path.read_text().splitlines()) for path in files), "lines")
    figure("training_files", len([path for path in files if path.read_text().strip()]), "files")
    folder = args.output / "size"
    source = Source(corpus=_corpus(folder, 8, 2), normaliser=WINDOW, crop_times=1280, seed=(0, 1))
    seen: set[str] = set()

    def watch(frame: Any, event: str, argument: Any) -> None:
        name = frame.f_code.co_filename
        if str(root) in name and any(f"{root}/{room}/" in name for room in ("training", "model")):
            seen.add(os.path.relpath(name, root))

    sys.setprofile(watch)
    threading.setprofile(watch)
    try:
        _step(ALONE, source, 2)
    finally:
        sys.setprofile(None)
        threading.setprofile(None)
    print("  " + ", ".join(sorted(seen)))
    figure("files_per_batch", len(seen), "files")


def gpu(args: argparse.Namespace) -> None:
    """Pretrain eeg_small on a GPU, 20 steps to warm up and 60 that count, without and with torch.compile."""
    if not torch.cuda.is_available():
        print("  no GPU here: not run")
        return
    shards = args.output / "gpu"
    _corpus(shards, 1024, 8)
    rates = []
    for name, more in (("plain", ()), ("compiled", ("--optim.compile",))):
        run = args.output / f"gpu-{name}"
        options = ["--recipe", "eeg_small", "--shards", str(shards), "--output", str(run), "--max-steps", "80"]
        pretrain.main([*options, "--data.resident", "device", "--track.evaluate-windows", "1", *more])
        lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()][20:]
        rates.append(statistics.median(line["eeg_hours_per_s"] for line in lines))
        if name == "plain":
            figure("train_eeg_hours_per_s", rates[0], "EEG_hours_per_s")
            figure("train_mfu", statistics.median(line.get("mfu", float("nan")) for line in lines), "share_of_peak")
            figure("gpu_idle_share", statistics.median(line["load_s"] / line["step_s"] for line in lines), "share")
    figure("compile_speedup", rates[1] / rates[0], "speed_ratio")


def _corpus(folder: Path, n_windows: int, n_shards: int) -> Corpus:
    """Write windows of 10 s into indexed shards, a subject each, and open them."""
    rng = np.random.default_rng(0)
    shards, subjects = [], {}
    for number in range(n_shards):
        part = range(number * n_windows // n_shards, (number + 1) * n_windows // n_shards)
        windows = [replace(make_window(rng, n), site_id="s", subject_id=f"p{number}") for n in part]
        path = f"site=s/windows-{number:05d}.tfrecord.snappy"
        info = write_shard(folder / path, map(encode_window, windows))
        with (folder / index_name(path)).open("wb") as file:
            digest = write_index(file, map(index_row, windows, info.places))
        shards.append(
            Shard(path=path, site_id="s", n_windows=len(windows), n_bytes=info.n_bytes, sha256=info.sha256,
                  index=ShardIndex(path=index_name(path), sha256=digest))
        )  # fmt: skip
        subjects[f"p{number}"] = SubjectEntry(
            site_id="s", n_windows=len(windows), recording_ids=(), moments=Moments.of(windows[0].data)
        )
    _write_manifest(folder, shards, subjects)
    return Corpus.open(folder)


def _write_manifest(folder: Path, shards: list[Shard], subjects: dict[str, SubjectEntry]) -> None:
    manifest = Manifest(
        modality=EEG_1020, profile=PRETRAIN.to_dict(), config_hash="bench", code_version="bench", shards=tuple(shards),
        subjects=subjects, counts={},
    )  # fmt: skip
    folder.mkdir(parents=True, exist_ok=True)
    (folder / MANIFEST).write_text(manifest_json(manifest))
    (folder / COMPLETED).write_text("")


def _simulate(folder: Path, n_shards: int, per_shard: int) -> None:
    """Write a manifest of many shards, all of which name one and the same index file; there are no samples."""
    rng = np.random.default_rng(0)
    window = make_window(rng, 0)
    row = index_row(window, write_shard(folder / "one.tfrecord.snappy", [encode_window(window)]).places[0])
    rows = [replace(row, key=f"{n:016x}", subject_id=f"s{n % 20}") for n in range(per_shard)]
    with (folder / "all.index.parquet").open("wb") as file:
        index = ShardIndex(path="all.index.parquet", sha256=write_index(file, rows))
    shards = [
        Shard(path=f"site=s/windows-{n:06d}-of-{n_shards:06d}.tfrecord.snappy", site_id="s", n_windows=per_shard,
              n_bytes=250_000_000, sha256=f"{n:064x}", index=index)
        for n in range(n_shards)
    ]  # fmt: skip
    moments = Moments.of(window.data)
    subjects = {
        f"s{n}": SubjectEntry(site_id="s", n_windows=50_000, recording_ids=(), moments=moments) for n in range(20)
    }
    _write_manifest(folder, shards, subjects)


PARTS = {
    "ranks": ranks,
    "split": split,
    "decodes": decodes,
    "corpus": corpus,
    "augment": augment,
    "size": size,
    "gpu": gpu,
}


def main() -> None:
    """Run all parts, or some."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", type=Path, default=Path("bench-output/training"))
    parser.add_argument("--seeds", type=int, default=60)
    parser.add_argument("--windows", type=int, default=1_000_000_000)
    parser.add_argument("--only", nargs="+", choices=sorted(PARTS), default=list(PARTS))
    args = parser.parse_args()
    print(machine())
    shutil.rmtree(args.output, ignore_errors=True)
    args.output.mkdir(parents=True)
    for name in args.only:
        print(f"== {name}", flush=True)
        PARTS[name](args)
    shutil.rmtree(args.output)


if __name__ == "__main__":
    main()
