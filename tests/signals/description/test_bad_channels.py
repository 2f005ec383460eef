from dataclasses import replace

import numpy as np
import pytest

from signals.description.bad_channels import REASONS, bad_channels
from signals.electrodes import electrode_positions
from signals.modality import EEG_1020
from signals.window import INTERPOLATED, MEASURED
from signals.windows.plan import plan_recording
from signals.windows.prepare import prepare_recording
from signals.windows.profiles import PRETRAIN, SIX_CLASS
from synthetic.recordings.planted import clean_recording, in_memory
from synthetic.recordings.sites import SITES
from synthetic.subject.subjects import draw_subject

NAMES, POSITIONS = EEG_1020.ch_names, electrode_positions(EEG_1020.ch_names)
SFREQ = 200
CLINIC = SITES[0]  # 19 electrodes against linked ears, an EKG


def montage(seed=0, n_seconds=16):
    """EEG of 24 smooth sources of 1/f noise: what one electrode sees, its neighbours see too."""
    rng = np.random.default_rng(seed)
    n_times = n_seconds * SFREQ
    spectrum = np.fft.rfft(rng.standard_normal((24, n_times))) / np.maximum(np.fft.rfftfreq(n_times, 1 / SFREQ), 0.5)
    centres = rng.normal(size=(24, 3))
    centres /= np.linalg.norm(centres, axis=1, keepdims=True)
    x = np.exp(3 * (POSITIONS @ centres.T - 1)) @ np.fft.irfft(spectrum, n_times)
    return 20 * x / x.std() + 0.5 * rng.standard_normal(x.shape)


def focal_discharges(x, focus):
    """Spike-and-wave of 300 µV at one electrode, falling off over its neighbours as a field does."""
    at = np.arange(x.shape[1]) / SFREQ % 0.7
    wave = 300 * np.exp(-0.5 * ((at - 0.1) / 0.014) ** 2) - 200 * np.exp(-0.5 * ((at - 0.3) / 0.06) ** 2)
    angle = np.arccos(np.clip(POSITIONS @ POSITIONS[NAMES.index(focus)], -1, 1))
    return x + np.exp(-0.5 * (angle / 0.5) ** 2)[:, None] * wave


def test_a_good_montage_has_no_bad_electrode_and_a_discharge_makes_none():
    assert bad_channels([montage()], SFREQ, positions=POSITIONS) == {}
    for focus in ("T3", "F7", "C4", "O2", "Fp1"):
        assert bad_channels([focal_discharges(montage(1), focus)], SFREQ, positions=POSITIONS) == {}, focus


@pytest.mark.parametrize(
    ("fault", "reason"), [("flat", "flat"), ("own noise", "unpredicted"), ("white", "noisy"), ("loud", "deviant")]
)
def test_one_of_each_kind_is_found_and_nothing_else(fault, reason):
    rng = np.random.default_rng(5)
    x = montage(2)
    if fault == "flat":
        x[6] = 0.1
    elif fault == "own noise":
        x[6] = np.cumsum(rng.normal(size=x.shape[1]))
        x[6] *= 20 / np.std(np.diff(x[6], prepend=0)) / 10
    elif fault == "white":
        x[6] += 60 * rng.normal(size=x.shape[1])
    else:
        x[6] *= 12
    found = bad_channels([x[:, :1600], x[:, 1600:]], SFREQ, positions=POSITIONS)
    assert list(found) == [6]
    assert reason in found[6]
    assert set(found[6]) <= set(REASONS)


def test_half_of_the_time_decides():
    x = montage(3, n_seconds=32)
    x[4, : 10 * SFREQ] = 0.0
    parts = np.split(x, 4, axis=1)
    assert bad_channels(parts, SFREQ, positions=POSITIONS) == {}
    x[4, : 20 * SFREQ] = 0.0
    assert bad_channels(parts, SFREQ, positions=POSITIONS)[4][0] == "flat"


def test_the_answer_is_the_same_every_time_and_little_is_not_judged():
    x = montage(4)
    x[2] = np.random.default_rng(0).normal(size=x.shape[1])
    first = bad_channels([x], SFREQ, positions=POSITIONS)
    assert first == bad_channels([x.copy()], SFREQ, positions=POSITIONS)
    assert 2 in first
    assert bad_channels([x[:5]], SFREQ, positions=POSITIONS[:5]) == {}
    assert bad_channels([x[:, : 3 * SFREQ]], SFREQ, positions=POSITIONS) == {}


@pytest.fixture(scope="module")
def night():
    rng = np.random.default_rng(17)
    return clean_recording(rng, site=CLINIC, subject=draw_subject(rng), labels=["LPD"]).stretches[0]


def plan_of(data, profile=PRETRAIN):
    recording = in_memory(data, site=CLINIC)
    return recording, plan_recording(recording, profile, site_id="s", subject_id="s", source_sha256="0" * 64)


def test_the_plan_repairs_a_dead_electrode_and_notes_it(night):
    data = night.copy()
    row = CLINIC.ch_names.index("EEG P4-REF")
    data[row] = 0.0
    recording, plan = plan_of(data)
    assert plan.bad_channels == (("P4", "flat"),)
    assert "bad_channels_repaired" in plan.notes
    assert row not in plan.picks
    window = next(iter(prepare_recording(recording, plan)))
    at = NAMES.index("P4")
    assert window.ch_state[at] == INTERPOLATED
    assert (np.delete(window.ch_state, at) == MEASURED).all()
    # The splines give back what the electrode would have seen, up to what its neighbours cannot know.
    truth = next(iter(prepare_recording(*plan_of(night))))
    assert np.corrcoef(window.data[at], truth.data[at])[0, 1] > 0.8


@pytest.mark.parametrize("factor", [1e4, 1e9])
def test_a_channel_of_absurd_range_does_not_reach_the_others(night, factor):
    # Left in, the average reference would put a nineteenth of it into every channel.
    data = night.copy()
    data[CLINIC.ch_names.index("EEG P4-REF")] *= factor
    recording, plan = plan_of(data)
    assert [name for name, _ in plan.bad_channels] == ["P4"]
    data[CLINIC.ch_names.index("EEG P4-REF")] = 0.0
    dead = plan_of(data)
    for window, without in zip(prepare_recording(recording, plan), prepare_recording(*dead), strict=True):
        assert np.array_equal(window.data, without.data)
        assert np.abs(window.data).max() < 1000


def test_repair_is_a_switch_and_lateralised_discharges_are_left_alone(night):
    _, plan = plan_of(night)
    assert plan.bad_channels == ()
    data = night.copy()
    data[CLINIC.ch_names.index("EEG P4-REF")] = 0.0
    recording, plan = plan_of(data, replace(PRETRAIN, repair_bad_channels=False))
    assert plan.bad_channels == ()
    window = next(iter(prepare_recording(recording, plan)))
    assert (window.ch_state == MEASURED).all()
    # The average reference lays the others' mean over it, and yet it is known to be flat.
    assert (window.artifact_mask[NAMES.index("P4")] & 1).all()


def test_what_splines_cannot_repair_is_kept_and_noted(night):
    data = night.copy()
    dead = [i for i, name in enumerate(CLINIC.ch_names) if name != "EKG"][:13]
    data[dead] = 0.0
    _, plan = plan_of(data, SIX_CLASS)
    assert len(plan.bad_channels) == 13
    assert "bad_channels_kept" in plan.notes
    assert len(plan.picks) == 19
