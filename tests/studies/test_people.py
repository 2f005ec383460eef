"""Leads with age and sex, by the commands that any model takes: from WFDB headers to an answer without torch."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from cerebeam.cli import main as cerebeam
from serving.bundle import load_bundle
from serving.predict import main as predict
from serving.runtime import probabilities
from signals.bundles.bundle import BundleError
from signals.bundles.inputs import windows_of_shards
from signals.readers.registry import open_recording
from synthetic.heart.files import write_corpus

pytest.importorskip("wfdb")

NO_TORCH = """
import sys
from serving.predict import main
code = main(sys.argv[1:])
sys.exit(code or "torch" in sys.modules)
"""
SMALL = ("--recipe", "multimodal", "--task", "ecg-superclass", "--no-encoder", "--tiny", "--optim.batch", 8,
         "--optim.micro-batch", 8)  # fmt: skip
READ = ("--model.metadata", "age", "sex")


def run(*arguments):
    return cerebeam([str(argument) for argument in arguments])


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """Twelve people, all with an age and two of three with a sex, as shards that keep both."""
    root = tmp_path_factory.mktemp("people")
    conditions = ("normal", "fibrillation", "infarction", "left bundle", "hypertrophy", "t inversion")
    written = write_corpus(root / "in", n_people=12, seed=0, sites=("basel",), conditions=conditions)
    for number, path in enumerate(written):
        if number % 3:
            path.write_text(path.read_text() + f"# Sex: {('Female', 'M')[number % 2]}\n")
    folders = ("--input", root / "in", "--output", root / "shards", "--site-from", "folder", "--salt", "x")
    assert not run("preprocess", *folders, "--keep", "age,sex")
    return root


@pytest.fixture(scope="module")
def bundle(root):
    assert not run("finetune", *SMALL, *READ, "--shards", root / "shards", "--output", root / "model")
    assert not run("export", "--model", root / "model", "--shards", root / "shards", "--output", root / "bundle",
                   "--parity-windows", 24)  # fmt: skip
    return load_bundle(root / "bundle")


def test_headers_reach_the_shards(root):
    windows = list(windows_of_shards([root / "shards"]))
    assert len({window.recording_id for window in windows}) == 12
    assert all(20 <= window.age < 90 for window in windows)  # as `write_corpus` draws them
    assert sorted(window.sex for window in windows) == [""] * 4 + ["female"] * 4 + ["male"] * 4
    assert not run("shards", "verify", root / "shards")
    assert not run("shards", "check-identity", root / "shards")


def test_the_bundle_reads_the_person_and_does_without(bundle, root, capsys):
    (graph,) = bundle.graphs
    assert graph.inputs == ("signal", "ch_state", "metadata")
    assert graph.fields == ("age", "sex")
    parity = json.loads((root / "bundle" / "bundle.json").read_text())["parity"]
    assert parity["max_probability_difference"] < 1e-4  # with fields absent of one person in three
    file = next(path for path in sorted((root / "in" / "basel").glob("*.hea")) if "Female" in path.read_text())
    own = open_recording(str(file), keep=("age", "sex")).details

    def answer(metadata=None, keep=True):
        recording = str(file) if keep else open_recording(str(file))
        return list(bundle.predict(recording, metadata=metadata).answers[0].class_probabilities.values())

    as_filed = answer()
    (window,) = [w for w in windows_of_shards([root / "shards"]) if (w.age, w.sex) == (own.age, own.sex)][:1]
    np.testing.assert_allclose(as_filed, probabilities(bundle, [window])[0], atol=1e-5)
    assert as_filed == answer({"age": own.age, "sex": own.sex}, keep=False)
    unknown = answer(keep=False)
    assert np.isfinite(unknown).all()
    others = (unknown, answer({"sex": "male"}), answer({"age": 20.0}), answer({"age": own.age}, keep=False))
    assert all(not np.allclose(as_filed, other, atol=1e-7) for other in others)
    for wrong, line in (
        ({"patient_id": 7.0}, "states who, where or with what device"), ({"device": "x"}, "states who"),
        ({"height_cm": 170.0}, "reads age, sex: leave height_cm out"), ({"shoe": 43.0}, "unknown field 'shoe'"),
        ({"sex": "x"}, "none of female, male"), ({"age": 300.0}, "age=300 must lie within 0 and 90"),
        ({"age": float("inf")}, "age=inf must be a finite number"),
    ):  # fmt: skip
        with pytest.raises(BundleError, match=line):
            bundle.predict(str(file), metadata=wrong)
    assert predict([str(root / "bundle"), str(file), "--metadata", "site=basel"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "field 'site' is refused as an input" in line


def test_no_torch_is_needed_for_an_answer(bundle, root):
    file = sorted((root / "in" / "basel").glob("*.hea"))[0]
    command = [sys.executable, "-c", NO_TORCH, str(root / "bundle"), str(file), "--json", "--metadata", "age=71"]
    command += ["sex=male"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=Path(__file__).parents[2], check=True)
    printed = json.loads(done.stdout.splitlines()[0])["class_probabilities"]
    own = bundle.predict(str(file), metadata={"age": 71.0, "sex": "male"}).answers[0].class_probabilities
    assert printed == pytest.approx(own, abs=1e-6)


def test_what_shards_or_models_do_not_hold_is_one_line(root, capsys):
    options = ("--shards", root / "shards", "--output", root / "never")
    for more, line in (
        (("--model.metadata", "age", "height_cm"), "the shards hold no height: write them with preprocess --keep age"),
        (("--model.metadata", "age", "device"), "'device' states who, where or with what device"),
        (("--model.name", "eegnet", *READ), "is for multimodal, not eegnet"),
    ):
        with pytest.raises(SystemExit) as raised:
            run("finetune", *SMALL, *options, *more)
        assert raised.value.code == 2
        assert line in capsys.readouterr().err.splitlines()[-1]
    assert not (root / "never" / "model.safetensors").exists()
