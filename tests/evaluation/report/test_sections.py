"""Every table cell and every mark of a figure is the number that facts.json has for its row and column."""

import re
from typing import Any
from xml.etree import ElementTree

import pytest

from evaluation.measures.intervals import exact_interval
from evaluation.report.drawing.wording import NAMES
from evaluation.report.sections.registry import SECTIONS
from evaluation.report.sections.representation import embeddings
from signals.pages.svg import number

ARROWS = {"kl": "↓", "ece": "↓", "brier": "↓", "log_loss": "↓", "grave_rate": "↓", "grave_cost": "↓"}
UP = ("balanced_accuracy", "kappa", "weighted_f1", "auroc_macro", "auprc_macro", "accuracy")


def column(metric: str) -> str:
    return f"{NAMES[metric]} {ARROWS.get(metric, '↑')}"


def shown(entry: Any, estimate: dict[str, Any], digits: int = 3, *, percent: bool = False) -> None:
    """The cell holds this estimate: its value, and its interval below."""

    def written(x: float | None) -> str:
        return "–" if x is None else f"{x:.1%}" if percent else number(x, digits)

    assert entry.text == written(estimate["value"])
    if estimate["low"] is not None:
        assert entry.below.startswith(f"{written(estimate['low'])} to {written(estimate['high'])}")


def circles(figure: ElementTree.Element) -> dict[str, tuple[float, float]]:
    """Return a figure's dots by the words that they show, (x, y) in the figure's own units."""
    return {
        dot.findtext("title") or "": (float(dot.get("cx", "nan")), float(dot.get("cy", "nan")))
        for dot in figure.iter("circle")
    }


def axis(figure: ElementTree.Element, *, anchor: str) -> tuple[float, float]:
    """Return (origin, units per 1) of the axis whose tick labels have this text-anchor."""
    at = "x" if anchor == "middle" else "y"
    ticks = [
        (float(t.text), float(t.get(at, "nan")) - (4 if at == "y" else 0))  # words hang 4 below their line
        for t in figure.iter("text")
        if t.get("text-anchor") == anchor and t.text and re.fullmatch(r"-?[\d.]+", t.text)
    ]
    (v0, p0), (v1, p1) = ticks[0], ticks[-1]
    scale = (p1 - p0) / (v1 - v0)
    return p0 - scale * v0, scale


def test_sections_have_unique_names_and_headings() -> None:
    names, titles = [s.name for s in SECTIONS], [s.title for s in SECTIONS]
    assert len(set(names)) == len(names)
    assert len(set(titles)) == len(titles)


def test_headings_are_what_a_reader_searches_for(six_class: Any, with_files: Any) -> None:
    html = six_class.page.html + with_files.page.html
    for heading in ("Confusion matrix", "Sensitivity at a fixed false-alarm rate", "Selective prediction", "Calibration",
                    "Conformal prediction sets", "Robustness to degraded input", "Embeddings", "Limitations",
                    "External validation", "Leak audit", "Reproducibility"):  # fmt: skip
        assert f">{heading}</h3>" in html


def test_models_table_has_each_metric_under_its_heading(six_class: Any) -> None:
    tables = [six_class.page.tables["models"], six_class.page.tables["models-more"]]
    assert [name for t in tables for name in t.columns[1:]] == [column(m) for m in NAMES]
    for model, entry in six_class.facts["models"].items():
        for metric, name in ((m, column(m)) for m in NAMES):
            [table] = [t for t in tables if name in t.columns]
            shown(table.at(model, name), entry["metrics"][metric])
    assert [row[0].text for row, main in zip(tables[0].rows, tables[0].main, strict=True) if main] == ["encoder"]


@pytest.mark.parametrize("metric", [*ARROWS, *UP])
def test_arrows_point_to_the_better_side(metric: str, six_class: Any) -> None:
    columns = [*six_class.page.tables["models"].columns, *six_class.page.tables["models-more"].columns]
    assert column(metric) in columns


def test_differences_are_first_minus_second(six_class: Any) -> None:
    table = six_class.page.tables["differences"]
    assert len(table.rows) == len(six_class.facts["differences"])
    for row, fact in zip(table.rows, six_class.facts["differences"], strict=True):
        assert row[0].text == f"{fact['first']} − {fact['second']}"
        assert row[1].text == NAMES[fact["metric"]]
        shown(row[2], fact)


def test_site_rows_mean_worst_and_spread(six_class: Any) -> None:
    table, facts = six_class.page.tables["sites"], six_class.facts
    across = facts["across_sites"]["encoder"]
    assert len({round(across["kl"][key], 3) for key in ("worst", "best")}) == 2  # else a swap would not show
    for metric in ("balanced_accuracy", "kl", "kappa", "auroc_macro"):
        for row in facts["sites"]["encoder"]:
            shown(table.at(row["name"], column(metric)), row["metrics"][metric])
            assert table.at(row["name"], "Site").below == f"{row['n_windows']} windows, {row['n_subjects']} subjects"
        values = [row["metrics"][metric]["value"] for row in facts["sites"]["encoder"]]
        worst = max(values) if metric == "kl" else min(values)
        assert table.at("Worst site", column(metric)).text == number(worst, 3)
        names = [row["name"] for row in facts["sites"]["encoder"]]
        assert table.at("Worst site", column(metric)).below == names[values.index(worst)]
        assert table.at("Mean of sites", column(metric)).text == number(sum(values) / len(values), 3)
        assert table.at("Spread (best − worst)", column(metric)).text == number(max(values) - min(values), 3)


def test_intervals_over_sites_stand_in_their_rows(six_class: Any) -> None:
    table, across = six_class.page.tables["over-sites"], six_class.facts["across_sites"]["encoder"]
    for metric in ("balanced_accuracy", "kl", "kappa", "auroc_macro"):
        shown(table.at("Mean over hospitals", column(metric)), across[metric]["mean_over_hospitals"])
        shown(table.at("A new hospital", column(metric)), across[metric]["new_hospital"])
        assert across[metric]["new_hospital"]["low"] <= across[metric]["mean_over_hospitals"]["low"]


def test_abstention_rows(six_class: Any) -> None:
    table = six_class.page.tables["abstention"]
    for row in six_class.facts["selective"]["limited"]:
        name = f"at most {row['allowed']:.0%}"
        assert table.at(name, "Answered ↑").text == f"{row['answered']:.0%}"
        shown(table.at(name, "Error rate ↓"), row["risk"])


def test_lead_names_the_worst_site_first(six_class: Any) -> None:
    rows = {r["name"]: r["metrics"]["balanced_accuracy"]["value"] for r in six_class.facts["sites"]["encoder"]}
    name = min(rows, key=lambda site: rows[site])
    words = f"ranged from {min(rows.values()):.2f} ({name}) to {max(rows.values()):.2f}"
    assert f"{min(rows.values()):.2f}" != f"{max(rows.values()):.2f}"
    assert words in six_class.page.text["summary"]


def test_chance_line_of_the_site_figure_is_one_over_the_classes(six_class: Any) -> None:
    figure = six_class.page.figures["balanced-accuracy-by-site"]
    origin, scale = axis(figure, anchor="middle")
    [line] = [el for el in figure.iter("line") if el.get("stroke-dasharray")]
    assert float(line.get("x1", "nan")) == pytest.approx(origin + scale / 6, abs=0.2)
    [label] = [t.text for t in figure.iter("text") if t.text and "chance" in t.text]
    assert label.endswith("0.17")


def test_dots_of_the_site_figure_are_at_their_values(six_class: Any) -> None:
    figure = six_class.page.figures["balanced-accuracy-by-site"]
    origin, scale = axis(figure, anchor="middle")
    dots = circles(figure)
    for row in six_class.facts["sites"]["encoder"]:
        value = row["metrics"]["balanced_accuracy"]["value"]
        [(x, _)] = [at for title, at in dots.items() if title.startswith(f"{row['name']}: {number(value, 3)}")]
        assert x == pytest.approx(origin + scale * value, abs=0.2)


def test_reliability_has_confidence_across_and_accuracy_up(six_class: Any) -> None:
    figure = six_class.page.figures["reliability"]
    across, up = axis(figure, anchor="middle"), axis(figure, anchor="end")
    filled = [b for b in six_class.facts["reliability"] if b["n_windows"]]
    assert max(abs(b["confidence"] - b["accuracy"]) for b in filled) > 0.05  # else swapped axes would not show
    dots = list(circles(figure).values())
    assert len(dots) == len(filled)
    for b, (x, y) in zip(filled, dots, strict=True):
        assert x == pytest.approx(across[0] + across[1] * b["confidence"], abs=0.2)
        assert y == pytest.approx(up[0] + up[1] * b["accuracy"], abs=0.2)


def test_confusion_matrix_has_labels_in_rows(six_class: Any) -> None:
    table, confusion = six_class.page.tables["confusion-matrix"], six_class.facts["confusion"]
    grave = {(pair["true"], pair["predicted"]) for pair in confusion["grave"]}
    assert any((b, a) not in grave for a, b in grave)  # else mirrored marks would not show
    assert table.columns[1:] == confusion["classes"]
    for i, true in enumerate(confusion["classes"]):
        for j, predicted in enumerate(confusion["classes"]):
            entry = table.at(true, predicted)
            assert entry.text == f"{confusion['row_shares'][i][j]:.0%}"
            assert entry.below == f"{confusion['counts'][i][j]:,.0f}"
            assert (entry.attributes.get("class") == "grave") is ((true, predicted) in grave)
            assert entry.attributes["title"].startswith(f"labelled {true}, predicted {predicted}:")


def test_grave_confusions_have_their_own_shares(six_class: Any) -> None:
    table, known = six_class.page.tables["grave-confusions"], six_class.facts["models"]["encoder"]["metrics"]
    for pair in six_class.facts["confusion"]["grave"]:
        name = f"{pair['true']} predicted as {pair['predicted']}"
        assert table.at(name, "Windows").text == f"{pair['n_windows']:,.0f}"
        shown(table.at(name, "Share of the label"), known[f"grave[{pair['true']} > {pair['predicted']}]"])
        assert table.at(name, "Patients affected").text == f"{pair['n_affected']} of {pair['n_subjects']}"
        low, high = exact_interval(pair["n_affected"], pair["n_subjects"])
        assert table.at(name, "Share of patients").below == f"{low:.1%} to {high:.1%}"
    assert any(pair["n_affected"] not in (0, pair["n_subjects"]) for pair in six_class.facts["confusion"]["grave"])


def test_classes_have_their_own_rows(six_class: Any) -> None:
    table, facts = six_class.page.tables["classes"], six_class.facts
    for name in facts["task"]["classes"]:
        known = facts["models"]["encoder"]["metrics"]
        assert table.at(name, "Windows").text == f"{facts['data']['class_windows'][name]:,}"
        assert table.at(name, "Subjects").text == f"{facts['data']['class_subjects'][name]:,}"
        for metric, heading in (
            ("auroc_within", "AUROC within folds"), ("recall", "Recall"), ("precision", "Precision"),
        ):  # fmt: skip
            shown(table.at(name, heading), known[f"{metric}[{name}]"])


def test_alarm_rates_stand_under_their_headings(six_class: Any) -> None:
    table, rows = six_class.page.tables["alarms"], six_class.facts["alarms"]
    assert {row["name"] for row in rows} == {"Seizure", "LPD", "GPD", "LRDA", "GRDA"}  # no alarm for Other
    by_class: dict[str, list[float]] = {}
    for row in rows:
        rate = f"{row['allowed']:.0%} of windows"  # the file has no onsets: no rate per hour
        shown(table.at(row["name"], f"Sensitivity at {rate}"), row["sensitivity"], 2)
        shown(table.at(row["name"], f"False alarms at {rate}"), row["false_rate"], 3)
        by_class.setdefault(row["name"], []).append(row["sensitivity"]["value"])
    assert any(len(set(values)) > 1 for values in by_class.values())  # else reversed columns would not show
    assert "per hour" not in six_class.page.text["alarms"].replace("stated per hour", "")


def test_conformal_rows(six_class: Any) -> None:
    rows = six_class.page.tables["conformal"].rows
    for cells, row in zip(rows, six_class.facts["conformal"]["folds"], strict=True):
        assert (cells[0].text, cells[1].text, cells[1].below) == (row["name"], row["method"], row["calibration"])
        shown(cells[2], row["coverage"], percent=True)
        worst = min(row["by_class"], key=lambda c: row["by_class"][c])
        assert cells[5].text == f"{row['by_class'][worst]:.1%}"


def test_selective_rows(six_class: Any) -> None:
    table = six_class.page.tables["selective"]
    for coverage, entry in six_class.facts["selective"]["risks"].items():
        shown(table.at(f"Most confident {float(coverage):.0%}", "Error rate ↓"), entry)


def test_external_validation_shows_the_second_file(six_class: Any) -> None:
    table, external = six_class.page.tables["external"], six_class.facts["external"]
    for model, entry in external["models"].items():
        for metric in ("balanced_accuracy", "kl", "kappa", "auroc_macro", "accuracy"):
            shown(table.at(model, column(metric)), entry["metrics"][metric])
    matrix = six_class.page.tables["external-confusion-matrix"]
    classes = external["confusion"]["classes"]
    assert matrix.at(classes[0], classes[1]).below == f"{external['confusion']['counts'][0][1]:,.0f}"
    assert "72 of these windows are not known" in six_class.page.text["external"]


def test_transfer_rows_and_reference(with_files: Any) -> None:
    table, transfer = with_files.page.tables["transfer"], with_files.facts["transfer"]
    assert [cells[0].text for cells, main in zip(table.rows, table.main, strict=True) if main] == ["majority"]
    for row in transfer["rows"]:
        for metric in ("balanced_accuracy", "auroc_macro", "kappa", "kl"):
            shown(table.at(row["model"], column(metric)), row["metrics"][metric])
        assert table.at(row["model"], "SD over seeds").text == number(row["seed_sd"]["balanced_accuracy"], 3)
    gaps = with_files.page.tables["transfer-differences"].rows
    for cells, fact in zip(gaps, transfer["differences"], strict=True):
        assert (cells[0].text, cells[1].text) == (fact["model"], NAMES[fact["metric"]])
        shown(cells[2], fact)


def test_robustness_shows_the_lowest_level(with_files: Any) -> None:
    [curve] = with_files.facts["stress"]
    values = {level["name"]: level["metrics"]["balanced_accuracy"]["value"] for level in curve["levels"]}
    name = min(values, key=lambda level: values[level])
    assert len(set(values.values())) == 3
    table = with_files.page.tables["robustness"]
    lowest = table.at("mains hum", "Lowest balanced accuracy ↑")
    assert (lowest.text, lowest.below) == (number(values[name], 2), f"at {name}")
    shown(table.at("mains hum", "Balanced accuracy kept ↑"), curve["retained"]["balanced_accuracy"], 2)
    shown(table.at("mains hum", "AUROC kept ↑"), curve["retained"]["auroc_macro"], 2)


def test_probes_show_accuracy_above_chance(with_files: Any) -> None:
    table = with_files.page.tables["probes"]
    columns = {"site_probe": "Site", "site_probe_erased": "Site, site erased",
               "label_probe": "Label", "label_probe_erased": "Label, site erased"}  # fmt: skip
    for entry in with_files.facts["embeddings"]:
        gap = entry["gap"]
        assert len({number(gap[key]["accuracy"], 2) for key in columns}) > 1
        for key, name in columns.items():
            assert number(gap[key]["accuracy"], 2) != number(gap[key]["chance"], 2)
            cell = table.at(gap["model"], name)
            assert cell.text == number(gap[key]["accuracy"], 2)
            assert cell.below == f"chance {number(gap[key]['chance'], 2)}"


def test_site_distances_and_geometry(with_files: Any) -> None:
    rows = iter(with_files.page.tables["site-distances"].rows)
    for entry in with_files.facts["embeddings"]:
        for gap in entry["gap"]["gaps"]:
            cells = next(rows)
            assert [c.text for c in (*cells[:3], cells[4])] == [
                gap["name"], number(gap["a_distance"], 2), number(gap["mmd2"], 3), number(gap["coral"], 3),
            ]  # fmt: skip
        shape, table = entry["geometry"], with_files.page.tables["geometry"]
        for key, name in {"silhouette_label": "Silhouette, label", "silhouette_site": "Silhouette, site",
                          "separability": "Separability", "knn_label": "Neighbours, label",
                          "knn_site": "Neighbours, site"}.items():  # fmt: skip
            assert table.at(shape["model"], name).text == number(shape[key], 2)


def test_windows_too_few_for_t_sne_are_drawn_by_principal_components(with_files: Any) -> None:
    shape = with_files.facts["embeddings"][0]["geometry"]
    kinds = []
    for tsne in (shape["map"]["tsne"], []):
        figures = embeddings._maps(shape | {"map": shape["map"] | {"tsne": tsne}})
        kinds.append({re.search(r"\((.*)\)$", figure.title)[1] for figure in figures})
        assert all(figure.svg for figure in figures)
    assert kinds == [{"t-SNE"}, {"two principal components"}]


def test_operating_point_stands_under_its_headings(six_class: Any) -> None:
    table, curves = six_class.page.tables["operating-point"], six_class.facts["curves"]["classes"]
    assert [row["name"] for row in curves] == ["Seizure", "LPD", "GPD", "LRDA", "GRDA"]
    for row in curves:
        assert table.at(row["name"], "Share of windows").text == f"{row['prevalence']:.1%}"
        values = []
        for key, name in (
            ("sensitivity", "Sensitivity ↑"),
            ("specificity", "Specificity ↑"),
            ("ppv", "PPV ↑"),
            ("npv", "NPV ↑"),
        ):
            shown(table.at(row["name"], name), row[key], 2)
            values.append(number(row[key]["value"], 2))
        assert len(set(values)) > 2  # else swapped columns would not show


@pytest.mark.parametrize(("figure", "key"), [("roc", "roc"), ("precision-recall", "pr")])
def test_curves_are_drawn_at_their_points(six_class: Any, figure: str, key: str) -> None:
    drawn = six_class.page.figures[figure]
    across, up = axis(drawn, anchor="middle"), axis(drawn, anchor="end")
    for row in six_class.facts["curves"]["classes"]:
        [line] = [el for el in drawn.iter("polyline") if el.findtext("title") == row["name"]]
        points = [tuple(map(float, pair.split(","))) for pair in (line.get("points") or "").split()]
        assert len(points) == len(row[key])
        for (x, y), (share, value) in zip(points, row[key], strict=True):
            assert x == pytest.approx(across[0] + across[1] * share, abs=0.2)
            assert y == pytest.approx(up[0] + up[1] * value, abs=0.2)


def test_each_patient_is_one_dot_at_its_share(six_class: Any) -> None:
    drawn, each = six_class.page.figures["patients"], six_class.facts["subjects"]["each"]
    up = axis(drawn, anchor="end")
    dots = [(d.findtext("title"), float(d.get("cy", "nan"))) for d in drawn.iter("circle")]
    assert sorted(t for t, _ in dots) == sorted(f"{row['site']}: {row['accuracy']:.2f}" for row in each)
    assert len(dots) == 8
    for title, y in dots:
        assert y == pytest.approx(up[0] + up[1] * float((title or "").split(": ")[1]), abs=1.2)
    poor = sum(row["accuracy"] < 0.5 for row in each)
    assert f"Of 8 patients, {poor} had fewer than half" in six_class.page.text["patients"]
    assert f"the poorest had {min(row['accuracy'] for row in each):.0%} of 12" in six_class.page.text["patients"]


def test_cohort_has_each_site_and_class(six_class: Any) -> None:
    table = six_class.page.tables["cohort"]
    for site in six_class.facts["cohort"]["sites"]:
        assert table.at(site["name"], "Patients").text == "4"
        assert table.at(site["name"], "Windows").text == "48"
        for name in six_class.facts["task"]["classes"]:
            assert table.at(site["name"], name).text == f"{site['classes'][name]}"
    flow = six_class.page.tables["flow"]
    assert flow.at("Windows with a label and a prediction", "Number").text == "96"
    assert flow.at("Patients with a prediction", "Number").text == "8"
    assert "no manifest" in flow.at("Files found", "Number").below


def test_contents_lead_to_every_section_in_order(six_class: Any) -> None:
    html = six_class.page.html
    nav = html.split("<nav")[1].split("</nav>")[0]
    links = re.findall(r'<a href="#([^"]+)">([^<]+)</a>', nav)
    sections = re.findall(r'<section id="([^"]+)"><h3>([^<]+)</h3>', html)
    assert links == sections
    assert len(links) > 12
    assert html.index('id="summary"') < html.index("<nav") < html.index('id="clinical"') < html.index('id="appendix"')
    for name in (
        "sites",
        "cohort",
        "confusion-matrix",
        "operating-point",
        "alarms",
        "calibration",
        "selective",
        "external",
    ):
        assert html.index('id="clinical"') < html.index(f'<section id="{name}"') < html.index('id="appendix"')
    for name in ("audit", "model", "models", "conformal", "limitations", "reproducibility"):
        assert html.index('id="appendix"') < html.index(f'<section id="{name}"')


def test_wide_tables_say_that_they_go_on(six_class: Any) -> None:
    frames = re.findall(
        r'<div class="(wide|narrow)"><p class="hint">Scroll sideways[^<]*</p><div class="scroll"><table id="table-([^"]+)"',
        six_class.page.html,
    )
    kinds = {name: kind for kind, name in frames}
    assert set(kinds) == set(six_class.page.tables)
    assert kinds["cohort"] == kinds["models"] == "wide"
    assert kinds["flow"] == kinds["confusion-matrix"] == "narrow"
