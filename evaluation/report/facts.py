"""Every number of the report, as one dictionary for JSON: page and card are made from it alone."""

import dataclasses
from typing import Any

from evaluation.measures.intervals import LEVEL
from evaluation.report.context import Sources, context_of
from evaluation.report.sections.registry import SECTIONS
from signals.json_output import plain
from signals.progress import progress

SCHEMA_VERSION = 4
"""4: the audit's outcome is called `audit.decision`."""


def facts_from(sources: Sources, *, n_boot: int = 2000, seed: int = 0, main_model: str = "") -> dict[str, Any]:
    """Return all numbers of the report; the same input and seed give the same facts.

    What is undefined is None with a `reason` beside it. Raises ValueError for a main model that the file does not hold.
    """
    context = context_of(sources, n_boot=n_boot, seed=seed, model=main_model)
    facts: dict[str, Any] = {
        "schema_version": SCHEMA_VERSION,
        "task": {**dataclasses.asdict(context.task), "classes": context.classes},
        "main_model": context.model,
        "bootstrap": {"n_boot": n_boot, "seed": seed, "level": LEVEL},
    }
    for section in progress(SECTIONS, "report", unit="sections"):
        entries = section.facts(context)
        assert not set(entries) & set(facts), f"section {section.name} overwrites {set(entries) & set(facts)}"
        facts |= entries
    return dict(plain(facts))
