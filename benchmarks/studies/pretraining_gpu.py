"""make pretrain-gpu: pretraining on latents at the size that this machine can train, and the curve of what it learns.

    python -m benchmarks.studies.pretraining_gpu [--shards DIR ...] [--output DIR] [--minutes 40] [--pack-mb 48]

Where a CUDA device is, `small` with bf16 and all windows in its memory; without, the recipe `eeg_latent_cpu` as it is.
A part of the windows of every person, of all sites but the six-class one, is packed into OUT/packed first: the checkout
with this folder is all that another machine needs. Steps are taken in pieces, and held-out people measured after each:
OUT/curve.jsonl. A call ends when the next piece would not fit into its minutes; started again, it goes on.
"""

import argparse
import json
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import torch

from benchmarks.harness import figure, machine
from benchmarks.studies.pretraining import recordings
from benchmarks.studies.real import UNSEEN_SITE, real_folder
from signals.shards.manifest import COMPLETED, read_manifest
from signals.shards.writer import write_set
from signals.windows.profiles import Profile
from training import pretrain
from training.corpus.corpus import Corpus
from training.corpus.splits import evenly
from training.objectives.latent_validation import read_latents
from training.objectives.skill import read_skill

ON_GPU = (
    "--model.size", "small", "--model.dim", "0", "--model.depth", "0", "--model.stem-dim", "0",
    "--optim.precision", "bf16", "--optim.batch", "128", "--optim.micro-batch", "128", "--data.resident", "device",
    "--schedule.steps", "8000", "--schedule.warmup-steps", "400",
)  # fmt: skip
ON_CPU = ("--schedule.steps", "1500")


@dataclass(frozen=True, kw_only=True)
class Point:
    """What a run knew after so many steps, of held-out people; nan where it was not measured."""

    step: int
    hours: float
    """Of EEG that it was trained on so far, windows counted as often as they came."""
    gaps: float
    channels: float
    seconds: float
    probe: float
    """Balanced accuracy of the online probe."""
    latent_variance: float
    latent_error: float

    def __str__(self) -> str:
        """Return a row of the table."""
        values = (self.gaps, self.channels, self.seconds, self.probe, self.latent_variance, self.latent_error)
        return f"| {self.step} | {self.hours:.2f} | {' | '.join(f'{value:.3f}' for value in values)} |"


HEAD = "| steps | hours seen | gaps | channels | seconds | probe | latent variance | not predicted |"


def packed(shards: Sequence[Path], folder: Path, *, most_mb: float) -> Path:
    """Return a shard set of at most about so many MB, made now or before: of each person as large a part."""
    if (folder / COMPLETED).is_file():
        return folder
    sites = {shard.site_id for one in shards for shard in read_manifest(one).shards}
    corpus = Corpus.open(list(shards), exclude_sites=[UNSEEN_SITE] if UNSEEN_SITE in sites else [])
    share = min(1.0, 1e6 * most_mb / sum(shard.n_bytes for shard in corpus.shards))
    numbers: dict[str, dict[str, list[int]]] = {}
    for number, entry in enumerate(corpus.entries):
        numbers.setdefault(entry.site_id, {}).setdefault(entry.subject_id, []).append(number)
    parts = {
        site: [corpus.windows(evenly(of_one, max(1, int(share * len(of_one))))) for of_one in people.values()]
        for site, people in numbers.items()
    }
    write_set(folder, parts, profile=Profile.from_dict(corpus.manifest.profile))
    return folder


def read_curve(path: Path) -> list[Point]:
    """Return the points of a curve so far."""
    lines = path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
    return [Point(**json.loads(line)) for line in lines]


def measured(run: Path, step: int) -> Point:
    """Return what a run's folder holds after a piece."""
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]
    skill, latents, nothing = read_skill(run), read_latents(run), float("nan")
    return Point(
        step=step,
        hours=sum(line["eeg_hours_per_s"] * line["step_s"] for line in lines),
        gaps=skill.gaps,
        channels=skill.channels,
        seconds=skill.seconds,
        probe=lines[-1].get("knn_accuracy", nothing),
        latent_variance=latents.get("latent_variance", nothing),
        latent_error=latents.get("valid_latent_error", nothing),
    )


def ends(n_steps: int, n_pieces: int) -> list[int]:
    """Return after how many steps each piece ends."""
    return sorted({max(1, round(n_steps * (piece + 1) / n_pieces)) for piece in range(n_pieces)})


def train(command: Sequence[str], output: Path, *, steps: Sequence[int], seconds: float) -> list[Point]:
    """Take the pieces that are not taken yet, as many as fit into the seconds; returns the curve."""
    path, started, longest = output / "curve.jsonl", time.monotonic(), 0.0
    curve = read_curve(path)
    for step in [step for step in steps if step not in {point.step for point in curve}]:
        began = time.monotonic()
        if longest and began - started + longest > seconds:
            break
        pretrain.main([*command, "--output", str(output / "run"), "--max-steps", str(step)])
        curve.append(measured(output / "run", step))
        with path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(asdict(curve[-1])) + "\n")
        print(f"{HEAD}\n{curve[-1]}", flush=True)
        longest = max(longest, time.monotonic() - began)
    return curve


def main(argv: Sequence[str] | None = None) -> None:
    """Train as long as there is time, and print the curve and its figures."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--output", type=Path, default=Path("bench-output/pretrain-gpu"))
    parser.add_argument("--shards", type=Path, nargs="+", help="shard sets that are there, instead of preparing any")
    parser.add_argument("--minutes", type=float, default=40.0, help="how long one call may train")
    parser.add_argument("--pack-mb", type=float, default=48.0, help="how large the packed windows may be")
    parser.add_argument("--pack-only", action="store_true", help="make OUT/packed, for another machine, and end")
    parser.add_argument("--pieces", type=int, default=10, help="points of the curve")
    args, more = parser.parse_known_args(argv)
    has_gpu = torch.cuda.is_available()
    print(machine().replace("no GPU", torch.cuda.get_device_name() if has_gpu else "no GPU"), flush=True)
    folder = args.output / "packed"
    if not (folder / COMPLETED).is_file():
        folder = packed(args.shards or recordings(args.output, real_folder()), folder, most_mb=args.pack_mb)
    figure("pretrain_gpu_packed_mb", sum(shard.n_bytes for shard in read_manifest(folder).shards) / 1e6, "MB")
    if args.pack_only:
        return
    apart = [part for option in more for part in (option.split("=", 1) if option.startswith("--") else [option])]
    chosen = ["--recipe", "eeg_latent_cpu", *(ON_GPU if has_gpu else ON_CPU), *apart]
    n_steps = int(chosen[len(chosen) - chosen[::-1].index("--schedule.steps")])
    steps = ends(n_steps, args.pieces)
    look = ["--track.save-every", str(steps[0]), "--track.validate-every", str(steps[0])]
    curve = train([*chosen, *look, "--shards", str(folder)], args.output, steps=steps, seconds=60 * args.minutes)
    print("\n".join([HEAD, "|---" * 8 + "|", *map(str, curve)]))
    if not curve:
        return
    for name in ("gaps", "seconds", "probe", "latent_variance", "latent_error"):
        figure(f"pretrain_gpu_{name}", getattr(curve[-1], name), "share")
    figure("pretrain_gpu_hours", curve[-1].hours, "h")
    if curve[-1].step < n_steps:
        print(f"{curve[-1].step} of {n_steps} steps: start the same command again to go on")


if __name__ == "__main__":
    main()
