import json
import os
import random
import sys
import time
from pathlib import Path

import pytest

from benchmarks.drills import fuzz as command
from benchmarks.drills.fuzzing import children, whole_runs
from benchmarks.drills.fuzzing.bases import float_bases, integer_bases
from benchmarks.drills.fuzzing.children import READ, Series, fuzz, read_whole
from benchmarks.drills.fuzzing.damages import mutate
from benchmarks.drills.fuzzing.whole_runs import whole_run
from signals.recording.recording import READ_REASONS


@pytest.fixture(scope="module")
def bases(tmp_path_factory):
    return tuple(integer_bases(tmp_path_factory.mktemp("integer")))


@pytest.fixture(scope="module")
def floats(tmp_path_factory):
    return tuple(float_bases(tmp_path_factory.mktemp("float")))


def test_a_mutation_is_a_function_of_its_number(bases, floats, tmp_path):
    octets = bases[1].read_bytes()
    damaged = [mutate(octets, random.Random(f"0/{number}")) for number in range(50)]
    assert damaged == [mutate(octets, random.Random(f"0/{number}")) for number in range(50)]
    assert sum(each != octets for each in damaged) >= 48
    series = Series(bases=floats, seed=3, of_floats=True)
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    first, second = (series.write(8, tmp_path / name) for name in "ab")
    assert first.name == second.name == "f.vhdr"  # of a recording of several files, each is copied
    assert {p.name: p.read_bytes() for p in first.parent.iterdir()} == {
        p.name: p.read_bytes() for p in second.parent.iterdir()
    }


def test_sound_files_are_read_to_their_last_window(bases, floats):
    readings = {path.name: read_whole(path) for path in (*bases, *floats)}
    assert {reading.result for reading in readings.values()} == {READ}
    # Windows of 10 s: of 44 s, of 25 and 21 s with a gap between, of 32 and 33 s; of 45 s for all others.
    counted = {name: reading.n_windows for name, reading in readings.items()}
    assert counted == {"a.edf": 4, "b.edf": 4, "c.bdf": 3, "d.edf": 3} | {
        path.name: 4 for path in (*bases[4:], *floats)
    }


@pytest.mark.parametrize("kind", ["integer", "float"])
def test_damaged_files_are_read_or_refused_with_a_reason(bases, floats, kind):
    series = {
        "integer": Series(bases=bases, seed=1),
        "float": Series(bases=floats, seed=1, libraries=command.LIBRARIES, of_floats=True),
    }[kind]
    outcomes = list(fuzz(series, range(48)))
    assert len(outcomes) == 48
    assert [outcome for outcome in outcomes if outcome.result not in {READ, *READ_REASONS}] == []
    # The damages are neither all harmless nor all fatal, and windows behind the first are read too.
    assert 6 <= sum(outcome.result == READ for outcome in outcomes) <= 44
    assert sum(outcome.n_windows for outcome in outcomes) > 2 * sum(outcome.result == READ for outcome in outcomes)


# What a child does in place of reading its third file: the child is another process.
PLANTED = {
    "crash": ("os.kill(os.getpid(), 11)", "LOST crash with status -11"),
    "hang": ("time.sleep(60)", "LOST hang"),
    "memory": ("bytearray(2**31)", "LOST MemoryError: "),
}


@pytest.mark.parametrize("what", PLANTED)
def test_what_is_lost_is_noticed(bases, tmp_path, monkeypatch, what):
    code, says = PLANTED[what]
    script = tmp_path / "child.py"
    script.write_text(
        "import os, sys, time\nfrom pathlib import Path\nfrom benchmarks.drills.fuzzing import children\n"
        "sound = children.plan_file\ncalls = []\ndef planted(*args):\n    calls.append(args)\n    if len(calls) == 3:\n"
        f"        {code}\n    return sound(*args)\nchildren.plan_file = planted\n"
        f"children.serve(children.Series(bases=(Path({str(bases[0])!r}),), seed=1))\n"
    )
    popen = children.subprocess.Popen
    monkeypatch.setattr(children.subprocess, "Popen", lambda _, **kw: popen([sys.executable, script], **kw))
    monkeypatch.setattr(children, "LIMIT_S", 2.0)
    began = time.perf_counter()
    outcomes = list(fuzz(Series(bases=bases[:1], seed=1), range(3)))
    # The first call warms up, the third is the second mutation; the next child reads the third.
    assert outcomes[1].result.startswith(says)
    assert [outcome.is_lost for outcome in outcomes] == [False, True, False]
    assert time.perf_counter() - began < 60


@pytest.mark.parametrize(
    ("target", "fault", "says"),
    [
        ("plan_file", lambda *_: 1 / 0, "LOST ZeroDivisionError"),
        ("prepared", lambda block: iter(()), "LOST 4 windows planned, 0 came out"),
        ("prepared", lambda block: list(children_prepared(block))[:-1], "windows planned, 3 came out"),
    ],
)
def test_a_fault_in_any_stage_is_a_loss(bases, monkeypatch, target, fault, says):
    monkeypatch.setattr(children, target, fault)
    assert says in read_whole(bases[0]).result


children_prepared = children.prepared


def test_whole_runs_lose_nothing(bases, tmp_path):
    outcome = whole_run(Series(bases=bases[:2], seed=1), range(12), tmp_path)
    assert outcome.lost == ()
    assert (outcome.first, outcome.n_files) == (0, 12)
    assert outcome.n_windows >= 8  # those of the two sound files at least


def rows_changed(name, change):
    """Return a `verify` that first changes the rows of a list of the run."""

    def verify(output):
        path = output / name
        rows = [row for line in path.read_text().splitlines() if (row := change(json.loads(line))) is not None]
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))

    return verify


@pytest.mark.parametrize(
    ("name", "change", "says"),
    [
        ("quarantine/files.jsonl", lambda row: None, "is in no list"),
        ("quarantine/files.jsonl", lambda row: row | {"reason": "internal_error"}, "is a fault of ours"),
        ("recordings.jsonl", lambda row: None, "the sound a.edf was not used"),
        ("recordings.jsonl", lambda row: row | {"n_windows": 0}, "the sound a.edf lost windows"),
    ],
)
def test_a_loss_in_a_run_is_noticed(bases, tmp_path, monkeypatch, name, change, says):
    monkeypatch.setattr(whole_runs, "verify", rows_changed(name, change))
    outcome = whole_run(Series(bases=bases[:1], seed=1), range(4), tmp_path)
    assert any(says in line for line in outcome.lost), outcome.lost


def test_a_run_that_dies_loses_all_of_its_files(bases, tmp_path, monkeypatch):
    run = whole_runs.subprocess.run
    monkeypatch.setattr(whole_runs.subprocess, "run", lambda _, **kw: run([sys.executable, "-c", "1 / 0"], **kw))
    outcome = whole_run(Series(bases=bases[:1], seed=1), range(3), tmp_path)
    assert len(outcome.lost) == 3
    assert "ZeroDivisionError" in outcome.lost[0]


def test_figures_are_printed_and_a_log_is_gone_on_with(capsys, monkeypatch, tmp_path):
    monkeypatch.delenv("CEREBEAM_REAL_DATA", raising=False)
    log = ["--log", str(tmp_path / "log.jsonl"), "--jobs", "1", "--seed", "5", "--n-float", "2"]
    assert command.main(["--n", "4", "--no-runs", *log]) == 0
    monkeypatch.setattr(command, "fuzz", lambda series, numbers: pytest.fail(f"{numbers} again"))
    monkeypatch.setattr(command, "RUN_FILES", 4)
    assert command.main(["--n", "4", *log]) == 0
    out = capsys.readouterr().out.splitlines()
    figures = dict(line.split()[1:3] for line in out[-7:])
    assert figures["fuzz_files"] == "6"
    assert (figures["fuzz_integer_files"], figures["fuzz_float_files"]) == ("4", "2")
    assert (figures["fuzz_runs"], figures["fuzz_run_files"], figures["fuzz_lost"]) == ("2", "6", "0")
    assert "LOST" not in os.linesep.join(out)


def test_what_was_lost_stays_lost_in_the_log(capsys, tmp_path):
    path = tmp_path / "log.jsonl"
    log = command.Log(path)
    log.add("float", children.Outcome(number=3, base="f.vhdr", result="LOST hang", seconds=11.0))
    assert command.report(command.Log(Path(path))) == 1
    assert "figure fuzz_lost 1 files" in capsys.readouterr().out
