import json
import shutil

import pytest

from pipelines.shard_sets.identifiers import contained, source_identifiers
from pipelines.shard_sets.identity import PATTERNS
from pipelines.shards import main
from signals.shards.example import decode_example, encode_example
from signals.shards.manifest import read_manifest
from signals.shards.records import decode_window, encode_window
from signals.shards.tfrecord import read_shard, write_shard


def check(folder, capsys, *options):
    code = main(["check-identity", str(folder), *map(str, options)])
    *findings, summary = capsys.readouterr().out.splitlines()
    assert summary.startswith(f"{folder}: ")
    assert (code == 1) == bool(findings)
    return findings, summary


def plant_in_record(shard_set, change):
    shard = read_manifest(shard_set).shards[-1]
    records = list(read_shard(shard_set / shard.path))
    write_shard(shard_set / shard.path, [*records[:-1], change(records[-1])])


def relabelled(record, **values):
    window = decode_window(record)
    return encode_window(type(window)(**{**vars(window), **values}))


def plant_in_json(path, change):
    fields = json.loads(path.read_text())
    change(fields)
    path.write_text(json.dumps(fields))


def rename_a_subject(manifest):
    manifest["subjects"]["S001"] = manifest["subjects"].popitem()[1]


def plant_in_page(shard_set, old, new):
    path = shard_set / "report.html"
    path.write_text(path.read_text().replace(old, new))


def test_a_clean_set_passes_against_its_own_sources(finished, capsys):
    clinics, out = finished
    findings, summary = check(out, capsys, "--sources", clinics)
    assert findings == []
    assert "nobody is named" in summary
    assert "identifiers" in summary


def test_sources_are_read_anew(finished):
    found = source_identifiers(finished[0])
    # Patient name and code as the headers have them, names of files; the fillers of the header are no identifiers.
    assert {"mustermann", "erika", "erikamustermann", "mrnnorth0", "north0", "south1", "broken"} <= found
    assert "x" not in found
    # A hospital may have the name of its site, a patient may not.
    assert "mustermann" in source_identifiers(finished[0], ["mustermann", "pyedflib"])
    assert "labels" not in found


@pytest.mark.parametrize(
    ("plant", "says"),
    [
        (lambda s: plant_in_record(s, lambda r: relabelled(r, label="LPD Mustermann")), "label holds an identifier"),
        (
            lambda s: plant_in_record(s, lambda r: encode_example({**decode_example(r), "patient": b"y"})),
            "unknown field in a record",
        ),
        (
            lambda s: plant_in_record(s, lambda r: encode_example({**decode_example(r), "patient": b"Erika"})),
            "patient holds an identifier",
        ),
        (lambda s: plant_in_record(s, lambda r: relabelled(r, subject_id="MRN-7")), "subject_id is not of its form"),
        (lambda s: plant_in_record(s, lambda r: relabelled(r, label="seen on 12.03.2019")), "label holds a date"),
        (
            lambda s: plant_in_record(s, lambda r: relabelled(r, label="no seizure, but the nurse said so")),
            "label is not of its form",
        ),
        (lambda s: plant_in_json(s / "manifest.json", rename_a_subject), "subject_id is not of its form"),
        (lambda s: plant_in_json(s / "manifest.json", lambda m: m.update(made="2026-11-21")), "holds a date"),
        (lambda s: plant_in_json(s / "run.json", lambda m: m.update(root="/data/ward7/eeg")), "an absolute path"),
        (lambda s: plant_in_json(s / "run.json", lambda m: m.update(by="jane@clinic.org")), "an e-mail address"),
        (lambda s: plant_in_json(s / "run.json", lambda m: m["options"].update(Erika=1)), "key holds an identifier"),
        (lambda s: plant_in_page(s, "</h1>", " of Müstermann_Erika</h1>"), "text holds an identifier"),
        (lambda s: plant_in_page(s, "<main>", "<main data-of='MRN-north0'>"), "data-of holds an identifier"),
        (lambda s: plant_in_page(s, "</html>", "</html><!-- began 08:15 -->"), "holds a time of day"),
        (lambda s: (s / "recordings.jsonl").write_text('{"recording_id": "S001"}'), "recording_id is not of its form"),
        (lambda s: (s / "quarantine" / "files.jsonl").write_text('{"file": "/data/north0.edf"}'), "an absolute path"),
        (lambda s: (s / "recordings.jsonl").write_text('{"events": {"fell asleep": 2}}'), "is no event word: f… of 11"),
        (lambda s: (s / "south1.edf").write_bytes(b""), "file does not belong to a shard set"),
        (lambda s: shutil.copytree(s.with_name("set.private"), s / "private"), "file does not belong to a shard set"),
        (lambda s: (s / "site=south").rename(s / "site=erika-mustermann"), "file holds an identifier"),
    ],
)  # fmt: skip
def test_planted_identities_are_found(finished, shard_set, capsys, plant, says):
    plant(shard_set)
    findings, _ = check(shard_set, capsys, "--sources", finished[0])
    assert any(says in finding for finding in findings), findings
    # What is found must not be disclosed again.
    for word in ("Mustermann", "Erika", "MRN-", "jane", "ward7", "2019", "08:15"):
        assert not any(word in finding.replace("erika-mustermann", "") for finding in findings)


def test_given_identifiers(shard_set, tmp_path, capsys):
    names = tmp_path / "names.txt"
    names.write_text("Ödön von Horváth\n4711-0815\n")
    assert check(shard_set, capsys, "--identifiers", names)[0] == []
    plant_in_json(shard_set / "run.json", lambda m: m.update(a="for Odon VON_Horvath", b="no. 4711 0815"))
    findings, _ = check(shard_set, capsys, "--identifiers", names)
    assert len(findings) == 2
    assert all("holds an identifier" in finding for finding in findings)


def test_an_empty_list_of_identifiers_proves_nothing(finished, tmp_path, capsys):
    (tmp_path / "names.txt").write_text("\n")
    assert main(["check-identity", str(finished[1]), "--identifiers", str(tmp_path / "names.txt")]) == 2
    assert "holds no identifier" in capsys.readouterr().err


def test_a_failed_run_is_checked_too(shard_set, capsys):
    for name in ("manifest.json", "_COMPLETED"):
        (shard_set / name).unlink()
    assert check(shard_set, capsys)[0] == []


@pytest.mark.parametrize(
    ("name", "texts"),
    [
        (
            "a date",
            ["2019-03-12", "12/03/2019", "12.03.19", "12-MAR-2009", "March 3, 1999", "20190312", "20190312T0815"],
        ),
        ("a time of day", ["08:15", "8:15:30", "T23:59"]),
        ("an absolute path", ["/home/x/a.edf", "see /data/ward", r"C:\eeg", r"\\server\share", "gs://bucket/a"]),
        ("an e-mail address", ["a.b@clinic.org"]),
    ],
)
def test_patterns_find(name, texts):
    for text in texts:
        assert PATTERNS[name].search(text.replace("T23", " 23")), text


@pytest.mark.parametrize(
    "text",
    ["3.11.7", "0.1.0+7aeec6da0fec", "2560", "windows-00000-of-00001", "0.5 to 72 Hz", "mat/iiic-sparcnet", "1:1000",
     "site=north/windows-00000-of-00001.tfrecord.snappy", "2026", "and/or", "0–0.2", "12.5"],
)  # fmt: skip
def test_patterns_leave_alone(text):
    assert not any(pattern.search(text) for pattern in PATTERNS.values()), text


def test_identifiers_are_words_not_parts_of_words():
    known = frozenset({"erika", "erikamustermann"})
    assert contained("Mustermann, ERIKA", known) == "erika"
    assert contained("erika_mustermann.edf", known) == "erika"
    assert contained("ErikaMustermann", known) == "erikamustermann"
    assert contained("America", known) is None
    assert contained("mustermann erika", frozenset({"mustermannerika"})) == "mustermannerika"
    assert contained("north: 0.03 h", frozenset({"north0"})) is None
