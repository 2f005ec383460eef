"""Superclasses of hearts at sites that no model saw, beside baselines; what pretraining on EEG, ECG or both is worth.

Every model has one setting, nothing is tuned on these labels, and all networks that are trained have the same epochs,
rate and batch. AUROC is the macro AUROC of each left-out group of sites, mean over groups: what a model knows of how
frequent classes are at a site counts for nothing, and a model that looks at no window has .5. Intervals resample people
within groups; of several seeds, values and draws are means over seeds.
"""

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from zlib import crc32

import numpy as np

from benchmarks.benches.models.heart_corpora import ADHD, Corpora
from benchmarks.harness import figure
from evaluation.measures.bootstrap import interval_of
from evaluation.measures.intervals import Estimate
from evaluation.measures.multilabel import macro_auroc_draws
from evaluation.scenarios.transfer import SEED_MARK
from signals.tasks import TASKS
from studies.baselines.candidates import METHODS, linear, network
from studies.baselines.hubert import HubertProbe
from studies.engine.bench import Bench, Fitted, Method, Params
from studies.engine.parts import Parts
from studies.engine.study import Design, run_study
from training.corpus.corpus import Corpus
from training.corpus.labelled import Labelled, labelled
from training.corpus.splits import Fold, subject_folds

TASK = "ecg-superclass"
REGIONS = {"nizhny": ("nizhny-ludb",), "west": ("atlanta-g12ec", "germany-ptbxl")}
"""Groups of real sites that are left out together; all others are one more, "east"."""
FEW = ("rate_bpm", "rr_sd_s", "qrs_s", "std_uv")
"""What a nurse's monitor shows: the trivial predictor."""
LOGISTIC, BOOSTING = ({"penalty": 1.0},), ({"learning_rate": 0.1, "max_leaf_nodes": 8},)
NETWORKS = ("multiscale", "xresnet1d101", "inception1d")
LIGHT = (
    "trivial", "random, probe", "pretrained, probe", "random HuBERT, probe", "pretrained HuBERT, probe",
    "features, boosting", "multiscale",
)  # fmt: skip
HEAVY = ("xresnet1d101", "inception1d", "pretrained, tuned")
"""What takes more than two minutes a seed on two cores: one seed."""


@dataclass(frozen=True, kw_only=True)
class Row:
    """One model of a table: its AUROC, and the same on resamples of people."""

    auroc: Estimate
    draws: np.ndarray


def few_numbers(bench: Bench, rows: np.ndarray, params: Params, seed: int) -> Fitted:
    """Fit a logistic regression to four numbers: rate, its spread, QRS length, size."""
    from studies.baselines import classical

    names, values = bench.data.shards.manifest.features, bench.stored_features
    n_chans = bench.data.shards.manifest.modality.n_chans
    columns = [n_chans * len(names) + names.index(name) for name in FEW]  # means over leads stand after the leads
    x = np.nan_to_num(values[:, columns])
    model, n_classes = classical.fit_logistic(x, bench.data, rows, **params), len(bench.data.task.classes)
    return Fitted(predict=lambda test: classical.probabilities(model, x[test], n_classes))


def methods(epochs: int, hubert: Path) -> dict[str, Method]:
    """Return all models of the tables, each at one setting; `hubert` is the folder of the pretrained network."""
    once = ({"optim": {"learning_rate": 1e-3}, "schedule": {"epochs": epochs, "patience": epochs}},)
    tuned = ({"optim": {"learning_rate": 3e-4}, "schedule": {"epochs": max(1, epochs // 2)}},)
    return {
        "trivial": Method(fit=few_numbers, candidates=LOGISTIC, seeded=False, about="rate, spread, QRS length, size"),
        "random, probe": replace(METHODS["linear-probe/random"], candidates=LOGISTIC),
        "pretrained, probe": replace(METHODS["linear-probe/pretrained"], candidates=LOGISTIC),
        "random HuBERT, probe": Method(fit=HubertProbe(hubert, is_random=True), candidates=LOGISTIC),
        "pretrained HuBERT, probe": Method(fit=HubertProbe(hubert), candidates=LOGISTIC, seeded=False),
        "pretrained, tuned": replace(METHODS["full/pretrained"], candidates=tuned),
        "features, boosting": replace(METHODS["features/boosting"], candidates=BOOSTING),
        **{name: Method(fit=network(name), candidates=once) for name in NETWORKS},
    }


def groups_of(data: Labelled, regions: Mapping[str, Sequence[str]]) -> list[Fold]:
    """Return a fold for each group of sites that leaves it out; sites of no group are one more."""
    name_of = {site: name for name, sites in regions.items() for site in sites}
    group = np.array([name_of.get(site, "east" if regions else site) for site in data.sites.tolist()])
    return [
        Fold(name=str(name), train=np.flatnonzero(group != name), test=np.flatnonzero(group == name))
        for name in np.unique(group)
    ]


def table(
    data: Labelled, folds: Sequence[Fold], models: Mapping[str, Method], *, encoder: Path, seeds: int,
    variants: Mapping[str, Path] = {}, n_boot: int = 2000,
) -> dict[str, Row]:  # fmt: skip
    """Return every model's row, by name: fitted without each fold, scored on it, mean over folds and seeds."""
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(data, encoder, Path(folder) / "logs", variants={k: [v] * seeds for k, v in variants.items()})
        design = Design(bench=bench, folds=folds, models=models, parts=Parts(Path(folder), {}), seeds=seeds)
        frame = run_study(design)
    keys = {data.shards.entries[i].key: row for row, i in enumerate(data.windows.tolist())}
    frame = frame.assign(row=frame["window_key"].map(keys))
    columns = [f"prob_{name}" for name in data.task.classes]
    found: dict[str, list[tuple[float, np.ndarray]]] = {name: [] for name in models}
    for (model, fold), rows in frame.groupby(["model", "fold"], sort=True):
        at = rows["row"].to_numpy(dtype=int)
        prob, target = rows[columns].to_numpy(dtype=float), data.targets[at]
        if not data.task.multilabel and len(columns) == 2:
            prob, target = prob[:, 1:], target[:, 1:]
        found[model.split(SEED_MARK)[0]].append(
            macro_auroc_draws(prob, target, data.subjects[at], n_boot=n_boot, seed=crc32(fold.encode()))
        )
    n_people = len(np.unique(data.subjects))
    return {name: _row(parts, n_people) for name, parts in found.items()}


def _row(parts: Sequence[tuple[float, np.ndarray]], n_people: int) -> Row:
    """Return the mean of all folds and seeds; a fold's draws are the same people for every model and seed."""
    value, draws = float(np.mean([v for v, _ in parts])), np.mean([d for _, d in parts], axis=0)
    return Row(auroc=interval_of("auroc", value, draws, n_units=n_people), draws=draws)


def show(name: str, title: str, rows: Mapping[str, Row], *, against: str) -> None:
    """Print a table: every model, and what it is above or below one of them on the same people."""
    print(f"== {title}", flush=True)
    for model, row in rows.items():
        one, gap = row.auroc, row.auroc.value - rows[against].auroc.value
        low, high = np.nanquantile(row.draws - rows[against].draws, (0.025, 0.975))
        less = "" if model == against else f"   less {against}: {gap:+.3f} [{low:+.3f}, {high:+.3f}]"
        print(f"  {model:<22}{one.value:.3f} [{one.low:.3f}, {one.high:.3f}]{less}", flush=True)
        key = model.replace(", ", "_").replace(" ", "_")
        figure(f"{name}_{key}", one.value, "auroc")


def numbers(data: Labelled, folds: Sequence[Fold]) -> str:
    """Return how many windows and people there are, in all and in each group, and how often each class stands."""
    people = lambda rows: len(np.unique(data.subjects[rows]))  # noqa: E731
    parts = ", ".join(f"{fold.name} {people(fold.test)}" for fold in folds)
    support = ", ".join(f"{name} {n}" for name, n in data.support.items()) if data.task.multilabel else ""
    return f"{len(data.windows)} windows of {people(slice(None))} people ({parts}); {support}"


def classes(corpora: Corpora, *, epochs: int, seeds: int, which: str, n_boot: int = 2000) -> None:
    """Print the table of generated sites, or of real records."""
    generated, hearts = corpora.generated(), corpora.hearts()
    real = which == "real"
    shards = Corpus.open(hearts if real else generated)
    name, seen = ("ecg", generated) if real else ("hearts", hearts)
    encoder, hubert = corpora.encoder(name, seen), corpora.hubert(name, seen)
    data = labelled(shards, TASKS[TASK])
    folds = groups_of(data, REGIONS if real else {})
    every = methods(epochs, hubert)
    options = {"encoder": encoder, "n_boot": n_boot}
    rows = table(data, folds, {name: every[name] for name in LIGHT}, seeds=seeds, **options)
    rows |= table(data, folds, {name: every[name] for name in HEAVY}, seeds=1, **options)
    title = "ecg_auroc_real" if real else "ecg_auroc_synthetic_sites"
    show(title, f"{title}: {numbers(data, folds)}", rows, against="random, probe")


def kinds(corpora: Corpora, *, seeds: int, n_boot: int = 2000) -> None:
    """Print what encoders of EEG, of ECG and of both are worth to a linear probe of either."""
    eeg, ecg = corpora.eeg(), corpora.generated()
    variants = {
        "eeg": corpora.encoder("eeg", eeg),
        "ecg": corpora.encoder("ecg", ecg),
        "both": corpora.encoder("both", eeg, ecg),
    }
    probes = {f"pretrained on {name}": Method(fit=linear(name), candidates=LOGISTIC, seeded=False) for name in variants}
    probes |= {"random": replace(METHODS["linear-probe/random"], candidates=LOGISTIC)}
    hearts, children = (
        labelled(Corpus.open(corpora.hearts()), TASKS[TASK]),
        labelled(Corpus.open(corpora.children()), TASKS["adhd"]),
    )
    questions = {
        "hearts": (hearts, groups_of(hearts, REGIONS)),
        ADHD: (children, subject_folds(children.subjects, children.labels, n_folds=4, seed=0)),
    }
    for name, (data, folds) in questions.items():
        rows = table(data, folds, probes, encoder=variants["ecg"], seeds=seeds, variants=variants, n_boot=n_boot)
        show(f"kinds_{name.replace('-', '_')}", f"{name}: {numbers(data, folds)}", rows, against="random")
