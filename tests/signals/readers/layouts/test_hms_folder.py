import csv

import pyarrow.parquet as pq
import pytest

from signals.readers.layouts.hms import HmsError
from signals.readers.layouts.hms_folder import check_test, check_train
from synthetic.recordings.hms import write_hms


@pytest.fixture
def root(tmp_path):
    return write_hms(tmp_path / "hms", seed=5, n_patients=2, recordings_per_patient=1, segments_per_recording=1).root


def change(path, column, value, *, row=0):
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    rows[row][column] = value
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, rows[0].keys(), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    return rows[row]


def test_what_is_there_is_counted(root):
    part = check_train(root)
    assert (part.n_labels, part.n_eegs, part.n_patients) == (2, 2, 2)
    assert (part.without_eeg, part.without_spectrogram) == ((), ())
    part = check_test(root)
    assert (len(part.rows), part.without_spectrogram) == (2, ())


def test_a_label_beyond_its_recording_is_refused_by_its_line(root):
    row = change(root / "train.csv", "eeg_label_offset_seconds", "4.0", row=1)
    with pytest.raises(HmsError, match=rf"line 3: the 50 s at 4 s .* eeg_id {row['eeg_id']}, which has 50.0 s"):
        check_train(root)
    change(root / "train.csv", "eeg_label_offset_seconds", "-1", row=1)
    with pytest.raises(HmsError, match="line 3: the 50 s at -1 s"):
        check_train(root)


def test_what_is_missing_is_named_by_row(root):
    first, second = check_test(root).rows
    (root / "test_spectrograms" / f"{second.spectrogram_id}.parquet").unlink()
    assert check_test(root).without_spectrogram == (second,)
    (root / "test_eegs" / f"{first.eeg_id}.parquet").unlink()
    with pytest.raises(HmsError, match=f"line 2: test_eegs/{first.eeg_id}.parquet does not exist"):
        check_test(root)
    for path in sorted((root / "train_spectrograms").iterdir()):
        path.unlink()
    eegs = sorted((root / "train_eegs").iterdir())
    eegs[0].unlink()
    part = check_train(root)
    assert (part.n_labels, len(part.without_eeg), len(part.without_spectrogram)) == (1, 1, 1)
    assert part.without_eeg[0].eeg_id == eegs[0].stem
    eegs[1].unlink()
    with pytest.raises(HmsError, match="none of the 2 EEGs"):
        check_train(root)


def test_an_eeg_that_cannot_be_read_is_left_to_the_pipeline(root):
    path = next((root / "train_eegs").iterdir())
    path.write_bytes(b"PAR1")
    assert check_train(root).n_eegs == 2


def test_other_folders_are_refused(tmp_path):
    for check, name in ((check_train, "train.csv"), (check_test, "test.csv")):
        with pytest.raises(HmsError, match=f"no {name}"):
            check(tmp_path)
    (tmp_path / "test.csv").write_text("eeg_id,spectrogram_id,patient_id\n")
    with pytest.raises(HmsError, match="has no rows"):
        check_test(tmp_path)


def test_the_last_sample_may_be_missing(root):
    path = next((root / "train_eegs").iterdir())
    table = pq.read_table(path)
    pq.write_table(table.slice(0, table.num_rows - 1), path)
    assert check_train(root).n_labels == 2
