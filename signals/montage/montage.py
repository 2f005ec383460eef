"""One matrix that turns the channels of a file into the modality's.

Everything that harmonising does - picking, deriving electrodes from pairs, spherical splines for missing ones,
re-referencing - is linear, so it is one matrix per channel set, cached.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import get_args

import numpy as np

from signals.electrodes import electrode_positions
from signals.modality import Modality
from signals.montage.derivations import (
    MIN_FOR_PAIRS,
    NO_POTENTIAL,
    Potentials,
    as_recorded,
    joined,
    largest_part,
)
from signals.montage.labels import EAR_NAMES, Derivation, recorded_references
from signals.montage.references import REFERENCE_ELECTRODES, Reference, UndefinedReferenceError, reference_row
from signals.montage.splines import LARGEST_ERROR, MIN_FOR_SPLINES, interpolation_error, spline_matrix
from signals.window import ABSENT, INTERPOLATED, MEASURED

MIN_FOR_AVERAGE = 4
"""Fewest channels whose average can serve as a reference."""


@dataclass(frozen=True, kw_only=True)
class Harmoniser:
    """The linear map from a file's electrode channels to the modality's channels."""

    matrix: np.ndarray
    """float32, shape (n_chans, n_picks)."""
    ch_state: np.ndarray
    """uint8, shape (n_chans,): MEASURED, INTERPOLATED or ABSENT."""
    depends: np.ndarray
    """bool, shape (n_chans, n_picks): the picks that a channel is made of; what it was only referenced or joined by is
    left out."""
    reference: Reference
    """The reference of the channels: the requested one, but "source" where too few are known for an average."""
    spread: np.ndarray = field(repr=False)
    """float32, shape (n_chans, n_chans): what a potential of 1 at one measured electrode alone adds to each channel
    through reference and interpolation, beyond itself. Columns of channels that are not measured are zero."""
    n_parts: int = 1
    """Connected parts that the channels were put together from."""
    apart: tuple[tuple[str, ...], ...] = ()
    """Electrodes of parts that could not be put together with these: their channels are ABSENT."""

    @property
    def used(self) -> np.ndarray:
        """Indices of the picks that any channel needs; the others need not be read."""
        return np.flatnonzero(np.abs(self.matrix).max(axis=0) > 0)

    @property
    def notes(self) -> tuple[str, ...]:
        """Remarks for a recording's plan."""
        return ("parts_joined",) * (self.n_parts > 1) + ("parts_apart",) * bool(self.apart)


def identity(n_chans: int) -> Harmoniser:
    """Return the map that leaves measured channels as they are."""
    return Harmoniser(
        matrix=np.eye(n_chans, dtype=np.float32),
        ch_state=np.full(n_chans, MEASURED, dtype=np.uint8),
        depends=np.eye(n_chans, dtype=bool),
        reference="source",
        spread=np.zeros((n_chans, n_chans), dtype=np.float32),
    )


@lru_cache(maxsize=256)
def harmoniser(derivations: tuple[Derivation, ...], modality: Modality, reference: Reference) -> Harmoniser:
    """Return the map from these channels to the modality's, read against `reference`.

    Missing channels are interpolated from all scalp electrodes at hand where there are at least MIN_FOR_SPLINES of
    them and geometry predicts an error of at most LARGEST_ERROR; the others are ABSENT. The average reference is taken
    over all channels of the modality that are measured or interpolated, and not at all where there are fewer than
    MIN_FOR_AVERAGE. Raises ValueError for an unknown `reference`, and
    `signals.montage.references.UndefinedReferenceError` for one that these channels do not allow.
    """
    if reference not in get_args(Reference):
        raise ValueError(f"reference={reference!r} is none of {', '.join(get_args(Reference))}")
    potentials = _potentials(derivations, modality, reference)
    matrix, ch_state, depends = _channels(potentials, modality)
    present = ch_state != ABSENT
    applied: Reference = reference
    if reference == "average" and present.sum() >= MIN_FOR_AVERAGE:
        matrix[present] -= matrix[present].mean(axis=0)
    elif reference == "average":
        applied = "source"
    elif reference != "source" and potentials.names:
        matrix[present] -= reference_row(
            reference, potentials.names, potentials.matrix, recorded=potentials.references[0]
        )
    return Harmoniser(
        matrix=matrix.astype(np.float32),
        ch_state=ch_state,
        depends=depends,
        reference=applied,
        spread=_spread(matrix, ch_state, derivations, modality),
        n_parts=len(potentials.references) if potentials.is_joined else 1,
        apart=potentials.apart,
    )


def shortfall(derivations: Sequence[Derivation], fit: Harmoniser, modality: Modality) -> str:
    """Return in one line which channels of the modality are measured and which are missing, and why pairs give none."""
    measured = dict(zip(modality.ch_names, fit.ch_state == MEASURED, strict=True))
    there = " ".join(name for name, is_measured in measured.items() if is_measured)
    missing = " ".join(name for name, is_measured in measured.items() if not is_measured)
    line = f"there are {there}; missing are {missing}" if there else f"there is none of the {modality.n_chans}"
    if fit.apart:
        groups = ", ".join("-".join(names) for names in fit.apart)
        line += f"; pairs connect only {groups}, and {MIN_FOR_PAIRS} electrodes must belong together"
    if has_no_potential(derivations):
        line += "; source derivations (Laplacian) give no potentials"
    return line


def has_no_potential(derivations: Sequence[Derivation]) -> bool:
    """Return whether channels are source derivations, from which no potential can be had."""
    return any(derivation.against == NO_POTENTIAL for derivation in derivations)


def _potentials(derivations: tuple[Derivation, ...], modality: Modality, reference: Reference) -> Potentials:
    """Return the potentials that a reference can be applied to: only for the average parts are put together."""
    if reference == "average":
        whole = joined(derivations)
        if len(set(whole.names) & set(modality.ch_names)) >= MIN_FOR_AVERAGE or not any(whole.references):
            return whole
    recorded = as_recorded(derivations)
    if reference in REFERENCE_ELECTRODES:
        if len(recorded.references) > 1:
            raise UndefinedReferenceError(
                f"channels are recorded against several references: {sorted(recorded_references(derivations))}"
            )
        return recorded if recorded.references else largest_part(derivations)
    if not recorded.references and joined(derivations).names:
        raise UndefinedReferenceError("pairs of electrodes were recorded against no common reference")
    return recorded


def _channels(potentials: Potentials, modality: Modality) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return matrix, states and dependence of the modality's channels, measured or interpolated."""
    names, derive = potentials.names, potentials.matrix
    index = {name: i for i, name in enumerate(names)}
    matrix = np.zeros((modality.n_chans, derive.shape[1]))
    depends = np.zeros(matrix.shape, dtype=bool)
    ch_state = np.full(modality.n_chans, ABSENT, dtype=np.uint8)
    for row, name in enumerate(modality.ch_names):
        if name in index:
            matrix[row], depends[row] = derive[index[name]], potentials.depends[index[name]]
            ch_state[row] = MEASURED
    missing = np.flatnonzero(ch_state == ABSENT)
    comparable = potentials.is_joined | (potentials.part == 0)
    scalp = [i for i, name in enumerate(names) if name not in EAR_NAMES and comparable[i]]
    if len(scalp) >= MIN_FOR_SPLINES and missing.size:
        places, targets = electrode_positions([names[i] for i in scalp]), np.asarray(modality.positions)[missing]
        weights = spline_matrix(places, targets)
        good = interpolation_error(places, targets, weights) <= LARGEST_ERROR
        matrix[missing[good]] = (weights @ derive[scalp])[good]
        depends[missing[good]] = potentials.depends[scalp].any(axis=0)
        ch_state[missing[good]] = INTERPOLATED
    return matrix, ch_state, depends


def _spread(
    matrix: np.ndarray, ch_state: np.ndarray, derivations: Sequence[Derivation], modality: Modality
) -> np.ndarray:
    """Return `Harmoniser.spread` of a referenced matrix."""
    row = {name: i for i, name in enumerate(modality.ch_names) if ch_state[i] == MEASURED}
    seen = np.zeros((len(derivations), modality.n_chans))
    for i, d in enumerate(derivations):
        for name, sign in ((d.anode, 1.0), (d.against, -1.0)):
            if name in row:
                seen[i, row[name]] += sign
    return np.asarray(matrix @ seen - np.diag((ch_state == MEASURED).astype(float)), dtype=np.float32)
