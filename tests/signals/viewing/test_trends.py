import numpy as np
import pytest

from signals.description.artifacts import BIT
from signals.electrodes import TEN_TWENTY
from signals.readers.memory import recording_of_array
from signals.viewing.filters import ViewFilter
from signals.viewing.montages import view_montage
from signals.viewing.traces import Traces
from signals.viewing.trends import FREQS, STEP_S, block_trends, trends_of

SFREQ = 128.0


def trends(x, names=TEN_TWENTY):
    return block_trends(x.astype(np.float32), SFREQ, names, mains_hz=None)


def noise(seconds, seed=0):
    return np.random.default_rng(seed).normal(0, 5, (19, int(seconds * SFREQ)))


def test_a_rhythm_stands_at_its_frequency_and_power():
    """4 Hz of amplitude 50 µV at Fp1 alone: 1250 µV² within a bin of 0.5 Hz in two of the eight left pairs."""
    x, t = noise(16), np.arange(16 * 128) / SFREQ
    x[TEN_TWENTY.index("Fp1")] += 50 * np.sin(2 * np.pi * 4 * t)
    one = trends(x)
    left = one.density_db[0]
    assert FREQS[left[:, 1].argmax()] == 4.0
    # One of four pairs holds it, Hann's main lobe is 3 bins of 0.25 Hz (noise bandwidth 1.5), two are averaged:
    # density of the loudest 0.5-Hz bin is at most 1250 / 4 / 0.375 / ... ; it must be within 6 dB of 1250 / 4 / 0.75.
    assert left[:, 1].max() == pytest.approx(10 * np.log10(1250 / 4 / 0.75), abs=3)
    assert one.rhythmicity[0].min() > 0.7
    assert one.rhythmicity[1].max() < 0.5
    assert one.asymmetry.max() < -0.5  # larger on the left


def test_aeeg_of_a_known_amplitude():
    """6 Hz of 20 µV amplitude between C3 and P3 is 40 µV peak to peak in every half second."""
    x, t = np.zeros((19, 16 * 128)), np.arange(16 * 128) / SFREQ
    x[TEN_TWENTY.index("C3")] = 20 * np.sin(2 * np.pi * 6 * t)
    one = trends(x)
    np.testing.assert_allclose(one.aeeg_uv[0], 40, rtol=0.05)
    np.testing.assert_allclose(one.aeeg_uv[1], 0, atol=1e-3)


def test_gaps_leave_nothing_behind():
    x = noise(16)
    x[:, 4 * 128 : 8 * 128] = np.nan
    one = trends(x)
    for array in (one.density_db, one.aeeg_uv, one.asymmetry[None], one.rhythmicity):
        assert np.isnan(array[..., 1]).all()
        assert not np.isnan(array[..., [0, 2, 3]]).any()
    assert (one.flags[:, 4:8] & BIT["gap"]).all()
    assert not (one.flags[:, :4] & BIT["gap"]).any()


def test_one_lost_electrode_takes_only_its_own_pairs():
    x = noise(8)
    x[TEN_TWENTY.index("T3")] = np.nan
    one = trends(x)
    assert not np.isnan(one.density_db).any()


def test_a_recording_of_20_s_and_a_few_electrodes():
    names = ["Fp1", "C3", "P3", "O1", "Fp2"]
    x = noise(21)[:5].astype(np.float32)
    one = recording_of_array(x, ch_names=names, sfreq=SFREQ)
    shown = Traces(
        recording=one, montage=view_montage(one, "average", sfreq=SFREQ),
        filter=ViewFilter(sfreq=SFREQ, l_freq=0.5, h_freq=50.0),
    )  # fmt: skip
    made = trends_of(shown, mains_hz=None)
    assert made.asymmetry.shape == (-(-21 // int(STEP_S)),)
    assert np.isnan(made.density_db[1]).all()  # no right temporal pair
    assert made.n_bytes > 0


def test_a_rate_without_whole_samples_has_no_flags_but_gaps():
    x = noise(8)
    x[3, 100:110] = np.nan
    one = block_trends(x.astype(np.float32), 127.5, TEN_TWENTY, mains_hz=None)
    assert set(np.unique(one.flags)) == {0, BIT["gap"]}
