"""Every format: what was written comes out in µV, by range, and equals the format's library sample for sample.

Files are written by `synthetic.recordings`, EGI's .mff by mffpy; tests on real files of the same formats are in
test_real_files.py.
"""

import pickle
import warnings

import mne
import numpy as np
import pytest

from signals.readers.registry import open_recording, reopen_recording, source_files
from signals.recording.recording import Annotation, Segment, UnreadableError
from synthetic.recordings import clinical_files as clinical
from synthetic.recordings import laboratory_files as laboratory

NAMES = ("Fp1", "Fp2", "F3", "F4", "C3", "C4", "O1", "O2")
SFREQ = 200


@pytest.fixture
def x():
    """Eight seconds of slow noise in whole tenths of µV."""
    steps = np.random.default_rng(0).normal(0, 3, (len(NAMES), 8 * SFREQ)).cumsum(axis=1)
    return np.round(steps - steps.mean(axis=1, keepdims=True), 1)


def check(recording, x, *, atol=1e-4, sfreq=SFREQ):
    """The recording has these samples in one segment, whole and by range, in its process and after pickling."""
    assert set(recording.sfreqs) == {sfreq}
    assert recording.segments == (Segment(0.0, x.shape[1] / sfreq),)
    picks = list(range(len(x)))
    np.testing.assert_allclose(recording.read(picks), x, atol=atol, rtol=1e-6)
    again = pickle.loads(pickle.dumps(recording))
    np.testing.assert_allclose(again.read([2, 0], start=777, stop=1001), x[[2, 0], 777:1001], atol=atol, rtol=1e-6)
    assert recording.read([1], start=5, stop=5).shape == (1, 0)


def check_library(recording, raw):
    """The recording equals what MNE reads: names aside, every sample of every channel, after MNE's volts."""
    scale = [{"ecg": 1e3, "stim": 1.0, "misc": 1.0}.get(kind, 1e6) for kind in recording.sensor_types]
    wanted = (raw.get_data() * np.array(scale)[:, None]).astype(np.float32)
    ours = np.concatenate(
        [recording.read(range(len(wanted)), segment=k) for k in range(len(recording.segments))], axis=1
    )
    np.testing.assert_allclose(ours, wanted, rtol=2e-6, atol=1e-5)


def reason_of(path):
    with pytest.raises(UnreadableError) as caught:
        open_recording(str(path))
    return caught.value.reason


class TestNihonKohden:
    def write(self, folder, blocks, **more):
        path = folder / "x.EEG"
        clinical.write_nihon_kohden(path, blocks, ch_names=NAMES, sfreq=SFREQ, **more)
        return path

    def test_samples_names_and_events(self, tmp_path, x):
        path = self.write(tmp_path, [x], events=[(3, "eyes closed"), (5, "Erika M.")])
        recording = open_recording(str(path))
        assert (recording.reader, recording.ch_names, recording.notes) == ("nihon-kohden", NAMES, ())
        check(recording, x, atol=0.05)  # half of a step of 0.0977 µV
        check_library(recording, mne.io.read_raw_nihon(path, verbose="ERROR"))
        assert recording.annotations == (Annotation(3.0, 0.0, "eyes closed"), Annotation(5.0, 0.0, "other"))
        assert {file.name for file in source_files(path)} == {"x.EEG", "x.21E", "x.LOG"}

    def test_a_pause_between_blocks_is_as_long_as_by_the_clocks(self, tmp_path, x):
        # 4 s from 10:00:00, then 4 s from 10:00:30: 26 s were lost
        path = self.write(tmp_path, [x[:, :800], x[:, 800:]], starts_s=(36000, 36030))
        recording = open_recording(str(path))
        assert recording.segments == (Segment(0.0, 4.0), Segment(30.0, 4.0))
        assert recording.notes == ("gaps",)
        np.testing.assert_allclose(recording.read(range(8), segment=1), x[:, 800:], atol=0.05)

    def test_side_files_in_small_letters_are_found(self, tmp_path, x):
        path = self.write(tmp_path, [x])
        path.with_suffix(".21E").rename(path.with_suffix(".21e"))
        path.with_suffix(".21e").write_text("[ELECTRODE]\n0000=Cz\n")
        recording = open_recording(str(path))
        assert recording.ch_names[:2] == ("Cz", "FP2")
        check(recording, x, atol=0.05)

    def test_without_a_table_the_standard_one_is_noted(self, tmp_path, x):
        path = self.write(tmp_path, [x])
        path.with_suffix(".21E").unlink()
        assert "standard_electrode_table" in open_recording(str(path)).notes

    def test_a_cut_file_is_refused(self, tmp_path, x):
        path = self.write(tmp_path, [x])
        path.write_bytes(path.read_bytes()[:-5000])
        assert reason_of(path) in ("reader_crashed", "corrupt_header")


class TestPersyst:
    @pytest.mark.parametrize("width", [2, 4])
    def test_samples_names_and_comments(self, tmp_path, x, width):
        path = tmp_path / "x.lay"
        comments = [(1.5, 2.0, "seizure"), (3.0, 0.0, "Mrs. Mustermann, born 1961")]
        clinical.write_persyst(path, x, ch_names=NAMES, sfreq=SFREQ, width=width, comments=comments, patient="Doe")
        recording = open_recording(str(path))
        assert recording.ch_names == tuple(f"{name}-Ref" for name in NAMES)
        check(recording, x)
        check_library(recording, mne.io.read_raw_persyst(path, verbose="ERROR"))
        assert recording.annotations == (Annotation(1.5, 2.0, "seizure"), Annotation(3.0, 0.0, "other"))
        assert recording.patient == "Doe"
        assert len(source_files(path)) == 2

    def test_a_jump_of_the_clock_is_a_gap_and_its_drift_is_none(self, tmp_path, x):
        # 2 s in, the clock is 10.2 s ahead of the samples; at 4 s it has drifted by 0.1 s more; midnight passes
        times = [(0, 86395.0), (400, 86395.0 + 12.2 - 86400), (800, 86395.0 + 14.3 - 86400)]
        clinical.write_persyst(tmp_path / "x.lay", x, ch_names=NAMES, sfreq=SFREQ, sample_times=times)
        recording = open_recording(str(tmp_path / "x.lay"))
        assert [segment.onset_s for segment in recording.segments] == pytest.approx([0.0, 12.2])
        np.testing.assert_allclose(recording.read([0], segment=1), x[:1, 400:], atol=1e-4)

    def test_the_map_gives_the_place_of_a_channel(self, tmp_path, x):
        path = tmp_path / "x.lay"
        clinical.write_persyst(path, x, ch_names=NAMES, sfreq=SFREQ)
        path.write_text(path.read_text().replace("Fp1-Ref=1", "Fp1-Ref=99").replace("O2-Ref=8", "O2-Ref=1")
                        .replace("Fp1-Ref=99", "Fp1-Ref=8"))  # fmt: skip
        recording = open_recording(str(path))
        np.testing.assert_allclose(recording.read([0]), x[7:], atol=1e-4)

    @pytest.mark.parametrize(
        ("old", "new", "reason"),
        [
            ("WaveformCount=8", "WaveformCount=9", "corrupt_header"),
            ("Fp1-Ref=1", "Fp1-Ref=2", "corrupt_header"),
            ("SamplingRate=200", "SamplingRate=nan", "corrupt_header"),
            ("Calibration=0.1", "Calibration=", "corrupt_header"),
            ("DataType=0", "DataType=4", "unsupported_format"),
            ("Interleaved", "Sequential", "unsupported_format"),
            ("HeaderLength=0", "HeaderLength=99999999", "no_samples"),
        ],
    )
    def test_contradictions_have_their_reason(self, tmp_path, x, old, new, reason):
        path = tmp_path / "x.lay"
        clinical.write_persyst(path, x, ch_names=NAMES, sfreq=SFREQ)
        path.write_text(path.read_text().replace(old, new))
        assert reason_of(path) == reason

    def test_samples_that_are_gone(self, tmp_path, x):
        clinical.write_persyst(tmp_path / "x.lay", x, ch_names=NAMES, sfreq=SFREQ)
        assert reason_of(tmp_path / "x.dat") == "unsupported_format"  # open its .lay
        (tmp_path / "x.dat").unlink()
        assert reason_of(tmp_path / "x.lay") == "missing_file"


class TestNicolet:
    def test_samples_and_names(self, tmp_path, x):
        path = tmp_path / "x.head"
        clinical.write_nicolet(path, x, ch_names=NAMES, sfreq=SFREQ)
        recording = open_recording(str(path))
        assert (recording.ch_names, recording.patient) == (NAMES, "107")
        check(recording, x)
        check_library(recording, mne.io.read_raw_nicolet(path.with_suffix(".data"), "eeg", verbose="ERROR"))

    def test_sizes_are_compared(self, tmp_path, x):
        path, data = tmp_path / "x.head", tmp_path / "x.data"
        clinical.write_nicolet(path, x, ch_names=NAMES, sfreq=SFREQ)
        octets = data.read_bytes()
        data.write_bytes(octets[:-100])
        assert open_recording(str(path)).notes == ("missing_records",)
        data.write_bytes(octets + b"more")
        assert open_recording(str(path)).notes == ("trailing_bytes",)
        data.write_bytes(b"")
        assert reason_of(path) == "no_samples"
        data.unlink()
        assert reason_of(path) == "missing_file"


class TestEgiRaw:
    @pytest.mark.parametrize("version", [2, 4, 6])
    def test_samples_and_events(self, tmp_path, x, version):
        path = tmp_path / "x.raw"
        clinical.write_egi_raw(path, np.round(x), sfreq=SFREQ, version=version, events=[("DIN1", 300, 20)])
        recording = open_recording(str(path))
        assert recording.ch_names == (*(f"E{k + 1}" for k in range(8)), "DIN1")
        np.testing.assert_allclose(recording.read(range(8)), np.round(x), atol=1e-4)
        check_library(recording, mne.io.read_raw_egi(path, events_as_annotations=True, verbose="ERROR"))
        assert recording.annotations == (Annotation(1.5, 0.1, "other"),)  # "DIN1" is no event word

    def test_a_range_of_the_amplifier_is_in_microvolts(self, tmp_path, x):
        # 16 bits over 6553.6 -> 6554 µV: steps of 0.1 µV; MNE takes the range for volts, a million times too large
        path = tmp_path / "x.raw"
        clinical.write_egi_raw(path, x, sfreq=SFREQ, amplifier=(16, 6554))
        np.testing.assert_allclose(open_recording(str(path)).read(range(8)), x, atol=0.051)

    def test_segmented_and_cut_files(self, tmp_path, x):
        path = tmp_path / "x.raw"
        clinical.write_egi_raw(path, x, sfreq=SFREQ)
        octets = path.read_bytes()
        path.write_bytes(octets[:-1000])
        assert open_recording(str(path)).notes == ("missing_records",)
        path.write_bytes(b"\0\0\0\x03" + octets[4:])
        assert reason_of(path) == "unsupported_format"
        path.write_bytes(octets[:40])
        assert reason_of(path) == "no_samples"
        path.write_bytes(b"just text")
        assert reason_of(path) == "not_what_it_says"


class TestNeuroscan:
    @pytest.mark.parametrize("width", [2, 4])
    @pytest.mark.parametrize("n_times", [None, 0, 999])
    def test_samples_of_either_width(self, tmp_path, x, width, n_times):
        path = tmp_path / "x.cnt"
        clinical.write_neuroscan(
            path, x, ch_names=NAMES, sfreq=SFREQ, width=width, n_times=n_times, events=[(400, 7), (500, 9)]
        )
        recording = open_recording(str(path))
        assert recording.ch_names == NAMES
        check(recording, x)
        # a header without the right number of samples leaves the width to the samples
        assert recording.notes == (() if n_times is None else ("sample_width_guessed",))
        assert [(a.onset_s, a.description) for a in recording.annotations] == [(2.0, "7"), (2.5, "9")]
        if n_times is None:
            check_library(recording, mne.io.read_raw_cnt(path, data_format=f"int{8 * width}", verbose="ERROR"))

    def test_noise_of_unknown_width_is_refused(self, tmp_path):
        noise = np.random.default_rng(1).normal(0, 30, (8, 1600))
        clinical.write_neuroscan(tmp_path / "x.cnt", noise, ch_names=NAMES, sfreq=SFREQ, n_times=0)
        assert reason_of(tmp_path / "x.cnt") == "unsupported_format"

    def test_a_cut_file_is_refused(self, tmp_path, x):
        path = tmp_path / "x.cnt"
        clinical.write_neuroscan(path, x, ch_names=NAMES, sfreq=SFREQ)
        path.write_bytes(path.read_bytes()[:9000])
        assert reason_of(path) == "corrupt_header"


class TestGdf:
    def test_samples_names_and_events(self, tmp_path, x):
        path = tmp_path / "x.gdf"
        clinical.write_gdf(path, x, ch_names=NAMES, sfreq=SFREQ, patient="P7 Doe", events=[(400, 769)])
        recording = open_recording(str(path))
        assert (recording.ch_names, recording.patient) == (NAMES, "P7 Doe")
        check(recording, x)
        check_library(recording, mne.io.read_raw_gdf(path, verbose="ERROR"))
        assert [(a.onset_s, a.description) for a in recording.annotations] == [(2.0, "769")]

    def test_channels_of_another_rate_are_left_out_not_resampled(self, tmp_path, x):
        path = tmp_path / "x.gdf"
        clinical.write_gdf(path, x, ch_names=NAMES, sfreq=SFREQ, slow=("F3", "O2"))
        recording = open_recording(str(path))
        kept = [0, 1, 3, 4, 5, 6]
        assert recording.ch_names == tuple(NAMES[k] for k in kept)
        assert recording.notes == ("mixed_rates",)
        np.testing.assert_allclose(recording.read(range(6)), x[kept], atol=1e-4)

    def test_a_cut_file_is_refused(self, tmp_path, x):
        path = tmp_path / "x.gdf"
        clinical.write_gdf(path, x, ch_names=NAMES, sfreq=SFREQ)
        path.write_bytes(path.read_bytes()[:9000])
        assert reason_of(path) in ("reader_crashed", "corrupt_header")


class TestCurry:
    def test_samples_and_names(self, tmp_path, x):
        pytest.importorskip("curryreader")
        path = tmp_path / "x.cdt"
        clinical.write_curry(path, x, ch_names=NAMES, sfreq=SFREQ)
        recording = open_recording(str(path))
        assert recording.ch_names == NAMES
        check(recording, x)
        with warnings.catch_warnings(action="ignore"):
            check_library(recording, mne.io.read_raw_curry(path, verbose="ERROR"))
        assert len(source_files(path)) == 2

    def test_epochs_and_missing_parts_are_refused(self, tmp_path, x):
        pytest.importorskip("curryreader")
        path = tmp_path / "x.cdt"
        clinical.write_curry(path, x, ch_names=NAMES, sfreq=SFREQ, n_trials=4)
        assert reason_of(path) == "unsupported_format"
        path.with_name("x.cdt.dpa").unlink()
        assert reason_of(path) == "missing_file"


class TestEgiMff:
    def test_samples_and_a_pause(self, tmp_path):
        pytest.importorskip("mffpy")
        x = np.random.default_rng(0).normal(0, 30, (33, 4 * SFREQ)).astype(np.float32)
        path = tmp_path / "x.mff"
        clinical.write_egi_mff(path, [x[:, :400], x[:, 400:]], sfreq=SFREQ, pauses_s=(2.0,))
        recording = open_recording(str(path))
        assert recording.ch_names[:3] == ("E1", "E2", "E3")
        assert recording.segments == (Segment(0.0, 2.0), Segment(4.0, 2.0))  # 2 s of pause after the first 2 s
        for number, part in enumerate((x[:, :400], x[:, 400:])):
            np.testing.assert_allclose(recording.read(range(33), segment=number), part, rtol=1e-6, atol=1e-4)
        assert len(source_files(path)) >= 5

    def test_a_folder_that_is_none(self, tmp_path):
        pytest.importorskip("mffpy")
        (tmp_path / "x.mff").mkdir()
        assert reason_of(tmp_path / "x.mff") in ("missing_file", "reader_crashed")


class TestMicromed:
    def test_samples_inputs_pauses_and_notes(self, tmp_path, x):
        pytest.importorskip("neo")
        path = tmp_path / "x.TRC"
        clinical.write_micromed(
            path, [x[:, :800], x[:, 800:]], ch_names=NAMES, sfreq=SFREQ, starts=(1000, 3000),
            notes=[(300, "eyes open")], grounds=("G2",) * 7 + ("Cz",), patient=("Doe", "Jane"),
        )  # fmt: skip
        recording = open_recording(str(path))
        assert recording.ch_names == (*(f"{name}-G2" for name in NAMES[:7]), "O2-Cz")
        assert recording.segments == (Segment(0.0, 4.0), Segment(10.0, 4.0))
        for number, part in enumerate((x[:, :800], x[:, 800:])):  # half of a step of 6554 µV in 16 bits
            np.testing.assert_allclose(recording.read(range(8), segment=number), part, atol=0.051)
        assert recording.annotations == (Annotation(1.5, 0.0, "eyes open"),)
        assert recording.patient == "Doe Jane"


class TestXdf:
    def write(self, folder, x, **more):
        laboratory.write_xdf(folder / "x.xdf", x, ch_names=NAMES, sfreq=SFREQ, **more)
        return folder / "x.xdf"

    def test_samples_and_markers_on_one_clock(self, tmp_path, x):
        pytest.importorskip("pyxdf")
        path = self.write(tmp_path, x, markers=[(2.0, "eyes closed"), (3.5, "12")], offset_s=1234.5)
        recording = open_recording(str(path))
        assert recording.ch_names == NAMES
        check(recording, x)
        assert [(round(a.onset_s, 3), a.description) for a in recording.annotations] == [
            (2.0, "eyes closed"), (3.5, "12"),
        ]  # fmt: skip

    def test_a_break_is_a_gap(self, tmp_path, x):
        pytest.importorskip("pyxdf")
        times = np.arange(1600) / SFREQ + np.where(np.arange(1600) >= 600, 20.0, 0.0)
        recording = open_recording(str(self.write(tmp_path, x, times_s=times)))
        assert [segment.onset_s for segment in recording.segments] == pytest.approx([0.0, 23.0], abs=0.01)
        np.testing.assert_allclose(recording.read(range(8), segment=1), x[:, 600:], atol=1e-4)

    def test_units_and_streams(self, tmp_path, x):
        pytest.importorskip("pyxdf")
        recording = open_recording(str(self.write(tmp_path, x / 1e6, unit="volts")))
        np.testing.assert_allclose(recording.read(range(8)), x, atol=1e-3)
        assert reason_of(self.write(tmp_path, x, kind="Audio")) == "unsupported_format"

    def test_a_rate_that_the_clock_denies_is_noted(self, tmp_path, x):
        pytest.importorskip("pyxdf")
        recording = open_recording(str(self.write(tmp_path, x, times_s=np.arange(1600) / 190.0)))
        assert "rate_disagrees" in recording.notes


class TestWfdb:
    def test_samples_units_and_baselines(self, tmp_path, x):
        wfdb = pytest.importorskip("wfdb")
        path = tmp_path / "x.hea"
        laboratory.write_wfdb(path, x, ch_names=NAMES, sfreq=SFREQ, baseline=100)
        recording = open_recording(str(path))
        check(recording, x)
        wanted = wfdb.rdrecord(str(path.with_suffix(""))).p_signal.T
        np.testing.assert_allclose(recording.read(range(8)), wanted, rtol=1e-6, atol=1e-5)
        assert [file.name for file in source_files(path)] == ["x.hea", "x.dat"]

    def test_leads_of_the_heart_are_in_millivolts(self, tmp_path, x):
        pytest.importorskip("wfdb")
        leads = ("I", "aVR", "V1", "MLII", "v6", "III", "II", "avf")
        laboratory.write_wfdb(tmp_path / "x.hea", x, ch_names=leads, sfreq=SFREQ, unit="mV", gain=1000.0)
        recording = open_recording(str(tmp_path / "x.hea"))
        assert set(recording.sensor_types) == {"ecg"}
        # 16 bits at 1000 steps a mV end at 32 mV
        inside = np.abs(x) < 32
        np.testing.assert_allclose(recording.read(range(8))[inside], x[inside], atol=1e-3)

    def test_several_rates(self, tmp_path, x):
        pytest.importorskip("wfdb")
        laboratory.write_wfdb(tmp_path / "x.hea", x, ch_names=NAMES, sfreq=SFREQ, slow=("O1", "O2"))
        recording = open_recording(str(tmp_path / "x.hea"))
        assert recording.sfreqs == (200.0,) * 6 + (50.0,) * 2
        np.testing.assert_allclose(recording.read([0, 5], start=3, stop=1001), x[[0, 5], 3:1001], atol=1e-4)
        np.testing.assert_allclose(recording.read([6, 7], start=3, stop=399), x[[6, 7], ::4][:, 3:399], atol=1e-4)

    def test_null_segments_are_gaps(self, tmp_path, x):
        pytest.importorskip("wfdb")
        parts = [x[:, :400], x[:, 400:800], 1000, x[:, 800:]]
        laboratory.write_wfdb_segments(tmp_path / "m.hea", parts, ch_names=NAMES, sfreq=SFREQ)
        recording = open_recording(str(tmp_path / "m.hea"))
        assert recording.segments == (Segment(0.0, 4.0), Segment(9.0, 4.0))
        np.testing.assert_allclose(recording.read([3, 1]), x[[3, 1], :800], atol=1e-4)
        np.testing.assert_allclose(recording.read([3], segment=1, start=300, stop=500), x[[3], 1100:1300], atol=1e-4)
        assert len(source_files(tmp_path / "m.hea")) == 7

    def test_files_elsewhere_and_files_gone(self, tmp_path, x):
        pytest.importorskip("wfdb")
        path = tmp_path / "x.hea"
        laboratory.write_wfdb(path, x, ch_names=NAMES, sfreq=SFREQ)
        text = path.read_text()
        path.write_text(text.replace("x.dat", "y.dat"))
        assert reason_of(path) == "missing_file"
        path.write_text(text.replace("x.dat", "../x.dat"))
        assert reason_of(path) in ("unsupported_format", "reader_crashed")
        path.write_text("some prose about this folder\n")
        assert reason_of(path) == "not_what_it_says"


class TestOpenVibe:
    def test_samples_and_stimulations(self, tmp_path, x):
        path = tmp_path / "x.ov"
        laboratory.write_openvibe(path, x, ch_names=NAMES, sfreq=SFREQ, stimulations=[(1.5, 770), (2.0, 33024)])
        recording = open_recording(str(path))
        assert (recording.ch_names, recording.notes) == (NAMES, ("unit_guessed",))
        check(recording, x)
        assert [(a.onset_s, a.description) for a in recording.annotations] == [(1.5, "770"), (2.0, "other")]

    def test_a_pause_between_chunks_is_a_gap(self, tmp_path, x):
        laboratory.write_openvibe(tmp_path / "x.ov", x, ch_names=NAMES, sfreq=SFREQ, pause=(10, 3.0))
        recording = open_recording(str(tmp_path / "x.ov"))
        assert recording.segments == (Segment(0.0, 1.6), Segment(4.6, 6.4))  # 10 chunks of 32 samples
        np.testing.assert_allclose(recording.read(range(8), segment=1), x[:, 320:], atol=1e-4)

    def test_cut_and_other_files(self, tmp_path, x):
        path = tmp_path / "x.ov"
        laboratory.write_openvibe(path, x, ch_names=NAMES, sfreq=SFREQ)
        octets = path.read_bytes()
        path.write_bytes(octets[:5000])
        assert reason_of(path) == "corrupt_header"
        path.write_bytes(octets[:5])
        assert reason_of(path) == "unsupported_format"


def test_reopening_gives_the_same(tmp_path, x):
    path = tmp_path / "x.gdf"
    clinical.write_gdf(path, x, ch_names=NAMES, sfreq=SFREQ)
    first = open_recording(str(path))
    second = reopen_recording(str(path), first.header)
    assert first == second
    assert np.array_equal(first.read([0, 3]), second.read([0, 3]))
