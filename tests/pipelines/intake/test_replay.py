import json

import pytest

from pipelines.intake.inputs import FileRef, InputError
from pipelines.intake.replay import replayed_inputs
from signals.windows.labels import Label, read_labels

ROWS = [
    {"file": "/a/one.edf", "site_id": "north", "subject": "p1", "mains_hz": 50.0, "file_id": "1" * 16,
     "reason": "label_out_of_range", "detail": "",
     "labels": [{"onset_s": 900.0, "label": "LPD", "votes": [0.0, 3.0, 0.0, 0.0, 0.0, 0.0]}]},
    {"file": "/a/two.edf", "site_id": "south", "subject": "", "mains_hz": None, "file_id": "2" * 16,
     "reason": "no_samples", "detail": "", "labels": []},
]  # fmt: skip
ONE = FileRef("/a/one.edf", "north", "p1", 50.0, (Label(onset_s=900.0, label="LPD", votes=(0, 3, 0, 0, 0, 0)),))
TWO = FileRef("/a/two.edf", "south", "", None, ())


@pytest.fixture
def output(tmp_path):
    (tmp_path / "out.private").mkdir()
    (tmp_path / "out" / "quarantine").mkdir(parents=True)
    text = "".join(json.dumps(row) + "\n" for row in ROWS)
    (tmp_path / "out.private" / "quarantine.jsonl").write_text(text)
    (tmp_path / "out" / "quarantine" / "files.jsonl").write_text("")
    return tmp_path / "out"


@pytest.mark.parametrize("given", ["out", "out/quarantine/files.jsonl", "out.private/quarantine.jsonl"])
def test_the_set_its_list_and_the_private_list_mean_the_same(output, given):
    assert replayed_inputs(str(output.parent / given), None).files == (ONE, TWO)


def test_only_some_reasons(output):
    assert replayed_inputs(str(output), None, reasons=["no_samples"]).files == (TWO,)
    with pytest.raises(InputError, match="no file was left out for 'flat', only for label_out_of_range, no_samples"):
        replayed_inputs(str(output), None, reasons=["flat"])


def test_corrected_labels_take_the_place_of_the_old(output, tmp_path):
    (tmp_path / "labels.csv").write_text("site,subject,file,onset_s,label\nnorth,p9,one.edf,5,GPD\n")
    files = replayed_inputs(str(output), read_labels(tmp_path / "labels.csv")).files
    assert files[0] == FileRef("/a/one.edf", "north", "p9", 50.0, (Label(onset_s=5.0, label="GPD"),))
    assert files[1] == TWO


def test_nothing_to_replay(tmp_path):
    with pytest.raises(InputError, match="nothing to replay: .*out.private/quarantine.jsonl does not exist"):
        replayed_inputs(str(tmp_path / "out"), None)
