"""The gap between sites in embeddings, and how embeddings lie."""

from collections.abc import Mapping
from html import escape
from typing import Any

from evaluation.report.plots import cloud_plot
from evaluation.report.text import Facts, p_text, plain_cell
from signals.pages.page import table
from signals.pages.svg import number


def gap_section(facts: Facts) -> str:
    """Return how far each site lies from the others, and what can be read before and after erasing the site."""
    if not facts["embeddings"]:
        return ""
    parts = [
        "<h2>The gap between sites</h2><p>Measured on embeddings, people held out. Whoever can tell from which site a window comes can learn the site "
        "instead of the patient.</p>"
    ]
    probes = [
        f"<tr><td>{escape(e['gap']['model'])}<small>{escape(e['meta']['encoder'])}</small></td>"
        + "".join(
            _probe(e["gap"][key]) for key in ("site_probe", "site_probe_erased", "label_probe", "label_probe_erased")
        )
        + "</tr>"
        for e in facts["embeddings"]
    ]
    head = ["Embeddings", "Site read", "Site, erased", "Label read", "Label, site erased"]
    parts.append(table(head, probes))
    rows = [
        f"<tr><td>{escape(gap['name'])}<small>{escape(e['gap']['model'])}, {gap['n_subjects']:,} subjects</small></td>"
        f"{plain_cell(number(gap['a_distance']), gap['reason'])}<td>{number(gap['mmd2'], 3)}</td><td>{p_text(gap['mmd_p']).removeprefix('= ')}</td>"
        f"<td>{number(gap['coral'], 3)}</td>{_probe(gap['subject_probe'])}</tr>"
        for e in facts["embeddings"]
        for gap in e["gap"]["gaps"]
    ]
    parts.append("<h3>Each site against all others</h3>")
    parts.append(table(["Site", "Proxy A-distance", "MMD²", "p", "CORAL", "Subject read"], rows))
    parts.append(
        '<p class="note">A-distance: 0 not told apart, 2 without a mistake. MMD²: about 0 without a gap; p by shuffling people. Balanced accuracies of linear '
        "probes, chance below; subjects are read within their site, windows held out. Sites of other patients or classes lie apart too: a gap is not "
        "always the equipment’s.</p>"
    )
    return "".join(parts)


def _probe(probe: Mapping[str, Any]) -> str:
    if probe["accuracy"] is None:
        return plain_cell("–", probe["reason"])
    return f"<td>{number(probe['accuracy'])}<small>chance {number(probe['chance'])}</small></td>"


def embeddings_section(facts: Facts) -> str:
    """Return measures of how classes and sites lie, and the maps."""
    if not facts["embeddings"]:
        return ""
    rows, plots = [], []
    for entry in facts["embeddings"]:
        g = entry["geometry"]
        numbers = ("silhouette_label", "silhouette_site", "separability", "knn_label", "knn_site")
        rows.append(
            f"<tr><td>{escape(g['model'])}<small>{g['n_windows']:,} windows</small></td><td>{g['n_dims']:,}<small>effective {number(g['effective_dims'], 1)}</small></td>"
            + "".join(f"<td>{number(g[name])}</td>" for name in numbers) + "</tr>"
        )  # fmt: skip
        drawn = g["map"]["tsne"] or g["map"]["pca"]
        kind = "t-SNE" if g["map"]["tsne"] else "two principal components"
        for names, words in ((g["map"]["labels"], "label"), (g["map"]["sites"], "site")):
            plots.append(cloud_plot(drawn, names, title=f"{g['model']}, by {words} ({kind})"))
    head = [
        "Embeddings",
        "Dimensions",
        "Silhouette, label",
        "Silhouette, site",
        "Separability",
        "Neighbours, label",
        "Neighbours, site",
    ]
    return (
        f"<h2>How embeddings lie</h2>{table(head, rows)}<div class=pair>{''.join(plots)}</div>"
        '<p class="note">Neighbours: balanced accuracy of the 15 nearest windows of other people. In a t-SNE map only neighbourhoods mean something; '
        "distances and sizes of clouds do not.</p>"
    )
