import json
from dataclasses import replace

import numpy as np
import pytest

from signals.electrodes import electrode_positions
from signals.modality import ECG_12, ECG_12_WAVES, EEG_1020, EEG_PSG, MODALITIES, UNITS, microvolts

HMS = (
    "Fp1",
    "F3",
    "C3",
    "P3",
    "F7",
    "T3",
    "T5",
    "O1",
    "Fz",
    "Cz",
    "Pz",
    "Fp2",
    "F4",
    "C4",
    "P4",
    "F8",
    "T4",
    "T6",
    "O2",
)
"""Columns of the competition's files, the EKG aside (Kaggle, HMS - Harmful Brain Activity Classification, 2024)."""


def test_the_montage_is_that_of_the_competition():
    assert EEG_1020.ch_names == HMS
    assert (EEG_1020.sfreq, EEG_1020.band, EEG_1020.unit, EEG_1020.n_chans, EEG_1020.n_primary) == (
        256.0, (0.5, 128.0), "µV", 19, 19,
    )  # fmt: skip
    assert EEG_1020.sensor_types == ("eeg",) * 19
    np.testing.assert_allclose(EEG_1020.positions, electrode_positions(HMS))
    assert MODALITIES == {
        "eeg_1020": EEG_1020, "eeg_psg": EEG_PSG, "ecg_12": ECG_12, "ecg_12_waves": ECG_12_WAVES,
    }  # fmt: skip


def test_neighbours_are_the_nearest_on_the_head():
    adjacent = EEG_1020.adjacency()
    assert adjacent.dtype == bool
    assert (adjacent == adjacent.T).all()
    assert not adjacent.diagonal().any()
    assert adjacent.sum() == 2 * len(EEG_1020.edges) == 2 * 36
    # Left is right mirrored.
    mirror = {"1": "2", "3": "4", "5": "6", "7": "8"}
    mirrored = [
        HMS.index(name[:-1] + {**mirror, **{b: a for a, b in mirror.items()}}.get(name[-1], name[-1])) for name in HMS
    ]
    assert (adjacent == adjacent[np.ix_(mirrored, mirrored)]).all()
    # No two neighbours are further apart than any electrode that lies between them: all angles below 60 degrees.
    angles = np.degrees(np.arccos(np.clip(np.array(EEG_1020.positions) @ np.array(EEG_1020.positions).T, -1, 1)))
    assert angles[adjacent].max() < 62
    assert all(angles[i][adjacent[i]].min() == np.delete(angles[i], i).min() for i in range(19))


def test_polysomnography_has_four_sensors_behind_the_same_eeg():
    assert EEG_PSG.ch_names == (*HMS, "EOG1", "EOG2", "EMG", "ECG")
    assert EEG_PSG.sensor_types[19:] == ("eog", "eog", "emg", "ecg")
    assert EEG_PSG.units == ("µV",) * 22 + ("mV",)
    assert (EEG_PSG.n_chans, EEG_PSG.n_primary) == (23, 19)
    assert EEG_PSG.primary == replace(EEG_1020, name="eeg_psg")
    assert EEG_1020.primary is EEG_1020
    assert not EEG_PSG.adjacency()[19:].any()
    places = np.array(EEG_PSG.positions[19:])
    np.testing.assert_allclose(np.linalg.norm(places, axis=1), np.ones(4), atol=1e-4)
    left, right, chin, chest = places
    np.testing.assert_allclose(left * [-1, 1, 1], right)
    assert left[0] < 0 < left[1]  # left and in front, at the height of the eye's corner
    assert left[2] == -0.45
    # Below Fp1, in its direction.
    fp1 = np.array(EEG_1020.positions[0])
    assert np.cross(left[:2], fp1[:2]) == pytest.approx(0, abs=1e-9)
    assert chin.tolist() == [0.0, 0.6, -0.8]
    assert chest.tolist() == [0.0, 0.28, -0.96]


@pytest.mark.parametrize("modality", MODALITIES.values(), ids=MODALITIES)
def test_json(modality):
    fields = json.loads(json.dumps(modality.to_dict()))
    assert ("units" in fields) == (modality is EEG_PSG)
    assert fields.get("units", list(modality.units)) == list(modality.units)
    again = type(modality).from_dict(fields)
    assert again == modality
    assert isinstance(again.positions[0][0], float)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"positions": EEG_1020.positions[:18]}, "one entry for each of 19"),
        ({"sensor_types": ("eeg",) * 20}, "one entry for each of 19"),
        ({"sensor_types": ("eeg",) * 18 + ("meg",)}, r"\['meg'\] are none of \['ecg', 'eeg', 'emg', 'eog'\]"),
        ({"sensor_types": ("eeg",) * 17 + ("eog", "eeg")}, "EEG channels must come before"),
        ({"edges": (("Fp1", "A1"), ("Fp1", "Z9"))}, r"unknown channels \['A1', 'Z9'\]"),
    ],
)
def test_what_contradicts_itself_is_refused(change, says):
    with pytest.raises(ValueError, match=says):
        replace(EEG_1020, **change)


def test_edges_of_other_sensors_leave_the_scalp():
    with_edge = replace(EEG_PSG, edges=(*EEG_PSG.edges, ("EOG1", "Fp1")))
    assert with_edge.primary.edges == EEG_1020.edges


def test_millivolts_become_microvolts():
    x = np.ones((23, 4), dtype=np.float32)
    scaled = microvolts(x, EEG_PSG.sensor_types)
    assert scaled.dtype == np.float32
    assert scaled[:22].tolist() == x[:22].tolist()
    assert scaled[22].tolist() == [1000.0] * 4
    assert microvolts(x[:19], EEG_1020.sensor_types) is not None
    np.testing.assert_array_equal(microvolts(x[:2, 0], ("ecg", "eeg")), [1000.0, 1.0])
    assert UNITS == {"eeg": "µV", "eog": "µV", "emg": "µV", "ecg": "mV"}
