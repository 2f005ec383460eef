"""From derivations to potentials: a graph of electrodes whose edges are the channels of a file.

Each channel is the difference of two nodes, electrodes or a reference. Within a connected part all potentials are known
up to one constant, exactly. Parts that share no node (the three of a double banana; the two of electrodes against
opposite ears) are put together by the constants that make the field smoothest, where geometry predicts a small error
(`signals.montage.splines.constants_matrix`); a part whose constant would be a guess stays apart.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace

import numpy as np

from signals.electrodes import POSITIONS, electrode_positions
from signals.montage.labels import EAR_NAMES, Derivation
from signals.montage.splines import LARGEST_ERROR, constants_matrix

MIN_FOR_PAIRS = 8
"""Fewest scalp electrodes that pairs without any reference must put together; fewer give no potentials."""
NO_POTENTIAL = "<laplacian>"
"""What a source derivation is against: the mean of its neighbours, which labels don't name."""
_NOISE = 1e-9  # of a pseudo-inverse, whose weights are shares of small whole numbers


@dataclass(frozen=True, eq=False)
class Part:
    """Electrodes that channels connect, and their potentials up to one constant."""

    names: tuple[str, ...]
    """Electrodes, ears among them, in the order of the file."""
    matrix: np.ndarray
    """float64, shape (n_names, n_channels): potentials against `reference`, or against their own mean without one."""
    reference: str
    """The node that the part's potentials are against, zero by definition; empty for pairs only."""

    @property
    def scalp(self) -> tuple[str, ...]:
        """The electrodes that are no ears."""
        return tuple(name for name in self.names if name not in EAR_NAMES)


@dataclass(frozen=True, eq=False)
class Potentials:
    """What a set of channels says about electrodes."""

    names: tuple[str, ...]
    """Electrodes, ears among them."""
    matrix: np.ndarray
    """float64, shape (n_names, n_channels)."""
    depends: np.ndarray
    """bool, shape (n_names, n_channels): the channels that an electrode's potential is made of, constants aside."""
    part: np.ndarray
    """int, shape (n_names,): the part of each electrode, counted from 0."""
    references: tuple[str, ...]
    """The reference of each part."""
    apart: tuple[tuple[str, ...], ...] = ()
    """Electrodes of the parts that are not among these."""
    is_joined: bool = False
    """Whether the potentials of different parts can be compared."""


def connected_parts(derivations: Sequence[Derivation]) -> list[Part]:
    """Return the connected parts that hold scalp electrodes: those with a reference first, then the larger ones.

    A reference is a node that labels call so; of several in one part, that of most channels. An electrode's own channel
    against it is its potential; other electrodes are the least-squares solution of the pairs. Laplacian derivations
    give no potentials.
    """
    nodes = [(d.anode, d.against) for d in derivations]
    members: dict[str, frozenset[str]] = {}
    for anode, against in nodes:
        if against != NO_POTENTIAL:
            merged = members.get(anode, frozenset({anode})) | members.get(against, frozenset({against}))
            members |= dict.fromkeys(merged, merged)
    parts = [_part(each, derivations) for each in sorted(set(members.values()), key=sorted)]
    return sorted(
        (part for part in parts if part.scalp), key=lambda part: (not part.reference, -len(part.scalp), part.names)
    )


def joined(derivations: Sequence[Derivation]) -> Potentials:
    """Return the potentials of all parts that can be put together, for use against their average.

    The first part keeps its constant. Without a reference, parts that hold fewer than `MIN_FOR_PAIRS` scalp electrodes
    together give none.
    """
    parts = connected_parts(derivations)
    kept, constants = _joinable(parts)
    if not any(part.reference for part in kept) and sum(len(part.scalp) for part in kept) < MIN_FOR_PAIRS:
        return _stack([], apart=parts, n_channels=len(derivations))
    whole = _stack(kept, apart=[part for part in parts if part not in kept], n_channels=len(derivations))
    if len(kept) == 1:
        return whole
    matrix = whole.matrix + (constants @ whole.matrix)[whole.part]
    matrix[np.abs(matrix) < _NOISE] = 0.0
    return replace(whole, matrix=matrix, is_joined=True)


def as_recorded(derivations: Sequence[Derivation]) -> Potentials:
    """Return the potentials of the parts that have a reference, each against its own; pairs alone give none."""
    parts = connected_parts(derivations)
    kept = [part for part in parts if part.reference]
    return _stack(kept, apart=[part for part in parts if not part.reference], n_channels=len(derivations))


def largest_part(derivations: Sequence[Derivation]) -> Potentials:
    """Return the potentials of the first part alone; pairs of fewer than `MIN_FOR_PAIRS` electrodes give none."""
    parts = connected_parts(derivations)
    n_kept = int(bool(parts) and (bool(parts[0].reference) or len(parts[0].scalp) >= MIN_FOR_PAIRS))
    return _stack(parts[:n_kept], apart=parts[n_kept:], n_channels=len(derivations))


def _joinable(parts: Sequence[Part]) -> tuple[list[Part], np.ndarray]:
    """Return the parts whose constants can be estimated, and the matrix of `constants_matrix` for them.

    An electrode all alone would be nothing but its constant, so it is left to the interpolation.
    """
    kept = [part for part in parts if part is parts[0] or len(part.names) > 1]
    while len(kept) > 1:
        places = electrode_positions([name for part in kept for name in part.names])
        numbers = np.array([number for number, part in enumerate(kept) for _ in part.names])
        constants, error = constants_matrix(places, numbers)
        worst = 1 + int(np.argmax(error[1:]))
        if error[worst] <= LARGEST_ERROR:
            return kept, constants
        del kept[worst]
    return kept, np.zeros((len(kept), 0))


def _stack(parts: Sequence[Part], *, apart: Sequence[Part], n_channels: int) -> Potentials:
    """Return the potentials of several parts, each up to its own constant."""
    matrix = np.vstack([np.zeros((0, n_channels)), *(part.matrix for part in parts)])
    return Potentials(
        names=tuple(name for part in parts for name in part.names),
        matrix=matrix,
        depends=matrix != 0,
        part=np.array([number for number, part in enumerate(parts) for _ in part.names], dtype=int),
        references=tuple(part.reference for part in parts),
        apart=tuple(part.names for part in apart),
    )


def _part(nodes: Collection[str], derivations: Sequence[Derivation]) -> Part:
    """Return the potentials of connected nodes."""
    edges = [(i, d.anode, d.against) for i, d in enumerate(derivations) if d.anode in nodes and d.against in nodes]
    named = [d.against for i, _, _ in edges if (d := derivations[i]).cathode is None]
    reference = max(sorted(set(named)), key=named.count, default="")
    own = {anode: i for i, anode, against in reversed(edges) if against == reference}
    names = _electrodes_of(edges)
    matrix = np.zeros((len(names), len(derivations)))
    for anode, i in own.items():
        matrix[names.index(anode), i] = 1.0
    unknown = [name for name in names if name not in own and name != reference]
    if unknown:
        matrix[[names.index(name) for name in unknown]] = _least_squares(unknown, names, matrix, edges)
    return Part(tuple(names), matrix, reference)


def _electrodes_of(edges: Sequence[tuple[int, str, str]]) -> list[str]:
    """Return the electrodes of edges: those with a channel of their own in the order of the file, then the others."""
    anodes, others = [anode for _, anode, _ in edges], [against for _, _, against in edges]
    return [name for name in dict.fromkeys([*anodes, *others]) if name in POSITIONS]


def _least_squares(
    unknown: Sequence[str], names: Sequence[str], known: np.ndarray, edges: Sequence[tuple[int, str, str]]
) -> np.ndarray:
    """Return the potentials of the unknown electrodes, shape (n_unknown, n_channels), from the edges at them.

    Without a known electrode or a reference among the ends of the edges, they come out against their own mean.
    """
    rows = [edge for edge in edges if edge[1] in unknown or edge[2] in unknown]
    ends, measured = np.zeros((len(rows), len(unknown))), np.zeros((len(rows), known.shape[1]))
    for row, (channel, anode, against) in enumerate(rows):
        measured[row, channel] = 1.0
        for name, sign in ((anode, 1.0), (against, -1.0)):
            if name in unknown:
                ends[row, unknown.index(name)] += sign
            elif name in names:
                measured[row] -= sign * known[names.index(name)]
    solution = np.linalg.pinv(ends) @ measured
    solution[np.abs(solution) < _NOISE] = 0.0
    return np.asarray(solution)
