"""Device, hour of the day and age group from file to shard, and nothing of them unless requested."""

import json
import shutil
from dataclasses import replace

import pytest

from benchmarks.benches.parts.names import texts_left, traces
from pipelines.preprocess import main
from pipelines.shard_sets.merge import merge
from pipelines.shard_sets.problem import Problem
from pipelines.shards import main as shards_command
from signals.shards.index import read_index
from signals.shards.manifest import read_manifest
from signals.shards.records import decode_window, encode_window
from signals.shards.tfrecord import read_shard, write_shard
from tests.pipelines.conftest import write_edf

FIELDS = ("device", "start_hour", "age_group")


def write(path, *, seed, equipment="BrainAmp_SN12345", born="02-MAY-1951", time="20.48.12"):
    """An EDF+ file of 65 s, recorded on 14 October 2008."""
    write_edf(path, seed=seed)
    octets = bytearray(path.read_bytes())
    patient, recording = f"MRN-{seed} F {born} Erika_Mustermann", f"Startdate 14-OCT-2008 X X {equipment}"
    for at, text, width in ((8, patient, 80), (88, recording, 80), (168, "14.10.08", 8), (176, time, 8)):
        octets[at : at + width] = text.encode().ljust(width)
    path.write_bytes(octets)


@pytest.fixture(scope="module")
def ward(tmp_path_factory):
    root = tmp_path_factory.mktemp("ward")
    write(root / "a.edf", seed=1)
    write(root / "b.edf", seed=2, equipment="Nihon_Kohden_EEG-1200", born="X", time="00.00.00")  # neither age nor hour
    return root


def run(ward, out, *options):
    return main(["--input", str(ward), "--output", str(out), "--salt", "s", *options])


def windows_of(out):
    manifest = read_manifest(out)
    return [decode_window(record) for shard in manifest.shards for record in read_shard(out / shard.path)]


@pytest.fixture(scope="module")
def kept(ward, tmp_path_factory):
    out = tmp_path_factory.mktemp("kept") / "out"
    assert run(ward, out, "--keep", "age-group, device,start-hour", "--direct_num_workers=2") == 0
    return out


def test_what_is_requested_goes_all_the_way(kept, ward, capsys):
    found = {(window.device, window.start_hour, window.age_group) for window in windows_of(kept)}
    # 57 years and five months at a quarter to nine in the evening; the other file holds no more than the device.
    assert found == {("Brain Products", 20, "40-64"), ("Nihon Kohden", None, "")}
    manifest = read_manifest(kept)
    assert manifest.kept_details == ("device", "start-hour", "age-group")
    (site,) = manifest.counts["sites"].values()
    assert site["details"] == {
        "device": {"Brain Products": 1, "Nihon Kohden": 1}, "start_hour": {"20": 1}, "age_group": {"40-64": 1},
    }  # fmt: skip
    indexed = [row for shard in manifest.shards for row in read_index(kept / shard.index.path).to_pylist()]
    assert {tuple(row[name] for name in FIELDS) for row in indexed} == {
        ("Brain Products", 20, "40-64"), ("Nihon Kohden", None, None),
    }  # fmt: skip
    rows = sorted(map(json.loads, (kept / "recordings.jsonl").read_text().splitlines()), key=lambda row: row["device"])
    assert [[row.get(name) for name in FIELDS] for row in rows] == [
        ["Brain Products", 20, "40-64"], ["Nihon Kohden", None, None],
    ]  # fmt: skip
    assert "Nihon Kohden" in (kept / "report.html").read_text()
    assert shards_command(["verify", str(kept)]) == 0
    assert shards_command(["show", str(kept)]) == 0
    assert "device" in capsys.readouterr().out


def test_what_is_kept_names_nobody(kept, ward, capsys):
    assert shards_command(["check-identity", str(kept), "--sources", str(ward)]) == 0, capsys.readouterr().out
    words = ("Mustermann", "Erika", "SN12345", "MRN-", "14-OCT", "02-MAY", "14.10.08", "20.48", "EEG-1200")
    assert [(word, where) for where, text in texts_left(kept) for word in traces(text, words)] == []


def test_nothing_is_stored_by_default(ward, tmp_path):
    out = tmp_path / "out"
    assert run(ward, out) == 0
    texts = b"".join(path.read_bytes() for path in out.rglob("*") if path.suffix in (".json", ".jsonl", ".html"))
    for word in (b"Brain Products", b"Nihon", b"40-64", b"kept_details", b"start_hour", b"age_group", b'"device"'):
        assert word not in texts
    windows = windows_of(out)
    assert {(window.device, window.start_hour, window.age_group) for window in windows} == {("", None, "")}
    assert not any(b"age_group" in encode_window(window) for window in windows)


def test_one_detail_alone(ward, tmp_path):
    assert run(ward, tmp_path / "out", "--keep", "start-hour") == 0
    found = {(window.device, window.start_hour, window.age_group) for window in windows_of(tmp_path / "out")}
    assert found == {("", 20, ""), ("", None, "")}


@pytest.mark.parametrize("names", ["name", "device,", "", "device;age-group", "Device"])
def test_an_unknown_detail_is_one_line(ward, tmp_path, capsys, names):
    with pytest.raises(SystemExit) as end:
        run(ward, tmp_path / "out", "--keep", names)
    assert end.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "is none of device, start-hour, age-group" in line
    assert not (tmp_path / "out").exists()


def test_sets_that_keep_different_details_are_no_one_set(kept, tmp_path, ward):
    write(tmp_path / "more" / "c.edf", seed=3)
    assert run(tmp_path / "more", tmp_path / "plain") == 0
    with pytest.raises(Problem, match="device, start-hour, age-group and nothing: they cannot be one"):
        merge(kept, tmp_path / "plain", tmp_path / "all")
    assert run(tmp_path / "more", tmp_path / "same", "--keep", "device,start-hour,age-group") == 0
    merge(kept, tmp_path / "same", tmp_path / "all")
    assert read_manifest(tmp_path / "all").kept_details == ("device", "start-hour", "age-group")
    assert shards_command(["verify", str(tmp_path / "all")]) == 0


@pytest.mark.parametrize(
    ("change", "finding"),
    [
        ({"device": "Erika's BrainAmp"}, "device is not of its form"),
        ({"age_group": "57"}, "age_group is not of its form"),
        ({"start_hour": 2048}, None),
    ],
)  # fmt: skip
def test_a_detail_that_is_not_coarse_is_found(kept, tmp_path, capsys, change, finding):

    out = tmp_path / "out"
    shutil.copytree(kept, out)
    shard = read_manifest(out).shards[0]
    records = list(read_shard(out / shard.path))
    records[0] = encode_window(replace(decode_window(records[0]), **change))
    info = write_shard(out / shard.path, records)
    manifest = json.loads((out / "manifest.json").read_text())
    manifest["shards"][0] |= {"sha256": info.sha256, "n_bytes": info.n_bytes}
    (out / "manifest.json").write_text(json.dumps(manifest))
    assert shards_command(["verify", str(out)]) == 1
    (name,) = change
    assert f"{name}=" in capsys.readouterr().err
    if finding:
        assert shards_command(["check-identity", str(out)]) == 1
        assert finding in capsys.readouterr().out


def test_a_detail_that_was_not_requested_is_found(kept, tmp_path, capsys):

    out = tmp_path / "out"
    shutil.copytree(kept, out)
    manifest = json.loads((out / "manifest.json").read_text())
    manifest["kept_details"] = ["device", "start-hour"]
    (out / "manifest.json").write_text(json.dumps(manifest))
    assert shards_command(["verify", str(out)]) == 1
    assert "age_group" in capsys.readouterr().err
