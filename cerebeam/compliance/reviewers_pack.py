"""The reviewer's pack: what a hospital's security review asks, each sentence with the evidence that it rests on."""

from collections.abc import Sequence
from itertools import groupby

from cerebeam.compliance.comply import Row, cell

_ANSWERS = {"PASS": "yes", "FAIL": "NOT SHOWN", "MANUAL": "by a person", "N/A": "does not apply"}
_HEAD = """# Reviewer's pack

Written by `cerebeam comply --pack docs/reviewers_pack.md`; a test compares. Sentences stand in
`infra/compliance/pack.toml`. Each rests on policies that hold in the deployment (the chart's `hipaa` variant and the
pilot's plan), on tests that `make test` runs, or on figures of [benchmarks.md](benchmarks.md); a sentence whose
evidence is gone is NOT SHOWN, and the command fails. "By a person": nothing in the software shows it. The first section
follows the questions of MDS2 (ANSI/NEMA HN 1-2019) in our words; it is no signed form. Research use only; nothing here
was deployed.

"""


def pack(rows: Sequence[Row]) -> str:
    """Return the page of assessed sentences, by section."""
    counts = ", ".join(f"{sum(row.state == state for row in rows)} {word}" for state, word in _ANSWERS.items())
    parts = [f"{_HEAD}{len(rows)} sentences: {counts}.\n"]
    for section, group in groupby(rows, key=lambda row: row.control.section):
        lines = [f"| {_cells(row)} |" for row in group]
        parts.append(f"\n## {section}\n\n| | | | evidence |\n|---|---|---|---|\n" + "\n".join(lines) + "\n")
    return "".join(parts)


def _cells(row: Row) -> str:
    evidence = "<br>".join(map(cell, row.evidence))
    return " | ".join([cell(row.control.id), cell(row.control.title), _ANSWERS[row.state], evidence])
