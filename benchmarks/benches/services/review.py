"""make bench-review: what the queue of "next to review" saves against random choice, on synthetic hospitals.

    python -m benchmarks review [--seeds 3] [--patients 40] [--batch 16] [--labels 128] [--keep FOLDER]

A reader of five logistic regressions, each on a random half of the pattern features that the six-class reader takes
(the random subspace method, Ho 1998, doi:10.1109/34.709601), is fitted on one synthetic hospital and meets another one
(`hospitals`). Its windows are labelled in batches, chosen by the service's own queue (`service.review.queue`), or at
random within the recordings that have the fewest labels, as a reviewer goes through a list of recordings. After each
batch all members are fitted anew on the first hospital and the labels, and evaluated on patients who are in no pool.

`active_labels_saved` compares the curves of balanced accuracy over labels. A curve of one seed rises by less than it
shakes, so curves are averaged over seeds and made to rise (isotonic regression) before they are compared; the interval
is a bootstrap over seeds. It is the share of labels that the better one does not need for the accuracy at which the
other one ends, and negative where random choice is the better one.
"""

import argparse
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import numpy as np
from scipy.optimize import isotonic_regression
from sklearn.linear_model import LogisticRegression

from benchmarks.benches.services.hospitals import Hospitals, Sizes, Windows, hospitals
from benchmarks.harness import figure, machine
from service.formats.findings import Findings
from service.review.queue import Candidate, candidates, next_to_review
from serving.runtime import Answer
from signals.bundles.answers import Answers, answers
from signals.tasks import SIX_CLASS

WINDOW_S, APART_S = 10.0, 120.0
FIRST_SEED = 90_000
"""Seeds from here on chose nothing; 70000 to 89999 were measured on by earlier forms of this bench."""
N_MEMBERS, PENALTY = 5, 0.02
N_DRAWS = 3
"""Of each way to choose, and of the members: one lucky draw is no baseline."""
_N_BOOTSTRAP = 2000

Choose = Callable[[Answers, Sequence[int], np.random.Generator], list[int]]
"""From answers to the pool and the rows that are labelled to the rows that come next."""


def member_logits(data: Hospitals, labelled: Sequence[int], *, seed: int) -> np.ndarray:
    """Return logits for the pool and the held-out windows, shape (n_members, n_pool + n_test, 6)."""
    rng, rows = np.random.default_rng(seed), np.array(labelled, dtype=int)
    x, y = (np.concatenate([getattr(data.first, name), getattr(data.pool, name)[rows]]) for name in "xy")
    low, high = np.quantile(x, [0.01, 0.99], axis=0)
    x = np.clip(x, low, high)
    mean, std = x.mean(axis=0), x.std(axis=0) + 1e-6
    x, others = (x - mean) / std, (np.clip(np.concatenate([data.pool.x, data.test.x]), low, high) - mean) / std
    logits = np.full((N_MEMBERS, len(others), len(SIX_CLASS.classes)), -14.0)
    for member in logits:
        half = rng.permutation(x.shape[1])[: x.shape[1] // 2]
        if len(set(y.tolist())) == 1:  # a hospital of few windows
            member[:, y[0]] = 0.0
            continue
        model = LogisticRegression(C=PENALTY, tol=1e-3, max_iter=200, class_weight="balanced").fit(x[:, half], y)
        member[:, model.classes_] = model.predict_log_proba(others[:, half])
    return logits


def by_queue(made: Answers, labelled: Sequence[int], rng: np.random.Generator, *, pool: Windows, n: int) -> list[int]:
    """Return the rows that the service's queue lists first."""
    del rng
    chosen = next_to_review(pool_of(pool, made, labelled), n=n)
    return [int(one.recording) + round(one.start_s / APART_S) for one in chosen]


def by_recording(
    made: Answers, labelled: Sequence[int], rng: np.random.Generator, *, pool: Windows, n: int
) -> list[int]:
    """Return random rows, each of a recording with the fewest labels so far."""
    del made
    counts = np.bincount(pool.patient[list(labelled)], minlength=pool.patient.max() + 1)
    left, chosen = np.setdiff1d(np.arange(len(pool.y)), labelled), list[int]()
    for _ in range(n):
        fewest = left[counts[pool.patient[left]] == counts[pool.patient[left]].min()]
        row = int(rng.choice(fewest))
        counts[pool.patient[row]] += 1
        left = left[left != row]
        chosen.append(row)
    return chosen


def pool_of(pool: Windows, made: Answers, labelled: Sequence[int]) -> list[Candidate]:
    """Return the pool as the service has it: a recording per patient, named by its first row; answers and labels."""
    found: list[Candidate] = []
    low, high = np.quantile(pool.x, [0.01, 0.99], axis=0)
    vectors, known = np.clip(pool.x, low, high), set(labelled)
    for patient in np.unique(pool.patient):
        rows = np.flatnonzero(pool.patient == patient)
        findings = Findings(
            answers=[_answer(made, row, APART_S * k) for k, row in enumerate(rows)], source_sha256="", model="reader",
            model_digest="reader", classes=SIX_CLASS.classes, created_at=0.0, label_span_s=None,
        )  # fmt: skip
        spans = [(APART_S * k, APART_S * k + WINDOW_S) for k, row in enumerate(rows) if row in known]
        found += candidates(str(rows[0]), findings, spans, vectors[rows])
    return found


def _answer(made: Answers, row: int, start_s: float) -> Answer:
    prob, doubt = made.probabilities[row], made.uncertainty
    return Answer(
        start_s=start_s, stop_s=start_s + WINDOW_S, predicted_class=SIX_CLASS.classes[prob.argmax()],
        class_probabilities=dict(zip(SIX_CLASS.classes, prob.tolist(), strict=True)), confidence=float(prob.max()),
        prediction_set=None, clinical_recommendation="",
        uncertainty={"total": float(doubt.total[row]), "aleatoric": None,
                     "epistemic": None if doubt.epistemic is None else float(doubt.epistemic[row])},
    )  # fmt: skip


def curve(data: Hospitals, choose: Choose, *, n_labels: int, seed: int) -> list[float]:
    """Return balanced accuracy on held-out patients without labels and after each batch up to n_labels."""
    rng, labelled, found, test = np.random.default_rng(seed), list[int](), list[float](), data.test.y
    while True:
        logits = member_logits(data, labelled, seed=seed)
        at = len(data.pool.y)
        predicted = answers(logits[:, at:], temperature=1.0).probabilities.argmax(axis=1)
        found.append(float(np.mean([(predicted[test == label] == label).mean() for label in np.unique(test)])))
        if len(labelled) >= n_labels:
            return found
        labelled += choose(answers(logits[:, :at], temperature=1.0), labelled, rng)


def labels_needed(risen: np.ndarray, aim: float, batch: int) -> float:
    """Return how many labels a rising curve needs for an accuracy that it reaches, interpolated between batches."""
    at = int(np.argmax(risen >= aim - 1e-12))
    return 0.0 if at == 0 else float(batch * (at - 1 + (aim - risen[at - 1]) / (risen[at] - risen[at - 1])))


def share_saved(queue: np.ndarray | Sequence[float], random: np.ndarray | Sequence[float], batch: int) -> float:
    """Return the share of labels that the queue saves, or, negative, that random choice saves against the queue.

    0 where both need none.
    """
    own, other = isotonic_regression(queue).x, isotonic_regression(random).x
    aim = min(own[-1], other[-1])
    needed, by_chance = labels_needed(own, aim, batch), labels_needed(other, aim, batch)
    if needed == by_chance:
        return 0.0
    return 1 - needed / by_chance if needed < by_chance else by_chance / needed - 1


def interval(of: Callable[[np.ndarray], float], n_seeds: int) -> tuple[float, float]:
    """Return the 95% bootstrap interval of a statistic of seeds, which is given their numbers."""
    rng = np.random.default_rng(0)
    drawn = [of(rng.integers(n_seeds, size=n_seeds)) for _ in range(_N_BOOTSTRAP)]
    low, high = np.quantile(drawn, [0.025, 0.975])
    return float(low), float(high)


def report(queue: np.ndarray, random: np.ndarray, batch: int) -> None:
    """Print the figures of curves, shape (n_seeds, n_batches + 1)."""
    n = len(queue)
    figure("active_accuracy_queue", float(queue[:, -1].mean()), "balanced accuracy")
    figure("active_accuracy_random", float(random[:, -1].mean()), "balanced accuracy")
    gained = (queue - random)[:, 1:].mean(axis=1)
    low, high = interval(lambda drawn: float(gained[drawn].mean()), n)
    figure("active_accuracy_gained", float(gained.mean()), f"mean over batches (95% {low:.3f} to {high:.3f})")

    def saved(drawn: np.ndarray) -> float:
        return share_saved(queue[drawn].mean(axis=0), random[drawn].mean(axis=0), batch)

    low, high = interval(saved, n)
    figure("active_labels_saved", saved(np.arange(n)), f"share (95% over {n} seeds {low:.2f} to {high:.2f})")


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--first-seed", type=int, default=FIRST_SEED)
    parser.add_argument("--patients", type=int, default=Sizes.patients, help="of the pool")
    parser.add_argument("--windows", type=int, default=Sizes.windows, help="per patient of the pool")
    parser.add_argument("--batch", type=int, default=16, help="labels between two fits")
    parser.add_argument("--labels", type=int, default=128, help="at most as many as the pool has windows")
    parser.add_argument("--keep", type=Path, help="folder for the features of the hospitals")
    args = parser.parse_args()
    if args.labels + args.batch > args.patients * args.windows:
        parser.error(f"--labels {args.labels} leaves nothing to choose from {args.patients * args.windows} windows")
    print(machine())
    curves: dict[str, list[np.ndarray]] = {"queue": [], "random": []}
    for seed in range(args.first_seed, args.first_seed + args.seeds):
        data = hospitals(seed, Sizes(patients=args.patients, windows=args.windows), keep=args.keep)
        for name, choose in (("queue", by_queue), ("random", by_recording)):
            chosen = partial(choose, pool=data.pool, n=args.batch)
            runs = [curve(data, chosen, n_labels=args.labels, seed=seed + 100_000 * k) for k in range(N_DRAWS)]
            curves[name].append(np.mean(runs, axis=0))
            print(f"seed {seed}, {name:6}: " + " ".join(f"{value:.3f}" for value in curves[name][-1]), flush=True)
    report(np.array(curves["queue"]), np.array(curves["random"]), args.batch)


if __name__ == "__main__":
    main()
