"""make bench-probes: frozen embeddings with logistic regression against what needs no pretraining, on real recordings.

    python -m benchmarks probes --encoder DIR [DIR ...] [--against DIR ...] [--shards DIR] [--six-class DIR]
                                [--real DIR] [--only TASK ...]

Each task's windows are predicted by models that were trained on other people (or, where one person alone has both
classes, on other minutes): logistic regression on the frozen encoder's pooled tokens, on those of the same network with
random weights (three of them, or as many as there are encoders), on band powers, on log spectra in the same pooling
without any weight, and gradient boosting on all stored features. Settings are fixed and the same for all tasks; nothing
is tuned on these labels. AUROC over all windows of all folds; intervals resample people. Several encoders are seeds of
one pretraining; `--against` takes those of another, seed by seed. At the end stands the mean gain over all tasks. For
labels of your own: `cerebeam study fair --input DIR --labels FILE`.

    eyes             bissau: each recording holds minutes with closed and with open eyes (labels.csv has the order)
    eyes-one-person  albany: S001 alone has both, a recording each; blocks of time are left out
    arithmetic       kyiv: Subject00 alone has rest, in a recording of its own; blocks of time are left out
    rest-or-task     albany and kyiv: rest against motor imagery or arithmetic, people who did both
    epilepsy         bissau    adhd  tehran    six-class  boston: 24 segments of 50 s, each left out in turn
"""

import argparse
import csv
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from benchmarks.harness import figure, machine
from benchmarks.studies.real import UNSEEN_SITE, prepared, real_folder
from evaluation.scenarios.transfer import mean_difference, seeds_of, transfer_table
from evaluation.schemas.predictions import Predictions
from signals.files import file_sha256
from signals.tasks import TASKS, Task
from studies.baselines.candidates import METHODS, linear
from studies.engine.bench import Bench, Method
from studies.engine.parts import Parts
from studies.engine.study import Design, run_study
from training.corpus.corpus import Corpus
from training.corpus.labelled import Labelled, labelled, task_named, with_contrast
from training.corpus.splits import Fold, subject_folds
from training.fitting.fit import start_encoder

PENALTY = 1.0
BOOSTING = {"learning_rate": 0.1, "max_leaf_nodes": 8}
N_SEEDS, N_BLOCKS, N_BOOT = 3, 3, 2000
PRETRAINED, RANDOM, POWERS = "pretrained", "random weights", "band powers"
SPECTRA, BOOSTED, AGAINST = "log spectra", "features, boosting", "other encoders"
EYES = Task(name="eyes", classes=("eyes_open", "eyes_closed"), window_s=10.0)
CLOSED_S, MARGIN_S = {"closed-3min-then-open-2min": (0, 180), "open-3min-then-closed-2min": (180, 1e9)}, 10.0
"""When eyes are closed, by the protocol that labels.csv notes; windows this near to the change are left out."""


@dataclass(frozen=True, kw_only=True)
class Question:
    """A task's windows, its folds, and who is drawn in the bootstrap."""

    data: Labelled
    folds: Sequence[Fold]
    clusters: np.ndarray
    """Of each window: a person, or a block of time where there is one person only."""
    remark: str


def eyes(shards: Corpus, real: Path) -> Labelled:
    """Return windows of bissau with the state of the eyes, by the order of minutes that labels.csv notes."""
    closed = protocol(real)
    rows, targets = [], []
    for number, entry in enumerate(shards.entries):
        if entry.recording_id not in closed:
            continue
        (start, stop), onset = closed[entry.recording_id], shards.window(number).start_s
        change = stop if start == 0 else start
        if onset + EYES.window_s <= change - MARGIN_S or onset >= change + MARGIN_S:
            rows.append(number)
            targets.append(np.eye(2, dtype=np.float32)[int(start <= onset < stop)])
    if not rows:
        raise ValueError(f"{shards.names} holds no recording of {real}/bissau-emotiv")
    return Labelled(shards=shards, task=EYES, windows=np.array(rows), targets=np.stack(targets), has_votes=False)


def protocol(real: Path) -> dict[str, tuple[float, float]]:
    """Return from when to when eyes are closed, by recording, where labels.csv notes it."""
    with (real / "labels.csv").open(newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["notes"] in CLOSED_S]
    return {file_sha256(real / row["site"] / row["file"])[:16]: CLOSED_S[row["notes"]] for row in rows}


def across_people(data: Labelled, remark: str) -> Question:
    """Return the question with people left out, as few as go: one, or one of each class where people have one class.

    A fold that leaves out people of one class only would make that class rarer in training than anywhere else, and
    every model that learns this would be wrong about them.
    """
    of_person = [set(data.labels[data.subjects == s].tolist()) for s in np.unique(data.subjects)]
    alone = [next(iter(labels)) for labels in of_person if len(labels) == 1]
    rarest = min(alone.count(label) for label in set(alone)) if alone else len(of_person)
    n_folds = rarest if rarest > 1 else len(of_person)
    folds = subject_folds(data.subjects, data.labels, n_folds=n_folds, seed=0)
    note = f"{len(of_person)} people in {n_folds} folds; {remark}"
    return Question(data=data, folds=folds, clusters=data.subjects, remark=note)


def with_both(data: Labelled) -> Labelled:
    """Return the windows of people who have every class that anybody has."""
    n_classes = len(set(data.labels.tolist()))
    kept = np.array([len(set(data.labels[data.subjects == s].tolist())) == n_classes for s in data.subjects])
    return replace(data, windows=data.windows[kept], targets=data.targets[kept])


def within_person(data: Labelled) -> Question:
    """Return the question about the one person who has both classes; thirds of each class's minutes are left out."""
    data = with_both(data)
    if len(set(data.subjects.tolist())) != 1:
        raise ValueError(f"{len(set(data.subjects.tolist()))} people have both classes of {data.task.name!r}, not one")
    onsets = np.array([data.shards.window(int(i)).start_s for i in data.windows])
    block = np.zeros(len(onsets), dtype=int)
    for label in np.unique(data.labels):
        rows = np.flatnonzero(data.labels == label)
        block[rows[np.argsort(onsets[rows])]] = np.arange(len(rows)) * N_BLOCKS // len(rows)
    folds = [
        Fold(name=f"block{k}", train=np.flatnonzero(block != k), test=np.flatnonzero(block == k))
        for k in range(N_BLOCKS)
    ]
    remark = "one person, one recording a class: what differs may be the recording; intervals resample blocks of time"
    return Question(data=data, folds=folds, clusters=np.array([f"block{k}" for k in block]), remark=remark)


def models(encoders: Mapping[str, Sequence[Path]]) -> dict[str, Method]:
    """Return what is compared, each at one setting; of several encoders of a name, each seed has one."""
    logistic, boosting = ({"penalty": PENALTY},), (BOOSTING,)
    probes = {
        name: Method(fit=linear(name), candidates=logistic, seeded=len(folders) > 1, about="linear probe")
        for name, folders in encoders.items()
    }
    return {
        **probes,
        RANDOM: replace(METHODS["linear-probe/random"], candidates=logistic),
        POWERS: replace(METHODS["band-power/logistic"], candidates=logistic),
        SPECTRA: replace(METHODS["log-spectra/logistic"], candidates=logistic),
        BOOSTED: replace(METHODS["features/boosting"], candidates=boosting, seeded=False),
    }


def predictions(question: Question, encoders: Mapping[str, Sequence[Path]]) -> Predictions:
    """Return every model's predictions of windows that it was not trained on; clusters stand for subjects."""
    data, n_seeds = question.data, max(map(len, encoders.values()))
    n_seeds = n_seeds if n_seeds > 1 else N_SEEDS  # of random weights beside a single encoder
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(data, encoders[PRETRAINED][0], Path(folder) / "logs", variants=encoders)
        design = Design(
            bench=bench, folds=question.folds, models=models(encoders), parts=Parts(Path(folder), {}),
            seeds=n_seeds,
        )  # fmt: skip
        frame = run_study(design)
    cluster = {data.shards.entries[i].key: name for i, name in zip(data.windows, question.clusters, strict=True)}
    frame = frame.assign(subject_id=frame["window_key"].map(cluster))
    return Predictions(frame=frame, task=data.task.name, classes=data.task.classes)


def questions(shards: Corpus, six: Path | None, real: Path | None, names: Sequence[str]) -> dict[str, Question]:
    """Return the tasks that these recordings allow, by name."""
    found: dict[str, Question] = {}
    if "eyes" in names and real is not None:
        found["eyes"] = across_people(eyes(shards, real), "minutes by protocol; closed eyes come first in 7 of 8")
    for name, task in (("eyes-one-person", "eyes"), ("arithmetic", "arithmetic")):
        if name in names:
            found[name] = within_person(with_contrast(labelled(shards, task_named(task))))
    if "rest-or-task" in names:
        found["rest-or-task"] = across_people(with_both(labelled(shards, TASKS["rest-or-task"])), "who did both")
    for name in ("epilepsy", "adhd"):
        if name in names:
            found[name] = across_people(with_contrast(labelled(shards, TASKS[name])), "one class a person")
    if "six-class" in names and six is not None:
        data = labelled(Corpus.open(six), TASKS["six-class"])
        folds = subject_folds(data.subjects, data.labels, n_folds=len(data.windows), seed=0)
        remark = "each segment left out, so its class is the rarest in training; segments may share a patient"
        found["six-class"] = Question(data=data, folds=folds, clusters=data.subjects, remark=remark)
    return found


def show(name: str, question: Question, encoders: Mapping[str, Sequence[Path]]) -> Predictions:
    """Print a task's table and figures; returns the predictions."""
    frame = predictions(question, encoders)
    rows, gaps = transfer_table(frame, reference=PRETRAINED, n_boot=N_BOOT, seed=0)
    _, about = start_encoder(encoders[PRETRAINED][0], seed=0)
    seen = len(set(question.data.subjects.tolist()) & set(about["train"]))
    print(f"== {name}: {len(question.data.windows)} windows; {question.remark}")
    print(f"   {seen} of {len(set(question.data.subjects.tolist()))} people were pretrained on, without labels")
    for row in rows:
        auroc, accuracy = row.metrics["auroc_macro"], row.metrics["balanced_accuracy"]
        gap = next((g for g in gaps if g.model == row.model and g.metric == "auroc_macro"), None)
        against = "" if gap is None else f"   minus pretrained {gap.value:+.3f} [{gap.low:+.3f}, {gap.high:+.3f}]"
        print(
            f"  {row.model:<20}AUROC {auroc.value:.3f} [{auroc.low:.3f}, {auroc.high:.3f}]"
            f"   balanced accuracy {accuracy.value:.3f}, {row.n_seeds} seeds{against}",
            flush=True,
        )
    values = {row.model: row.metrics["auroc_macro"].value for row in rows}
    key = name.replace("-", "_")
    figure(f"probe_{key}_auroc", values[PRETRAINED], "auroc")
    figure(f"probe_{key}_baseline_auroc", max(v for m, v in values.items() if m not in encoders), "auroc")
    return frame


def gains(files: Sequence[Predictions]) -> None:
    """Print the mean gain over tasks of the pretrained encoder over what needs no pretraining, and over others."""
    print(f"== mean over {len(files)} tasks of AUROC, pretrained less")
    for name, baseline in BASELINES.items():
        if not all(baseline in seeds_of(file.models) for file in files):
            continue
        gain = mean_difference(
            files, model=PRETRAINED, reference=baseline, metric="auroc_macro", n_boot=N_BOOT, seed=0
        )  # fmt: skip
        print(f"  {baseline:<20}{gain.value:+.3f} [{gain.low:+.3f}, {gain.high:+.3f}] {gain.reason}")
        figure(f"probe_gain_over_{name}", gain.value, "auroc")
        figure(f"probe_gain_over_{name}_low", gain.low, "auroc")


BASELINES = {"random": RANDOM, "powers": POWERS, "spectra": SPECTRA, "features": BOOSTED, "others": AGAINST}
"""What the mean gain is over, by the figure's name."""
TASK_NAMES = ("eyes", "eyes-one-person", "arithmetic", "rest-or-task", "epilepsy", "adhd", "six-class")


def main() -> None:
    """Probe all tasks, or some."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument(
        "--encoder", type=Path, nargs="+", default=[Path("bench-output/pretrain-small/run/encoder")],
        help="a pretrained encoder, or those of several seeds",
    )  # fmt: skip
    parser.add_argument("--against", type=Path, nargs="+", default=[], help="encoders of another pretraining")
    parser.add_argument("--shards", type=Path, help="real recordings, profile pretrain; prepared from --real without")
    parser.add_argument("--six-class", type=Path, help="boston, profile six-class; prepared from --real without")
    parser.add_argument("--real", type=Path, default=real_folder(), help="folder of real recordings with labels.csv")
    parser.add_argument("--only", nargs="+", choices=TASK_NAMES, default=TASK_NAMES)
    args = parser.parse_args()
    for folder in (*args.encoder, *args.against):
        if not (folder / "model.safetensors").is_file():
            parser.error(f"{folder} holds no encoder: run make pretrain-small first, or give --encoder")
    if len({len(folders) for folders in (args.encoder, args.against) if len(folders) > 1}) > 1:
        parser.error(f"{len(args.encoder)} encoders against {len(args.against)}: seeds are paired, give as many")
    with tempfile.TemporaryDirectory() as folder:
        shards = args.shards or prepared(args.real, Path(folder) / "pretrain", profile="pretrain")
        six = args.six_class
        if six is None and "six-class" in args.only:
            six = prepared(args.real, Path(folder) / "six", profile="six-class", site=UNSEEN_SITE)
        print(machine())
        tasks = questions(Corpus.open(shards), six, args.real, args.only)
        encoders = {PRETRAINED: args.encoder, **({AGAINST: args.against} if args.against else {})}
        gains([show(name, question, encoders) for name, question in tasks.items()])


if __name__ == "__main__":
    main()
