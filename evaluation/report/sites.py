"""Site by site, and the second data set."""

from collections.abc import Mapping
from html import escape
from typing import Any

from evaluation.report.figures import dot_plot
from evaluation.report.models import confusion_block
from evaluation.report.text import Facts, cell, head, interval, size
from signals.pages.page import table
from signals.pages.svg import number


def sites_section(facts: Facts) -> str:
    """Return the per-site table, its figure, and the summary over sites."""
    model = facts["main_model"]
    rows, across = facts["sites"][model], facts["across_sites"][model]
    wanted = ("balanced_accuracy", "kl", "kappa", "auroc_macro")
    body = [
        f"<tr><td>{escape(r['name'])}{size(r)}</td>{''.join(cell(r['metrics'][m]) for m in wanted)}</tr>" for r in rows
    ]
    if len(rows) > 1:
        for label, key in (("mean of sites", "mean"), ("worst site", "worst"), ("spread (best − worst)", "spread")):
            cells = "".join(f"<td>{number(across[m][key], 3)}{_where(across[m], key)}</td>" for m in wanted)
            body.append(f"<tr><td><i>{label}</i></td>{cells}</tr>")
    plots = _site_plots(facts) if len(rows) > 1 else ""
    told = {"site": "Leave-one-site-out: each row is a site that its model never saw in training with labels."}.get(
        facts["grouping"], "Split by subject, not by site: models have met other subjects of the same site."
    )
    return f"<h2>Site by site</h2><p>{told}</p>{table(['Site', *head(wanted)], body)}{plots}"


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


def _where(across: Mapping[str, Any], key: str) -> str:
    return f"<small>{escape(across['worst_site'])}</small>" if key == "worst" and across["worst_site"] else ""


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
        f"{table(['Model', *head(wanted)], rows)}{confusion_block(outside['confusion'])}"
    )
