"""Channel names to electrodes, and one matrix that turns the channels of a file into the modality's.

Everything that harmonising does - picking, deriving electrodes from bipolar chains, spherical splines for missing ones,
re-referencing - is linear, so it is one matrix a channel set, cached.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import get_args

import numpy as np
from numpy.polynomial.legendre import legval

from signals.electrodes import canonical_electrode, electrode_positions
from signals.modality import Modality
from signals.montage.references import EARS, Reference, reference_row, spelled
from signals.window import ABSENT, INTERPOLATED, MEASURED

MIN_FOR_SPLINES = 8
"""Fewest measured electrodes to interpolate others from; below it the missing ones stay absent."""
MIN_FOR_AVERAGE = 4
"""Fewest channels whose average can serve as a reference."""
_EARS = frozenset(name for pair in EARS for name in pair)
_REFERENCES = {
    "ref",
    "le",
    "re",
    "avg",
    "av",
    "ar",
    "a1",
    "a2",
    "m1",
    "m2",
    "a1a2",
    "a12",
    "m1m2",
    "cz",
    "fcz",
    "org",
    "g2",
}


@dataclass(frozen=True)
class Derivation:
    """What a channel's label says: an electrode against a reference, or against another electrode (bipolar)."""

    anode: str
    cathode: str | None
    """The second electrode of a bipolar pair; None for a referential channel."""
    reference: str = ""


def parse_label(label: str) -> Derivation | None:
    """Return what an EEG channel label names, or None for what is no electrode.

    Understands "Fp1", "FP1", "EEG Fp1-REF", "EEG FP1-LE", "POL F3", "Fc5.", "FP1-A2", "T8-P8" and "T8-P8-0". An ear
    or mastoid is named too, unless it is measured against the other one.
    """
    text = re.sub(r"^(eeg|pol|seeg)[\s_:]+", "", label.strip(), flags=re.IGNORECASE).strip(" .")
    parts = [part.strip(" .") for part in re.split(r"[-–/]", text) if part.strip(" .")]
    if len(parts) == 3 and parts[2].isdigit():
        parts = parts[:2]
    if not parts or len(parts) > 2:
        return None
    anode = canonical_electrode(parts[0])
    if anode is None or (len(parts) == 2 and anode in _EARS and canonical_electrode(parts[1]) in _EARS):
        return None
    if len(parts) == 1:
        return Derivation(anode, None)
    second = spelled(parts[1])
    cathode = canonical_electrode(parts[1])
    if second in {"cz", "fcz"}:
        return Derivation(anode, cathode, parts[1])
    if second in _REFERENCES:
        return Derivation(anode, None, parts[1])
    return Derivation(anode, cathode) if cathode is not None else None


@dataclass(frozen=True)
class Electrodes:
    """The EEG channels of a recording that name electrodes."""

    picks: tuple[int, ...]
    """Indices of the channels, in file order."""
    derivations: tuple[Derivation, ...]
    """What each of them measures."""

    @property
    def is_bipolar(self) -> bool:
        """Whether most channels are pairs of different electrodes."""
        cathodes = [d.cathode for d in self.derivations if d.anode not in _EARS]
        pairs = sum(c is not None for c in cathodes)
        # "Fp1-Cz, F3-Cz, ..." has one cathode: a common reference, not a bipolar montage.
        return pairs > len(cathodes) / 2 and len(set(cathodes)) > 2


def find_electrodes(ch_names: Sequence[str], sensor_types: Sequence[str]) -> Electrodes:
    """Return the EEG channels that name electrodes; of repeated derivations the first is kept.

    Ears and mastoids are among them, for they can serve as reference, but never alone.
    """
    picks: list[int] = []
    found: list[Derivation] = []
    for index, (name, sensor_type) in enumerate(zip(ch_names, sensor_types, strict=True)):
        derivation = parse_label(name) if sensor_type == "eeg" else None
        if derivation is None or any((d.anode, d.cathode) == (derivation.anode, derivation.cathode) for d in found):
            continue
        picks.append(index)
        found.append(derivation)
    if all(derivation.anode in _EARS for derivation in found):
        return Electrodes((), ())
    return Electrodes(tuple(picks), tuple(found))


@dataclass(frozen=True)
class Harmoniser:
    """The linear map from a file's electrode channels to the modality's channels."""

    matrix: np.ndarray
    """float32, shape (n_chans, n_picks)."""
    ch_state: np.ndarray
    """uint8, shape (n_chans,): MEASURED, INTERPOLATED or ABSENT."""
    depends: np.ndarray
    """bool, shape (n_chans, n_picks): the picks that a channel is made of, the reference aside."""

    @property
    def used(self) -> np.ndarray:
        """Indices of the picks that any channel needs; the others need not be read."""
        return np.flatnonzero(np.abs(self.matrix).max(axis=0) > 0)


@lru_cache(maxsize=256)
def harmoniser(derivations: tuple[Derivation, ...], modality: Modality, reference: Reference) -> Harmoniser:
    """Return the map from these channels to the modality's, read against `reference`.

    Missing channels are interpolated from all scalp electrodes at hand where there are at least MIN_FOR_SPLINES of
    them. The average reference is taken over all channels of the modality that are measured or interpolated, and not
    at all where there are fewer than MIN_FOR_AVERAGE. Raises ValueError for an unknown `reference`, and
    `signals.montage.references.UndefinedReferenceError` for one that these channels do not allow.
    """
    if reference not in get_args(Reference):
        raise ValueError(f"reference={reference!r} is none of {', '.join(get_args(Reference))}")
    names, derive = _electrode_matrix(derivations)
    index = {name: i for i, name in enumerate(names)}
    matrix = np.zeros((modality.n_chans, len(derivations)))
    ch_state = np.full(modality.n_chans, ABSENT, dtype=np.uint8)
    for row, name in enumerate(modality.ch_names):
        if name in index:
            matrix[row] = derive[index[name]]
            ch_state[row] = MEASURED
    missing = np.flatnonzero(ch_state == ABSENT)
    scalp = [i for i, name in enumerate(names) if name not in _EARS]
    if len(scalp) >= MIN_FOR_SPLINES and missing.size:
        targets = np.asarray(modality.positions)[missing]
        matrix[missing] = spline_matrix(electrode_positions([names[i] for i in scalp]), targets) @ derive[scalp]
        ch_state[missing] = INTERPOLATED
    present = ch_state != ABSENT
    depends = matrix != 0
    if reference == "average" and present.sum() >= MIN_FOR_AVERAGE:
        matrix[present] -= matrix[present].mean(axis=0)
    elif reference in {"linked-ears", "cz"}:
        matrix[present] -= reference_row(
            reference, names, derive, recorded=recorded_references(derivations),
            is_bipolar=Electrodes((), derivations).is_bipolar,
        )  # fmt: skip
    return Harmoniser(matrix.astype(np.float32), ch_state, depends)


def recorded_references(derivations: Sequence[Derivation]) -> frozenset[str]:
    """Return the references that the labels of scalp channels name, as `signals.montage.references.spelled`; often
    none."""
    return frozenset(spelled(d.reference) for d in derivations if d.reference and d.anode not in _EARS)


def _electrode_matrix(derivations: tuple[Derivation, ...]) -> tuple[list[str], np.ndarray]:
    """Return electrode names and the matrix (n_electrodes, n_channels) that gives their potentials.

    Referential channels are their electrodes; a scalp electrode that all of them are measured against is known to be
    zero, so it is one of them. Bipolar chains give potentials up to a constant where they are connected; the largest
    connected part is kept, against its own mean.
    """
    if all(d.cathode is None for d in derivations) or not Electrodes((), derivations).is_bipolar:
        keep: dict[str, int] = {}
        for i, d in enumerate(derivations):
            keep.setdefault(d.anode, i)
        names, derive = list(keep), np.eye(len(derivations))[list(keep.values())]
        common = {d.cathode for d in derivations}
        (zero,) = common if len(common) == 1 else {None}
        if zero is not None and zero not in keep:
            return [*names, zero], np.vstack([derive, np.zeros(len(derivations))])
        return names, derive
    names = _largest_component(derivations)
    difference = np.zeros((len(derivations), len(names)))
    for i, d in enumerate(derivations):
        if d.anode in names and d.cathode in names:
            difference[i, names.index(d.anode)] = 1.0
            difference[i, names.index(d.cathode)] = -1.0
    return names, np.linalg.pinv(difference)


def _largest_component(derivations: tuple[Derivation, ...]) -> list[str]:
    component: dict[str, frozenset[str]] = {}
    for d in derivations:
        pair = {d.anode} | ({d.cathode} if d.cathode else set())
        merged = frozenset(pair).union(*(component.get(name, frozenset()) for name in pair))
        component |= dict.fromkeys(merged, merged)
    # Sorted, so that equal sizes give the same choice whatever the order of sets.
    return max((sorted(members) for members in component.values()), key=lambda names: (len(names), names))


def spline_matrix(
    positions: np.ndarray, targets: np.ndarray, *, stiffness: int = 4, n_terms: int = 50, regularisation: float = 1e-5
) -> np.ndarray:
    """Return the spherical spline interpolation from `positions` (n, 3) to `targets` (k, 3), shape (k, n).

    Perrin et al. 1989 (Electroencephalogr Clin Neurophysiol 72:184), equations 1-3, with the regularisation that MNE
    adds to the diagonal. Positions are scaled to the unit sphere.
    """
    n_sources = len(positions)
    system = np.ones((n_sources + 1, n_sources + 1))
    system[:-1, :-1] = spline_kernel(positions, positions, stiffness=stiffness, n_terms=n_terms)
    system[:-1, :-1] += regularisation * np.eye(n_sources)
    system[-1, -1] = 0.0
    kernel = spline_kernel(targets, positions, stiffness=stiffness, n_terms=n_terms)
    out = np.hstack([kernel, np.ones((len(targets), 1))])
    return np.asarray(out @ np.linalg.pinv(system)[:, :-1])


def spline_kernel(a: np.ndarray, b: np.ndarray, *, stiffness: int = 4, n_terms: int = 50) -> np.ndarray:
    """Return how much each place of `a` (k, 3) follows each of `b` (n, 3), shape (k, n): Perrin's equation 3."""
    n = np.arange(1, n_terms + 1)
    coefficients = np.concatenate([[0.0], (2 * n + 1) / (n**stiffness * (n + 1.0) ** stiffness * 4 * np.pi)])
    directions = [places / np.linalg.norm(places, axis=1, keepdims=True) for places in (a, b)]
    return np.asarray(legval(np.clip(directions[0] @ directions[1].T, -1, 1), coefficients))
