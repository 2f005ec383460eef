import math

import numpy as np

from signals.bundles.anomaly import model_input, window_score
from signals.window import ABSENT, INTERPOLATED, MEASURED


def test_the_network_sees_measured_channels_in_window_scales():
    rng = np.random.default_rng(0)
    x = 30 * rng.standard_normal((4, 2560))
    x[0, 5] = 1e6
    state = np.array([MEASURED, MEASURED, INTERPOLATED, ABSENT], dtype=np.uint8)
    given = model_input(x, state)
    assert given.dtype == np.float32
    # 30 µV of normal noise is one window scale, within the error of the MAD over 2560 samples.
    np.testing.assert_allclose(given[1], x[1] / 30, atol=0.35)
    assert given[0, 5] == 20.0
    assert np.isnan(given[2:]).all()


def test_a_window_is_as_odd_as_its_oddest_twentieth():
    scores = np.full((4, 10), 0.3)
    scores[3] = np.nan
    scores[1, 2:4] = 3.0, 2.0
    assert window_score(scores) == 2.5  # 2 of 30 channel-seconds
    assert math.isnan(window_score(np.full((2, 2), np.nan)))
