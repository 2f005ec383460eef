"""The site: every page stands on a shelf, the reference names every command, and it builds without a broken link."""

import importlib.util
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from cerebeam.help.pages import load

ROOT = Path(__file__).parents[2]
SHELVES = ["Tutorials", "How-to", "Reference", "Results"]


def nav():
    """Return the pages of each shelf."""
    read = yaml.safe_load((ROOT / "mkdocs.yml").read_text(encoding="utf-8"))["nav"]
    return {title: pages for entry in read for title, pages in entry.items()}


def test_every_page_stands_on_one_of_four_shelves():
    shelves = nav()
    assert [title for title in shelves if title != "Start"] == SHELVES
    named = ["index.md", *(page for title in SHELVES for entry in shelves[title] for page in entry.values())]
    assert len(named) == len(set(named))
    pages = {path.relative_to(ROOT / "docs").as_posix() for path in (ROOT / "docs").rglob("*.md")}
    assert set(named) == pages | {"reference/commands.md", "reference/schemas.md"}  # which the build generates


def test_the_generated_reference_has_every_command_and_option():
    pytest.importorskip("mkdocs", reason="mkdocs is not installed: pip install 'cerebeam[docs]'")
    spec = importlib.util.spec_from_file_location("hooks", ROOT / "docs" / "hooks.py")
    hooks = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(hooks)
    text = hooks.reference()
    for name, page in load().items():
        assert f"{'###' if ' ' in name else '##'} {name}\n" in text
        assert all(f"`{o.names[0]}`" in text for o in page.options), name
    assert hooks.on_page_markdown("[a](../infra/x/README.md) [b](c.md)") == "a (`infra/x/README.md`) [b](c.md)"
    short, long = "<code>--model</code>", "<code>--set models.bundles=[one,two,three]</code>"
    assert hooks.on_page_content(short + long) == short.replace("<code>", '<code class="option">') + long


def test_it_builds_strictly_and_a_broken_link_is_noticed(tmp_path):
    pytest.importorskip("material", reason="mkdocs-material is not installed: pip install 'cerebeam[docs]'")
    pytest.importorskip("mkdocstrings", reason="mkdocstrings is not installed: pip install 'cerebeam[docs]'")
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "NO_MKDOCS_2_WARNING": "1"}
    shutil.copytree(ROOT / "docs", tmp_path / "docs")
    shutil.copy(ROOT / "mkdocs.yml", tmp_path)
    for room in {path.parent.name for path in ROOT.glob("*/__init__.py")} - {"tests"}:
        (tmp_path / room).symlink_to(ROOT / room)
    command = [sys.executable, "-m", "mkdocs", "build", "--site-dir", str(tmp_path / "site")]
    built = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert built.returncode == 0, built.stderr
    assert "--mains-hz" in (tmp_path / "site" / "reference" / "commands.html").read_text(encoding="utf-8")
    page = tmp_path / "docs" / "index.md"
    page.write_text(page.read_text(encoding="utf-8") + "\n[gone](nowhere.md) [anchor](glossary.md#nothing-here)\n")
    built = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert built.returncode == 1
    assert "nowhere.md" in built.stderr
    assert "nothing-here" in built.stderr
