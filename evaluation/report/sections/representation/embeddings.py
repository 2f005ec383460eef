"""Embeddings: the distance between sites, what can be read from the vectors, and maps of them."""

from collections.abc import Mapping, Sequence
from typing import Any

from evaluation.domain.gap import domain_gap
from evaluation.domain.geometry import geometry
from evaluation.report.context import Context
from evaluation.report.drawing.blocks import Block, Heading, Pair, Text
from evaluation.report.drawing.figures import Figure
from evaluation.report.drawing.plots import cloud_plot
from evaluation.report.drawing.tables import Cell, Row, Table, value, words
from evaluation.report.drawing.wording import Facts, p_text, plural
from evaluation.report.sections.section import Section
from signals.pages.svg import number

_PROBES = {
    "site_probe": "Site",
    "site_probe_erased": "Site, site erased",
    "label_probe": "Label",
    "label_probe_erased": "Label, site erased",
}
_GEOMETRY = {
    "silhouette_label": "Silhouette, label",
    "silhouette_site": "Silhouette, site",
    "separability": "Separability",
    "knn_label": "Neighbours, label",
    "knn_site": "Neighbours, site",
}


def facts(context: Context) -> Mapping[str, Any]:
    """Return the distance between sites and the geometry of each file of embeddings."""
    seed = context.seed
    return {
        "embeddings": [
            {"meta": e.meta, "gap": domain_gap(e, seed=seed), "geometry": geometry(e, seed=seed)}
            for e in context.sources.embeddings
        ]
    }


def render(facts: Facts) -> Sequence[Block]:
    """Return probes, distances between sites, geometry and maps."""
    files = facts["embeddings"]
    if not files:
        return []
    return [
        Text(
            "Measured on embeddings, people held out. If the site of a window can be read from its embedding, a model can learn the site "
            "instead of the patient."
        ),
        Heading("Linear probes"),
        _probes(files),
        Heading("Distance of each site from all others"),
        _distances(files),
        Text(
            "A-distance: 0 not told apart, 2 told apart without a mistake. MMD²: about 0 without a gap; p by shuffling people. Balanced accuracies of linear "
            "probes, chance below; subjects are read within their site, windows held out. Sites with different patients or classes are apart too: a gap is not "
            "always due to equipment.",
            "note",
        ),
        Heading("Geometry"),
        _geometry(files),
        Pair(tuple(figure for entry in files for figure in _maps(entry["geometry"]))),
        Text(
            "Neighbours: balanced accuracy of the 15 nearest windows of other people. In a t-SNE map only neighbourhoods mean something; "
            "distances and sizes of clouds do not.",
            "note",
        ),
    ]


def _probes(files: Sequence[Mapping[str, Any]]) -> Table:
    rows = tuple(
        Row(cells=(words(e["gap"]["model"], e["meta"]["encoder"]), *(_probe(e["gap"][key]) for key in _PROBES)))
        for e in files
    )
    return Table(name="probes", columns=("Embeddings", *_PROBES.values()), rows=rows)


def _probe(probe: Mapping[str, Any]) -> Cell:
    below = "" if probe["accuracy"] is None else f"chance {number(probe['chance'])}"
    return value(probe["accuracy"], 2, below=below, reason=probe["reason"])


def _distances(files: Sequence[Mapping[str, Any]]) -> Table:
    rows = tuple(
        Row(
            cells=(
                words(gap["name"], f"{e['gap']['model']}, {plural(gap['n_subjects'], 'subject')}"),
                value(gap["a_distance"], 2, reason=gap["reason"]),
                value(gap["mmd2"]),
                words(p_text(gap["mmd_p"])),
                value(gap["coral"]),
                _probe(gap["subject_probe"]),
            )
        )
        for e in files
        for gap in e["gap"]["gaps"]
    )
    columns = ("Site", "Proxy A-distance", "MMD²", "p", "CORAL", "Subject")
    return Table(name="site-distances", columns=columns, rows=rows)


def _geometry(files: Sequence[Mapping[str, Any]]) -> Table:
    rows = tuple(
        Row(
            cells=(
                words(g["model"], plural(g["n_windows"], "window")),
                words(f"{g['n_dims']:,}", f"effective {number(g['effective_dims'], 1)}"),
                *(value(g[name], 2) for name in _GEOMETRY),
            )
        )
        for g in (entry["geometry"] for entry in files)
    )
    return Table(name="geometry", columns=("Embeddings", "Dimensions", *_GEOMETRY.values()), rows=rows)


def _maps(shape: Mapping[str, Any]) -> list[Figure]:
    drawn = shape["map"]["tsne"] or shape["map"]["pca"]
    kind = "t-SNE" if shape["map"]["tsne"] else "two principal components"
    return [
        cloud_plot(
            drawn,
            shape["map"][groups],
            name=f"map-{shape['model']}-by-{noun}",
            title=f"{shape['model']}, by {noun} ({kind})",
        )
        for groups, noun in (("labels", "label"), ("sites", "site"))
    ]


def caveats(facts: Facts) -> Sequence[str]:
    """Return what a distance between sites holds besides equipment."""
    if any(entry["gap"]["gaps"] for entry in facts["embeddings"]):
        return (
            "Distances between sites hold all that differs between them: equipment, patients, and the mix of labels.",
        )
    return ()


SECTION = Section(name="embeddings", title="Embeddings", facts=facts, render=render, caveats=caveats)
