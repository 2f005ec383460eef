from pathlib import Path

import edfio
import mne
import numpy as np
import pyedflib
import pytest

from synthetic.recordings.files import write_edf, write_fif
from synthetic.recordings.long_recording import long_recording

NAMES = ["Fp1", "Cz", "O2"]


def some_uv(n_seconds: int, sfreq: int) -> np.ndarray:
    rng = np.random.default_rng(0)
    return (40 * rng.standard_normal((3, n_seconds * sfreq))).astype(np.float32)


@pytest.mark.parametrize(("file_format", "step_uv"), [("edf", 0.1), ("edf+d", 0.1), ("bdf", 0.03125)])
def test_pyedflib_and_mne_read_what_was_written(tmp_path: Path, file_format: str, step_uv: float) -> None:
    data = some_uv(6, 250)
    path = tmp_path / f"a.{file_format[:3]}"
    write_edf(path, [data[:, :500], data[:, 500:]], file_format=file_format, ch_names=NAMES, sfreq=250, patient="s1",
              record_onsets_s=range(6), reference="Cz")  # fmt: skip
    mne_reader = mne.io.read_raw_bdf if file_format == "bdf" else mne.io.read_raw_edf
    raw = mne_reader(path, verbose="error")
    assert raw.ch_names == NAMES
    np.testing.assert_allclose(raw.get_data() * 1e6, data, atol=0.51 * step_uv)
    if file_format != "edf+d":  # pyedflib refuses discontinuous files
        with pyedflib.EdfReader(str(path)) as reader:
            assert reader.getSignalLabels() == NAMES
            assert reader.getPhysicalDimension(0) == "uV"
            np.testing.assert_allclose(reader.readSignal(2), data[2], atol=0.51 * step_uv)


def test_edf_plus_d_keeps_its_gap(tmp_path: Path) -> None:
    path = tmp_path / "gap.edf"
    write_edf(path, [some_uv(4, 128)], file_format="edf+d", ch_names=NAMES, sfreq=128, patient="s1",
              record_onsets_s=[0, 1, 13.5, 14.5])  # fmt: skip
    assert path.read_bytes()[192:197] == b"EDF+D"
    starts = [record.split(b"\x14\x14\x00")[0] for record in path.read_bytes()[256 * 5 :].split(b"+")[1:]]
    assert [float(s) for s in starts if s.replace(b".", b"").isdigit()] == [0, 1, 13.5, 14.5]
    assert edfio.read_edf(path).num_data_records == 4


def test_values_beyond_the_range_are_clipped(tmp_path: Path) -> None:
    path = tmp_path / "clip.edf"
    data = np.array([[1e5, -1e5] * 50], np.float32)
    write_edf(path, [data], file_format="edf", ch_names=["Cz"], sfreq=100, patient="s1", record_onsets_s=[0])
    with pyedflib.EdfReader(str(path)) as reader:
        np.testing.assert_allclose(reader.readSignal(0)[:2], [3276.7, -3276.8])


def test_a_wrong_number_of_onsets_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="2 s of signal, but 3 onsets"):
        write_edf(tmp_path / "a.edf", [some_uv(2, 100)], file_format="edf", ch_names=NAMES, sfreq=100, patient="s",
                  record_onsets_s=range(3))  # fmt: skip
    with pytest.raises(ValueError, match="no whole number of seconds"):
        write_edf(tmp_path / "a.edf", [some_uv(2, 100)[:, :150]], file_format="edf", ch_names=NAMES, sfreq=100,
                  patient="s", record_onsets_s=range(2))  # fmt: skip


def test_fif_is_the_same_twice_and_read_by_mne(tmp_path: Path) -> None:
    data = some_uv(5, 128)
    for name in ("a_raw.fif", "b_raw.fif"):
        write_fif(tmp_path / name, data, ch_names=NAMES, sfreq=128.0, patient="s1")
    assert (tmp_path / "a_raw.fif").read_bytes() == (tmp_path / "b_raw.fif").read_bytes()
    raw = mne.io.read_raw_fif(tmp_path / "a_raw.fif", verbose="error")
    np.testing.assert_allclose(raw.get_data() * 1e6, data, rtol=1e-6, atol=1e-5)
    assert raw.info["meas_date"] is None


def test_a_long_recording_is_an_edf_of_the_requested_size(tmp_path: Path) -> None:
    path = tmp_path / "long.edf"
    long_recording(path, hours=0.05, n_chans=24, sfreq=250, seed=1)
    assert path.stat().st_size == 256 * 25 + 180 * 24 * 250 * 2
    with pyedflib.EdfReader(str(path)) as reader:
        x = reader.readSignal(0)
        assert x.size == 180 * 250
        assert 5 < x.std() < 100
        # continuous: no step where blocks of 16 s meet is larger than the steps elsewhere
        steps = np.abs(np.diff(x))
        assert steps[16 * 250 - 1 :: 16 * 250].max() <= steps.max() * 0.9 + 1
    with pytest.raises(ValueError, match="n_chans=500"):
        long_recording(path, hours=1, n_chans=500, sfreq=250, seed=1)
