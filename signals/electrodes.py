"""Electrode names and positions of the extended 10-20 (10-10) system.

Positions are directions on the unit sphere: x to the right ear, y to the nose, z up. They are MNE's Colin 27 template
(`make_standard_montage("colin27_1020")`), moved to the centre of the sphere that fits it best, scaled to length 1,
and averaged with their mirror images, so that left and right are exactly symmetric. `tests/signals/test_electrodes.py`
repeats the derivation.
"""

from collections.abc import Sequence

import numpy as np

# Old names are canonical, as in the clinical 10-20 system and in the competition's files.
RENAMED = {"T7": "T3", "T8": "T4", "P7": "T5", "P8": "T6"}
# The anterior temporal electrodes of Silverman lie a few millimetres from the 10-10 places.
NEIGHBOURING = {"T1": "FT9", "T2": "FT10"}

CHAINS: dict[str, tuple[tuple[str, str], ...]] = {
    "LL": (("Fp1", "F7"), ("F7", "T3"), ("T3", "T5"), ("T5", "O1")),
    "RL": (("Fp2", "F8"), ("F8", "T4"), ("T4", "T6"), ("T6", "O2")),
    "LP": (("Fp1", "F3"), ("F3", "C3"), ("C3", "P3"), ("P3", "O1")),
    "RP": (("Fp2", "F4"), ("F4", "C4"), ("C4", "P4"), ("P4", "O2")),
}
"""Bipolar pairs of the left lateral, right lateral, left and right parasagittal chains (double banana)."""
TEN_TWENTY = (*dict.fromkeys(name for chain in CHAINS.values() for pair in chain for name in pair), "Fz", "Cz", "Pz")
"""The 19 electrodes of the clinical 10-20 system, by chain."""

POSITIONS: dict[str, tuple[float, float, float]] = {
    "Fp1": (-0.2817, 0.9589, -0.0330),
    "Fpz": (0.0000, 0.9998, 0.0177),
    "Fp2": (0.2817, 0.9589, -0.0330),
    "AF9": (-0.4758, 0.7707, -0.4238),
    "AF7": (-0.5411, 0.8381, -0.0695),
    "AF5": (-0.4537, 0.8862, 0.0944),
    "AF3": (-0.3365, 0.9096, 0.2439),
    "AF1": (-0.1823, 0.9204, 0.3459),
    "AFz": (0.0000, 0.9283, 0.3719),
    "AF2": (0.1823, 0.9204, 0.3459),
    "AF4": (0.3365, 0.9096, 0.2439),
    "AF6": (0.4537, 0.8862, 0.0944),
    "AF8": (0.5411, 0.8381, -0.0695),
    "AF10": (0.4758, 0.7707, -0.4238),
    "F9": (-0.6893, 0.5661, -0.4521),
    "F7": (-0.7639, 0.6394, -0.0868),
    "F5": (-0.6948, 0.6872, 0.2122),
    "F3": (-0.5217, 0.7180, 0.4607),
    "F1": (-0.2810, 0.7275, 0.6260),
    "Fz": (0.0000, 0.7311, 0.6822),
    "F2": (0.2810, 0.7275, 0.6260),
    "F4": (0.5217, 0.7180, 0.4607),
    "F6": (0.6948, 0.6872, 0.2122),
    "F8": (0.7639, 0.6394, -0.0868),
    "F10": (0.6893, 0.5661, -0.4521),
    "FT9": (-0.8313, 0.3064, -0.4638),
    "FT7": (-0.9296, 0.3579, -0.0877),
    "FC5": (-0.8649, 0.3953, 0.3092),
    "FC3": (-0.6517, 0.4231, 0.6295),
    "FC1": (-0.3460, 0.4298, 0.8340),
    "FCz": (0.0000, 0.4300, 0.9028),
    "FC2": (0.3460, 0.4298, 0.8340),
    "FC4": (0.6517, 0.4231, 0.6295),
    "FC6": (0.8649, 0.3953, 0.3092),
    "FT8": (0.9296, 0.3579, -0.0877),
    "FT10": (0.8313, 0.3064, -0.4638),
    "T9": (-0.8866, 0.0045, -0.4625),
    "T3": (-0.9975, 0.0120, -0.0690),
    "C5": (-0.9278, 0.0370, 0.3712),
    "C3": (-0.6991, 0.0556, 0.7128),
    "C1": (-0.3693, 0.0673, 0.9269),
    "Cz": (0.0000, 0.0708, 0.9975),
    "C2": (0.3693, 0.0673, 0.9269),
    "C4": (0.6991, 0.0556, 0.7128),
    "C6": (0.9278, 0.0370, 0.3712),
    "T4": (0.9975, 0.0120, -0.0690),
    "T10": (0.8866, 0.0045, -0.4625),
    "TP9": (-0.8557, -0.3013, -0.4207),
    "TP7": (-0.9451, -0.3245, -0.0391),
    "CP5": (-0.8721, -0.3190, 0.3710),
    "CP3": (-0.6529, -0.3039, 0.6939),
    "CP1": (-0.3484, -0.2890, 0.8917),
    "CPz": (0.0000, -0.2864, 0.9581),
    "CP2": (0.3484, -0.2890, 0.8917),
    "CP4": (0.6529, -0.3039, 0.6939),
    "CP6": (0.8721, -0.3190, 0.3710),
    "TP8": (0.9451, -0.3245, -0.0391),
    "TP10": (0.8557, -0.3013, -0.4207),
    "P9": (-0.7303, -0.5721, -0.3733),
    "T5": (-0.7885, -0.6149, 0.0114),
    "P5": (-0.7074, -0.6235, 0.3329),
    "P3": (-0.5330, -0.6096, 0.5868),
    "P1": (-0.2841, -0.6005, 0.7475),
    "Pz": (0.0000, -0.5997, 0.8002),
    "P2": (0.2841, -0.6005, 0.7475),
    "P4": (0.5330, -0.6096, 0.5868),
    "P6": (0.7074, -0.6235, 0.3329),
    "T6": (0.7885, -0.6149, 0.0114),
    "P10": (0.7303, -0.5721, -0.3733),
    "PO9": (-0.5315, -0.7887, -0.3089),
    "PO7": (-0.5621, -0.8245, 0.0644),
    "PO5": (-0.4933, -0.8321, 0.2534),
    "PO3": (-0.3650, -0.8398, 0.4019),
    "PO1": (-0.1928, -0.8463, 0.4967),
    "POz": (0.0000, -0.8451, 0.5346),
    "PO2": (0.1928, -0.8463, 0.4967),
    "PO4": (0.3650, -0.8398, 0.4019),
    "PO6": (0.4933, -0.8321, 0.2534),
    "PO8": (0.5621, -0.8245, 0.0644),
    "PO10": (0.5315, -0.7887, -0.3089),
    "O1": (-0.2933, -0.9481, 0.1226),
    "Oz": (0.0000, -0.9833, 0.1822),
    "O2": (0.2933, -0.9481, 0.1226),
    "O9": (-0.2823, -0.9279, -0.2434),
    "Iz": (0.0000, -0.9822, -0.1878),
    "O10": (0.2823, -0.9279, -0.2434),
    "M1": (-0.7733, -0.2562, -0.5800),
    "M2": (0.7733, -0.2562, -0.5800),
    "A1": (-0.7975, -0.0786, -0.5981),
    "A2": (0.7975, -0.0786, -0.5981),
}

_BY_LOWER = {name.lower(): name for name in POSITIONS} | {
    name.lower(): canonical for name, canonical in (RENAMED | NEIGHBOURING).items()
}


def canonical_electrode(name: str) -> str | None:
    """Return the canonical spelling of a bare electrode name ("FP1" -> "Fp1", "T7" -> "T3"), or None if unknown.

    "T1" and "T2" are taken for FT9 and FT10.
    """
    return _BY_LOWER.get(name.strip().lower())


def electrode_positions(ch_names: Sequence[str]) -> np.ndarray:
    """Return the positions of canonical electrodes, shape (n_chans, 3), unit sphere.

    Raises KeyError for a name that is not in `POSITIONS`.
    """
    return np.array([POSITIONS[name] for name in ch_names], dtype=np.float64).reshape(-1, 3)
