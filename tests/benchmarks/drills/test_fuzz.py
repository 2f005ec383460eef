import os
import random
import sys
import time

import pytest

import benchmarks.drills.fuzz as fuzzing
from benchmarks.drills.fuzz import READ, fuzz, main, mutate, write_bases
from signals.recording.recording import READ_REASONS


@pytest.fixture(scope="module")
def bases(tmp_path_factory):
    return write_bases(tmp_path_factory.mktemp("bases"))


def test_a_mutation_is_a_function_of_its_number(bases):
    octets = bases[1].read_bytes()
    made = [mutate(octets, random.Random(f"0/{number}")) for number in range(50)]
    assert made == [mutate(octets, random.Random(f"0/{number}")) for number in range(50)]
    assert sum(damaged != octets for damaged in made) >= 48


def test_sound_files_are_read(bases):
    assert [fuzzing.verdict(path) for path in bases] == [READ] * 4


def test_damaged_files_are_read_or_refused_with_a_reason(bases):
    outcomes = list(fuzz(bases, range(60), seed=1))
    assert len(outcomes) == 60
    assert [outcome for outcome in outcomes if outcome.verdict not in {READ, *READ_REASONS}] == []
    # The damages are neither all harmless nor all fatal.
    assert 6 <= sum(outcome.verdict == READ for outcome in outcomes) <= 54


# What a child runs in place of `verdict`, by name: the child is another process.
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
        "import os, time\nfrom pathlib import Path\nimport benchmarks.drills.fuzz as fuzzing\nsound = fuzzing.verdict\n"
        "calls = []\ndef planted(path, **options):\n    calls.append(path)\n    if len(calls) == 3:\n        try:\n"
        f"            {code}\n        except MemoryError as error:\n            return f'LOST MemoryError: {{error}}'\n"
        "    return sound(path, **options)\nfuzzing.verdict = planted\n"
        f"fuzzing._serve([Path(p) for p in {[str(base) for base in bases]!r}], 1, False)\n"
    )
    popen = fuzzing.subprocess.Popen
    monkeypatch.setattr(fuzzing.subprocess, "Popen", lambda _, **kw: popen([sys.executable, script], **kw))
    monkeypatch.setattr(fuzzing, "LIMIT_S", 2.0)
    began = time.perf_counter()
    outcomes = list(fuzz(bases, range(3), seed=1))
    # The first call warms up, the third is the second mutation; the next child judges the third.
    assert outcomes[1].verdict.startswith(says)
    assert [outcome.verdict.startswith("LOST") for outcome in outcomes] == [False, True, False]
    assert time.perf_counter() - began < 60


def test_figures_are_printed(capsys, monkeypatch):
    monkeypatch.delenv("CEREBEAM_REAL_DATA", raising=False)
    assert main(["--n", "8", "--jobs", "2", "--seed", "5"]) == 0
    out = capsys.readouterr().out.splitlines()
    assert out[-2:] == ["figure fuzz_files 8 files", "figure fuzz_lost 0 files"]
    assert "LOST" not in os.linesep.join(out)
