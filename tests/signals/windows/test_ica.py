from dataclasses import replace

import numpy as np
import pytest

from signals.conditioning.cleaning import Cleaning
from signals.conditioning.filters import bandpass
from signals.modality import EEG_1020
from signals.recording.recording import Recording, Segment
from signals.windows.blocks import blocks, plan_windows
from signals.windows.ica import Removal, classify, find_removal
from signals.windows.plan import plan_recording
from signals.windows.prepare import prepare_block, prepare_recording
from signals.windows.profiles import PRETRAIN, SIX_CLASS
from synthetic.patterns.waves import discharge
from synthetic.subject.artifacts import physiological
from synthetic.subject.background import ongoing
from synthetic.subject.sources import SOURCES, field, near
from synthetic.subject.subjects import draw_subject

SFREQ, SECONDS, NAMES = 256.0, 60, EEG_1020.ch_names
POSITIONS = np.asarray(EEG_1020.positions)
CLEAN = replace(SIX_CLASS, name="clean", hop_s=10, window_s=10, label_span_s=None, cleaning=Cleaning(ica=True))


@pytest.fixture(scope="module")
def parts():
    """The brain of a person awake, and blinks with a few muscle bursts, µV."""
    rng = np.random.default_rng(3)
    subject = replace(
        draw_subject(rng), background_uv=12.0, slowing=0.1, asymmetry=0.0, blink_hz=0.3, eye_movement_hz=0.0,
        muscle_hz=0.05, muscle_uv=30.0, heart_uv=0.0, drift_uv=0.0,
    )  # fmt: skip
    grid = {"positions": POSITIONS, "n_times": int(SECONDS * SFREQ), "sfreq": SFREQ, "subject": subject}
    return ongoing(rng, **grid), *physiological(rng, ch_names=NAMES, **grid)


def recording_of(x, segments=None):
    segments = segments or (Segment(0.0, x.shape[1] / SFREQ),)
    first = np.cumsum([0, *(round(s.duration_s * SFREQ) for s in segments)])
    return Recording(
        uri="memory", reader="memory", ch_names=NAMES, sensor_types=("eeg",) * 19, sfreqs=(SFREQ,) * 19,
        segments=segments, read_samples=lambda picks, s, a, b: x[picks, first[s] + a : first[s] + b].astype(np.float32),
    )  # fmt: skip


def plan_of(recording, profile=CLEAN):
    return plan_recording(recording, profile, site_id="s", subject_id="s", source_sha256="ab" * 32)


def windows_of(recording, plan):
    return np.concatenate([w.data for w in prepare_recording(recording, plan)], axis=1)


@pytest.fixture(scope="module")
def planned(parts):
    brain, body, _ = parts
    recording = recording_of(brain + body)
    return recording, plan_of(recording)


def test_blinks_go_and_the_brain_stays(parts, planned):
    brain, _, events = parts
    recording, plan = planned
    assert "blink" in plan.removal.kinds
    assert "ica_blink" in plan.notes
    truth = windows_of(recording_of(brain), plan_of(recording_of(brain), replace(CLEAN, cleaning=Cleaning())))
    before = windows_of(recording, replace(plan, removal=None)) - truth
    after = windows_of(recording, plan) - truth
    blinking = np.zeros(truth.shape[1], dtype=bool)
    for event in (e for e in events if e.kind == "blink"):
        blinking[int(event.onset_s * SFREQ) : int((event.onset_s + event.duration_s) * SFREQ)] = True
    poles = np.ix_([NAMES.index("Fp1"), NAMES.index("Fp2")], np.flatnonzero(blinking))
    assert np.square(after[poles]).sum() < 0.2 * np.square(before[poles]).sum()  # -7 dB
    assert np.square(after).sum() < 0.6 * np.square(before).sum()


def test_flags_still_show_what_was_there(planned):
    recording, plan = planned
    cleaned = list(prepare_recording(recording, plan))
    as_is = list(prepare_recording(recording, replace(plan, removal=None)))
    for a, b in zip(cleaned, as_is, strict=True):
        np.testing.assert_array_equal(a.artifact_mask, b.artifact_mask)
    assert any((a.data != b.data).any() for a, b in zip(cleaned, as_is, strict=True))


def test_the_same_recording_gives_the_same_removal_and_blocks_do_not_matter(planned):
    recording, plan = planned
    again = plan_of(recording).removal
    for name in ("unmixing", "mixing", "floors"):
        np.testing.assert_array_equal(getattr(again, name), getattr(plan.removal, name))
    one_by_one = replace(plan, profile=replace(CLEAN, block_s=10.0))
    starts = plan_windows(recording, plan)
    assert len(list(blocks(one_by_one, starts))) == len(starts) > len(list(blocks(plan, starts)))
    singly = [w for block in blocks(one_by_one, starts) for w in prepare_block(recording, block).windows]
    for a, b in zip(singly, prepare_recording(recording, plan), strict=True):
        assert np.abs(a.data - b.data).max() < 1e-3


def background():
    """A brain's share of a component: 1/f, a fifth of its size."""
    n_times = int(SECONDS * SFREQ)
    spectrum = np.fft.rfft(np.random.default_rng(1).standard_normal((1, n_times)))
    spectrum /= np.maximum(np.fft.rfftfreq(n_times, 1 / SFREQ), 1.0)
    x = np.fft.irfft(spectrum, n_times)
    return 0.2 * x / x.std()


def test_a_component_of_spikes_is_never_taken_out():
    # A muscle-like component (white, on the rim) and the same with ten spikes a minute.
    rng, n_times = np.random.default_rng(0), int(60 * SFREQ)
    noise = bandpass(rng.normal(size=(2, n_times)), SFREQ, l_freq=1.0, h_freq=100.0)
    spikes = np.zeros(n_times)
    spikes[np.arange(500, n_times - 500, int(6 * SFREQ))] = 1
    noise[1] += np.convolve(spikes, 14 * discharge("spike-wave", SFREQ), mode="same")
    sources = noise / noise.std(axis=1, keepdims=True)
    temporal = field(POSITIONS, near(SOURCES, POSITIONS[NAMES.index("T3")], 0.2))[:, None] * [20.0, 40.0]
    assert classify(sources[:1], temporal[:, :1], SFREQ, ch_names=NAMES, h_freq=100.0) == ("muscle",)
    assert classify(sources, temporal, SFREQ, ch_names=NAMES, h_freq=100.0)[1] in ("spikes", "brain")


@pytest.mark.parametrize("rate_hz", [0.8, 2.0])
def test_rhythmic_frontal_delta_is_brain(rate_hz):
    # The map of a blink, but a rhythm: GRDA with a frontal maximum.
    t = np.arange(int(60 * SFREQ)) / SFREQ
    blink_map = np.exp(-0.5 * ((POSITIONS[:, 1] - 0.96) / 0.2) ** 2) * 80
    rhythm = np.sqrt(2) * np.sin(2 * np.pi * rate_hz * t)[None] + background()
    assert classify(rhythm, blink_map[:, None], SFREQ, ch_names=NAMES, h_freq=100.0) == ("brain",)
    sparse = np.zeros_like(t)
    for at in np.arange(1, 59, 4):
        sparse += np.exp(-0.5 * ((t - at) / 0.08) ** 2)
    blinks = ((sparse - sparse.mean()) / sparse.std())[None] + background()
    assert classify(blinks, blink_map[:, None], SFREQ, ch_names=NAMES, h_freq=100.0) == ("blink",)


def test_saccades_step_apart_at_the_temples():
    t = np.arange(int(60 * SFREQ)) / SFREQ
    steps = np.zeros_like(t)
    for i, at in enumerate(np.arange(1, 57, 5)):
        steps += np.where(t > at, (-1) ** i * np.exp(-(t - at) / 0.7), 0)
    scalp = np.zeros(19)
    scalp[[NAMES.index("F7"), NAMES.index("F8")]] = 40, -38
    source = bandpass(steps[None], SFREQ, l_freq=1.0, h_freq=100.0)
    source = source / source.std() + background()
    assert classify(source, scalp[:, None], SFREQ, ch_names=NAMES, h_freq=100.0) == ("eye_movement",)


def test_removal_leaves_small_coefficients_alone():
    rng = np.random.default_rng(0)
    source = rng.normal(size=(1, 2560)).astype(np.float32)
    removal = Removal(("blink",), np.ones((1, 1)), np.ones((1, 1)), np.full((1, 6), 10.0, dtype=np.float32))
    np.testing.assert_allclose(removal.artifacts(source), 0, atol=1e-6)  # nothing passes 1.6 x 10
    source[0, 1000:1080] += 500
    assert removal.artifacts(source)[0, 1000:1080].mean() > 450
    nothing = Removal(("brain",), np.zeros((0, 1)), np.zeros((1, 0)), np.zeros((0, 6)))
    assert nothing.apply(source) is source
    assert nothing.notes == ("ica_nothing",)


def test_too_little_to_decide_is_reported(parts):
    brain, body, _ = parts
    x = brain + body
    short = recording_of(x[:, : int(15 * SFREQ)])
    plan = plan_of(short)
    assert plan.removal is None
    assert "ica_skipped" in plan.notes
    assert find_removal(x, SFREQ, ch_names=[f"X{i}" for i in range(19)], band=(0.5, 50.0), h_freq=100.0) is None
    six = np.random.default_rng(0).normal(size=(19, 6)) @ x[:6]  # rank 6
    assert find_removal(six, SFREQ, ch_names=NAMES, band=(0.5, 50.0), h_freq=100.0) is None


def test_the_excerpt_is_bounded_and_crosses_gaps(parts):
    from signals.windows.plan import _excerpt

    brain, body, _ = parts
    x = np.tile(brain + body, 10)  # ten minutes in three stretches, one shorter than a piece
    read = []
    segments = (Segment(0.0, 300.0), Segment(400.0, 8.0), Segment(500.0, 292.0))
    recording = recording_of(x, segments)
    spied = replace(
        recording, read_samples=lambda p, s, a, b: read.append((s, b - a)) or recording.read_samples(p, s, a, b)
    )
    plan = plan_of(recording, replace(PRETRAIN, cleaning=Cleaning()))
    excerpt = _excerpt(spied, plan)
    assert excerpt.shape == (19, int(6 * 20 * SFREQ))
    assert {s for s, _ in read} == {0, 2}
    assert sum(n for _, n in read) < 200 * SFREQ


@pytest.mark.parametrize(("sign", "kind"), [(-1, "spikes"), (1, "blink")])
def test_negative_spikes_among_blinks_keep_the_component(sign, kind):
    t = np.arange(int(SECONDS * SFREQ)) / SFREQ
    blink_map = np.exp(-0.5 * ((POSITIONS[:, 1] - 0.96) / 0.2) ** 2) * 40
    source = sum(6 * np.exp(-0.5 * ((t - at) / 0.08) ** 2) for at in np.arange(2, 58, 6))
    wave = discharge("sharp", SFREQ)
    for start in np.arange(5, 57, 8):  # six or seven a minute
        at = int(start * SFREQ)
        source[at : at + wave.size] += sign * 6 * wave
    source = source / source.std() + background()[0]
    assert classify(source[None], blink_map[:, None], SFREQ, ch_names=NAMES, h_freq=100.0) == (kind,)
