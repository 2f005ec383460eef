"""The report as one HTML page, made from facts alone: no network, no script, printable."""

import json

from evaluation.report.embeddings import embeddings_section, gap_section
from evaluation.report.limits import limits_section, repeat_section
from evaluation.report.models import (
    classes_section,
    confusion_section,
    folds_section,
    models_section,
    people_section,
)
from evaluation.report.pretraining import pretraining_section
from evaluation.report.sites import external_section, sites_section
from evaluation.report.stress import stress_section, transfer_section
from evaluation.report.summary import audit_section, summary
from evaluation.report.text import Facts
from evaluation.report.trust import alarms_section, calibration_section, conformal_section, selective_section
from signals.pages.page import document

SECTIONS = (
    summary, sites_section, models_section, people_section, confusion_section, classes_section, alarms_section,
    transfer_section, gap_section, stress_section, embeddings_section, selective_section, conformal_section,
    calibration_section, external_section, pretraining_section, folds_section, audit_section, limits_section,
    repeat_section,
)  # fmt: skip
"""In the order of the page; a section without facts is empty."""


def page(facts: Facts, *, title: str) -> str:
    """Return the whole page, with the facts embedded as JSON in the element #facts."""
    embedded = json.dumps(facts, ensure_ascii=False).replace("<", "\\u003c")
    body = "".join(section(facts) for section in SECTIONS)
    return document(f'{body}<script type="application/json" id="facts">{embedded}</script>', title=title)
