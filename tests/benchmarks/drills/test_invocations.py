"""The drill of wrong invocations: a sample of it, and what it must notice."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.drills.invocations import DOCUMENTED, Outcome, generate, problem, run
from cerebeam.help.pages import load


def test_a_sample_of_wrong_invocations_ends_in_one_line_each():
    light = ["predict", "shards", "backup", "audit", "cost", "completion", "competition", "sign"]
    command = [sys.executable, "-m", "benchmarks", "invocations", "--every", "5", "--limit-s", "60", "--only", *light]
    out = subprocess.run(command, capture_output=True, text=True, check=True, timeout=300).stdout
    figures = dict(re.findall(r"^figure (\w+) (\d+)", out, re.MULTILINE))
    assert int(figures["wrong_invocations"]) > 40
    assert figures["tracebacks"] == "0", out
    assert "code not in the table" not in out, out


def test_every_option_of_every_command_is_tried():
    pages = load()
    lines = list(generate(pages))
    assert len(lines) > 1000
    tried = {part.split("=")[0] for line in lines for part in line}
    taking = {o.names[0] for page in pages.values() for o in page.options if o.metavar and not o.is_positional}
    assert taking <= tried
    assert {line[0] for line in lines if line} >= {name for name in pages if " " not in name}


@pytest.mark.parametrize(
    ("code", "err", "kind"),
    [
        (2, "cerebeam x: no\n", ""),
        (0, "", "accepted"),
        (None, "", "accepted"),
        (1, "Traceback (most recent call last):\n", "traceback"),  # of a process that the command started
        (99, "KeyError", "traceback"),
        (-11, "", "code not in the table"),
        (4, "", "code not in the table"),
    ],
)
def test_what_counts_as_a_problem(code, err, kind):
    assert problem(Outcome(args=(), code=code, err=err)) == kind


def test_the_table_of_exit_codes_is_that_of_the_page_and_of_the_code():
    root = Path(__file__).parents[3]
    page = (root / "docs" / "reference" / "command_line.md").read_text(encoding="utf-8")
    assert {int(code) for code in re.findall(r"^\| (\d+) \|", page, re.MULTILINE)} == DOCUMENTED | {0}
    rooms = ("cerebeam", "signals", "pipelines", "training", "studies", "evaluation", "serving", "service", "model")
    named = {
        int(code)
        for room in rooms
        for path in (root / room).rglob("*.py")
        for line in re.findall(r"^[A-Z_, ]*_EXIT = ([\d, ]+)$", path.read_text(encoding="utf-8"), re.MULTILINE)
        for code in line.split(",")
    }
    assert named >= {2, 3, 74, 75, 130}
    assert named <= DOCUMENTED


def test_a_planted_bug_is_a_traceback_and_endless_work_is_stopped(tmp_path, monkeypatch):
    def bug(args):
        raise KeyError("planted")

    monkeypatch.setattr("benchmarks.drills.invocations.cerebeam", bug)
    outcome = run(["x"], tmp_path)
    assert problem(outcome) == "traceback"
    assert "planted" in outcome.err
    monkeypatch.setattr("benchmarks.drills.invocations.cerebeam", lambda args: __import__("time").sleep(60))
    assert run(["x"], tmp_path, limit_s=0.3).code is None
