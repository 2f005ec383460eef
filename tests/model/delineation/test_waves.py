import numpy as np
import pytest
import torch

from model.delineation.network import CLASSES, SFREQ, Delineator, DelineatorConfig
from model.delineation.waves import delineate, prepared, waves_of

SMALL = DelineatorConfig(widths=(4, 6, 8), kernel=5)


def labelled(n_times, *runs):
    """Return certain probabilities: (class, start, stop) in samples, none elsewhere."""
    labels = np.zeros(n_times, int)
    for name, start, stop in runs:
        labels[start:stop] = CLASSES.index(name)
    return np.eye(4)[labels].T


def test_runs_become_waves_with_their_ends():
    waves = waves_of(labelled(500, ("P", 50, 75), ("QRS", 90, 115), ("T", 160, 210)))
    # 250 Hz: a sample is 4 ms
    assert [(w.kind, w.onset_s, w.offset_s) for w in waves] == [("P", 0.2, 0.3), ("QRS", 0.36, 0.46), ("T", 0.64, 0.84)]


def test_a_notch_is_part_of_its_wave_and_what_is_too_short_is_none():
    # 24 ms are 6 samples; a P wave has 8 or more
    assert len(waves_of(labelled(300, ("P", 50, 60), ("P", 66, 76)))) == 1
    assert len(waves_of(labelled(300, ("P", 50, 60), ("P", 67, 77)))) == 2
    assert not waves_of(labelled(300, ("P", 50, 57)))
    assert not waves_of(labelled(300))


@pytest.mark.parametrize("n_times", [250, 1000, 1003, 2501])
def test_every_sample_gets_a_class_whatever_the_length(n_times):
    model = Delineator(SMALL).eval()
    with torch.inference_mode():
        assert model(torch.randn(2, n_times)).shape == (2, 4, n_times)


@pytest.mark.parametrize("sfreq", [250.0, 257.0, 360.0, 500.0, 1000.0])
def test_leads_of_any_rate_size_and_offset_are_read_alike(sfreq):
    t = np.arange(round(4 * sfreq)) / sfreq
    x = np.sin(2 * np.pi * 7 * t)[None]
    ready = prepared(x, sfreq)
    assert ready.shape[1] == pytest.approx(4 * SFREQ, abs=1)
    expected = np.sqrt(2) * np.sin(2 * np.pi * 7 * np.arange(ready.shape[1]) / SFREQ)
    inside = slice(150, -150)
    np.testing.assert_allclose(ready[0, inside], expected[inside], atol=0.06)
    np.testing.assert_allclose(prepared(1000 * x + 3, sfreq)[0, inside], ready[0, inside], atol=0.02)


def test_missing_samples_and_flat_leads_have_no_waves_and_do_no_harm():
    x = np.zeros((2, 1000))
    x[1, 300:400] = np.nan
    assert np.isfinite(prepared(x, 250.0)).all()
    with pytest.raises(ValueError, match="less than a second"):
        prepared(np.zeros((1, 200)), 250.0)


def test_a_saved_delineator_is_the_same(tmp_path):
    model = Delineator(SMALL)
    model.save_pretrained(tmp_path)
    again = Delineator.from_pretrained(tmp_path, local_files_only=True)
    x = np.random.default_rng(0).normal(size=(1, 1000))
    assert delineate(again, x, 250.0) == delineate(model, x, 250.0)
