"""Calibration of a model on held-out windows, kept beside the model for its bundle.

    python -m studies.calibrate --predictions F.parquet --model DIR [--of encoder] [--fit-to votes | majority]
                                 [--alpha 0.1] [--risk 0.1]

F.parquet holds predictions on patients that their model was not trained on: out of fold (studies.loso,
studies.crossval), or of a calibration set apart (studies.predict). Others are refused. DIR/calibration.json gets
temperature, conformal thresholds on tempered probabilities, the confidence below which to abstain, and the digest
of the split. `studies.loso` does this for its final model by itself.

The temperature is fitted to the votes, or to the majority label. Where experts disagree more than a model errs, the two
ask for opposite things: votes for the experts' own doubt (KL), the majority label for a confidence that is the share of
answers that agree with most experts (ECE). It changes no decision. Labels without votes are the same for both.
"""

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import pandas as pd

from evaluation.audit.leaks import fold_findings
from evaluation.measures.calibration import cross_tempered, fit_temperature
from evaluation.measures.conformal import ALPHA, METHODS, thresholds
from evaluation.measures.metrics import expected_calibration_error, kl_rows
from evaluation.measures.multilabel import binary_loss, fit_decisions
from evaluation.measures.selective import mistakes
from evaluation.measures.tallies import tally
from evaluation.measures.uncertainty import abstention
from evaluation.schemas.predictions import Predictions, probabilities, read_predictions, targets
from model.saved import check_model_dir
from signals.bundles.calibration import Calibration, Conformal, tempered, tempered_each
from signals.command_line import Parser
from signals.files import atomic_file, file_sha256
from signals.json_output import add_json, print_json
from signals.tasks import is_multilabel
from training.command import run_main

PROG = "cerebeam calibrate"
CALIBRATION = "calibration.json"
FitTo = Literal["votes", "majority"]
RISK = 0.1
_CROSS_FOLDS = 5


def check_held_out(predictions: Predictions) -> None:
    """Raise ValueError, naming whom, where a row's subject or recording was trained on, or where that is not known."""
    for finding in fold_findings(predictions, predictions.frame):
        if finding.severity == "error" or finding.code == "no_folds":
            raise ValueError(f"these are no held-out predictions: {finding.message}")


def temperature_targets(frame: pd.DataFrame, classes: tuple[str, ...], fit_to: FitTo) -> np.ndarray:
    """Return what a temperature is fitted to, float64, (n_windows, n_classes): vote shares, or the label as one-hot."""
    return targets(frame, classes) if fit_to == "votes" else np.eye(len(classes))[_true_index(frame, classes)]


def calibration_of(
    predictions: Predictions, model: str, *, fit_to: FitTo = "votes", alpha: float = ALPHA, risk: float = RISK
) -> dict[str, Any]:
    """Return the content of calibration.json from one model's held-out predictions.

    "before" and "after" are over folds of whole patients: each is tempered by a fit on the others; "after" holds the
    scores for every target that a temperature can be fitted to, all measured alike (ECE of the label, KL to the votes).
    Thresholds are in the order of classes; a rare class that cannot be calibrated is in every set (0). Raises
    ValueError for a model that the file does not hold, for predictions that are not held out, and for fewer than two
    patients.
    """
    check_held_out(predictions)
    if model not in predictions.models:
        raise ValueError(f"model {model!r} is not among {', '.join(predictions.models)}")
    if is_multilabel(predictions.task):
        return calibration_of_each(predictions, model)
    frame, classes = predictions.of(model), predictions.classes
    prob, target = probabilities(frame, classes), targets(frame, classes)
    true_index = _true_index(frame, classes)
    fits = {kind: temperature_targets(frame, classes, kind) for kind in get_args(FitTo)}
    found, coverage = fitted(prob, fits[fit_to], true_index, alpha=alpha, risk=risk)
    subjects = frame["subject_id"].to_numpy(dtype=str)
    after = {
        kind: _scores(frame, classes, cross_tempered(prob, fit, subjects, n_folds=_CROSS_FOLDS, seed=0), target)
        for kind, fit in fits.items()
    }
    return {
        **found.to_dict(),
        "fitted_to": fit_to,
        "abstention": {"risk": risk, "coverage": coverage},
        "split_digest": str(predictions.meta.get("split_digest") or predictions.meta.get("manifest_digest") or ""),
        "classes": list(classes),
        "fitted_on": {"model": model, "n_windows": len(frame), "n_subjects": len(np.unique(subjects))},
        "before": _scores(frame, classes, prob, target),
        "after": after,
    }


def fitted(
    prob: np.ndarray, target: np.ndarray, true_index: np.ndarray, *, alpha: float = ALPHA, risk: float = RISK
) -> tuple[Calibration, float]:
    """Return a calibration fitted on held-out rows, and the share of them that it answers.

    `prob` and `target` have shape (n_windows, n_classes); `true_index` holds the majority class of each.
    """
    temperature = fit_temperature(prob, target)
    scaled = tempered(prob, temperature)
    confidence, wrong = mistakes(scaled, true_index)
    kept = abstention(1.0 - confidence, wrong, risk=risk)
    sets = thresholds(scaled, true_index, method=METHODS[1], alpha=alpha).tolist()
    calibration = Calibration(
        temperature=temperature, conformal=Conformal(method=METHODS[1], alpha=alpha, thresholds=tuple(sets)),
        abstain_below=float(1.0 - kept.threshold) if np.isfinite(kept.threshold) else None,
    )  # fmt: skip
    return calibration, kept.coverage


def calibration_of_each(predictions: Predictions, model: str) -> dict[str, Any]:
    """Return the content of calibration.json for a multi-label task: a temperature, and a threshold by class.

    Both are fitted on people that the model of their fold was not trained on; "before" and "after" are the binary
    cross-entropy of those people, each group of them tempered by a fit on the others. A model of several classes for
    themselves has no prediction set and does not abstain.
    """
    frame, classes = predictions.of(model), predictions.classes
    prob, target = probabilities(frame, classes), targets(frame, classes)
    subjects = frame["subject_id"].to_numpy(dtype=str)
    temperature = fit_temperature_of_each(prob, target)
    scaled = tempered_each(prob, temperature)
    after = prob.copy()
    for part in np.array_split(np.random.default_rng(0).permutation(np.unique(subjects)), _CROSS_FOLDS):
        held = np.isin(subjects, part)
        if held.any() and not held.all():
            after[held] = tempered_each(prob[held], fit_temperature_of_each(prob[~held], target[~held]))
    return {
        "temperature": temperature,
        "conformal": None,
        "abstain_below": None,
        "decisions": fit_decisions(scaled, target).tolist(),
        "split_digest": str(predictions.meta.get("split_digest") or predictions.meta.get("manifest_digest") or ""),
        "classes": list(classes),
        "fitted_on": {"model": model, "n_windows": len(frame), "n_subjects": len(np.unique(subjects))},
        "before": {"loss": binary_loss(prob, target)},
        "after": {"loss": binary_loss(after, target)},
    }


def fit_temperature_of_each(prob: np.ndarray, target: np.ndarray) -> float:
    """Return the temperature of least binary cross-entropy, 0.05 to 20."""
    from scipy.optimize import minimize_scalar

    found = minimize_scalar(
        lambda log_t: binary_loss(tempered_each(prob, float(np.exp(log_t))), target),
        bounds=(np.log(0.05), np.log(20.0)), method="bounded",
    )  # fmt: skip
    return float(np.exp(found.x))


def _true_index(frame: pd.DataFrame, classes: tuple[str, ...]) -> np.ndarray:
    return frame["label"].map({name: k for k, name in enumerate(classes)}).to_numpy(dtype=np.int64)


def _scores(frame: pd.DataFrame, classes: tuple[str, ...], prob: np.ndarray, target: np.ndarray) -> dict[str, float]:
    scaled = frame.assign(**{f"prob_{name}": prob[:, k] for k, name in enumerate(classes)})
    bins = tally(scaled, classes).bins.sum(axis=0)
    return {"ece": float(expected_calibration_error(bins)), "kl": float(kl_rows(target, prob).mean())}


def write_calibration(folder: Path, calibration: dict[str, Any]) -> None:
    """Write calibration.json into a model's folder, whole or not at all."""
    with atomic_file(folder / CALIBRATION) as file:
        file.write((json.dumps(calibration, indent=1, sort_keys=True, allow_nan=False) + "\n").encode())


def summary(calibration: dict[str, Any]) -> str:
    """Return the calibration in one line, for a terminal."""
    if calibration.get("decisions"):
        chosen = ", ".join(
            f"{c} {d:.2f}" for c, d in zip(calibration["classes"], calibration["decisions"], strict=True)
        )
        return (
            f"temperature {calibration['temperature']:.3f}; on other patients, loss "
            f"{calibration['before']['loss']:.3f} -> {calibration['after']['loss']:.3f}; thresholds {chosen}"
        )
    before, below = calibration["before"], calibration["abstain_below"]
    fits = "; ".join(
        f"fitted to {kind}: ECE {before['ece']:.3f} -> {after['ece']:.3f}, KL {before['kl']:.3f} -> {after['kl']:.3f}"
        for kind, after in calibration["after"].items()
    )
    abstains = "never confident enough" if below is None else f"abstains below a confidence of {below:.2f}"
    return (
        f"temperature {calibration['temperature']:.3f}, fitted to {calibration['fitted_to']}; on other patients, "
        f"{fits}; {abstains}, which answers "
        f"{calibration['abstention']['coverage']:.0%} with at most {calibration['abstention']['risk']:.0%} mistakes"
    )


def calibrate(given: argparse.Namespace) -> None:
    """Calibrate a model's folder from a predictions file."""
    folder = check_model_dir(given.model)
    predictions = read_predictions(given.predictions)
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    if config.get("task") != predictions.task:
        raise ValueError(
            f"{folder} was made for task {config.get('task')!r}, the predictions are of {predictions.task!r}"
        )
    calibration = calibration_of(predictions, given.of, fit_to=given.fit_to, alpha=given.alpha, risk=given.risk)
    write_calibration(folder, {**calibration, "predictions_sha256": file_sha256(given.predictions)})
    if given.json:
        print_json(calibration)
    else:
        print(summary(calibration))  # noqa: T201


def _share(text: str) -> float:
    value = float(text)
    if not 0 < value < 1:
        raise argparse.ArgumentTypeError(f"{text} must lie between 0 and 1")
    return value


def main(argv: Sequence[str] | None = None) -> None:
    """Run from the command line."""
    parser = Parser(prog=PROG, description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--predictions", type=Path, required=True, help="predictions on patients not trained on")
    parser.add_argument("--model", type=Path, required=True, help="folder of the model that gets calibration.json")
    parser.add_argument("--of", default="encoder", help="model of the predictions")
    parser.add_argument(
        "--fit-to", choices=get_args(FitTo), default="votes", help="what the temperature brings nearest: KL, or ECE"
    )
    parser.add_argument("--alpha", type=_share, default=ALPHA, help="share of labels that prediction sets may miss")
    parser.add_argument("--risk", type=_share, default=RISK, help="share of mistakes among the answers that are given")
    add_json(parser, "the calibration, as in calibration.json")
    given = parser.parse_args(sys.argv[1:] if argv is None else argv)
    run_main(PROG, lambda: calibrate(given))


if __name__ == "__main__":
    main()
