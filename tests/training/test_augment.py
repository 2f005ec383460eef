import numpy as np

from signals.modality import EEG_1020, EEG_PSG
from signals.windows import ABSENT, MEASURED
from training.augment import augment, mirror_order


def test_mirror_swaps_left_and_right_electrodes() -> None:
    order = mirror_order(EEG_1020)
    assert order is not None
    names = EEG_1020.ch_names
    swapped = {name: names[order[i]] for i, name in enumerate(names)}
    # odd numbers lie left, even ones right, z in the middle
    assert swapped["Fp1"] == "Fp2"
    assert swapped["T6"] == "T5"
    assert swapped["Cz"] == "Cz"
    assert (order[order] == np.arange(19)).all()


def test_changes_are_those_asked_for() -> None:
    rng = np.random.default_rng(0)
    x = np.arange(19, dtype=np.float32)[:, None] * np.ones((1, 8), dtype=np.float32)
    state = np.full(19, MEASURED)
    order = mirror_order(EEG_1020)
    same, _ = augment(rng, x, state, mirror_with=order, mirror=0.0, drop_channels=0.0, gain_sd=0.0)
    np.testing.assert_array_equal(same, x)
    mirrored, _ = augment(rng, x, state, mirror_with=order, mirror=1.0, drop_channels=0.0, gain_sd=0.0)
    np.testing.assert_array_equal(mirrored[:, 0], order)
    dropped, states = augment(rng, x, state, mirror_with=order, mirror=0.0, drop_channels=0.5, gain_sd=0.0)
    assert 0 < np.count_nonzero(states == ABSENT) < 19
    assert not dropped[states == ABSENT].any()
    kept, states = augment(rng, x, state, mirror_with=None, mirror=1.0, drop_channels=1.0, gain_sd=0.2)
    assert (states == MEASURED).all()
    assert kept.dtype == np.float32


def test_mirror_leaves_other_sensors_in_place() -> None:
    order = mirror_order(EEG_PSG)
    eeg = mirror_order(EEG_1020)
    assert order is not None
    assert eeg is not None
    np.testing.assert_array_equal(order[:19], eeg)
    np.testing.assert_array_equal(order[19:], [19, 20, 21, 22])
