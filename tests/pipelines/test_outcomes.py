"""One bad recording, label or copy costs itself, never the run: whole runs over hostile inputs."""

import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipelines.preprocess import main
from pipelines.runs.accounting import Counts
from pipelines.shards import main as shards_command
from signals.modality import EEG_1020
from signals.shards.manifest import read_manifest
from signals.shards.records import decode_window
from signals.shards.tfrecord import read_shard
from tests.pipelines.conftest import write_edf

NAMES = EEG_1020.ch_names
VOTES = "seizure_vote,lpd_vote,gpd_vote,lrda_vote,grda_vote,other_vote"


def noise(seconds, sfreq=200):
    rng = np.random.default_rng(3)
    return np.cumsum(rng.standard_normal((19, seconds * sfreq)), axis=1) % 50 + rng.standard_normal((19, 1)) * 5


def write_float(path, x):
    """A BrainVision recording of float32 samples at 200 Hz."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(
        f"Brain Vision Data Exchange Header File Version 1.0\n[Common Infos]\nDataFile={path.stem}.eeg\n"
        "DataFormat=BINARY\nDataOrientation=MULTIPLEXED\nNumberOfChannels=19\nSamplingInterval=5000\n[Binary Infos]\n"
        "BinaryFormat=IEEE_FLOAT_32\n[Channel Infos]\n" + "".join(f"Ch{i + 1}={n},,1,µV\n" for i, n in enumerate(NAMES))
    )
    path.with_suffix(".eeg").write_bytes(x.T.astype("<f4").tobytes())
    return path


def rows(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def run(tmp_path, *args):
    return main(["--input", str(tmp_path / "in"), "--output", str(tmp_path / "out"), "--salt", "s", *args])


def counts_of(tmp_path):
    return Counts.from_dict(read_manifest(tmp_path / "out").counts)


def windows_of(folder):
    shards = read_manifest(folder).shards
    windows = [decode_window(record) for shard in shards for record in read_shard(folder / shard.path)]
    return sorted(windows, key=lambda window: (window.recording_id, window.start_s))


@pytest.mark.parametrize("options", [(), ("--direct_num_workers=2",)])
def test_infinite_samples_cost_the_windows_that_they_lie_in(tmp_path, options):
    write_edf(tmp_path / "in" / "north" / "good.edf")
    x = noise(300)
    # 251 s, far from the middle minute and the four looks of planning: in the 26th window of 10 s.
    x[3, 251 * 200] = np.inf
    write_float(tmp_path / "in" / "north" / "float.vhdr", x)
    assert run(tmp_path, *options) == 0
    assert shards_command(["verify", str(tmp_path / "out")]) == 0
    counts = counts_of(tmp_path)
    assert counts.files.accepted == 2
    refused = rows(tmp_path / "out" / "quarantine" / "windows.jsonl")
    assert 250.0 in [row["start_s"] for row in refused] or counts.windows.rejected == 0  # or repaired, and flagged
    # The filter reaches a few seconds, so at most the two neighbours go with it: 36 windows were planned.
    assert counts.windows.planned == 36
    assert counts.windows.rejected <= 3
    assert {row["reason"] for row in refused} <= {"unreadable_samples"}
    for row in refused:
        assert "float" not in json.dumps(row)
    if refused:
        private = rows(tmp_path / "out.private" / "windows.jsonl")
        assert [row["file"] for row in private] == [str(tmp_path / "in" / "north" / "float.vhdr")] * len(refused)
    # A second run finds its way through as the first did.
    assert run(tmp_path, "--overwrite", "--resume", *options) == 0


@pytest.mark.parametrize("options", [(), ("--direct_num_workers=2",)])
def test_a_damaged_page_costs_what_lies_in_it(tmp_path, options):
    write_edf(tmp_path / "in" / "north" / "good.edf")
    path, x = tmp_path / "in" / "north" / "a.parquet", noise(900)
    columns = {name: x[i].astype(np.float32) for i, name in enumerate(NAMES)}
    pq.write_table(pa.table(columns), path, row_group_size=6000, compression="snappy")
    octets = bytearray(path.read_bytes())
    octets[4:40] = b"\xff" * 36  # the first page of the first of 30 row groups
    path.write_bytes(bytes(octets))
    assert run(tmp_path, "--max-quarantined", "1", *options) == 0
    assert shards_command(["verify", str(tmp_path / "out")]) == 0
    counts = counts_of(tmp_path)
    if counts.files.accepted == 2:
        # 30 s of damage and what the filter reaches; the reader may hold a larger piece than a row group.
        assert counts.windows.by_reason == {"unreadable_samples": counts.windows.rejected}
        assert 3 <= counts.windows.rejected <= 90
        reasons = {row["detail"] for row in rows(tmp_path / "out.private" / "windows.jsonl")}
        assert len(reasons) >= 1
    else:
        assert counts.files.by_reason == {"reader_crashed": 1}


def test_a_recording_that_vanishes_after_planning_costs_its_windows(tmp_path, monkeypatch):
    from pipelines.stages import prepare

    write_edf(tmp_path / "in" / "north" / "good.edf")
    gone = write_edf(tmp_path / "in" / "north" / "gone.edf", seed=1)
    real = prepare.reopen_recording

    def reopen(uri, header, **how):
        if uri == str(gone):
            gone.unlink(missing_ok=True)
        return real(uri, header, **how)

    monkeypatch.setattr(prepare, "reopen_recording", reopen)
    prepare._reopened.cache_clear()
    assert run(tmp_path) == 0
    counts = counts_of(tmp_path)
    assert (counts.windows.planned, counts.windows.written) == (12, 6)
    assert counts.windows.by_reason == {"unreadable_samples": 6}
    # The example of the site is of the other recording, or there is none; the run does not care.
    assert [row["start_s"] for row in rows(tmp_path / "out" / "quarantine" / "windows.jsonl")] == [
        0.0, 10.0, 20.0, 30.0, 40.0, 50.0
    ]  # fmt: skip


def test_a_fault_of_ours_costs_one_window_and_names_nobody_in_the_log(tmp_path, monkeypatch, caplog):
    from pipelines.stages import prepare

    write_edf(tmp_path / "in" / "north" / "Erika.edf")
    real = prepare.prepare_block

    def failing(recording, block, **options):
        if any(start.start == 30 * 256 for start in block.starts):
            raise LookupError(f"{recording.uri}: {recording.patient}")
        return real(recording, block, **options)

    monkeypatch.setattr(prepare, "prepare_block", failing)
    assert run(tmp_path) == 0
    assert counts_of(tmp_path).windows.by_reason == {"internal_error": 1}
    (row,) = rows(tmp_path / "out" / "quarantine" / "windows.jsonl")
    assert row["start_s"] == 30.0
    assert "a window failed: LookupError" in caplog.text
    assert not [word for word in ("erika", "mustermann", "mrn") if word in caplog.text.lower()]


def test_a_bad_label_row_costs_the_label(tmp_path):
    for name, seed in (("a", 0), ("b", 1)):
        write_edf(tmp_path / "in" / "north" / f"{name}.edf", seconds=120, seed=seed)
    table = [
        "a.edf,5,LPD,,,,,,", "a.edf,60,LPD,,,,,,", "a.edf,100,LPD,,,,,,",  # ends at 150 s of 120
        "b.edf,5,LPD,,,,,,", "b.edf,5,Other,,,,,,",  # two experts without votes
        "b.edf,60,,0,3,0,0,0,0", "b.edf,60,,0,0,4,0,0,1", "b.edf,60,,0,1,0,0,0,0",  # three with
        "b.edf,65,GPD,,,,,,", "b.edf,65,GPD,,,,,,",  # a row given twice
    ]  # fmt: skip
    (tmp_path / "l.csv").write_text(f"file,onset_s,label,{VOTES}\n" + "\n".join(table) + "\n")
    assert run(tmp_path, "--labels", str(tmp_path / "l.csv"), "--profile", "six-class") == 0
    assert shards_command(["verify", str(tmp_path / "out")]) == 0
    counts = counts_of(tmp_path)
    assert counts.files.quarantined == 0
    # 10 rows: 5 s and 60 s of a; 60 s of b, which takes three, and 65 s of b, which takes two; three are refused.
    assert (counts.labels.n_in, counts.labels.placed, counts.labels.merged, counts.labels.refused) == (10, 4, 3, 3)
    assert counts.labels.by_reason == {"contradicting_labels": 2, "label_out_of_range": 1}
    found = sorted((window.start_s, window.label, window.votes) for window in windows_of(tmp_path / "out"))
    # 3 + 0 + 1 votes for LPD, 4 for GPD: a tie goes to the first class.
    assert found == [(5.0, "LPD", ()), (60.0, "LPD", ()), (60.0, "LPD", (0, 4, 4, 0, 0, 1)), (65.0, "GPD", ())]
    refused = rows(tmp_path / "out" / "quarantine" / "labels.jsonl")
    assert sorted(row["onset_s"] for row in refused) == [5.0, 5.0, 100.0]
    private = rows(tmp_path / "out.private" / "labels.jsonl")
    assert all(row["file"].startswith(str(tmp_path / "in")) for row in private)


def test_copies_of_a_recording_are_one(tmp_path):
    first = write_edf(tmp_path / "in" / "north" / "a.edf")
    for copy in ("north/b.edf", "south/a.edf"):
        (tmp_path / "in" / copy).parent.mkdir(exist_ok=True)
        (tmp_path / "in" / copy).write_bytes(first.read_bytes())
    write_edf(tmp_path / "in" / "south" / "other.edf", seed=5)
    for output, options in (("out", ()), ("two", ("--direct_num_workers=2",))):
        args = ["--input", str(tmp_path / "in"), "--output", str(tmp_path / output), "--salt", "s", *options]
        assert main([*args, "--max-quarantined", "0"]) == 0
        assert shards_command(["verify", str(tmp_path / output)]) == 0
        counts = Counts.from_dict(read_manifest(tmp_path / output).counts)
        assert (counts.files.n_in, counts.files.accepted, counts.files.copies, counts.files.quarantined) == (4, 2, 2, 0)
        assert counts.windows.written == 12
        notes = [row["notes"] for row in rows(tmp_path / output / "recordings.jsonl")]
        assert sorted("copies_left_out" in note for note in notes) == [False, True]
        reasons = [row["reason"] for row in rows(tmp_path / output / "quarantine" / "files.jsonl")]
        assert reasons == ["duplicate_recording"] * 2
        assert not (tmp_path / f"{output}.private").exists()  # there is nothing to repair
    assert (tmp_path / "out" / "manifest.json").read_bytes() == (tmp_path / "two" / "manifest.json").read_bytes()


def test_of_copies_the_one_with_labels_and_a_subject_is_used(tmp_path):
    first = write_edf(tmp_path / "in" / "north" / "a.edf")
    for number in range(4):
        (tmp_path / "in" / "north" / f"copy{number}.edf").write_bytes(first.read_bytes())
    (tmp_path / "l.csv").write_text("file,subject,onset_s,label\ncopy2.edf,anna,5,LPD\n")
    assert run(tmp_path, "--labels", str(tmp_path / "l.csv"), "--profile", "six-class") == 0
    assert [window.label for window in windows_of(tmp_path / "out")] == ["LPD"]
