"""make pretrain-small: the published checkpoint, from recordings to model card, in one command.

    python -m benchmarks.studies.pretraining [--output DIR] [--shards DIR ...] [--recipe NAME] [--processes N]

Prepares the real recordings below CEREBEAM_REAL_DATA (a synthetic corpus where there are none), pretrains on a part of
their people, fills hidden samples of the others in, and leaves OUT/run/encoder: weights (safetensors), configuration,
who was trained on, and README.md, the model card. The six-class site stays unseen. Started again, it goes on. A network
whose skill is at or below 0 (`training.objectives.skill`) gets no card, and exit code 1.
"""

import argparse
import shutil
import sys
from pathlib import Path

from benchmarks.harness import figure, machine, module, run
from benchmarks.studies.model_card import write_card
from benchmarks.studies.real import UNSEEN_SITE, prepared, real_folder
from evaluation.scenarios.reconstruction import LONG_MS, SpanScore, read_reconstruction, score_reconstruction
from signals.shards.manifest import read_manifest
from training.objectives.skill import read_skill
from training.publish import check_worth
from training.recipes.pretraining import RECIPES

N_BOOT = 2000
LONG = (LONG_MS, 500.0)
MOST_MB = 25.0


def recordings(output: Path, real: Path | None) -> list[Path]:
    """Return the shard sets to pretrain on, made now."""
    if real is not None:
        return [prepared(real, output / "shards", profile="pretrain")]
    print("no real recordings below CEREBEAM_REAL_DATA: the checkpoint learns a synthetic corpus", flush=True)
    if not (output / "shards" / "_COMPLETED").is_file():
        module("synthetic.synthesize", "--output", output / "corpus")
        module(
            "pipelines.preprocess", "--input", output / "corpus", "--profile", "pretrain", "--salt", "synthetic",
            "--output", output / "shards", "--site-from", "folder",
        )  # fmt: skip
    return [output / "shards"]


def pretrain(shards: list[Path], output: Path, *, recipe: str, processes: int, more: list[str]) -> float:
    """Run the pretraining to its end; returns its seconds."""
    sites = {shard.site_id for folder in shards for shard in read_manifest(folder).shards}
    excluded = ["--exclude-sites", UNSEEN_SITE] if UNSEEN_SITE in sites else []
    start = ["-m", "training.pretrain"]
    if processes > 1:
        start = ["-m", "torch.distributed.run", f"--nproc_per_node={processes}", "--standalone", *start]
    command = [*start, "--recipe", recipe, "--shards", *shards, *excluded, "--output", output, *more]
    return run(sys.executable, *command)[0]


def long_gaps(scores: list[SpanScore]) -> dict[str, SpanScore]:
    """Return the scores of gaps of 60-500 ms together, by method."""
    return {s.method: s for s in scores if s.band == "all" and (s.low_ms, s.high_ms) == LONG}


def table(scores: list[SpanScore]) -> list[str]:
    """Return the scores as lines of Markdown: all gaps of the whole signal, and the long ones of each band."""
    lines = ["| band | gap | method | r | squared error |", "|---|---|---|---|---|"]
    for s in scores:
        is_long = (s.low_ms, s.high_ms) == LONG
        if s.method == "mean" or not (s.band == "all" or is_long):
            continue
        gap = "all" if s.low_ms == 0 else f"{s.low_ms:g}–{s.high_ms:g} ms"
        cells = (f"{e.value:.3f} [{e.low:.3f}, {e.high:.3f}]" for e in (s.r, s.mse))
        lines.append(f"| {s.band} | {gap} | {s.method} | {' | '.join(cells)} |")
    return lines


def main() -> None:
    """Make the checkpoint and print its figures."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--output", type=Path, default=Path("bench-output/pretrain-small"))
    parser.add_argument("--shards", type=Path, nargs="+", help="shard sets that are there, instead of preparing any")
    parser.add_argument("--recipe", choices=sorted(RECIPES), default="eeg_small_cpu")
    parser.add_argument("--processes", type=int, default=2, help="training processes")
    args, more = parser.parse_known_args()
    print(machine(), flush=True)
    shards = args.shards or recordings(args.output, real_folder())
    target = args.output / "run"
    seconds = pretrain(shards, target, recipe=args.recipe, processes=args.processes, more=more)
    scores = score_reconstruction(read_reconstruction(target / "reconstruction.parquet"), n_boot=N_BOOT, seed=0)
    size_mb = sum(path.stat().st_size for path in (target / "encoder").iterdir()) / 1e6
    if size_mb > MOST_MB:
        sys.exit(f"{target / 'encoder'} holds {size_mb:.1f} MB, more than the {MOST_MB:g} MB of a published checkpoint")
    ratio = long_gaps(scores)["model"].ratio_to_filling.value
    for name, value in read_skill(target).measured.items():
        figure(f"pretrain_skill_{name}", value, "share")
    print("\n".join(table(scores)))
    figure("recon_ratio_to_filling", ratio, "error_share")
    figure("pretrain_small_seconds", seconds, "s")
    figure("pretrain_small_mb", size_mb, "MB")
    for method, score in long_gaps(scores).items():
        if method != "mean":
            figure(f"recon_r_60_500ms{'' if method == 'model' else f'_{method}'}", score.r.value, "r")
            figure(f"recon_mse_60_500ms{'' if method == 'model' else f'_{method}'}", score.mse.value, "mse")
    try:
        check_worth(target)
    except ValueError as error:
        sys.exit(str(error))
    write_card(target / "encoder", shards, table(scores), ratio=ratio, seconds=seconds, machine=machine())
    shutil.copy(target / "reconstruction.parquet", target / "encoder" / "reconstruction.parquet")
    print(f"encoder {target / 'encoder'}")


if __name__ == "__main__":
    main()
