"""Cohort: the flow of files and patients into the evaluation, and who was tested at each site."""

from collections.abc import Mapping, Sequence
from typing import Any

from evaluation.report.context import Context
from evaluation.report.drawing.blocks import Block, Heading, Text
from evaluation.report.drawing.tables import Cell, Row, Table, count, words
from evaluation.report.drawing.wording import Facts
from evaluation.report.sections.section import CLINICAL, Section
from signals.pages.svg import number


def facts(context: Context) -> Mapping[str, Any]:
    """Return counts per site, and what the pipeline took in and left out."""
    rows = context.rows
    counts = (context.sources.manifest or {}).get("counts") or {}
    at_pipeline = counts.get("sites") or {}
    sites = []
    for name, part in sorted(rows.groupby("site_id"), key=lambda item: str(item[0])):
        known = at_pipeline.get(str(name)) or {}
        shares = part["label"].value_counts()
        sites.append(
            {
                "name": str(name),
                "n_subjects": part["subject_id"].nunique(),
                "n_recordings": part["recording_id"].nunique(),
                "n_windows": len(part),
                "hours": (known.get("hours") or {}).get("written"),
                "formats": sorted(known.get("readers") or {}),
                "rates_hz": sorted(float(rate) for rate in known.get("native_sfreqs") or {}),
                "classes": {name: int(shares.get(name, 0)) for name in context.classes},
            }
        )
    files = counts.get("files") or {}
    return {
        "cohort": {
            "sites": sites,
            "devices": sorted(set(rows["device"].dropna()) - {""}) if "device" in rows.columns else [],
            "flow": {
                "files_in": files.get("in"),
                "files_quarantined": files.get("quarantined"),
                "quarantine_reasons": files.get("by_reason") or {},
                "windows_written": sum(site.get("windows", 0) for site in at_pipeline.values())
                if at_pipeline
                else None,
                "windows_rejected": sum(site.get("windows_rejected", 0) for site in at_pipeline.values())
                if at_pipeline
                else None,
                "windows_predicted": len(rows),
                "subjects_predicted": rows["subject_id"].nunique(),
            },
        }
    }


def render(facts: Facts) -> Sequence[Block]:
    """Return the flow and the table of sites."""
    cohort = facts["cohort"]
    classes = facts["task"]["classes"]
    rows = tuple(
        Row(
            cells=(
                words(site["name"], _equipment(site)),
                count(site["n_subjects"]),
                count(site["n_recordings"]),
                count(site["n_windows"]),
                words("–" if site["hours"] is None else number(site["hours"], 1)),
                *(count(site["classes"][name]) for name in classes),
            )
        )
        for site in cohort["sites"]
    )
    columns = ("Site", "Patients", "Recordings", "Windows", "Hours", *classes)
    devices = f"Devices: {', '.join(cohort['devices'])}." if cohort["devices"] else "The file does not record devices."
    return [
        Heading("Flow of files and patients"),
        Table(name="flow", columns=("Step", "Number"), rows=tuple(_flow(cohort["flow"]))),
        Heading("Who was tested"),
        Table(name="cohort", columns=columns, rows=rows),
        Text(f"Windows per class in the last columns. {devices} Age and sex are not recorded.", "note"),
    ]


def _equipment(site: Mapping[str, Any]) -> str:
    rates = ", ".join(f"{rate:g} Hz" for rate in site["rates_hz"])
    return "; ".join(part for part in (", ".join(site["formats"]), rates) if part)


def _flow(flow: Mapping[str, Any]) -> list[Row]:
    reasons = ", ".join(f"{name} {n:,}" for name, n in flow["quarantine_reasons"].items())
    steps: list[tuple[str, str, Any]] = [
        ("Files found", "", flow["files_in"]),
        ("Files quarantined", reasons, flow["files_quarantined"]),
        ("Windows written", "", flow["windows_written"]),
        ("Windows rejected", "", flow["windows_rejected"]),
        ("Windows with a label and a prediction", "", flow["windows_predicted"]),
        ("Patients with a prediction", "", flow["subjects_predicted"]),
    ]
    unknown = Cell(text="–", reason="no manifest of the pipeline was given")
    return [
        Row(cells=(words(step, below), unknown if number is None else count(number))) for step, below, number in steps
    ]


SECTION = Section(name="cohort", title="Cohort", part=CLINICAL, facts=facts, render=render)
