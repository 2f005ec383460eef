"""Leak audit: its decision and every finding."""

from collections.abc import Mapping, Sequence
from typing import Any

from evaluation.audit.audit import audit
from evaluation.audit.companions import companion_findings
from evaluation.audit.findings import SEVERITIES, decision
from evaluation.report.context import Context
from evaluation.report.drawing.blocks import Block, Bullets, Text
from evaluation.report.drawing.wording import Facts
from evaluation.report.sections.section import Section


def facts(context: Context) -> Mapping[str, Any]:
    """Return the findings for the main model, and what the audit decides."""
    findings = [
        *audit(context.sources.predictions, model=context.model, n_boot=context.n_boot, seed=context.seed),
        *companion_findings(context.sources.companions, context.sources.predictions, model=context.model),
    ]
    findings.sort(key=lambda finding: SEVERITIES.index(finding.severity))
    return {"audit": {"decision": decision(findings), "findings": findings}}


def render(facts: Facts) -> Sequence[Block]:
    """Return the decision and every finding."""
    outcome, findings = facts["audit"]["decision"], facts["audit"]["findings"]
    failed = outcome == "failed"
    listed: Block = Text("Nothing was found.")
    if findings:
        listed = Bullets(
            tuple(f"{_file(f)}{f['message']} `{f['code']}`" for f in findings),
            tuple(f["severity"] for f in findings),
        )
    return [
        Text(
            f"The audit {outcome}.{' The figures of this page must not be used.' if failed else ''}",
            "verdict error" if failed else "verdict",
        ),
        listed,
        Text(
            "The audit reads every file of this report. It looks for subjects, recordings or sites on both sides of a fold, rows outside their fold, test subjects in "
            "the pretraining data, copied windows, sites with one class or one subject, unknown subjects, one person who dominates "
            "or carries the result, a model that is constant, no better than guessing, or tells sites apart instead of classes, "
            "and a control with shuffled labels that learns.",
            "note",
        ),
    ]


def _file(finding: Mapping[str, Any]) -> str:
    return "" if finding["file"] == "predictions" else f"({finding['file']}) "


SECTION = Section(name="audit", title="Leak audit", facts=facts, render=render)
