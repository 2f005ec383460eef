"""make bench-compression: what pruning costs, and how near a student comes to its teacher, at sites not trained on.

    python -m benchmarks.studies.compression [--parts sites network] [--demo DIR] [--output DIR] [--sites NAME ...]
        [--jobs 2] [--corpus SHARDS] [--network DIR]

"network" cuts channels and GRU units of a ResNet1D-GRU that learnt from generators' families, and evaluates it on
others (`benchmarks.benches.parts.narrowed`). "sites" is on the demo's synthetic six-class shards. For each test site,
all of it trained on the other sites only: a teacher (the mean of two encoders with head and a ResNet-GRU), the first
encoder pruned in several ways and fine-tuned as briefly, and students with and without the teacher. Sites run beside
each other, one a process.
"""

import argparse
import json
import statistics
import time
from concurrent.futures import ProcessPoolExecutor
from copy import deepcopy
from dataclasses import replace
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.benches.parts import narrowed
from benchmarks.harness import figure, machine, module

PARTS = ("network", "sites")
TASK = "six-class"
CUTS = (
    ("mixed", 0.3),
    ("mixed", 0.4),
    ("mixed", 0.5),
    ("blocks", 0.3),
    ("weights", 0.5),
)
MAIN = ("mixed", 0.4)
"""The cut that the figures speak of; chosen before anything was measured."""
ROUNDS = 15
Row = dict[str, Any]


class Site:
    """One test site: what is trained on all the others, and evaluated here."""

    def __init__(self, demo: Path, output: Path, name: str) -> None:
        import torch

        from training.corpus.corpus import Corpus
        from training.corpus.labelled import labelled, task_named
        from training.fitting.held_out import held_out_rows
        from training.parallel.distributed import Single

        self.encoder, self.folder = demo / "checkpoints" / "pretrain" / "encoder", output / name
        self.folder.mkdir(parents=True, exist_ok=True)
        self.processes = Single(rank=0, world_size=1, device=torch.device("cpu"))
        self.data = labelled(Corpus.open(demo / "shards" / TASK), task_named(TASK))
        self.test = held_out_rows(self.data, trained=(), sites=(name,))
        self.train = np.setdiff1d(np.arange(len(self.data.windows)), self.test)

    def encoder_with_head(self, data: Any, seed: int, log: str) -> Any:
        """Train the head on the frozen encoder, then everything."""
        from training.recipes.finetuning import probe

        return self.whole(self.fitted(data, self.encoder, replace(probe(), seed=seed), f"{log}-head"), data, seed, log)

    def network(self, data: Any, log: str) -> Any:
        """Train a ResNet1D-GRU from scratch."""
        from training.recipes.finetuning import resnet_gru

        return self.fitted(data, None, resnet_gru(), log)

    def fitted(self, data: Any, encoder: Path | None, recipe: Any, log: str) -> Any:
        """Train what the recipe says."""
        from training.fitting.fit import Fitting

        fitting = Fitting(data, encoder, seed=recipe.seed, processes=self.processes)
        return fitting.fit(self.train, recipe, metrics=self.folder / f"{log}.jsonl", name=log)

    def whole(self, model: Any, data: Any, seed: int, log: str) -> Any:
        """Train all of an encoder with head."""
        from studies.baselines.candidates import TUNE
        from training.recipes.sections import changed

        recipe = replace(changed(TUNE, optim={"learning_rate": 5e-4}), seed=seed)
        return self.tuned(model, data, recipe, log)

    def tuned(self, model: Any, data: Any, recipe: Any, log: str) -> Any:
        """Train all of a model further."""
        from model.freezing import freeze
        from training.prune import tune

        freeze(model, ())
        log_file = self.folder / f"{log}.jsonl"
        return tune(model, data, self.train, recipe, processes=self.processes, metrics=log_file)

    def row(self, label: str, model: Any) -> Row:
        """Return a model's row of a table, but for its time."""
        from training.fitting.held_out import score_model

        score, n = score_model(model, self.data, self.test), sum(p.numel() for p in model.parameters())
        return {"name": label, "parameters": n, "accuracy": score.balanced_accuracy, "kl": score.kl}


def site(demo: Path, output: Path, name: str) -> dict[str, list[Row]]:
    """Return the rows of both tables for one test site."""
    import torch
    import transformers

    torch.set_num_threads(1)
    transformers.utils.logging.disable_progress_bar()
    here = Site(demo, output, name)
    members = {
        "encoder, seed 0": here.encoder_with_head(here.data, 0, "encoder-0"),
        "encoder, seed 1": here.encoder_with_head(here.data, 1, "encoder-1"),
        "resnet_gru": here.network(here.data, "resnet"),
    }
    for label, model in members.items():
        model.save_pretrained(here.folder / label.replace(", seed ", "-"))
    pruned = _pruned(here, here.folder / "encoder-0")
    teaching, teacher_row = _teacher(here.data, members, here.test)
    taught, half = replace(here.data, teaching=teaching), pruned["mixed 0.5"][1]
    students = {
        "half encoder, untaught": here.whole(deepcopy(half), here.data, 0, "untaught-half"),
        "half encoder, taught": here.whole(deepcopy(half), taught, 0, "taught-half"),
        "encoder, taught": here.encoder_with_head(taught, 0, "taught-encoder"),
        "resnet_gru, taught": here.network(taught, "taught-resnet"),
    }
    models = {**members, **students}
    rows = [teacher_row, *(here.row(label, model) for label, model in models.items())]
    for row, ms in zip(rows, _latency(list(models.values()), here.data, len(members)), strict=True):
        row["ms"] = ms
    first = here.row("as it was", members["encoder, seed 0"])
    return {"pruned": [first, *(row for row, _ in pruned.values())], "students": rows}


def _pruned(here: Site, first: Path) -> dict[str, tuple[Row, Any]]:
    """Return each cut's row and model by name, and before them the same fine-tuning of the whole model."""
    from model.saved import load_task_model
    from training.fitting.fit import sides
    from training.prune import PruneCommand, cut
    from training.recipes.compression import brief

    recipe, label = replace(brief(), epochs=3), "fine-tuned as briefly"
    model = here.tuned(load_task_model(first), here.data, recipe, "pruned")
    found = {label: (here.row(label, model), model)}
    for method, share in CUTS:
        label = f"{method} {share:g}"
        told_to = {"model": first, "shards": first, "output": here.folder, "share": share, "method": method}
        command = PruneCommand(config=recipe, **told_to)  # type: ignore[arg-type]
        model = cut(load_task_model(first), here.data, sides(here.data, here.train, recipe)[0], command)
        at_once = here.row(label, model)
        model = here.tuned(model, here.data, recipe, "pruned")
        found[label] = (here.row(label, model) | {"at_once": at_once["accuracy"]}, model)
    return found


def _teacher(data: Any, members: dict[str, Any], test: np.ndarray) -> tuple[Any, Row]:
    from training.fitting.held_out import score_of
    from training.fitting.inference import predict
    from training.objectives.teaching import Teaching

    predicted = np.mean([predict(model, data.shards, data.windows)[0] for model in members.values()], axis=0)
    score = score_of(data, test, predicted[test])
    n = sum(p.numel() for model in members.values() for p in model.parameters())
    row = {"name": "teacher: mean of three", "parameters": n, "accuracy": score.balanced_accuracy, "kl": score.kl}
    return Teaching(probabilities=predicted), row


def _latency(models: list[Any], data: Any, n_members: int) -> list[float]:
    """Return median milliseconds per window of the teacher and of each model, run in turn on one thread."""
    import torch

    batch = data.shards.batch(data.windows[:1], models[0].normaliser)
    x, state = torch.from_numpy(batch.x_BCT), torch.from_numpy(batch.ch_state_BC)
    taken: list[list[float]] = [[] for _ in models]
    with torch.inference_mode():
        for _ in range(ROUNDS):
            for times, model in zip(taken, models, strict=True):
                began = time.perf_counter()
                model.eval()(x, state)
                times.append(1000 * (time.perf_counter() - began))
    medians = [statistics.median(times) for times in taken]
    return [sum(medians[:n_members]), *medians]


def mean_rows(tables: list[list[Row]]) -> list[Row]:
    """Return the rows of several sites as their means, row by row."""
    return [
        {key: value if isinstance(value, str) else float(np.mean([one[key] for one in same]))
         for key, value in same[0].items()}
        for same in zip(*tables, strict=True)
    ]  # fmt: skip


def print_pruned(rows: list[Row]) -> None:
    """Print the pruned forms, with figures."""
    whole = rows[0]
    print(f"  {'':<24}{'parameters':>12}{'fewer':>8}{'at once':>9}{'fine-tuned':>12}{'lost':>8}{'KL':>8}")
    for row in rows:
        fewer, lost = 1 - row["parameters"] / whole["parameters"], whole["accuracy"] - row["accuracy"]
        at_once = f"{row['at_once']:.3f}" if "at_once" in row else ""
        print(
            f"  {row['name']:<24}{row['parameters']:>12,.0f}{fewer:>8.1%}{at_once:>9}{row['accuracy']:>12.3f}"
            f"{100 * lost:>8.1f}{row['kl']:>8.3f}"
        )
        if row["name"] == f"{MAIN[0]} {MAIN[1]:g}":
            main = (fewer, lost)
    print("  'weights' sets weights to zero and removes none: neither size nor speed changes by itself")
    figure("pruned_parameters_share", main[0], "share")
    figure("pruned_accuracy_lost", 100 * main[1], "points")


def print_students(rows: list[Row]) -> None:
    """Print teacher, members and students, with figures."""
    teacher = rows[0]
    print(f"  {'':<24}{'parameters':>12}{'accuracy':>10}{'KL':>8}{'KL gap':>9}{'ms a window':>13}")
    for row in rows:
        print(
            f"  {row['name']:<24}{row['parameters']:>12,.0f}{row['accuracy']:>10.3f}{row['kl']:>8.3f}"
            f"{row['kl'] - teacher['kl']:>9.3f}{row['ms']:>13.1f}"
        )
    named = {row["name"]: row for row in rows}
    student, alone = named["encoder, taught"], named["encoder, seed 0"]
    figure("student_kl_gap", student["kl"] - teacher["kl"], "nats")
    figure("untaught_kl_gap", alone["kl"] - teacher["kl"], "nats")
    figure("student_speedup", teacher["ms"] / student["ms"], "x")


def main() -> None:
    """Run the parts, print their tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=PARTS)
    parser.add_argument("--output", type=Path, default=Path("bench-output/compression"))
    parser.add_argument("--demo", type=Path, help="output of an earlier demo")
    parser.add_argument("--sites", nargs="+", default=["harbour", "northgate"], help="test sites, each in its turn")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--corpus", type=Path, help="shard set of synthetic.critical_corpus, made if it is not there")
    parser.add_argument("--segments", type=int, default=600, help="of each family to learn from, of a corpus made here")
    parser.add_argument("--held-out", type=int, default=150, help="of each other family of it")
    parser.add_argument("--network", type=Path, help="a ResNet1D-GRU that has learnt from that corpus")
    parser.add_argument("--epochs", type=int, default=4, help="of fine-tuning the network after a cut")
    parser.add_argument("--shares", type=float, nargs="+", default=narrowed.SHARES, help="cuts of the network")
    args = parser.parse_args()
    print(machine())
    args.output.mkdir(parents=True, exist_ok=True)
    if "network" in args.parts:
        folder = args.corpus or args.output / "corpus"
        corpus = narrowed.corpus_of(folder, segments=args.segments, held_out=args.held_out)
        narrowed.measure(corpus, args.output, network=args.network, epochs=args.epochs, shares=args.shares)
    if "sites" in args.parts:
        site_by_site(args.demo, args.output, args.sites, args.jobs)


def site_by_site(demo: Path | None, output: Path, sites: list[str], jobs: int) -> None:
    """Run all sites and print both tables."""
    if demo is None:
        demo = output / "demo"
        module("cerebeam.demo", "--output", demo)
    began, n = time.perf_counter(), len(sites)
    with ProcessPoolExecutor(jobs, mp_context=get_context("spawn")) as pool:
        found = list(pool.map(site, [demo] * n, [output] * n, sites))
    (output / "rows.json").write_text(json.dumps(dict(zip(sites, found, strict=True)), indent=1) + "\n")
    print(f"== pruned: means over the sites {', '.join(sites)}, none of which was trained on")
    print_pruned(mean_rows([one["pruned"] for one in found]))
    print("== students: the same sites")
    print_students(mean_rows([one["students"] for one in found]))
    figure("compression_seconds", time.perf_counter() - began, "s")


if __name__ == "__main__":
    main()
