"""The report of a multi-label task: macro AUROC by model, each class with its support, each site for itself."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from html import escape
from pathlib import Path
from typing import Any

import numpy as np

from evaluation.audit.leaks import fold_findings
from evaluation.measures.multilabel import Scores, cross_decided, scores_of, shown
from evaluation.report.files import FACTS, PAGE
from evaluation.schemas.predictions import Predictions, probabilities, targets
from signals.files import atomic_file
from signals.pages.page import document, key_values, table

_FOLDS = 5
_NOTE = (
    "AUROC with 95% intervals over people. A class that every window has, or none, is undefined and in no mean. F1 is at "
    "thresholds that other people fitted. Research use only; not a medical device."
)


def write_statements(
    predictions: Predictions, output: Path, *, title: str, n_boot: int, seed: int, provenance: Mapping[str, Any],
    stress: Predictions | None = None,
) -> dict[str, Any]:  # fmt: skip
    """Write page and facts of multi-label predictions, and of what disturbances do to them (a stress file), into a
    folder, each atomically; return the facts."""
    disturbed = [] if stress is None else disturbed_scores(stress, n_boot=n_boot, seed=seed)
    scores = {name: _scored(predictions, name, n_boot=n_boot, seed=seed) for name in predictions.models}
    findings = [
        {"severity": finding.severity, "code": finding.code, "message": finding.message}
        for finding in fold_findings(predictions, predictions.frame)
    ]
    facts = _finite(
        {
            "task": predictions.task,
            "classes": list(predictions.classes),
            "models": {name: {"all": asdict(whole), "f1": f1} for name, (whole, f1, _) in scores.items()},
            "sites": {name: {s: asdict(one) for s, one in sites.items()} for name, (_, _, sites) in scores.items()},
            "stress": [asdict(one) for one in disturbed],
            "audit": {
                "passed": not any(finding["severity"] == "error" for finding in findings), "findings": findings,
            },
            "provenance": dict(provenance),
        }
    )  # fmt: skip
    body = _page(scores, disturbed, findings, provenance)
    for name, text in ((FACTS, json.dumps(facts, indent=1, allow_nan=False)), (PAGE, document(body, title=title))):
        with atomic_file(output / name) as file:
            file.write(text.encode())
    return dict(facts)


@dataclass(frozen=True, kw_only=True)
class Disturbed:
    """One model at one level of one disturbance."""

    model: str
    stress: str
    level: float
    name: str
    """The level as people read it."""
    n_refused: int
    """Windows without an answer; the scores are of the others."""
    scores: Scores


def disturbed_scores(stress: Predictions, *, n_boot: int, seed: int) -> list[Disturbed]:
    """Return the scores of a stress file's windows that were answered, by model, disturbance and level."""
    found, classes = [], stress.classes
    for (model, name), frame in stress.frame.groupby(["model", "stress"], sort=False):
        whole = len(frame[frame["level"] == 0])
        for level, rows in frame.groupby("level"):
            prob, target = probabilities(rows, classes), targets(rows, classes)
            people = rows["subject_id"].to_numpy(dtype=str)
            scores = scores_of(prob, target, people, classes, n_boot=n_boot, seed=seed)
            known = str(rows["level_name"].iloc[0]) or f"{level:g} {rows['unit'].iloc[0]}".strip()
            found.append(Disturbed(
                model=str(model), stress=str(name), level=float(level), name=known, n_refused=whole - len(rows),
                scores=scores,
            ))  # fmt: skip
    return found


_Scored = tuple[Scores, dict[str, float], dict[str, Scores]]


def _scored(predictions: Predictions, model: str, *, n_boot: int, seed: int) -> _Scored:
    """Return the scores of all windows, F1 by class, and the scores of each site."""
    frame, classes = predictions.of(model), predictions.classes
    prob, target = probabilities(frame, classes), targets(frame, classes)
    subjects, sites = frame["subject_id"].to_numpy(dtype=str), frame["site_id"].to_numpy(dtype=str)
    whole = scores_of(prob, target, subjects, classes, n_boot=n_boot, seed=seed)
    f1 = cross_decided(prob, target, subjects, n_folds=_FOLDS, seed=seed)
    by_site = {}
    for site in np.unique(sites):
        at = sites == site
        by_site[str(site)] = scores_of(prob[at], target[at], subjects[at], classes, n_boot=n_boot, seed=seed)
    return whole, dict(zip(classes, f1.tolist(), strict=True)), by_site


def _page(
    scores: Mapping[str, _Scored], disturbed: Sequence[Disturbed], findings: Sequence[Mapping[str, str]],
    provenance: Mapping[str, Any],
) -> str:  # fmt: skip
    first, _, _ = next(iter(scores.values()))
    models = table(
        ["Model", "Macro AUROC", "Macro AUPRC", "Windows", "People"],
        [
            _row([name, shown(s.macro_auroc), f"{s.macro_auprc:.3f}", str(s.n_windows), str(s.n_subjects)])
            for name, (s, _, _) in scores.items()
        ],
    )
    classes = table(
        ["Class", "Windows with it", "People with it", *(f"{name}: AUROC, AUPRC, F1" for name in scores)],
        [
            _row(
                [one.name, f"{one.n_positive} of {first.n_windows}", str(one.n_subjects)]
                + [
                    f"{shown(s.classes[k].auroc)}, {s.classes[k].auprc:.3f}, {f1[one.name]:.3f}"
                    for s, f1, _ in scores.values()
                ]
            )
            for k, one in enumerate(first.classes)
        ],
    )
    sites = table(
        ["Site", *scores],
        [
            _row([site, *(shown(of_model[site].macro_auroc) for _, _, of_model in scores.values())])
            for site in next(iter(scores.values()))[2]
        ],
    )
    audit = "".join(
        f"<li><b class={escape(f['severity'])}>{escape(f['severity'])}</b>{escape(f['message'])}</li>" for f in findings
    )
    levels = table(
        ["Model", "Disturbance", "Level", "Macro AUROC", "Windows", "Refused"],
        [
            _row([d.model, d.stress, d.name, shown(d.scores.macro_auroc), str(d.scores.n_windows), str(d.n_refused)])
            for d in disturbed
        ],
    )
    return (
        f"<p class=note>{_NOTE}</p><h2>Models</h2>{models}<h2>Classes</h2>{classes}<h2>Sites left out</h2>{sites}"
        f"{f'<h2>Disturbances</h2>{levels}' if disturbed else ''}"
        f"<h2>Leak audit</h2><ul class=findings>{audit}</ul><h2>Provenance</h2>{key_values(provenance)}"
    )


def _row(cells: Sequence[str]) -> str:
    return f"<tr>{''.join(f'<td>{escape(cell)}</td>' for cell in cells)}</tr>"


def _finite(value: Any) -> Any:
    """Return nested values with None for numbers that are not finite, as JSON has none."""
    if isinstance(value, Mapping):
        return {key: _finite(each) for key, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(each) for each in value]
    return None if isinstance(value, float) and not np.isfinite(value) else value
