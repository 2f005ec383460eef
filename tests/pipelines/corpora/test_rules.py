"""The label rules against the label file that comes with the real recordings."""

import dataclasses
import gzip

import pytest

from pipelines.intake.discovery import CORPORA
from pipelines.intake.inputs import InputError, find_inputs
from signals.windows.labels import read_labels

WITH_RULES = ("albany-eegmmidb", "bissau-emotiv", "boston-iiic-sparcnet", "kyiv-eegmat", "tehran-adhd")


@pytest.mark.parametrize("site", WITH_RULES)
def test_rules_say_what_the_label_file_says(site, real):
    by_rule = find_inputs([str(real / site)], None).files
    by_file = find_inputs([str(real / site)], read_labels(real / "labels.csv")).files
    assert len(by_rule) >= 8
    # The label file says "unknown" where the rule is silent.
    told = [dataclasses.replace(f, subject="" if f.subject == "unknown" else f.subject) for f in by_file]
    assert list(by_rule) == told
    assert all(file.labels for file in by_rule)


NAMES = (
    ("albany-eegmmidb", "S003R01.edf", "S003", "rest_eyes_open"),
    ("albany-eegmmidb", "S003R02.edf", "S003", "rest_eyes_closed"),
    ("albany-eegmmidb", "S109R04.edf", "S109", "motor_imagery_LR"),
    ("albany-eegmmidb", "S109R08.edf", "S109", "motor_imagery_LR"),
    ("albany-eegmmidb", "S109R12.edf", "S109", "motor_imagery_LR"),
    ("albany-eegmmidb", "S109R03.edf", "S109", None),
    ("albany-eegmmidb", "S109R014.edf", "", None),
    ("boston-iiic-sparcnet", "LRDA_sample2.mat", "", "LRDA"),
    ("boston-iiic-sparcnet", "Seizure_sample12.mat", "", "Seizure"),
    ("boston-iiic-sparcnet", "Sunday_sample2.mat", "", None),
    ("bissau-emotiv", "signal-7.csv.gz", "GB007", "Epilepsy"),
    ("bissau-emotiv", "signal-12.csv", "GB012", "Control"),
    ("bissau-emotiv", "signal-9.csv", "GB009", None),
    ("kyiv-eegmat", "Subject07_1.edf", "Subject07", "rest"),
    ("kyiv-eegmat", "Subject07_2.edf", "Subject07", "mental_arithmetic"),
    ("tehran-adhd", "ADHD_v10p.mat", "v10p", "ADHD"),
    ("tehran-adhd", "Control_v41_2.mat", "v41_2", "Control"),
    ("tehran-adhd", "ADHD_.mat", "", None),
    ("tehran-adhd", "Adult_v1.mat", "", None),
)
MAINS = {"albany-eegmmidb": 60.0, "boston-iiic-sparcnet": 60.0, "bissau-emotiv": 50.0, "kyiv-eegmat": 50.0,
         "tehran-adhd": 50.0}  # fmt: skip


@pytest.mark.parametrize(("site", "name", "subject", "label"), NAMES)
def test_names_as_their_data_sets_describe_them(tmp_path, site, name, subject, label):
    folder = tmp_path / site
    folder.mkdir()
    (folder / name).touch()
    if site == "bissau-emotiv":
        (folder / "metadata_guineabissau.csv").write_text("subject.id,Group\n7,Epilepsy\n12,Control\n")
    (file,) = find_inputs([str(folder / name)], None).files
    assert (file.site_id, file.subject, file.mains_hz) == (site, subject, MAINS[site])
    assert [(each.label, each.onset_s) for each in file.labels] == ([(label, None)] if label else [])


@pytest.mark.parametrize(
    ("site", "mains_hz"),
    [("neonatal-stevenson", 50.0), ("sandiego-eeglab", 60.0), ("leipzig-lemon", 50.0), ("frankfurt-rest", 50.0),
     ("yasa-sleep", 60.0)],
)  # fmt: skip
def test_sites_of_which_only_the_place_is_known(tmp_path, site, mains_hz):
    (tmp_path / site).mkdir()
    (tmp_path / site / "a.edf").touch()
    (file,) = find_inputs([str(tmp_path)], None).files
    assert (file.site_id, file.subject, file.mains_hz, file.labels) == (site, "", mains_hz, ())


def test_a_table_beside_the_recordings_is_none(tmp_path):
    folder = tmp_path / "bissau-emotiv"
    folder.mkdir()
    (folder / "signal-7.csv").write_bytes(b"AF3,F7,O1\n" + b"1,2,3\n" * 90)
    (folder / "metadata_guineabissau.csv").write_text("subject.id,Group\n7,Epilepsy\n")
    inputs = find_inputs([str(tmp_path)], None)
    assert [len(inputs.files), len(inputs.side_files)] == [1, 1]


def test_the_label_file_wins(tmp_path):
    folder = tmp_path / "kyiv-eegmat"
    folder.mkdir()
    (folder / "Subject07_2.edf").touch()
    (tmp_path / "labels.csv").write_text("file,subject,label\nSubject07_2.edf,S-x,resting\n")
    (file,) = find_inputs([str(folder)], read_labels(tmp_path / "labels.csv")).files
    assert (file.subject, file.labels[0].label, file.mains_hz) == ("S-x", "resting", 50.0)
    (file,) = find_inputs([str(folder)], None).files
    assert (file.subject, file.labels[0].label) == ("Subject07", "mental_arithmetic")


@pytest.mark.parametrize("site", WITH_RULES)
def test_a_strange_name_is_known_nothing_of(tmp_path, site):
    folder = tmp_path / site
    folder.mkdir()
    (folder / "something else.edf").touch()
    (file,) = find_inputs([str(folder)], None).files
    assert (file.site_id, file.subject, file.labels) == (site, "", ())


def test_a_table_without_its_columns_is_one_line(tmp_path):
    folder = tmp_path / "bissau-emotiv"
    folder.mkdir()
    (folder / "signal-1.csv.gz").write_bytes(gzip.compress(b"AF3,F7,O1\n" + b"1,2,3\n" * 90, mtime=0))
    (folder / "metadata_guineabissau.csv").write_text("number,what\n1,Control\n")
    with pytest.raises(InputError, match="label rule of bissau-emotiv: 'subject.id'"):
        find_inputs([str(folder)], None)


def test_sites_are_named_once():
    named = [corpus.site_id for corpus in CORPORA if corpus.site_id != "hms"]
    assert len(named) == len(set(named))
