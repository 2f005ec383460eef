"""What spherical splines are worth: electrodes left out of real recordings, and interpolated from the others.

First each electrode of the 10-20 system from all others; then random, one-sided and sparse subsets, whose error is
compared with the one that geometry predicts; last, the double banana of recordings whose potentials are known.
"""

from pathlib import Path

import numpy as np

from benchmarks.harness import figure
from benchmarks.studies.real import opened
from signals.conditioning.filters import bandpass
from signals.electrodes import electrode_positions
from signals.modality import EEG_1020
from signals.montage.derivations import joined
from signals.montage.labels import EAR_NAMES, Derivation, find_electrodes
from signals.montage.references import DOUBLE_BANANA, bipolar_matrix
from signals.montage.splines import LARGEST_ERROR, interpolation_error, spline_matrix

SITES = (
    "albany-eegmmidb/*.edf", "leipzig-lemon/*.vhdr", "frankfurt-rest/*.edf", "sandiego-eeglab/*.set",
    "kyiv-eegmat/*.edf", "tehran-adhd/*.mat", "boston-iiic-sparcnet/*.mat",
)  # fmt: skip
"""Recordings of 19 to 64 electrodes, by site."""
_MOST, _SUBSETS, _LEAST = 11, 60, 4


def predicted_errors(real: Path, *, seed: int = 0) -> None:
    """Print how large errors were, by how large geometry predicted them.

    Subsets of at least four electrodes predict all others of a recording: drawn at random, neighbours of one electrode,
    drawn from the 10-20 system.
    """
    rng = np.random.default_rng(seed)
    pairs = [
        pair
        for site in SITES
        for path in sorted(real.glob(site))[:_MOST]
        for pair in _predicted_and_true(*_potentials(path), rng)
    ]
    if not pairs:
        print("  CEREBEAM_REAL_DATA has no real recordings: not measured")
        return
    predicted, true = np.concatenate(pairs, axis=1)
    print("  predicted    n      median true  worse than flat")
    for low in np.arange(0.3, 1.7, 0.1):
        among = (predicted >= low) & (predicted < low + 0.1)
        worse = (true[among] > 1).mean()
        print(f"  {low:.1f} to {low + 0.1:.1f} {among.sum():6d} {np.median(true[among]):12.2f} {worse:12.0%}")
    for tag, low in (("below", LARGEST_ERROR - 0.1), ("above", LARGEST_ERROR)):
        among = (predicted >= low) & (predicted < low + 0.1)
        figure(f"splines_worse_than_flat_{tag}_limit", float((true[among] > 1).mean()), "share")
    figure("splines_predicted_error_correlation", float(np.corrcoef(np.log(predicted), np.log(true))[0, 1]), "r")


def joined_errors(real: Path) -> None:
    """Print how far the 19 electrodes of a double banana are from the truth, RMS over RMS, median by site.

    Beside it, what they are where each of the three parts is taken against its own mean.
    """
    derivations = tuple(Derivation(anode, cathode) for anode, cathode in DOUBLE_BANANA)
    whole = joined(derivations)
    rows = [EEG_1020.ch_names.index(name) for name in whole.names]
    parts = np.stack([whole.part == number for number in range(3)]).astype(float)
    own_means = np.eye(19) - parts.T @ (parts / parts.sum(axis=1, keepdims=True))
    maps = {"joined": whole.matrix @ bipolar_matrix(EEG_1020.ch_names)[:, rows], "own means": own_means}
    for site in SITES:
        errors: list[list[float]] = []
        for path in sorted(real.glob(site))[:_MOST]:
            x, names = _potentials(path)
            if set(EEG_1020.ch_names) <= set(names):
                truth = x[[names.index(name) for name in whole.names]]
                truth -= truth.mean(axis=0)
                estimates = [matrix @ truth for matrix in maps.values()]
                errors.append([_relative(y - y.mean(axis=0) - truth, truth) for y in estimates])
        if errors:
            name, medians = site.split("/")[0], np.median(errors, axis=0)
            print(f"  {name:<22} joined {medians[0]:.2f}, parts against their own means {medians[1]:.2f}")
            figure(f"banana_error_{name.split('-')[0]}", float(medians[0]), "x RMS")


def _relative(missed: np.ndarray, truth: np.ndarray) -> float:
    return float(np.sqrt(np.square(missed).sum() / np.square(truth).sum()))


def _potentials(path: Path) -> tuple[np.ndarray, list[str]]:
    """Return up to a minute of the scalp electrodes against their average, 1-40 Hz, and their names."""
    recording = opened(path)
    electrodes = find_electrodes(recording.ch_names, recording.sensor_types)
    kept = [
        (pick, d.anode)
        for pick, d in zip(electrodes.picks, electrodes.derivations, strict=True)
        if d.anode not in EAR_NAMES
    ]
    sfreq = recording.sfreqs[kept[0][0]]
    stop = int(min(60.0, recording.duration_s) * sfreq)
    x = np.nan_to_num(recording.read([pick for pick, _ in kept], stop=stop).astype(np.float64))
    return bandpass(x - x.mean(axis=0), sfreq, l_freq=1.0, h_freq=40.0), [name for _, name in kept]


def _predicted_and_true(x: np.ndarray, names: list[str], rng: np.random.Generator) -> list[np.ndarray]:
    """Return predicted and true errors of the electrodes outside of each subset, shape (2, n_targets) each."""
    places, covariance = electrode_positions(names), x @ x.T / x.shape[1]
    sparse = [i for i, name in enumerate(names) if name in EEG_1020.ch_names]
    pairs = []
    for number in range(_SUBSETS):
        n = int(rng.integers(_LEAST, len(names)))
        near = np.argsort(-places @ places[rng.integers(len(names))])[:n]
        chosen = (rng.permutation(len(names))[:n], near, rng.permutation(sparse)[: min(n, len(sparse) - 1)])[number % 3]
        left = np.setdiff1d(np.arange(len(names)), chosen)
        weights = spline_matrix(places[chosen], places[left])
        missed = np.zeros((left.size, len(names)))
        missed[:, chosen] = weights
        missed[np.arange(left.size), left] -= 1.0
        true = np.sqrt(np.einsum("ki,ij,kj->k", missed, covariance, missed) / covariance[left, left])
        pairs.append(np.stack([interpolation_error(places[chosen], places[left], weights), true]))
    return pairs


def splines(folder: Path) -> None:
    """Print correlation and relative error of every electrode, median over recordings, band 1-40 Hz.

    Potentials are those against the average of all electrodes. The error is the RMS of what is missed over the RMS of
    the electrode: 1 is what a flat channel would get.
    """
    paths = sorted(folder.glob("*.edf"))
    if not paths:
        print("  CEREBEAM_REAL_DATA has no real/albany-eegmmidb: not measured")
        return
    dense, sparse = [], []
    for path in paths:
        x, names = _potentials(path)
        dense.append(_left_out(x, names, names))
        sparse.append(_left_out(x, names, list(EEG_1020.ch_names)))
    dense_error, dense_r = np.median(dense, axis=0).T
    sparse_error, sparse_r = np.median(sparse, axis=0).T
    print(f"  {len(paths)} recordings of {len(names)} channels; columns: from all others, from the other 18")
    print("  electrode  error  r      error  r")
    for i, name in enumerate(EEG_1020.ch_names):
        print(f"  {name:<9}{dense_error[i]:7.2f}{dense_r[i]:6.2f}{sparse_error[i]:9.2f}{sparse_r[i]:6.2f}")
    for tag, error, r in (("64", dense_error, dense_r), ("19", sparse_error, sparse_r)):
        figure(f"splines_error_of_{tag}", float(np.median(error)), "x RMS")
        figure(f"splines_correlation_of_{tag}", float(np.median(r)), "r")


def _left_out(x: np.ndarray, names: list[str], sources: list[str]) -> np.ndarray:
    """Return (relative error, correlation) of each of the modality's electrodes, shape (n_chans, 2)."""
    rows = []
    for target in EEG_1020.ch_names:
        others = [name for name in sources if name != target]
        weights = spline_matrix(electrode_positions(others), electrode_positions([target]))
        guess, truth = (weights @ x[[names.index(name) for name in others]])[0], x[names.index(target)]
        rows.append((np.std(truth - guess) / np.std(truth), np.corrcoef(truth, guess)[0, 1]))
    return np.array(rows)
