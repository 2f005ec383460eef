"""make bench-review: what the queue of "next to review" saves against random choice, on synthetic sites.

    python -m benchmarks review [--seeds 3] [--patients 40] [--batch 24] [--labels 192]

A reader of three members, fitted on one synthetic hospital, meets another one: other patients, weaker and slower
patterns, seven windows in ten without any. Its windows are labelled in batches, chosen by the service's own queue
(`service.review.queue`) or at random; after each batch all members are fitted anew on the first hospital and the
labels, and evaluated on patients of the new hospital who are in no pool. `active_labels_saved` is the share of labels
that the queue does not need for the balanced accuracy that random choice reaches with all of them.
"""

import argparse
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from sklearn.linear_model import LogisticRegression

from benchmarks.benches.beds.reader import BANDS_HZ
from benchmarks.harness import figure, machine
from service.formats.findings import Findings
from service.review.queue import Candidate, candidates, next_to_review
from serving.runtime import Answer
from signals.bundles.answers import Answers, answers
from signals.modality import EEG_1020
from signals.tasks import SIX_CLASS
from synthetic.segments.clinical import segment
from synthetic.subject.subjects import Subject, draw_subject

SFREQ, WINDOW_S, APART_S = 256.0, 10.0, 120.0
PER_PATIENT, OTHER_SHARE = 8, 0.7
FIRST_SEED = 70_000
"""Seeds from here on chose nothing."""
N_MEMBERS = 3


@dataclass(frozen=True, kw_only=True)
class Windows:
    """Windows of a hospital."""

    x: np.ndarray
    """Features, float32, shape (n, width)."""
    y: np.ndarray
    """Number of the class, shape (n,)."""
    patient: np.ndarray


def row_of(x: np.ndarray) -> np.ndarray:
    """Return log power and peakedness by band, each sorted over channels; x: (n_chans, n_times), µV."""
    spectrum, freqs = np.fft.rfft(x, axis=1), np.fft.rfftfreq(x.shape[1], 1 / SFREQ)
    parts = []
    for low, high in BANDS_HZ:
        band = np.fft.irfft(np.where((freqs >= low) & (freqs < high), spectrum, 0), n=x.shape[1], axis=1)
        power = (band**2).mean(axis=1) + 1e-6
        parts += [np.sort(np.log(power)), np.sort(np.log((band**4).mean(axis=1) / power**2 + 1e-6))]
    return np.concatenate(parts).astype(np.float32)


def hospital(rng: np.random.Generator, n_patients: int, *, is_new: bool) -> Windows:
    """Return windows of a hospital's patients; a new one's patterns are weaker and slower than the first one's."""
    rows, labels, patients = [], [], []
    for patient in range(n_patients):
        subject = _as_new(draw_subject(rng)) if is_new else draw_subject(rng)
        own = SIX_CLASS.classes[int(rng.integers(5))]
        for _ in range(PER_PATIENT):
            label = "Other" if rng.random() < OTHER_SHARE else own
            made = segment(rng, label=label, duration_s=WINDOW_S, sfreq=SFREQ, ch_names=EEG_1020.ch_names,
                           subject=subject)  # fmt: skip
            rows.append(row_of(np.nan_to_num(made.data)))
            labels.append(SIX_CLASS.classes.index(label))
            patients.append(patient)
    return Windows(x=np.array(rows), y=np.array(labels), patient=np.array(patients))


def _as_new(subject: Subject) -> Subject:
    return replace(
        subject, prominence=0.7 * subject.prominence, rate_hz=0.75 * subject.rate_hz, slowing=1.4 * subject.slowing,
        background_uv=1.3 * subject.background_uv,
    )  # fmt: skip


def member_logits(first: Windows, pool: Windows, labelled: Sequence[int], x: np.ndarray, *, seed: int) -> np.ndarray:
    """Return logits of members fitted on draws of windows and the labels, shape (n_members, len(x), 6)."""
    rng, rows = np.random.default_rng(seed), np.array(labelled, dtype=int)
    found = []
    for _ in range(N_MEMBERS):
        drawn = rng.choice(len(first.y), len(first.y))
        own = rng.choice(rows, len(rows)) if len(rows) else rows
        x_fit, y_fit = np.concatenate([first.x[drawn], pool.x[own]]), np.concatenate([first.y[drawn], pool.y[own]])
        mean, std = x_fit.mean(axis=0), x_fit.std(axis=0) + 1e-6
        logits = np.full((len(x), len(SIX_CLASS.classes)), -20.0)
        if len(set(y_fit.tolist())) == 1:  # a draw of few windows
            logits[:, y_fit[0]] = 0.0
        else:
            model = LogisticRegression(C=0.02, tol=1e-3, max_iter=300, class_weight="balanced")
            model.fit((x_fit - mean) / std, y_fit)
            logits[:, model.classes_] = model.predict_log_proba((x - mean) / std)
        found.append(logits)
    return np.stack(found)


def pool_of(pool: Windows, made: Answers, labelled: Sequence[int]) -> list[Candidate]:
    """Return the pool as the service has it: a recording per patient, its answers, what is reviewed."""
    found: list[Candidate] = []
    probs, doubt = made.probabilities, made.uncertainty
    for patient in np.unique(pool.patient):
        rows = np.flatnonzero(pool.patient == patient)
        listed = [
            Answer(
                start_s=APART_S * k, stop_s=APART_S * k + WINDOW_S,
                predicted_class=SIX_CLASS.classes[probs[row].argmax()],
                class_probabilities=dict(zip(SIX_CLASS.classes, probs[row].tolist(), strict=True)),
                confidence=float(probs[row].max()), prediction_set=None, clinical_recommendation="",
                uncertainty={"total": float(doubt.total[row]), "aleatoric": None,
                             "epistemic": None if doubt.epistemic is None else float(doubt.epistemic[row])},
            )
            for k, row in enumerate(rows)
        ]  # fmt: skip
        findings = Findings(
            answers=listed, source_sha256="", model="reader", model_digest="reader", classes=SIX_CLASS.classes,
            created_at=0.0, label_span_s=None,
        )  # fmt: skip
        spans = [(APART_S * k, APART_S * k + WINDOW_S) for k, row in enumerate(rows) if row in labelled]
        found += candidates(str(patient), findings, spans, pool.x[rows])
    return found


def curve(
    first: Windows, pool: Windows, test: Windows, *, by_queue: bool, batch: int, n_labels: int, seed: int
) -> list[float]:
    """Return balanced accuracy on held-out patients with 0, batch, 2 batch, ... labels."""
    rng, labelled, found = np.random.default_rng(seed), list[int](), list[float]()
    while True:
        logits = member_logits(first, pool, labelled, np.concatenate([pool.x, test.x]), seed=seed)
        predicted = answers(logits[:, len(pool.y) :], temperature=1.0).probabilities.argmax(axis=1)
        shares = [(predicted[test.y == label] == label).mean() for label in np.unique(test.y)]
        found.append(float(np.mean(shares)))
        if len(labelled) >= n_labels:
            return found
        if by_queue:
            listed = pool_of(pool, answers(logits[:, : len(pool.y)], temperature=1.0), labelled)
            chosen = next_to_review(listed, n=batch)
            labelled += [int(one.recording) * PER_PATIENT + round(one.start_s / APART_S) for one in chosen]
        else:
            left = sorted(set(range(len(pool.y))) - set(labelled))
            labelled += rng.choice(left, batch, replace=False).tolist()


def labels_needed(accuracy: Sequence[float], aim: float, batch: int) -> float:
    """Return how many labels a curve needs for an accuracy, interpolated between batches; inf where it never does."""
    best = np.maximum.accumulate(accuracy)
    if best[-1] < aim:
        return float("inf")
    at = int(np.argmax(best >= aim))
    if at == 0:
        return 0.0
    return batch * (at - 1 + (aim - best[at - 1]) / (best[at] - best[at - 1]))


def share_saved(queue: Sequence[float], random: Sequence[float], batch: int) -> float:
    """Return the share of labels that the queue does not need for the best accuracy of random choice.

    -inf where it never is as good, nan where random choice is best without any label.
    """
    aim = float(np.max(random))
    needed = labels_needed(random, aim, batch)
    return 1 - labels_needed(queue, aim, batch) / needed if needed else float("nan")


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--first-seed", type=int, default=FIRST_SEED)
    parser.add_argument(
        "--patients", type=int, default=40, help="of the pool; as many are held out, half as many are known"
    )
    parser.add_argument("--batch", type=int, default=24, help="labels between two fits")
    parser.add_argument("--labels", type=int, default=192)
    args = parser.parse_args()
    print(machine())
    curves: dict[bool, list[list[float]]] = {True: [], False: []}
    for seed in range(args.first_seed, args.first_seed + args.seeds):
        rng = np.random.default_rng(seed)
        first = hospital(rng, args.patients // 2, is_new=False)
        pool, test = (hospital(rng, args.patients, is_new=True) for _ in range(2))
        for by_queue in (True, False):
            draws = range(1 if by_queue else 2)  # one lucky draw of random choice is no baseline
            runs = [curve(first, pool, test, by_queue=by_queue, batch=args.batch, n_labels=args.labels, seed=seed + k)
                    for k in draws]  # fmt: skip
            curves[by_queue].append(np.mean(runs, axis=0).tolist())
            print(f"seed {seed}, {'queue ' if by_queue else 'random'}: " + " ".join(
                f"{value:.3f}" for value in curves[by_queue][-1]), flush=True)  # fmt: skip
    queue, random = (np.array(curves[by_queue]) for by_queue in (True, False))
    figure("active_accuracy_queue", float(queue[:, -1].mean()), "balanced accuracy")
    figure("active_accuracy_random", float(random[:, -1].mean()), "balanced accuracy")
    together = share_saved(queue.mean(axis=0), random.mean(axis=0), args.batch)
    saved = [share_saved(own, other, args.batch) for own, other in zip(queue, random, strict=True)]
    by_seed = ", ".join(f"{value:.2f}" for value in saved)
    figure("active_labels_saved", together, f"share (by seed: {by_seed})")


if __name__ == "__main__":
    main()
