import hashlib
import json

import numpy as np
import pyedflib
import pytest

from pipelines.preprocess import main
from pipelines.runs.remote import register_remote
from signals.readers import remote
from signals.readers.digests import source_sha256
from signals.readers.registry import open_recording, reopen_recording
from signals.recording.recording import UnreadableError

SALT = ("--salt", "secret")
BY_FOLDER = ("--site-from", "folder")


def digests(files):
    return {name: hashlib.sha256(octets).hexdigest() for name, octets in files.items()}


def local_tree(folder):
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def taken(tree, name):
    """The rows of a list, taken out of a tree, without what names a file by its path."""
    return [{**json.loads(line), "file_id": None} for line in tree.pop(name).splitlines()]


def facts(tree):
    """The facts of the run report, taken out of a tree with the page, without how long it took."""
    assert tree.pop("report.html").startswith(b"<!DOCTYPE html>")
    return json.loads(tree.pop("run.json")) | {"timings": None}


@pytest.fixture
def few_pages(monkeypatch):
    """Small pages, so that small files have many."""
    monkeypatch.setattr(remote, "PAGE_BYTES", 16_384)
    monkeypatch.setattr(remote, "_HEAD_BYTES", 16_384)
    remote._mirrors.clear()
    register_remote()
    yield remote._mirrors
    remote._mirrors.clear()


def test_from_bucket_to_bucket_gives_the_bytes_of_a_local_run(clinics, bucket, tmp_path):
    local = ["--input", str(clinics), "--labels", str(clinics / "labels.csv"), "--output", str(tmp_path / "out")]
    assert main([*local, *SALT, *BY_FOLDER]) == 0
    uri = bucket.upload(clinics, "clinics")
    there = ["--input", uri, "--labels", f"{uri}/labels.csv", "--output", "gs://cerebeam/out"]
    assert main([*there, *SALT, *BY_FOLDER]) == 0
    here, remotely = local_tree(tmp_path / "out"), bucket.tree("out")
    for name in ("recordings.jsonl", "quarantine/files.jsonl"):
        assert taken(remotely, name) == taken(here, name) != []
    assert facts(remotely) == facts(here)
    assert digests(remotely) == digests(here)
    # The one place where a path survives names the file as it was given, and lies beside the set.
    private = bucket.tree("out.private")
    (row,) = map(json.loads, private.pop("quarantine.jsonl").splitlines())
    assert (row["file"], private) == (f"{uri}/south/broken.edf", {})
    assert not any(uri.encode() in octets for octets in bucket.tree("out").values())


def test_completed_is_the_last_file_of_a_remote_set(clinics, bucket, monkeypatch):
    from pipelines.runs import storage

    written = []
    real = storage.create

    def create(path):
        written.append(path.rsplit("/", 1)[1])
        return real(path)

    monkeypatch.setattr(storage, "create", create)
    uri = bucket.upload(clinics, "clinics")
    assert main(["--input", uri, "--output", "gs://cerebeam/out", *SALT]) == 0
    assert written[-1] == "_COMPLETED"
    assert written.count("_COMPLETED") == 1
    assert json.loads(bucket.tree("out")["run.json"])["timings"]["wall_s"] > 0


def test_what_a_remote_run_left_out_is_replayed(clinics, bucket):
    uri = bucket.upload(clinics, "clinics")
    first = ["--input", uri, "--labels", f"{uri}/labels.csv", "--output", "gs://cerebeam/out"]
    assert main([*first, *SALT, *BY_FOLDER]) == 0
    (clinics / "south" / "broken.edf").write_bytes((clinics / "south" / "south0.edf").read_bytes())
    bucket.upload(clinics, "clinics")
    remote._mirrors.clear()  # the replay is another process
    assert main(["--replay", "gs://cerebeam/out", "--output", "gs://cerebeam/again", *SALT]) == 0
    counts = json.loads(bucket.tree("again")["manifest.json"])["counts"]
    assert (counts["files"]["in"], counts["files"]["accepted"]) == (1, 1)
    assert bucket.tree("again.private") == {}


def test_a_remote_run_that_must_not_count_keeps_its_report_beside_the_output(clinics, bucket, capsys):
    uri = bucket.upload(clinics, "clinics")
    options = ["--input", uri, "--output", "gs://cerebeam/out", "--max-quarantined", "0", *SALT]
    assert main(options) == 2
    assert "see gs://cerebeam/out.failed/report.html" in capsys.readouterr().err
    assert bucket.tree("out") == bucket.tree("out.private") == {}
    failed = bucket.tree("out.failed")
    assert sorted(failed) == [
        "quarantine/files.jsonl", "quarantine/labels.jsonl", "quarantine/windows.jsonl", "recordings.jsonl",
        "report.html", "run.json",
    ]  # fmt: skip
    assert list(bucket.tree("out.failed.private")) == ["quarantine.jsonl"]


def test_a_glob_names_remote_files(clinics, bucket, tmp_path):
    uri = bucket.upload(clinics, "clinics")
    assert main(["--input", f"{uri}/*/*0.edf", "--output", str(tmp_path / "out"), *SALT, *BY_FOLDER]) == 0
    counts = json.loads((tmp_path / "out" / "manifest.json").read_text())["counts"]
    assert counts["files"]["accepted"] == 2
    assert sorted(counts["sites"]) == ["north", "south"]


def test_a_block_fetches_its_data_records_only(clinics, bucket, few_pages):
    path = clinics / "north" / "north0.edf"
    uri = bucket.upload(clinics, "clinics") + "/north/north0.edf"
    here = open_recording(str(path))
    there = reopen_recording(uri, here.header)
    # 65 records of 19 x 200 int16 and an annotation signal of 114 bytes: 7714 bytes each after a header of 21 x 256.
    start, stop = 20 * 200 + 7, 24 * 200
    assert np.array_equal(there.read([3, 5], start=start, stop=stop), here.read([3, 5], start=start, stop=stop))
    (mirror,) = few_pages.values()
    touched = {0} | {
        byte // 16_384 for byte in range(5376 + 20 * 7714, 5376 + 24 * 7714)
    }  # the header's page and those of records 20 to 23
    assert mirror.pages == touched
    assert len(touched) < 5 < mirror.size // 16_384


def test_first_opening_of_edf_plus_sees_every_annotation(bucket, few_pages, tmp_path):
    path = tmp_path / "a" / "annotated.edf"
    path.parent.mkdir()
    with pyedflib.EdfWriter(str(path), 1, file_type=pyedflib.FILETYPE_EDFPLUS) as writer:
        header = {"label": "EEG Cz", "dimension": "uV", "sample_frequency": 500}
        writer.setSignalHeader(
            0, header | {"physical_min": -99, "physical_max": 99, "digital_min": -99, "digital_max": 99}
        )
        writer.writeSamples([np.zeros(500 * 60)])
        writer.writeAnnotation(58, 1, "late")
    uri = bucket.upload(tmp_path / "a", "a") + "/annotated.edf"
    assert open_recording(uri).annotations == open_recording(str(path)).annotations != ()


def test_the_digest_of_a_remote_file_is_that_of_its_bytes(clinics, bucket, few_pages):
    uri = bucket.upload(clinics, "clinics") + "/north/north1.edf"
    assert source_sha256(uri) == hashlib.sha256((clinics / "north" / "north1.edf").read_bytes()).hexdigest()


def test_side_files_come_along(bucket, few_pages, tmp_path):
    folder = tmp_path / "bv"
    folder.mkdir()
    header = (
        "Brain Vision Data Exchange Header File Version 1.0\n[Common Infos]\nDataFile=other name.eeg\n"
        "DataFormat=BINARY\nDataOrientation=MULTIPLEXED\nNumberOfChannels=2\nSamplingInterval=5000\n"
        "[Binary Infos]\nBinaryFormat=INT_16\n[Channel Infos]\nCh1=Cz,,0.1,µV\nCh2=Pz,,0.1,µV\n"
    )
    (folder / "rec.vhdr").write_text(header)
    samples = np.random.default_rng(0).integers(-999, 999, (4000, 2)).astype("<i2")
    (folder / "other name.eeg").write_bytes(samples.tobytes())
    uri = bucket.upload(folder, "bv") + "/rec.vhdr"
    assert np.array_equal(open_recording(uri).read([0, 1]), open_recording(str(folder / "rec.vhdr")).read([0, 1]))
    assert source_sha256(uri) == source_sha256(folder / "rec.vhdr")


def test_scratch_stays_within_its_bound(clinics, bucket, few_pages, monkeypatch):
    monkeypatch.setattr(remote, "SCRATCH_BYTES", 10 * 16_384)
    uri = bucket.upload(clinics, "clinics")
    names = [f"{site}/{site}{number}.edf" for site in ("north", "south") for number in range(2)]
    locally = {name: open_recording(str(clinics / name)) for name in names}
    recordings = [(reopen_recording(f"{uri}/{name}", here.header), here) for name, here in locally.items()]
    for second in range(0, 60, 6):
        for there, here in recordings:
            n = int(here.sfreqs[0])
            cut = {"start": second * n, "stop": (second + 6) * n}
            assert np.array_equal(there.read([0], **cut), here.read([0], **cut))
            # 6 records of at most 9614 bytes and the header: 6 pages at most, beside what was there before.
            assert sum(mirror.held_bytes for mirror in few_pages.values()) <= 10 * 16_384


def test_an_absent_file_has_its_reason_and_a_broken_connection_has_none(bucket, few_pages):
    with pytest.raises(UnreadableError, match="missing_file"):
        open_recording("gs://cerebeam/nowhere.edf")

    class Broken:
        def size(self, uri):
            return 1000

        def open(self, uri):
            raise remote.TransferError("connection reset")

    remote.register_store(Broken())
    with pytest.raises(remote.TransferError, match="connection reset"):
        open_recording("gs://cerebeam/there.edf")


def test_without_a_store_a_uri_has_its_reason():
    remote.register_store(None)
    with pytest.raises(UnreadableError, match="gs:// is not read directly"):
        open_recording("gs://cerebeam/a.edf")


@pytest.mark.parametrize(
    ("args", "says"),
    [
        (["--input", "gs://cerebeam/nowhere"], "gs://cerebeam/nowhere does not exist or holds no file"),
        (["--input", "ftp://host/a"], "no file system for ftp://host/a"),
    ],
)
def test_bad_places_are_one_line_and_code_2(bucket, tmp_path, capsys, args, says):
    with pytest.raises(SystemExit) as ended:
        main([*args, "--output", str(tmp_path / "out")])
    assert ended.value.code == 2
    assert says in capsys.readouterr().err.splitlines()[-1]
