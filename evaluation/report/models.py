"""Models side by side, people, folds, confusions and classes."""

from collections.abc import Mapping
from html import escape
from typing import Any

from evaluation.report.figures import confusion_table, dot_plot
from evaluation.report.text import MODEL_NOTES, NAMES, Facts, cell, head, interval, p_text, size
from signals.pages.page import table
from signals.pages.svg import number


def models_section(facts: Facts) -> str:
    """Return all models side by side, and their paired differences."""
    wanted = [m for m in NAMES if not m.startswith("grave") or facts["task"]["grave"]]
    chunks = [wanted[:5], wanted[5:]]
    tables = []
    for chunk in chunks:
        rows = [
            f'<tr{" class=main" if name == facts["main_model"] else ""}><td>{escape(name)}<small>{MODEL_NOTES.get(name, "")}</small></td>'
            + "".join(cell(entry["metrics"][m]) for m in chunk) + "</tr>"
            for name, entry in facts["models"].items()
        ]  # fmt: skip
        tables.append(table(["Model", *head(chunk)], rows))
    gaps = [
        f"<tr><td>{escape(r['first'])} − {escape(r['second'])}</td><td>{NAMES[r['metric']]}</td>{cell(r)}"
        f"<td>{p_text(r['p_value']).removeprefix('= ')}</td><td>{p_text(r['p_holm']).removeprefix('= ')}</td></tr>"
        if r["metric"] else f"<tr><td>{escape(r['first'])} − {escape(r['second'])}</td><td colspan=4>{escape(r['reason'])}</td></tr>"
        for r in facts["differences"]
    ]  # fmt: skip
    paired = (
        table(["Difference", "Metric", "Value", "p", "p (Holm)"], gaps)
        if gaps
        else "<p>There is nothing to compare.</p>"
    )
    n_boot = facts["bootstrap"]["n_boot"]
    return (
        f'<h2>Models</h2>{"".join(tables)}<p class="note">↑ higher is better, ↓ lower is better. Intervals: {n_boot:,} resamples of subjects with all '
        f"their windows. Where probabilities tie, each tied class counts in equal shares.</p><h3>Paired differences</h3>{paired}"
        '<p class="note">Both models on the same resamples; p two-sided, corrected for all comparisons of this table (Holm).</p>'
    )


def people_section(facts: Facts) -> str:
    """Return results with one vote a person, where that makes sense."""
    people = facts["subjects"]["models"]
    if not people:
        return ""
    wanted = ("balanced_accuracy", "auroc_macro", "kappa", "brier")
    rows = [
        f'<tr{" class=main" if name == facts["main_model"] else ""}><td>{escape(name)}</td>' + "".join(cell(entry["metrics"][m]) for m in wanted) + "</tr>"
        for name, entry in people.items()
    ]  # fmt: skip
    return (
        "<h2>Person by person</h2><p>Every subject belongs to one class, so here each counts once: probabilities are averaged over "
        f"a subject’s windows ({facts['data']['n_subjects']} subjects).</p>{table(['Model', *head(wanted)], rows)}"
    )


def folds_section(facts: Facts) -> str:
    """Return the result of each trained model."""
    wanted = ("balanced_accuracy", "kl", "auroc_macro")
    rows = [
        f"<tr><td>{escape(r['name'])}{size(r)}</td>{''.join(cell(r['metrics'][m]) for m in wanted)}</tr>"
        for r in facts["folds"]
    ]
    return f"<h2>Fold by fold</h2><p>Each fold is another training.</p>{table(['Fold', *head(wanted)], rows)}"


def confusion_section(facts: Facts) -> str:
    """Return the confusion matrix and, apart, the grave confusions with their intervals."""
    known = facts["models"][facts["main_model"]]["metrics"]
    rows = [
        f"<tr><td>{escape(g['true'])} called {escape(g['predicted'])}</td><td>{g['n_windows']:,.0f}</td>{cell(known[_pair(g)], 3)}</tr>"
        for g in facts["confusion"]["grave"]
    ]
    apart = ""
    if rows:
        apart = (
            f"<h3>Grave confusions</h3>{table(['Confusion', 'Windows', 'Share of the label'], rows)}<p>Together {escape(interval(known['grave_rate'], 3))} of "
            f"all windows. With a grave mistake counted as five others the mean cost is {escape(interval(known['grave_cost'], 3))} a window, where being always "
            "right costs 0; the weight ranks models, it is no clinical estimate.</p>"
        )
    return f"<h2>What is taken for what</h2>{confusion_block(facts['confusion'])}{apart}"


def _pair(grave: Mapping[str, Any]) -> str:
    return f"grave[{grave['true']} > {grave['predicted']}]"


def confusion_block(confusion: Mapping[str, Any]) -> str:
    """Return the matrix with its key."""
    listed = '<p class="note"><span class="key"></span>Clinically grave</p>' if confusion["grave"] else ""
    return (
        confusion_table(confusion)
        + '<p class="note">Rows add up to 100% of a label’s windows; counts below.</p>'
        + listed
    )


def classes_section(facts: Facts) -> str:
    """Return results class by class, with the reliability curve."""
    known, data = facts["models"][facts["main_model"]]["metrics"], facts["data"]
    wanted = ("auroc", "auprc", "recall", "precision")
    classes = facts["task"]["classes"]
    rows = [
        f"<tr><td>{escape(c)}</td><td>{data['class_windows'][c]:,}</td><td>{data['class_subjects'][c]:,}</td>"
        + "".join(cell(known[f"{m}[{c}]"]) if m != "auprc" else f"<td>{number(known[f'{m}[{c}]']['value'], 3)}</td>" for m in wanted) + "</tr>"
        for c in classes
    ]  # fmt: skip
    plot = dot_plot(
        [(c, known[f"auroc[{c}]"]) for c in classes],
        title="AUROC of each class against the rest",
        reference=(0.5, "chance"),
    )
    return (
        f"<h2>Class by class</h2>{table(['Class', 'Windows', 'Subjects', 'AUROC', 'AUPRC', 'Recall', 'Precision'], rows)}"
        '<p class="note">One class against all others. AUPRC of a useless model equals the class’s share of windows; it is not resampled.</p>'
        f"{plot}"
    )
