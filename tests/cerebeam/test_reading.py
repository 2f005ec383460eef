"""A recording of any length is read segment by segment, in a process without torch; a mistake is one line."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from cerebeam.six_class.commands import main
from serving.model import open_model
from signals.bundles.bundle import ABOUT, BundleError, load_bundle
from signals.modality import EEG_1020
from synthetic.recordings.files import write_edf
from synthetic.recordings.one_window import write_segment
from tests.toy_reader import write_toy_reader


@pytest.fixture(scope="module")
def reader(tmp_path_factory):
    return write_toy_reader(tmp_path_factory.mktemp("reader") / "bundle", abstain_below=0.5)


def recording(folder: Path, seconds: float) -> Path:
    """Write a synthetic recording as EDF."""
    path = folder / f"{seconds:g}.edf"
    write_segment(path, EEG_1020, window_s=seconds)
    return path


@pytest.mark.parametrize(
    ("seconds", "spans"), [(10, [(0, 10)]), (50, [(20, 30)]), (75, [(20, 30), (30, 40), (40, 50)])]
)
def test_any_length_is_read(reader, seconds, spans, tmp_path, capsys):
    assert main(["read", str(recording(tmp_path, seconds)), "--bundle", str(reader), "--json"]) == 0
    answer = json.loads(capsys.readouterr().out)
    segments, summary = answer["segments"], answer["summary"]
    assert [(row["from_s"], row["to_s"]) for row in segments] == spans
    assert summary["n_segments"] == len(spans)
    assert summary["n_abstained"] == sum(row["confidence"] < 0.5 for row in segments)
    assert sum(summary["by_class"].values()) == len(spans) - summary["n_abstained"]
    for row in segments:
        probs, doubt = row["class_probabilities"], row["uncertainty"]
        assert sum(probs.values()) == pytest.approx(1)
        assert row["abstains"] == (row["confidence"] < 0.5)
        assert set(row["prediction_set"]) == {name for name, value in probs.items() if value >= 0.2}
        # Two members that differ: both parts are numbers, and they add up.
        assert doubt["epistemic"] > 0
        assert doubt["aleatoric"] + doubt["epistemic"] == pytest.approx(doubt["total"])


def test_the_table_names_what_was_not_answered(reader, tmp_path, capsys):
    assert main(["read", str(recording(tmp_path, 75)), "--bundle", str(reader)]) == 0
    out = capsys.readouterr().out
    assert "3 segments, seconds 20 to 50" in out
    assert "abstains from" in out
    assert "Research use only" in out


def test_reading_needs_no_torch(reader, tmp_path):
    code = (
        "import sys; from cerebeam.six_class.commands import main; "
        f"assert main(['read', {str(recording(tmp_path, 50))!r}, '--bundle', {str(reader)!r}]) == 0; "
        "assert not {'torch', 'sklearn', 'apache_beam', 'pandas'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        (["read", "none.edf", "--bundle", "{reader}"], "does not exist"),
        (["read", "none.edf", "--bundle", "{tmp}/no"], "cerebeam six-class build"),
        (["read", "{short}", "--bundle", "{reader}"], "9"),
        (["build", "--output", "{built}"], "exists already"),
        (["build", "--output", "{tmp}/new", "--member", "{tmp}/no"], "holds no saved model"),
        (["read"], "see --help"),
    ],
)
def test_a_mistake_is_one_line(argv, words, reader, tmp_path, capsys):
    (tmp_path / "built" / "bundle").mkdir(parents=True)
    places = {"reader": reader, "tmp": tmp_path, "built": tmp_path / "built"}
    if "{short}" in argv:
        noise = np.random.default_rng(0).normal(0, 20, (19, 9 * 200))
        write_edf(
            tmp_path / "9.edf", [noise], file_format="edf", ch_names=EEG_1020.ch_names, sfreq=200, patient="X",
            record_onsets_s=range(9),
        )  # fmt: skip
        places["short"] = tmp_path / "9.edf"
    try:
        code = main([part.format(**places) for part in argv])
    except SystemExit as ended:
        code = ended.code
    out, err = capsys.readouterr()
    assert (code, out) == (2, "")
    assert err.count("\n") == 1
    assert words in err


def test_a_server_answers_with_it_as_the_command_does(reader, tmp_path):
    model, bundle = open_model(reader), load_bundle(reader)
    rng = np.random.default_rng(3)
    x = np.cumsum(rng.normal(size=(19, 10_000)), axis=1)
    x = (30 * (x - x.mean(axis=1, keepdims=True)) / x.std(axis=1, keepdims=True)).astype(np.float32)
    window = model.window_of_array(x)
    assert window.features.shape[1] == 0  # flags and features are not computed: no graph reads them
    (alone,), pair = model.answers([window]), model.answers([window, model.intake.noise()])
    assert pair[0].class_probabilities == pytest.approx(alone.class_probabilities, abs=1e-6)
    assert bundle.trained_on is not None


def test_a_reader_of_other_features_is_refused(reader, tmp_path, monkeypatch):
    import signals.patterns.features as features

    names = features.pattern_names()
    monkeypatch.setattr(features, "pattern_names", lambda: (*names[1:], names[0]))
    with pytest.raises(BundleError, match="features that this code does not compute"):
        load_bundle(reader)
    assert json.loads((reader / ABOUT).read_text())["graphs"][0]["features"] == list(names)
