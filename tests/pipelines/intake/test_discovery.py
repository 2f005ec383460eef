import importlib
import sys
import textwrap
from pathlib import Path

import pytest

from pipelines.corpora.corpus import Corpus, corpus_of
from pipelines.intake.discovery import CORPORA, discover
from pipelines.intake.inputs import find_inputs
from signals.readers.registry import open_recording

NEW_LAB = """
    '''A laboratory that did not exist before.'''
    from pipelines.corpora.corpus import Corpus, Known
    from signals.windows.blocks import Label
    from signals.readers.layouts.known import openbci_layout

    def known(path):
        subject, _, task = path.stem.partition("-")
        return Known(subject=subject, labels=(Label(onset_s=None, label=task),))

    CORPUS = Corpus(
        site_id="newlab", pattern="*/newlab/*", mains_hz=60.0, known=known, side_files=("*/newlab/about.txt",),
        csv_forms=(openbci_layout("newlab", ("Fp1", "Fp2"), pattern="*/newlab/*"),),
    )
"""


@pytest.fixture
def package(tmp_path, monkeypatch):
    """An empty package of corpora that can be imported; csv forms declared from it stay in the test."""
    monkeypatch.setattr("signals.readers.layouts.layout._declared", {})
    folder = tmp_path / "labs_of_a_test"
    folder.mkdir()
    (folder / "__init__.py").touch()
    monkeypatch.syspath_prepend(str(tmp_path))
    importlib.invalidate_caches()
    yield folder
    for name in [name for name in sys.modules if name.partition(".")[0] == folder.name]:
        del sys.modules[name]


def test_one_small_file_is_a_new_lab(package, tmp_path):
    (package / "newlab.py").write_text(textwrap.dedent(NEW_LAB))
    corpora = discover(importlib.import_module(package.name))
    data = tmp_path / "data" / "newlab"
    data.mkdir(parents=True)
    (data / "about.txt").write_text("about")
    rows = "".join(f"{i % 256}, {i}, {-i}\n" for i in range(300))
    (data / "p7-rest.txt").write_text(f"%OpenBCI Raw EXG Data\nSample Index, EXG Channel 0, EXG Channel 1\n{rows}")
    inputs = find_inputs([str(tmp_path / "data")], None, corpora)
    (file,) = inputs.files
    assert (file.site_id, file.subject, file.mains_hz) == ("newlab", "p7", 60.0)
    assert [(label.onset_s, label.label) for label in file.labels] == [(None, "rest")]
    assert [Path(side).name for side in inputs.side_files] == ["about.txt"]
    assert open_recording(file.uri).ch_names == ("Fp1", "Fp2")


def test_a_module_without_a_corpus_is_refused_by_name(package):
    (package / "wrong.py").write_text("CORPUS = 'newlab'\n")
    with pytest.raises(TypeError, match="labs_of_a_test.wrong: 'newlab' is no Corpus"):
        discover(importlib.import_module(package.name))


def test_two_corpora_of_one_pattern_are_refused(package):
    for name in ("a", "b"):
        (package / f"{name}.py").write_text(textwrap.dedent(NEW_LAB))
    with pytest.raises(ValueError, match=r"several corpora have the pattern '\*/newlab/\*'"):
        discover(importlib.import_module(package.name))


def test_the_longest_pattern_wins():
    wide, narrow = Corpus(site_id="a", pattern="*/a/*"), Corpus(site_id="b", pattern="*/a/b/*")
    for corpora in ((wide, narrow), (narrow, wide)):
        assert corpus_of("/x/a/b/1.edf", corpora) is narrow
        assert corpus_of("/x/a/1.edf", corpora) is wide
    assert corpus_of("/x/c/1.edf", (wide, narrow)) is None


@pytest.mark.parametrize(("site_id", "mains_hz"), [("A", 50.0), ("", 50.0), ("a/b", 50.0), ("a", 55.0)])
def test_a_corpus_that_cannot_be_is_refused(site_id, mains_hz):
    with pytest.raises(ValueError):
        Corpus(site_id=site_id, pattern="*", mains_hz=mains_hz)


def test_all_modules_are_found():
    folder = Path(sys.modules["pipelines.corpora"].__file__).parent
    modules = {path.stem for path in folder.glob("*.py")} - {"__init__", "corpus"}
    assert modules == {"albany", "bissau", "boston", "hms", "kyiv", "resting", "tehran"}
    assert len(CORPORA) == 5 + 5 + 2


def test_the_walk_through_of_the_docs_is_true(monkeypatch):
    monkeypatch.setattr("signals.readers.layouts.layout._declared", {})
    text = Path(__file__).parents[3].joinpath("docs", "readers.md").read_text(encoding="utf-8")
    kyiv, wiring = [part.split("```")[0] for part in text.split("```python\n")[1:]]
    assert kyiv == Path(sys.modules["pipelines.corpora.kyiv"].__file__).read_text(encoding="utf-8")
    names = {"Corpus": Corpus}
    exec(wiring, names)
    assert [form.name for form in names["CORPUS"].csv_forms] == ["ulm-cyton", "ulm-headset"]
