"""Against what channels are measured: the references that potentials can be given, and the clinical bipolar chains.

Re-referencing takes one row off all others, so it is a step of the harmoniser's matrix. It is exact where all channels
of a file share one reference, whichever that was.
"""

import re
from collections.abc import Sequence
from typing import Literal

import numpy as np

from signals.electrodes import CHAINS

Reference = Literal["average", "source", "linked-ears", "cz"]
"""The modality's mean, as recorded, the mean of both ears (or mastoids), the vertex."""

EARS = (("A1", "A2"), ("M1", "M2"))
"""Left and right ear lobe, left and right mastoid: no scalp electrodes, but references."""
_EARS_LINKED = {"le", "a1a2", "a12", "m1m2"}

DOUBLE_BANANA: tuple[tuple[str, str], ...] = (
    *(pair for chain in CHAINS.values() for pair in chain),
    ("Fz", "Cz"),
    ("Cz", "Pz"),
)
"""The 18 pairs of the longitudinal bipolar montage (ACNS guideline 3, 2016, LB-18.1): four chains and the midline."""


class UndefinedReferenceError(ValueError):
    """A reference that this set of channels cannot be given; the message says why."""


def spelled(reference: str) -> str:
    """Return a reference as labels spell it, without case and punctuation: "A1+A2" -> "a1a2"."""
    return re.sub(r"[^a-z0-9]", "", reference.lower())


def reference_row(
    reference: str, ch_names: Sequence[str], rows: np.ndarray, *, recorded: frozenset[str], is_bipolar: bool
) -> np.ndarray:
    """Return what to take off every channel, shape (n_picks,), so that it reads against `reference`.

    `rows`, shape (len(ch_names), n_picks), make the electrodes `ch_names`, the ears among them, out of the picks.
    `recorded` are the references that the labels name, see `spelled`; `is_bipolar` says that the electrodes were
    derived from pairs. Raises UndefinedReferenceError where the reference was not recorded.
    """
    index = {name: i for i, name in enumerate(ch_names)}
    if len(recorded) > 1:
        raise UndefinedReferenceError(f"channels are recorded against several references: {sorted(recorded)}")
    if reference == "cz":
        if "Cz" not in index:
            raise UndefinedReferenceError("Cz was not recorded")
        return rows[index["Cz"]]
    if reference != "linked-ears":
        raise ValueError(f"reference={reference!r} takes no electrodes")
    for left, right in EARS:
        if left in index and right in index:
            return np.asarray((rows[index[left]] + rows[index[right]]) / 2)
    if recorded and recorded <= _EARS_LINKED and not is_bipolar:
        return np.zeros(rows.shape[1])
    raise UndefinedReferenceError("neither both ears nor both mastoids were recorded")


def bipolar_matrix(
    ch_names: Sequence[str], pairs: Sequence[tuple[str, str]] = DOUBLE_BANANA
) -> np.ndarray:  # fmt: skip
    """Return the matrix, float32, shape (len(pairs), len(ch_names)), that gives anode minus cathode of each pair.

    Raises ValueError if an electrode of a pair is not among `ch_names`.
    """
    index = {name: i for i, name in enumerate(ch_names)}
    if lacking := sorted({name for pair in pairs for name in pair} - set(index)):
        raise ValueError(f"the pairs need electrodes that are not there: {lacking}")
    matrix = np.zeros((len(pairs), len(index)), dtype=np.float32)
    for row, (anode, cathode) in zip(matrix, pairs, strict=True):
        row[index[anode]], row[index[cathode]] = 1.0, -1.0
    return matrix
