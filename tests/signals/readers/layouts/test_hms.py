import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from signals.readers.layouts.hms import HmsError, read_spectrogram, read_test, read_train

HEADER = (
    "eeg_id,eeg_sub_id,eeg_label_offset_seconds,spectrogram_id,spectrogram_sub_id,spectrogram_label_offset_seconds,"
    "label_id,patient_id,expert_consensus,seizure_vote,lpd_vote,gpd_vote,lrda_vote,grda_vote,other_vote\n"
)
FREQS = [0.59, 10.16, 19.92]
REGIONS = ("LL", "RL", "LP", "RP")


def write_spectrogram(path, *, order=None, times=None):
    """Value of region r, frequency f at time t: 1000 r + 10 f + t / 1000, r and f counted from 0."""
    times = np.arange(1, 1401, 2) if times is None else times
    columns = {f"{r}_{f}": 1000 * i + 10 * k + times / 1000 for i, r in enumerate(REGIONS) for k, f in enumerate(FREQS)}
    names = ["time", *columns] if order is None else order(["time", *columns])
    pq.write_table(pa.table({name: ({"time": times} | columns)[name] for name in names}), path)
    return path


@pytest.mark.parametrize("order", [None, lambda names: names[::-1], sorted])
def test_ten_minutes_of_a_spectrogram_are_found_by_name(tmp_path, order):
    freqs, segment = read_spectrogram(write_spectrogram(tmp_path / "1.parquet", order=order), 106.0)
    assert freqs.tolist() == FREQS
    assert segment.shape == (4, 3, 300)
    # region LP, second frequency, first and last column: t = 107 s and 705 s
    assert segment[2, 1, [0, -1]].tolist() == pytest.approx([2010.107, 2010.705], rel=1e-6)


def test_missing_rows_are_nan(tmp_path):
    times = np.array([1, 3, 9, 11])
    _, segment = read_spectrogram(write_spectrogram(tmp_path / "1.parquet", times=times), 0.0)
    assert np.isfinite(segment[0, 0, :6]).tolist() == [True, True, False, False, True, True]
    assert np.isnan(segment[:, :, 6:]).all()


def test_a_file_that_was_written_anew_is_read_anew(tmp_path):
    path = write_spectrogram(tmp_path / "1.parquet", times=np.array([1, 3]))
    assert np.isfinite(read_spectrogram(path, 0.0)[1][0, 0]).sum() == 2
    write_spectrogram(path, times=np.array([1, 3, 5]))
    assert np.isfinite(read_spectrogram(path, 0.0)[1][0, 0]).sum() == 3
    with pytest.raises(HmsError, match="no readable parquet"):
        read_spectrogram(tmp_path / "2.parquet", 0.0)


def test_other_columns_are_refused(tmp_path):
    pq.write_table(pa.table({"time": [1], "LL_0.59": [1.0], "RL_0.6": [1.0]}), tmp_path / "1.parquet")
    with pytest.raises(HmsError, match="same frequencies"):
        read_spectrogram(tmp_path / "1.parquet", 0.0)
    (tmp_path / "2.parquet").write_bytes(b"PAR1")
    with pytest.raises(HmsError, match="no readable parquet"):
        read_spectrogram(tmp_path / "2.parquet", 0.0)


def test_rows_of_train_and_test(tmp_path):
    (tmp_path / "train.csv").write_text(HEADER + "10,1,6.0,20,1,8.0,30,40,Seizure,3,0,1,0,0,0\n")
    (row,) = read_train(tmp_path / "train.csv")
    assert (row.eeg_id, row.spectrogram_id, row.patient_id, row.label_id) == ("10", "20", "40", "30")
    assert (row.eeg_offset_s, row.spectrogram_offset_s) == (6.0, 8.0)
    assert (row.expert_consensus, row.votes) == ("Seizure", (3, 0, 1, 0, 0, 0))
    # columns by name here too
    (tmp_path / "test.csv").write_text("patient_id,spectrogram_id,eeg_id\n40,20,10\n")
    (request,) = read_test(tmp_path / "test.csv")
    assert (request.eeg_id, request.spectrogram_id, request.patient_id, request.line) == ("10", "20", "40", 2)


def test_an_eeg_of_two_patients_is_refused_by_its_lines(tmp_path):
    row = "10,{sub},6.0,20,1,8.0,30,{patient},Seizure,3,0,1,0,0,0\n"
    text = HEADER + row.format(sub=0, patient=40) + row.format(sub=1, patient=41)
    (tmp_path / "train.csv").write_text(text)
    with pytest.raises(HmsError, match="line 3: eeg_id 10 is of patient_id 41, on line 2 of 40"):
        read_train(tmp_path / "train.csv")


@pytest.mark.parametrize(
    ("rows", "says"),
    [("10,20,40\n10,21,40\n", "line 3: eeg_id 10 stands on line 2"), (",20,40\n", "line 2: eeg_id is empty")],
)
def test_a_test_table_names_each_eeg_once(tmp_path, rows, says):
    (tmp_path / "test.csv").write_text("eeg_id,spectrogram_id,patient_id\n" + rows)
    with pytest.raises(HmsError, match=says):
        read_test(tmp_path / "test.csv")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("eeg_id,patient_id\n1,2\n", "lacks the columns eeg_label_offset_seconds, "),
        (HEADER + "10,1,soon,20,1,8.0,30,40,Seizure,3,0,1,0,0,0\n", "line 2: eeg_label_offset_seconds='soon'"),
        (HEADER + "10,1,6,20,1,8.0,30,40,Seizure,0,0,0,0,0,0\n", "line 2: vote counts"),
        (HEADER + "10,1,6,20,1,8.0,30,40,Seizure,nan,0,0,0,0,0\n", "line 2: vote counts"),
        (HEADER + "10,1,6,20,1,8.0,30,40,Seizure,3,-1,0,0,0,0\n", "line 2: vote counts"),
        (HEADER + "10,1,6,20,1,8.0,30,40,Seizure,3,,0,0,0,0\n", "line 2: lpd_vote='' is no number"),
        (HEADER + "10,1,6\n", "not as many fields"),
    ],
)
def test_rows_that_cannot_be_used_are_named(tmp_path, text, says):
    (tmp_path / "train.csv").write_text(text)
    with pytest.raises(HmsError, match=says):
        read_train(tmp_path / "train.csv")
