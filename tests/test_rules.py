"""The rules of the house, as tests."""

import ast
import re
import shutil
import subprocess
import sys
from ast import literal_eval
from pathlib import Path

import pytest

from benchmarks.__main__ import programs

ROOT = Path(__file__).parent.parent
ROOMS = tuple(
    literal_eval(re.findall(r"^ROOMS = (\[.*?\])", (ROOT / "setup.py").read_text(), re.DOTALL | re.MULTILINE)[0])
)
SOURCES = [path for room in ROOMS for path in sorted((ROOT / room).rglob("*.py"))]


def lint_imports(folder):
    command = [Path(sys.executable).parent / "lint-imports", "--config", folder / "pyproject.toml", "--no-cache"]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=120, check=False)


def test_arrows_between_rooms():
    result = lint_imports(ROOT)
    assert result.returncode == 0, result.stdout


BROKEN_ARROWS = [
    ("signals", "import torch"),
    ("signals", "import evaluation.measures.metrics"),
    ("serving", "import model.encoder"),
    ("serving", "import service.settings"),
    ("serving", "import fastapi"),
    ("service", "import model.encoder"),
    ("service", "import evaluation.measures.metrics"),
    ("studies", "import service.settings"),
    ("evaluation", "import torch"),
    ("pipelines", "import training.corpus.corpus"),
    ("pipelines", "import synthetic.synthesize"),
    ("model", "import apache_beam"),
    ("model", "import evaluation.measures.metrics"),
    ("model", "import synthetic.synthesize"),
    ("training", "import studies.loso"),
    ("training", "import synthetic.synthesize"),
    ("synthetic", "import pipelines.preprocess"),
    ("studies", "import pipelines.preprocess"),
    ("signals", "import synthetic.synthesize"),
    ("audit", "import signals.files"),
    ("audit", "import numpy"),
    ("explain", "import torch"),
    ("explain", "import scipy.signal"),
    ("explain", "import serving.runtime"),
    ("signals", "import explain.store"),
    ("signals", "import audit.log"),
    ("signals/readers", "import signals.windows.plan"),
    ("signals/montage", "import signals.conditioning.filters"),
    ("signals/windows", "import signals.shards.records"),
    ("training/corpus", "import training.trainer.train"),
    ("training/parallel", "import training.corpus.order"),
]


@pytest.fixture(scope="module")
def planted_arrows(tmp_path_factory):
    """What import-linter prints of a copy where every arrow is broken by a module of its own: one run for all."""
    root = tmp_path_factory.mktemp("arrows")
    for name in ROOMS:
        shutil.copytree(ROOT / name, root / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", root)
    for number, (room, line) in enumerate(BROKEN_ARROWS):
        (root / room / f"planted_{number}.py").write_text(f'"""Planted."""\n{line}\n')
    result = lint_imports(root)
    assert result.returncode == 1, result.stdout
    return result.stdout


@pytest.mark.parametrize("number", range(len(BROKEN_ARROWS)), ids=lambda k: "-".join(BROKEN_ARROWS[k]))
def test_a_broken_arrow_is_noticed(planted_arrows, number):
    room, line = BROKEN_ARROWS[number]
    # Of an arrow that other chains lead around by now, the module itself must begin the chain that is printed.
    module, target = f"{room.replace('/', '.')}.planted_{number}", line.split()[1]
    assert re.search(rf"{re.escape(module)} -> {re.escape(target.split('.')[0])}", planted_arrows), planted_arrows


def test_modality_is_data_not_code():
    # Comparing two modalities is fine; asking which one it is by name or constant is not.
    offenders = [
        f"{path.relative_to(ROOT)}:{number}"
        for path in SOURCES
        if path != ROOT / "signals" / "modality.py"
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1)
        if re.search(
            r"\b(if|elif|match|case)\b.*\bmodality(\.name)?\s*(==|!=|in\b)\s*([\"'(\[{]|[A-Z][A-Z0-9_]+\b)", line
        )
    ]
    assert offenders == []


def test_no_bare_except_no_type_bool_no_global_seed():
    forbidden = re.compile(r"^\s*except:|(?<!d)type=bool|np\.random\.seed|random\.seed\(|save_main_session=True")
    offenders = [
        f"{path.relative_to(ROOT)}:{number}: {line.strip()}"
        for path in SOURCES
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1)
        if forbidden.search(line)
    ]
    assert offenders == []


def test_no_grab_bags():
    names = {path.stem for path in SOURCES}
    assert not names & {"utils", "util", "common", "helpers", "misc", "datasets", "proto"}


def test_init_files_are_empty():
    filled = {
        path.relative_to(ROOT).as_posix() for path in SOURCES if path.name == "__init__.py" and path.read_text().strip()
    }
    assert filled == {"cerebeam/__init__.py"}  # the public names, each imported when it is first used


LONGEST_MODULE, LONGEST_FUNCTION = 400, 50
LONGER_FUNCTIONS = {"evaluation/report/__main__.py::report": 60}
"""Functions from before the rule, with the lines that they may have at most; no other may join them."""
PROGRAMS = [*SOURCES, *sorted((ROOT / "benchmarks").rglob("*.py"))]


def body_lines(node):
    """Return the lines of a function from its first line to its last, its docstring left out."""
    first = node.body[0]
    is_docstring = isinstance(first, ast.Expr) and isinstance(getattr(first.value, "value", None), str)
    return node.end_lineno - node.lineno + 1 - (first.end_lineno - first.lineno + 1 if is_docstring else 0)


def long_functions(text):
    """Yield (name, lines) of the functions and methods that are longer than `LONGEST_FUNCTION` lines."""
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and body_lines(node) > LONGEST_FUNCTION:
            yield node.name, body_lines(node)


def test_modules_are_short():
    lengths = {path.relative_to(ROOT).as_posix(): len(path.read_bytes().splitlines()) for path in PROGRAMS}
    assert {name: length for name, length in lengths.items() if length > LONGEST_MODULE} == {}


def test_functions_are_short():
    longer = {
        f"{path.relative_to(ROOT).as_posix()}::{name}": length
        for path in PROGRAMS
        for name, length in long_functions(path.read_text(encoding="utf-8"))
    }
    assert {name: length for name, length in longer.items() if length > LONGER_FUNCTIONS.get(name, 0)} == {}
    assert set(LONGER_FUNCTIONS) <= set(longer)  # what was shortened leaves the list


def test_a_long_function_is_noticed():
    def written(n_lines):
        return "def f():\n" + '    """Two\n    lines."""\n' + "    x = 1\n" * (n_lines - 1)

    assert list(long_functions(written(50))) == []
    assert list(long_functions(written(51))) == [("f", 51)]
    assert list(long_functions("class C:\n" + re.sub("^", "    ", written(51), flags=re.MULTILINE))) == [("f", 51)]


TESTS = sorted((ROOT / "tests").rglob("*.py"))
SPOKEN = re.compile(r"_(?:say|says|said|tell|tells|told|ask|asks|asked|lack|lacks|verdict|books|contenders?)(?=_|$)")
NOT_YET_EDITED = ("tests/evaluation/", "tests/explain/")
LONGEST_TEST_FILE = 500


def test_names_of_tests_use_the_fields_words():
    spoken = [
        f"{path.relative_to(ROOT).as_posix()}: {name}"
        for path in TESTS
        for name in re.findall(r"^ *def (\w+)\(", path.read_text(encoding="utf-8"), flags=re.MULTILINE)
        if SPOKEN.search(name)
    ]
    assert [line for line in spoken if not line.startswith(NOT_YET_EDITED)] == []


def test_files_of_tests_are_short():
    lengths = {path.relative_to(ROOT).as_posix(): len(path.read_bytes().splitlines()) for path in TESTS}
    assert {name: length for name, length in lengths.items() if length > LONGEST_TEST_FILE} == {}


PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")), *sorted((ROOT / "infra").rglob("*.md"))]
FOLDERS = "|".join((*ROOMS, "tests", "benchmarks", "infra"))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_what_a_page_names_exists(page):
    text = page.read_text(encoding="utf-8")
    # The table of capabilities names tests by their place below tests/.
    files = re.findall(rf"(?<![\w/.-])((?:{FOLDERS})/[\w./-]+\.(?:py|sh|toml|ya?ml|json|md))\b", text)
    missing = [name for name in files if not any((ROOT / top / name).is_file() for top in ("", "tests"))]
    modules = re.findall(rf"python -m ((?:{FOLDERS})(?:\.\w+)*)", text)
    places = {name: ROOT.joinpath(*name.split(".")) for name in modules}
    missing += [
        name for name, path in places.items()
        if not path.with_suffix(".py").is_file() and not (path / "__main__.py").is_file()
    ]  # fmt: skip
    links = [link.partition("#")[0] for link in re.findall(r"\]\(([^)\s]+)\)", text) if "://" not in link]
    missing += [link for link in links if link and not (page.parent / link).exists()]
    targets = set(re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), flags=re.MULTILINE))
    commands = re.findall(r"(?:`|^ {4})make ([a-z][\w-]*)", text, flags=re.MULTILINE)
    missing += [
        f"make {name}" for name in commands if name not in targets and name.removeprefix("bench-") not in programs()
    ]
    assert missing == []


def test_pages_name_enough_for_the_test_to_mean_something():
    text = "".join(page.read_text(encoding="utf-8") for page in PAGES)
    assert len(set(re.findall(rf"\b((?:{FOLDERS})/[\w./-]+\.py)\b", text))) > 80
