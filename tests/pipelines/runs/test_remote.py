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
from synthetic.recordings.hms import write_hms
from tests.pipelines.conftest import NAMES, write_edf

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


def same_windows(here, there):
    """Whether a run from a bucket left what a local run left: lists, shards, manifest, facts."""
    for name in ("recordings.jsonl", "quarantine/files.jsonl"):
        assert taken(there, name) == taken(here, name)
    assert facts(there) == facts(here)
    assert digests(there) == digests(here)


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
    assert here["quarantine/files.jsonl"]
    same_windows(here, remotely)
    # The one place where a path survives names the file as it was given, and lies beside the set.
    private = bucket.tree("out.private")
    (row,) = map(json.loads, private.pop("quarantine.jsonl").splitlines())
    assert (row["file"], private) == (f"{uri}/south/broken.edf", {})
    assert not any(uri.encode() in octets for octets in bucket.tree("out").values())


def write_study(root):
    """A BIDS tree whose sidecars decide site, subject, bad channels, mains, events, device and age."""
    for number in (1, 2):
        folder = root / f"sub-{number:02d}" / "ses-1" / "eeg"
        write_edf(folder / f"sub-{number:02d}_ses-1_task-rest_eeg.edf", seed=number)
        (folder / f"sub-{number:02d}_ses-1_task-rest_events.tsv").write_text(
            "onset\tduration\ttrial_type\n10\t2\tseizure\n30\t0\teyes closed\n"
        )
    channels = "name\ttype\tunits\tstatus\n" + "".join(
        f"EEG {name}-REF\tEEG\tuV\t{'bad' if name in ('C3', 'O2') else 'good'}\n" for name in NAMES
    )
    (root / "sub-02" / "ses-1" / "eeg" / "sub-02_ses-1_task-rest_channels.tsv").write_text(channels)
    (root / "sub-01" / "ses-1" / "sub-01_ses-1_eeg.json").write_text('{"PowerLineFrequency": 60}')
    (root / "task-rest_eeg.json").write_text('{"PowerLineFrequency": 50, "Manufacturer": "Brain Products"}')
    (root / "participants.tsv").write_text("participant_id\tage\tsite\nsub-01\t44\tnorth\nsub-02\t9\tsouth\n")
    (root / "dataset_description.json").write_text('{"Name": "Two wards"}')
    return root


def test_a_bids_tree_of_a_bucket_gives_the_bytes_of_a_local_run(bucket, tmp_path):
    study = write_study(tmp_path / "study")
    options = ["--site-from", "bids", "--keep", "device,age-group", *SALT]
    assert main(["--input", str(study), "--output", str(tmp_path / "out"), *options]) == 0
    here = local_tree(tmp_path / "out")
    rows = [json.loads(line) for line in here["recordings.jsonl"].splitlines()]
    stated = {row["site_id"]: row for row in rows}
    # What the sidecars say arrived at all: else both runs would agree on nothing.
    assert {site: (row["mains_hz"], row["device"], row["age_group"]) for site, row in stated.items()} == {
        "north": (60.0, "Brain Products", "40-64"), "south": (50.0, "Brain Products", "5-12"),
    }  # fmt: skip
    assert "bids_bad_channels" in stated["south"]["notes"]
    assert stated["north"]["events"] == {"eyes closed": 1, "seizure": 1}
    uri = bucket.upload(study, "study")
    assert main(["--input", uri, "--output", "gs://cerebeam/out", *options]) == 0
    same_windows(here, bucket.tree("out"))


def test_an_hms_folder_of_a_bucket_gives_the_bytes_of_a_local_run(bucket, tmp_path):
    root = write_hms(tmp_path / "hms", seed=3, n_patients=1, segments_per_recording=1).root
    options = ["--profile", "six-class-spectrogram", *SALT]
    assert main(["--input", str(root), "--output", str(tmp_path / "out"), *options]) == 0
    here = local_tree(tmp_path / "out")
    assert json.loads(here["manifest.json"])["counts"]["labels"]["placed"] >= 3
    uri = bucket.upload(root, "hms")
    assert main(["--input", uri, "--output", "gs://cerebeam/out", *options]) == 0
    same_windows(here, bucket.tree("out"))


def test_a_sidecar_of_another_recording_stays_where_it_is(bucket, tmp_path, few_pages):
    study = write_study(tmp_path / "study")
    uri = bucket.upload(study, "study")
    open_recording(f"{uri}/sub-01/ses-1/eeg/sub-01_ses-1_task-rest_eeg.edf")
    (mirror,) = few_pages.values()
    copied = sorted(path.name for path in mirror.folder.rglob("*") if path.is_file())
    assert copied == [
        "dataset_description.json", "participants.tsv", "sub-01_ses-1_eeg.json", "sub-01_ses-1_task-rest_eeg.edf",
        "sub-01_ses-1_task-rest_events.tsv", "task-rest_eeg.json",
    ]  # fmt: skip
    mirror.drop()
    assert not mirror.folder.exists()


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
