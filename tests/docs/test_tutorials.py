"""The tutorials, run as they stand: first_corpus, pretraining, six_class, evaluation and serving follow each other."""

import os
import re
import shlex
from pathlib import Path

import pytest

from cerebeam.cli import main
from signals.modality import EEG_1020
from signals.shards.manifest import read_manifest
from synthetic.recordings.one_window import write_segment
from tests.small_bundle import write_small_bundle

DOCS = Path(__file__).parents[2] / "docs" / "tutorials"


def steps(name):
    """Yield the console and python blocks of a page, in its order."""
    text = (DOCS / f"{name}.md").read_text(encoding="utf-8")
    return re.findall(r"^```(console|python)\n(.*?)^```", text, re.MULTILINE | re.DOTALL)


def follow(name):
    """Run a page's blocks in the current folder; returns the names that its Python leaves."""
    names = {}
    for kind, text in steps(name):
        if kind == "python":
            exec(text, names)
            continue
        for line in text.splitlines():
            assert run(shlex.split(line)) == 0, line
    return names


def run(words):
    """Run one command line of a page, `$ cerebeam ...`; returns its exit code."""
    assert words[:2] == ["$", "cerebeam"]
    try:
        return main(words[2:])
    except SystemExit as ended:
        return int(ended.code or 0)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_first_corpus(folder, capsys):
    names = follow("first_corpus")
    assert names["windows"].data.shape[1:] == (19, 50 * 256)
    manifest = read_manifest(folder / "shards")
    assert len(manifest.counts["sites"]) == 4
    assert len(manifest.subjects) == 8
    assert (folder / "window.svg").read_text().startswith("<svg")
    assert "Seizure" in capsys.readouterr().out


def test_serving(folder, capsys):
    write_small_bundle(folder / "bundle")
    write_segment(folder / "night.edf", EEG_1020, window_s=90.0)
    names = follow("serving")
    assert len(names["frame"]) == 5  # 90 s, windows of 50 s, every 10 s
    assert names["frame"].columns.size > 6
    assert capsys.readouterr().out.count("predicted_class") >= 1


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_all_of_them_in_their_order(folder, capsys):
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    follow("first_corpus")
    assert sum(p.numel() for p in follow("pretraining")["encoder"].parameters()) > 10_000
    follow("six_class")
    facts = follow("evaluation")["facts"]
    assert facts["main_model"] == "encoder"
    night = next(path for path in sorted(Path("corpus").rglob("*.edf")))
    (folder / "night.edf").symlink_to(night.resolve())
    assert len(follow("serving")["frame"]) >= 1
