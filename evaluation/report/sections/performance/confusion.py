"""Confusion matrix, and the clinically grave confusions apart."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from evaluation.measures.intervals import Estimate, exact_interval
from evaluation.measures.tallies import Tallies
from evaluation.report.context import Context
from evaluation.report.drawing.blocks import Block, Heading, Text
from evaluation.report.drawing.tables import Cell, Row, Table, count, estimate, words
from evaluation.report.drawing.wording import Facts, interval
from evaluation.report.sections.section import CLINICAL, Section

_GRAVE = ("Confusion", "Windows", "Share of the label", "Patients affected", "Share of patients")


def facts(context: Context) -> Mapping[str, Any]:
    """Return the main model's confusion matrix."""
    return {"confusion": confusion_facts(context.tallied[context.model], context.task.grave)}


def confusion_facts(tallies: Tallies, grave: Sequence[tuple[str, str]]) -> dict[str, Any]:
    """Return counts (rows the label), row shares, and the grave confusions with how often they happened."""
    counts = tallies.confusion.sum(axis=0)
    index = {name: i for i, name in enumerate(tallies.classes)}
    totals = counts.sum(axis=1, keepdims=True)
    shares = np.divide(counts, totals, out=np.full(counts.shape, np.nan), where=totals > 0)
    return {
        "classes": tallies.classes,
        "counts": counts,
        "row_shares": shares,
        "grave": [
            {
                "true": true,
                "predicted": predicted,
                "n_windows": counts[index[true], index[predicted]],
                "share_of_true": shares[index[true], index[predicted]],
                "reason": "" if totals[index[true], 0] > 0 else "the class does not occur among the labels",
                **_patients(tallies.confusion[:, index[true]], index[predicted]),
            }
            for true, predicted in grave
        ],
    }


def _patients(of_label: np.ndarray, predicted: int) -> dict[str, Any]:
    """Return how many patients with the label had the confusion, exactly; `of_label` has shape (n_subjects, K)."""
    having = of_label.sum(axis=1) > 0
    n, affected = int(having.sum()), int((of_label[having, predicted] > 0).sum())
    low, high = exact_interval(affected, n)
    share = affected / n if n else float("nan")
    return {"n_subjects": n, "n_affected": affected, "affected": Estimate(share, low, high, "" if n else "no patients")}


def render(facts: Facts) -> Sequence[Block]:
    """Return the confusion matrix and, apart, the grave confusions with their intervals."""
    known = facts["models"][facts["main_model"]]["metrics"]
    grave = facts["confusion"]["grave"]
    blocks = matrix_blocks(facts["confusion"], name="confusion-matrix")
    if not grave:
        return blocks
    rows = tuple(
        Row(
            cells=(
                words(f"{g['true']} predicted as {g['predicted']}"),
                count(g["n_windows"]),
                estimate(known[_pair(g)]),
                words(f"{g['n_affected']:,} of {g['n_subjects']:,}"),
                estimate(g["affected"], percent=True),
            )
        )
        for g in grave
    )
    return [
        *blocks,
        Heading("Grave confusions"),
        Table(name="grave-confusions", columns=_GRAVE, rows=rows),
        Text("A patient is affected by one window or more; shares of patients are exact (Clopper-Pearson).", "note"),
        Text(
            f"Together {interval(known['grave_rate'], 3)} of all windows. With a grave mistake counted as five ordinary ones, the mean cost is "
            f"{interval(known['grave_cost'], 3)} per window, where a perfect model costs 0; the weight ranks models and is no clinical estimate."
        ),
    ]


def _pair(grave: Mapping[str, Any]) -> str:
    return f"grave[{grave['true']} > {grave['predicted']}]"


def matrix_blocks(confusion: Mapping[str, Any], *, name: str) -> list[Block]:
    """Return the matrix with its key: shares of each label's windows, shaded; grave confusions outlined."""
    grave = {(pair["true"], pair["predicted"]) for pair in confusion["grave"]}
    classes = confusion["classes"]
    rows = tuple(
        Row(cells=(words(true), *(_cell(confusion, i, j, grave) for j in range(len(classes)))))
        for i, true in enumerate(classes)
    )
    blocks: list[Block] = [
        Table(name=name, columns=("Label ↓ Predicted →", *classes), rows=rows, matrix=True),
        Text("Rows add up to 100% of a label’s windows; counts below.", "note"),
    ]
    return [*blocks, Text("Outlined in red: clinically grave confusions.", "note")] if grave else blocks


def _cell(confusion: Mapping[str, Any], i: int, j: int, grave: set[tuple[str, str]]) -> Cell:
    true, predicted = confusion["classes"][i], confusion["classes"][j]
    share, n_windows = confusion["row_shares"][i][j], confusion["counts"][i][j]
    return Cell(
        text="–" if share is None else f"{share:.0%}",
        below=f"{n_windows:,.0f}",
        numbers=(share,),
        shade=share or 0.0,
        marked=(true, predicted) in grave,
        hover=f"labelled {true}, predicted {predicted}: {n_windows:g} windows",
    )


SECTION = Section(name="confusion-matrix", title="Confusion matrix", part=CLINICAL, facts=facts, render=render)
