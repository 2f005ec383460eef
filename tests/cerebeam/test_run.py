"""One command from data to a registered model: its steps, its resumption (the whole: tests/service/test_system.py)."""

import json
import sys

import pytest

from cerebeam.demo import DemoError, Stage
from cerebeam.run import Step, parse_args, run, steps


def step(name, code, *, optional=False):
    return Step(Stage(name, name, ((sys.executable, "-c", code),)), optional)


def writes(path, text):
    return f"open({str(path)!r}, 'a').write({text!r})"


def test_what_is_done_is_not_done_again_and_what_follows_a_change_is(tmp_path, capsys):
    log = tmp_path / "log"
    first = [step("a", writes(log, "a")), step("b", "raise SystemExit('no')"), step("c", writes(log, "c"))]
    with pytest.raises(DemoError, match="stage b ended with code 1: no"):
        run(first, tmp_path / "out")
    again = [first[0], step("b", writes(log, "b")), first[2]]
    run(again, tmp_path / "out")
    run(again, tmp_path / "out")
    assert log.read_text() == "abc"
    assert "[1/3] a: done before" in capsys.readouterr().out
    run([again[0], step("b", writes(log, "B")), again[2]], tmp_path / "out")
    assert log.read_text() == "abcBc"


def test_a_step_that_may_fail_is_tried_again_and_stops_nothing(tmp_path):
    log = tmp_path / "log"
    todo = [step("a", "raise SystemExit('not yet')", optional=True), step("b", writes(log, "b"))]
    run(todo, tmp_path / "out")
    assert log.read_text() == "b"
    assert "a" not in json.loads((tmp_path / "out" / "done.json").read_text())


def test_a_damaged_note_begins_anew(tmp_path):
    log = tmp_path / "log"
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "done.json").write_text("{")
    run([step("a", writes(log, "a"))], tmp_path / "out")
    assert log.read_text() == "a"


def names(*arguments):
    return [one.stage.name for one in steps(parse_args(arguments))]


def test_steps_by_what_is_there_and_what_is_skipped(tmp_path, monkeypatch):
    monkeypatch.setenv("KAGGLE_CONFIG_DIR", str(tmp_path))
    monkeypatch.delenv("KAGGLE_USERNAME", raising=False)
    monkeypatch.chdir(tmp_path)
    there = tmp_path / "data" / "hms"
    tail = ["report", "export", "register", "promote"]
    assert names() == ["synthesize", "prepare", "train", *tail]
    assert names("--skip-train") == tail
    monkeypatch.setenv("KAGGLE_USERNAME", "ann")
    monkeypatch.setenv("KAGGLE_KEY", "k")
    assert names() == names("--hms", "new") == ["download", "train", *tail]
    assert names("--skip-download") == ["synthesize", "prepare", "train", *tail]
    with pytest.raises(DemoError, match="--hms new holds no train.csv"):
        names("--hms", "new", "--skip-download")
    there.mkdir(parents=True)
    (there / "train.csv").write_text("")
    assert names() == names("--hms", str(there)) == ["train", *tail]


def test_a_step_done_again_does_not_stumble_over_what_it_made_before(tmp_path):
    folder = tmp_path / "made"
    for text in ("1", "2"):
        todo = [Step(step("a", f"import os; os.mkdir({str(folder)!r}); print({text})").stage, clears=folder)]
        run(todo, tmp_path / "out")
    assert folder.is_dir()
