"""The montages that a reader of EEG switches between: named rows, each a linear combination of a file's channels.

As recorded, common average, longitudinal and transverse bipolar (ACNS guideline 3, 2016) and Laplacian (Hjorth 1975,
doi:10.1016/0013-4694(75)90056-5). Potentials come from the graph of the file's derivations, so that a file of pairs
can be read in them too, and a montage that a file does not allow comes with the reason.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np

from signals.electrodes import CHAINS, TEN_TWENTY, electrode_positions
from signals.montage.derivations import Potentials, joined
from signals.montage.labels import EAR_NAMES, find_electrodes
from signals.montage.references import DOUBLE_BANANA
from signals.recording.recording import Recording

MONTAGES = {
    "recorded": "As recorded",
    "average": "Common average",
    "longitudinal": "Longitudinal bipolar",
    "transverse": "Transverse bipolar",
    "laplacian": "Laplacian",
}
"""Montages by name, and what they are called."""
TRANSVERSE: tuple[tuple[tuple[str, str], ...], ...] = (
    (("F7", "Fp1"), ("Fp1", "Fp2"), ("Fp2", "F8")),
    (("F7", "F3"), ("F3", "Fz"), ("Fz", "F4"), ("F4", "F8")),
    (("T3", "C3"), ("C3", "Cz"), ("Cz", "C4"), ("C4", "T4")),
    (("T5", "P3"), ("P3", "Pz"), ("Pz", "P4"), ("P4", "T6")),
    (("T5", "O1"), ("O1", "O2"), ("O2", "T6")),
)
"""Rows of electrodes from left to right, front to back."""
N_NEIGHBOURS = 4
MIN_FOR_AVERAGE = 4
_MV = 1e3
_NEAR = 0.9
"""Largest distance of a neighbour on the unit sphere; neighbouring electrodes of the 10-20 system are 0.6 apart."""


@dataclass(frozen=True)
class Row:
    """One trace."""

    label: str
    side: str
    """"left", "right", "midline", or "other" for what is no electrode."""
    electrodes: tuple[str, ...]
    """What it is measured at; empty for what is no electrode."""
    group: int
    """Rows of one chain share a number."""
    kind: str = "eeg"
    """A sensor type of `signals.recording.recording.SENSOR_TYPES`."""


@dataclass(frozen=True, kw_only=True, eq=False)
class ViewMontage:
    """Rows, and how they are made; a montage without rows names the reason."""

    rows: tuple[Row, ...]
    picks: tuple[int, ...]
    """Channels of the file."""
    matrix: np.ndarray
    """float32, shape (n_rows, n_picks): what makes µV of the channels' units."""
    depends: np.ndarray
    """bool, same shape: the channels that a row cannot do without; a common reference is none."""
    reason: str = ""


def view_montage(recording: Recording, name: str, *, sfreq: float, bad: Collection[str] = ()) -> ViewMontage:
    """Return a montage of a recording's channels at `sfreq`; bad electrodes are in no average and no Laplacian.

    Channels that are no electrodes (ECG, EOG, EMG) follow the others. Raises ValueError for an unknown name.
    """
    if name not in MONTAGES:
        raise ValueError(f"montage={name!r} is none of {', '.join(MONTAGES)}")
    electrodes = find_electrodes(recording.ch_names, recording.sensor_types)
    kept = [i for i, pick in enumerate(electrodes.picks) if recording.sfreqs[pick] == sfreq]
    picks = tuple(electrodes.picks[i] for i in kept)
    others = [pick for pick in range(len(recording.ch_names)) if pick not in picks and recording.sfreqs[pick] == sfreq]
    if name == "recorded":
        return _as_recorded(recording, sorted((*picks, *others)))
    potentials = joined([electrodes.derivations[i] for i in kept])
    rows, weights, depends, reason = _combined(name, potentials, frozenset(bad))
    if not rows:
        return _nothing(reason)
    sensors = [pick for pick in others if recording.sensor_types[pick] in ("ecg", "eog", "emg", "resp")]
    return _with_sensors(recording, rows, weights @ potentials.matrix, depends @ potentials.depends, picks, sensors)


def view_sfreq(recording: Recording) -> float:
    """Return the rate that most electrodes have, or, without electrodes, most channels, Hz."""
    picks = find_electrodes(recording.ch_names, recording.sensor_types).picks or range(len(recording.ch_names))
    rates = [recording.sfreqs[pick] for pick in picks]
    return max(set(rates), key=lambda rate: (rates.count(rate), rate))


def side_of(electrode: str) -> str:
    """Return "left", "right" or "midline" of an electrode: odd numbers are left (10-20 system)."""
    digits = "".join(c for c in electrode if c.isdigit())
    if not digits:
        return "midline"
    return "left" if int(digits) % 2 else "right"


def _combined(name: str, potentials: Potentials, bad: frozenset[str]) -> tuple[list[Row], np.ndarray, np.ndarray, str]:
    """Return rows, their weights over potentials, the potentials that each is about, and why there are none."""
    scalp = [electrode for electrode in potentials.names if electrode not in EAR_NAMES]
    index = {electrode: i for i, electrode in enumerate(potentials.names)}
    if not scalp:
        return [], np.zeros(0), np.zeros(0), "no electrode has a potential of its own"
    if name == "average":
        return _average(_ordered(scalp), index, bad)
    if name == "laplacian":
        return _laplacian(_ordered(scalp), index, bad)
    chains = TRANSVERSE if name == "transverse" else (*CHAINS.values(), DOUBLE_BANANA[-2:])
    return _pairs(chains, index)


def _ordered(scalp: Sequence[str]) -> list[str]:
    """Return electrodes by chain, left before right, others behind."""
    known = {electrode: i for i, electrode in enumerate(TEN_TWENTY)}
    return sorted(scalp, key=lambda electrode: (known.get(electrode, len(known)), scalp.index(electrode)))


def _average(
    scalp: Sequence[str], index: dict[str, int], bad: frozenset[str]
) -> tuple[list[Row], np.ndarray, np.ndarray, str]:
    good = [index[electrode] for electrode in scalp if electrode not in bad]
    if len(good) < MIN_FOR_AVERAGE:
        return [], np.zeros(0), np.zeros(0), f"{len(good)} good electrodes; an average needs {MIN_FOR_AVERAGE}"
    own = np.zeros((len(scalp), len(index)))
    own[range(len(scalp)), [index[electrode] for electrode in scalp]] = 1.0
    weights = own.copy()
    weights[:, good] -= 1.0 / len(good)
    return _single(scalp, "avg"), weights, own != 0, ""


def _laplacian(
    scalp: Sequence[str], index: dict[str, int], bad: frozenset[str]
) -> tuple[list[Row], np.ndarray, np.ndarray, str]:
    places = electrode_positions(scalp)
    rows, weights = [], []
    for i, electrode in enumerate(scalp):
        distance = np.linalg.norm(places - places[i], axis=1)
        near = [j for j in np.argsort(distance, kind="stable") if j != i and distance[j] <= _NEAR]
        near = [j for j in near if scalp[j] not in bad][:N_NEIGHBOURS]
        if len(near) < 2:
            continue
        row = np.zeros(len(index))
        row[index[electrode]] = 1.0
        for j in near:
            row[index[scalp[j]]] -= 1.0 / len(near)
        rows.append(electrode)
        weights.append(row)
    if not rows:
        return [], np.zeros(0), np.zeros(0), "no electrode has two good neighbours"
    matrix = np.array(weights)
    return _single(rows, "Lap"), matrix, matrix != 0, ""


def _pairs(
    chains: Sequence[Sequence[tuple[str, str]]], index: dict[str, int]
) -> tuple[list[Row], np.ndarray, np.ndarray, str]:
    rows, weights = [], []
    for group, chain in enumerate(chains):
        for anode, cathode in chain:
            if anode in index and cathode in index:
                row = np.zeros(len(index))
                row[index[anode]], row[index[cathode]] = 1.0, -1.0
                side = side_of(anode) if side_of(anode) == side_of(cathode) else "midline"
                rows.append(Row(f"{anode}-{cathode}", side, (anode, cathode), group))
                weights.append(row)
    if not rows:
        return [], np.zeros(0), np.zeros(0), "no two electrodes of a pair are there"
    matrix = np.array(weights)
    return rows, matrix, matrix != 0, ""


def _single(names: Sequence[str], against: str) -> list[Row]:
    groups = {electrode: number for number, chain in enumerate(CHAINS.values()) for p in chain for electrode in p}
    return [Row(f"{name}-{against}", side_of(name), (name,), groups.get(name, len(CHAINS))) for name in names]


def _as_recorded(recording: Recording, picks: Sequence[int]) -> ViewMontage:
    derivations = find_electrodes(recording.ch_names, recording.sensor_types)
    nodes = dict(zip(derivations.picks, derivations.derivations, strict=True))
    rows = []
    for pick in picks:
        kind, d = recording.sensor_types[pick], nodes.get(pick)
        names = () if d is None else (d.anode,) if d.cathode is None else (d.anode, d.cathode)
        side = "other" if d is None else side_of(d.anode)
        rows.append(Row(recording.ch_names[pick], side, names, 0, kind if kind != "misc" else "other"))
    scale = np.diag([_scale(recording, pick) for pick in picks]).astype(np.float32).reshape(len(picks), len(picks))
    return ViewMontage(rows=tuple(rows), picks=tuple(picks), matrix=scale, depends=scale != 0)


def _with_sensors(
    recording: Recording, rows: Sequence[Row], matrix: np.ndarray, depends: np.ndarray, picks: Sequence[int],
    sensors: Sequence[int],
) -> ViewMontage:  # fmt: skip
    """Return rows of electrodes with the other channels below them."""
    own = np.diag([_scale(recording, pick) for pick in sensors]).reshape(len(sensors), len(sensors))
    whole = np.zeros((len(rows) + len(sensors), len(picks) + len(sensors)))
    whole[: len(rows), : len(picks)], whole[len(rows) :, len(picks) :] = matrix, own
    needs = np.zeros(whole.shape, dtype=bool)
    needs[: len(rows), : len(picks)], needs[len(rows) :, len(picks) :] = depends, own != 0
    last = max((row.group for row in rows), default=0) + 1
    below = [Row(recording.ch_names[pick], "other", (), last, recording.sensor_types[pick]) for pick in sensors]
    used = np.flatnonzero(np.abs(whole).max(axis=0) > 0)
    everything = (*picks, *sensors)
    return ViewMontage(
        rows=(*rows, *below), picks=tuple(everything[i] for i in used), matrix=whole[:, used].astype(np.float32),
        depends=needs[:, used],
    )  # fmt: skip


def _scale(recording: Recording, pick: int) -> float:
    """Return what makes µV of a channel's unit: ECG is read in mV."""
    return _MV if recording.sensor_types[pick] == "ecg" else 1.0


def _nothing(reason: str) -> ViewMontage:
    none = np.zeros((0, 0), dtype=np.float32)
    return ViewMontage(rows=(), picks=(), matrix=none, depends=none != 0, reason=reason)
