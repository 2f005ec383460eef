from dataclasses import replace

import mne
import numpy as np
import pytest
from scipy.signal import find_peaks, resample_poly

from signals.conditioning.filters import bandpass
from signals.description.artifacts import BIT
from signals.modality import EEG_1020, EEG_PSG, Modality, microvolts
from signals.readers.registry import open_recording
from signals.recording.recording import Recording, Segment
from signals.window import ABSENT, MEASURED
from signals.windows.plan import plan_recording
from signals.windows.prepare import prepare_recording
from signals.windows.profiles import PRETRAIN, PSG, with_overrides
from signals.windows.sensors import choose_channels, sensor_band
from synthetic.polysomnogram import main as synthesize
from synthetic.polysomnogram import polysomnogram, write_polysomnogram

PRETRAIN_PSG = with_overrides(PRETRAIN, {"modality": "eeg_psg"})
EOG1, EOG2, EMG, ECG = range(19, 23)


@pytest.fixture(scope="module")
def night(tmp_path_factory):
    """A synthetic night of five stages, and its file."""
    path = tmp_path_factory.mktemp("night") / "night.edf"
    made = polysomnogram(np.random.default_rng(1), stages=("W", "N1", "N2", "N3", "REM"))
    write_polysomnogram(path, made)
    return made, path


def windows_of(recording, profile):
    plan = plan_recording(recording, profile, site_id="site", subject_id="subject", source_sha256="ab" * 32)
    return plan, list(prepare_recording(recording, plan))


def recording_of(eeg, sensors, *, seconds=40, seed=0):
    """Noise in memory: 19 electrodes at `eeg` Hz, and sensors {label: (type, Hz, samples or None for noise)}."""
    rng = np.random.default_rng(seed)
    rows = dict.fromkeys(EEG_1020.ch_names, ("eeg", eeg, None)) | sensors
    samples = [
        20 * rng.standard_normal(round(seconds * rate)) if x is None else x for _, rate, x in rows.values()
    ]  # fmt: skip
    return Recording(
        uri="memory", reader="memory", ch_names=tuple(rows), sensor_types=tuple(kind for kind, _, _ in rows.values()),
        sfreqs=tuple(float(rate) for _, rate, _ in rows.values()), segments=(Segment(0.0, float(seconds)),),
        read_samples=lambda picks, _, a, b: np.stack([samples[p][a:b] for p in picks]).astype(np.float32),
    )  # fmt: skip


def test_modality_is_eeg_first_and_its_scalp_is_the_ten_twenty_system():
    assert EEG_PSG.ch_names == (*EEG_1020.ch_names, "EOG1", "EOG2", "EMG", "ECG")
    assert EEG_PSG.units == ("µV",) * 22 + ("mV",)
    assert replace(EEG_PSG.primary, name=EEG_1020.name) == EEG_1020
    assert EEG_1020.primary is EEG_1020
    np.testing.assert_allclose(np.linalg.norm(EEG_PSG.positions, axis=1), 1.0, atol=2e-4)
    assert not EEG_PSG.adjacency()[19:].any()
    left, right = np.array(EEG_PSG.positions[EOG1]), np.array(EEG_PSG.positions[EOG2])
    np.testing.assert_array_equal(left * [-1, 1, 1], right)
    assert left[0] < 0
    assert Modality.from_dict(EEG_PSG.to_dict()) == EEG_PSG
    assert EEG_PSG.to_dict()["units"][-1] == "mV"
    assert "units" not in EEG_1020.to_dict()
    with pytest.raises(ValueError, match="EEG channels must come before"):
        replace(EEG_1020, sensor_types=("ecg", *EEG_1020.sensor_types[1:]))
    with pytest.raises(ValueError, match=r"\['meg'\] are none of"):
        replace(EEG_1020, sensor_types=(*EEG_1020.sensor_types[1:], "meg"))
    assert microvolts(np.ones((23, 2)), EEG_PSG.sensor_types)[:, 0].tolist() == [1.0] * 22 + [1000.0]


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        ("eog:EOG-R eog:EOG-L", {"EOG1": 1, "EOG2": 0}),
        ("eog:ROC-A1 eog:LOC-A2 emg:Chin1-Chin2 ecg:ECG1 ecg:ECG2", {"EOG1": 1, "EOG2": 0, "EMG": 2, "ECG": 3}),
        ("eog:E2-M1 eog:E1-M2", {"EOG1": 1, "EOG2": 0}),
        ("eog:EOG2 eog:EOG1", {"EOG1": 1, "EOG2": 0}),
        ("eog:HEOG eog:VEOG", {"EOG1": 0, "EOG2": 1}),
        ("eog:VEOG eog:EOG(L) eog:EOG(R)", {"EOG1": 1, "EOG2": 2}),
        ("eog:EOG_dx eog:EOG_sin", {"EOG1": 1, "EOG2": 0}),
        ("eog:ROC-LOC", {"EOG1": 0}),
        ("eog:ROC", {"EOG2": 0}),
        ("eeg:E1 eeg:E2 eeg:C3", {"EOG1": 0, "EOG2": 1}),  # bare names of polysomnography
        ("eeg:E1 eeg:E2 eeg:E3 eeg:E4", {}),  # a dense net
        ("emg:LAT emg:EMG1 emg:Chin", {"EMG": 2}),
        ("emg:EMG_Left_Leg emg:EMG1", {"EMG": 1}),
        ("emg:LAT emg:RAT", {}),
        ("resp:Chest stim:STI misc:SpO2", {}),
    ],
)
def test_which_channel_becomes_which_row(labels, expected):
    kinds, names = zip(*(label.split(":") for label in labels.split()), strict=True)
    assert choose_channels(names, kinds, EEG_PSG) == expected
    assert choose_channels(names, kinds, EEG_1020) == {}


def test_bands_are_their_own_and_guarded_by_the_rate():
    assert sensor_band("emg", native_sfreq=500, sfreq=256) == (10.0, 100.0)
    assert sensor_band("emg", native_sfreq=100, sfreq=256) == (10.0, 45.0)
    assert sensor_band("emg", native_sfreq=1, sfreq=256) is None  # Sleep-EDF's envelope
    assert sensor_band("ecg", native_sfreq=40, sfreq=256) is None
    assert sensor_band("eog", native_sfreq=50, sfreq=256) == (0.5, 22.5)


def same_eeg(with_sensors, without):
    assert len(with_sensors) == len(without) > 0
    for a, b in zip(with_sensors, without, strict=True):
        for name in ("data", "ch_state", "artifact_mask", "quality", "snr_db", "artifact_ratio", "features"):
            assert np.array_equal(getattr(a, name)[:19], getattr(b, name), equal_nan=True), name
        assert a.key == b.key
        assert a.quality_verdict == b.quality_verdict


def test_sensors_do_not_change_the_eeg_by_a_bit(night):
    recording = replace(open_recording(str(night[1])), segments=(Segment(0.0, 60.0),))  # enough for components
    cleaned = {"cleaning.ica": "true", "cleaning.transients": "true", "cleaning.baseline": "true"}
    for profile in (PRETRAIN, with_overrides(PRETRAIN, cleaned)):
        plan, without = windows_of(recording, profile)
        sensed, windows = windows_of(recording, with_overrides(profile, {"modality": "eeg_psg"}))
        same_eeg(windows, without)
        assert plan.sensors == ()
        assert [sensor.row for sensor in sensed.sensors] == [EOG1, EOG2, EMG, ECG]
        assert replace(sensed, profile=profile, sensors=()) == plan
        assert (plan.removal is not None) == profile.cleaning.ica


def test_rows_come_from_channels_of_any_rate():
    t = np.arange(40 * 100) / 100
    recording = recording_of(
        200.0,
        {
            "EOG horizontal": ("eog", 100, 80 * np.sin(2 * np.pi * 1.5 * t) + 500),
            "EMG submental": ("emg", 1, None),
            "ECG": ("ecg", 1000, np.zeros(40000)),
        },
    )
    plan, windows = windows_of(recording, PRETRAIN_PSG)
    assert plan.notes[-1] == "unusable_rate_EMG"
    for window in windows:
        assert window.data.shape == (23, 2560)
        assert window.ch_state[19:].tolist() == [MEASURED, ABSENT, ABSENT, MEASURED]
        at = window.start_s + np.arange(2560) / 256
        inner = slice(None) if 5 < window.start_s < 25 else slice(900, -900)  # ends are continued by reflection
        assert np.abs(window.data[EOG1] - 80 * np.sin(2 * np.pi * 1.5 * at))[inner].max() < 0.8
        assert not window.data[[EOG2, EMG]].any()
        assert not window.features[[EOG2, EMG]].any()
        assert not window.quality[[EOG2, EMG]].any()
        # A lead that was not plugged in: measured, and flagged in its own row.
        assert (window.artifact_mask[ECG] == BIT["flat"]).all()
        assert window.quality[ECG] == 0
        assert window.quality[EOG1] == 1
        assert np.isnan(window.snr_db[19:]).all()
        np.testing.assert_array_equal(window.artifact_ratio[19:], [0, np.nan, np.nan, 1])
        assert np.isfinite(window.features).all()


def test_a_sensors_gap_is_its_own():
    x = 50 * np.random.default_rng(1).standard_normal(40 * 256)
    x[12 * 256 : 15 * 256 + 10] = np.nan
    whole = recording_of(256.0, {"EOG1": ("eog", 256, None)})
    _, without = windows_of(whole, PRETRAIN)
    _, windows = windows_of(recording_of(256.0, {"EOG1": ("eog", 256, x)}), PRETRAIN_PSG)
    same_eeg(windows, without)
    assert np.flatnonzero(windows[1].artifact_mask[EOG1] & BIT["gap"]).tolist() == [2, 3, 4, 5]
    assert windows[1].quality[EOG1] == pytest.approx(0.6)
    assert np.isfinite(windows[1].data).all()
    # A sensor that is missing altogether rejects no window.
    _, windows = windows_of(recording_of(256.0, {"EOG1": ("eog", 256, np.full(40 * 256, np.nan))}), PRETRAIN_PSG)
    assert len(windows) == 4
    assert (windows[0].artifact_mask[EOG1] == BIT["gap"]).all()


def test_blocks_equal_the_whole_for_sensors_too(night):
    recording = open_recording(str(night[1]))
    (_, short), (_, long) = (windows_of(recording, replace(PRETRAIN_PSG, block_s=s)) for s in (10.0, 600.0))
    for a, b in zip(short, long, strict=True):
        assert (np.abs(a.data - b.data).max(axis=1)[19:] < 1e-5 * np.abs(b.data).max(axis=1)[19:]).all()
        assert np.array_equal(a.artifact_mask, b.artifact_mask)


def test_what_was_put_into_the_night_is_in_its_rows(night):
    made, path = night
    _, windows = windows_of(open_recording(str(path)), PSG)
    x = np.concatenate([window.data for window in windows], axis=1)
    onset = {kind: [e.onset_s for e in made.events if e.kind == kind] for kind in ("blink", "heartbeat")}
    blinks = [at for at in onset["blink"] if 1 < at < 29]
    assert len(blinks) > 3
    for at in blinks:
        cut = slice(int(at * 256), int((at + 0.4) * 256))
        assert x[[EOG1, EOG2], cut].max(axis=1).min() > 35
    # R peaks are 1 mV high and lie where the heart beat.
    peaks, _ = find_peaks(x[ECG], height=0.5, distance=100)
    beats = np.array([at for at in onset["heartbeat"] if at % 30 > 1.5])  # epochs fade into each other
    nearest = np.abs(peaks[None] / 256 - beats[:, None]).min(axis=1)
    assert len(beats) > 100
    assert (nearest < 0.008).all()
    assert 0.7 < np.median(x[ECG, peaks]) < 1.2
    # The mains of 3 µV that lies on every channel is out of the EMG; its tone falls from waking to REM.
    spectrum = np.abs(np.fft.rfft(x[EMG, -7680:])) * 2 / 7680
    assert spectrum[30 * 50] < 0.05
    tones = {window.label: float(window.data[EMG].std()) for window in windows}
    assert tones["W"] > 1.3 * tones["N1"] > 1.3 * tones["N2"]
    assert tones["REM"] < 0.15 * tones["W"]


def test_a_files_stages_label_its_epochs(night):
    made, path = night
    _, windows = windows_of(open_recording(str(path)), PSG)
    assert [(w.start_s, w.label) for w in windows] == [(30.0 * i, stage) for i, stage in enumerate(made.stages)]
    assert windows[0].data.shape == (23, 7680)
    assert windows[0].modality == "eeg_psg"
    assert windows[0].band == (0.5, 35.0)


@pytest.mark.parametrize(("arguments", "code", "says"), [
    (["--stages", "W,REM"], 0, ""), (["--stages", "W,S5"], 2, "stages ['S5'] are none of W, N1, N2, N3, REM"),
])  # fmt: skip
def test_synthetic_night_from_the_command_line(tmp_path, capsys, arguments, code, says):
    assert synthesize(["--output", str(tmp_path / "n.edf"), *arguments]) == code
    assert says in capsys.readouterr().err
    assert (tmp_path / "n.edf").exists() == (tmp_path / "n.edf.json").exists() == (code == 0)


@pytest.mark.parametrize("site", ["kyiv-eegmat/Subject00_2.edf", "boston-iiic-sparcnet/GPD_sample1.mat"])
def test_ecg_of_real_files_is_the_files_own(real, site):
    path = real / site
    recording = open_recording(str(path))
    pick = recording.sensor_types.index("ecg")
    native, sfreq = recording.read([pick])[0].astype(np.float64), recording.sfreqs[pick]
    if path.suffix == ".edf":  # MNE reads volts
        read = mne.io.read_raw_edf(path, verbose="error").get_data()[pick] * 1e3
        assert np.abs(read - native).max() < 1e-6
    _, windows = windows_of(recording, PRETRAIN_PSG)
    ours = np.concatenate([window.data[ECG] for window in windows]).astype(np.float64)
    up, down = (64, 125) if sfreq == 500 else (32, 25)
    theirs = resample_poly(native - np.median(native), up, down, padtype="line")[: ours.size]
    # Where both pass: 1-40 Hz, below the mains; edges of 4 s see different continuations.
    a, b = (bandpass(x[None], 256.0, l_freq=1.0, h_freq=40.0)[0, 1024:-1024] for x in (ours, theirs))
    assert np.abs(a - b).max() < 0.01 * np.abs(b).max()
    assert np.corrcoef(a, b)[0, 1] > 0.9999


def test_r_peaks_of_a_real_file_are_kept(real):
    recording = open_recording(str(real / "kyiv-eegmat" / "Subject00_2.edf"))
    pick = recording.sensor_types.index("ecg")
    native = recording.read([pick])[0][: 60 * 500]
    _, windows = windows_of(recording, PRETRAIN_PSG)
    ours = np.concatenate([window.data[ECG] for window in windows])
    before, _ = find_peaks(native, prominence=0.3, distance=200)
    after, _ = find_peaks(ours, prominence=0.3, distance=100)
    assert 50 < len(before) == len(after) < 120
    assert np.abs(before / 500 - after / 256).max() < 0.006  # a sample of ours and of theirs
    heights = ours[after] / (native[before] - np.median(native))
    assert 0.8 < np.median(heights) < 1.1
    assert heights.min() > 0.7


def test_eog_of_a_real_file(real):
    recording = open_recording(str(real / "sandiego-eeglab" / "eeglab_data.set"))
    plan, windows = windows_of(recording, PRETRAIN_PSG)
    assert [(s.row, recording.ch_names[s.pick]) for s in plan.sensors] == [(EOG1, "EOG1"), (EOG2, "EOG2")]
    x = np.concatenate([window.data for window in windows], axis=1).astype(np.float64)
    native = recording.read([s.pick for s in plan.sensors]).astype(np.float64)
    theirs = resample_poly(native, 2, 1, axis=1, padtype="line")[:, : x.shape[1]]
    a, b = (bandpass(part, 256.0, l_freq=1.0, h_freq=30.0)[:, 1024:-1024] for part in (x[[EOG1, EOG2]], theirs))
    assert np.abs(a - b).max() < 0.01 * np.abs(b).max()
    same_eeg(windows, windows_of(recording, PRETRAIN)[1])
