import numpy as np
import pytest

from signals.modality import EEG_1020
from synthetic.evidence.planted import BURST_HZ, CLASSES, DECOY_HZ, Design, backgrounds, draw_batch, draw_window

DESIGN = Design(sfreq=128.0)
SHORT = Design(window_s=4.0, burst_s=1.5, decoy_s=0.75, sfreq=128.0)


@pytest.fixture(scope="module")
def bank():
    return backgrounds(0, 6, DESIGN)


def test_the_same_seed_gives_the_same_bytes(bank):
    np.testing.assert_array_equal(backgrounds(0, 6, DESIGN), bank)
    a, b = (draw_batch(np.random.default_rng(1), bank, 4, DESIGN) for _ in range(2))
    np.testing.assert_array_equal(a[0], b[0])
    np.testing.assert_array_equal(a[1], b[1])


def test_the_burst_and_nothing_else_is_what_the_window_loses(bank):
    for seed in range(12):
        window = draw_window(np.random.default_rng(seed), bank, DESIGN, label=1 + seed % 2)
        gone, mask = window.data - window.without, window.mask(DESIGN.sfreq)
        np.testing.assert_allclose(gone, window.burst.data, atol=1e-5)
        start, stop = (round(s * DESIGN.sfreq) for s in (window.burst.start_s, window.burst.stop_s))
        assert np.abs(gone[:, : start - 1]).max() < 1e-6 > np.abs(gone[:, stop + 1 :]).max()
        # The burst is far stronger inside of the mask, which is a few channels of one side.
        assert (gone[mask] ** 2).mean() > 10 * (gone[~mask] ** 2).mean()
        assert 1 <= window.burst.channels.sum() <= 8
        spectrum = np.abs(np.fft.rfft(gone, axis=1)).sum(axis=0)
        peak = np.fft.rfftfreq(gone.shape[1], 1 / DESIGN.sfreq)[spectrum.argmax()]
        low, high = BURST_HZ[CLASSES[window.label]]
        assert low - 0.5 <= peak <= high + 0.5
        x = np.array([p[0] for p in EEG_1020.positions])
        assert (x[np.abs(gone).sum(axis=1).argmax()] < 0) == window.burst.is_left


def test_the_decoy_is_larger_elsewhere_and_decides_nothing(bank):
    bands = {c: [] for c in range(3)}
    for seed in range(60):
        window = draw_window(np.random.default_rng(seed), bank, DESIGN)
        bands[window.label].append(any(low <= window.decoy.rate_hz <= high for low, high in DECOY_HZ[:1]))
        if window.burst is None:
            assert not window.mask(DESIGN.sfreq).any()
            continue
        assert np.abs(window.decoy.data).max() > np.abs(window.burst.data).max()
        assert not (window.decoy.channels & window.burst.channels).any()
        assert window.decoy.stop_s < window.burst.start_s or window.burst.stop_s < window.decoy.start_s
    # Both kinds of decoy come in every class.
    assert all(0.2 < np.mean(slow) < 0.8 for slow in bands.values())


def test_a_decoy_that_leaves_no_room_is_drawn_again():
    # In 4 s a decoy in the middle leaves no 1.5 s beside it; this must end.
    bank = backgrounds(1, 2, SHORT)
    for seed in range(40):
        assert draw_window(np.random.default_rng(seed), bank, SHORT, label=1).burst is not None
