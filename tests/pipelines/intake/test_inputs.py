"""Download folders, links and names as they come: what counts as a recording, whose it is, and of which site."""

import gzip
import json
import os

import numpy as np
import pytest

from pipelines.intake.candidates import could_be_recording, holds_samples, names_electrodes
from pipelines.intake.inputs import InputError, find_inputs
from pipelines.intake.sites import SiteRule, SiteRuleError, site_rule
from pipelines.preprocess import main
from pipelines.runs.accounting import Counts
from signals.shards.manifest import read_manifest
from signals.windows.labels import read_labels
from synthetic.recordings.clinical_files import write_egi_mff
from tests.pipelines.conftest import write_edf

SALT = ("--salt", "s")


def run(folder, output, *args):
    assert main(["--input", str(folder), "--output", str(output), *SALT, *args]) == 0
    return read_manifest(output)


def test_a_folder_of_eegmmidb_as_downloaded(tmp_path):
    root = tmp_path / "in"
    for number in range(2):
        write_edf(root / "S001" / f"S001R0{number}.edf", seed=number)
        (root / "S001" / f"S001R0{number}.edf.event").write_bytes(b"\0" * 20)
    for name in ("RECORDS", "ANNOTATORS", "SHA256SUMS.txt", "wfdbcal", "index.html"):
        (root / name).write_text("x 1\ny 2\n" * 9)
    files = Counts.from_dict(run(root, tmp_path / "out", "--max-quarantined", "0").counts).files
    assert (files.n_in, files.accepted, files.quarantined, files.side_files) == (2, 2, 0, 7)


def test_a_folder_of_tuh_as_downloaded(tmp_path):
    root = tmp_path / "in" / "aaaaaaaa" / "s001_2012"
    head = "# version = csv_v1\n# bname = aaaaaaaa_s001_t000\nchannel,start_time,stop_time,label,confidence\n"
    for number in range(2):
        write_edf(root / f"t00{number}.edf", seed=number)
        (root / f"t00{number}.csv").write_text(head + "FP1-F7,0.0,36.9,bckg,1.0\n" * 20)
        (root / f"t00{number}.csv_bi").write_text(head + "TERM,0.0,36.9,bckg,1.0\n" * 20)
        (root / f"t00{number}.rec").write_text("13,90.1,91.0,6\n" * 20)
    files = Counts.from_dict(run(tmp_path / "in", tmp_path / "out", "--max-quarantined", "0").counts).files
    assert (files.n_in, files.accepted, files.side_files) == (2, 2, 6)


@pytest.mark.parametrize(
    ("name", "content", "expected"),
    [
        ("a.edf", b"", True),  # empty, but promised: a loss
        ("a.EDF", b"0       ", True),
        ("nameless", b"0       X X X X", True),  # EDF by content
        ("a.rec", b"0       X X X X", True),
        ("a.rec", b"13,90.1,91.0,6\n", False),  # annotations of TUH
        ("a.mat", b"whatever", True),
        ("a.gdf", b"GDF 2.20", True),  # EEG without a reader: quarantined with advice
        ("a.csv", b"Fp1,Fp2\n" + b"1.5,2.5\n" * 9, True),
        ("a.csv", b"\xef\xbb\xbfCOUNTER;AF3\n" + b"1;4200.5\n" * 9, True),
        (
            "a.csv.gz",
            gzip.compress(b'"","AF3","AF4"\n' + b'"1",644.6,645.1\n"2",644.6,645.1\n' * 9, mtime=0),
            True,
        ),  # Emotiv
        ("a.csv", b"Sample Index,EXG Channel 0,Timestamp\n" + b"1,-4.5,2021-03-01 12:30:01.123\n" * 9, True),  # OpenBCI
        ("a.csv", b"Fp1,Fp2,event\n" + b"1.5,2.5,eyes open\n" * 9, True),
        ("electrodes.csv", b"name,x,y,z\n" + b"Fp1,0.1,0.2,0.3\n" * 9, False),
        ("a.csv", b"file,onset_s,label\na.edf,5,LPD\n" * 9, False),
        ("a.csv.gz", gzip.compress(b"a,b\n" + b"1,2\n" * 90, mtime=0), True),
        ("a.csv.gz", gzip.compress(b"a,b\n" + b"1,x\n" * 90, mtime=0), False),
        ("a.txt", b"%OpenBCI Raw EEG Data\n", True),
        ("a.txt", b"0.25\n" * 900, True),  # one channel
        ("hypnogram.txt", b"0\n1\n2\n2\n" * 90, False),  # a list of stages
        ("a.txt", b"about these files\n" * 9, False),
        ("a.edf", b"version https://git-lfs.github.com/spec/v1\n", True),
        ("notes", b"version https://git-lfs.github.com/spec/v1\n", False),
        ("README", b"0       ", False),
        (".a.edf", b"0       ", False),
        ("a.pdf", b"%PDF-1.7", False),
    ],
)
def test_what_could_be_a_recording(tmp_path, name, content, expected):
    (tmp_path / name).write_bytes(content)
    assert could_be_recording(str(tmp_path / name)) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", False),
        ("a,b\n1,2\n", False),  # too few rows to judge by
        ("a,b\n1,2\n1,2,3\n1,2\n1,2\n", False),
        ("t Fp1\n0.1 2\n0.2 NA\n0.3 4\n0.4 5\n0.5", True),  # the last line may be cut
    ],
)
def test_tables_of_numbers_and_other_texts(text, expected):
    assert holds_samples(text) == expected


def test_a_file_that_is_named_outright_is_taken(tmp_path):
    (tmp_path / "odd.pdf").write_bytes(b"%PDF")
    assert [file.uri for file in find_inputs([str(tmp_path / "odd.pdf")], None).files] == [str(tmp_path / "odd.pdf")]
    with pytest.raises(InputError, match="no recording among the 1 files"):
        find_inputs([str(tmp_path)], None)


def test_a_datalad_tree_keeps_its_names(tmp_path):
    """Files are links into .git/annex: sidecars, sites and subjects are those of the tree that a person sees."""
    root = tmp_path / "ds-rest"
    for number in (1, 2):
        key = root / ".git" / "annex" / "objects" / "aa" / f"MD5E-{number}.edf" / f"MD5E-{number}.edf"
        write_edf(key, seed=number)
        link = root / f"sub-0{number}" / "eeg" / f"sub-0{number}_task-rest_eeg.edf"
        link.parent.mkdir(parents=True)
        link.symlink_to(os.path.relpath(key, link.parent))
        lines = [f"EEG {name}-REF\tEEG\tuV\t{'bad' if name == 'C3' else 'good'}" for name in ("C3", "C4")]
        link.with_name(f"sub-0{number}_task-rest_channels.tsv").write_text(
            "name\ttype\tunits\tstatus\n" + "\n".join(lines) + "\n"
        )
    lost = root / "sub-03" / "eeg" / "sub-03_task-rest_eeg.edf"  # its content was never fetched
    lost.parent.mkdir(parents=True)
    lost.symlink_to("../../.git/annex/objects/none")
    (root / "dataset_description.json").write_text('{"Name": "Resting"}')
    (root / "participants.tsv").write_text("participant_id\tsite\nsub-01\tA\nsub-02\tB\nsub-03\tB\n")
    (root / ".git" / "config").write_text("[core]\n")
    manifest = run(root, tmp_path / "out", "--site-from", "bids")
    counts = Counts.from_dict(manifest.counts)
    assert sorted(counts.sites) == ["a", "b"]
    assert counts.files.by_reason == {"missing_file": 1}
    assert counts.files.side_files == 4  # two tables of channels, participants and description; nothing of .git
    assert len(manifest.subjects) == 2
    assert all("bids_bad_channels" in site.notes for site in counts.sites.values())


def test_a_loop_of_links_ends(tmp_path):
    write_edf(tmp_path / "in" / "a" / "x.edf")
    (tmp_path / "in" / "a" / "again").symlink_to(tmp_path / "in")
    (tmp_path / "elsewhere").mkdir()
    write_edf(tmp_path / "elsewhere" / "y.edf")
    (tmp_path / "in" / "linked").symlink_to(tmp_path / "elsewhere")
    found = find_inputs([str(tmp_path / "in")], None).files
    assert [file.uri for file in found] == [str(tmp_path / "in" / "a" / "x.edf"), str(tmp_path / "in/linked/y.edf")]


PATHS = {"card": "/d/kyiv-eegmat/Subject00_1.edf", "ward": "/d/Mustermann_Erika/eeg.edf"}


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        ("folder", "mustermann-erika"),
        ("bids", "resting"),
        ("label", "berlin"),
        ("constant:ward-7", "ward-7"),
        ("constant", "site"),
    ],
)
def test_a_declared_rule_names_the_site(rule, expected):
    assert site_rule(rule, salt="s").site_id(PATHS["ward"], dataset="Resting", labelled="berlin") == expected


@pytest.mark.parametrize("rule", [None, "bids", "label"])
def test_without_a_name_by_rule_the_site_is_hashed(rule):
    sites = {site_rule(rule, salt=salt).site_id(PATHS["ward"]) for salt in ("s", "t")}
    assert len(sites) == 2  # which hash, only the salt tells
    assert all(site.startswith("site-") and len(site) == 15 for site in sites)
    same = site_rule(rule, salt="s")
    assert same.site_id("/other/Mustermann_Erika/2.edf") == same.site_id(PATHS["ward"])
    assert same.site_id("/d/Else/eeg.edf") != same.site_id(PATHS["ward"])


def test_a_card_brings_its_site_with_it():
    for rule, expected in (("folder", "kyiv-eegmat"), (None, "kyiv-eegmat"), ("constant:x", "x")):
        assert site_rule(rule, salt="s").site_id(PATHS["card"], card="kyiv-eegmat") == expected
    assert SiteRule(source="label").site_id("/a/b.edf", card="kyiv", labelled="north") == "north"


@pytest.mark.parametrize("text", ["hash", "folders", "folder:x", "constant:Erika M.", ""])
def test_a_rule_that_cannot_be_is_one_line(text):
    with pytest.raises(SiteRuleError, match="--site-from"):
        site_rule(text, salt="s")


def test_unknown_persons_of_one_file_name_are_two(tmp_path):
    for number, folder in enumerate(("p1", "p2")):
        write_edf(tmp_path / "in" / folder / "eeg" / "rec.edf", seed=number)
        path = tmp_path / "in" / folder / "eeg" / "rec.edf"
        raw = path.read_bytes()
        path.write_bytes(raw[:8] + b"X X X X".ljust(80) + raw[88:])
    subjects = run(tmp_path / "in", tmp_path / "out").subjects
    assert len(subjects) == 2
    assert all(name.startswith("unknown-") for name in subjects)


def test_two_spellings_beside_one_patient_code_are_one_subject(tmp_path):
    for number, name in enumerate((b"Haagse_Harry", b"Harry_Haagse", b"Harry__Haagse")):
        path = write_edf(tmp_path / "in" / f"{number}.edf", seed=number)
        raw = path.read_bytes()
        path.write_bytes(raw[:8] + (b"MCH-0234567 F 02-MAY-1951 " + name).ljust(80) + raw[88:])
    assert len(run(tmp_path / "in", tmp_path / "out").subjects) == 1


@pytest.mark.parametrize("patient", [b"anonymous", b"X X X Anonymous", b"Unknown Patient", b"0"])
def test_a_filler_is_no_person(tmp_path, patient):
    for number in range(2):
        path = write_edf(tmp_path / "in" / f"{number}.edf", seed=number)
        raw = path.read_bytes()
        path.write_bytes(raw[:8] + patient.ljust(80) + raw[88:])
    assert len(run(tmp_path / "in", tmp_path / "out").subjects) == 2


def test_a_label_row_of_another_site_is_not_taken(tmp_path):
    for seed, site in enumerate(("north", "south")):
        write_edf(tmp_path / "in" / site / "sub01.edf", seed=seed)
    (tmp_path / "labels.csv").write_text("site,file,subject,label\nnorth,sub01.edf,anna,Epilepsy\n")
    manifest = run(tmp_path / "in", tmp_path / "out", "--labels", str(tmp_path / "labels.csv"), "--site-from", "folder")
    classes = {site: entry["classes"] for site, entry in manifest.counts["sites"].items()}
    assert classes == {"north": {"Epilepsy": 6}, "south": {"": 6}}
    facts = json.loads((tmp_path / "out" / "run.json").read_text())
    assert facts["options"]["site_from"] == "folder"


def test_a_folder_that_is_a_recording_is_one(tmp_path):
    """EGI's .mff: the folder comes in as one file, by a walk, by its own name and by a glob, and nothing inside it."""
    pytest.importorskip("mffpy")
    x = 20 * np.random.default_rng(0).normal(size=(33, 250 * 25)).cumsum(axis=1) % 100 - 50
    folder = tmp_path / "in" / "day1" / "a.mff"
    folder.parent.mkdir(parents=True)
    write_egi_mff(folder, [x], sfreq=250)
    (folder.parent / "notes.txt").write_text("an .mff folder lies beside this\n")
    for item in (tmp_path / "in", folder, tmp_path / "in" / "**" / "*"):
        found = find_inputs([str(item)], None)
        assert [file.uri for file in found.files] == [str(folder)]
        assert len(found.side_files) <= 1
    (tmp_path / "in" / "site-card.yaml").write_text(
        "name: net\nchannels: {E1: Fp1, E2: Fp2, E3: F3, E4: F4, E5: C3, E6: C4, E7: P3, E8: P4, E9: O1, E10: O2}\n"
    )
    manifest = run(tmp_path / "in", tmp_path / "out", "--max-quarantined", "0")
    assert manifest.counts["sites"]["net"]["readers"] == {"egi-mff": 1}
    assert manifest.counts["windows"]["written"] == 2
    (folder / "signal1.bin").unlink()
    assert [file.uri for file in find_inputs([str(tmp_path / "in")], None).files] == [str(folder)]  # a loss is counted


def test_the_order_of_files_is_that_of_their_numbers_alone_and_of_each_site(tmp_path):
    for name in ("north/zoe_2.edf", "north/ann_10.edf", "north/ill-2.edf", "north/nobody.edf", "south/x7.edf"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"x")
    files = find_inputs([str(tmp_path)], None, sites=site_rule("folder", salt="s")).files
    # Numbers 2, 2 and 10 of north: two places, letters and the order of the alphabet do not matter.
    assert {f.uri.rsplit("/", 1)[1]: f.file_order for f in files} == {
        "zoe_2.edf": 0, "ill-2.edf": 0, "ann_10.edf": 1, "nobody.edf": None, "x7.edf": 0,
    }  # fmt: skip


def test_a_label_files_source_counts_before_that_of_the_card(tmp_path, site_cards):
    folder = tmp_path / "tehran-adhd"
    folder.mkdir()
    (folder / "ADHD_v1.mat").write_bytes(b"x")
    (folder / "Control_v2.mat").write_bytes(b"x")
    table = tmp_path / "labels.csv"
    table.write_text("file,label,label_source\nADHD_v1.mat,ADHD,Synthetic\nControl_v2.mat,ADHD,\n")
    ill, well = find_inputs([str(folder)], read_labels(table), site_cards).files
    assert (ill.label_source, well.label_source) == ("synthetic", "unknown")  # v2's label is not the card's
    assert [f.label_source for f in find_inputs([str(folder)], None, site_cards).files] == ["experts", "experts"]


@pytest.mark.parametrize(
    "name",
    ["a.eeg", "A.VMRK", "a.fdt", "a.tsv", "a.json", "a.jsonl", "a.md", "a.html", "labels.csv", "labels_2.csv",
     "manifest.csv", "README", "readme.edf", "LICENSE.txt", "metadata_x.csv", "subject-info.csv", "participants.csv",
     "a.edf.partial", ".edf", "_COMPLETED"],
)  # fmt: skip
def test_side_files_by_name(tmp_path, name):
    # Whatever they hold: this would pass for an EDF header and for a table of samples.
    for content in (b"0       X X X X", b"Fp1,Fp2\n" + b"1.5,2.5\n" * 9):
        (tmp_path / name).write_bytes(content)
        assert not could_be_recording(str(tmp_path / name))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("x,y\n" + "1,2\n" * 4, True),
        ("x,y\n" + "1,2\n" * 2 + "1,2", False),  # the cut line does not count
        ("x,y\n" + "1,2\n" * 3, False),
        ("x,y\n" + "1,2\n" * 3 + "1", True),
        ("x\n" + "1.5\n" * 4, True),
        ("x\n" + "1\n" * 4, False),
        ("x,y\n" + "1,\n" * 4, True),  # missing values
        ("x,y\n" + "1,N/A\n" * 4, True),
        ("x,y\n" + "1,null\n" * 4, True),
        ("x,y\n" + "1,inf\n" * 4, True),
        ("x\n" + "nan\n" * 4, False),
        ('x\ty\n' + '"1"\t" 2 "\n' * 4, True),
        ("t,x\n" + "12:30:01.5,2.5\n" * 4, True),
        ("t,x\n" + "2021-03-01T12:30Z,2.5\n" * 4, True),
        ("t\n" + "12:30:01\n" * 4, False),  # times alone are no samples
        ("t,x\n" + "soon,2\n" * 4, False),
        ("% a\n# b\n\nx,y\n" + "1,2\n\n" * 4, True),
        ("x,y\n" + "1,2\n" * 3 + "1,2,3\n" * 2, False),
    ],
)  # fmt: skip
def test_what_is_a_table_of_samples(text, expected):
    assert holds_samples(text) == expected


@pytest.mark.parametrize(
    ("line", "expected"),
    [("Fp1,Fp2", True), ("Fp1;x;t7", True), ("Fp1 O1", True), ("Fp1,x", False), ("\n% Fp1,Fp2\n# C3,C4\nx,y\n", False),
     ("% x\n\nFp1,Fp2\n", True), ("", False)],
)  # fmt: skip
def test_columns_that_are_electrodes(line, expected):
    assert names_electrodes(line) == expected
