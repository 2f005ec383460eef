"""Performance by site: a mean over sites hides the one where a model fails."""

from collections.abc import Mapping, Sequence
from typing import Any

from evaluation.report.context import Context
from evaluation.report.drawing.blocks import Block, Pair, Text
from evaluation.report.drawing.figures import dot_plot
from evaluation.report.drawing.tables import Row, Table, estimate, value, words
from evaluation.report.drawing.wording import Facts, headings, plural, sites_apart, size
from evaluation.report.sections.section import CLINICAL, Section
from evaluation.scenarios.sites import SITE_METRICS, across_sites, site_rows

_METRICS = ("balanced_accuracy", "kl", "kappa", "auroc_macro")
_SPLITS = {
    "site": "Leave-one-site-out: each row is a site that its model never saw in training with labels.",
    "subject": "Split by subject, not by site: models have met other subjects of the same site.",
    "apart": "All rows are of one model that was fitted on other data.",
}
_SUMMARIES = (("Mean of sites", "mean"), ("Worst site", "worst"), ("Spread (best − worst)", "spread"))


def facts(context: Context) -> Mapping[str, Any]:
    """Return every trained model's metrics at each site, and their summary over sites."""
    sites = {
        name: site_rows(context.scored.of(name), context.classes, n_boot=context.n_boot, seed=context.seed)
        for name in context.tallied
        if name != "chance"
    }
    across = {name: {m: across_sites(rows, m) for m in SITE_METRICS} for name, rows in sites.items()}
    return {"sites": sites, "across_sites": across}


def render(facts: Facts) -> Sequence[Block]:
    """Return the table per site, its summary over sites, and the figures."""
    model = facts["main_model"]
    sites, across = facts["sites"][model], facts["across_sites"][model]
    rows = [
        Row(cells=(words(row["name"], size(row)), *(estimate(row["metrics"][m]) for m in _METRICS))) for row in sites
    ]
    if len(sites) > 1:
        rows += [
            Row(
                cells=(
                    words(label),
                    *(value(across[m][key], below=across[m]["worst_site"] if key == "worst" else "") for m in _METRICS),
                )
            )
            for label, key in _SUMMARIES
        ]
    blocks = _intervals(facts) if len(sites) > 1 else []
    split = _SPLITS.get(facts["grouping"], "The file does not state whether models had met other subjects of a site.")
    table = Table(name="sites", columns=("Site", *headings(_METRICS)), rows=tuple(rows))
    return [Text(split), table, *blocks, *(_figures(facts) if len(sites) > 1 else [])]


def _intervals(facts: Facts) -> list[Block]:
    """Return the table of intervals over sites: for the mean over hospitals, and for one more hospital."""
    across = facts["across_sites"][facts["main_model"]]
    is_new = sites_apart(facts)
    intervals = (("Mean over hospitals", "mean_over_hospitals"), ("A new hospital", "new_hospital"))
    rows = tuple(
        Row(cells=(words(label), *(estimate(across[m][key]) for m in _METRICS)))
        for label, key in intervals[: 2 if is_new else 1]
    )
    lies = (
        "where the mean over all hospitals of the kind lies, and where the result at one more of them is to be expected"
        if is_new
        else "where the mean over all hospitals of the kind lies, if models have met other patients of theirs"
    )
    return [
        Table(name="over-sites", columns=("Interval", *headings(_METRICS)), rows=rows),
        Text(
            f"t intervals over {plural(across['kl']['n_sites'], 'site')}, each counting once: {lies}. "
            "Few sites make them wide; the intervals of the table above hold for these sites alone.",
            "note",
        ),
    ]


def _figures(facts: Facts) -> list[Block]:
    sites = facts["sites"][facts["main_model"]]
    prior = facts["models"].get("prior", {}).get("metrics", {}).get("kl", {}).get("value")
    by_site = {m: [(row["name"], row["metrics"][m]) for row in sites] for m in ("balanced_accuracy", "kl")}
    accuracy = dot_plot(
        by_site["balanced_accuracy"],
        name="balanced-accuracy-by-site",
        title="Balanced accuracy by site",
        reference=(1 / len(facts["task"]["classes"]), "chance"),
    )
    kl = dot_plot(
        by_site["kl"],
        name="kl-by-site",
        title="KL divergence by site (lower is better)",
        reference=None if prior is None else (prior, "prior"),
    )
    return [Pair((accuracy, kl)), Text("Hollow dots have no interval.", "note")]


SECTION = Section(name="sites", title="Performance by site", part=CLINICAL, facts=facts, render=render)
