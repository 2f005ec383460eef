import dataclasses
import os
import pickle
from pathlib import Path

import numpy as np
import pytest

import signals.readers.registry as registry
from signals.readers import remote
from signals.readers.registry import READERS, open_recording, source_files
from signals.recording.recording import READ_REASONS, SENSOR_TYPES, UnreadableError
from signals.sites.card import card_of

REAL_DATA = os.environ.get("CEREBEAM_REAL_DATA", "")
needs_real_data = pytest.mark.skipif(not Path(REAL_DATA, "awkward").is_dir(), reason="CEREBEAM_REAL_DATA is not set")

# What each file is was read from its bytes: the reader that opens it, its channels without annotations and seconds of
# signal by its header and size, or the reason why it cannot be used.
AWKWARD: dict[str, tuple[str, int, float] | str] = {
    "bb_python/test.edf": "no_samples",  # a header of 512 bytes, zero records, nothing after it
    "bids-examples/sub-COF008_task-BL_acq-T224800_eeg.edf": "corrupt_header",  # 5000 bytes, header says 5120
    "edf.jl/bdf_test.bdf": ("bdf", 8, 73.0),
    "edf.jl/test_merged.edf": ("edf", 139, 12.0),  # EDF+D, six seconds from 0 s and six from 43200 s
    "edf.jl/test_uneven_samp.edf": ("edf", 2, 110.0),
    "edfio/mne_test.bdf": ("bdf", 139, 6.0),
    "edfio/short_psg.bdf": ("bdf", 7, 300.0),
    "edfio/test_subsecond.edf": ("edf", 1, 698.0),
    "epilepsy2bids/PN00-5_sample.edf": ("edf", 35, 2.0),
    "epilepsy2bids/P_ID10_r5_sample.edf": ("edf", 26, 2.0),
    "epilepsy2bids/chb01_01_sample.edf": ("edf", 23, 2.0),
    "mne-python/duplicate_channel_labels.edf": ("edf", 3, 10.0),
    "mne-python/test.eeg": "unsupported_format",  # samples of test_bad_date.vhdr
    "mne-python/test_bad_date.vhdr": ("brainvision", 32, 7.9),  # 505600 bytes / 32 channels / int16 at 1000 Hz
    "mne-python/test_bad_date.vmrk": "unsupported_format",
    "mne-python/test_edf_stim_channel.edf": ("edf", 25, 9.59375),
    "mne-python/test_egi.raw": ("egi-raw", 262, 0.308),  # 77 samples at 250 Hz; 256 electrodes, 1 reference, 5 tracks
    "mne-python/test_old_layout_latin1_software_filter.eeg": "unsupported_format",
    "mne-python/test_old_layout_latin1_software_filter.vhdr": ("brainvision", 29, 1.004),  # 29116 / 29 / 4 at 250 Hz
    "mne-python/test_old_layout_latin1_software_filter.vmrk": "unsupported_format",
    "mne-python/test_openbci_missing.txt": "unsupported_format",  # says neither electrodes nor rate; last row is cut
    "mne-python/test_uneven_samp.edf": ("edf", 2, 110.0),
    "ptsa/broken_header.bdf": ("bdf", 137, 2.0),  # -1 records; (61632 - 35328) / (137 * 32 * 3) = 2 are there
    "pyedflib/test_legacy.edf": ("edf", 11, 600.0),
    "pyedflib/test_utf8.edf": ("edf", 1, 698.0),
    "wfdb-python/SC4001E0-PSG.wav": "unsupported_format",  # a true RIFF WAVE, channels without names
    "z3score-api/test.edf": "not_what_it_says",  # a git-lfs pointer
}
# reader, channels, Hz for each site of real/, by the folder's README
SITES = {
    "albany-eegmmidb": ("edf", 64, 160.0),
    "bissau-emotiv": ("csv/emotiv-epoc", 14, 128.0),
    "boston-iiic-sparcnet": ("mat/iiic-sparcnet", 20, 200.0),
    "frankfurt-rest": ("edf", 30, 250.0),
    "kyiv-eegmat": ("edf", 21, 500.0),
    "leipzig-lemon": ("brainvision", 62, 250.0),
    "neonatal-stevenson": ("edf", None, 256.0),
    "sandiego-eeglab": ("eeglab", 32, 128.0),
    "tehran-adhd": ("mat/tehran-adhd", 19, 128.0),
    "yasa-sleep": ("fif", 2, 200.0),
}
NO_RECORDINGS = {".eeg", ".vmrk", ".fdt", ".npz", ".txt", ".csv"}  # the .npz has no declared layout


def reason_of(path: Path | str) -> str:
    with pytest.raises(UnreadableError) as caught:
        open_recording(str(path))
    return caught.value.reason


@needs_real_data
def test_the_table_of_awkward_files_is_complete():
    found = {str(path.relative_to(Path(REAL_DATA, "awkward"))) for path in Path(REAL_DATA, "awkward").glob("*/*")}
    assert found == set(AWKWARD)


@needs_real_data
@pytest.mark.parametrize(("name", "outcome"), AWKWARD.items())
def test_awkward_files_are_read_or_refused_rightly(name, outcome):
    path = Path(REAL_DATA, "awkward", name)
    if isinstance(outcome, str):
        assert reason_of(path) == outcome
        return
    recording = open_recording(str(path))
    assert (recording.reader, len(recording.ch_names)) == outcome[:2]
    assert recording.duration_s == pytest.approx(outcome[2])
    assert set(recording.sensor_types) <= set(SENSOR_TYPES)
    for pick in range(len(recording.ch_names)):
        samples = recording.read([pick], segment=len(recording.segments) - 1)
        assert samples.dtype == np.float32
        assert np.isfinite(samples).all()


@needs_real_data
@pytest.mark.parametrize("site", SITES)
def test_every_site_is_read(site, site_cards):
    reader, n_chans, sfreq = SITES[site]
    spreads = []
    for path in sorted(Path(REAL_DATA, "real", site).iterdir()):
        if path.suffix in NO_RECORDINGS:
            assert reason_of(path) == "unsupported_format"
            continue
        card = card_of(str(path), site_cards)
        recording = open_recording(str(path), declared=card.declared)
        assert recording.reader == reader
        assert set(recording.sfreqs) == {sfreq}
        assert n_chans in (None, len(recording.ch_names))
        eeg = [pick for pick, kind in enumerate(recording.sensor_types) if kind == "eeg"]
        spreads.append(np.median(recording.read(eeg, stop=2000).std(axis=1)))
    # EEG in µV; the median over files, for one segment of intensive care is an artifact of millivolts throughout.
    assert 5.0 < np.median(spreads) < 500.0


@needs_real_data
def test_recordings_survive_pickling():
    for name in ("real/kyiv-eegmat/Subject00_2.edf", "real/leipzig-lemon/sub-032301.vhdr"):
        recording = open_recording(str(Path(REAL_DATA, name)))
        again = pickle.loads(pickle.dumps(recording))
        assert np.array_equal(again.read([0], start=5, stop=500), recording.read([0], start=5, stop=500))


@pytest.mark.parametrize(
    ("name", "octets", "reason"),
    [
        ("x.edf", b"", "not_what_it_says"),
        ("x.edf", b"\x80\x04\x95pickle", "not_what_it_says"),
        ("x.bdf", b"version https://git-lfs.github.com/spec/v1\noid", "not_what_it_says"),
        ("x.mat", b"version https://git-lfs.github.com/spec/v1\noid", "not_what_it_says"),
        ("x.vhdr", b"hello", "not_what_it_says"),
        ("x.fif", b"hello", "not_what_it_says"),
        ("x.set", b"hello", "not_what_it_says"),
        ("x.csv.gz", b"a,b\n1,2\n", "not_what_it_says"),
        ("x.csv", b"a,b\n1,2\n", "unsupported_format"),
        ("x.csv", b"\xff\xfea\x00", "not_what_it_says"),
        ("x.cnt", b"Version 3.0", "corrupt_header"),
        ("x.cnt", b"Version 2", "not_what_it_says"),
        ("x.lay", b"[FileInfo]\n", "corrupt_header"),
        ("x.head", b"sample_freq=1\n", "corrupt_header"),
        ("x.gdf", b"GDF 2.20", "corrupt_header"),
        ("x.xdf", b"XDF:", "unsupported_format"),
        ("x.hea", b"x 1 100 10\n", "reader_crashed"),
        ("x.raw", b"P5 640 480", "not_what_it_says"),
        ("x.eeg", b"EEG-1100C V01.00", "reader_crashed"),
        ("x.TRC", b"* MICROMED  Brain-Quick file *", "reader_crashed"),
        ("x.cdt", b"\0\0\0\0", "missing_file"),
        ("x.npz", b"PK\x03\x04", "corrupt_header"),
        ("x.npy", b"\x93NUMPY", "reader_crashed"),
        ("x", b"", "unsupported_format"),
        ("x.edf", b"0       ", "corrupt_header"),
        ("x.set", b"MATLAB 7.3 MAT-file", "corrupt_header"),
        ("x.mat", b"\x89HDF\r\n\x1a\n", "corrupt_header"),
        ("x.mat", b"MATLAB 5.0 MAT-file".ljust(500, b"\x07"), "reader_crashed"),
        ("x.fif", b"\x00\x00\x00\x64\x00\x00\x00\x1f" + b"\x07" * 500, "reader_crashed"),
    ],
)
def test_bad_content_has_its_reason(tmp_path, name, octets, reason):
    path = tmp_path / name
    path.write_bytes(octets)
    assert reason_of(path) == reason


def test_what_is_no_local_file_has_its_reason(tmp_path, monkeypatch):
    monkeypatch.setattr(remote, "_store", None)  # a pipeline that ran in this process has registered Beam's
    assert reason_of(tmp_path / "none.edf") == "missing_file"
    assert reason_of(tmp_path) == "unsupported_format"
    assert reason_of("gs://bucket/x.edf") == "unsupported_format"
    with pytest.raises(UnreadableError, match="missing_file"):
        source_files(tmp_path / "none.edf")


def test_any_error_of_a_reader_becomes_a_reason(tmp_path, monkeypatch):
    def broken(path, layouts=()):
        raise ZeroDivisionError("by a library")

    path = tmp_path / "x.csv"
    path.write_text("a,b\n")
    broken_reader = dataclasses.replace(READERS["csv"], open=broken, files=broken)
    monkeypatch.setattr(registry, "_READERS", (broken_reader,))
    with pytest.raises(UnreadableError, match="reader_crashed: ZeroDivisionError: by a library"):
        open_recording(str(path))
    with pytest.raises(UnreadableError, match="reader_crashed"):
        source_files(path)
    assert "reader_crashed" in READ_REASONS


@pytest.mark.parametrize(
    ("suffix", "opens"),
    [(".eeg", ".vhdr"), (".vmrk", ".vhdr"), (".fdt", ".set"), (".dat", ".lay, .hea or .dap"), (".data", ".head"),
     (".rs3", ".dap"), (".dpa", ".cdt"), (".dpo", ".cdt"), (".cef", ".cdt or .dap"), (".ceo", ".cdt or .dap"),
     (".21E", ".EEG"), (".PNT", ".EEG"), (".log", ".EEG")],
)  # fmt: skip
def test_a_side_file_names_the_file_to_open(tmp_path, suffix, opens):
    path = tmp_path / f"x{suffix}"
    path.write_bytes(b"\x01\x02 nothing of a known format")
    with pytest.raises(UnreadableError) as refused:
        open_recording(str(path))
    assert (refused.value.reason, refused.value.detail) == ("unsupported_format", f"a side file; open its {opens}")


@pytest.mark.parametrize(
    ("name", "says"),
    [("x.wav", "no reader for .wav: sound without channel names"), ("x.txt", "no reader for .txt: text without a"),
     ("x.pdf", "no reader for .pdf"), ("x", "no reader for a file without suffix")],
)  # fmt: skip
def test_what_no_reader_takes(tmp_path, name, says):
    (tmp_path / name).write_bytes(b"\x01\x02 nothing of a known format")
    with pytest.raises(UnreadableError) as refused:
        open_recording(str(tmp_path / name))
    assert refused.value.reason == "unsupported_format"
    assert refused.value.detail.startswith(says)
    assert (":" in refused.value.detail) == (":" in says)
