"""Sites that come in by their cards alone: the documentation's cards against the label file of the real recordings."""

import dataclasses
import gzip
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from scipy.io import savemat

from pipelines.dry_run import main as dry_run
from pipelines.intake.inputs import find_inputs
from pipelines.intake.replay import replayed_inputs
from pipelines.preprocess import main
from signals.readers.layouts.layout import Layout
from signals.shards.manifest import read_manifest
from signals.sites.card import CardError, card_of
from signals.windows.labels import read_labels
from tests.pipelines.conftest import write_edf

WITH_RULES = ("albany-eegmmidb", "bissau-emotiv", "boston-iiic-sparcnet", "kyiv-eegmat", "tehran-adhd")
CARDS = str(Path(__file__).parents[3] / "docs" / "sites")


@pytest.mark.parametrize("site", WITH_RULES)
def test_cards_know_what_the_label_file_holds(site, real, site_cards):
    by_card = find_inputs([str(real / site)], None, site_cards).files
    by_file = find_inputs([str(real / site)], read_labels(real / "labels.csv"), site_cards).files
    assert len(by_card) >= 8
    # The label file has "unknown" where the card has no rule.
    named = [dataclasses.replace(f, subject="" if f.subject == "unknown" else f.subject) for f in by_file]
    assert list(by_card) == named
    assert all(file.labels for file in by_card)


def test_the_label_file_wins(tmp_path, site_cards):
    folder = tmp_path / "kyiv-eegmat"
    folder.mkdir()
    (folder / "Subject07_2.edf").touch()
    (tmp_path / "labels.csv").write_text("file,subject,label\nSubject07_2.edf,S-x,resting\n")
    (file,) = find_inputs([str(folder)], read_labels(tmp_path / "labels.csv"), site_cards).files
    assert (file.subject, file.labels[0].label, file.mains_hz) == ("S-x", "resting", 50.0)
    (file,) = find_inputs([str(folder)], None, site_cards).files
    assert (file.subject, file.labels[0].label) == ("Subject07", "mental_arithmetic")


@pytest.mark.parametrize("site", WITH_RULES)
def test_a_strange_name_is_known_nothing_of(tmp_path, site, site_cards):
    folder = tmp_path / site
    folder.mkdir()
    (folder / "something else.edf").touch()
    (file,) = find_inputs([str(folder)], None, site_cards).files
    assert (file.site_id, file.subject, file.labels) == (site, "", ())


def test_a_table_without_its_columns_is_one_line(tmp_path, site_cards):
    folder = tmp_path / "bissau-emotiv"
    folder.mkdir()
    (folder / "signal-1.csv.gz").write_bytes(gzip.compress(b"AF3,F7,O1\n" + b"1,2,3\n" * 90, mtime=0))
    (folder / "metadata_guineabissau.csv").write_text("number,what\n1,Control\n")
    with pytest.raises(CardError, match=r"bissau-emotiv.yaml line 9, table: .* has no column 'subject.id'"):
        find_inputs([str(folder)], None, site_cards)


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
def test_names_as_their_data_sets_describe_them(tmp_path, site, name, subject, label, site_cards):
    folder = tmp_path / site
    folder.mkdir()
    (folder / name).touch()
    if site == "bissau-emotiv":
        (folder / "metadata_guineabissau.csv").write_text("subject.id,Group\n7,Epilepsy\n12,Control\n")
    (file,) = find_inputs([str(folder / name)], None, site_cards).files
    assert (file.site_id, file.subject, file.mains_hz) == (site, subject, MAINS[site])
    assert [(each.label, each.onset_s) for each in file.labels] == ([(label, None)] if label else [])


@pytest.mark.parametrize(
    ("site", "mains_hz"),
    [("neonatal-stevenson", 50.0), ("sandiego-eeglab", 60.0), ("leipzig-lemon", 50.0), ("frankfurt-rest", 50.0),
     ("yasa-sleep", 60.0)],
)  # fmt: skip
def test_sites_of_which_only_the_place_is_known(tmp_path, site, mains_hz, site_cards):
    (tmp_path / site).mkdir()
    (tmp_path / site / "a.edf").touch()
    (file,) = find_inputs([str(tmp_path)], None, site_cards).files
    assert (file.site_id, file.subject, file.mains_hz, file.labels) == (site, "", mains_hz, ())


def test_a_table_beside_the_recordings_is_none(tmp_path, site_cards):
    folder = tmp_path / "bissau-emotiv"
    folder.mkdir()
    (folder / "signal-7.csv").write_bytes(b"AF3,F7,O1\n" + b"1,2,3\n" * 90)
    (folder / "metadata_guineabissau.csv").write_text("subject.id,Group\n7,Epilepsy\n")
    inputs = find_inputs([str(tmp_path)], None, site_cards)
    assert [len(inputs.files), len(inputs.side_files)] == [1, 1]


def test_a_layout_on_a_card_as_its_source_describes_it(site_cards):
    # Nasrabadi et al. 2020, Standard-10-20-Cap19: samples x channels at 128 Hz.
    (layout,) = next(card for card in site_cards if card.site_id == "tehran-adhd").declared.layouts
    assert layout == Layout(
        name="tehran-adhd", formats=("mat",), sfreq=128.0, sfreq_from="Fs|fs|srate|sfreq", time_axis=0,
        variable=r"{stem}|v\d+p?",
        ch_names=("Fp1", "Fp2", "F3", "F4", "C3", "C4", "P3", "P4", "O1", "O2", "F7", "F8", "T7", "T8", "P7", "P8",
                  "Fz", "Cz", "Pz"),
    )  # fmt: skip


def test_sites_are_named_once(site_cards):
    named = [card.site_id for card in site_cards]
    assert len(named) == len(set(named)) == 14


def write_stand_ins(root):
    """Write files of three sites' shapes: .mat with its own names and rate, .edf, .npz with a column of stimuli."""
    rng = np.random.default_rng(0)
    for name in ("santafe-openbci", "grenoble-gipsa", "tehran-adhd"):
        (root / name).mkdir(parents=True)
    names = np.array(
        ["Fp1", "Fp2", "F3", "F4", "C3", "C4", "P3", "P4", "O1", "O2", "Cz", "Pz", "Fz", "T7", "T8"], object
    )
    slow = 20 * rng.normal(size=(125 * 40, 15)).cumsum(axis=0) % 200 - 100
    savemat(root / "santafe-openbci" / "S02_FILT_S1R0.mat",
            {"samples": slow, "channelNames": names, "samplingFreq": 125.0})  # fmt: skip
    write_edf(root / "santafe-openbci" / "S03_FILT_S1R0.edf")
    data = np.c_[10 * rng.normal(size=(128 * 30, 16)).cumsum(axis=0) % 100 - 50, np.zeros(128 * 30)]
    np.savez(root / "grenoble-gipsa" / "subject_01_session_01.npz", data=data)
    (root / "grenoble-gipsa" / "subject_01_session_01.yml").write_text("id: {subject: 1}\n")
    child = 10 * rng.normal(size=(128 * 20, 19)).cumsum(axis=0) % 100 - 50
    savemat(root / "tehran-adhd" / "ADHD_v18p.mat", {"v18p": child})
    return root


def test_new_sites_come_in_by_cards_alone(tmp_path, capsys):
    root = write_stand_ins(tmp_path / "more")
    assert dry_run(["--input", str(root)]) == 0
    assert capsys.readouterr().out.count("quarantined | `unsupported_format`") == 3
    assert dry_run(["--input", str(root), "--site-card", CARDS]) == 0
    table = capsys.readouterr().out
    assert "quarantined" not in table
    assert "site santafe-openbci, subject known, label motor_imagery_vs_rest, mains 50 Hz" in table
    assert "mat/santafe-openbci, 15 electrodes at 125 Hz, 4 windows" in table
    assert (
        "npz/grenoble-gipsa, 16 electrodes at 128 Hz, 3 windows; site grenoble-gipsa, subject known, no label" in table
    )
    for workers in ((), ("--direct_num_workers=2",)):
        out = tmp_path / f"out{len(workers)}"
        args = ["--input", str(root), "--output", str(out), "--salt", "s", *workers]
        assert main([*args, "--site-card", CARDS, "--max-quarantined", "0"]) == 0
        counts = read_manifest(out).counts
        assert {site: each["windows"] for site, each in counts["sites"].items()} == {
            "grenoble-gipsa": 3, "santafe-openbci": 4 + 6, "tehran-adhd": 2,
        }  # fmt: skip
        assert json.loads((out / "run.json").read_text())["options"]["carded_sites"] == sorted(counts["sites"])


def test_the_real_sites_come_in_by_cards_alone(real, site_cards, capsys):
    more = real.parent / "more"
    if not more.is_dir():
        pytest.skip("CEREBEAM_REAL_DATA has no folder more/")
    files = find_inputs([str(more)], None, site_cards).files
    assert {file.site_id for file in files} == {
        "bissau-emotiv", "calgary-gtec", "grenoble-gipsa", "parma-cap", "santafe-openbci", "tehran-adhd",
    }  # fmt: skip
    by_file = find_inputs([str(more)], read_labels(more / "labels.csv"), site_cards).files
    of_santafe = [(a.subject, b.subject) for a, b in zip(files, by_file, strict=True) if a.site_id == "santafe-openbci"]
    assert len(of_santafe) == 7
    assert all(a == b for a, b in of_santafe)
    sites = ("calgary-gtec", "grenoble-gipsa", "parma-cap", "santafe-openbci")
    assert dry_run(["--input", *(str(more / site) for site in sites), "--site-card", CARDS]) == 0
    rows = capsys.readouterr().out.splitlines()
    assert sum(" | read | " in row for row in rows) == 7 + 1 + 1
    # Five pairs of neighbours, which no potential can be made of.
    assert [row.split(" | ")[0] for row in rows if "quarantined" in row] == ["| parma-cap/sample.edf"]
    assert "`bipolar_montage`" in "".join(rows)


def test_a_card_beside_the_data_is_found(tmp_path, capsys):
    folder = tmp_path / "ward"
    write_edf(folder / "deep" / "p1_x.edf")
    write_edf(tmp_path / "elsewhere" / "p2_x.edf", seed=2)
    (folder / "site-card.yaml").write_text("name: ward-7\nsubject: '^(p\\d)_'\nmains: 60\n")
    files = find_inputs([str(tmp_path)], None).files
    assert [(file.site_id[:5], file.subject, file.mains_hz) for file in files] == [
        ("site-", "", None), ("ward-", "p1", 60.0),
    ]  # fmt: skip
    (folder / "deep" / "site-card.toml").write_text('name = "deep"\n')
    assert [file.site_id for file in find_inputs([str(folder / "deep" / "p1_x.edf")], None).files] == ["deep"]
    (folder / "site-card.yaml").write_text("name: ward-7\nsubjct: x\n")
    with pytest.raises(SystemExit) as caught:
        main(["--input", str(folder), "--output", str(tmp_path / "out"), "--salt", "s"])
    assert caught.value.code == 2
    printed = capsys.readouterr().err
    assert "site-card.yaml line 2, subjct: unknown key; is 'subject' meant?" in printed
    assert printed.count("\n") == 1
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("place", ["none.yaml", "empty", "two"])
def test_cards_that_are_not_there_or_contradict_are_one_line(tmp_path, place, capsys):
    write_edf(tmp_path / "in" / "a.edf")
    (tmp_path / "empty").mkdir()
    (tmp_path / "two").mkdir()
    for name in ("a", "b"):
        (tmp_path / "two" / f"{name}.yaml").write_text(f"name: {name}\n")
    with pytest.raises(SystemExit) as caught:
        main(["--input", str(tmp_path / "in"), "--output", str(tmp_path / "out"), "--site-card", str(tmp_path / place)])
    assert caught.value.code == 2
    expected = {"none.yaml": "does not exist", "empty": "nor a folder that holds one", "two": "both speak of '*'"}
    printed = capsys.readouterr().err
    assert expected[place] in printed
    assert printed.count("\n") == 1


def test_a_replay_keeps_the_card(tmp_path, site_cards):
    root = write_stand_ins(tmp_path / "more")
    npz = root / "grenoble-gipsa" / "subject_01_session_01.npz"
    sound = npz.read_bytes()
    npz.write_bytes(sound[:2000])
    out = tmp_path / "out"
    args = ["--salt", "s", "--max-quarantined", "1"]
    assert main(["--input", str(root), "--output", str(out), *args, "--site-card", CARDS]) == 0
    (ref,) = replayed_inputs(str(out), None).files
    assert ref.declared == card_of(str(npz), site_cards).declared
    npz.write_bytes(sound)
    assert main(["--replay", str(out), "--output", str(tmp_path / "again"), *args]) == 0
    assert read_manifest(tmp_path / "again").counts["windows"]["written"] == 3


def test_a_site_that_a_card_names_is_no_identity(tmp_path):
    from pipelines.shards import main as shards

    folder = tmp_path / "in" / "Quandt"
    write_edf(folder / "a1.edf")
    (folder / "site-card.yaml").write_text("name: quandt\n")
    out = tmp_path / "out"
    assert main(["--input", str(tmp_path / "in"), "--output", str(out), "--salt", "s"]) == 0
    assert shards(["check-identity", str(out), "--sources", str(tmp_path / "in")]) == 0
    facts = json.loads((out / "run.json").read_text())
    facts["options"]["carded_sites"] = []
    (out / "run.json").write_text(json.dumps(facts))
    assert shards(["check-identity", str(out), "--sources", str(tmp_path / "in")]) == 1
    shutil.rmtree(out)
