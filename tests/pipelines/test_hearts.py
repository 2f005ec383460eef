"""Folders of electrocardiograms through the commands that EEG takes, with no option that names them."""

import json

import pytest

from benchmarks.benches.parts.branches import branches, modality_branches
from pipelines.intake.inputs import find_inputs
from pipelines.preprocess import main as preprocess
from pipelines.shards import main as shards
from signals.bundles.inputs import windows_of_shards
from signals.description.heart.features import HEART_FEATURES
from signals.shards.manifest import read_manifest
from synthetic.heart.files import write_corpus, write_record

pytest.importorskip("wfdb")


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    root = tmp_path_factory.mktemp("hearts")
    written = write_corpus(root / "in", n_people=3, seed=0, sites=("basel", "lagos"))
    return root, written


@pytest.fixture(scope="module")
def prepared(corpus):
    root, _ = corpus
    out = root / "out"
    assert preprocess(["--input", str(root / "in"), "--output", str(out), "--site-from", "folder", "--salt", "x"]) == 0
    return out


def test_a_run_without_a_profile_takes_the_one_of_its_recordings(prepared, corpus):
    manifest = read_manifest(prepared)
    assert (manifest.modality.name, manifest.profile["name"]) == ("ecg_12", "ecg-rhythm")
    assert manifest.features == HEART_FEATURES
    assert manifest.counts["files"]["accepted"] == 6
    windows = list(windows_of_shards([prepared]))
    assert {(w.site_id, w.label) for w in windows} == {
        (path.parent.name, ";".join(record.statements)) for path, record in corpus[1].items()
    }
    assert {w.features.shape for w in windows} == {(12, len(HEART_FEATURES))}


@pytest.mark.parametrize("command", ["verify", "stats", "show"])
def test_what_reads_shards_reads_these(prepared, command, capsys):
    assert not shards([command, str(prepared)])
    assert capsys.readouterr().out


def test_the_run_s_page_names_leads_and_no_electrode(prepared):
    page = (prepared / "report.html").read_text()
    assert "aVR" in page
    assert "taken as ECG" in page
    assert "taken as EEG" not in page


def test_samples_in_matlab_s_form_and_headers_of_segments_are_parts_of_records(tmp_path):
    (tmp_path / "A.hea").write_text("A 1 500 10\nA.mat 16+24 1000/mV 16 0 0 0 0 II\n")
    (tmp_path / "m.hea").write_text("m/2 1 500 20\nm_0 10\nm_1 10\n")
    for name in ("A.mat", "m_0.hea", "m_1.hea", "m_0.dat", "alone.mat"):
        (tmp_path / name).write_bytes(b"MATLAB 5.0")
    inputs = find_inputs([str(tmp_path)], None)
    assert {ref.uri.rsplit("/", 1)[1] for ref in inputs.files} == {"A.hea", "m.hea", "alone.mat"}


def test_bad_records_are_quarantined_and_the_good_ones_are_not_lost(corpus, tmp_path):
    record = next(iter(corpus[1].values()))
    for name in ("good", "unit", "long", "gone", "nameless"):
        write_record(tmp_path / "in" / f"{name}.hea", record.x_mv, sfreq=500.0)
    change = lambda name, old, new: (tmp_path / "in" / f"{name}.hea").write_text(  # noqa: E731
        (tmp_path / "in" / f"{name}.hea").read_text().replace(old, new)
    )
    change("unit", "/mV", "/uV")
    change("long", "12 500 5000", "12 500 50000")
    change("nameless", " aV", " xV")
    change("nameless", " I", " lead")
    change("nameless", " V", " chest")
    (tmp_path / "in" / "gone.dat").unlink()
    out = tmp_path / "out"
    code = preprocess(
        ["--input", str(tmp_path / "in"), "--output", str(out), "--salt", "x", "--profile", "ecg-rhythm",
         "--max-quarantined", "0.9"]
    )  # fmt: skip
    assert code == 0
    files = json.loads((out / "manifest.json").read_text())["counts"]["files"]
    assert files["accepted"] == 1
    reasons = [json.loads(line)["reason"] for line in (out / "quarantine" / "files.jsonl").read_text().splitlines()]
    assert sorted(reasons) == ["corrupt_header", "implausible_amplitude", "missing_file", "no_ecg_leads"]


def test_no_line_outside_of_modality_readers_and_profiles_tests_which_organ_it_looks_at(request):
    assert modality_branches(request.config.rootpath) == []


@pytest.mark.parametrize(
    ("code", "n"),
    [
        ("if modality.name == 'ecg_12': pass", 1), ("x = 1 if window.modality == 'eeg_psg' else 2", 1),
        ("if sensor_type != 'ecg' and a: pass", 1), ("match modality.kind:\n  case 'ecg': pass", 1),
        ("if modality.ch_names != EEG_1020.ch_names: pass", 0), ("if plan.modality is ECG_12: pass", 1),
        ("if name == 'II': pass", 0), ("x = TABLE[modality.kind]", 0), ("if modality.n_chans == 12: pass", 0),
    ],
)  # fmt: skip
def test_the_search_for_such_lines_finds_planted_ones(code, n):
    assert len(branches(code)) == n
