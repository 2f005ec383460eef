"""Identities planted in names, headers and annotations of files, looked for in everything that a run leaves."""

import json
import logging
from datetime import date

import numpy as np
import pyarrow as pa
import pyedflib
import pytest
from pyarrow.parquet import write_table

from benchmarks.benches.parts.names import texts_left, traces
from pipelines.preprocess import main
from pipelines.shards import main as shards_command
from signals.shards.tfrecord import read_shard, write_shard
from synthetic.recordings.named import PLANTED as PLANTED_NAMES
from synthetic.recordings.named import write_named

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
    printed = caplog.text.encode() + "".join(capsys.readouterr()).encode()
    ours = b"\n".join(line for line in printed.splitlines() if b"beam" not in line and str(ward).encode() not in line)
    assert [word for word in PLANTED if word in ours] == []


def test_the_salt_alone_shows_that_two_files_are_of_one_person(ward, tmp_path):
    ids = []
    for salt in ("a", "b"):
        assert main(["--input", str(ward), "--output", str(tmp_path / salt), "--salt", salt]) == 0
        ids += json.loads((tmp_path / salt / "manifest.json").read_text())["subjects"]
    assert len(set(ids)) == 2


@pytest.fixture
def named(tmp_path):
    """Folders, files, headers, annotations, sidecars and a label file, each of which names somebody."""
    return write_named(tmp_path)


def test_every_name_is_planted(named):
    """A name that stands in no file would be missed nowhere."""
    files = [path for path in named.root.rglob("*") if path.is_file()]
    texts = [str(path.relative_to(named.root.parent)).encode() + path.read_bytes() for path in files]
    assert {name for text in texts for name in traces(text, list(PLANTED_NAMES))} == set(PLANTED_NAMES)


@pytest.mark.parametrize("options", [(), ("--site-from", "constant:ward-1"), ("--direct_num_workers=2",)])
def test_names_planted_everywhere_are_found_nowhere(named, tmp_path, caplog, capfd, options):
    caplog.set_level(logging.INFO)
    out = tmp_path / "out"
    assert main(["--input", str(named.root), "--labels", str(named.labels), "--output", str(out), "--salt", "s",
                 *options]) == 0  # fmt: skip
    assert shards_command(["check-identity", str(out), "--sources", str(named.root)]) == 0
    assert shards_command(["verify", str(out)]) == 0
    assert len((out / "recordings.jsonl").read_text().splitlines()) == 2
    printed = caplog.text.encode() + "".join(capfd.readouterr()).encode()
    texts = [*texts_left(out), *(("log", line) for line in printed.splitlines() if b"beam" not in line)]
    assert [(name, where) for where, text in texts for name in traces(text, list(PLANTED_NAMES))] == []


def test_a_name_in_a_record_an_index_or_a_list_is_found(named, tmp_path):
    out = tmp_path / "out"
    assert main(["--input", str(named.root), "--labels", str(named.labels), "--output", str(out), "--salt", "s"]) == 0
    shard = next(out.rglob("*.snappy"))
    write_shard(shard, [*read_shard(shard), b"of Erika", "of Quincy".encode("utf-16-le")])
    index = next(out.rglob("*.parquet"))
    write_table(pa.table({"site_id": ["x"] * 500 + ["Klinik Hollerbach"] * 500}), index, compression="zstd")
    (out / "quarantine" / "windows.jsonl").write_text('{"file": "QUANDT/eeg.edf"}')
    found = {name for _, text in texts_left(out) for name in traces(text, list(PLANTED_NAMES))}
    assert found == {"Erika", "Quincy", "Hollerbach", "Quandt"}


def test_a_set_of_older_code_that_took_folders_for_sites_is_found_out(named, tmp_path, capsys):
    out = tmp_path / "out"
    assert main(["--input", str(named.root), "--output", str(out), "--salt", "s", "--site-from", "folder"]) == 0
    # Whoever declares that folders are sites has declared them public.
    assert shards_command(["check-identity", str(out)]) == 0
    facts = json.loads((out / "run.json").read_text())
    del facts["options"]["site_from"]
    (out / "run.json").write_text(json.dumps(facts))
    capsys.readouterr()
    assert shards_command(["check-identity", str(out), "--sources", str(named.root)]) == 1
    findings = capsys.readouterr().out
    assert "site_id holds an identifier" in findings
    assert "quandt" not in findings.lower().replace("site=quandt-ottilie", "")
