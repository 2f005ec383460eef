import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import signal

from signals.conditioning.cleaning import BASELINE_HZ, Cleaning, clean_window, correct_baseline, mend_transients
from signals.conditioning.filters import bandpass
from signals.conditioning.wavelets import denoise
from signals.electrodes import electrode_positions
from signals.modality import EEG_1020
from signals.montage.labels import Derivation
from signals.montage.montage import harmoniser
from signals.window import ABSENT, INTERPOLATED
from synthetic.patterns.waves import discharge
from synthetic.subject.sources import SOURCES, field, mixing, near

SFREQ, NAMES = 256.0, EEG_1020.ch_names
POSITIONS = np.asarray(EEG_1020.positions)
FIT = harmoniser(tuple(Derivation(name, None) for name in NAMES), EEG_1020, "average")


def brain(seed=0, seconds=10, size_uv=20.0, names=NAMES):
    """EEG of 72 cortical sources with a 1/f spectrum against the average reference, µV."""
    n_times = int(seconds * SFREQ)
    spectrum = np.fft.rfft(np.random.default_rng(seed).standard_normal((len(SOURCES), n_times)))
    spectrum /= np.maximum(np.fft.rfftfreq(n_times, 1 / SFREQ), 0.5)
    x = mixing(electrode_positions(names)) @ np.fft.irfft(spectrum, n_times)
    x = bandpass(x - x.mean(axis=0), SFREQ, l_freq=0.5, h_freq=50.0)
    return (size_uv * x / x.std()).astype(np.float32)


def on_one_electrode(wave, pick, start, n_times):
    """A wave on one electrode, as it looks under the average reference."""
    x = np.zeros((19, n_times))
    x[pick, start : start + wave.size] += wave
    return (x - x.mean(axis=0)).astype(np.float32)


def test_baseline_equals_detrending_and_spares_delta():
    t = np.arange(2560) / SFREQ
    line = (30 + 4 * t)[None]
    np.testing.assert_allclose(correct_baseline(line, SFREQ), 0, atol=1e-9)
    np.testing.assert_allclose(signal.detrend(line), 0, atol=1e-9)
    # A cosine of the basis goes, 0.5 Hz delta at any phase stays.
    slow = np.cos(np.pi * 4 * (np.arange(2560) + 0.5) / 2560)[None]  # 0.2 Hz
    assert np.abs(correct_baseline(slow, SFREQ)).max() < 1e-9
    for phase in np.linspace(0, np.pi, 7):
        delta = np.sin(2 * np.pi * 0.5 * t + phase)[None]
        kept = float((correct_baseline(delta, SFREQ) * delta).sum() / np.square(delta).sum())
        assert kept > 0.85  # five turns, cut at any phase: the ends look like drift
        delta = np.sin(2 * np.pi * 1.0 * t + phase)[None]
        assert float((correct_baseline(delta, SFREQ) * delta).sum() / np.square(delta).sum()) > 0.95


@settings(max_examples=30, deadline=None)
@given(seconds=st.sampled_from([2, 10, 30, 50]), seed=st.integers(0, 1000))
def test_baseline_is_a_projection(seconds, seed):
    x = np.random.default_rng(seed).normal(size=(3, int(seconds * SFREQ)))
    once = correct_baseline(x, SFREQ)
    np.testing.assert_allclose(correct_baseline(once, SFREQ), once, atol=1e-9)
    assert np.abs(once.mean(axis=-1)).max() < 1e-12
    assert np.square(once).sum() <= np.square(x).sum()
    # As many dimensions are lost as there are cosines up to BASELINE_HZ, and a line.
    assert int(2 * seconds * BASELINE_HZ + 1e-9) + 2 < 0.1 * x.shape[1]


def test_a_jump_of_one_electrode_is_mended_everywhere():
    x, t = brain(), np.arange(768) / SFREQ
    pop = on_one_electrode(300 * np.exp(-t / 0.3), NAMES.index("C3"), 1000, 2560)
    clean = mend_transients(x + pop, SFREQ, fit=FIT, modality=EEG_1020)
    left = np.square(clean - x).sum() / np.square(pop).sum()
    assert left < 0.1
    others = [i for i, name in enumerate(NAMES) if name != "C3"]
    # The reference had spread 1/19 of it over all others: most of that goes as well.
    assert np.square((clean - x)[others]).sum() < 0.3 * np.square(pop[others]).sum()
    np.testing.assert_array_equal(clean[:, :900], (x + pop)[:, :900])


@pytest.mark.parametrize("form", ["spike-wave", "polyspike", "sharp", "blunt", "triphasic"])
@pytest.mark.parametrize("name", ["F7", "C3", "O1", "T4", "Fz"])
def test_a_discharge_with_a_field_is_spared(form, name):
    x = brain(1)
    centre = POSITIONS[NAMES.index(name)]
    scalp = field(POSITIONS, near(SOURCES, centre, 0.2))
    wave = -300 * discharge(form, SFREQ)
    x[:, 1000 : 1000 + wave.size] += np.outer(scalp - scalp.mean(), wave).astype(np.float32)
    assert mend_transients(x, SFREQ, fit=FIT, modality=EEG_1020) is not x
    np.testing.assert_array_equal(mend_transients(x, SFREQ, fit=FIT, modality=EEG_1020), x)


def test_clean_eeg_is_not_touched():
    for seed in range(5):
        x = brain(seed)
        np.testing.assert_array_equal(mend_transients(x, SFREQ, fit=FIT, modality=EEG_1020), x)


@pytest.mark.parametrize("reference", ["average", "source", "cz", "linked-ears"])
@pytest.mark.parametrize("missing", [(), ("T4", "Fz")])
@pytest.mark.parametrize("name", ["C3", "T3", "Cz"])
def test_mending_gives_nothing_to_channels_that_were_clean(reference, missing, name):
    """A jump of 400 µV on one electrode, harmonised as a file is; the truth is the same file without it."""
    names = [*(n for n in NAMES if n not in missing), "A1", "A2"]
    fit = harmoniser(tuple(Derivation(n, None) for n in names), EEG_1020, reference)
    potentials = brain(3, names=names)
    t = np.arange(768) / SFREQ
    jump = np.zeros_like(potentials)
    jump[names.index(name), 1000:1768] = 400 * np.exp(-t / 0.3)
    truth, dirty = fit.matrix @ potentials, fit.matrix @ (potentials + jump)
    mended = mend_transients(dirty, SFREQ, fit=fit, modality=EEG_1020)
    # What is left is what the neighbours did not foretell of the electrode: 10% of the jump's energy, also where
    # reference and interpolation had carried it.
    assert np.square(mended - truth).sum() < 0.1 * np.square(dirty - truth).sum()
    clean = [i for i, row in enumerate(fit.matrix @ jump) if np.abs(row).max() < 1e-3]
    carried = reference == "average" or name == reference.capitalize()  # to all others
    assert (len(clean) == 18) == (not carried and not missing)
    np.testing.assert_allclose(mended[clean], truth[clean], atol=1e-3)
    np.testing.assert_array_equal(mended[:, :900], dirty[:, :900])


@pytest.mark.parametrize("reference", ["source", "cz"])
@pytest.mark.parametrize("name", ["C3", "Cz", "T4"])
def test_a_discharge_is_spared_under_any_reference(reference, name):
    fit = harmoniser(tuple(Derivation(n, None) for n in NAMES), EEG_1020, reference)
    x = brain(1)
    scalp = field(POSITIONS, near(SOURCES, POSITIONS[NAMES.index(name)], 0.2))
    wave = -300 * discharge("spike-wave", SFREQ)
    x[:, 1000 : 1000 + wave.size] += np.outer(scalp, wave).astype(np.float32)
    x = fit.matrix @ x
    np.testing.assert_array_equal(mend_transients(x, SFREQ, fit=fit, modality=EEG_1020), x)


def test_interpolated_and_absent_channels_are_no_witnesses():
    fit = harmoniser(tuple(Derivation(n, None) for n in NAMES[:8]), EEG_1020, "source")
    x, t = brain(), np.arange(768) / SFREQ
    x[fit.ch_state == ABSENT] = 0
    pop = np.zeros_like(x)
    pop[2, 1000:1768] = 300 * np.exp(-t / 0.3)
    clean = mend_transients(x + pop, SFREQ, fit=fit, modality=EEG_1020)
    assert not np.array_equal(clean, x + pop)
    assert (clean[fit.ch_state == ABSENT] == 0).all()
    state = fit.ch_state.copy()
    state[7] = INTERPOLATED  # seven are left: too few for a spline
    seven = dataclasses.replace(fit, ch_state=state)
    np.testing.assert_array_equal(mend_transients(x + pop, SFREQ, fit=seven, modality=EEG_1020), x + pop)


def test_what_is_mended_fades_in_and_out():
    x = brain(5)
    pop = on_one_electrode(np.full(256, 300.0), NAMES.index("C3"), 1000, 2560)
    taken = (x + pop - mend_transients(x + pop, SFREQ, fit=FIT, modality=EEG_1020))[NAMES.index("C3")]
    touched = np.flatnonzero(taken)
    first, last = int(touched[0]), int(touched[-1])
    plateau = np.median(taken[first:last])
    assert plateau == pytest.approx(300 * 18 / 19, rel=0.15)
    # Each of three passes fades at both ends, so the outermost samples keep most of the jump.
    for edge in (taken[first : first + 3], taken[last : last - 3 : -1]):
        assert abs(edge[0]) < 0.2 * plateau < edge[1] < edge[2]


def test_each_step_is_its_function():
    x, t = brain(4), np.arange(768) / SFREQ
    x += on_one_electrode(300 * np.exp(-t / 0.3), NAMES.index("C3"), 1000, 2560)
    x += 50 * np.linspace(-1, 1, 2560, dtype=np.float32)
    steps = {
        "transients": mend_transients(x, SFREQ, fit=FIT, modality=EEG_1020),
        "baseline": correct_baseline(x, SFREQ),
        "wavelets": denoise(x, SFREQ, h_freq=50.0),
    }
    for name, wanted in steps.items():
        assert not np.array_equal(wanted, x), name
        cleaning = Cleaning(**{name: True})
        assert (cleaning.any, cleaning.by_window) == (True, True)
        out = clean_window(x, SFREQ, cleaning=cleaning, fit=FIT, modality=EEG_1020, h_freq=50.0)
        np.testing.assert_array_equal(out, wanted, err_msg=name)
    assert (Cleaning(ica=True).any, Cleaning(ica=True).by_window) == (True, False)


def test_steps_are_off_by_default():
    assert not Cleaning().any
    x = brain()
    same = clean_window(x, SFREQ, cleaning=Cleaning(), fit=FIT, modality=EEG_1020, h_freq=50.0)
    assert same is x
    every = Cleaning(transients=True, baseline=True, wavelets=True)
    clean = clean_window(x, SFREQ, cleaning=every, fit=FIT, modality=EEG_1020, h_freq=50.0)
    assert clean.dtype == np.float32
    assert 0.85 < np.square(clean).sum() / np.square(x).sum() < 1.0


@pytest.mark.parametrize(("seconds", "n_cosines"), [(10, 7), (10.1, 7), (5, 4), (2, 2), (50, 31)])
def test_the_baseline_is_what_slow_cosines_and_a_line_explain(seconds, n_cosines):
    # Cosines of k / (2 duration) Hz up to 0.3 Hz: k = 0 ... 6 in ten seconds.
    n_times = round(seconds * SFREQ)
    x = np.cumsum(np.random.default_rng(3).standard_normal((3, n_times)), axis=1)
    at = (np.arange(n_times) + 0.5) / n_times
    basis = np.stack([*(np.cos(np.pi * k * at) for k in range(n_cosines)), at], axis=1)
    fitted = basis @ np.linalg.lstsq(basis, x.T, rcond=None)[0]
    np.testing.assert_allclose(correct_baseline(x, SFREQ), x - fitted.T, atol=1e-6 * np.abs(x).max())


def quiet(seconds=10.0, uv=5.0):
    """A field that all electrodes share, so that neighbours predict each other, and noise of 1 µV."""
    rng = np.random.default_rng(5)
    n_times = round(seconds * SFREQ)
    common = uv * np.sin(2 * np.pi * 9 * np.arange(n_times) / SFREQ)
    x = np.tile(common, (19, 1)) + rng.standard_normal((19, n_times))
    return x - x.mean(axis=0)


@pytest.mark.parametrize(("uv", "is_mended"), [(52, False), (75, True), (-75, True)])
def test_a_transient_begins_at_sixty_microvolts(uv, is_mended):
    x = quiet()
    jump = np.zeros(x.shape)
    jump[6, 1000:1100] = uv
    jump -= jump.mean(axis=0)  # the average reference shows 1/19 of it everywhere
    fit = harmoniser(tuple(Derivation(name, None) for name in EEG_1020.ch_names), EEG_1020, "average")
    mended = mend_transients((x + jump).astype(np.float32), SFREQ, fit=fit, modality=EEG_1020)
    left = np.abs((mended - x)[6, 1030:1070]).mean()
    assert left < 15 if is_mended else left > 0.9 * 52 * 18 / 19 - 2


@pytest.mark.parametrize(("noise_uv", "is_mended"), [(7.0, True), (14.0, False)])
def test_a_transient_stands_out_of_what_the_electrode_shows_otherwise(noise_uv, is_mended):
    # 100 µV against eight robust deviations, 1.4826 times what an alternating course swings by: 83 and 166 µV.
    x = quiet()
    x[6] += noise_uv * (-1.0) ** np.arange(x.shape[1])
    jump = np.zeros(x.shape)
    jump[6, 1000:1100] = 100
    fit = harmoniser(tuple(Derivation(name, None) for name in EEG_1020.ch_names), EEG_1020, "source")
    mended = mend_transients((x + jump).astype(np.float32), SFREQ, fit=fit, modality=EEG_1020)
    left = float((mended - x)[6, 1030:1070].mean())
    assert abs(left) < 50 if is_mended else left > 90
