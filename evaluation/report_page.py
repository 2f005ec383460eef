"""The report as one HTML page, made from facts alone: no network, no script, printable."""

import json
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from evaluation.report_figures import confusion_table, curves_plot, dot_plot, reliability_plot
from signals.page import document, flatten, key_values, table
from signals.svg import number

Facts = Mapping[str, Any]
NAMES = {
    "kl": "KL divergence", "balanced_accuracy": "Balanced accuracy", "kappa": "Cohen’s κ", "weighted_f1": "Weighted F1",
    "auroc_macro": "AUROC (macro)", "auprc_macro": "AUPRC (macro)", "accuracy": "Accuracy", "ece": "ECE",
    "brier": "Brier", "log_loss": "Log loss", "grave_rate": "Grave confusions",
}  # fmt: skip
ARROWS = {"kl": "↓", "ece": "↓", "brier": "↓", "log_loss": "↓", "grave_rate": "↓"}
MODEL_NOTES = {"prior": "always the class shares of its training data", "chance": "equal probabilities"}


def interval(estimate: Mapping[str, Any], digits: int = 2) -> str:
    """Return "0.52 (0.47 to 0.58)", or the value and why there is no interval."""
    if estimate["value"] is None:
        return f"undefined ({estimate['reason']})"
    if estimate["low"] is None:
        return f"{number(estimate['value'], digits)} (no interval: {estimate['reason']})"
    return (
        f"{number(estimate['value'], digits)} ({number(estimate['low'], digits)} to {number(estimate['high'], digits)})"
    )


def cell(estimate: Mapping[str, Any], digits: int = 3) -> str:
    """Return a table cell: value, and below it the interval or the reason for none."""
    value = "–" if estimate["value"] is None else number(estimate["value"], digits)
    if estimate["low"] is not None:
        below = f"{number(estimate['low'], digits)} to {number(estimate['high'], digits)}"
        below += f"; {estimate['reason']}" if estimate["reason"] else ""
    else:
        below = estimate["reason"]
    return f"<td>{value}<small{'' if estimate['low'] is not None and not estimate['reason'] else ' class=why'}>{escape(below)}</small></td>"


def page(facts: Facts, *, title: str) -> str:
    """Return the whole page."""
    sections = [
        summary(facts), audit_section(facts), models_section(facts), people_section(facts), sites_section(facts),
        confusion_section(facts), classes_section(facts), external_section(facts), pretraining_section(facts),
        folds_section(facts), limits_section(facts), repeat_section(facts),
    ]  # fmt: skip
    embedded = json.dumps(facts, ensure_ascii=False).replace("<", "\\u003c")
    data = f'<script type="application/json" id="facts">{embedded}</script>'
    return document("".join(sections) + data, title=title)


def is_votes(facts: Facts) -> bool:
    """Return whether the task's targets are expert votes rather than single labels."""
    return bool(facts["task"]["vote_columns"])


def how_split(facts: Facts) -> str:
    """Return in words who was kept out of training."""
    return {
        "site": "each site was predicted by a model trained on the other sites only",
        "subject": "each subject was predicted by a model trained on other subjects",
    }.get(facts["grouping"], "the file does not say how training and test were separated")


def summary(facts: Facts) -> str:
    """Return the three sentences that a hurried reader takes away."""
    data, model = facts["data"], facts["main_model"]
    ours = facts["models"][model]["metrics"]
    sites = f"{data['n_sites']} sites" if data["n_sites"] != 1 else "one site"
    chance = 1 / len(facts["task"]["classes"])
    first = (
        f"On {data['n_windows']:,} windows of {data['n_subjects']:,} subjects at {sites} ({how_split(facts)}), {model} reached a "
        f"balanced accuracy of <b>{escape(interval(ours['balanced_accuracy']))}</b>; guessing gives {chance:.2f}."
    )
    second = (
        f"Its KL divergence to the {'expert votes' if is_votes(facts) else 'labels'} was <b>{escape(interval(ours['kl']))}</b>, "
        f"its macro AUROC <b>{escape(interval(ours['auroc_macro']))}</b>{_against_prior(facts)}."
    )
    across = facts["across_sites"][model]["balanced_accuracy"]
    if data["n_sites"] > 1 and across["n_sites"] > 1:
        third = f"Across sites balanced accuracy ran from {across['worst']:.2f} ({escape(across['worst_site'])}) to {across['best']:.2f}, {across['mean']:.2f} on average."
    elif data["n_sites"] > 1:
        third = f"Balanced accuracy is defined at {across['n_sites']} of {data['n_sites']} sites, so sites cannot be compared by it."
    else:
        third = "All data come from one site: nothing here says how the model does at another one."
    level = facts["bootstrap"]["level"]
    return (
        f'<p class="sub">{escape(facts["task"]["description"] or facts["task"]["name"])} In brackets: {level:.0%} intervals, patients resampled.</p>'
        f'{_failed(facts)}<p class="lead">{first} {second} {third}</p>'
        '<p class="use"><b>Research use only.</b> This is no medical device and no evidence for treating anyone; '
        "it says nothing about patients, hospitals or equipment other than those counted here.</p>"
    )


def _failed(facts: Facts) -> str:
    if facts["audit"]["verdict"] != "failed":
        return ""
    return '<p class="verdict error">The leak audit failed: the figures of this page must not be used.</p>'


def _against_prior(facts: Facts) -> str:
    rows = [r for r in facts["differences"] if r["second"] == "prior" and r["metric"] == "kl"]
    if not rows or rows[0]["value"] is None:
        return ""
    row = rows[0]
    word = "below" if row["value"] < 0 else "above"
    return f" (KL {abs(row['value']):.2f} {word} the prior-only baseline, p {p_text(row['p_holm'])})"


def p_text(p: float | None) -> str:
    """Return "= 0.03", "< 0.001" or "undefined"."""
    return "undefined" if p is None else "&lt; 0.001" if p < 0.001 else f"= {p:.3f}"


def audit_section(facts: Facts) -> str:
    """Return the verdict and every finding."""
    verdict, findings = facts["audit"]["verdict"], facts["audit"]["findings"]
    bad = " error" if verdict == "failed" else ""
    more = " The figures below must not be used." if bad else ""
    items = "".join(
        f'<li><b class="{f["severity"]}">{f["severity"]}</b>{escape(f["message"])} <code>{escape(f["code"])}</code></li>'
        for f in findings
    )
    return (
        f'<h2>Leak audit</h2><p class="verdict{bad}">The audit {escape(verdict)}.{more}</p>'
        f'<ul class="findings">{items or "<li>Nothing was found.</li>"}</ul><p class="note">Looked for: subjects, recordings or sites on both sides of a '
        "fold, rows outside their fold, test subjects in the pretraining data, sites with one class or one subject, unknown subjects, one person who dominates "
        "or carries the result, a model that is constant, no better than guessing, or tells sites apart instead of classes.</p>"
    )


def _head(metrics: Sequence[str]) -> list[str]:
    return [f"{NAMES[m]} {ARROWS.get(m, '↑')}" for m in metrics]


def models_section(facts: Facts) -> str:
    """Return all models side by side, and their paired differences."""
    wanted = [m for m in NAMES if m != "grave_rate" or facts["task"]["grave"]]
    chunks = [wanted[:5], wanted[5:]]
    tables = []
    for chunk in chunks:
        rows = [
            f'<tr{" class=main" if name == facts["main_model"] else ""}><td>{escape(name)}<small>{MODEL_NOTES.get(name, "")}</small></td>'
            + "".join(cell(entry["metrics"][m]) for m in chunk) + "</tr>"
            for name, entry in facts["models"].items()
        ]  # fmt: skip
        tables.append(table(["Model", *_head(chunk)], rows))
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
        f"a subject’s windows ({facts['data']['n_subjects']} subjects).</p>{table(['Model', *_head(wanted)], rows)}"
    )


def sites_section(facts: Facts) -> str:
    """Return the per-site table, its figure, and the summary over sites."""
    model = facts["main_model"]
    rows, across = facts["sites"][model], facts["across_sites"][model]
    wanted = ("balanced_accuracy", "kl", "kappa", "auroc_macro")
    body = [
        f"<tr><td>{escape(r['name'])}{_size(r)}</td>{''.join(cell(r['metrics'][m]) for m in wanted)}</tr>" for r in rows
    ]
    if len(rows) > 1:
        for label, key in (("mean of sites", "mean"), ("worst site", "worst"), ("spread (best − worst)", "spread")):
            cells = "".join(f"<td>{number(across[m][key], 3)}{_where(across[m], key)}</td>" for m in wanted)
            body.append(f"<tr><td><i>{label}</i></td>{cells}</tr>")
    plots = _site_plots(facts) if len(rows) > 1 else ""
    told = {"site": "Leave-one-site-out: each row is a site that its model never saw in training with labels."}.get(
        facts["grouping"], "Split by subject, not by site: models have met other subjects of the same site."
    )
    return f"<h2>Site by site</h2><p>{told}</p>{table(['Site', *_head(wanted)], body)}{plots}"


def _site_plots(facts: Facts) -> str:
    rows = facts["sites"][facts["main_model"]]
    prior = facts["models"].get("prior", {}).get("metrics", {}).get("kl", {}).get("value")
    chance = (1 / len(facts["task"]["classes"]), "chance")
    by_site = {m: [(r["name"], r["metrics"][m]) for r in rows] for m in ("balanced_accuracy", "kl")}
    plots = dot_plot(by_site["balanced_accuracy"], title="Balanced accuracy by site", reference=chance)
    plots += dot_plot(
        by_site["kl"],
        title="KL divergence by site (lower is better)",
        reference=None if prior is None else (prior, "prior"),
    )
    return f'<div class=pair>{plots}</div><p class="note">Hollow dots have no interval.</p>'


def _size(row: Mapping[str, Any]) -> str:
    return f"<small>{row['n_windows']:,} windows, {row['n_subjects']:,} subject{'s' if row['n_subjects'] != 1 else ''}</small>"


def _where(across: Mapping[str, Any], key: str) -> str:
    return f"<small>{escape(across['worst_site'])}</small>" if key == "worst" and across["worst_site"] else ""


def confusion_section(facts: Facts) -> str:
    """Return the confusion matrix and the list of grave confusions."""
    return "<h2>What is taken for what</h2>" + _confusion(facts["confusion"])


def _confusion(confusion: Mapping[str, Any]) -> str:
    grave = [
        f"<li>{escape(g['true'])} called {escape(g['predicted'])}: {'–' if g['share_of_true'] is None else format(g['share_of_true'], '.0%')} "
        f"of {escape(g['true'])} windows ({g['n_windows']:,.0f}){' – ' + escape(g['reason']) if g['reason'] else ''}</li>"
        for g in confusion["grave"]
    ]
    listed = (
        f'<p class="note"><span class="key"></span>Clinically grave confusions:</p><ul class="note">{"".join(grave)}</ul>'
        if grave
        else ""
    )
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
        f"<h2>Class by class, and calibration</h2>{table(['Class', 'Windows', 'Subjects', 'AUROC', 'AUPRC', 'Recall', 'Precision'], rows)}"
        '<p class="note">One class against all others. AUPRC of a useless model equals the class’s share of windows; it is not resampled.</p>'
        f"<div class=pair>{plot}{reliability_plot(facts['reliability'])}</div><p class=note>Expected calibration error "
        f"{escape(interval(known['ece'], 3))}, 15 bins. Bars in the reliability curve are Wilson intervals over windows, too narrow where one patient gave many.</p>{_conformal(facts)}"
    )


def _conformal(facts: Facts) -> str:
    promised = 1 - facts["conformal"]["alpha"]
    rows = [
        f"<tr><td>{escape(r['name'])}{_size(r)}</td><td>{'–' if r['coverage'] is None else format(r['coverage'], '.1%')}<small class=why>{escape(r['reason'])}</small></td>"
        f"<td>{'–' if r['worst_subject'] is None else format(r['worst_subject'], '.1%')}</td><td>{number(r['set_size'])}</td></tr>"
        for r in facts["conformal"]["folds"]
    ]
    return (
        f"<h3>Sets of classes that promise to hold the label {promised:.0%} of the time</h3>{table(['Fold', 'Held it', 'Worst subject', 'Mean set size'], rows)}"
        '<p class="note">Split conformal prediction, calibrated on the other folds’ predictions. A fold that falls short shows where the promise breaks: '
        "its patients are not like those of the calibration.</p>"
    )


def external_section(facts: Facts) -> str:
    """Return the model on the second, real data set."""
    outside = facts["external"]
    if outside is None:
        return ""
    known, data = outside["models"], outside["data"]
    wanted = ("balanced_accuracy", "kl", "kappa", "auroc_macro", "accuracy")
    rows = [
        f'<tr{" class=main" if name == outside["main_model"] else ""}><td>{escape(name)}</td>' + "".join(cell(entry["metrics"][m]) for m in wanted) + "</tr>"
        for name, entry in known.items()
    ]  # fmt: skip
    weak = ""
    if outside["n_unknown"]:
        weak = (
            f" The patients behind {outside['n_unknown']:,} of these windows are not known, so each segment is resampled as if it were another patient: "
            "if a patient gave several, the intervals are too narrow."
        )
    return (
        f"<h2>Real intensive-care segments</h2><p>The model as it is, applied to {data['n_windows']:,} windows that took no part in training or choice: "
        f"balanced accuracy <b>{escape(interval(known[outside['main_model']]['metrics']['balanced_accuracy']))}</b>, "
        f"where guessing gives {1 / len(facts['task']['classes']):.2f}.{weak}</p>"
        f"{table(['Model', *_head(wanted)], rows)}{_confusion(outside['confusion'])}"
    )


def pretraining_section(facts: Facts) -> str:
    """Return how well masked signal was filled in, and the course of training."""
    scores, history = facts["reconstruction"], facts["history"]
    if not scores and not history:
        return ""
    parts = ["<h2>Pretraining</h2>"]
    if scores:
        overall = next(s for s in scores if s["method"] == "model" and s["low_ms"] == 0 and s["high_ms"] is None)
        parts.append(
            f"<p>Filling in masked signal of held-out windows, the model’s squared error is <b>{escape(interval(overall['ratio_to_linear']))}</b> times that of a "
            f"straight line across the gap and <b>{escape(interval(overall['ratio_to_mean']))}</b> times that of the mean; below 1 is better.</p>"
        )
        rows = [
            f"<tr{' class=main' if s['method'] == 'model' else ''}><td>{_span(s)}</td><td>{escape(s['method'])}</td>{cell(s['mse'])}{cell(s['r'])}"
            f"{cell(s['ratio_to_linear'])}{cell(s['ratio_to_mean'])}</tr>"
            for s in scores
        ]
        parts.append(table(["Gap", "Method", "MSE ↓", "r ↑", "Error / line", "Error / mean"], rows))
        ours = [s for s in scores if s["method"] == "model"]
        parts.append("<div class=pair>" + "".join(
            dot_plot([(_span(s), s[key]) for s in ours], title=f"Error of the model over that of {words}", reference=(1.0, "equal"))
            for key, words in (("ratio_to_linear", "a straight line"), ("ratio_to_mean", "the mean"))
        ) + "</div>")  # fmt: skip
    if history:
        parts.append(curves_plot(history, title="Loss in pretraining"))
    return "".join(parts)


def _span(score: Mapping[str, Any]) -> str:
    if score["high_ms"] is None:
        return "all gaps" if score["low_ms"] == 0 else f"{score['low_ms']:g}+ ms"
    return f"{score['low_ms']:g}–{score['high_ms']:g} ms"


def folds_section(facts: Facts) -> str:
    """Return the result of each trained model."""
    wanted = ("balanced_accuracy", "kl", "auroc_macro")
    rows = [
        f"<tr><td>{escape(r['name'])}{_size(r)}</td>{''.join(cell(r['metrics'][m]) for m in wanted)}</tr>"
        for r in facts["folds"]
    ]
    return f"<h2>Fold by fold</h2><p>Each fold is another training.</p>{table(['Fold', *_head(wanted)], rows)}"


def limits_section(facts: Facts) -> str:
    """Return what the figures cannot carry."""
    data = facts["data"]
    limits = [
        f"{data['n_subjects']} subjects stand behind these intervals, however many windows each gave; with few subjects percentile intervals are somewhat too narrow.",
        "Resampling patients says nothing about another seed, another training run or another hospital.",
        "Where every resample gives the same value (1.000 to 1.000), no error was seen; that is no certainty.",
        "ECE grows when data are drawn with replacement, so its interval may lie above its value.",
        "A resample in which a class is missing averages recall over the classes that it has.",
        "Labels are taken as they are; what experts disagree on bounds every score."
        if is_votes(facts)
        else "Labels are single classes, so KL equals log loss.",
    ]
    if data["n_sites"] == 1:
        limits.append("One site: what is measured may be a habit of its equipment.")
    if facts["grouping"] != "site":
        limits.append("Training and test share sites, so this is no test of another hospital.")
    return "<h2>Limits</h2><ul>" + "".join(f"<li>{escape(limit)}</li>" for limit in limits) + "</ul>"


def repeat_section(facts: Facts) -> str:
    """Return commands, digests and versions."""
    provenance = {k: v for k, v in facts["provenance"].items() if k != "command"}
    flat = {**flatten(provenance), **flatten(facts["meta"]), **facts["versions"], "seed": facts["bootstrap"]["seed"]}
    command = facts["provenance"].get("command")
    shown = f"<pre>{escape(command)}</pre>" if command else ""
    return (
        f"<h2>How to repeat</h2><p>The same files and seed give the same numbers.</p>{shown}{key_values(flat)}"
        '<p class="note">Every number of this page is in facts.json beside it, and in this file’s element <code>#facts</code>.</p>'
    )
