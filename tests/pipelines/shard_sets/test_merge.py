import json
import shutil

import pytest

from pipelines.preprocess import main as preprocess
from pipelines.shards import main
from signals.shards.manifest import read_manifest
from signals.shards.records import decode_window
from signals.shards.tfrecord import read_shard


def rows(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def keys(folder):
    manifest = read_manifest(folder)
    return sorted(decode_window(r).key for s in manifest.shards for r in read_shard(folder / s.path))


def run(*args):
    rule = () if "--replay" in args else ("--site-from", "folder")
    return preprocess([*map(str, args), "--salt", "secret", *rule])


@pytest.fixture(scope="session")
def mended(finished, tmp_path_factory):
    """Clinics whose broken file was mended, the run that lost it, and the run over that file alone."""
    root = tmp_path_factory.mktemp("mended")
    clinics = root / "clinics"
    shutil.copytree(finished[0], clinics)
    common = ("--labels", clinics / "labels.csv")
    assert run("--input", clinics, "--output", root / "a", *common) == 0
    shutil.copy(clinics / "south" / "south0.edf", clinics / "south" / "broken.edf")
    # Another recording than south0: one sample differs.
    raw = bytearray((clinics / "south" / "broken.edf").read_bytes())
    raw[-1] ^= 1
    (clinics / "south" / "broken.edf").write_bytes(raw)
    assert run("--replay", root / "a", "--output", root / "b") == 0
    return clinics, root / "a", root / "b"


def test_a_replayed_file_is_lost_no_more(mended, tmp_path, capsys):
    clinics, a, b = mended
    assert main(["merge", str(a), str(b), "--output", str(tmp_path / "c")]) == 0
    assert main(["verify", str(tmp_path / "c")]) == 0
    assert main(["check-identity", str(tmp_path / "c"), "--sources", str(clinics)]) == 0
    capsys.readouterr()
    counts = read_manifest(tmp_path / "c").counts
    # 5 files came in, 4 were used at once, the fifth after it was mended: 5 x 6 windows.
    assert counts["files"] == {"in": 5, "accepted": 5, "quarantined": 0, "copies": 0, "side_files": 2, "by_reason": {}}
    assert counts["windows"] == {"planned": 30, "written": 30, "rejected": 0, "by_reason": {}}
    assert counts["hours"]["quarantined_files_of_unknown_length"] == 0
    assert keys(tmp_path / "c") == sorted(keys(a) + keys(b))
    assert sorted(p.name for p in (tmp_path / "c" / "site=south").iterdir()) == [
        f"windows-0000{i}-of-00002.{ending}" for i in (0, 1) for ending in ("index.parquet", "tfrecord.snappy")
    ]
    # Nothing is left to replay.
    assert not (tmp_path / "c.private").exists()


def test_a_merged_set_is_the_set_of_one_run(mended, tmp_path):
    """What a single run over all files, mended from the start, would have counted."""
    clinics, a, b = mended
    main(["merge", str(a), str(b), "--output", str(tmp_path / "c")])
    assert run("--input", clinics, "--labels", clinics / "labels.csv", "--output", tmp_path / "whole") == 0
    merged, whole = read_manifest(tmp_path / "c"), read_manifest(tmp_path / "whole")
    assert keys(tmp_path / "c") == keys(tmp_path / "whole")
    for site in ("north", "south"):
        first, second = merged.counts["sites"][site], whole.counts["sites"][site]
        # The merged set has a shard more at one site; all else is equal.
        for name in set(first) - {"shards", "bytes"}:
            assert first[name] == second[name], name
    assert merged.counts["sources_digest"] == whole.counts["sources_digest"]
    assert set(merged.subjects) == set(whole.subjects)
    for name, entry in whole.subjects.items():
        other = merged.subjects[name]
        assert (entry.n_windows, entry.recording_ids) == (other.n_windows, other.recording_ids)
        assert entry.moments.std == pytest.approx(other.moments.std, rel=1e-12)


def test_replay_keeps_site_person_and_labels(mended):
    _, _, b = mended
    (row,) = rows(b / "recordings.jsonl")
    assert (row["site_id"], row["n_windows"]) == ("south", 6)
    # The label file names no person for it, and the header is south0's patient.
    assert len(read_manifest(b).subjects) == 1


def test_the_same_recording_twice_is_refused(finished, tmp_path, capsys):
    out = str(finished[1])
    assert main(["merge", out, out, "--output", str(tmp_path / "c")]) == 1
    assert "is in both sets, 4 in all" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["config_hash", "salt_id", "code_version"])
def test_sets_of_other_making_are_refused(mended, tmp_path, capsys, name):
    _, a, b = mended
    before = (b / "manifest.json").read_text()
    try:
        (b / "manifest.json").write_text(json.dumps(json.loads(before) | {name: "0" * 16}))
        assert main(["merge", str(a), str(b), "--output", str(tmp_path / "c")]) == 1
    finally:
        (b / "manifest.json").write_text(before)
    assert f"the sets differ in {name}" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_an_existing_output_is_kept(mended, capsys):
    _, a, b = mended
    assert main(["merge", str(a), str(b), "--output", str(a)]) == 1
    assert "exists already" in capsys.readouterr().err
    assert main(["verify", str(a)]) == 0
