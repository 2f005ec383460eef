import shutil
from pathlib import Path

import numpy as np
import pytest

from pipelines.intake.inputs import InputError, find_inputs
from pipelines.preprocess import main
from signals.description.artifacts import KINDS
from signals.readers.digests import source_sha256
from signals.readers.layouts.hms import read_spectrogram, read_train
from signals.readers.registry import open_recording
from signals.shards.manifest import read_manifest
from signals.shards.records import decode_window
from signals.shards.tfrecord import read_shard
from signals.spectrograms import regional
from signals.window import MEASURED
from signals.windows.surroundings import log_power
from synthetic.recordings.hms import NAN_S, write_hms


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_hms(tmp_path_factory.mktemp("data") / "hms", seed=3)


def test_files_patients_and_labels(folder):
    inputs = find_inputs([str(folder.root)], None)
    train = [file for file in inputs.files if "train_eegs" in file.uri]
    assert (len(train), len(inputs.files), len(inputs.side_files)) == (4, 6, 2 + 4 + 2)
    assert {file.site_id for file in inputs.files} == {"hms"}
    assert {file.mains_hz for file in inputs.files} == {60.0}
    assert {file.subject for file in inputs.files} == {str(patient) for patient in folder.patient_ids}
    assert [len(file.labels) for file in train] == [3] * 4
    test_labels = [file.labels for file in inputs.files if "test_eegs" in file.uri]
    assert [(label.onset_s, label.label, label.votes) for (label,) in test_labels] == [(0.0, "", ())] * 2
    spectrograms = {label.spectrogram_uri for file in inputs.files for label in file.labels}
    assert {Path(uri) for uri in spectrograms} == set(folder.root.glob("*_spectrograms/*.parquet"))
    assert [label.onset_s for label in train[0].labels] == [0.0, 6.0, 50.0]


def test_it_is_prepared_for_six_classes_as_it_is(folder, tmp_path):
    assert main(["--input", str(folder.root), "--output", str(tmp_path / "out"), "--profile", "six-class",
                 "--salt", "s"]) == 0  # fmt: skip
    manifest = read_manifest(tmp_path / "out")
    assert manifest.counts["files"]["quarantined"] == 0
    assert len(manifest.subjects) == 2
    windows = [
        decode_window(record) for shard in manifest.shards for record in read_shard(tmp_path / "out" / shard.path)
    ]
    labelled = [window for window in windows if window.label]
    assert len(labelled) == folder.n_labels == 12
    rows = read_train(folder.root / "train.csv")
    assert sorted((row.eeg_offset_s, row.expert_consensus, row.votes) for row in rows) == sorted(
        (window.start_s, window.label, window.votes) for window in labelled
    )
    assert all((window.ch_state == MEASURED).all() for window in windows)
    # 20 to 22.5 s lack in one recording a patient: second 20 of its window at 0 s, second 14 of that at 6 s
    gap = KINDS.index("gap")
    flagged = [(w.start_s, np.flatnonzero(w.artifact_mask[0] >> gap & 1).tolist()) for w in labelled]
    assert sorted(seconds for seconds in flagged if seconds[1]) == [(0.0, [20, 21, 22])] * 2 + [(6.0, [14, 15, 16])] * 2


def test_windows_carry_the_recorded_spectrogram(folder, tmp_path):
    """By its offset and by column names, in whatever order; a window whose file is not there has NaN."""
    copy = tmp_path / "hms"
    shutil.copytree(folder.root, copy)
    rows = read_train(copy / "train.csv")
    lost = rows[0].spectrogram_id
    (copy / "train_spectrograms" / f"{lost}.parquet").unlink()
    assert main(["--input", str(copy / "train_eegs"), "--output", str(tmp_path / "out"), "--salt", "s",
                 "--profile", "six-class-spectrogram"]) == 0  # fmt: skip
    manifest = read_manifest(tmp_path / "out")
    windows = [
        decode_window(record) for shard in manifest.shards for record in read_shard(tmp_path / "out" / shard.path)
    ]
    assert len(windows) == len(rows) == 12
    ids = {source_sha256(path)[:16]: path.stem for path in (copy / "train_eegs").iterdir()}
    by_row = {(row.eeg_id, row.eeg_offset_s): row for row in rows}
    n_lost = 0
    for window in windows:
        row = by_row[ids[window.recording_id], window.start_s]
        if row.spectrogram_id == lost:
            assert np.isnan(window.spectrogram).all()
            n_lost += 1
            continue
        path = copy / "train_spectrograms" / f"{row.spectrogram_id}.parquet"
        _, power = read_spectrogram(path, row.spectrogram_offset_s)
        np.testing.assert_array_equal(window.spectrogram, log_power(power))
    assert n_lost == 3


def test_a_missing_stretch_is_nan(folder):
    holes = 0
    for path in sorted((folder.root / "train_eegs").iterdir()):
        x = open_recording(str(path)).read([0])
        missing = np.flatnonzero(np.isnan(x[0])) / 200
        if missing.size:
            holes += 1
            assert (missing[0], missing[-1]) == (NAN_S[0], NAN_S[1] - 1 / 200)
    assert holes == 2


def test_a_spectrogram_is_that_of_its_eeg(folder):
    """The middle of a label's ten minutes is the spectrogram of its 50 s, however the columns are ordered."""
    whole = 0
    for row in read_train(folder.root / "train.csv"):
        recording = open_recording(str(folder.root / "train_eegs" / f"{row.eeg_id}.parquet"))
        x = recording.read(range(19))
        if np.isnan(x).any() or row.eeg_offset_s != 0.0:
            continue
        freqs, segment = read_spectrogram(
            folder.root / "train_spectrograms" / f"{row.spectrogram_id}.parquet", row.spectrogram_offset_s
        )
        wanted = regional(x, recording.ch_names[:19], 200.0)
        # 137 columns of lead; the float32 of the file against float64 before it
        np.testing.assert_allclose(segment[:, :, 137 : 137 + 20], wanted[:, :, :20], rtol=1e-3)
        assert (len(freqs), freqs[0], freqs[-1]) == (100, 0.59, 19.92)
        whole += 1
    assert whole == 2  # the second recording of each patient, whose columns are reversed


def test_rows_of_one_onset_are_one_window(tmp_path):
    made = write_hms(tmp_path / "hms", seed=3, n_patients=1, recordings_per_patient=1)
    table = made.root / "train.csv"
    header, first, *rest = table.read_text().splitlines()
    table.write_text("\n".join([header, first, first, *rest]) + "\n")
    (file,) = [file for file in find_inputs([str(made.root)], None).files if "train_eegs" in file.uri]
    votes = [float(value) for value in first.split(",")[-6:]]
    assert file.labels[0].votes == tuple(2 * vote for vote in votes)
    assert len(file.labels) == 3


def test_a_broken_table_is_one_line(tmp_path):
    made = write_hms(tmp_path / "hms", seed=3, n_patients=1, recordings_per_patient=1)
    (made.root / "train.csv").write_text("eeg_id,patient_id\n1,2\n")
    with pytest.raises(InputError, match="label rule of hms: .*train.csv lacks the columns"):
        find_inputs([str(made.root)], None)


def test_a_recording_that_the_table_does_not_know_stays_without_labels(tmp_path, caplog):
    made = write_hms(tmp_path / "hms", seed=3, n_patients=1, recordings_per_patient=1)
    (path,) = (made.root / "train_eegs").iterdir()
    path.rename(path.with_name("1.parquet"))
    file = next(file for file in find_inputs([str(made.root)], None).files if "train_eegs" in file.uri)
    assert (file.subject, file.labels) == ("", ())
    assert "stays without labels" in caplog.text
