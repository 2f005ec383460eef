"""Leads in a request's array are prepared as those of a file, and a model of leads is warmed up with noise."""

import numpy as np

from serving.intake import Intake
from signals.bundles.inputs import windows_of_recording
from signals.modality import ECG_12
from signals.windows.profiles import ECG_RHYTHM
from synthetic.heart.corpus import recording_of
from synthetic.heart.leads import generate

INTAKE = Intake(name="leads", modality=ECG_12, profile=ECG_RHYTHM, want=frozenset(), spectrogram_shape=None)


def test_an_array_of_leads_in_microvolts_is_the_window_of_its_file():
    record = generate(np.random.default_rng(0), "infarction", sfreq=500.0)
    recording = recording_of(record, uri="memory")
    (wanted,) = windows_of_recording(ECG_RHYTHM, recording)
    window = INTAKE.window(1000 * record.x_mv, sfreq=500.0, ch_names=recording.ch_names)
    assert window.modality == "ecg_12"
    np.testing.assert_allclose(window.data, wanted.data, atol=2e-4)  # mV
    np.testing.assert_array_equal(window.ch_state, wanted.ch_state)


def test_a_server_s_first_window_is_one_of_leads():
    assert INTAKE.noise().data.shape == (12, 1000)
