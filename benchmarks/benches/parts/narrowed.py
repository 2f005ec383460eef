"""A ResNet1D-GRU with fewer channels and GRU units, measured on generators' families that it has not learnt from."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.harness import figure, module
from studies.reading.intervals import Interval, over_people
from studies.reading.rows import Reading

SHARES = (0.3, 0.4)
MAIN_SHARE = 0.3
"""The cut that the figures speak of: the aim, chosen before anything was measured."""
RATE = 5e-4
"""Learning rate after a cut, that of `training.recipes.compression.brief`."""


@dataclass(frozen=True, kw_only=True)
class Form:
    """A network on the held-out families."""

    name: str
    parameters: int
    units: int
    """Of each direction of the GRU."""
    probabilities: np.ndarray = field(repr=False)
    """Of the held-out windows, shape (n, n_classes)."""


def corpus_of(folder: Path, *, segments: int, held_out: int) -> Path:
    """Return a corpus of families on simulated backgrounds; one that is there is kept."""
    if not (folder / "_COMPLETED").is_file():
        module("synthetic.critical_corpus", "--output", folder, "--segments", str(segments), "--held-out",
               str(held_out), "--simulate-missing")  # fmt: skip
    return folder


def measure(corpus: Path, work: Path, *, network: Path | None, epochs: int, shares: Sequence[float]) -> None:
    """Train a network on the families to learn from unless one is given, cut and tune it, print what that cost."""
    import torch

    from model.compression.narrowing import widths_of
    from model.saved import load_task_model
    from model.supervised.supervised import Supervised
    from studies.six_class_reader import network_recipe, train_network
    from training.fitting.fit import sides
    from training.fitting.inference import predict
    from training.parallel.distributed import Single
    from training.prune import PruneCommand, cut, tune
    from training.recipes.sections import changed

    reading = Reading.open(corpus)
    folder = network or train_network(reading, work / "network", 0)
    recipe = changed(
        network_recipe(0), schedule={"epochs": epochs, "patience": epochs}, optim={"learning_rate": RATE}
    )  # fmt: skip
    processes = Single(rank=0, world_size=1, device=torch.device("cpu"))

    def form(name: str, model: Any) -> Form:
        assert isinstance(model, Supervised)
        answered = predict(model, reading.data.shards, reading.data.windows[reading.held_out])[0]
        n = sum(p.numel() for p in model.parameters())
        return Form(name=name, parameters=n, units=widths_of(model).units, probabilities=answered)

    def tuned(model: Any, name: str) -> Any:
        log = work / f"{name}.jsonl"
        return tune(model, reading.data, reading.learn, recipe, processes=processes, metrics=log)

    forms = [form("as it was", load_task_model(folder))]
    forms.append(form("fine-tuned as briefly", tuned(load_task_model(folder), "whole")))
    chosen = sides(reading.data, reading.learn, recipe)[0]
    for share in shares:
        command = PruneCommand(model=folder, shards=corpus, output=work, share=share, config=recipe)
        smaller = cut(load_task_model(folder), reading.data, chosen, command)
        at_once = form(f"mixed {share:g}, at once", smaller)
        forms += [at_once, form(f"mixed {share:g}", tuned(smaller, f"mixed-{share:g}"))]
    show(reading, forms)


def show(reading: Reading, forms: Sequence[Form]) -> None:
    """Print all forms and what the main cut lost, with intervals over people of the held-out families."""
    whole = forms[0]
    families = ", ".join(sorted(set(reading.families[reading.held_out].tolist())))
    print(f"== ResNet1D-GRU: means over the families {families}, {len(reading.held_out)} windows")
    print(f"  {'':<24}{'parameters':>12}{'fewer':>8}{'GRU units':>11}{'accuracy':>10}{'points lost, 95%':>26}{'KL':>8}")
    for one in forms:
        fewer, lost = 1 - one.parameters / whole.parameters, points_lost(reading, whole, one)
        accuracy, kl = accuracy_of(reading, one), kl_of(reading, one)
        between = f"{lost.value:.1f} [{lost.low:.1f}, {lost.high:.1f}]"
        print(
            f"  {one.name:<24}{one.parameters:>12,}{fewer:>8.1%}{one.units:>11}{accuracy:>10.3f}{between:>26}{kl:>8.3f}"
        )
        if one.name == f"mixed {MAIN_SHARE:g}":
            figure("pruned_network_parameters_share", fewer, "share")
            figure("pruned_network_accuracy_lost", lost.value, "points")
            figure("pruned_network_accuracy_lost_low", lost.low, "points")
            figure("pruned_network_accuracy_lost_high", lost.high, "points")
            briefly = points_lost(reading, forms[1], one)
            figure("pruned_network_accuracy_lost_to_briefly", briefly.value, "points")


def points_lost(reading: Reading, whole: Form, one: Form) -> Interval:
    """Return how many points of balanced accuracy a form is below another, paired."""
    rows = reading.held_out

    def lost(chosen: np.ndarray) -> float:
        return 100 * (accuracy_of(reading, whole, chosen) - accuracy_of(reading, one, chosen))

    return over_people(lost, reading.families[rows], reading.data.subjects[rows], seed=0)


def accuracy_of(reading: Reading, one: Form, chosen: np.ndarray | None = None) -> float:
    """Return the balanced accuracy of chosen held-out rows, the mean over families."""
    from evaluation.measures.metrics import balanced_accuracy, confusion_matrix, predicted_shares

    rows = reading.held_out
    chosen = np.arange(len(rows)) if chosen is None else chosen
    label, family = reading.data.targets[rows].argmax(axis=1)[chosen], reading.families[rows][chosen]
    shares = predicted_shares(one.probabilities[chosen])
    return float(np.mean([
        balanced_accuracy(confusion_matrix(label[family == name], shares[family == name])) for name in np.unique(family)
    ]))  # fmt: skip


def kl_of(reading: Reading, one: Form) -> float:
    """Return the KL to the votes, the mean over families."""
    from evaluation.measures.metrics import kl_rows

    rows = reading.held_out
    target = reading.data.targets[rows].astype(np.float64)
    kl, family = kl_rows(target / target.sum(axis=1, keepdims=True), one.probabilities), reading.families[rows]
    return float(np.mean([kl[family == name].mean() for name in np.unique(family)]))
