"""Every number that the measures give for fixed predictions, cell by cell, as they were when last looked at.

The tests of each module derive what a number must be, or take it from scikit-learn or SciPy; this one notices whatever
moves it: a seed, a step, a bound, a column. tests/golden/numbers/ holds them.
"""

from collections.abc import Callable
from dataclasses import asdict, is_dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
import pytest

from evaluation.audit.confounds import probe_results, signal_columns
from evaluation.audit.fingerprint import fingerprint
from evaluation.competition import competition_scores
from evaluation.domain.erasure import fit_eraser
from evaluation.domain.gap import domain_gap, evenly
from evaluation.domain.geometry import geometry
from evaluation.drift.drift import compare as drift_of
from evaluation.drift.facts import RecordingFacts
from evaluation.measures.bootstrap import differences, draws, estimates, interval_of, resamples
from evaluation.measures.calibration import cross_temperatures, reliability
from evaluation.measures.conformal import coverage
from evaluation.measures.intervals import over_sites
from evaluation.measures.multilabel import cross_decided, macro_auroc_draws, scores_of
from evaluation.measures.selective import selective
from evaluation.measures.tallies import point, tally
from evaluation.measures.within import within_folds
from evaluation.operating.alarms import alarms
from evaluation.operating.curves import class_curves
from evaluation.scenarios import archives
from evaluation.scenarios.reconstruction import METHODS, score_reconstruction
from evaluation.scenarios.sites import SITE_METRICS, across_sites, site_rows
from evaluation.scenarios.stress import stress_curves
from evaluation.scenarios.transfer import transfer_table
from evaluation.schemas.embeddings import Embeddings
from evaluation.schemas.predictions import Predictions, probabilities, targets
from signals.tasks import SIX_CLASS
from signals.window import MEASURED
from tests.evaluation.golden import gaps, kept_json

CLASSES = ("Seizure", "LPD", "Other")
GRAVE = (("Seizure", "Other"), ("LPD", "Seizure"))
INTERVALS = ("accuracy", "balanced_accuracy", "recall[LPD]", "precision[LPD]", "grave_rate", "grave[a > b]", "kl",
             "log_loss", "brier", "grave_cost", "kappa", "auroc_macro", "weighted_f1", "ece")  # fmt: skip


def rows_of(model: str, *, skill: float, seed: int, n_subjects: int = 7) -> pd.DataFrame:
    """Patients of 4 to 9 windows at three sites, votes of seven experts, some ties among the answers."""
    rng, rows = np.random.default_rng(seed), []
    for s in range(n_subjects):
        for w in range(4 + s % 6):
            votes = np.bincount([(s + w) % 3, *np.random.default_rng([s, w]).integers(0, 3, 6)], minlength=3) / 7
            logits = rng.normal(size=3) + skill * np.eye(3)[(s + w) % 3]
            prob = np.round(np.exp(logits) / np.exp(logits).sum(), 1) + 0.01
            rows.append(
                {"window_key": f"{s}-{w}", "recording_id": f"r{s}{w // 5}", "subject_id": f"p{s}",
                 "site_id": "abc"[s % 3], "fold": "abc"[s % 3], "model": model, "label": CLASSES[(s + w) % 3],
                 "start_s": 200.0 * w, "hop_s": 10.0,
                 **dict(zip((f"target_{c}" for c in CLASSES), votes, strict=True)),
                 **dict(zip((f"prob_{c}" for c in CLASSES), prob / prob.sum(), strict=True))}
            )  # fmt: skip
    return pd.DataFrame(rows)


def as_file(*frames: pd.DataFrame, classes: tuple[str, ...] = CLASSES, **meta: Any) -> Predictions:
    return Predictions(frame=pd.concat(frames, ignore_index=True), task="own", classes=classes, meta=meta)


def measures() -> dict[str, Any]:
    ours, theirs = (rows_of(m, skill=skill, seed=k) for k, (m, skill) in enumerate((("net", 1.0), ("prior", 0.2))))
    tallied = [tally(frame, CLASSES, grave=GRAVE) for frame in (ours, theirs)]
    drawn = [draws(each, n_boot=60, seed=3) for each in tallied]
    prob, target = probabilities(ours, CLASSES), targets(ours, CLASSES)
    people = ours["subject_id"].to_numpy(dtype=str)
    sites = site_rows(ours, CLASSES, n_boot=20, seed=1)
    return {
        "point": point(tallied[0]),
        "estimates": estimates(tallied[0], drawn[0], level=0.9),
        "differences": differences((tallied[0], drawn[0]), (tallied[1], drawn[1])),
        "scales": {
            name: interval_of(name, 0.4, np.linspace(0.3, 0.55, 40), n_units=6, level=0.8) for name in INTERVALS
        },
        "resamples": next(resamples(5, n_boot=4, seed=9)),
        "chunks": [part.shape for part in resamples(3, n_boot=5, seed=0, width=4_000_000)],
        "reliability": reliability(tallied[0]),
        "temperatures": cross_temperatures(prob, target, people, n_folds=3, seed=2),
        "conformal": coverage(ours, CLASSES, n_boot=20, seed=1, alpha=0.25),
        "selective": selective(ours, CLASSES, n_boot=30, seed=1),
        "within": within_folds(ours, CLASSES, n_boot=20, seed=1),
        "sites": sites,
        "across": {metric: across_sites(sites, metric) for metric in SITE_METRICS},
        "over_sites": over_sites(np.array([0.2, 0.5, 0.9, 0.4]), bounds=(0.1, 0.8), level=0.8),
    }


def operating() -> dict[str, Any]:
    frame = rows_of("net", skill=1.0, seed=4, n_subjects=11)
    options: dict[str, Any] = {"of": CLASSES, "n_boot": 30, "seed": 1}
    return {
        "in_time": alarms(frame, CLASSES, span_s=(20.0, 30.0), **options),
        "by_window": alarms(frame.drop(columns=["start_s"]), CLASSES, span_s=(20.0, 30.0), **options),
        "curves": class_curves(frame, CLASSES, **options),
    }


def scenarios() -> dict[str, Any]:
    levels = [
        rows_of(model, skill=skill, seed=k).assign(stress=stress, level=level, unit=unit, level_name=name)
        for model in ("net", "tuned")
        for k, (stress, level, unit, name, skill) in enumerate(
            (("hum", 0.0, "µV", "", 2.0), ("hum", 1.5, "µV", "", 1.0), ("hum", 6.0, "µV", "loud", 0.4),
             ("montage", 0.0, "", "whole", 2.0), ("montage", 1.0, "", "bipolar", 0.8))
        )
    ]  # fmt: skip
    levels[2], levels[8] = levels[2].iloc[:-9], levels[8].iloc[5:]
    stress = as_file(*levels, levels={"hum": [[3, ""]]}, refused={"montage": {"laplace": {"few": 9}}})
    ways = [rows_of(name, skill=1.0 + 0.3 * k, seed=k) for k, name in enumerate(("a#seed0", "a#seed1", "b", "c#seed0"))]
    rng, gap_rows = np.random.default_rng(0), []
    for w in range(9):
        for low, high in ((0.0, 20.0), (20.0, 60.0), (60.0, 200.0), (200.0, 400.0)):
            for k, method in enumerate(METHODS[:5]):
                x = rng.normal(size=40)
                y = x + (0.3 + 0.2 * k) * rng.normal(size=40)
                gap_rows.append(
                    {"window_key": f"w{w}", "subject_id": f"p{w % 4}", "site_id": "a", "span_ms_low": low,
                     "span_ms_high": high, "method": method, "n_samples": 40,
                     "sum_squared_error": ((x - y) ** 2).sum(), "sum_x": x.sum(), "sum_y": y.sum(),
                     "sum_xy": (x * y).sum(), "sum_xx": (x * x).sum(), "sum_yy": (y * y).sum()}
                )  # fmt: skip
    rows, found = transfer_table(as_file(*ways), reference="b", n_boot=40, seed=2)
    return {
        "stress": stress_curves(stress, n_boot=20, seed=1),
        "transfer": [rows, found],
        "reconstruction": score_reconstruction(pd.DataFrame(gap_rows), n_boot=20, seed=1),
    }


def archive_and_competition() -> dict[str, Any]:
    frames = [rows_of("net", skill=skill, seed=k, n_subjects=9) for k, skill in enumerate((0.4, 1.2))]
    both = [
        archives.Answers(
            frame=frame.assign(predicted_class=frame[[f"prob_{c}" for c in CLASSES]].idxmax(axis=1).str[5:]).iloc[k:],
            model="m", digest="0123456789abcdef"[k:], classes=CLASSES, hop_s=200.0,
        )
        for k, frame in enumerate(frames)
    ]  # fmt: skip
    labels = frames[0][["recording_id", "label", *(f"target_{c}" for c in CLASSES)]]
    labels = labels.assign(label_start_s=frames[0]["start_s"] + np.linspace(-120, 120, len(labels)))
    found = archives.compare(*both, labels, seed=2, n_boot=40)
    rng, n = np.random.default_rng(5), 30
    votes, prob = rng.multinomial(12, np.ones(6) / 6, n) / 12, rng.dirichlet(np.ones(6), n)
    six = pd.DataFrame(
        {"window_key": [f"{i:02d}" for i in range(n)], "recording_id": [f"r{i % 11}" for i in range(n)],
         "subject_id": [f"p{i % 11 % 6}" for i in range(n)], "site_id": "x", "fold": "x", "model": "net",
         "label": np.array(SIX_CLASS.classes)[votes.argmax(axis=1)], "n_votes": np.arange(n) % 14 * 1.0,
         **{f"target_{c}": votes[:, k] for k, c in enumerate(SIX_CLASS.classes)},
         **{f"prob_{c}": prob[:, k] for k, c in enumerate(SIX_CLASS.classes)}}
    )  # fmt: skip
    scores = competition_scores(as_file(six, classes=SIX_CLASS.classes), seed=4)
    return {"archives": found, "lines": archives.describe(found), "competition": scores}


def multilabel() -> dict[str, Any]:
    rng = np.random.default_rng(6)
    target = (rng.random((90, 4)) < [0.5, 0.2, 0.1, 0.0]).astype(float)
    prob = np.clip(0.5 * target + 0.5 * rng.random((90, 4)), 0.01, 0.99).round(2)
    people = np.repeat(np.arange(30), 3).astype(str)
    return {
        "scores": scores_of(prob, target, people, ("a", "b", "c", "never"), n_boot=25, seed=1),
        "macro": macro_auroc_draws(prob, target, people, n_boot=10, seed=2),
        "f1": cross_decided(prob, target, people, n_folds=4, seed=3),
    }


def embedded() -> Embeddings:
    rng, person = np.random.default_rng(7), np.repeat(np.arange(12), 9)
    x = 0.6 * rng.normal(size=(12, 5))[person] + rng.normal(size=(108, 5))
    label = np.array(["rest", "task", ""])[np.arange(108) % 3]
    x[:, 0] += 2.0 * (person % 3 == 2)
    x[:, 1] += 2.0 * (label == "task")
    frame = pd.DataFrame(
        {"window_key": [f"w{i}" for i in range(108)], "recording_id": person.astype(str),
         "subject_id": person.astype(str), "site_id": np.array(list("abc"))[person % 3], "label": label}
    )  # fmt: skip
    return Embeddings(frame=frame, values=x.astype(np.float32), meta={"model": "m", "encoder": "random"})


def vectors() -> dict[str, Any]:
    made = embedded()
    shape = geometry(made, seed=4)
    eraser = fit_eraser(made.values, made.frame["site_id"].to_numpy())
    map_ = replace(shape.map, tsne=())  # neighbours in a map follow the library's version
    return {
        "gap": domain_gap(made, seed=4),
        "geometry": {**asdict(shape), "map": asdict(map_)},
        "evenly": evenly(np.repeat(["a", "b", "c"], [9, 2, 5]), 7, seed=3),
        "erased": eraser(made.values[:3].astype(float)),
    }


def audited() -> dict[str, Any]:
    rng = np.random.default_rng(8)
    x = rng.normal(size=(6, 1500)) * np.arange(1, 7)[:, None] + 20 * np.sin(2 * np.pi * 50 * np.arange(1500) / 250)
    state = np.where(np.arange(6) == 4, MEASURED + 1, MEASURED)
    people = np.repeat(np.arange(18), 2)
    rows = pd.DataFrame(
        {"subject_id": [f"p{k:02d}" for k in people], "site_id": np.where(people < 9, "a", "b"),
         "label": np.array(list("ABC"))[people % 3], "device": np.array(["", "x", "y", "z"])[people % 4],
         "file_order": people * 7 % 18 // 2, "amplitude_uv": people % 3 + rng.normal(size=36),
         "mains_db": rng.normal(size=36), "noise_db": people % 3 * 0.5 + rng.normal(size=36)}
    )  # fmt: skip
    return {
        "print": fingerprint(x, 250.0, state),
        "print_of_two": fingerprint(x[:2, :700], 125.0, np.full(2, MEASURED)),
        "signal": [signal_columns(x, 250.0), signal_columns(x, 250.0, h_freq=47.0), signal_columns(x[:, :100], 80.0)],
        "probes": list(probe_results(rows, seed=1)),
    }


def drifted() -> dict[str, Any]:
    rng = np.random.default_rng(9)

    def side(n: int, gain: float, site: str) -> list[RecordingFacts]:
        return [
            RecordingFacts(recording_id=f"{site}{gain}{k}", site_id=site,
                           numbers={"level": float(gain + rng.normal()), "n": float(k % 3)},
                           words={"rate": "200" if k % 5 else "256"}, vector=gain + rng.normal(size=6))
            for k in range(n)
        ]  # fmt: skip

    return {"sites": drift_of([*side(40, 0.0, "a"), *side(9, 0.2, "b")], [*side(14, 0.6, "a"), *side(12, 0.3, "c")])}


def plain(value: Any) -> Any:
    """Return results as JSON has them, numbers with nine digits."""
    if is_dataclass(value) and not isinstance(value, type):
        return plain(asdict(value))
    if isinstance(value, dict):
        return {str(key): plain(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple | np.ndarray):
        return [plain(entry) for entry in value]
    if isinstance(value, float | np.floating):
        return float(f"{value:.9g}") if np.isfinite(value) else str(value)
    return value.item() if isinstance(value, np.generic) else value


@pytest.mark.parametrize(
    "case", [measures, operating, scenarios, archive_and_competition, multilabel, vectors, audited, drifted]
)
def test_every_number_is_what_it_was(case: Callable[[], dict[str, Any]]) -> None:
    found = plain(case())
    assert list(gaps(kept_json(f"numbers/{case.__name__}.json", found), found, rel=1e-5)) == []
