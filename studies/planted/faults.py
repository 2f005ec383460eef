"""The evaluation evaluated: faults planted on purpose, each of which the audit must flag by name.

`python -m studies.planted.faults --output DIR` makes synthetic recordings of three sites, prepares them as the pipeline
does, fits small models to their features, and writes one predictions file a fault, and a clean one, for
`python -m evaluation.report`. It fails if a fault is not flagged, or if the clean file is.
"""

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd

from evaluation.audit.audit import audit
from evaluation.audit.findings import Finding
from evaluation.schemas.predictions import Predictions, write_predictions
from signals.command_line import Parser
from studies.planted.corpus import CLASSES, Corpus, folds_by, learn, make_corpus, prediction_frame, recopied

Plant = Callable[[Corpus, np.random.Generator], Predictions]


@dataclass(frozen=True, kw_only=True)
class Fault:
    """A mistake that was made on purpose."""

    name: str
    code: str
    """Finding that must name it; "" for the clean control, which must have none."""
    plant: Plant


def clean(corpus: Corpus, rng: np.random.Generator) -> Predictions:
    """Leave one site out, learn from features of the others."""
    return learn(corpus, folds_by(corpus, "site"), corpus.features, corpus.labels)


def leaky_split(corpus: Corpus, rng: np.random.Generator) -> Predictions:
    """Windows dealt to folds one by one, whoever's they are."""
    dealt = rng.integers(0, 3, len(corpus.labels)).astype(str)
    return learn(corpus, dealt, corpus.features, corpus.labels, grouping="subject")


def copied_recording(corpus: Corpus, rng: np.random.Generator) -> Predictions:
    """A person's recordings come again from another site: louder, noisier, resampled, under another name."""
    more = recopied(corpus, rng)
    return learn(more, folds_by(more, "site"), more.features, more.labels)


def shuffled_labels(corpus: Corpus, rng: np.random.Generator) -> Predictions:
    """Labels belong to other windows, in training and in test: a table that was joined wrongly."""
    mixed = replace(corpus, labels=rng.permutation(corpus.labels))
    return learn(mixed, folds_by(mixed, "site"), mixed.features, mixed.labels)


def learning_control(corpus: Corpus, rng: np.random.Generator) -> Predictions:
    """The control that is said to have learnt from shuffled labels was given the true ones."""
    honest = clean(corpus, rng)
    control = honest.frame.assign(model="encoder-shuffled")
    return replace(honest, frame=pd.concat([honest.frame, control], ignore_index=True))


def reads_the_mains_hum(corpus: Corpus, rng: np.random.Generator) -> Predictions:
    """Seizures are common at the site of 60 Hz, rare elsewhere, and the model sees the mains hum and nothing else."""
    ill = np.where(corpus.sites == corpus.sites[0], 0.85, 0.15)
    kept = rng.random(len(ill)) < np.where(corpus.labels == 1, ill, 1 - ill)
    some = corpus.take(np.flatnonzero(kept))
    return learn(some, folds_by(some, "subject"), some.mains, some.labels, grouping="subject")


def perfect_on_one_patient(corpus: Corpus, rng: np.random.Generator) -> Predictions:
    """The model guesses, except for one patient of many windows, whom it knows."""
    hero = corpus.subjects == corpus.subjects[0]
    some = corpus.take(np.flatnonzero(hero | (rng.random(len(hero)) < 0.25)))
    made = shuffled_labels(some, rng)
    known = (made.frame["subject_id"] == corpus.subjects[0]).to_numpy()
    right = np.where(made.frame["label"] == CLASSES[1], 0.99, 0.01)
    prob = np.where(known, right, rng.uniform(0.3, 0.7, len(right)))
    made.frame[[f"prob_{name}" for name in CLASSES]] = np.column_stack([1 - prob, prob])
    return made


def seen_in_pretraining(corpus: Corpus, rng: np.random.Generator) -> Predictions:
    """The encoder had met test patients."""
    made = clean(corpus, rng)
    made.meta["pretrain_subjects"] = [*sorted(set(corpus.subjects))[:4], "somebody-else"]
    return made


def one_class_site(corpus: Corpus, rng: np.random.Generator) -> Predictions:
    """A site has no seizures."""
    kept = (corpus.sites != corpus.sites[0]) | (corpus.labels == 0)
    return clean(corpus.take(np.flatnonzero(kept)), rng)


def one_subject_site(corpus: Corpus, rng: np.random.Generator) -> Predictions:
    """A site has one patient."""
    kept = (corpus.sites != corpus.sites[0]) | (corpus.subjects == corpus.subjects[0])
    return clean(corpus.take(np.flatnonzero(kept)), rng)


def subject_at_two_sites(corpus: Corpus, rng: np.random.Generator) -> Predictions:
    """A patient was moved from one hospital to another."""
    moved = corpus.subjects.copy()
    moved[np.flatnonzero(corpus.sites == corpus.sites[-1])[:3]] = corpus.subjects[0]
    return clean(corpus.renamed(moved), rng)


def recording_in_both(corpus: Corpus, rng: np.random.Generator) -> Predictions:
    """A recording of the left-out site was trained on under another patient's name."""
    made = clean(corpus, rng)
    made.meta["folds"][0]["train_recordings"].append(made.meta["folds"][0]["test_recordings"][0])
    return made


def constant_model(corpus: Corpus, rng: np.random.Generator) -> Predictions:
    """The model always says the same."""
    folds = folds_by(corpus, "site")
    prob = np.full((len(folds), 2), 0.5)
    return prediction_frame(corpus, folds, prob, grouping="site")


FAULTS: tuple[Fault, ...] = (
    Fault(name="clean", code="", plant=clean),
    Fault(name="leaky_split", code="subject_on_two_sides", plant=leaky_split),
    Fault(name="recording_in_both", code="recording_on_two_sides", plant=recording_in_both),
    Fault(name="copied_recording", code="near_duplicate_windows", plant=copied_recording),
    Fault(name="shuffled_labels", code="no_better_than_chance", plant=shuffled_labels),
    Fault(name="learning_control", code="shuffled_control_learns", plant=learning_control),
    Fault(name="reads_the_mains_hum", code="site_shortcut", plant=reads_the_mains_hum),
    Fault(name="perfect_on_one_patient", code="single_patient", plant=perfect_on_one_patient),
    Fault(name="seen_in_pretraining", code="pretraining_overlap", plant=seen_in_pretraining),
    Fault(name="one_class_site", code="one_class_site", plant=one_class_site),
    Fault(name="one_subject_site", code="one_subject_site", plant=one_subject_site),
    Fault(name="subject_at_two_sites", code="subject_at_two_sites", plant=subject_at_two_sites),
    Fault(name="constant_model", code="constant_model", plant=constant_model),
)


def findings_of(fault: Fault, corpus: Corpus, *, seed: int = 0) -> tuple[Predictions, list[Finding]]:
    """Return the predictions with the fault planted, and what the audit says of them."""
    predictions = fault.plant(corpus, np.random.default_rng(seed))
    return predictions, audit(predictions, model="encoder", n_boot=500, seed=seed)


def is_told(fault: Fault, findings: Sequence[Finding]) -> bool:
    """Return whether the audit did its part: the fault is named, or the clean file has nothing worse than a note."""
    if not fault.code:
        return all(finding.severity == "info" for finding in findings)
    return fault.code in {finding.code for finding in findings if finding.severity != "info"}


def main(argv: Sequence[str] | None = None) -> int:
    """Plant every fault; returns 0 if each was flagged and the clean file was not, else 1."""
    parser = Parser(prog="python -m studies.planted.faults", description=__doc__)
    parser.add_argument("--output", type=Path, required=True, help="folder for one predictions file a fault")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args(argv)
    corpus, missed = make_corpus(seed=given.seed), 0
    for fault in FAULTS:
        predictions, findings = findings_of(fault, corpus, seed=given.seed)
        write_predictions(given.output / f"{fault.name}.parquet", predictions)
        told = is_told(fault, findings)
        missed += not told
        codes = ", ".join(sorted({finding.code for finding in findings})) or "nothing"
        wanted = fault.code or "nothing"
        sys.stdout.write(f"{'ok' if told else 'MISSED':<7}{fault.name:<24}wanted {wanted}; found {codes}\n")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
