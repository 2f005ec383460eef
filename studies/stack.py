"""The stacking ensemble: a meta-learner fitted on members' out-of-fold predictions, and applied to another fold's.

    python -m studies.stack --predictions F.parquet [G.parquet ...] --output H.parquet [--models A B C] [--save DIR]

The files hold predictions of the members on the very same folds (studies.crossval, studies.loso). For each fold the
meta-learner is fitted on the rows of the other folds, whose patients it then does not know; how long, is chosen among
their patients. H.parquet has the members' rows, "mean" (their plain mean) and "stack", the two with uncertainties.
--save keeps a meta-learner fitted on all rows. Predictions on patients that were trained on are refused.
"""

import shlex
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from evaluation.schemas.predictions import (
    MEAN,
    PRIOR,
    Predictions,
    probabilities,
    read_predictions,
    targets,
    write_predictions,
)
from model.stacking import Gate, Stacker
from signals.bundles.calibration import Uncertainty, decompose, entropy
from signals.command_line import Parser
from signals.tasks import is_multilabel
from studies.calibrate import check_held_out
from training.command import run_main
from training.corpus.splits import subject_folds
from training.objectives.losses import VoteLoss

PROG = "cerebeam stack"
STACK = "stack"
MOST_STEPS, LOOK_EVERY = 80, 8
_INNER_FOLDS = 3
_POOL_STEPS, _POOL_PENALTY = 50, 1e-3


def joined(files: Sequence[Predictions]) -> Predictions:
    """Return predictions of several models on the same folds as one.

    Raises ValueError where tasks, folds or windows differ, and where two files hold the same model.
    """
    first = files[0]
    for other in files[1:]:
        if (other.task, other.classes) != (first.task, first.classes):
            raise ValueError(f"predictions of task {other.task!r} and of {first.task!r} cannot be stacked")
        if other.meta.get("folds") != first.meta.get("folds"):
            raise ValueError(
                "the files were made on different folds: a member would speak of patients that another was trained on"
            )
        if both := sorted(set(first.models) & set(other.models) - {PRIOR}):
            raise ValueError(f"models {both} are in more than one file")
    frames = [first.frame, *(other.frame[other.frame["model"] != PRIOR] for other in files[1:])]
    models = {name: about for file in files for name, about in file.meta.get("models", {}).items()}
    return Predictions(
        frame=pd.concat(frames, ignore_index=True), task=first.task, classes=first.classes,
        meta={**first.meta, "models": models},
    )  # fmt: skip


def check_stackable(predictions: Predictions, members: Sequence[str]) -> None:
    """Raise ValueError unless members spoke of the same windows, each out of fold, and every patient is in one fold."""
    check_held_out(predictions)
    if unknown := sorted(set(members) - set(predictions.models)):
        raise ValueError(f"models {unknown} are not among {', '.join(predictions.models)}")
    first = predictions.of(members[0])
    for name in members[1:]:
        other = predictions.of(name)
        if first["window_key"].tolist() != other["window_key"].tolist():
            raise ValueError(f"{members[0]} and {name} did not predict the same windows")
    folds = first.groupby("subject_id")["fold"].nunique()
    if (folds > 1).any():
        raise ValueError(
            f"subject {folds[folds > 1].index[0]} is in {int(folds.max())} folds: the meta-learner would be applied to "
            "a patient that it was fitted on"
        )
    if first["fold"].nunique() < 2:
        raise ValueError("stacking needs at least 2 folds: it is fitted on the others' rows")


def member_array(predictions: Predictions, members: Sequence[str]) -> np.ndarray:
    """Return members' probabilities, float64, shape (n_windows, n_members, n_classes), in order of window_key."""
    return np.stack([probabilities(predictions.of(name), predictions.classes) for name in members], axis=1)


def fit_stacker(
    prob: np.ndarray,
    target: np.ndarray,
    subjects: np.ndarray,
    members: Sequence[str],
    *,
    seed: int,
    gate: Gate = "perceptron",
) -> Stacker:
    """Return a meta-learner of rows (n, n_members, n_classes); its number of steps is chosen over folds of patients.

    Raises ValueError for fewer than two patients.
    """
    labels = target.argmax(axis=1)
    n_folds = min(_INNER_FOLDS, len(np.unique(subjects)))
    losses = np.zeros(MOST_STEPS // LOOK_EVERY + 1)
    for fold in subject_folds(subjects, labels, n_folds=n_folds, seed=seed):
        _, curve = _train(
            prob, target, fold.train, members, n_steps=MOST_STEPS, seed=seed, gate=gate, look_at=fold.test
        )
        losses += np.array(curve) * len(fold.test)
    everything = np.arange(len(prob))
    n_steps = int(losses.argmin()) * LOOK_EVERY
    return _train(prob, target, everything, members, n_steps=n_steps, seed=seed, gate=gate)[0]


def _train(
    prob: np.ndarray,
    target: np.ndarray,
    rows: np.ndarray,
    members: Sequence[str],
    *,
    n_steps: int,
    seed: int,
    gate: Gate,
    look_at: np.ndarray | None = None,
) -> tuple[Stacker, list[float]]:
    """Return a stacker after full-batch steps, and its loss on `look_at` before the first and every LOOK_EVERY.

    What all windows share is fitted before the first step.
    """
    predicted, wanted = (torch.from_numpy(np.asarray(values, dtype=np.float32)) for values in (prob, target))
    curve = []
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        stacker, loss = Stacker(tuple(members), prob.shape[2], gate=gate), VoteLoss()
        stacker.standardise(predicted[rows])
        _fit_pool(stacker, loss, predicted[rows], wanted[rows])
        optimizer = torch.optim.AdamW(stacker.parameters(), lr=3e-2, weight_decay=0.05)
        for step in range(n_steps + 1):
            if look_at is not None and step % LOOK_EVERY == 0:
                with torch.no_grad():
                    curve.append(float(loss.mean(stacker.eval()(predicted[look_at])[0], wanted[look_at])))
            if step == n_steps:
                break
            value = loss.mean(stacker.train()(predicted[rows])[0], wanted[rows])
            optimizer.zero_grad()
            value.backward()
            optimizer.step()
    return stacker.eval(), curve


def _fit_pool(stacker: Stacker, loss: VoteLoss, predicted: torch.Tensor, wanted: torch.Tensor) -> None:
    """Fit the handful of numbers that every window shares to the end, before the gate learns anything."""
    shared = stacker.eval().pool()
    optimizer = torch.optim.LBFGS(shared, max_iter=_POOL_STEPS, line_search_fn="strong_wolfe")

    def closure() -> torch.Tensor:
        optimizer.zero_grad()
        value = loss.mean(stacker(predicted)[0], wanted) + _POOL_PENALTY * sum(p.square().sum() for p in shared)
        value.backward()
        return value

    optimizer.step(closure)


@torch.no_grad()
def apply_stacker(stacker: Stacker, prob: np.ndarray) -> tuple[np.ndarray, Uncertainty, np.ndarray]:
    """Return probabilities, float64, (n, n_classes), their uncertainty, and the weights of members, (n, n_members)."""
    log_prob, weight, tempered = (part.double().numpy() for part in stacker(torch.from_numpy(prob.astype(np.float32))))
    mixed = np.exp(log_prob)
    mixed /= mixed.sum(axis=1, keepdims=True)
    # The answer's entropy, split as that of the mixture that it is an exponent of.
    total, of_mixture = entropy(mixed), entropy((weight[..., None] * tempered).sum(axis=1))
    aleatoric = total * np.minimum((weight * entropy(tempered)).sum(axis=1) / np.maximum(of_mixture, 1e-12), 1.0)
    doubts = Uncertainty(total=total, aleatoric=aleatoric, epistemic=total - aleatoric)
    return mixed, doubts, weight


def stacked(predictions: Predictions, members: Sequence[str], *, seed: int = 0) -> Predictions:
    """Return the predictions with rows of "mean" and "stack", each fold by what was fitted on the others.

    Raises ValueError where `check_stackable` does.
    """
    if is_multilabel(predictions.task):
        raise ValueError(f"task {predictions.task!r} has several classes a window: average its members")
    check_stackable(predictions, members)
    classes, first = predictions.classes, predictions.of(members[0])
    prob, target = member_array(predictions, members), targets(first, classes)
    folds, subjects = (first[name].to_numpy(dtype=str) for name in ("fold", "subject_id"))
    mixed, weights = np.empty((len(first), len(classes))), np.empty((len(first), len(members)))
    doubts = {name: np.empty(len(first)) for name in decompose(np.swapaxes(prob, 0, 1)).columns()}
    for fold in np.unique(folds):
        held_out = folds == fold
        assert not set(subjects[held_out]) & set(subjects[~held_out])
        stacker = fit_stacker(prob[~held_out], target[~held_out], subjects[~held_out], members, seed=seed)
        mixed[held_out], of_fold, weights[held_out] = apply_stacker(stacker, prob[held_out])
        for name, values in of_fold.columns().items():
            doubts[name][held_out] = values
    mean = _rows(first, classes, MEAN, prob.mean(axis=1), decompose(np.swapaxes(prob, 0, 1)).columns())
    columns = {**doubts, **{f"weight_{name}": weights[:, m] for m, name in enumerate(members)}}
    frame = pd.concat([predictions.frame, mean, _rows(first, classes, STACK, mixed, columns)], ignore_index=True)
    meta = {**predictions.meta, "stack": {"members": list(members), "seed": seed}}
    return Predictions(frame=frame, task=predictions.task, classes=classes, meta=meta)


def _rows(
    like: pd.DataFrame, classes: Sequence[str], model: str, prob: np.ndarray, more: Mapping[str, Any]
) -> pd.DataFrame:
    return like.assign(model=model, **{f"prob_{name}": prob[:, k] for k, name in enumerate(classes)}, **more)


def stack_files(
    paths: Sequence[Path], output: Path, *, models: Sequence[str], save: Path | None, seed: int, command_line: str
) -> None:
    """Stack the members of predictions files and write the result."""
    predictions = joined([read_predictions(path) for path in paths])
    if taken := {MEAN, STACK} & set(predictions.models):
        raise ValueError(f"the files hold rows of {sorted(taken)} already: give those of the members")
    members = list(models) or [name for name in predictions.models if name != PRIOR]
    result = stacked(predictions, members, seed=seed)
    if save is not None:
        first = predictions.of(members[0])
        prob, target = member_array(predictions, members), targets(first, predictions.classes)
        fit_stacker(prob, target, first["subject_id"].to_numpy(dtype=str), members, seed=seed).save(save)
    meta = {**result.meta, "command": command_line}
    write_predictions(output, Predictions(frame=result.frame, task=result.task, classes=result.classes, meta=meta))


def main(argv: Sequence[str] | None = None) -> None:
    """Run from the command line."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    parser = Parser(prog=PROG, description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--predictions", type=Path, nargs="+", required=True, help="files on the same folds")
    parser.add_argument("--output", type=Path, required=True, help="predictions file to write")
    parser.add_argument("--models", nargs="+", default=[], help="the members; all but the prior by default")
    parser.add_argument("--save", type=Path, help="folder for a meta-learner fitted on all rows")
    parser.add_argument("--seed", type=int, default=0, help="of the meta-learner's weights and folds")
    given = parser.parse_args(arguments)
    command_line = f"{PROG} {shlex.join(arguments)}"
    run_main(
        PROG,
        lambda: stack_files(
            given.predictions,
            given.output,
            models=given.models,
            save=given.save,
            seed=given.seed,
            command_line=command_line,
        ),
    )


if __name__ == "__main__":
    main()
