"""Against what channels are measured: the references that potentials can be given, and the clinical bipolar chains.

Re-referencing takes one row off all others, so it is a step of the harmoniser's matrix. Against an electrode it is
exact where all channels of a file are connected, whatever they were recorded against.
"""

from collections.abc import Sequence
from typing import Literal

import numpy as np

from signals.electrodes import CHAINS
from signals.montage.labels import EARS

Reference = Literal["average", "source", "linked-ears", "cz"]
"""The modality's mean, as recorded, the mean of both ears (or mastoids), the vertex."""

REFERENCE_ELECTRODES: dict[str, tuple[tuple[str, ...], ...]] = {"cz": (("Cz",),), "linked-ears": EARS}
"""Electrodes whose mean is the reference, by choice; the first set that was recorded is taken."""
_LINKED = frozenset({"<le>", "<lm>"})
_NOT_RECORDED = {
    "cz": "Cz was not recorded together with the others",
    "linked-ears": "neither both ears nor both mastoids were recorded together with the others",
}

DOUBLE_BANANA: tuple[tuple[str, str], ...] = (
    *(pair for chain in CHAINS.values() for pair in chain),
    ("Fz", "Cz"),
    ("Cz", "Pz"),
)
"""The 18 pairs of the longitudinal bipolar montage (ACNS guideline 3, 2016, LB-18.1): four chains and the midline."""


class UndefinedReferenceError(ValueError):
    """A reference that this set of channels cannot be given; the message says why."""


def reference_row(reference: str, ch_names: Sequence[str], rows: np.ndarray, *, recorded: str) -> np.ndarray:
    """Return what to take off every channel, shape (n_picks,), so that it reads against `reference`.

    `rows`, shape (len(ch_names), n_picks), make the electrodes `ch_names`, the ears among them, out of the picks, all
    against the node `recorded` (`signals.montage.derivations.Part.reference`). Raises UndefinedReferenceError where the
    reference was not recorded.
    """
    index = {name: i for i, name in enumerate(ch_names)}
    for names in REFERENCE_ELECTRODES[reference]:
        if all(name in index for name in names):
            return np.asarray(np.mean([rows[index[name]] for name in names], axis=0))
    if reference == "linked-ears" and recorded in _LINKED:
        return np.zeros(rows.shape[1])
    raise UndefinedReferenceError(_NOT_RECORDED[reference])


def bipolar_matrix(
    ch_names: Sequence[str], pairs: Sequence[tuple[str, str]] = DOUBLE_BANANA
) -> np.ndarray:  # fmt: skip
    """Return the matrix, float32, shape (len(pairs), len(ch_names)), that gives anode minus cathode of each pair.

    Raises ValueError if an electrode of a pair is not among `ch_names`.
    """
    index = {name: i for i, name in enumerate(ch_names)}
    if missing := sorted({name for pair in pairs for name in pair} - set(index)):
        raise ValueError(f"the pairs need electrodes that are not there: {missing}")
    matrix = np.zeros((len(pairs), len(index)), dtype=np.float32)
    for row, (anode, cathode) in zip(matrix, pairs, strict=True):
        row[index[anode]], row[index[cathode]] = 1.0, -1.0
    return matrix
