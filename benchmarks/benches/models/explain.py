"""make bench-explain: what maps of evidence are worth, on planted evidence whose time, place and band are known.

    python -m benchmarks explain [--small] [--models DIR] [--only NAME ...] [--cases 24] [--runs 100] [--output DIR]

Trains small models on planted evidence (two seeds each, and one on shuffled labels), measures every method at every
gate of `explain.gates.card`, writes a card per model, then the shortcut detector's shares on seeds that chose nothing,
and what an explanation of 50 s takes. --small is one model and a few windows, for a look. Weights are kept in --models.
"""

import argparse
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from benchmarks.harness import figure, machine
from explain.gates.card import GATES, VALIDATED, ExplanationCard, Measured
from signals.command_line import count
from studies.explaining.battery import Amounts, measure
from studies.explaining.models import MODELS, READER, Budget, Design, Trained, load, save, train, train_reader
from studies.explaining.shortcut_runs import flagged_shares, runs
from studies.explaining.timing import explanation_times

UNSEEN_SEED = 90_000
"""From here on no seed was looked at while limits were chosen."""
SHUFFLED_STEPS = 120
FIGURES = {
    "time_hit": "explain_time_hit", "hemisphere_hit": "explain_hemisphere_hit", "channel_hit": "explain_channel_hit",
    "band_hit": "explain_band_hit", "iou": "explain_iou", "gain": "explain_auprc_gain",
    "randomised": "explain_randomised_rho", "sum_error": "explain_sum_error",
}  # fmt: skip


def trio(name: str, keep: Path | None) -> tuple[Trained, Trained, Trained]:
    """Return a model, another seed's, and one of shuffled labels; networks are kept in a folder, if one is given."""
    if name == READER:
        return train_reader(seed=0), train_reader(seed=1), train_reader(seed=2, shuffled=True)
    found = []
    for seed, shuffled in ((0, False), (1, False), (2, True)):
        path = None if keep is None else keep / f"{name}-{seed}-{'s' if shuffled else 'n'}.pt"
        if path is not None and path.is_file():
            found.append(load(name, path, Design()))
            continue
        budget = Budget(shuffled=True, most_steps=SHUFFLED_STEPS) if shuffled else Budget()
        found.append(train(name, seed=seed, budget=budget))
        if path is not None:
            save(found[-1], path)
    return found[0], found[1], found[2]


def show(card: ExplanationCard, auroc: float) -> None:
    """Print a model's table: a row per method, missed gates marked."""
    print(f"{card.model}: AUROC {auroc:.3f} on people it was not trained on; {card.n_skipped} windows skipped")
    print("  " + " " * 34 + " ".join(f"{gate.name[:10]:>10}" for gate in GATES))
    for method in card.methods:
        missed = set(method.failed())
        cells = []
        for gate in GATES:
            value = method.value(gate.name)
            shown = "-" if np.isnan(value) else f"{value:.2f}{'!' if gate.name in missed else ' '}"
            cells.append(f"{shown:>10}")
        print(f"  {method.method:<34}" + " ".join(cells) + f"  {method.status}, {method.n_cases} windows")


def best_of(card: ExplanationCard, gate: str) -> float:
    """Return the best value at a gate among validated methods, or, where none is, among all but heuristics; nan."""
    pool = [m for m in card.methods if m.status == VALIDATED] or [m for m in card.methods if not m.heuristic]
    values = [m.value(gate) for m in pool if not np.isnan(m.value(gate))]
    at_most = next(g.at_most for g in GATES if g.name == gate)
    return (min(values) if at_most else max(values)) if values else float("nan")


def print_figures(cards: Sequence[ExplanationCard]) -> None:
    """Print the worst over models of each one's best method."""
    for gate, name in FIGURES.items():
        values = [value for card in cards if not np.isnan(value := best_of(card, gate))]
        at_most = next(g.at_most for g in GATES if g.name == gate)
        if values:
            figure(name, max(values) if at_most else min(values), "share")
    every: list[Measured] = [method for card in cards for method in card.methods]
    figure("explain_methods_validated", sum(m.status == VALIDATED for m in every), f"of_{len(every)}")


def shortcuts(n: int) -> None:
    """Print the shares of planted and of clean runs that the detector flags."""
    planted, clean = flagged_shares(runs(n, n, first_seed=UNSEEN_SEED))
    figure("shortcuts_flagged", planted, "share")
    figure("shortcuts_clean_flagged", clean, "share")


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--small", action="store_true", help="one model, a few windows, a few runs")
    parser.add_argument("--models", type=Path, help="folder that keeps trained networks")
    parser.add_argument("--only", nargs="+", choices=MODELS, default=list(MODELS))
    parser.add_argument("--output", type=Path, help="folder for one card per model")
    parser.add_argument("--cases", type=count, default=24, help="windows per method; time grows with it")
    parser.add_argument("--runs", type=int, default=100, help="planted and clean runs of the shortcut detector each")
    args = parser.parse_args()
    print(machine())
    amounts = Amounts(cases=6, stability=3, faithfulness=4) if args.small else Amounts.of(args.cases)
    cards = []
    for name in args.only[:1] if args.small else args.only:
        started = time.perf_counter()
        trained, second, shuffled = trio(name, args.models)
        card = measure(trained, second, shuffled, amounts=amounts)
        cards.append(card)
        show(card, trained.auroc)
        print(f"  {time.perf_counter() - started:.0f} s", flush=True)
        if args.output is not None:
            args.output.mkdir(parents=True, exist_ok=True)
            (args.output / f"{name.replace(' ', '_')}.json").write_text(card.to_json(), encoding="utf-8")
    print_figures(cards)
    shortcuts(8 if args.small else args.runs)
    for name, value in explanation_times(repeats=3 if args.small else 12).items():
        figure(name, value, "ms")


if __name__ == "__main__":
    main()
