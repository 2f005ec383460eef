"""Two models over one archive: how often they agree, and which is better where labels exist.

    cerebeam compare --champion ANSWERS --challenger ANSWERS [--labels SHARDS]

ANSWERS are folders of `cerebeam archive`. Intervals are over people, and paired: both models are scored on the same
resamples of the same windows. Labels are those of a shard set of the same recordings; each goes to the answered window
that begins nearest, within half a hop.
"""

import json
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq

from evaluation.measures.bootstrap import Difference, differences, draws, resamples
from evaluation.measures.intervals import Estimate, share_interval
from evaluation.measures.tallies import tally
from signals.command_line import Parser

N_BOOT = 2000
SHOWN = ("kl", "balanced_accuracy", "accuracy", "log_loss", "ece")


@dataclass(frozen=True, kw_only=True)
class Answers:
    """What one model answered for an archive."""

    frame: pd.DataFrame
    model: str
    digest: str
    classes: tuple[str, ...]
    hop_s: float


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """Champion and challenger on the windows that both answered."""

    champion: str
    challenger: str
    """Names and first digits of the digests."""
    n_windows: int
    n_only_one: int
    """Windows that one of the two did not answer."""
    n_subjects: int
    agreement: Estimate
    """Share of windows of the same class."""
    changes: dict[str, int]
    """Windows by "champion's class > challenger's", the most frequent first."""
    n_labelled: int
    metrics: dict[str, Difference]
    """Challenger minus champion, over people; empty without labels."""


def read_answers(folder: Path) -> Answers:
    """Return the answers in a folder of `cerebeam archive`; raises ValueError in one line for anything else."""
    if not (folder / "_COMPLETED").is_file() or not (folder / "scores.json").is_file():
        raise ValueError(f"{folder} does not hold the finished answers of an archive")
    about = json.loads((folder / "scores.json").read_text(encoding="utf-8"))
    tables = [pq.ParquetFile(folder / part["name"]).read().to_pandas() for part in about["parts"]]
    return Answers(
        frame=pd.concat(tables, ignore_index=True), model=about["model"], digest=about["model_digest"],
        classes=tuple(about["classes"]), hop_s=float(about["hop_s"]),
    )  # fmt: skip


def read_labels(shards: Path, classes: Sequence[str]) -> pd.DataFrame:
    """Return recording_id, label_start_s, label and target_<class> of a shard set's labelled windows.

    Raises ValueError where there is none of these classes.
    """
    paths = sorted(shards.glob("site=*/*.index.parquet"))
    columns = ["recording_id", "start_s", "label", "votes"]
    tables = [pq.ParquetFile(path).read(columns).to_pandas() for path in paths]
    frame = pd.concat(tables, ignore_index=True) if tables else pd.DataFrame(columns=columns)
    frame = frame[frame["label"].isin(classes)].reset_index(drop=True)
    if frame.empty:
        raise ValueError(f"{shards} holds no window that is labelled with one of {', '.join(classes)}")
    targets = np.array([_target(*row, classes) for row in zip(frame["label"], frame["votes"], strict=True)])
    named = pd.DataFrame(targets, columns=[f"target_{name}" for name in classes])
    return pd.concat([frame[["recording_id", "label"]], frame["start_s"].rename("label_start_s"), named], axis=1)


def _target(label: str, votes: Sequence[float], classes: Sequence[str]) -> np.ndarray:
    counts = np.asarray(votes, dtype=np.float64)
    if len(counts) == len(classes) and counts.sum() > 0:
        return counts / counts.sum()
    return np.array([float(name == label) for name in classes])


def compare(
    champion: Answers, challenger: Answers, labels: pd.DataFrame | None = None, *, seed: int = 0, n_boot: int = N_BOOT
) -> Comparison:
    """Return how two models compare; raises ValueError for different classes, and where no window is in both."""
    if champion.classes != challenger.classes:
        raise ValueError(f"the models answer different classes: {champion.classes} and {challenger.classes}")
    keys = set(champion.frame["window_key"]) & set(challenger.frame["window_key"])
    if not keys:
        raise ValueError("no window was answered by both: score one archive at one hop with either bundle")
    first, second = (_of(one.frame, keys) for one in (champion, challenger))
    metrics, n_labelled = dict[str, Difference](), 0
    if labels is not None:
        placed = _placed(first, labels, champion.hop_s)
        n_labelled = len(placed)
        if n_labelled:
            ours, theirs = (
                tally(placed.merge(frame[["window_key", *_probs(champion.classes)]], on="window_key"), champion.classes)
                for frame in (second, first)
            )
            drawn = [draws(each, n_boot=n_boot, seed=seed) for each in (ours, theirs)]
            metrics = {
                name: d for name, d in differences((ours, drawn[0]), (theirs, drawn[1])).items() if name in SHOWN
            }
    pairs = first["predicted_class"] + " > " + second["predicted_class"]
    changed = pairs[(first["predicted_class"] != second["predicted_class"]).to_numpy()].value_counts()
    return Comparison(
        champion=f"{champion.model} {champion.digest[:12]}", challenger=f"{challenger.model} {challenger.digest[:12]}",
        n_windows=len(first), n_only_one=len(champion.frame) + len(challenger.frame) - 2 * len(first),
        n_subjects=first["subject_id"].nunique(), agreement=_agreement(first, second, seed=seed, n_boot=n_boot),
        changes={str(name): int(n) for name, n in changed.items()}, n_labelled=n_labelled, metrics=metrics,
    )  # fmt: skip


def _probs(classes: Sequence[str]) -> list[str]:
    return [f"prob_{name}" for name in classes]


def _of(frame: pd.DataFrame, keys: set[str]) -> pd.DataFrame:
    return frame[frame["window_key"].isin(keys)].sort_values("window_key").reset_index(drop=True)


def _placed(answers: pd.DataFrame, labels: pd.DataFrame, hop_s: float) -> pd.DataFrame:
    """Return each label with the window that begins nearest, within half a hop; a window takes its nearest label."""
    near = pd.merge_asof(
        labels.sort_values("label_start_s"),
        answers[["recording_id", "subject_id", "window_key", "start_s"]].sort_values("start_s"),
        left_on="label_start_s", right_on="start_s", by="recording_id", direction="nearest", tolerance=hop_s / 2 + 1e-6,
    ).dropna(subset=["window_key"])  # fmt: skip
    near = near.assign(away=(near["label_start_s"] - near["start_s"]).abs()).sort_values("away", kind="stable")
    return near.drop_duplicates("window_key").sort_values("window_key").reset_index(drop=True)


def _agreement(first: pd.DataFrame, second: pd.DataFrame, *, seed: int, n_boot: int) -> Estimate:
    same = (first["predicted_class"] == second["predicted_class"]).to_numpy(dtype=np.float64)
    people, codes = np.unique(first["subject_id"].to_numpy(dtype=str), return_inverse=True)
    if len(people) < 2:
        return Estimate(float(same.mean()), float("nan"), float("nan"), "one subject: no interval over people")
    sums, counts = np.bincount(codes, weights=same), np.bincount(codes)
    drawn = np.concatenate([
        (w @ sums) / (w @ counts) for w in resamples(len(people), n_boot=n_boot, seed=seed)
    ])  # fmt: skip
    return Estimate(float(same.mean()), *share_interval(float(same.mean()), drawn, n_units=len(people)))


def describe(found: Comparison) -> str:
    """Return a comparison as lines for a terminal."""
    agreement = found.agreement
    lines = [
        f"champion    {found.champion}",
        f"challenger  {found.challenger}",
        f"windows     {found.n_windows} of {found.n_subjects} people, {found.n_only_one} answered by one alone",
        f"same class  {agreement.value:.4f} [{agreement.low:.4f}, {agreement.high:.4f}]",
        *(f"  {n:6d}  {name}" for name, n in list(found.changes.items())[:8]),
    ]
    if found.metrics:
        lines.append(f"labelled    {found.n_labelled} windows; challenger minus champion, 95% over people")
        lines += [
            f"  {name:<18} {d.value:+.4f} [{d.low:+.4f}, {d.high:+.4f}]  p {d.p_value:.3g}"
            for name, d in found.metrics.items()
        ]
    return "\n".join([*lines, "Research use only. Not a medical device."])


def main(argv: Sequence[str] | None = None) -> int:
    """Run from the command line; returns 0, or 2 with one line on standard error."""
    parser = Parser(prog="cerebeam compare", description="two models over one archive")
    parser.add_argument("--champion", type=Path, required=True, help="answers of cerebeam archive")
    parser.add_argument("--challenger", type=Path, required=True, help="answers to the same archive")
    parser.add_argument("--labels", type=Path, help="shard set of the same recordings, with labelled windows")
    parser.add_argument("--seed", type=int, default=0, help="of the resamples")
    parser.add_argument("--json", action="store_true", help="one JSON object")
    args = parser.parse_args(argv)
    try:
        champion, challenger = read_answers(args.champion), read_answers(args.challenger)
        labels = None if args.labels is None else read_labels(args.labels, champion.classes)
        found = compare(champion, challenger, labels, seed=args.seed)
    except (ValueError, OSError) as error:
        print(f"cerebeam compare: {error}", file=sys.stderr)  # noqa: T201
        return 2
    print(json.dumps(asdict(found)) if args.json else describe(found))  # noqa: T201
    return 0


if __name__ == "__main__":
    sys.exit(main())
