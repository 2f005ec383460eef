import pickle

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import signals.readers.layouts.parquet as parquet
from signals.modality import EEG_1020
from signals.readers.registry import open_recording
from signals.recording.recording import UnreadableError

NAMES = (*EEG_1020.ch_names, "EKG")


def write(path, x, *, names=NAMES, row_group_size=None, dtype=np.float32):
    pq.write_table(pa.table({n: row.astype(dtype) for n, row in zip(names, x, strict=True)}), path,
                   row_group_size=row_group_size)  # fmt: skip
    return str(path)


@pytest.fixture
def x():
    return np.random.default_rng(0).normal(0, 30, (20, 1000)).astype(np.float32)


@pytest.mark.parametrize("row_group_size", [None, 300, 1])
@pytest.mark.parametrize("largest_kept", [0, 10_000])
def test_ranges_across_row_groups_equal_the_table(tmp_path, monkeypatch, x, row_group_size, largest_kept):
    monkeypatch.setattr(parquet, "_LARGEST_KEPT", largest_kept)
    monkeypatch.setattr(parquet, "_BATCH_ROWS", 128)
    recording = open_recording(write(tmp_path / "x.parquet", x, row_group_size=row_group_size))
    assert (recording.reader, recording.sfreqs[0], recording.duration_s) == ("parquet/hms", 200.0, 5.0)
    assert recording.sensor_types == ("eeg",) * 19 + ("ecg",)
    ranges = [(0, 1000), (299, 302), (598, 603), (7, 7), (999, 1000)] if row_group_size != 1 else [(998, 1000)]
    for start, stop in ranges:
        assert np.array_equal(recording.read([3, 0], start=start, stop=stop), x[[3, 0], start:stop])
    # µV in the file, mV for the heart; scaled in float64 and rounded once
    assert np.array_equal(recording.read([19], start=990)[0], (x[19, 990:] * np.float64(1e-3)).astype(np.float32))
    assert np.array_equal(pickle.loads(pickle.dumps(recording)).read([5], start=990), x[5:6, 990:])


def test_columns_are_found_by_name_and_missing_samples_are_nan(tmp_path, x):
    x[4, 10:20] = np.nan
    order = np.random.default_rng(1).permutation(20)
    recording = open_recording(write(tmp_path / "x.parquet", x[order], names=[NAMES[i] for i in order]))
    assert recording.ch_names == NAMES
    assert np.array_equal(recording.read(range(19)), x[:19], equal_nan=True)


def test_nulls_integers_and_a_missing_ekg(tmp_path):
    table = pa.table({name: pa.array([1, None, 3], pa.int16()) for name in NAMES[:19]})
    pq.write_table(table, tmp_path / "x.parquet")
    recording = open_recording(str(tmp_path / "x.parquet"))
    assert len(recording.ch_names) == 19
    assert np.array_equal(recording.read([2])[0], [1, np.nan, 3], equal_nan=True)


def test_other_columns_and_damaged_files_have_their_reason(tmp_path, x):
    def reason(path):
        with pytest.raises(UnreadableError) as caught:
            open_recording(str(path)).read(range(19))
        return caught.value.reason

    assert reason(write(tmp_path / "a.parquet", x[:5], names=NAMES[:5])) == "unsupported_format"
    words = pa.table({name: ["a"] for name in NAMES})
    pq.write_table(words, tmp_path / "w.parquet")
    assert reason(tmp_path / "w.parquet") == "unsupported_format"
    spectrogram = pa.table({"time": [1]} | {f"{r}_{f}": [0.5] for r in ("LL", "RL", "LP", "RP") for f in (0.59, 0.78)})
    pq.write_table(spectrogram, tmp_path / "s.parquet")
    with pytest.raises(UnreadableError, match="a spectrogram"):
        open_recording(str(tmp_path / "s.parquet"))
    assert reason(write(tmp_path / "e.parquet", x[:, :0])) == "no_samples"
    whole = (tmp_path / "a.parquet").read_bytes()
    (tmp_path / "c.parquet").write_bytes(whole[: len(whole) // 2])
    assert reason(tmp_path / "c.parquet") == "corrupt_header"
    octets = bytearray((tmp_path / write(tmp_path / "p.parquet", x)).read_bytes())
    octets[4:2000] = b"\xff" * 1996
    (tmp_path / "p.parquet").write_bytes(octets)
    assert reason(tmp_path / "p.parquet") == "corrupt_header"
