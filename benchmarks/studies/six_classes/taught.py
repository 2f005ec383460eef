"""make bench-taught: a small student of an ensemble, taught on 50,000 fresh segments, beside the same student untaught.

    python -m benchmarks taught [--output DIR] [--seeds N] [--students NAME ...] [--segments N] [--fresh N]
                                [--small]

The ensemble is the mean of the encoder and of the ResNet1D-GRU of `benchmarks.studies.six_classes.simulated`, seed 0,
both trained on the same simulated segments. It predicts fresh segments of the same family that neither has seen, and
students learn from its probabilities and from the drawn votes in equal shares, each segment once. All are scored on the
corpus of `benchmarks.studies.six_classes.sixclass`, which another generator made:

    member         the ensemble's encoder with head, as it is
    untaught       ResNet1D-GRU, trained on the ensemble's own segments; seed 0 is the ensemble's other member
    taught         the same network, from the ensemble and the votes of the fresh segments
    votes          the same network, from the votes of the fresh segments alone, one seed: what more segments bring
                   without a teacher
    one_encoder    the ensemble in one encoder: the member goes on with the ensemble and the votes of the fresh segments
    encoder_votes  the member goes on with the votes of the fresh segments alone, one seed

Differences are paired, their intervals resample subjects. What is finished is kept.
"""

import argparse
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.harness import figure, machine, module, same_settings
from benchmarks.studies.six_classes.scratch import N_BOOT, pooled, unit_of
from benchmarks.studies.six_classes.simulated import CONTROL, EPOCHS, SLOWER, learn, seed_folder
from benchmarks.studies.six_classes.sixclass import Command, prepare, side_by_side
from evaluation.scenarios.transfer import SEED_MARK, transfer_table
from evaluation.schemas.predictions import MEAN, Predictions, read_predictions
from training.recipes.finetuning import RECIPES

RECIPE_ON, FRESH_SEED = "scratch", 500
HELD_OUT, HELD_OUT_SITES = 96, ("original", "faint-and-uneven")
"""Segments of each family that distillation scores its students on, never trained on."""
VALIDATION_SHARE = 0.02
"""Of the fresh segments: they choose nothing, since each student sees the others once."""
ENSEMBLE, MEMBER, UNTAUGHT = "ensemble", "member", "untaught"


@dataclass(frozen=True, kw_only=True)
class Student:
    """How a kind of student is taught."""

    weight: float
    """Share of the ensemble in the loss."""
    most_seeds: int = 3
    goes_on: bool = False
    """Whether it starts as the ensemble's encoder with head; without, it is a network from random weights."""

    def options(self, member: Path) -> tuple[str | Path, ...]:
        """Return the options of `training.distil` that make it."""
        always = ("--no-encoder", "--weight", str(self.weight))
        if not self.goes_on:
            return ("--recipe", CONTROL, *always)
        rate = str(SLOWER * RECIPES[RECIPE_ON]().optim.learning_rate)
        return ("--recipe", RECIPE_ON, "--student", member, "--optim.learning-rate", rate, *always)


STUDENTS = {
    "taught": Student(weight=0.5),
    "votes": Student(weight=0.0, most_seeds=1),
    "one_encoder": Student(weight=0.5, goes_on=True),
    "encoder_votes": Student(weight=0.0, most_seeds=1, goes_on=True),
}
FIGURES = (
    ("student_kl_gap", "taught", ENSEMBLE, 1),
    ("taught_gain", "taught", UNTAUGHT, -1),
    ("taught_gain_over_votes", "taught", "votes", -1),
    ("one_encoder_kl_gap", "one_encoder", ENSEMBLE, 1),
    ("one_encoder_gain", "one_encoder", MEMBER, -1),
    ("one_encoder_gain_over_votes", "one_encoder", "encoder_votes", -1),
)
"""Name, model, what it is less in KL, and the sign that the figure takes."""


def seeds_of(kind: str, seeds: int) -> range:
    """Return the seeds that a kind of student is trained with."""
    return range(min(seeds, STUDENTS[kind].most_seeds))


def member_of(output: Path) -> Path:
    """Return the folder of the ensemble's encoder with head."""
    return seed_folder(output, 0) / RECIPE_ON


def untaught(output: Path, seed: int) -> Path:
    """Return the folder of an untaught network; seed 0 is the ensemble's other member."""
    return output / "taught" / f"{UNTAUGHT}-{seed}" if seed else seed_folder(output, 0) / CONTROL


def draw_fresh(output: Path, *, segments: int) -> Path:
    """Return the segments that the ensemble has not seen, drawn now unless they are there."""
    fresh = output / "taught" / "fresh"
    same_settings(output / "taught", fresh=segments)
    if not (fresh / "_COMPLETED").is_file():
        module("synthetic.critical_corpus", "--output", fresh, "--segments", str(segments), "--held-out",
               str(HELD_OUT), "--simulate-missing", "--seed", str(FRESH_SEED))  # fmt: skip
    return fresh


def teach(output: Path, fresh: Path, *, seeds: int, epochs: int, students: Sequence[str]) -> None:
    """Train the networks that are not there yet: untaught ones, then students of the ensemble's probabilities."""
    folder, member = output / "taught", member_of(output)
    for seed in range(1, seeds):
        if not (untaught(output, seed) / "model.safetensors").is_file():
            module("training.finetune", "--recipe", CONTROL, "--shards", seed_folder(output, 0) / "corpus", "--task",
                   "six-class", "--no-encoder", "--seed", str(seed), "--schedule.epochs", str(epochs),
                   "--schedule.patience", str(epochs), "--output", untaught(output, seed))  # fmt: skip
    predicted = folder / "ensemble-fresh.parquet"
    if not predicted.is_file():
        module("studies.predict", "--model", member, untaught(output, 0), "--shards", fresh, "--output", predicted)
    commands: list[Command] = [
        ("training.distil", "--predictions", predicted, "--shards", fresh, "--task", "six-class",
         *STUDENTS[kind].options(member), "--seed", str(seed), "--schedule.epochs", "1", "--data.validation-share",
         str(VALIDATION_SHARE), "--test-sites", *HELD_OUT_SITES, "--output", folder / f"{kind}-{seed}")
        for kind in students
        for seed in seeds_of(kind, seeds)
        if not (folder / f"{kind}-{seed}" / "model.safetensors").is_file()
    ]  # fmt: skip
    if commands:
        side_by_side(*(lane for lane in (commands[::2], commands[1::2]) if lane))


def models(output: Path, *, seeds: int, students: Sequence[str]) -> Iterator[tuple[str, list[Path]]]:
    """Yield each model's name with its folders."""
    member = member_of(output)
    yield ENSEMBLE, [member, untaught(output, 0)]
    yield MEMBER, [member]
    for seed in range(seeds):
        yield f"{UNTAUGHT}{SEED_MARK}{seed}", [untaught(output, seed)]
    for kind in students:
        for seed in seeds_of(kind, seeds):
            yield f"{kind}{SEED_MARK}{seed}", [output / "taught" / f"{kind}-{seed}"]


def answers(output: Path, *, seeds: int, students: Sequence[str]) -> Predictions:
    """Return the predictions of all on the other generator's segments."""
    rows, last = [], None
    for name, folders in models(output, seeds=seeds, students=students):
        file = output / "taught" / "scores" / f"{name.replace(SEED_MARK, '-')}.parquet"
        if not file.is_file():
            module("studies.predict", "--model", *folders, "--shards", output / "shards" / "six-class", "--output",
                   file)  # fmt: skip
        last = read_predictions(file)
        frame = last.of(MEAN) if len(folders) > 1 else last.frame
        rows.append(frame.assign(model=name))
    assert last is not None
    return pooled(rows, last)


def compare(predictions: Predictions) -> None:
    """Print all models, and each less the ensemble, the untaught network, the member, and either's votes alone."""
    rows, gaps = transfer_table(predictions, reference=ENSEMBLE, n_boot=N_BOOT, seed=0)
    for row in rows:
        for metric in ("balanced_accuracy", "kl"):
            one = row.metrics[metric]
            print(f"  {row.model} {metric}: {one.value:.3f} [{one.low:.3f}, {one.high:.3f}] over {row.n_seeds} seeds")
            figure(f"taught_{row.model}_{metric}", one.value, unit_of(metric))
    for reference in (UNTAUGHT, "votes", "encoder_votes", MEMBER):
        if any(name.split(SEED_MARK)[0] == reference for name in predictions.models):
            gaps += transfer_table(predictions, reference=reference, n_boot=N_BOOT, seed=0)[1]
    gaps = [gap for gap in gaps if gap.metric in ("balanced_accuracy", "kl")]
    for gap in gaps:
        print(f"  {gap.model} less {gap.reference}, {gap.metric}: {gap.value:+.3f} [{gap.low:+.3f}, {gap.high:+.3f}]")
    kl = {(gap.model, gap.reference): gap.value for gap in gaps if gap.metric == "kl"}
    for name, model, reference, sign in FIGURES:
        if (model, reference) in kl:
            figure(name, sign * kl[model, reference], "nats")


def main() -> None:
    """Run the bench."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--output", type=Path, default=Path("bench-output/sixclass"))
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--students", nargs="+", choices=STUDENTS, default=list(STUDENTS), help="kinds to train")
    parser.add_argument("--segments", type=int, default=6000, help="simulated segments that the ensemble learns from")
    parser.add_argument("--fresh", type=int, default=51_200, help="fresh segments, 330 kB each on disk")
    parser.add_argument("--small", action="store_true", help="120 segments, 240 fresh ones, one epoch, to try it")
    args = parser.parse_args()
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    print(machine(), flush=True)
    prepare(args.output)
    segments, fresh_segments = (120, 240) if args.small else (args.segments, args.fresh)
    epochs, how = 1 if args.small else EPOCHS, {"seeds": args.seeds, "students": args.students}
    learn(args.output, 0, segments=segments, epochs=epochs)
    teach(args.output, draw_fresh(args.output, segments=fresh_segments), epochs=epochs, **how)
    compare(answers(args.output, **how))


if __name__ == "__main__":
    main()
