"""cerebeam comply: the controls of 45 CFR 164.308 to 164.316 held against a deployment, each with its evidence.

PASS: a policy holds for every rendered line, or a test of this checkout shows it; the line or the test is named.
FAIL: a policy does not hold. MANUAL: a person must bring something. N/A: it does not concern this software, and why.
Nothing here is a statement that anybody is compliant.
"""

import argparse
import base64
import json
import re
import sys
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from signals.command_line import Parser

ROOT = Path(__file__).parents[2]
CHART = ROOT / "infra" / "helm" / "cerebeam"
FOLDER = ROOT / "infra" / "compliance"
DEPLOYMENT = CHART / "variants" / "hipaa.yaml"
PLAN = FOLDER / "pilot-plan.json"
FIGURES = ROOT / "docs" / "benchmarks.md"
STATES = ("PASS", "FAIL", "MANUAL", "N/A")
State = Literal["PASS", "FAIL", "MANUAL", "N/A"]


class ComplyError(ValueError):
    """A deployment that cannot be looked at; the message is one line."""


@dataclass(frozen=True, kw_only=True)
class Control:
    """A control, and what can be shown of it."""

    id: str
    title: str
    checks: tuple[str, ...] = ()
    """Policies that must hold."""
    tests: tuple[str, ...] = ()
    """`FILE::FUNCTION` below tests/ that show it."""
    manual: str = ""
    """What a person must bring, alone or besides."""
    not_applicable: str = ""
    figures: tuple[str, ...] = ()
    """Names of measured figures in docs/benchmarks.md that show it."""
    section: str = ""
    """Where it stands in the reviewer's pack."""

    def __post_init__(self) -> None:
        if not (self.checks or self.tests or self.figures or self.manual or self.not_applicable):
            raise ComplyError(f"{self.id}: neither a check, a test, a task nor a reason")


@dataclass(frozen=True, kw_only=True)
class Finding:
    """A line that breaks a check, or that shows that it holds."""

    check: str
    where: str
    line: str


@dataclass(frozen=True, kw_only=True)
class Row:
    """A control's state and evidence."""

    control: Control
    state: State
    evidence: tuple[str, ...]


def load_controls(name: str = "controls") -> Sequence[Control]:
    """Return the table of controls, or the sentences of "pack"."""
    [table] = tomllib.loads((FOLDER / f"{name}.toml").read_text(encoding="utf-8")).values()
    rows: list[dict[str, Any]] = [
        {key: tuple(value) if isinstance(value, list) else value for key, value in row.items()} for row in table
    ]
    return [Control(**row) for row in rows]


def render(values: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the chart's manifests. Raises ComplyError for values that the chart refuses."""
    import helm_python
    import yaml

    try:
        with helm_python.Chart.load(CHART) as chart:
            rendered = chart.render(values=dict(values), name="cerebeam", namespace="cerebeam")
    except helm_python.HelmError as error:
        raise ComplyError(f"the chart refuses these values: {' '.join(str(error).split())}") from None
    return [document for text in rendered.values() for document in yaml.safe_load_all(text) if document]


def resources_of(plan: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the resources that a plan of Terraform leaves behind, as far as it knows them."""
    try:
        return [
            {"address": row["address"], "type": row["type"], "values": _known(row["change"]["after"]) or {}}
            for row in plan["resource_changes"]
            if row["change"]["actions"] != ["delete"]
        ]
    except (KeyError, TypeError):
        raise ComplyError("no plan: make it with terraform show -json PLAN") from None


def _known(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: known for key, part in value.items() if (known := _known(part)) is not None}
    if isinstance(value, list):
        return [known for part in value if (known := _known(part)) is not None]
    return value


def evaluate(
    manifests: Sequence[Mapping[str, Any]], resources: Sequence[Mapping[str, Any]]
) -> tuple[Sequence[Finding], Sequence[Finding]]:
    """Return what breaks a policy, and what shows that one holds, both sorted."""
    from regopy import Interpreter, RegoError

    rego = Interpreter()
    try:
        for path in sorted((FOLDER / "policies").glob("*.rego")):
            rego.add_module(path.name, path.read_text(encoding="utf-8"))
        rego.set_input({"manifests": list(manifests), "resources": list(resources)})
        answer = rego.query("deny = data.cerebeam.encoded_deny; proof = data.cerebeam.encoded_proof")[0]
        deny, proof = ([_finding(row) for row in answer[name]] for name in ("deny", "proof"))
    except (RegoError, LookupError, ValueError) as error:
        raise ComplyError(f"the policies cannot be evaluated: {' '.join(str(error).split())}") from None
    return sorted(deny, key=_order), sorted(proof, key=_order)


def _finding(row: Sequence[str]) -> Finding:
    check, where, line = (base64.b64decode(part).decode("utf-8") for part in row)
    return Finding(check=check, where=where, line=line)


def _order(finding: Finding) -> tuple[str, str, str]:
    return finding.check, finding.where, finding.line


def assess(controls: Iterable[Control], deny: Sequence[Finding], proof: Sequence[Finding]) -> list[Row]:
    """Return a row for each control: a broken policy or a missing test is FAIL, a check without any line too."""
    return [_row(control, deny, proof) for control in controls]


def _row(control: Control, deny: Sequence[Finding], proof: Sequence[Finding]) -> Row:
    if control.not_applicable:
        return Row(control=control, state="N/A", evidence=(control.not_applicable,))
    broken = [f"{f.check}: {f.where}: {f.line}" for f in deny if f.check in control.checks]
    lines = []
    for check in control.checks:
        found = [f for f in proof if f.check == check]
        more = f" (and {len(found) - 1} more)" if len(found) > 1 else ""
        lines += [f"{check}: {found[0].where}: {found[0].line}{more}"] if found else []
        broken += [] if found else [f"{check}: nothing in this deployment shows it"]
    for test in control.tests:
        if _exists(test):
            lines.append(f"tests/{test}")
        else:
            broken.append(f"tests/{test} does not exist")
    for figure in control.figures:
        row = figure_row(figure)
        lines += [f"{figure}: {row}"] if row else []
        broken += [] if row else [f"docs/benchmarks.md has no figure {figure}"]
    if broken:
        return Row(control=control, state="FAIL", evidence=tuple(broken))
    if not lines:
        return Row(control=control, state="MANUAL", evidence=(control.manual,))
    besides = (f"besides, by a person: {control.manual}",) if control.manual else ()
    return Row(control=control, state="PASS", evidence=(*lines, *besides))


def _exists(test: str) -> bool:
    file, _, name = test.partition("::")
    path = ROOT / "tests" / file
    return path.is_file() and (
        not name or re.search(rf"^\s*def {re.escape(name)}\(", path.read_text(encoding="utf-8"), re.M) is not None
    )


def figure_row(name: str) -> str:
    """Return the row of docs/benchmarks.md that a figure stands in, its last cell; empty where there is none."""
    for line in FIGURES.read_text(encoding="utf-8").splitlines():
        if line.startswith("|") and f"`{name}`" in line:
            return line.strip("| ").split(" | ")[-1].replace("*", "")
    return ""


def markdown(rows: Sequence[Row]) -> str:
    """Return the table as a page; docs/compliance.md is that of the deployment in infra/."""
    counts = ", ".join(f"{sum(row.state == state for row in rows)} {state}" for state in STATES)
    head = (
        "# Controls of 45 CFR 164.308 to 164.316\n\n"
        "Written by `cerebeam comply --markdown docs/compliance.md`; a test compares. It holds the chart's `hipaa`\n"
        "variant and the plan of `infra/terraform/examples/pilot` against `infra/compliance/policies/`.\n\n"
        "PASS: the software's part is there: every rendered line obeys, or the named test shows it (`make test`\n"
        "runs it); what a person must bring besides stands in the same row. MANUAL: all of it is a person's.\n"
        "N/A: why it does not concern this software. None of this is a statement that anybody is compliant, and\n"
        "nothing was deployed.\n\n"
        f"{len(rows)} controls: {counts}.\n\n"
        "| control | | state | evidence |\n|---|---|---|---|\n"
    )
    lines = [
        f"| {row.control.id} | {row.control.title} | {row.state} | {'<br>'.join(map(cell, row.evidence))} |"
        for row in rows
    ]
    return head + "\n".join(lines) + "\n"


def cell(text: str) -> str:
    """Return text for a cell of a Markdown table."""
    return text.replace("|", "\\|").replace("*", "\\*").replace("_", "\\_")


def parse_args(argv: Sequence[str] | None) -> argparse.Namespace:
    """Return the parsed command line."""
    parser = Parser(prog="cerebeam comply", description=(__doc__ or "").split(": ", 1)[1])
    parser.add_argument("--deployment", type=Path, default=DEPLOYMENT, help="values of the chart; its hipaa variant")
    parser.add_argument("--manifests", type=Path, help="rendered manifests instead, of any chart")
    parser.add_argument("--plan", type=Path, default=PLAN, help="terraform show -json PLAN; that of examples/pilot")
    parser.add_argument("--markdown", type=Path, help="write the table into this page as well")
    parser.add_argument("--pack", type=Path, help="write the reviewer's pack into this page as well")
    parser.add_argument("--json", action="store_true", help="one JSON object per control")
    return parser.parse_args(argv)


def _documents(args: argparse.Namespace) -> list[dict[str, Any]]:
    import yaml

    path = args.manifests or args.deployment
    try:
        documents = [document for document in yaml.safe_load_all(path.read_text(encoding="utf-8")) if document]
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ComplyError(f"{path} cannot be read as YAML: {' '.join(str(error).split())}") from None
    if args.manifests:
        if not documents or not all(isinstance(d, dict) and {"kind", "metadata"} <= d.keys() for d in documents):
            raise ComplyError(f"{path} holds no manifests")
        return documents
    if len(documents) > 1 or not all(isinstance(d, dict) for d in documents):
        raise ComplyError(f"{path} holds no values of a chart")
    return render(documents[0] if documents else {})


def _plan(path: Path) -> list[dict[str, Any]]:
    try:
        return resources_of(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise ComplyError(f"{path} cannot be read as JSON: {error}") from None


def main(argv: Sequence[str] | None = None) -> int:
    """Run from the command line; returns 0, 1 where a control fails, 2 for bad input."""
    args = parse_args(argv)
    try:
        if not CHART.is_dir():
            raise ComplyError("this needs a checkout: infra/ and tests/ are not installed")
        found = evaluate(_documents(args), _plan(args.plan))
        rows, sentences = assess(load_controls(), *found), assess(load_controls("pack"), *found)
    except ImportError as error:
        print(f"cerebeam comply: {error.name} is not installed: pip install 'cerebeam[dev]'", file=sys.stderr)  # noqa: T201
        return 2
    except ComplyError as error:
        print(f"cerebeam comply: {error}", file=sys.stderr)  # noqa: T201
        return 2
    if args.markdown:
        args.markdown.write_text(markdown(rows), encoding="utf-8")
    if args.pack:
        from cerebeam.compliance.reviewers_pack import pack

        args.pack.write_text(pack(sentences), encoding="utf-8")
        rows = [*rows, *(row for row in sentences if row.state == "FAIL")]
    failed = [row for row in rows if row.state == "FAIL"]
    if args.json:
        for row in rows:
            about = {"state": row.state, "id": row.control.id, "title": row.control.title}
            print(json.dumps(about | {"evidence": row.evidence}))  # noqa: T201
        return 1 if failed else 0
    for row in rows:
        print(f"{row.state:<6} {row.control.id:<22} {row.control.title}")  # noqa: T201
        for line in row.evidence:
            print(f"{'':<30}{line}")  # noqa: T201
    print(f"{len(rows)} controls: " + ", ".join(f"{sum(r.state == s for r in rows)} {s}" for s in STATES))  # noqa: T201
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
