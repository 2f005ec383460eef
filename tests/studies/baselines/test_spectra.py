"""Lines of known sines, and where on the head they are."""

import numpy as np
import pytest

from signals.tasks import SIX_CLASS
from studies.baselines.spectra import FAST_HZ, FLOOR, line_tokens, log_spectra
from training.corpus.corpus import Corpus
from training.corpus.labelled import labelled


def test_a_sine_stands_on_its_line() -> None:
    t = np.arange(2560) / 256
    # 2 sin at 10 Hz, 0.5 at 2.25 Hz: power is a quarter of the squared amplitude on the line itself.
    tokens = line_tokens(np.stack([2 * np.sin(2 * np.pi * 10 * t), 0.5 * np.sin(2 * np.pi * 2.25 * t)]), 256.0)
    assert tokens.shape == (2, 10, 83)
    np.testing.assert_allclose(tokens[0, :, 10 - 1], np.log10(1.0 + FLOOR), atol=1e-3)
    slow = FAST_HZ + int(2.25 / 0.25) - 2  # lines from 0.5 Hz on
    np.testing.assert_allclose(tokens[1, :, slow], np.log10(0.0625 + FLOOR), atol=1e-3)
    assert tokens[0, :, 20].max() < np.log10(FLOOR) + 0.5  # 21 Hz, far from either


def test_each_second_is_of_its_own() -> None:
    x = np.zeros((1, 2560))
    x[0, 5 * 256 : 6 * 256] = np.sin(2 * np.pi * 20 * np.arange(256) / 256)
    fast = line_tokens(x, 256.0)[0, :, 20 - 1]
    assert fast[5] == pytest.approx(np.log10(0.25 + FLOOR), abs=1e-3)
    assert np.delete(fast, 5).max() == pytest.approx(np.log10(FLOOR))
    slow = line_tokens(x, 256.0)[0, :, FAST_HZ:].max(axis=1) > np.log10(FLOOR) + 1e-9
    assert slow[4:7].all()
    assert not slow[[0, 1, 9]].any()  # four seconds around, no more


def test_rows_are_pooled_over_window_and_span(make_toy_shards) -> None:  # type: ignore[no-untyped-def]
    data = labelled(Corpus.open(make_toy_shards(n_sites=1, n_subjects=2, n_windows=2, window_s=50.0)), SIX_CLASS)
    rows = log_spectra(data)
    # Window and label's span, nine harmonics of mean and of spread, 83 lines.
    assert rows.shape == (4, 2 * 2 * 9 * 83)
    assert np.isfinite(rows).all()
    tokens = line_tokens(data.shards.batch([0], _window()).x_BCT[0], 256.0)
    np.testing.assert_allclose(rows[0, :83], tokens.mean(axis=(0, 1)), rtol=1e-4, atol=1e-5)
    span = rows.shape[1] // 2
    np.testing.assert_allclose(rows[0, span : span + 83], tokens[:, 20:30].mean(axis=(0, 1)), rtol=1e-4, atol=1e-5)


def _window():  # type: ignore[no-untyped-def]
    from signals.shards.normalise import Normaliser

    return Normaliser(kind="window")
