"""Compare models that read six classes without a real label: they learn from generators and are chosen on other ones.

    python -m studies.synthetic_to_real --corpus SHARDS --encoder DIR --output DIR [--test REAL_SHARDS]

`--corpus` is what `synthetic.critical_corpus` wrote. Models learn from its families `TRAINED` and are chosen by
their mean loss over its families `HELD_OUT`: another generator, real backgrounds of other sites, other wave forms.
Windows of `--test` are predicted at the end and choose nothing. OUT/predictions.parquet: all predictions. What is
shipped is built by `studies.six_class_reader`.
"""

import shutil
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated

import numpy as np
import pandas as pd
import tyro

from evaluation.measures.metrics import balanced_accuracy, confusion_matrix, kl_rows, predicted_shares
from evaluation.schemas.predictions import Predictions, write_predictions
from signals.bundles.calibration import tempered
from signals.files import file_sha256
from signals.tasks import SIX_CLASS
from signals.version import code_version
from studies.baselines.candidates import METHODS
from studies.baselines.classical import FLOOR, probabilities
from studies.baselines.patterns import fit_extra_trees, fit_pattern_logistic
from studies.engine.bench import Bench, Method, Params, Predict
from studies.engine.command import line_of, parse_study, run_command
from studies.engine.parts import Parts, parts_folder
from studies.engine.rows import prediction_rows, window_rows
from studies.engine.study import Design, probabilities_of, run_study
from synthetic.segments.families import HELD_OUT, TRAINED
from training.corpus.corpus import Corpus
from training.corpus.labelled import labelled
from training.corpus.splits import Fold

PROG = "cerebeam synthetic-to-real"
TEST = "test"
"""Fold of the windows that choose nothing."""
AVERAGE_FLOOR = 1e-3
"""Least probability of an average before its temperature: what no training window showed cannot be ruled out."""
TEMPERATURES = tuple(np.round(np.geomspace(0.5, 3.0, 25), 4).tolist())


class Study:
    """Windows of the corpus and of the test set, and the one fold that they make."""

    def __init__(
        self, corpus: Path, test: Path | None, encoder: Path | None, output: Path, *, settings: Sequence[str] = ()
    ) -> None:
        self.encoder_dir, self.output, self.settings = encoder, output, tuple(settings)
        self.data = labelled(Corpus.open([corpus] if test is None else [corpus, test]), SIX_CLASS)
        self.families = self.data.sites
        self.learn = np.flatnonzero(np.isin(self.families, [family.name for family in TRAINED]))
        self.held_out = {f.name: rows for f in HELD_OUT if (rows := np.flatnonzero(self.families == f.name)).size}
        if not self.learn.size or not self.held_out:
            raise ValueError(
                f"{corpus} has no family to learn from or none to choose on: make it with "
                "synthetic.critical_corpus, --segments and --held-out above 0"
            )

    @property
    def validation(self) -> np.ndarray:
        """Rows that models are chosen on."""
        return np.concatenate(list(self.held_out.values()))

    @property
    def test(self) -> np.ndarray:
        """Rows of `--test`."""
        return np.setdiff1d(np.arange(len(self.families)), np.concatenate([self.learn, self.validation]))

    def design(self, names: Sequence[str], seed: int) -> Design:
        """Return the study of these members: one fold, from the learnt families to all other rows."""
        others = np.concatenate([self.validation, self.test])
        weights = None if self.encoder_dir is None else file_sha256(self.encoder_dir / "model.safetensors")
        config = {"manifest_digest": self.data.shards.manifest.digest, "encoder_sha256": weights, "seed": seed,
                  "settings": list(self.settings), "code_version": code_version()}  # fmt: skip
        parts = Parts(parts_folder(self.output / "predictions.parquet"), config)
        return Design(
            bench=Bench(self.data, self.encoder_dir, parts.folder / "logs", seed=seed, settings=self.settings),
            folds=[Fold(name="families", train=self.learn, test=others)],
            models={name: MEMBERS[name] for name in names}, parts=parts,
        )  # fmt: skip


def _trees(x: Callable[[Bench, int], np.ndarray]) -> Callable[[Bench, np.ndarray, Params, int], Predict]:
    def fit(bench: Bench, rows: np.ndarray, params: Params, seed: int) -> Predict:
        values = x(bench, seed)
        model = fit_extra_trees(values, bench.data, rows, seed=seed)
        return lambda rows: probabilities(model, values[rows], len(SIX_CLASS.classes))

    return fit


def _logistic(bench: Bench, rows: np.ndarray, params: Params, seed: int) -> Predict:
    model = fit_pattern_logistic(*bench.patterns, bench.data, rows)
    return lambda rows: model.predict(bench.patterns[1][rows])


def _untuned(name: str) -> Method:
    """Return a model of the tables at the middle one of its settings."""
    settings = METHODS[name].candidates
    return replace(METHODS[name], candidates=(settings[len(settings) // 2],))


def _with_tokens(kind: str) -> Callable[[Bench, int], np.ndarray]:
    return lambda bench, seed: np.concatenate([bench.patterns[1], bench.pooled(kind, seed)], axis=1)


MEMBERS: dict[str, Method] = {
    "prior": _untuned("prior"),
    "band-power/logistic": _untuned("band-power/logistic"),
    "stored-features/extra-trees": Method(fit=_trees(lambda bench, seed: bench.stored_features)),
    "patterns/logistic": Method(fit=_logistic),
    "patterns/extra-trees": Method(fit=_trees(lambda bench, seed: bench.patterns[1])),
    "linear-probe/random": _untuned("linear-probe/random"),
    "linear-probe/pretrained": _untuned("linear-probe/pretrained"),
    "patterns+tokens/random": Method(fit=_trees(_with_tokens("random"))),
    "patterns+tokens/pretrained": Method(fit=_trees(_with_tokens("pretrained")), needs_encoder=True),
    "resnet-gru": _untuned("resnet-gru"),
}
"""Members by the name that predictions carry."""
QUICK = tuple(name for name in MEMBERS if name != "resnet-gru")


def family_loss(study: Study, predicted: np.ndarray) -> dict[str, float]:
    """Return the mean KL to the votes on each held-out family; `predicted` has a row for every row of the study."""
    targets = study.data.targets.astype(np.float64)
    targets /= targets.sum(axis=1, keepdims=True)
    return {name: float(kl_rows(targets[rows], predicted[rows]).mean()) for name, rows in study.held_out.items()}


def family_accuracy(study: Study, predicted: np.ndarray) -> dict[str, float]:
    """Return the balanced accuracy on each held-out family."""
    return {
        name: float(balanced_accuracy(confusion_matrix(study.data.labels[rows], predicted_shares(predicted[rows]))))
        for name, rows in study.held_out.items()
    }


def best_temperature(study: Study, predicted: np.ndarray) -> float:
    """Return the temperature of least mean loss over held-out families, each of which counts alike."""
    floored = np.maximum(predicted, AVERAGE_FLOOR)
    losses = [np.mean(list(family_loss(study, tempered(floored, t)).values())) for t in TEMPERATURES]
    return float(TEMPERATURES[int(np.argmin(losses))])


def greedy_average(study: Study, answers: dict[str, np.ndarray], *, gain: float = 0.005) -> tuple[str, ...]:
    """Return the members whose plain average has the least mean loss, added one by one while the loss falls by `gain`.

    Caruana et al. 2004 (doi:10.1145/1015330.1015432), without repetition.
    """

    def loss(names: Sequence[str]) -> float:
        return float(np.mean(list(family_loss(study, np.mean([answers[n] for n in names], axis=0)).values())))

    chosen: tuple[str, ...] = ()
    best = float("inf")
    while left := [name for name in answers if name not in chosen]:
        added = min(left, key=lambda name: loss((*chosen, name)))
        if loss((*chosen, added)) > best - gain:
            break
        chosen, best = (*chosen, added), loss((*chosen, added))
    return chosen


def run(study: Study, names: Sequence[str], seed: int) -> dict[str, np.ndarray]:
    """Return every model's prediction of every row, and that of the average that the held-out families choose."""
    design, answers = study.design(names, seed), dict[str, np.ndarray]()

    def finished(name: str) -> None:
        predicted = np.full((len(study.families), len(SIX_CLASS.classes)), 1 / len(SIX_CLASS.classes))
        (fold,) = design.folds
        predicted[fold.test] = np.maximum(probabilities_of(design, name, fold, seed), FLOOR)
        answers[name] = predicted / predicted.sum(axis=1, keepdims=True)
        _print_scores(study, name, answers[name])

    run_study(design, finished=finished)
    chosen = greedy_average(study, answers)
    average = np.mean([answers[name] for name in chosen], axis=0)
    answers["average"] = tempered(np.maximum(average, AVERAGE_FLOOR), best_temperature(study, average))
    _print_scores(study, f"average of {', '.join(chosen)}", answers["average"])
    shutil.rmtree(design.parts.folder)
    return answers


def _print_scores(study: Study, name: str, predicted: np.ndarray) -> None:
    loss, accuracy = family_loss(study, predicted), family_accuracy(study, predicted)
    cells = "  ".join(f"{family} {accuracy[family]:.3f} / {loss[family]:.3f}" for family in loss)
    mean = f"mean {np.mean(list(accuracy.values())):.3f} / {np.mean(list(loss.values())):.3f}"
    print(f"{name:<28} {cells}  {mean}", flush=True)  # noqa: T201


def predictions_of(study: Study, answers: dict[str, np.ndarray], *, command_line: str) -> Predictions:
    """Return all predictions on held-out families, fold "validation", and on the test set, fold `TEST`."""
    frames = []
    for fold, rows in (("validation", study.validation), (TEST, study.test)):
        if rows.size:
            windows = window_rows(study.data, rows)
            frames += [
                prediction_rows(windows, predicted[rows], SIX_CLASS.classes, model=name, fold=fold)
                for name, predicted in answers.items()
            ]
    meta = {"grouping": "apart", "manifest_digest": study.data.shards.manifest.digest, "command": command_line}
    return Predictions(
        frame=pd.concat(frames, ignore_index=True), task=SIX_CLASS.name, classes=SIX_CLASS.classes, meta=meta
    )  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class SyntheticCommand:
    """Learn six classes from generators, choose on other ones, predict real segments."""

    corpus: Path
    """Shard set of synthetic.critical_corpus."""
    encoder: Path | None = None
    """Folder of an encoder pretrained without labels."""
    output: Path
    """Folder of the predictions."""
    test: Path | None = None
    """Shard set of real segments, predicted at the end; chooses nothing."""
    members: tuple[str, ...] = ()
    """Any of `MEMBERS`; all but resnet-gru without."""
    seed: int = 0
    """Of what members draw."""
    settings: Annotated[tuple[str, ...], tyro.conf.Suppress] = ()

    def __post_init__(self) -> None:
        if unknown := sorted(set(self.members) - set(MEMBERS)):
            raise ValueError(f"unknown members {', '.join(unknown)}; members are {', '.join(MEMBERS)}")
        if self.encoder is None and (needy := [n for n in self.chosen if MEMBERS[n].needs_encoder]):
            raise ValueError(f"{needy[0]} needs --encoder")

    @property
    def chosen(self) -> tuple[str, ...]:
        """The members that are compared."""
        return self.members or tuple(n for n in QUICK if self.encoder is not None or not MEMBERS[n].needs_encoder)


def learn_and_predict(command: SyntheticCommand, *, command_line: str) -> None:
    """Write predictions."""
    study = Study(command.corpus, command.test, command.encoder, command.output, settings=command.settings)
    print("balanced accuracy / KL to the votes on families that nothing was learnt from")  # noqa: T201
    answers = run(study, command.chosen, command.seed)
    write_predictions(command.output / "predictions.parquet", predictions_of(study, answers, command_line=command_line))


def main(argv: Sequence[str] | None = None) -> None:
    """Run from the command line."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    command = parse_study(SyntheticCommand, arguments, prog=PROG)
    run_command(PROG, lambda: learn_and_predict(command, command_line=line_of(PROG, arguments)))


if __name__ == "__main__":
    main()
