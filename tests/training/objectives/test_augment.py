import numpy as np
import pytest
from scipy import signal

from signals.modality import EEG_1020, EEG_PSG
from signals.spectrograms import REGIONAL_FREQS
from signals.window import ABSENT, MEASURED
from training.objectives.augment import (
    Augmentation,
    equalised,
    log_response,
    mirror_order,
    shifted,
    without_band,
)

SPAN = (20.0, 30.0)


def augmentation(**settings: float) -> Augmentation:
    order = mirror_order(EEG_1020)
    return Augmentation(sfreq=16.0, window_s=50.0, span_s=SPAN, mirror_with=order, **settings)


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


def test_changes_are_those_requested() -> None:
    rng = np.random.default_rng(0)
    x = np.arange(19, dtype=np.float32)[:, None] * np.ones((1, 800), dtype=np.float32)
    state = np.full(19, MEASURED)

    def changed(**settings: float) -> tuple[np.ndarray, np.ndarray]:
        plan = augmentation(**settings)
        return plan.signal(plan.draw(rng, state), x, state)

    np.testing.assert_array_equal(changed()[0], x)
    np.testing.assert_array_equal(changed(mirror=1.0)[0][:, 0], mirror_order(EEG_1020))
    dropped, states = changed(drop_channels=0.5)
    assert 0 < np.count_nonzero(states == ABSENT) < 19
    assert not dropped[states == ABSENT].any()
    kept, states = changed(drop_channels=1.0, gain_sd=0.2)
    assert (states == MEASURED).all()
    assert kept.dtype == np.float32


def test_mirror_leaves_other_sensors_in_place() -> None:
    order = mirror_order(EEG_PSG)
    eeg = mirror_order(EEG_1020)
    assert order is not None
    assert eeg is not None
    np.testing.assert_array_equal(order[:19], eeg)
    np.testing.assert_array_equal(order[19:], [19, 20, 21, 22])


def test_what_the_label_speaks_of_is_never_silenced() -> None:
    plan, state = augmentation(time_mask=1.0), np.full(19, MEASURED)
    x = np.ones((19, 800), dtype=np.float32)
    power = np.zeros((4, 100, 25), dtype=np.float32)
    silenced = 0
    for seed in range(50):
        changes = plan.draw(np.random.default_rng(seed), state)
        masked, _ = plan.signal(changes, x, state)
        assert masked[:, 320:480].all()
        assert 16 <= np.count_nonzero(masked[0] == 0) <= 81  # 1 to 5 s, and a sample of rounding
        heard = np.isfinite(plan.spectrogram(changes, power))
        assert heard[..., 10:15].all()
        silenced += not heard.all()  # a second may fall between the middles of two columns
    assert silenced > 40
    assert x.all()


def test_shifts_stay_within_a_quarter_of_the_span() -> None:
    plan, state = augmentation(time_shift_s=2.5), np.full(19, MEASURED)
    shifts = [plan.draw(np.random.default_rng(seed), state).shift_s for seed in range(50)]
    assert max(map(abs, shifts)) <= 2.5
    assert min(shifts) < -1.5 < 1.5 < max(shifts)
    with pytest.raises(ValueError, match=r"time_shift_s=3\.0 moves more than a quarter of the label's span of 10 s"):
        augmentation(time_shift_s=3.0)
    x = np.arange(5.0)
    assert shifted(x, 2).tolist() == [2, 1, 0, 1, 2]
    assert shifted(x, -1).tolist() == [1, 2, 3, 4, 3]


def test_a_stopped_band_is_gone_and_the_rest_stays() -> None:
    x = np.random.default_rng(0).normal(size=(2, 12800)).astype(np.float32)
    y = without_band(x, 256.0, (20.0, 22.0))
    freqs, before = signal.welch(x, 256.0, nperseg=1024)
    _, after = signal.welch(y, 256.0, nperseg=1024)
    ratio = (after / before)[0]
    assert ratio[(freqs > 20.25) & (freqs < 21.75)].max() < 1e-2
    assert ratio[(freqs < 19) | (freqs > 23)].min() > 0.99


def test_the_spectrogram_is_mirrored_and_scaled_as_the_signal_is() -> None:
    plan, state = augmentation(mirror=1.0, gain_sd=0.5), np.full(19, MEASURED)
    changes = plan.draw(np.random.default_rng(1), state)
    log_power = np.arange(4, dtype=np.float32)[:, None, None] * np.ones((1, 100, 25), dtype=np.float32)
    got = plan.spectrogram(changes, log_power)[:, 0, 0]
    # LL, RL, LP, RP: left and right trade places; an amplitude times g is a power times g^2
    np.testing.assert_allclose(got, np.array([1, 0, 3, 2]) + 2 * np.log10(changes.gain), rtol=1e-5)


def test_another_frequency_response_keeps_size_and_bends_every_channel_alike() -> None:
    sfreq, times = 256.0, np.arange(256 * 20) / 256
    x = np.stack([np.sin(2 * np.pi * 2 * times), 2 * np.sin(2 * np.pi * 20 * times)]).astype(np.float32)
    knots = np.array([0.3, 0.3, 0.3, -0.2, -0.2, -0.2])  # 0.5 ... 40 Hz, steps of a factor of 2.4
    got = equalised(x, sfreq, knots)
    assert got.dtype == np.float32
    assert (got**2).mean() == pytest.approx((x**2).mean(), rel=1e-4)
    size = got.std(axis=1) / x.std(axis=1)
    # 2 Hz lies below the third knot (2.89 Hz), 20 Hz above the fourth (6.93 Hz)
    assert np.log(size[0] / size[1]) == pytest.approx(0.5, abs=0.01)
    np.testing.assert_allclose(equalised(x, sfreq, np.zeros(6)), x, atol=1e-4)
    np.testing.assert_allclose(log_response(REGIONAL_FREQS[[0, -1]], knots), [0.3, -0.2], atol=1e-9)


def test_samples_and_spectrogram_get_the_same_response() -> None:
    rng, state = np.random.default_rng(0), np.full(19, MEASURED)
    changing = augmentation(equaliser_sd=0.3)
    change = changing.draw(rng, state)
    assert change.response is not None
    made = changing.spectrogram(change, np.zeros((4, 100, 25), dtype=np.float32))
    # log10 of power: twice the amplitude's, which is given in natural logarithms
    np.testing.assert_allclose(made[2, :, 7], 2 / np.log(10) * log_response(REGIONAL_FREQS, change.response), atol=1e-5)
    x = rng.normal(size=(19, 800)).astype(np.float32)
    np.testing.assert_array_equal(changing.signal(change, x, state)[0], equalised(x, 16.0, change.response))
    assert augmentation().draw(rng, state).response is None
