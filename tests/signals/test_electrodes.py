import warnings

import numpy as np
import pytest

from signals.electrodes import POSITIONS, RENAMED, canonical_electrode, electrode_positions
from signals.modality import EEG_1020, Modality


@pytest.mark.parametrize(
    ("name", "canonical"), [("FP1", "Fp1"), ("t7", "T3"), ("P8", "T6"), (" Cz ", "Cz"), ("ECG", None)]
)
def test_canonical_electrode(name, canonical):
    assert canonical_electrode(name) == canonical


def test_positions_are_mnes_template_made_symmetric():
    import mne

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        template = mne.channels.make_standard_montage("standard_1020").get_positions()["ch_pos"]
    points = np.array(list(template.values()))
    # The best sphere |p - c| = r, linear in (c, r² - |c|²).
    solution, *_ = np.linalg.lstsq(
        np.column_stack([2 * points, np.ones(len(points))]), (points**2).sum(axis=1), rcond=None
    )
    directions = {name: point - solution[:3] for name, point in template.items()}
    for name, position in POSITIONS.items():
        source = next((new for new, old in RENAMED.items() if old == name), name)
        direction = directions[source] / np.linalg.norm(directions[source])
        # Averaging with the mirror image moves an electrode by a degree or so.
        assert np.dot(direction, position) > np.cos(np.radians(2.0)), name


def test_left_and_right_are_mirror_images():
    for left, right in [("Fp1", "Fp2"), ("T3", "T4"), ("P3", "P4"), ("O1", "O2")]:
        assert np.allclose(electrode_positions([left]) * [-1, 1, 1], electrode_positions([right]), atol=2e-4)


def test_modality_survives_json():
    import json

    assert Modality.from_dict(json.loads(json.dumps(EEG_1020.to_dict()))) == EEG_1020


def test_modality_adjacency_joins_named_neighbours_only():
    adjacent = EEG_1020.adjacency()
    index = EEG_1020.ch_names.index
    assert adjacent[index("Cz"), index("Pz")]
    assert adjacent[index("Pz"), index("Cz")]
    assert not adjacent[index("Fp1"), index("O2")]
    assert not adjacent.diagonal().any()


def test_modality_refuses_edges_to_nowhere():
    fields = EEG_1020.to_dict() | {"edges": (("Cz", "XX"),)}
    with pytest.raises(ValueError, match="XX"):
        Modality.from_dict(fields)
