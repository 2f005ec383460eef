"""A study's predictions as a table: each model beside the best trivial one, with what it cost."""

import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from evaluation.audit.audit import unknown_subjects
from evaluation.audit.confounds import confound_findings
from evaluation.audit.exposure import exposure
from evaluation.measures.intervals import Estimate
from evaluation.scenarios.transfer import TransferDifference, TransferRow, seeds_of, transfer_table
from evaluation.schemas.predictions import Predictions
from studies.baselines.candidates import METHODS, TRIVIAL

COLUMNS = ("balanced_accuracy", "auroc_macro", "kl")
HEADINGS = ("balanced accuracy", "AUROC", "KL, nats")


@dataclass(frozen=True, kw_only=True)
class FairRow:
    """One model, all its seeds together."""

    model: str
    n_seeds: int
    metrics: dict[str, Estimate]
    """By `COLUMNS`; the interval resamples people."""
    seed_sd: dict[str, float]
    less_floor: dict[str, Estimate]
    """Paired difference from the best trivial model, by `COLUMNS`; empty for that model."""
    less_best: dict[str, Estimate]
    """Paired difference from the model of lowest KL, by `COLUMNS`; empty for that model."""
    n_parameters: int | None
    n_learnt: int | None
    seconds: float
    """Of one seed's fits and predictions over all folds, tuning included for the first, by the clock."""
    cpu_seconds: float
    device: str
    exposure: str
    """What its pretraining had seen of the test data (`evaluation.audit.exposure`); empty where it had none."""


@dataclass(frozen=True, kw_only=True)
class FairTable:
    """The whole table, and where it comes from."""

    task: str
    classes: tuple[str, ...]
    n_windows: int
    n_units: int
    units: str
    """"people", or "segments" where people are not known."""
    n_sites: int
    grouping: str
    n_folds: int
    floor: str
    """The trivial model of lower KL: what others are compared with."""
    best: str
    """The model of lowest KL, chosen by these very windows: that others are level with it says more than its lead."""
    rows: tuple[FairRow, ...]
    confounds: tuple[str, ...]
    """What else the labels can be read from."""
    command: str
    commit: str
    date: str


def fair_table(predictions: Predictions, *, n_boot: int, seed: int = 0) -> FairTable:
    """Return the table of a study's predictions; raises ValueError without a trivial model among them."""
    clustered, units = by_unit(predictions)
    ways = seeds_of(clustered.models)
    trivial = [name for name in TRIVIAL if name in ways]
    if not trivial:
        raise ValueError(f"the table needs a floor: give one of {', '.join(TRIVIAL)} among the models")
    rows, _ = transfer_table(clustered, reference=trivial[0], n_boot=n_boot, seed=seed)
    floor = min((row for row in rows if row.model in trivial), key=lambda row: row.metrics["kl"].value).model
    best = min(rows, key=lambda row: row.metrics["kl"].value).model
    gaps = {name: transfer_table(clustered, reference=name, n_boot=n_boot, seed=seed)[1] for name in (floor, best)}
    frame, meta = clustered.frame, predictions.meta
    return FairTable(
        task=predictions.task, classes=predictions.classes, n_windows=frame["window_key"].nunique(),
        n_units=frame["subject_id"].nunique(), units=units, n_sites=frame["site_id"].nunique(),
        grouping=str(meta.get("grouping", "")), n_folds=len(meta.get("folds", ())), floor=floor, best=best,
        rows=tuple(_fair_row(predictions, row, ways[row.model], gaps[floor], gaps[best]) for row in rows),
        confounds=tuple(finding.message for finding in confound_findings(predictions.of(predictions.models[0]))),
        command=str(meta.get("command", "")), commit=commit(), date=f"{datetime.now(UTC):%Y-%m-%d}",
    )  # fmt: skip


def by_unit(predictions: Predictions) -> tuple[Predictions, str]:
    """Return predictions whose subjects are what is resampled, and its name: segments where people are not known."""
    nameless = unknown_subjects(predictions, predictions.frame)
    if not nameless.any():
        return predictions, "people"
    subjects = predictions.frame["subject_id"].where(~nameless, predictions.frame["window_key"])
    return replace(predictions, frame=predictions.frame.assign(subject_id=subjects)), "segments"


def _fair_row(
    predictions: Predictions,
    row: TransferRow,
    names: list[str],
    from_floor: list[TransferDifference],
    from_best: list[TransferDifference],
) -> FairRow:
    known: list[Mapping[str, Any]] = [predictions.meta.get("models", {}).get(name, {}) for name in names]
    first, needs = known[0], row.model in METHODS and METHODS[row.model].needs_encoder
    seen = exposure(predictions.of(names[0]), predictions.origin).status if needs else ""
    return FairRow(
        model=row.model, n_seeds=row.n_seeds, metrics={name: row.metrics[name] for name in COLUMNS},
        seed_sd={name: row.seed_sd[name] for name in COLUMNS},
        less_floor=_of(row.model, from_floor), less_best=_of(row.model, from_best),
        n_parameters=first.get("n_parameters"), n_learnt=first.get("n_learnt"),
        seconds=sum(one.get("seconds", 0.0) for one in known) / len(known),
        cpu_seconds=sum(one.get("cpu_seconds", 0.0) for one in known) / len(known),
        device=str(first.get("device", "")), exposure=seen,
    )  # fmt: skip


def _of(model: str, gaps: list[TransferDifference]) -> dict[str, Estimate]:
    mine = (gap for gap in gaps if gap.model == model and gap.metric in COLUMNS)
    return {gap.metric: Estimate(gap.value, gap.low, gap.high, gap.reason) for gap in mine}


def markdown(table: FairTable) -> str:
    """Return the table as Markdown, models in order of KL; seconds are the processor's."""
    lines = [
        f"{table.task} ({', '.join(table.classes)}): {table.n_windows} windows, {table.n_units} {table.units}, "
        f"{table.n_sites} sites; {table.n_folds} folds by {table.grouping}. Intervals resample {table.units}; "
        f"differences are paired, from the best trivial model ({table.floor}) and from the best of all ({table.best}).",
        *(f"**Confounded:** {message}" for message in table.confounds),
        f"`{table.command}`; commit {table.commit}, {table.date}.",
    ]
    costs = ("SD of seeds", "parameters (learnt)", "s per seed", "device")
    head = ("model", "seeds", *HEADINGS, "KL less the floor", "KL less the best", *costs)
    rows = [head, ("---",) * len(head)]
    rows += [_cells(row) for row in sorted(table.rows, key=lambda row: row.metrics["kl"].value)]
    return "\n\n".join([*lines, "\n".join(f"| {' | '.join(cells)} |" for cells in rows)]) + "\n"


def _cells(row: FairRow) -> tuple[str, ...]:
    name = f"{row.model} ({row.exposure})" if row.exposure else row.model
    gaps = (_shown(one["kl"], signed=True) if "kl" in one else "0" for one in (row.less_floor, row.less_best))
    spread = f"{row.seed_sd['balanced_accuracy']:.3f}" if row.n_seeds > 1 else "-"
    sizes = "-" if row.n_parameters is None else f"{row.n_parameters:,} ({row.n_learnt:,})"
    shown = (_shown(row.metrics[metric]) for metric in COLUMNS)
    return (name, str(row.n_seeds), *shown, *gaps, spread, sizes, f"{row.cpu_seconds:.0f}", row.device)


def _shown(known: Estimate, *, signed: bool = False) -> str:
    digits = "+.3f" if signed else ".3f"
    return f"{known.value:{digits}} [{known.low:{digits}}, {known.high:{digits}}]"


def commit() -> str:
    """Return the short commit of this code, with "+" where files differ from it; "unknown" outside of a checkout."""
    git = ("git", "-C", str(Path(__file__).parent))
    try:
        known = subprocess.run([*git, "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=True)
        changed = subprocess.run([*git, "status", "--porcelain", "-uno"], capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return known.stdout.strip() + ("+" if changed.stdout.strip() else "")
