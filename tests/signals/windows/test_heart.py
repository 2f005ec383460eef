"""Electrocardiograms along the walk of every recording: exact relations, kept voltage, notes and refusals."""

from dataclasses import replace

import numpy as np
import pytest

from signals.description.heart.beats import r_peaks
from signals.modality import ECG_12, ECG_12_WAVES, FIXED_SCALE
from signals.recording.recording import Recording, Segment, UnreadableError
from signals.shards.normalise import Normaliser
from signals.shards.records import as_stored, decode_window, encode_window
from signals.window import ABSENT, INTERPOLATED, MEASURED
from signals.windows.blocks import plan_windows
from signals.windows.labels import Label
from signals.windows.plan import plan_recording
from signals.windows.prepare import prepare_recording
from signals.windows.profiles import ECG_RHYTHM, ECG_WAVES, PRETRAIN
from synthetic.heart.leads import NoiseLevels, generate

NAMES = ECG_12.ch_names
QUIET = NoiseLevels(wander=0.0, mains=0.0, muscle=0.0)


def recording_of(x_mv, sfreq, *, names=NAMES, kind="ecg", label=""):
    x = np.asarray(x_mv, dtype=np.float32)
    return Recording(
        uri="memory", reader="memory", ch_names=tuple(names), sensor_types=(kind,) * len(x), sfreqs=(sfreq,) * len(x),
        segments=(Segment(0.0, x.shape[1] / sfreq),), read_samples=lambda picks, _, a, b: x[picks, a:b], label=label,
    )  # fmt: skip


def prepared(recording, profile=ECG_RHYTHM):
    plan = plan_recording(recording, profile, site_id="s", subject_id="p", source_sha256="ab" * 32)
    return plan, list(prepare_recording(recording, plan))


def made(condition="normal", *, seed=0, sfreq=500.0, noise=NoiseLevels(), duration_s=10.0):  # noqa: B008  frozen
    return generate(np.random.default_rng(seed), condition, sfreq=sfreq, noise=noise, duration_s=duration_s).x_mv


@pytest.mark.parametrize("sfreq", [250.0, 257.0, 360.0, 500.0, 1000.0])
@pytest.mark.parametrize("profile", [ECG_RHYTHM, ECG_WAVES], ids=lambda p: p.name)
def test_every_rate_becomes_the_modality_s_and_limb_leads_stay_exact(sfreq, profile):
    plan, (window,) = prepared(recording_of(made(sfreq=sfreq), sfreq), profile)
    assert window.data.shape == (12, round(10 * profile.signal.sfreq))
    assert plan.notes == ()
    stored = as_stored(window.data, window.sensor_types) * 1000
    one, two, three, right, left, foot = stored[:6]
    # A step of storage is 0.1 µV, so three rounded leads are off by 0.15 µV at most; the limit of the issue is 1.
    for derived, wanted in (
        (three, two - one),
        (right, -(one + two) / 2),
        (left, one - two / 2),
        (foot, two - one / 2),
    ):
        assert np.abs(derived - wanted).max() < 0.2
    assert (window.ch_state == MEASURED).all()
    back = decode_window(encode_window(window))
    assert (back.modality, back.n_primary) == (profile.modality, 12)
    np.testing.assert_array_equal(back.data, as_stored(window.data, window.sensor_types))
    np.testing.assert_array_equal(back.features, window.features)


def test_voltage_survives_preparation_and_normalisation():
    x = made(noise=QUIET, seed=3)
    (_, (one,)), (_, (two,)) = prepared(recording_of(x, 500.0)), prepared(recording_of(2 * x, 500.0))
    np.testing.assert_allclose(two.data, 2 * one.data, atol=2e-5)
    for kind in ("window", "robust", "subject"):
        of = [Normaliser(kind=kind).apply(w.data, w.ch_state, "p", "s", w.sensor_types) for w in (one, two)]
        np.testing.assert_allclose(of[0], one.data / FIXED_SCALE["ecg"], rtol=1e-6)
        np.testing.assert_allclose(of[1], np.clip(2 * of[0], -20, 20), atol=1e-3)


def test_the_zero_phase_filter_moves_st_by_microvolts_and_a_causal_one_by_tens():
    from scipy.signal import butter, sosfilt

    x = generate(np.random.default_rng(4), "infarction", noise=QUIET)
    _, (window,) = prepared(recording_of(x.x_mv, 500.0), ECG_WAVES)
    causal = sosfilt(butter(2, 0.5, "highpass", fs=500.0, output="sos"), x.x_mv, axis=1)
    qrs = [wave for wave in x.waves if wave.kind == "QRS"][2:-2]

    def st(y):  # 40 ms behind the QRS complex against the level just before it
        return np.array([y[:, round((w.offset_s + 0.04) * 500)] - y[:, round(w.onset_s * 500) - 5] for w in qrs])

    moved, moved_causal = (1000 * np.abs(st(y) - st(x.x_mv)).mean() for y in (window.data, causal))
    assert moved < 12 < 20 < moved_causal


def test_leads_that_algebra_gives_are_there_and_marked_and_what_it_does_not_give_is_absent():
    x = made(seed=5)
    rows = [0, 5, 6]
    whole = prepared(recording_of(x, 500.0))[1][0]
    _, (window,) = prepared(recording_of(x[rows], 500.0, names=["I", "aVF", "V1"]))
    assert window.ch_state.tolist() == [2, 1, 1, 1, 1, 2, 2, 0, 0, 0, 0, 0]
    np.testing.assert_allclose(window.data[:7], whole.data[:7], atol=2e-3)
    assert not window.data[7:].any()
    assert not window.quality[7:].any()
    np.testing.assert_allclose(window.quality[1], 0.5)
    assert {ABSENT, INTERPOLATED, MEASURED} == set(window.ch_state.tolist())


def test_a_flat_limb_lead_is_derived_and_a_flat_chest_lead_absent():
    x = made(seed=6)
    x[2], x[9] = 0.0, 0.3
    plan, (window,) = prepared(recording_of(x, 500.0))
    assert plan.notes == ("flat_leads",)
    assert window.ch_state.tolist() == [2, 2, 1, 2, 2, 2, 2, 2, 2, 0, 2, 2]
    np.testing.assert_allclose(window.data[2], window.data[1] - window.data[0], atol=1e-5)
    plan = plan_recording(recording_of(0 * x, 500.0), ECG_RHYTHM, site_id="", subject_id="", source_sha256="")
    assert not list(prepare_recording(recording_of(0 * x, 500.0), plan))  # every window is refused as flat


@pytest.mark.parametrize("hum_hz", [50.0, 60.0])
def test_hum_of_half_a_millivolt_is_taken_out_and_named(hum_hz):
    x = made(noise=QUIET, seed=3)
    hum = 0.5 * np.sin(2 * np.pi * hum_hz * np.arange(x.shape[1]) / 500)
    (_, (wanted,)), (plan, (window,)) = prepared(recording_of(x, 500.0)), prepared(recording_of(x + hum, 500.0))
    assert plan.mains_hz == hum_hz
    inner = slice(300, 700)  # within 3 s of an end hum that was not recorded beyond it leaves up to its own size
    assert np.abs(window.data - wanted.data)[:, inner].max() < 0.005


def test_samples_that_are_no_numbers_stay_in_their_lead_and_second():
    x = made(seed=3)
    _, (wanted,) = prepared(recording_of(x, 500.0))
    for value, stretch in ((np.nan, slice(2000, 2100)), (np.inf, slice(2000, 2001)), (np.nan, slice(None))):
        y = x.copy()
        y[8, stretch] = value
        _, (window,) = prepared(recording_of(y, 500.0))
        assert np.isfinite(window.data).all()
        np.testing.assert_allclose(np.delete(window.data, 8, axis=0), np.delete(wanted.data, 8, axis=0), atol=1e-3)
        assert window.ch_state[8] == (ABSENT if stretch == slice(None) else MEASURED)
    assert prepared(recording_of(np.full_like(x, np.nan), 500.0))[1] == []


@pytest.mark.parametrize("spike_mv", [2.0, 10.0])
def test_a_pacemaker_s_spikes_add_no_beats(spike_mv):
    x = made(seed=3)
    beats = r_peaks(1000 * x, 500.0)
    y = x.copy()
    for at in beats - 60:  # 120 ms before R, 4 ms long
        y[:, max(at, 0) : max(at, 0) + 2] += spike_mv
    _, (window,) = prepared(recording_of(y, 500.0))
    assert np.isfinite(window.data).all()
    assert len(r_peaks(1000 * window.data, 100.0)) == len(beats)


def test_swapped_arms_are_noted_and_left_as_they_were_recorded():
    x = made(seed=7)
    y = np.vstack([-x[0], x[2], x[1], x[4], x[3], x[5:]])
    plan, (window,) = prepared(recording_of(y, 500.0))
    assert plan.notes == ("arms_swapped",)
    assert np.corrcoef(window.data[0], prepared(recording_of(x, 500.0))[1][0].data[0])[0, 1] < -0.99


@pytest.mark.parametrize(
    ("reason", "change"),
    [
        ("implausible_amplitude", lambda x: {"x_mv": 1000 * x}),  # µV called mV
        ("implausible_amplitude", lambda x: {"x_mv": x / 1000}),  # mV called µV
        ("no_ecg_leads", lambda x: {"x_mv": x[:1], "names": ["ECG"]}),  # a wearable's single lead without a name
        ("no_ecg_leads", lambda x: {"x_mv": x, "kind": "eeg"}),
        ("too_short", lambda x: {"x_mv": x[:, :4000]}),
        ("unusable_rate", lambda x: {"x_mv": x[:, ::10], "sfreq": 50.0}),
    ],
)
def test_what_is_no_record_is_refused_with_its_reason(reason, change):
    with pytest.raises(UnreadableError, match=f"^{reason}"):
        prepared(recording_of(**{"sfreq": 500.0, **change(made(seed=8))}))


def test_one_named_lead_is_enough_and_eeg_is_not_taken_for_leads_nor_leads_for_eeg():
    _, (window,) = prepared(recording_of(made(seed=9)[:1], 500.0, names=["Lead I"]))
    assert (window.ch_state == MEASURED).sum() == 1
    with pytest.raises(UnreadableError, match="^no_eeg_channels"):
        prepared(recording_of(made(seed=9), 500.0), PRETRAIN)


def test_statements_of_the_file_label_it_unless_a_label_file_does():
    recording = recording_of(made(duration_s=25.0), 500.0, label="164889003;733534002")
    plan = plan_recording(recording, ECG_RHYTHM, site_id="", subject_id="", source_sha256="")
    assert {start.label.label for start in plan_windows(recording, plan)} == {"164889003;733534002"}
    given = [Label(onset_s=None, label="NORM")]
    assert {start.label.label for start in plan_windows(recording, plan, given)} == {"NORM"}
    eeg_like = replace(ECG_RHYTHM, annotation_task="sleep")
    other = plan_recording(recording, eeg_like, site_id="", subject_id="", source_sha256="")
    assert {start.label for start in plan_windows(recording, other)} == {None}


def test_blocks_equal_the_recording_taken_whole():
    recording = recording_of(made("ventricular ectopy", duration_s=60.0, sfreq=360.0), 360.0)
    whole, parts = (prepared(recording, replace(ECG_WAVES, block_s=b))[1] for b in (600.0, 10.0))
    assert len(whole) == len(parts) == 6
    for a, b in zip(whole, parts, strict=True):
        np.testing.assert_allclose(a.data, b.data, atol=1e-6)
        np.testing.assert_array_equal(a.artifact_mask, b.artifact_mask)
    assert ECG_12_WAVES.sfreq == 500.0
