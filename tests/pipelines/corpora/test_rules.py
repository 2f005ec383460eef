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
