import json
import shutil

import numpy as np
import pytest

from pipelines.shards import main
from signals.shards.example import decode_example, encode_example
from signals.shards.manifest import read_manifest
from signals.shards.records import decode_window, encode_window
from signals.shards.tfrecord import read_shard, write_shard


def verify(folder, capsys):
    code = main(["verify", str(folder)])
    out, err = capsys.readouterr()
    assert len((out + err).splitlines()) == 1
    return code, out + err


def edit(path, change):
    fields = json.loads(path.read_text())
    change(fields)
    path.write_text(json.dumps(fields))


def rewrite(shard_set, change):
    """Write the first shard anew with changed records, and its true digest into the manifest."""
    shard = read_manifest(shard_set).shards[0]
    info = write_shard(shard_set / shard.path, change(list(read_shard(shard_set / shard.path))))

    (shard_set / shard.index.path).unlink()

    def counts(manifest):
        manifest["shards"][0] |= {"sha256": info.sha256, "n_bytes": info.n_bytes, "n_windows": info.n_records}
        del manifest["shards"][0]["index"]

    edit(shard_set / "manifest.json", counts)


def changed(record, **values):
    window = decode_window(record)
    return encode_window(type(window)(**{**vars(window), **values}))


def test_a_whole_set(finished, capsys):
    code, line = verify(finished[1], capsys)
    assert code == 0
    assert "24 windows in 2 shards of 2 sites" in line


def test_a_flipped_byte(shard_set, capsys):
    path = next(shard_set.glob("site=south/*.snappy"))
    raw = bytearray(path.read_bytes())
    raw[len(raw) // 2] ^= 1
    path.write_bytes(raw)
    code, line = verify(shard_set, capsys)
    assert code == 1
    assert "site=south/windows-00000-of-00001.tfrecord.snappy has changed: its sha256" in line


def test_a_flipped_byte_that_the_manifest_knows(shard_set, capsys):
    # The digest alone would not notice it; the record's checksum does.
    def flip(records):
        return [records[0][:-1] + bytes([records[0][-1] ^ 1]), *records[1:]]

    rewrite(shard_set, flip)
    code, line = verify(shard_set, capsys)
    assert code == 1
    assert "record 0" in line


def test_an_index_of_other_records(shard_set, capsys):
    first, second = read_manifest(shard_set).shards
    octets = (shard_set / second.index.path).read_bytes()
    (shard_set / first.index.path).write_bytes(octets)
    code, line = verify(shard_set, capsys)
    assert code == 1
    assert f"{first.index.path} has changed" in line
    edit(shard_set / "manifest.json", lambda m: m["shards"][0]["index"].update(sha256=second.index.sha256))
    code, line = verify(shard_set, capsys)
    assert code == 1
    assert f"{first.index.path} is not the index of its shard's records" in line


def test_a_set_without_indexes_and_without_refused_labels_is_whole(shard_set, capsys):
    """As sets were written before there were any."""

    def older(manifest):
        for shard in manifest["shards"]:
            (shard_set / shard.pop("index")["path"]).unlink()
        del manifest["counts"]["labels"], manifest["counts"]["files"]["copies"]
        manifest["counts"]["repeated_recordings"] = 0
        for site in manifest["counts"]["sites"].values():
            del site["files_copies"], site["labels_refused"], site["decisions"]

    edit(shard_set / "manifest.json", older)
    (shard_set / "quarantine" / "labels.jsonl").unlink()
    lines = (shard_set / "recordings.jsonl").read_text().splitlines()
    newer = ("n_labels", "n_labels_merged", "subject_known")
    rows = [{name: value for name, value in json.loads(line).items() if name not in newer} for line in lines]
    (shard_set / "recordings.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert verify(shard_set, capsys)[0] == 0
    assert main(["stats", str(shard_set)]) == 0


@pytest.mark.parametrize("name", ["manifest.json", "_COMPLETED", "run.json", "recordings.jsonl"])
def test_a_missing_file(shard_set, capsys, name):
    (shard_set / name).unlink()
    code, line = verify(shard_set, capsys)
    assert code == 1
    assert name in line


def test_a_missing_shard(shard_set, capsys):
    next(shard_set.glob("site=north/*.snappy")).unlink()
    code, line = verify(shard_set, capsys)
    assert code == 1
    assert "site=north/windows-00000-of-00001.tfrecord.snappy is missing" in line


def test_an_extra_file(shard_set, capsys):
    (shard_set / "site=north" / "notes.txt").write_text("")
    code, line = verify(shard_set, capsys)
    assert code == 1
    assert "site=north/notes.txt does not belong to the set" in line


def test_a_gap_in_the_numbers(shard_set, capsys):
    old, new = (f"site=north/windows-0000{i}-of-00002.tfrecord.snappy" for i in (0, 1))
    next(shard_set.glob("site=north/*.snappy")).rename(shard_set / new)
    edit(shard_set / "manifest.json", lambda m: m["shards"][0].update(path=new))
    code, line = verify(shard_set, capsys)
    assert code == 1
    assert "the numbers of north have a gap" in line
    assert old not in line  # of one shard, the right name is 0 of 1


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda m: m["shards"][0].update(n_windows=13), "holds 12 records, the manifest states 13"),
        (lambda m: m["counts"]["files"].update({"in": 6}), "files in, 6 by the manifest, 5 by the rows"),
        (lambda m: m["counts"]["windows"].update(written=23), "windows written, 23"),
        (lambda m: m["counts"]["sites"]["south"].update(classes={"LPD": 12, "GPD": 1}), "classes of south"),
        (lambda m: m["counts"]["sites"]["south"].update(decisions={"good": 11, "noise": 1}), "decisions of south"),
        (lambda m: next(iter(m["subjects"].values())).update(n_windows=7), "has 6 windows, the manifest states 7"),
        (lambda m: m["subjects"].popitem(), "whom the manifest does not know"),
        (lambda m: m.update(config_hash="0" * 16), "was prepared under"),
        (lambda m: m.pop("shards"), "is no manifest"),
        (lambda m: m["counts"].pop("windows"), "holds no accounting of a run"),
        (lambda m: m["counts"]["files"].update(accepted=5), "files accepted, 5 by the manifest, 4 by the rows"),
        (lambda m: m["counts"]["files"].update(quarantined=2), "files quarantined, 2 by the manifest, 1 by the rows"),
        (lambda m: m["counts"]["files"].update(copies=1), "copies, 1 by the manifest, 0 by the rows"),
        (lambda m: m["counts"]["labels"].update(refused=1), "labels refused, 1 by the manifest, 0 by the rows"),
        (lambda m: m["counts"]["labels"].update(n_in=9), "labels, 9 by the manifest, 0 by the rows"),
        (lambda m: m["counts"]["labels"].update(placed=9), "labels, 0 by the manifest, 9 by the rows"),
        (lambda m: m["counts"]["windows"].update(rejected=2), "windows rejected, 2 by the manifest, 0 by the rows"),
        (lambda m: m["counts"]["windows"].update(planned=25), "windows planned, 25 by the manifest, 24 by the rows"),
        (lambda m: m["counts"].update(bytes=1), "bytes, 1 by the manifest"),
        (lambda m: m["counts"].update(sources_digest="0" * 64), "digest of recordings, 0000"),
        (lambda m: m["counts"]["sites"]["south"].update(windows=11), "counts 11 windows of south, its shards hold 12"),
        (lambda m: m["counts"]["sites"]["south"].update(quality=[24] + [0] * 9), "quality of south do not agree"),
        (lambda m: m["counts"]["sites"]["south"]["presence"].update(absent=[1] * 19), "presence of south do not agree"),
        (lambda m: m["counts"]["sites"]["south"]["channel_seconds"].update(flat=1), "channel_seconds of south do not"),
        (lambda m: m["counts"]["sites"].pop("south"), "has shards of south, but no counts of it"),
        (lambda m: next(iter(m["subjects"].values())).update(site_id="x"), "site or recordings of subject"),
        (lambda m: next(iter(m["subjects"].values())).update(recording_ids=[]), "site or recordings of subject"),
        (
            lambda m: next(iter(m["subjects"].values()))["moments"]["count"].__setitem__(3, 1),
            "are over another number of samples",
        ),
        (lambda m: m["subjects"].update(more=next(iter(m["subjects"].values()))), "subject more has 0 windows"),
    ],
)
def test_accounting_that_does_not_add_up(shard_set, capsys, change, says):
    edit(shard_set / "manifest.json", change)
    code, line = verify(shard_set, capsys)
    assert code == 1
    assert says in line


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda records: [*records, records[0]], "occurs twice"),
        (lambda records: records[1:], "do not agree with its records"),
        (lambda records: [changed(records[0], site_id="south"), *records[1:]], "is of site south, its folder of north"),
        (lambda records: [changed(records[0], ch_state=np.zeros(18, np.uint8)), *records[1:]], "ch_state has shape"),
        (
            lambda records: [encode_example({**decode_example(records[0]), "patient": b"x"}), *records[1:]],
            "fields ['patient'] are missing or unknown",
        ),
        (
            lambda records: [encode_example({**decode_example(records[0]), "key": b"0" * 16}), *records[1:]],
            "its key is not that of its recording and onset",
        ),
        (lambda records: [b"\x00" * 40, *records[1:]], "record 0 is no window"),
        (lambda records: [*records[:5], b"\x00" * 40, *records[6:]], "record 5 is no window"),
        (
            lambda records: [changed(records[0], artifact_mask=np.full((19, 10), 1 << 9, np.uint16)), *records[1:]],
            "artifact_mask has bits of no known kind",
        ),
        (
            lambda records: [changed(records[0], artifact_mask=np.zeros((19, 9), np.uint16)), *records[1:]],
            "artifact_mask has shape (19, 9), the manifest's modality needs (19, 10)",
        ),
        (
            lambda records: [changed(records[0], quality=np.zeros(18, np.float32)), *records[1:]],
            "quality has shape (18,)",
        ),
        (
            lambda records: [changed(records[0], features=np.zeros((19, 28), np.float32)), *records[1:]],
            "features has shape",
        ),
        (
            lambda records: [changed(records[0], data=np.zeros((19, 2304), np.float32)), *records[1:]],
            "signal has shape (19, 2304), the manifest's modality needs (19, 2560)",
        ),
        (lambda records: [changed(records[0], subject_id="0" * 16), *records[1:]], "whom the manifest does not know"),
    ],
)
def test_records_that_are_not_what_they_should_be(shard_set, capsys, change, says):
    rewrite(shard_set, change)
    code, line = verify(shard_set, capsys)
    assert code == 1
    assert says in line


def test_a_folder_that_is_no_set(tmp_path, capsys):
    code, line = verify(tmp_path, capsys)
    assert code == 1
    assert "is no shard set" in line


def test_a_lost_row_of_the_quarantine(shard_set, capsys):
    (shard_set / "quarantine" / "files.jsonl").write_text("")
    code, line = verify(shard_set, capsys)
    assert code == 1
    assert "files quarantined, 1 by the manifest, 0 by the rows" in line


def test_a_truncated_shard(shard_set, capsys):
    path = next(shard_set.glob("site=north/*.snappy"))
    shutil.copy(path, path.with_suffix(".copy"))
    path.write_bytes(path.with_suffix(".copy").read_bytes()[:-100])
    path.with_suffix(".copy").unlink()
    code, line = verify(shard_set, capsys)
    assert code == 1
    assert "bytes, the manifest states" in line
