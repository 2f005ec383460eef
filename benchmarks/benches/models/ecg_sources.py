"""make bench-ecg-sources: rare classes, doubt, several sources, planted evidence, the quick test; generated hearts.

    python -m benchmarks ecg-sources [--small] [--only PART ...] [--seed N] [--draws N]

About eight minutes of one core. Everything is generated from the seed; no figure here is one of a hospital's.
"""

import argparse
from collections.abc import Callable
from dataclasses import fields, replace

import numpy as np

from benchmarks.harness import figure, machine, module
from evaluation.measures.intervals import Estimate
from studies.hearts import doubt, evidence, page_evidence, rare, sources
from training.objectives.rarity import LOSSES


def interval(name: str, known: Estimate, unit: str) -> None:
    """Print an estimate with both ends of its interval."""
    figure(name, known.value, unit)
    figure(f"{name}_low", known.low, unit)
    figure(f"{name}_high", known.high, unit)


def losses(*, small: bool, seed: int, draws: int = 3) -> None:
    """Print what each loss does at one positive to 800: ranking, and calibration before and after the correction."""
    found = rare.compare(rare.SMALL if small else replace(rare.Amounts(), seeds=draws), first_seed=seed)
    shown = [each.name for each in fields(rare.RareScore)]
    print(f"{'loss':<16}" + "".join(f"{name:>27}" for name in shown))
    for kind in LOSSES:
        cells = [np.array([getattr(one, name) for one in found[kind]]) for name in shown]
        print(f"{kind:<16}" + "".join(f"{cell.mean():>17.4f} ({cell.std():.4f})" for cell in cells))
        figure(f"ecg_rare_auprc_{kind}", float(cells[shown.index("auprc")].mean()), "auprc")
    gains = [a.auprc - b.auprc for a, b in zip(found["ldam"], found["kl"], strict=True)]
    figure("ecg_ldam_auprc_gain", float(np.mean(gains)), "auprc")
    figure("ecg_ldam_auprc_gain_spread", float(np.std(gains)), "auprc")
    costs = ("log_loss", ""), ("corrected_log_loss", "_corrected"), ("fitted_log_loss", "_fitted")
    for at, name in costs:
        cost = [getattr(a, at) - getattr(b, at) for a, b in zip(found["ldam"], found["kl"], strict=True)]
        figure(f"ecg_ldam_calibration_cost{name}", float(np.mean(cost)), "nats")
    figure(
        "ecg_ldam_mean_over_prevalence", float(np.mean([one.mean_over_prevalence for one in found["ldam"]])), "ratio"
    )


def doubts(*, small: bool, seed: int) -> None:
    """Print risk-coverage of every way of doubting, at home and under shift."""
    found = doubt.compare(doubt.SMALL if small else doubt.Amounts(), seed=seed)
    print(f"{'shift':<8}{'way':<14}{'accuracy':>10}{'AURC':>10}   less the single network's")
    for (shift, way), one in found.items():
        gap = one.against_single
        less = f"{gap.value:+.4f} [{gap.low:+.4f}, {gap.high:+.4f}]"
        print(f"{shift:<8}{way:<14}{one.accuracy:>10.3f}{one.aurc:>10.4f}   {less}")
    for shift in doubt.SHIFTS:
        where = "" if shift == "home" else f"_{shift}"
        for way in ("single", "temperature", "mc_dropout", "ensemble3", "ensemble", "families"):
            figure(f"ecg_aurc_{way}{where}", found[shift, way].aurc, "share")
        interval(f"ecg_aurc_ensemble_gain{where}", found[shift, "ensemble"].against_single, "share")


def several(*, small: bool, seed: int) -> None:
    """Print what each source adds, and what severity and confidence are worth."""
    found = sources.study(sources.SMALL if small else sources.Amounts(), seed=seed)
    interval("ecg_signal_auroc", found.signal_auroc, "auroc")
    interval("ecg_multi_auroc", found.multi_auroc, "auroc")
    for gain in found.gains:
        name = gain.source if len(gain.beside) > 1 else f"{gain.source}_beside_{gain.beside[0]}"
        interval(f"ecg_source_gain_{name}", gain.gain, "auroc")
        print(f"  {gain.source} beside {', '.join(gain.beside)}: {gain.decision}")
    for name, opened in found.gates.items():
        figure(f"ecg_gate_{name}", opened, "share")
    figure("ecg_severity_error", found.severity_error, "levels")
    figure("ecg_severity_error_trivial", found.severity_trivial, "levels")
    figure("ecg_confidence_ece", found.confidence_error, "share")
    figure("ecg_confidence_aurc", found.confidence_aurc, "share")
    figure("ecg_least_decided_aurc", found.probability_aurc, "share")


def leads(*, small: bool, seed: int) -> None:
    """Print whether methods of explanation find a raised level in two leads."""
    amounts = evidence.SMALL if small else evidence.Amounts()
    network, area = evidence.train(amounts, seed=seed)
    figure("ecg_evidence_auroc", area, "auroc")
    for name, one in evidence.measure(network, amounts, seed=seed).items():
        _evidence(f"ecg_evidence_{name}", one)


def pages(*, small: bool, seed: int) -> None:
    """Print whether methods of explanation find a raised level in two leads on the page that shows it."""
    amounts = page_evidence.SMALL if small else page_evidence.Amounts()
    reader, area = page_evidence.train(amounts, seed=seed)
    figure("ecg_page_evidence_auroc", area, "auroc")
    figure("ecg_page_evidence_by_chance", page_evidence.BOXES_BY_CHANCE, "share")
    for name, one in page_evidence.measure(reader, amounts, seed=seed).items():
        _evidence(f"ecg_page_evidence_{name}", one)


def _evidence(name: str, one: evidence.Figures) -> None:
    print(f"  {name}: {one.n_cases} windows, gates missed: {', '.join(one.failed()) or 'none'}")
    for at in ("time_hit", "channel_hit", "pair_hit", "gain", "randomised"):
        figure(f"{name.replace(' ', '_').lower()}_{at}", getattr(one, at), "share")


def quick(*, small: bool, seed: int) -> None:
    """Print how long the quick test takes, libraries loaded too."""
    seconds, peak_mb = module("cerebeam.cli", "quick-test", *(("--only", "stacker") if small else ()))
    figure("quick_test_s", seconds, "s")
    figure("quick_test_peak", peak_mb, "MB")


PARTS: dict[str, Callable[..., None]] = {
    "losses": losses, "doubt": doubts, "sources": several, "evidence": leads, "pages": pages, "quick": quick,
}  # fmt: skip


def main() -> None:
    """Print all figures."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--small", action="store_true", help="a few people and steps, for a look")
    parser.add_argument("--only", nargs="+", choices=tuple(PARTS), default=list(PARTS))
    parser.add_argument("--seed", type=int, default=0, help="of everything that is drawn")
    parser.add_argument("--draws", type=int, default=3, help="draws of people for the losses of rare classes")
    args = parser.parse_args()
    print(machine(), flush=True)
    for name in args.only:
        more = {"draws": args.draws} if name == "losses" else {}
        PARTS[name](small=args.small, seed=args.seed, **more)


if __name__ == "__main__":
    main()
