"""What is decided about a recording, at the edge of each decision."""

from dataclasses import replace

import numpy as np
import pytest

from signals.modality import EEG_1020, EEG_PSG
from signals.recording.recording import Recording, Segment, UnreadableError
from signals.windows.plan import plan_recording
from signals.windows.profiles import PRETRAIN, PSG, SIX_CLASS

NAMES = EEG_1020.ch_names
AS_IT_IS = replace(PRETRAIN, repair_bad_channels=False)


def recording_of(x, sfreq, *, ch_names=NAMES, sfreqs=None, sensor_types=None, **changes):
    """A recording in memory, of several rates where `sfreqs` gives them."""
    n = len(ch_names)
    rates = sfreqs or (sfreq,) * n

    def read(picks, segment, start, stop):
        step = np.array([max(round(sfreq / rates[pick]), 1) for pick in picks])
        return np.stack([x[p, ::s][start:stop] for p, s in zip(picks, step, strict=True)]).astype(np.float32)

    fields = {
        "uri": "memory", "reader": "memory", "ch_names": tuple(ch_names), "sfreqs": tuple(rates),
        "sensor_types": tuple(sensor_types or ("eeg",) * n), "segments": (Segment(0.0, x.shape[1] / sfreq),),
        "read_samples": read, "n_bytes": 5,
    } | changes  # fmt: skip
    return Recording(**fields)


def eeg(seconds, sfreq, n_chans=19, uv=20.0, seed=0):
    return uv * np.random.default_rng(seed).standard_normal((n_chans, round(seconds * sfreq)))


def plan_of(recording, profile=AS_IT_IS, **changes):
    fields = {"site_id": "north", "subject_id": "s", "source_sha256": "ab" * 32} | changes
    return plan_recording(recording, profile, **fields)


def test_every_field():
    x = eeg(20, 200.0) + np.arange(19)[:, None] * 100.0
    plan = plan_of(recording_of(x, 200.0, reference="nose", mains_hz=60.0, notes=("gaps",)))
    assert (plan.uri, plan.site_id, plan.subject_id, plan.source_sha256) == ("memory", "north", "s", "ab" * 32)
    assert plan.recording_id == "ab" * 8
    assert (plan.header.n_bytes, plan.header.segments) == (5, (Segment(0.0, 20.0),))
    assert plan.picks == plan.used_picks == tuple(range(19))
    assert [derivation.anode for derivation in plan.derivations] == list(NAMES)
    assert (plan.native_sfreq, plan.band, plan.n_window) == (200.0, (0.5, 90.0), 2560)
    assert (plan.mains_hz, plan.source_reference, plan.notes) == (60.0, "nose", ("gaps",))
    np.testing.assert_allclose(plan.offsets, np.median(x, axis=1), atol=1e-3)
    assert (plan.bad_channels, plan.sensors, plan.removal) == ((), (), None)
    chain = plan.conditioner
    assert (chain.native_sfreq, chain.sfreq, chain.band, chain.mains_hz) == (200.0, 256.0, (0.5, 90.0), 60.0)
    assert (chain.offsets, chain.antialias_db) == (plan.offsets, AS_IT_IS.antialias_db)
    given = plan_of(recording_of(x, 200.0, mains_hz=60.0), replace(AS_IT_IS, antialias_db=90.0), mains_hz=50.0)
    assert (given.mains_hz, given.conditioner.antialias_db) == (50.0, 90.0)


def test_mains_are_looked_for_where_nobody_names_them():
    at = np.arange(20 * 200) / 200.0
    hum = eeg(20, 200.0) + 15 * np.sin(2 * np.pi * 60 * at)
    assert plan_of(recording_of(hum, 200.0)).mains_hz == 60.0
    assert plan_of(recording_of(eeg(20, 200.0), 200.0)).mains_hz is None


@pytest.mark.parametrize(
    ("sfreq", "says"),
    [
        (29.0, "29 Hz, EEG has 30 to 100000 Hz"),
        (30.0, None),
        (100_001.0, "EEG has 30 to 100000 Hz"),
        (256.001, "256.001 Hz to 256 Hz is no ratio of whole numbers below 100000"),
    ],
)
def test_rates_of_eeg(sfreq, says):
    x = eeg(11, min(sfreq, 300.0))
    recording = recording_of(x, sfreq, segments=(Segment(0.0, x.shape[1] / sfreq),))
    profile = replace(AS_IT_IS, window_s=2)
    if says is None:
        assert plan_of(recording, profile).native_sfreq == sfreq
    else:
        with pytest.raises(UnreadableError, match=says) as refused:
            plan_of(recording, profile)
        assert refused.value.reason == "unusable_rate"


@pytest.mark.parametrize(("n_short", "fits"), [(0, True), (2, True), (3, False)])
def test_a_file_may_fall_short_of_its_last_sample(n_short, fits):
    recording = recording_of(eeg(10, 200.0)[:, : 2000 - n_short], 200.0)
    if fits:
        plan_of(recording)
    else:
        with pytest.raises(UnreadableError, match=r"too_short: 10.0 s without a gap, a window takes 10 s"):
            plan_of(recording)


def test_the_longest_stretch_counts():
    segments = (Segment(0.0, 9.0), Segment(20.0, 10.0), Segment(40.0, 5.0))
    plan_of(recording_of(eeg(24, 200.0), 200.0, segments=segments))
    with pytest.raises(UnreadableError, match="too_short"):
        plan_of(recording_of(eeg(24, 200.0), 200.0, segments=segments[::2]))


@pytest.mark.parametrize(("n", "is_refused"), [(8, False), (7, True)])
def test_how_many_channels_a_profile_needs(n, is_refused):
    names = ["F3", "F4", "C3", "C4", "P3", "P4", "O1", "O2"][:n]
    recording = recording_of(eeg(60, 128.0, n), 128.0, ch_names=names)
    profile = replace(SIX_CLASS, repair_bad_channels=False)
    if is_refused:
        with pytest.raises(UnreadableError, match="too_few_channels: 7 measured, the profile needs 8; "):
            plan_of(recording, profile)
    else:
        assert len(plan_of(recording, profile).picks) == 8


def test_no_electrode_at_all():
    with pytest.raises(UnreadableError, match=r"no_eeg_channels: no 10-20 electrode among \['a', 'b'\]"):
        plan_of(recording_of(eeg(20, 128.0, 2), 128.0, ch_names=["a", "b"]))
    many = [f"x{i}" for i in range(12)]
    with pytest.raises(UnreadableError) as refused:
        plan_of(recording_of(eeg(20, 128.0, 12), 128.0, ch_names=many))
    assert "'x7']" in refused.value.detail  # eight are enough


@pytest.mark.parametrize(("n_fast", "sfreq"), [(10, 256.0), (9, 128.0)])
def test_of_two_rates_that_of_most_electrodes(n_fast, sfreq):
    rates = [256.0] * n_fast + [128.0] * (19 - n_fast)
    plan = plan_of(recording_of(eeg(20, 256.0), 256.0, sfreqs=rates))
    assert plan.native_sfreq == sfreq
    assert len(plan.picks) == max(n_fast, 19 - n_fast)
    assert "mixed_rates" in plan.notes


def test_of_as_many_the_higher_rate():
    rates = [128.0] * 8 + [256.0] * 8
    plan = plan_of(recording_of(eeg(20, 256.0, 16), 256.0, sfreqs=rates, ch_names=NAMES[:16]))
    assert (plan.native_sfreq, plan.picks) == (256.0, tuple(range(8, 16)))


def test_references_that_labels_name():
    names = [f"{name}-A1" for name in NAMES[:10]] + [f"{name}-A2" for name in NAMES[10:]]
    plan = plan_of(recording_of(eeg(20, 200.0), 200.0, ch_names=names))
    assert plan.source_reference.upper() == "A1/A2"
    assert "mixed_references" in plan.notes
    one = plan_of(recording_of(eeg(20, 200.0), 200.0, ch_names=[f"{name}-A1" for name in NAMES]))
    assert one.source_reference.upper() == "A1"
    assert "mixed_references" not in one.notes


def test_sensors_of_a_night():
    names = [*NAMES, "EOG-L", "EOG-R", "Chin EMG", "ECG"]
    types = ("eeg",) * 19 + ("eog", "eog", "emg", "ecg")
    x = eeg(40, 200.0, 23) + 7.0
    plan = plan_of(recording_of(x, 200.0, ch_names=names, sensor_types=types), replace(PSG, repair_bad_channels=False))
    assert [(sensor.row, sensor.pick, sensor.sensor_type) for sensor in plan.sensors] == [
        (19, 19, "eog"), (20, 20, "eog"), (21, 21, "emg"), (22, 22, "ecg"),
    ]  # fmt: skip
    assert all(sensor.native_sfreq == 200.0 and abs(sensor.offset - 7.0) < 3 for sensor in plan.sensors)
    assert len(plan.sensor_conditioners) == 4
    assert plan.profile.signal == EEG_PSG
    # A channel whose rate is of no use is left out with a note.
    slow = [200.0] * 22 + [1.0]
    noted = plan_of(
        recording_of(x, 200.0, ch_names=names, sensor_types=types, sfreqs=slow),
        replace(PSG, repair_bad_channels=False),
    )
    assert "unusable_rate_ECG" in noted.notes
    assert len(noted.sensors) == 3


def smooth(seconds, sfreq=200.0, seed=0):
    """EEG whose neighbours agree: 24 sources on the sphere."""
    rng = np.random.default_rng(seed)
    places = np.array(EEG_1020.positions)
    centres = rng.normal(size=(24, 3))
    centres /= np.linalg.norm(centres, axis=1, keepdims=True)
    n = round(seconds * sfreq)
    spectrum = np.fft.rfft(rng.standard_normal((24, n))) / np.maximum(np.fft.rfftfreq(n, 1 / sfreq), 0.5)
    x = np.exp(3 * (places @ centres.T - 1)) @ np.fft.irfft(spectrum, n)
    return 20 * x / x.std() + 0.5 * rng.standard_normal(x.shape)


def test_bad_electrodes_are_taken_out_and_named():
    x = smooth(60)
    x[6] = 0.1
    plan = plan_of(recording_of(x, 200.0), PRETRAIN)
    assert plan.bad_channels == ((NAMES[6], "flat"),)
    assert 6 not in plan.picks
    assert len(plan.picks) == len(plan.derivations) == len(plan.offsets) == 18
    assert plan.notes[-1] == "bad_channels_repaired"
    kept = plan_of(recording_of(x, 200.0), AS_IT_IS)
    assert (kept.bad_channels, len(kept.picks)) == ((), 19)


@pytest.mark.parametrize(("n_dead", "note"), [(9, "bad_channels_repaired"), (11, "bad_channels_kept")])
def test_half_of_the_electrodes_must_be_left(n_dead, note):
    x = smooth(60)
    dead = np.random.default_rng(4).permutation(19)[:n_dead]
    x[dead] = 0.0
    plan = plan_of(recording_of(x, 200.0), PRETRAIN)
    assert note in plan.notes
    assert len(plan.bad_channels) == n_dead
    assert len(plan.picks) == (19 - n_dead if note == "bad_channels_repaired" else 19)


def test_a_flat_reference_electrode_is_no_reference():
    x = smooth(60)
    x[NAMES.index("Cz")] = 0.0
    with pytest.raises(UnreadableError, match="undefined_reference: cz: Cz is flat"):
        plan_of(recording_of(x, 200.0), replace(AS_IT_IS, reference="cz"))
    x[NAMES.index("Cz")] = smooth(60, seed=2)[9]
    plan_of(recording_of(x, 200.0), replace(AS_IT_IS, reference="cz"))
