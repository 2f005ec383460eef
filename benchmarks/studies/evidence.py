"""make bench-evidence: what the evaluation itself is worth, and what it costs.

    python -m benchmarks.studies.evidence [--only planted|gap|intervals|bootstrap|duplicates] [--repeats N] [--seed N]

Planted faults flagged by name, on seeds drawn from --seed; the planted gap between sites recovered; how often intervals
cover a known truth; 10,000 resamples of 100,000 predictions of six classes, with 500, 2,500 and 10,000 subjects in
turn, and against a scikit-learn loop; pairs of copies looked for among 100,000 windows.
"""

import argparse
import statistics
import time

import numpy as np
import pandas as pd

from benchmarks.harness import figure, machine

N_WINDOWS, N_BOOT, N_CLASSES = 100_000, 10_000, 6
SUBJECTS = (500, 2_500, 10_000)


def planted(repeats: int, first_seed: int) -> None:
    """Every planted fault, and the clean control, on fresh corpora: one seed per repeat, drawn from `first_seed`."""
    from studies.planted.corpus import make_corpus
    from studies.planted.faults import FAULTS, findings_of, is_flagged

    flagged, wrong = 0, 0
    for seed in (int(n) for n in np.random.default_rng(first_seed).integers(0, 2**31, repeats)):
        corpus = make_corpus(seed=seed)
        for fault in FAULTS:
            findings = findings_of(fault, corpus, seed=seed)[1]
            ok = is_flagged(fault, findings)
            flagged += ok and bool(fault.code)
            wrong += not ok and not fault.code
            codes = ", ".join(sorted({finding.code for finding in findings})) or "nothing"
            print(f"  seed {seed}  {'ok' if ok else 'MISSED':<7}{fault.name:<24}{codes}")
    figure("planted_faults", repeats * (len(FAULTS) - 1), "faults")
    figure("planted_faults_flagged", flagged, "faults")
    figure("planted_clean_flagged", wrong, "files")


def gap(repeats: int) -> None:
    """Rank correlation of planted and measured gaps, the median over seeds."""
    from studies.planted.gap import recover

    recovered = [recover(seed=seed) for seed in range(repeats)]
    for one in recovered:
        for name, rho in one.rho.items():
            measured = " ".join(f"{value:7.3f}" for value in getattr(one, name))
            sizes = " ".join(f"{size:7g}" for size in one.planted)
            print(f"  {name:<11}planted  {sizes}\n  {'':<11}measured {measured}  rho {rho:.2f}")
    for name, words in (("mmd2", ""), ("a_distance", "_a_distance"), ("coral", "_coral")):
        figure(f"domain_gap_recovered{words}", statistics.median(one.rho[name] for one in recovered), "spearman_rho")


def intervals(repeats: int) -> None:
    """Share of simulated studies whose interval covers the truth: of three generators, the one furthest from 0.95."""
    from studies.planted.coverage import SITES, SUBJECTS, covered_over_sites, covered_over_subjects, furthest

    n_studies = 2000 * repeats
    sites = {kind: covered_over_sites(kind, n_studies=n_studies, seed=repeats) for kind in SITES}
    subjects = {kind: covered_over_subjects(kind, n_studies=n_studies, seed=repeats) for kind in SUBJECTS}
    for kind, (mean, new) in sites.items():
        print(f"  {kind:<8}4 sites: mean {mean:.3f}, new hospital {new:.3f}; 8 subjects {subjects[kind]:.3f}")
    figure("interval_coverage_new_site", furthest({kind: new for kind, (_, new) in sites.items()}), "share")
    figure("interval_coverage_mean", furthest({kind: mean for kind, (mean, _) in sites.items()}), "share")
    figure("interval_coverage_8_subjects", furthest(subjects), "share")


def bootstrap(repeats: int) -> None:
    """Every metric on every resample; the figure is the slowest number of subjects."""
    from evaluation.measures.bootstrap import draws
    from evaluation.measures.tallies import tally

    seconds: dict[int, list[float]] = {n: [] for n in SUBJECTS}
    frames = {n: predictions(n) for n in SUBJECTS}
    for _ in range(repeats):
        for n, frame in frames.items():
            started = time.perf_counter()
            draws(tally(frame, tuple("abcdef")), n_boot=N_BOOT, seed=0)
            seconds[n].append(time.perf_counter() - started)
    for n, taken in seconds.items():
        print(f"  {n:6,} subjects: median {statistics.median(taken):.1f} s ({min(taken):.1f} to {max(taken):.1f})")
    slowest = max(statistics.median(taken) for taken in seconds.values())
    figure("bootstrap_seconds", slowest, "s")
    figure("bootstrap_vs_loop", statistics.median(loop(frame) for frame in frames.values()) / slowest, "times")


def loop(frame: pd.DataFrame, *, n_timed: int = 3) -> float:
    """Return the seconds that N_BOOT resamples would take with scikit-learn, timed on `n_timed` of them."""
    from sklearn import metrics

    classes, rng = list("abcdef"), np.random.default_rng(0)
    true = frame["label"].map({name: k for k, name in enumerate(classes)}).to_numpy()
    prob = frame[[f"prob_{name}" for name in classes]].to_numpy()
    rows = list(frame.groupby("subject_id").indices.values())
    started = time.perf_counter()
    for _ in range(n_timed):
        chosen = np.concatenate([rows[i] for i in rng.integers(0, len(rows), len(rows))])
        y, p = true[chosen], prob[chosen]
        top = p.argmax(axis=1)
        metrics.balanced_accuracy_score(y, top)
        metrics.cohen_kappa_score(y, top)
        metrics.f1_score(y, top, average="weighted")
        metrics.accuracy_score(y, top)
        metrics.recall_score(y, top, average=None)
        metrics.precision_score(y, top, average=None, zero_division=0)
        metrics.log_loss(y, p)
        for k in range(N_CLASSES):
            metrics.roc_auc_score(y == k, p[:, k])
    return (time.perf_counter() - started) / n_timed * N_BOOT


def predictions(n_subjects: int) -> pd.DataFrame:
    """Return predictions of six classes without ties."""
    rng = np.random.default_rng(0)
    true = rng.integers(0, N_CLASSES, N_WINDOWS)
    prob = rng.dirichlet(np.ones(N_CLASSES), N_WINDOWS) + 0.3 * np.eye(N_CLASSES)[true]
    prob /= prob.sum(axis=1, keepdims=True)
    columns = {f"prob_{name}": prob[:, k] for k, name in enumerate("abcdef")}
    columns |= {f"target_{name}": (true == k).astype(float) for k, name in enumerate("abcdef")}
    who = {"window_key": [f"{i:06d}" for i in range(N_WINDOWS)], "subject_id": np.arange(N_WINDOWS) % n_subjects}
    return pd.DataFrame({**who, "label": np.array(list("abcdef"))[true], **columns})


def duplicates(repeats: int) -> None:
    """All pairs of 100,000 fingerprints, one of them planted."""
    from evaluation.audit.duplicates import alike
    from evaluation.audit.fingerprint import N_DIMS

    vectors = np.random.default_rng(0).normal(size=(N_WINDOWS, N_DIMS)).astype(np.float32)
    vectors[-1] = -vectors[1]
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    folds, taken = np.arange(N_WINDOWS) % 4, []
    for _ in range(repeats):
        started = time.perf_counter()
        copies = alike(vectors, apart=folds, within=np.zeros_like(folds))
        taken.append(time.perf_counter() - started)
        if copies.rows != ((1, N_WINDOWS - 1),):
            raise SystemExit(f"one pair was planted, found {copies.rows[:5]}")
    figure("duplicates_seconds", statistics.median(taken), "s")


PARTS = {"planted": planted, "gap": gap, "intervals": intervals, "bootstrap": bootstrap, "duplicates": duplicates}


def main() -> None:
    """Run all parts, or one."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", choices=sorted(PARTS))
    parser.add_argument("--repeats", type=int, default=3, help="seeds of the first two parts, runs of the others")
    parser.add_argument("--seed", type=int, default=0, help="of the seeds of the first part: any number will do")
    args = parser.parse_args()
    print(machine())
    for name in [args.only] if args.only else PARTS:
        print(f"== {name}", flush=True)
        PARTS[name](args.repeats, args.seed) if name == "planted" else PARTS[name](args.repeats)


if __name__ == "__main__":
    main()
