"""Identities planted in names, headers and annotations of files, looked for in everything that a run leaves."""

import json
import logging
from datetime import date

import numpy as np
import pyedflib
import pytest

from pipelines.preprocess import main
from pipelines.shards import main as shards_command

PLANTED = (b"Mustermann", b"Erika", b"MRN4711", b"Quincy", b"SN-998877", b"1961", b"0049-30", b"tech.Nora")


@pytest.fixture
def ward(tmp_path):
    """A sound and a cut recording of a patient who is named wherever there is room."""
    folder = tmp_path / "ward"
    folder.mkdir()
    path = folder / "Erika_Mustermann_1961.edf"
    x = 20 * np.random.default_rng(0).standard_normal((4, 2500))
    with pyedflib.EdfWriter(str(path), 4, file_type=pyedflib.FILETYPE_EDFPLUS) as writer:
        for i, name in enumerate(("Fp1", "Fp2", "O1", "O2")):
            header = {"label": name, "dimension": "uV", "sample_frequency": 100, "transducer": "Mustermann's electrode"}
            limits = {"physical_min": -500.0, "physical_max": 500.0, "digital_min": -32768, "digital_max": 32767}
            writer.setSignalHeader(i, header | limits)
        writer.setPatientName("Erika_Mustermann")
        writer.setPatientCode("MRN4711")
        writer.setBirthdate(date(1961, 3, 12))
        writer.setTechnician("tech.Nora")
        writer.setEquipment("SN-998877")
        writer.setAdmincode("0049-30-1234")
        writer.writeSamples(list(x))
        writer.writeAnnotation(1.0, 0, "Sz")
        writer.writeAnnotation(2.0, 0, "seizure end")
        writer.writeAnnotation(3.0, 0, "Dr. Quincy called Erika Mustermann, born 12.03.1961")
    (folder / "Erika_Mustermann_2.edf").write_bytes(path.read_bytes()[:700])
    return folder


def test_a_run_names_nobody(ward, tmp_path, caplog, capsys):
    caplog.set_level(logging.DEBUG)
    assert main(["--input", str(ward), "--output", str(tmp_path / "out"), "--salt", "s"]) == 0
    (row,) = map(json.loads, (tmp_path / "out" / "recordings.jsonl").read_text().splitlines())
    assert row["events"] == {"other": 1, "seizure": 2}
    left = {path: path.read_bytes() for path in (tmp_path / "out").rglob("*") if path.is_file()}
    assert len(left) >= 5
    for path, octets in left.items():
        for word in PLANTED:
            assert word not in octets, (path.name, word)
    # The one place where a path stays, for replay, is beside the set; the reason beside it names nobody.
    (refused,) = map(json.loads, (tmp_path / "out.private" / "quarantine.jsonl").read_text().splitlines())
    assert refused.pop("file").endswith("Erika_Mustermann_2.edf")
    assert not [word for word in PLANTED if word in json.dumps(refused).encode()]
    said = caplog.text.encode() + "".join(capsys.readouterr()).encode()
    ours = b"\n".join(line for line in said.splitlines() if b"beam" not in line and str(ward).encode() not in line)
    assert [word for word in PLANTED if word in ours] == []


def test_the_salt_alone_tells_that_two_files_are_of_one_person(ward, tmp_path):
    ids = []
    for salt in ("a", "b"):
        assert main(["--input", str(ward), "--output", str(tmp_path / salt), "--salt", salt]) == 0
        ids += json.loads((tmp_path / salt / "manifest.json").read_text())["subjects"]
    assert len(set(ids)) == 2


NAMES = ("Quandt", "Ottilie", "Zebulon", "Xaverine", "Hollerbach", "Mustermann", "Erika", "Quincy", "Penthesilea",
         "Tannhauser", "MRN4711", "Ruprecht")  # fmt: skip
"""Each stands where the house below says, and nowhere else."""


@pytest.fixture
def house(tmp_path, ward):
    """Folders, files, headers, annotations, sidecars and label files, each of which names somebody."""
    root = tmp_path / "Dr_Ruprecht"
    first = root / "Quandt_Ottilie" / "eeg.edf"
    first.parent.mkdir(parents=True)
    (ward / "Erika_Mustermann_1961.edf").rename(first)  # header and annotations name four more
    bids = root / "study" / "sub-Penthesilea" / "eeg" / "sub-Penthesilea_task-rest_eeg.edf"
    bids.parent.mkdir(parents=True)
    octets = bytearray(first.read_bytes())
    octets[-400] ^= 1  # another recording
    bids.write_bytes(octets)
    bids.with_name("sub-Penthesilea_task-rest_events.tsv").write_text(
        "onset\tduration\ttrial_type\n1\t0\tTannhauser entered\n2\t0\tseizure\n"
    )
    bids.with_name("sub-Penthesilea_task-rest_channels.tsv").write_text(
        "name\ttype\tunits\tdescription\nFp1\tEEG\tuV\tfixed by Tannhauser\n"
    )
    (root / "study" / "participants.tsv").write_text("participant_id\tsite\nsub-Penthesilea\tKlinik Hollerbach\n")
    (root / "study" / "dataset_description.json").write_text('{"Name": "Study of Hollerbach"}')
    broken = root / "Zebulon" / "Zebulon_broken.edf"
    broken.parent.mkdir()
    broken.write_bytes(first.read_bytes()[:700])
    rows = ["site,file,subject,onset_s,label", "Station Hollerbach,eeg.edf,Xaverine,,rest",
            "Station Hollerbach,Xaverine_2.edf,Xaverine,,rest"]  # fmt: skip
    (root / "labels.csv").write_text("\n".join(rows) + "\n")
    return root


@pytest.mark.parametrize("options", [(), ("--site-from", "constant:ward-1"), ("--direct_num_workers=2",)])
def test_names_planted_everywhere_are_found_nowhere(house, tmp_path, caplog, capfd, options):
    caplog.set_level(logging.INFO)
    out = tmp_path / "out"
    assert main(["--input", str(house), "--labels", str(house / "labels.csv"), "--output", str(out), "--salt", "s",
                 *options]) == 0  # fmt: skip
    assert shards_command(["check-identity", str(out), "--sources", str(house)]) == 0
    assert shards_command(["verify", str(out)]) == 0
    assert len((out / "recordings.jsonl").read_text().splitlines()) == 2
    texts = [path.relative_to(out).as_posix().encode() + path.read_bytes() for path in out.rglob("*") if path.is_file()]
    printed = caplog.text.encode() + "".join(capfd.readouterr()).encode()
    texts += [line for line in printed.splitlines() if b"beam" not in line]
    found = [name for name in NAMES for text in texts if name.lower().encode() in text.lower()]
    assert found == []


def test_a_set_of_older_code_that_took_folders_for_sites_is_found_out(house, tmp_path, capsys):
    out = tmp_path / "out"
    assert main(["--input", str(house), "--output", str(out), "--salt", "s", "--site-from", "folder"]) == 0
    # Whoever declares that folders are sites has said so.
    assert shards_command(["check-identity", str(out)]) == 0
    facts = json.loads((out / "run.json").read_text())
    del facts["options"]["site_from"]
    (out / "run.json").write_text(json.dumps(facts))
    capsys.readouterr()
    assert shards_command(["check-identity", str(out), "--sources", str(house)]) == 1
    findings = capsys.readouterr().out
    assert "site_id holds an identifier" in findings
    assert "quandt" not in findings.lower().replace("site=quandt-ottilie", "")
