"""Findings of the audit: a name, a severity and a sentence each."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

SEVERITIES = ("error", "warning", "info")


@dataclass(frozen=True)
class Finding:
    """Something wrong or worth knowing; an error means that the figures are not to be used."""

    severity: str
    code: str
    message: str
    file: str = "predictions"
    """Which of the report's files it is about."""


def decision(findings: Iterable[Finding]) -> str:
    """Return "failed", "passed with warnings" or "passed"."""
    severities = {finding.severity for finding in findings}
    return "failed" if "error" in severities else "passed with warnings" if "warning" in severities else "passed"


def some(names: Iterable[Any]) -> str:
    """Return the first three names in order, and how many more there are."""
    ordered = sorted(str(name) for name in names)
    return ", ".join(ordered[:3]) + (f" and {len(ordered) - 3} more" if len(ordered) > 3 else "")
