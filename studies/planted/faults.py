"""The evaluation evaluated: faults planted on purpose, each of which the audit must flag by name.

`python -m studies.planted.faults --output DIR` makes synthetic recordings of three sites, prepares them as the pipeline
does, fits small models to their features, and writes one predictions file per fault, and a clean one, for
`python -m evaluation.report`. It fails if a fault is not flagged, or if the clean file is.
"""

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from evaluation.audit.audit import audit
from evaluation.audit.companions import Companions, companion_findings
from evaluation.audit.confounds import SIGNAL_PROBES
from evaluation.audit.findings import Finding
from evaluation.measures.metrics import kl_rows
from evaluation.schemas.predictions import Predictions, probabilities, targets, write_predictions
from signals.command_line import Parser, whole
from signals.json_output import add_json, print_json
from studies.planted.corpus import CLASSES, Corpus, folds_by, learn, make_corpus, prediction_frame, recopied


@dataclass(frozen=True, kw_only=True)
class Case:
    """Predictions and the files beside them."""

    predictions: Predictions
    companions: Companions


Plant = Callable[[Corpus, np.random.Generator], Predictions | Case]


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
    """The control that should have learnt from shuffled labels was given the true ones."""
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
    result = shuffled_labels(some, rng)
    known = (result.frame["subject_id"] == corpus.subjects[0]).to_numpy()
    right = np.where(result.frame["label"] == CLASSES[1], 0.99, 0.01)
    prob = np.where(known, right, rng.uniform(0.3, 0.7, len(right)))
    result.frame[[f"prob_{name}" for name in CLASSES]] = np.column_stack([1 - prob, prob])
    return result


def seen_in_pretraining(corpus: Corpus, rng: np.random.Generator) -> Predictions:
    """The encoder had seen test patients."""
    result = clean(corpus, rng)
    result.meta["pretrain_subjects"] = [*sorted(set(corpus.subjects))[:4], "somebody-else"]
    return result


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
    result = clean(corpus, rng)
    result.meta["folds"][0]["train_recordings"].append(result.meta["folds"][0]["test_recordings"][0])
    return result


def constant_model(corpus: Corpus, rng: np.random.Generator) -> Predictions:
    """The model always answers the same."""
    folds = folds_by(corpus, "site")
    prob = np.full((len(folds), 2), 0.5)
    return prediction_frame(corpus, folds, prob, grouping="site")


def shifted_copy(corpus: Corpus, rng: np.random.Generator) -> Predictions:
    """As copied_recording, cut 1 to 50 samples later."""
    more = recopied(corpus, rng, shift=int(rng.integers(1, 51)))
    result = learn(more, folds_by(more, "site"), more.features, more.labels)
    # Equal samples are another fault, and have another name.
    result.frame["content_hash"] = [f"{i:016x}" for i in range(len(result.frame))]
    return result


def pretrained_under_another_salt(corpus: Corpus, rng: np.random.Generator) -> Predictions:
    """The encoder had seen test patients, whose ids have another salt: only digests of files can show it."""
    result = clean(corpus, rng)
    result.meta.update(
        encoder="pretrained", salt_id="one", pretrain_salt_id="two", pretrain_subjects=["a", "b"],
        pretrain_recordings=[*sorted(set(corpus.recordings))[:4], "somewhere-else"],
    )  # fmt: skip
    return result


def another_salt_without_digests(corpus: Corpus, rng: np.random.Generator) -> Predictions:
    """Pretraining used another salt and kept no digests: whether test patients were seen cannot be known."""
    result = clean(corpus, rng)
    result.meta.update(encoder="pretrained", salt_id="one", pretrain_salt_id="two", pretrain_subjects=["a", "b"])
    return result


def transductive_encoder(corpus: Corpus, rng: np.random.Generator) -> Predictions:
    """The encoder was pretrained on other patients of the very sites that are left out."""
    result = clean(corpus, rng)
    result.meta.update(
        encoder="pretrained", salt_id="one", pretrain_salt_id="one", pretrain_subjects=["a", "b"],
        pretrain_recordings=["c"], pretrain_sites=[str(corpus.sites[0])],
    )  # fmt: skip
    return result


def person_at_two_sites(corpus: Corpus, rng: np.random.Generator) -> Predictions:
    """A patient was seen in two hospitals; the ids hold the site, so they differ, but the person is known."""
    result = clean(corpus, rng)
    first, last = corpus.subjects[0], corpus.subjects[-1]
    result.frame["person_id"] = [f"person of {name if name != last else first}" for name in result.frame["subject_id"]]
    return result


def collapsed_fold(corpus: Corpus, rng: np.random.Generator) -> Predictions:
    """Training failed in one fold: it gives the same probabilities to every window but for rounding."""
    result = clean(corpus, rng)
    inside = (result.frame["fold"] == result.frame["fold"].iloc[0]).to_numpy()
    prob = 0.5 + rng.normal(0, 1e-4, int(inside.sum()))
    result.frame.loc[inside, [f"prob_{name}" for name in CLASSES]] = np.column_stack([1 - prob, prob])
    return result


def confounded_device(corpus: Corpus, rng: np.random.Generator) -> Predictions:
    """Patients are ill or well for good, and the ill ones were recorded with a noisier amplifier (20 dB)."""
    people = sorted(set(corpus.subjects))
    ill = set(rng.permutation(people)[: len(people) // 2].tolist())
    of_ill = np.array([name in ill for name in corpus.subjects])
    some = corpus.take(np.flatnonzero(corpus.labels == of_ill))
    noise = some.confounds.copy()
    noise[:, SIGNAL_PROBES.index("noise_db")] += np.where(some.labels == 1, 20.0, 0.0) + rng.normal(0, 1.0, len(noise))
    noisy = replace(some, confounds=noise)
    return learn(noisy, folds_by(noisy, "site"), noisy.features, noisy.labels)


def external_is_training(corpus: Corpus, rng: np.random.Generator) -> Case:
    """The external data are windows of the training data under new names of windows, recordings and people."""
    result = clean(corpus, rng)
    rows = result.frame.iloc[rng.permutation(len(result.frame))[:20]].copy()
    for column in ("window_key", "recording_id", "subject_id", "site_id"):
        rows[column] = "x" + rows[column]
    rows["content_hash"] = ""  # as after another export: only the fingerprint is left
    fold = {"name": "test", "train_subjects": ["somebody"], "test_subjects": sorted(set(rows["subject_id"]))}
    external = replace(result, frame=rows, meta={"folds": [fold], "pretrain_subjects": []})
    return Case(predictions=result, companions=Companions(external=external))


def stale_calibration(corpus: Corpus, rng: np.random.Generator) -> Case:
    """The calibration that is shipped was fitted on an earlier run of the same split."""
    result = clean(corpus, rng)
    former = clean(corpus.take(rng.permutation(len(corpus.labels))[: len(corpus.labels) * 3 // 4]), rng)
    kl = float(kl_rows(targets(former.frame, CLASSES), probabilities(former.frame, CLASSES)).mean())
    calibration = {"classes": list(CLASSES), "before": {"kl": kl},
                   "fitted_on": {"model": "encoder", "n_windows": len(former.frame)}}  # fmt: skip
    return Case(predictions=result, companions=Companions(calibration=calibration))


def stress_of_another_model(corpus: Corpus, rng: np.random.Generator) -> Case:
    """The stress run is of a model that was trained anew."""
    result = clean(corpus, rng)
    folds = folds_by(corpus, "site")
    anew = learn(corpus, folds, corpus.features[:, ::2], corpus.labels)
    level = anew.frame.assign(stress="gain error", level=0.0, unit="%", level_name="")
    return Case(predictions=result, companions=Companions(stress=replace(anew, frame=level)))


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
    Fault(name="other_salt", code="pretrained_recordings", plant=pretrained_under_another_salt),
    Fault(name="other_salt_unknown", code="pretraining_of_another_salt", plant=another_salt_without_digests),
    Fault(name="transductive_encoder", code="transductive_site", plant=transductive_encoder),
    Fault(name="shifted_copy", code="near_duplicate_windows", plant=shifted_copy),
    Fault(name="person_at_two_sites", code="person_on_two_sides", plant=person_at_two_sites),
    Fault(name="collapsed_fold", code="collapsed_fold", plant=collapsed_fold),
    Fault(name="confounded_device", code="confounded_labels", plant=confounded_device),
    Fault(name="external_is_training", code="external_overlap", plant=external_is_training),
    Fault(name="stale_calibration", code="stale_calibration", plant=stale_calibration),
    Fault(name="other_stress_model", code="stress_of_another_model", plant=stress_of_another_model),
)


def findings_of(fault: Fault, corpus: Corpus, *, seed: int = 0) -> tuple[Predictions, list[Finding]]:
    """Return the predictions with the fault planted, and the findings of the audit of all files."""
    result = fault.plant(corpus, np.random.default_rng(seed))
    case = result if isinstance(result, Case) else Case(predictions=result, companions=Companions())
    findings = audit(case.predictions, model="encoder", n_boot=500, seed=seed)
    return case.predictions, findings + companion_findings(case.companions, case.predictions, model="encoder")


def is_flagged(fault: Fault, findings: Sequence[Finding]) -> bool:
    """Return whether the audit did its part: the fault is named, or the clean file has nothing worse than a note."""
    if not fault.code:
        return all(finding.severity == "info" for finding in findings)
    return fault.code in {finding.code for finding in findings if finding.severity != "info"}


def main(argv: Sequence[str] | None = None) -> int:
    """Plant every fault; returns 0 if each was flagged and the clean file was not, else 1."""
    parser = Parser(prog="cerebeam planted", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--output", type=Path, required=True, help="folder for one predictions file per fault")
    parser.add_argument("--seed", type=whole, default=0, help="of everything that is drawn")
    add_json(parser, "each fault, the code that it needs, and the codes that were found")
    given = parser.parse_args(argv)
    corpus, rows = make_corpus(seed=given.seed), list[dict[str, Any]]()
    for fault in FAULTS:
        predictions, findings = findings_of(fault, corpus, seed=given.seed)
        write_predictions(given.output / f"{fault.name}.parquet", predictions)
        flagged, codes = is_flagged(fault, findings), sorted({finding.code for finding in findings})
        rows.append({"fault": fault.name, "wanted": fault.code, "found": codes, "is_flagged": flagged})
        if not given.json:
            found, wanted = ", ".join(codes) or "nothing", fault.code or "nothing"
            sys.stdout.write(f"{'ok' if flagged else 'MISSED':<7}{fault.name:<24}wanted {wanted}; found {found}\n")
    if given.json:
        print_json({"faults": rows})
    return 0 if all(row["is_flagged"] for row in rows) else 1


if __name__ == "__main__":
    sys.exit(main())
