import json
import re
import subprocess
import sys
import time

import pytest

from cerebeam.cli import COMMANDS, main
from cerebeam.help.pages import FILE, as_text, collect, load, stored
from signals.help_pages import Option, Page, Section, render

HEAVY = {"torch", "apache_beam", "tensorflow", "scipy", "sklearn", "mne", "numpy", "pandas", "onnxruntime", "fastapi"}
PAGES = load()
URIS = {"PATH", "TEXT", "FILE"}
"""What a place is shown as, where it may be a URI too."""


def test_the_stored_pages_are_those_of_the_commands():
    """Their text is compared, so that an option that was added, renamed or given another default is noticed."""
    assert as_text(collect()) == FILE.read_text(encoding="utf-8"), (
        "run python -m cerebeam.help.pages and commit pages.json"
    )


def test_every_command_has_a_page_that_bears_its_name():
    assert {name for name in PAGES if " " not in name} == set(COMMANDS)
    for name, page in PAGES.items():
        # The studies that are commands too show the shorter name.
        assert page.prog in (f"cerebeam {name}", f"cerebeam {name.removeprefix('study ')}"), name
        assert page.about, name
        assert "python -m" not in page.about, name


def test_help_loads_no_library(tmp_path):
    code = "import sys; from cerebeam.cli import main; main([*sys.argv[1:], '--help']); print(*sorted(sys.modules))"
    for command in ("pretrain", "predict", "shards merge"):
        walked = subprocess.run(
            [sys.executable, "-c", code, *command.split()], capture_output=True, text=True, check=True
        )
        loaded = {name.partition(".")[0] for name in walked.stdout.splitlines()[-1].split()}
        assert not HEAVY & loaded, command


def test_the_package_runs_as_the_console_script_does():
    def run(*args):
        return subprocess.run(
            [sys.executable, "-m", "cerebeam", *args], capture_output=True, text=True, timeout=60, check=False
        )

    shown = run("predict", "--help")
    assert (shown.returncode, shown.stdout) == (0, render(PAGES["predict"]) + "\n")
    assert run("predicts").returncode == 2


def test_help_of_the_heaviest_command_takes_less_than_half_a_second():
    started = time.process_time()
    assert main(["loso", "--help"]) == 0
    # Processor time of this process, without imports: bench-face has the whole.
    assert time.process_time() - started < 0.2


def test_an_option_means_one_thing():
    kinds: dict[str, set[str]] = {}
    for page in PAGES.values():
        for option in page.options:
            if not option.is_positional:
                kinds.setdefault(option.names[0], set()).add("place" if option.metavar in URIS else option.metavar)
    # --set takes an option of a profile, or a key of the service's configuration; 10 and 10.0 s are both crops.
    assert {name: kind for name, kind in kinds.items() if len(kind) > 1}.keys() <= {"--set", "--data.crop-s"}


def test_every_option_is_described_with_its_choices_and_default():
    missing = [
        (name, o.names[0]) for name, page in PAGES.items() for o in page.options if not o.about and not o.choices
    ]
    assert [row for row in missing if row[1].startswith("--")] == []
    shown = render(PAGES["predict"])
    assert "--mains-hz FLOAT" in shown
    assert "{site,subject}" in render(PAGES["loso"])
    assert "(default: 4)" in render(PAGES["loso"])


def test_what_changes_the_help_is_not_answered_from_the_store(capsys):
    assert stored(["pretrain", "--help"]) is not None
    assert stored(["pretrain", "--recipe", "eeg_small", "--help"]) is None
    assert stored(["predict"]) is None


def test_a_page_wraps_and_names_what_is_required():
    option = Option(names=("--a-very-long-name-of-an-option",), metavar="INT", about="word " * 60, required=True)
    text = render(Page(prog="x", about="y", sections=(Section(title="", options=(option,)),), one_of=(("--a", "--b"),)))
    assert max(map(len, text.splitlines())) <= 100
    assert "(required)" in text
    assert text.endswith("One of --a, --b is required.")


@pytest.mark.parametrize(
    ("words", "offered"),
    [
        (["pre"], {"preprocess", "predict", "pretrain"}),
        (["shards", "ver"], {"verify"}),
        (["loso", "--group", ""], {"site", "subject"}),
        (["predict", "--mai"], {"--mains-hz"}),
        (["study", "fair", "--enc"], {"--encoder", "--encoders"}),
    ],
)
def test_completion_in_bash(words, offered, capsys, tmp_path):
    assert main(["completion", "bash"]) == 0
    script = tmp_path / "c.sh"
    script.write_text(capsys.readouterr().out)
    line = " ".join(f"'{word}'" for word in ["cerebeam", *words])
    words_typed = f"COMP_WORDS=({line}); COMP_CWORD={len(words)}"
    ask = f"source {script}; {words_typed}; _cerebeam; printf '%s\\n' \"${{COMPREPLY[@]}}\""
    found = subprocess.run(["bash", "-c", ask], capture_output=True, text=True, check=True, cwd=tmp_path).stdout
    assert set(found.split()) == offered


def test_completion_offers_files_where_it_knows_no_word(capsys, tmp_path):
    main(["completion", "bash"])
    (tmp_path / "night.edf").touch()
    (tmp_path / "c.sh").write_text(capsys.readouterr().out)
    ask = "source c.sh; COMP_WORDS=(cerebeam predict ni); COMP_CWORD=2; _cerebeam; echo ${COMPREPLY[@]}"
    found = subprocess.run(["bash", "-c", ask], capture_output=True, text=True, check=True, cwd=tmp_path).stdout
    assert found.split() == ["night.edf"]


def test_completion_in_zsh_begins_with_what_bash_scripts_need(capsys):
    main(["completion", "zsh"])
    assert re.match(r"autoload .*bashcompinit", capsys.readouterr().out)


def test_the_store_is_a_list_of_lines_that_merges(tmp_path):
    assert json.loads(FILE.read_text(encoding="utf-8"))["pages"].keys() == PAGES.keys()
    assert FILE.read_text(encoding="utf-8").count("\n") > 1000


def test_no_page_names_the_folder_that_it_was_stored_in():
    """A default that lies in the checkout would name a machine's folder, and differ in every other one."""
    text = FILE.read_text(encoding="utf-8")
    assert str(FILE.parent.parent) not in text
    assert not re.search(r'"default": "(?:[^"]* )?/', text)
