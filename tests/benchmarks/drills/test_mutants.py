"""The drill of planted faults, on a toy checkout whose tests have known gaps."""

import hashlib
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from benchmarks.drills.mutants import main
from benchmarks.drills.mutation import trials
from benchmarks.drills.mutation.faults import room_candidates
from benchmarks.drills.mutation.tree import Tree, digest

PROJECT = Path(__file__).parents[3]
# Whatever fault a seed draws on a line, its fate is certain: the test of `mean` checks nothing, no test enters
# `forgotten`, and every other line is killed: `double` and `half` in other processes, `marked` in a fixture.
TOY = {
    "toy/levels.py": """\
LIMITS = (3, 7, 9)


def raised(x):
    return x + LIMITS[1]


def mean(values):
    return values[0] / max(len(values), 4)


def forgotten(a, b):
    return a - b


def marked(x):
    return [x, 5]
""",
    "toy/child.py": "import sys\n\n\ndef double(x):\n    return x * 3\n\n\nif __name__ == '__main__':\n"
    "    print(double(int(sys.argv[1])))\n",
    "tests/toy/test_levels.py": """\
import pytest
from toy.levels import LIMITS, marked, mean, raised


@pytest.fixture(scope="module")
def shared():
    return marked(20)


def test_the_fixture_is_there(shared):
    pass


def test_raised():
    assert (raised(6), LIMITS) == (13, (3, 7, 9))


def test_mean():
    mean([0, 0])


def test_marked(shared):
    assert shared == [20, 5]
""",
    # A worker process that the first test starts and the second one uses.
    "toy/worker.py": "import sys\n\n\ndef half(x):\n    return x // 2\n\n\nif __name__ == '__main__':\n"
    "    for line in sys.stdin:\n        print(half(int(line)), flush=True)\n",
    "tests/toy/test_worker.py": """\
import subprocess
import sys

import pytest


@pytest.fixture(scope="module")
def worker():
    command = [sys.executable, "-m", "toy.worker"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        yield process
        process.stdin.close()


def ask(worker, line):
    worker.stdin.write(line)
    worker.stdin.flush()
    return worker.stdout.readline()


def test_it_answers(worker):
    assert ask(worker, "0\\n")


def test_it_is_right(worker):
    assert ask(worker, "7\\n") == "3\\n"
""",
    "tests/toy/test_processes.py": "import subprocess\nimport sys\n\n\ndef test_double():\n"
    "    command = [sys.executable, '-m', 'toy.child', '4']\n"
    "    assert subprocess.run(command, capture_output=True, text=True).stdout.strip() == '12'\n",
    "pyproject.toml": "[tool.pytest.ini_options]\npythonpath = ['.']\naddopts = '--import-mode=importlib -q'\n",
    ".gitignore": "bench-output/\n__pycache__/\n",
}


@pytest.fixture
def checkout(tmp_path):
    root = tmp_path / "checkout"
    for name, text in TOY.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    subprocess.run(["git", "init", "-q", root], check=True)
    return root


def state(root):
    """Digest and time of every file but those of git and the drill's own memory."""
    paths = [path for path in sorted(root.rglob("*")) if path.is_file()]
    return {
        str(path): (hashlib.sha256(path.read_bytes()).hexdigest(), path.stat().st_mtime_ns)
        for path in paths
        if not {".git", "bench-output"} & set(path.relative_to(root).parts)
    }


def lines(capsys, *options):
    assert main(list(map(str, options))) == 0
    return capsys.readouterr().out.splitlines()


def test_gaps_survive_and_the_rest_is_killed(checkout, capsys):
    before = state(checkout)
    out = lines(capsys, "--root", checkout, "--rooms", "toy", "--seed", random.randrange(10**6))
    places = [line.split()[1] for line in out if line.startswith("survived")]
    assert sorted(places) == ["toy/levels.py:13", "toy/levels.py:9"], out
    assert any("toy/levels.py:13 " in line and "no test enters it" in line and "a - b -> " in line for line in out)
    # Lines 1, 5, 9, 13 and 17, and one of either other file: neither imports nor the start of a program.
    assert out[-4:] == [
        "figure mutants_planted_toy 7 count",
        "figure mutants_killed_share_toy 0.7143 share",
        "figure mutants_planted 7 count",
        "figure mutants_killed_share 0.7143 share",
    ]
    assert state(checkout) == before


def drawn(capsys, seed, *options):
    return lines(capsys, "--list", "--root", PROJECT, "--rooms", "signals/readers", "--seed", seed, *options)


def test_a_seed_decides_what_is_drawn(capsys):
    first = drawn(capsys, 1)
    assert len(first) == 21
    assert drawn(capsys, 1) == first
    assert len(set(drawn(capsys, 2)) & set(first)) < 10
    # A larger sample begins with the smaller one.
    assert drawn(capsys, 1, "--per-room", 40)[:21] == first


def test_tests_that_fail_beforehand_are_refused(checkout, capsys):
    (checkout / "toy" / "levels.py").write_text(TOY["toy/levels.py"].replace("(3, 7, 9)", "(4, 7, 9)"))
    assert main(["--root", str(checkout), "--rooms", "toy"]) == 2
    assert "1 tests fail without any fault planted, tests/toy/test_levels.py::test_raised" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--rooms", "nowhere"], "holds no Python file"),
        (["--rooms", "toy", "--per-room", "0"], "must be at least 1"),
        (["--rooms", "pyproject.toml"], "holds no Python file"),
    ],
)
def test_wrong_options_end_in_one_line(checkout, capsys, options, message):
    assert main(["--root", str(checkout), *options]) == 2
    assert message in capsys.readouterr().err


def test_a_hang_is_killed(checkout, tmp_path, monkeypatch):
    monkeypatch.setattr(trials, "START_S", 3.0)
    (checkout / "toy" / "levels.py").write_text(
        "def up(n):\n    i = 0\n    while i < n:\n        i += 1\n    return i\n"
    )
    (checkout / "tests" / "toy" / "test_levels.py").write_text(
        "from toy.levels import up\n\n\ndef test_up():\n    assert up(3) == 3\n"
    )
    (fault,) = [x for x in room_candidates(checkout, "toy/levels.py") if x.text == "-="]
    tree = Tree.copy(checkout, tmp_path / "copy")
    room = trials.Room("toy", ("tests/toy/test_levels.py",))
    outcome = trials.Trials([tree], room, tmp_path / "memory", "digest").outcome(fault, tree)
    assert outcome.killed
    assert outcome.detail.startswith("hang of ")
    assert (tree.root / "toy" / "levels.py").read_text() == (checkout / "toy" / "levels.py").read_text()


def test_what_was_tried_on_the_same_files_is_remembered(checkout, capsys):
    options = ("--root", checkout, "--rooms", "toy", "--seed", 3, "--per-room", 1)
    first, files = lines(capsys, *options), digest(checkout)
    began = time.perf_counter()
    assert lines(capsys, *options)[1:] == first[1:]
    assert time.perf_counter() - began < 2.0
    (checkout / "tests" / "toy" / "test_more.py").write_text("def test_more():\n    assert True\n")
    assert digest(checkout) != files


def test_no_fault_is_planted_after_the_time(checkout, capsys):
    out = lines(capsys, "--root", checkout, "--rooms", "toy", "--minutes", 0)
    assert out[-1] == "toy: 7 of 7 faults were not planted: --minutes is over"


@pytest.mark.parametrize("sent", [signal.SIGTERM, signal.SIGINT])
def test_an_interrupted_drill_leaves_nothing(checkout, tmp_path, sent):
    path = checkout / "tests" / "toy" / "test_levels.py"
    path.write_text(
        TOY["tests/toy/test_levels.py"].replace("import pytest", "import time\n\ntime.sleep(2)\nimport pytest")
    )
    before, scratch = state(checkout), tmp_path / "scratch"
    scratch.mkdir()
    process = subprocess.Popen(
        [sys.executable, "-m", "benchmarks", "mutants", "--root", checkout, "--rooms", "toy", "--jobs", "2"],
        cwd=PROJECT, env={**os.environ, "TMPDIR": str(scratch), "PYTHONPATH": str(PROJECT)},
        stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True,
    )  # fmt: skip
    for line in process.stderr:
        if line.startswith("1/7"):
            break
    process.send_signal(sent)
    process.communicate(timeout=20)
    assert process.returncode in {143, 0 if sent == signal.SIGINT else 143}
    assert list(scratch.iterdir()) == []
    assert state(checkout) == before
    assert not [pid for pid in Path("/proc").iterdir() if pid.name.isdigit() and str(scratch) in environ(pid)]


def environ(process):
    try:
        return (process / "environ").read_bytes().decode(errors="replace")
    except OSError:
        return ""
