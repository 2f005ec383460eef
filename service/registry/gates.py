"""What a model must show before it answers for anybody: parity, INT8, an evaluation report, its leak audit."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from signals.bundles.bundle import FP32, Bundle
from signals.bundles.int8_gate import Gate
from signals.files import file_sha256

LARGEST_DIFFERENCE = 1e-4
"""Of a probability between torch and ONNX; what model.export allows."""


@dataclass(frozen=True)
class Check:
    """One gate's answer."""

    gate: str
    failure: str = ""
    """Why it does not hold; empty where it does."""


NEWEST_FACTS = 4
"""Schema of facts.json (`evaluation.report.facts`) that the gates read."""


def check_bundle(bundle: Bundle) -> list[Check]:
    """Return the gates that a bundle carries in itself: parity of the export, and INT8 where it is quantised."""
    return [Check("parity", _parity(bundle.about.get("parity") or {})), Check("int8", _int8(bundle))]


def check_report(facts: Path | None) -> list[Check]:
    """Return the gates of an evaluation report's facts.json: that it is there, and that its leak audit passed."""
    if facts is None:
        return [Check("report", "no evaluation report was registered"), Check("audit", "no report, so no audit")]
    try:
        content = json.loads(facts.read_text(encoding="utf-8"))
        if content.get("schema_version", NEWEST_FACTS) < NEWEST_FACTS:
            older = f"{facts.name} has schema_version={content['schema_version']}, not {NEWEST_FACTS}: make it again"
            return [Check("report", older), Check("audit", "the report is older than this code")]
        models, outcome = content["main_model"], content["audit"]["decision"]
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        return [Check("report", f"{facts.name} is no report: {type(error).__name__}"), Check("audit", "no audit found")]
    return [
        Check("report", "" if models else "the report names no model"),
        Check("audit", "the leak audit failed" if outcome == "failed" else ""),
    ]


def as_tags(checks: list[Check], facts: Path | None) -> dict[str, str]:
    """Return the answers as tags of a registered version: "ok", or why not."""
    tags = {f"gate.{check.gate}": check.failure or "ok" for check in checks}
    return tags | ({} if facts is None else {"report_sha256": file_sha256(facts)})


def failures(tags: Mapping[str, str]) -> list[str]:
    """Return "gate: why" of each gate that does not hold by a version's tags; one that was never asked fails too."""
    names = ("parity", "int8", "report", "audit")
    answers = {name: tags.get(f"gate.{name}", "it was never checked") for name in names}
    return [f"{name}: {answer}" for name, answer in answers.items() if answer != "ok"]


def _parity(parity: Mapping[str, Any]) -> str:
    if not parity.get("n_windows"):
        return "the bundle was never compared with the model it was made from"
    difference, differ = parity.get("max_probability_difference", float("nan")), parity.get("decisions_differ", 1)
    if not difference <= LARGEST_DIFFERENCE:
        return f"a probability differs by {difference:.2g}, more than {LARGEST_DIFFERENCE:g}"
    return f"{differ} decisions differ" if differ else ""


def _int8(bundle: Bundle) -> str:
    if bundle.precision == FP32:
        return ""
    measured = bundle.about.get("quantisation") or {}
    try:
        gate = Gate(**{field.name: measured[field.name] for field in fields(Gate)})
    except KeyError as error:
        return f"its figures are missing ({error.args[0]})"
    return "; ".join(gate.refused)
