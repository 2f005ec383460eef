"""All sections, in the order of the page."""

from collections.abc import Iterator

from evaluation.report.drawing.wording import Facts
from evaluation.report.sections.decisions import alarms, calibration, conformal, selective
from evaluation.report.sections.generalisation import external, sites, stress
from evaluation.report.sections.overview import audit, cohort, model, reproduction, summary
from evaluation.report.sections.performance import classes, confusion, curves, folds, models, patients
from evaluation.report.sections.representation import embeddings, pretraining, transfer
from evaluation.report.sections.section import Section

SECTIONS: tuple[Section, ...] = tuple(
    module.SECTION
    for module in (
        summary,
        sites, cohort, confusion, curves, patients, alarms, calibration, selective, external,
        audit, model, models, classes, folds, stress, conformal, transfer, embeddings, pretraining, reproduction,
    )
)  # fmt: skip


def limitations(facts: Facts) -> Iterator[str]:
    """Yield every section's caveats, in the order of the page."""
    for section in SECTIONS:
        yield from section.caveats(facts)
