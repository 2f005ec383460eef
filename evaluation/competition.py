"""The score of the HMS competition (Harmful Brain Activity Classification, Kaggle 2024) of submissions and predictions.

    python -m evaluation.competition PREDICTIONS.parquet [--output FILE.json]
    python -m evaluation.competition --submission CSV --solution CSV

The score is the mean over rows of KL(votes || answer), the competition's `kullback_leibler_divergence`: answers are
clipped to [1e-15, 1 - 1e-15] and not rescaled; a table whose rows do not sum to 1 is refused. The competition has one
row per EEG, so a recording's windows are one row here: their votes added, their answers averaged.
"""

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from evaluation.measures.bootstrap import resamples
from evaluation.measures.intervals import ONE_SUBJECT, POSITIVE, t_interval
from evaluation.measures.metrics import kl_rows
from evaluation.schemas.predictions import Predictions, probabilities, read_predictions, targets
from signals.command_line import Parser
from signals.files import atomic_file
from signals.json_output import add_json, plain, print_json
from signals.tasks import SIX_CLASS

ROW_ID = "eeg_id"
MANY_VOTES = 10
"""The competition's test EEGs have at least so many votes each; EEGs with fewer look different."""
_N_BOOT = 2000


class SubmissionError(ValueError):
    """A table that the competition would refuse; the message names the row."""


def score(solution: pd.DataFrame, submission: pd.DataFrame, *, row_id: str = ROW_ID) -> float:
    """Return the competition's score of a submission in nats, lower is better.

    Both tables have a column `row_id` and the task's vote columns, in any order; rows are matched by `row_id`. Raises
    SubmissionError for what the competition refuses: missing columns, rows that are missing, unknown or repeated,
    values outside of [0, 1], rows that do not sum to 1.
    """
    target, prob = _checked(solution, "solution", row_id), _checked(submission, "submission", row_id)
    if missing := sorted(set(target.index) - set(prob.index)):
        raise SubmissionError(f"submission is missing {row_id} {missing[0]}, and {len(missing) - 1} more")
    if unknown := sorted(set(prob.index) - set(target.index)):
        raise SubmissionError(f"submission has {row_id} {unknown[0]}, which is not in the solution")
    return float(kl_rows(target.to_numpy(), prob.loc[target.index].to_numpy()).mean())


def _checked(table: pd.DataFrame, name: str, row_id: str) -> pd.DataFrame:
    """Return the vote columns in class order, indexed by row id as text."""
    columns = [row_id, *SIX_CLASS.vote_columns]
    if missing := [column for column in columns if column not in table.columns]:
        raise SubmissionError(f"{name} is missing the columns {', '.join(missing)}")
    ids = table[row_id].astype(str)
    if ids.duplicated().any():
        raise SubmissionError(f"{name} has {row_id} {ids[ids.duplicated()].iloc[0]} more than once")
    try:
        values = table[list(SIX_CLASS.vote_columns)].astype(np.float64).set_axis(ids, axis=0)
    except (TypeError, ValueError) as error:
        raise SubmissionError(f"{name} holds what is no number: {error}") from None
    outside = ~((values >= 0) & (values <= 1)).all(axis=1)
    if outside.any():
        raise SubmissionError(f"{name} of {row_id} {values.index[outside][0]} has a value outside of [0, 1]")
    off = ~np.isclose(values.sum(axis=1), 1.0)
    if off.any():
        total = values[off].sum(axis=1).iloc[0]
        raise SubmissionError(f"{name} of {row_id} {values.index[off][0]} sums to {total:.6g}, not to 1")
    return values


def by_recording(frame: pd.DataFrame, classes: tuple[str, ...]) -> pd.DataFrame:
    """Return one row a recording from one model's rows: votes added, answers averaged.

    Columns: recording_id, subject_id, most_votes (of one window, 0 without votes), target_<class>, prob_<class>. A
    window without a count of votes weighs as one.
    """
    n_votes = frame["n_votes"].to_numpy(dtype=np.float64) if "n_votes" in frame else np.zeros(len(frame))
    votes = targets(frame, classes) * np.maximum(n_votes, 1.0)[:, None]
    rows = frame[["recording_id", "subject_id"]].assign(
        most_votes=n_votes,
        **{f"target_{name}": votes[:, k] for k, name in enumerate(classes)},
        **{f"prob_{name}": frame[f"prob_{name}"] for name in classes},
    )
    how = {column: "sum" if column.startswith("target_") else "mean" for column in rows.columns[3:]}
    joined = rows.groupby("recording_id", sort=True).agg({"subject_id": "first", "most_votes": "max", **how})
    shares = [f"target_{name}" for name in classes]
    joined[shares] = joined[shares].div(joined[shares].sum(axis=1), axis=0)
    return joined.reset_index()


@dataclass(frozen=True, kw_only=True)
class CompetitionScore:
    """One model's score over a group of recordings."""

    model: str
    group: str
    """"all", or "10 votes" for recordings with a window of at least so many."""
    n_recordings: int
    n_patients: int
    kl: float
    low: float
    high: float
    """95% interval, patients drawn with replacement."""
    remark: str = ""


def competition_scores(predictions: Predictions, *, seed: int = 0) -> list[CompetitionScore]:
    """Return the scores of every model, over all recordings and over those of many votes where there are any."""
    scores = []
    for model in predictions.models:
        joined = by_recording(predictions.of(model), predictions.classes)
        many = joined[joined["most_votes"] >= MANY_VOTES]
        scores += [
            _score_of(model, group, rows, predictions.classes, seed=seed)
            for group, rows in (("all", joined), (f"{MANY_VOTES} votes", many))
            if len(rows)
        ]
    return scores


def _score_of(model: str, group: str, rows: pd.DataFrame, classes: tuple[str, ...], *, seed: int) -> CompetitionScore:
    kl = kl_rows(targets(rows, classes), probabilities(rows, classes))
    patients, code = np.unique(rows["subject_id"], return_inverse=True)
    sums, counts = np.bincount(code, weights=kl), np.bincount(code)
    low, high, remark = float("nan"), float("nan"), ONE_SUBJECT
    if len(patients) > 1:
        parts = [(w @ sums) / (w @ counts) for w in resamples(len(patients), n_boot=_N_BOOT, seed=seed)]
        low, high, remark = t_interval(float(kl.mean()), np.concatenate(parts), n_units=len(patients), scale=POSITIVE)
    return CompetitionScore(
        model=model, group=group, n_recordings=len(rows), n_patients=len(patients), kl=float(kl.mean()), low=low,
        high=high, remark=remark,
    )  # fmt: skip


def table(scores: Sequence[CompetitionScore]) -> str:
    """Return the scores as lines for a terminal."""
    lines = [f"{'model':<14}{'recordings':<12}{'n':>6}{'patients':>10}{'KL':>8}  95% interval over patients"]
    for row in scores:
        interval = f"[{row.low:.3f}, {row.high:.3f}]" if np.isfinite(row.low) else row.remark
        lines.append(
            f"{row.model:<14}{row.group:<12}{row.n_recordings:>6}{row.n_patients:>10}{row.kl:>8.4f}  {interval}"
        )
    return "\n".join(lines)


def main(argv: Sequence[str] | None = None) -> int:
    """Score from the command line; returns 0, or 2 with one line on standard error."""
    parser = Parser(prog="cerebeam competition", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("predictions", type=Path, nargs="?", help="out-of-fold predictions of six-class windows")
    parser.add_argument("--output", type=Path, help="JSON file for the scores of PREDICTIONS")
    parser.add_argument("--submission", type=Path, help="csv with eeg_id and the six vote columns, to be scored")
    parser.add_argument("--solution", type=Path, help="csv of the same columns with the true shares of votes")
    add_json(parser, "the KL of a submission, or the scores of predictions")
    args = parser.parse_args(argv)
    if bool(args.predictions) == bool(args.submission) or bool(args.submission) != bool(args.solution):
        parser.error("give PREDICTIONS, or --submission with --solution")
    try:
        _print_scores(args)
    except (ValueError, OSError) as error:
        print(f"{parser.prog}: {str(error).splitlines()[0]}", file=sys.stderr)  # noqa: T201
        return 2
    return 0


def _print_scores(args: argparse.Namespace) -> None:
    if args.submission:
        kl = score(pd.read_csv(args.solution), pd.read_csv(args.submission))
        if args.json:
            print_json({"kl": kl})
        else:
            print(f"KL {kl:.6f}")  # noqa: T201
        return
    predictions = read_predictions(args.predictions)
    if predictions.classes != SIX_CLASS.classes:
        raise ValueError(f"{args.predictions} is of task {predictions.task!r}; the competition's is {SIX_CLASS.name!r}")
    scores = competition_scores(predictions)
    if args.output:
        with atomic_file(args.output) as file:
            file.write((json.dumps({"scores": plain(scores)}, indent=1) + "\n").encode())
    if args.json:
        print_json({"scores": scores})
    else:
        print(table(scores))  # noqa: T201


if __name__ == "__main__":
    sys.exit(main())
