import importlib
import subprocess
import sys
from pathlib import Path

import pytest

from cerebeam import cli
from cerebeam.cli import COMMANDS, main


@pytest.mark.parametrize("command", sorted(COMMANDS))
def test_every_command_has_a_main(command):
    name, _, function = COMMANDS[command][0].partition(":")
    assert callable(getattr(importlib.import_module(name), function or "main"))


@pytest.mark.parametrize("command", sorted(COMMANDS))
def test_an_unknown_option_is_one_line_and_code_2(command, capsys):
    try:
        code = main([command, "--nonsense"])
    except SystemExit as ended:
        code = ended.code
    out, err = capsys.readouterr()
    assert code == 2
    assert out == ""
    assert err.count("\n") == 1


def test_unknown_command_is_one_line_and_code_2(capsys):
    assert main(["nonsense"]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.count("\n") == 1
    assert "nonsense" in err


def test_help_lists_every_command(capsys):
    assert main(["--help"]) == 0
    listed = capsys.readouterr().out
    assert all(command in listed for command in COMMANDS)


def test_the_module_runs_as_the_script_does():
    # `cerebeam run` registers and promotes through it: without a main block it did nothing, with code 0.
    command = [sys.executable, "-m", "cerebeam.cli", "nonsense"]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ended.returncode == 2
    assert "unknown command" in ended.stderr


def test_a_python_without_the_libraries_is_one_line(tmp_path):
    # As a person who types `python -m cerebeam` in the checkout, without the environment that make made.
    command = [sys.executable, "-S", "-m", "cerebeam", "predict", "bundle", "night.edf"]  # -S: no site-packages
    ended = subprocess.run(
        command, capture_output=True, text=True, check=False, env={"PYTHONPATH": str(Path(cli.__file__).parents[1])},
        cwd=tmp_path,
    )  # fmt: skip
    assert (ended.returncode, ended.stdout, ended.stderr.count("\n")) == (2, "", 1)
    assert "is missing from" in ended.stderr
    assert ".venv/bin/cerebeam" in ended.stderr


@pytest.mark.parametrize(
    ("error", "code", "line"),
    [
        (FileNotFoundError(2, "No such file or directory", "a.edf"), 2, "a.edf: No such file or directory"),
        (OSError(28, "No space left on device"), 74, "output: No space left on device"),
        (ModuleNotFoundError("x", name="onnxruntime"), 2, "pip install 'cerebeam[serve]'"),
        (ModuleNotFoundError("x", name="apache_beam.io"), 2, "pip install 'cerebeam[beam]'"),
        (ModuleNotFoundError("x", name="scipy.signal"), 2, "scipy is missing from"),
        (KeyboardInterrupt(), 130, "interrupted"),
    ],
)
def test_what_ends_a_command_is_one_line(error, code, line, monkeypatch, capsys):
    def fail(args):
        raise error

    monkeypatch.setattr(cli, "run", fail)
    assert main(["predict", "a", "b"]) == code
    printed = capsys.readouterr().err
    assert printed.startswith("cerebeam predict: ")
    assert line in printed
    assert printed.count("\n") == 1


def test_a_reader_that_has_gone_is_no_fault_of_the_command():
    # As in `cerebeam pretrain --help | head -1`: the pipe is closed before anything is written into it.
    command = [
        sys.executable,
        "-c",
        "import time; time.sleep(0.2); from cerebeam.cli import main; main(['loso', '-h'])",
    ]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        process.stdout.close()
        assert process.stderr.read() == ""
        assert process.wait() == 0


@pytest.mark.parametrize("error", [ModuleNotFoundError("x", name="signals.nonsense"), KeyError("bug"), OSError("bug")])
def test_a_bug_is_not_hidden(error, monkeypatch):
    def fail(args):
        raise error

    monkeypatch.setattr(cli, "run", fail)
    with pytest.raises(type(error)):
        main(["predict", "a", "b"])
