import hashlib

import numpy as np
import pytest

from signals.window import ABSENT, INTERPOLATED, MEASURED, Provenance, Window, window_key


def window(modality="eeg_psg", n_times=2560, **changes):
    n = {"eeg_psg": 23, "eeg_1020": 19}[modality]
    fields = {
        "data": np.zeros((n, n_times), np.float32), "ch_state": np.full(n, MEASURED, np.uint8),
        "artifact_mask": np.zeros((n, 10), np.uint16), "quality": np.ones(n, np.float32),
        "features": np.zeros((n, 29), np.float32), "modality": modality, "sfreq": 256.0, "band": (0.5, 90.0),
        "site_id": "north", "subject_id": "s", "recording_id": "ab" * 8, "start_s": 12.5,
        "provenance": Provenance(source_sha256="", segment=0, start_sample=0, stop_sample=1, reader="edf",
                                 config_hash="", code_version=""),
    } | changes  # fmt: skip
    return Window(**fields)


def test_a_key_is_recording_onset_and_length():
    expected = hashlib.sha256(f"{'ab' * 8}/12.500000/2560".encode()).hexdigest()[:16]
    assert window().key == window_key("ab" * 8, 12.5, 2560) == expected
    others = {
        window(recording_id="cd" * 8).key, window(start_s=12.500001).key, window(n_times=12800).key, expected,
    }  # fmt: skip
    assert len(others) == 4
    # Nothing else counts, nor what lies below a microsecond.
    assert window(site_id="south", label="LPD", start_s=12.5 + 1e-8).key == expected


def test_states_of_eeg_alone():
    state = np.full(23, MEASURED, np.uint8)
    state[3] = INTERPOLATED
    given = window(ch_state=state)
    assert given.n_primary == 19
    assert given.primary_state.tolist() == [MEASURED] * 3 + [INTERPOLATED] + [MEASURED] * 15 + [ABSENT] * 4
    assert given.ch_state[19:].tolist() == [MEASURED] * 4  # a copy
    assert given.sensor_types[19:] == ("eog", "eog", "emg", "ecg")
    assert window("eeg_1020").primary_state.tolist() == [MEASURED] * 19


@pytest.mark.parametrize(("state", "number"), [(ABSENT, 0), (INTERPOLATED, 1), (MEASURED, 2)])
def test_states_are_stored_by_number(state, number):
    assert state == number
