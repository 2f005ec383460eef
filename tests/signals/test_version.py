import ast
import shutil
from pathlib import Path

import pytest

import signals.version
from signals.version import code_version, deciding_files, files_digest

ROOT = Path(signals.version.__file__).parent.parent
STAGES = ROOT / "pipelines" / "stages"
WRITE_PATH = (
    STAGES / "plan_files.py",
    STAGES / "anomaly.py",
    STAGES / "write_shards.py",
    ROOT / "pipelines" / "intake" / "inputs.py",
)
"""The stages that plan, score and write; their imports through pipelines/ and signals/ are followed."""


def imported(path: Path) -> set[Path]:
    """Return the files of signals/ and pipelines/ that a file imports, anywhere in it."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    files = {ROOT.joinpath(*name.split(".")).with_suffix(".py") for name in names}
    return {file for file in files if file.is_file() and file.relative_to(ROOT).parts[0] in ("signals", "pipelines")}


def closure(starts: set[Path]) -> set[Path]:
    seen: set[Path] = set()
    ahead = set(starts)
    while ahead:
        path = ahead.pop()
        seen.add(path)
        ahead |= imported(path) - seen
    return seen


def test_code_version_covers_exactly_what_the_write_path_imports():
    reached = {
        path
        for path in closure(set(WRITE_PATH))
        if path.is_relative_to(ROOT / "signals") and path.name != "__init__.py"
    }
    covered = {path for path in deciding_files(ROOT / "signals") if path.name != "__init__.py"}
    assert len(reached) > 40  # the walk went somewhere
    assert {path.relative_to(ROOT).as_posix() for path in reached ^ covered} == set()


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    return shutil.copytree(ROOT / "signals", tmp_path / "signals", ignore=shutil.ignore_patterns("__pycache__"))


def digest(root: Path) -> str:
    return files_digest(root, deciding_files(root))


def test_the_digest_is_that_of_the_installed_tree(copy: Path):
    assert code_version() == f"{signals.version.__version__}+{digest(copy)[:12]}"


@pytest.mark.parametrize(
    ("name", "decides"),
    [
        ("conditioning/filters.py", True),
        ("shards/sharding.py", True),
        ("shards/tally.py", True),
        ("readers/edf.py", True),
        ("window.py", True),
        ("pages/page.py", False),
        ("pages/svg.py", False),
        ("bundles/bundle.py", False),
        ("readers/layouts/hms_folder.py", False),
        ("command_line.py", False),
    ],
)
def test_only_a_deciding_file_changes_the_digest(copy: Path, name: str, decides: bool):
    before = digest(copy)
    with (copy / name).open("a", encoding="utf-8") as file:
        file.write("# one colour of a page\n")
    assert (digest(copy) != before) is decides


def test_a_new_or_renamed_file_of_a_deciding_room_changes_the_digest(copy: Path):
    before = digest(copy)
    (copy / "windows" / "zz.py").write_text("")
    added = digest(copy)
    (copy / "windows" / "zz.py").rename(copy / "windows" / "zy.py")
    assert len({before, added, digest(copy)}) == 3


def test_a_deciding_file_that_is_gone_is_an_error(copy: Path):
    (copy / "window.py").unlink()
    with pytest.raises(FileNotFoundError, match=r"window\.py is missing"):
        deciding_files(copy)
