"""What spherical splines are worth: each electrode left out of real recordings, and interpolated from the others."""

from pathlib import Path

import numpy as np

from benchmarks.harness import figure
from signals.conditioning.filters import bandpass
from signals.electrodes import electrode_positions
from signals.modality import EEG_1020
from signals.montage.labels import find_electrodes
from signals.montage.splines import spline_matrix
from signals.readers.registry import open_recording


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
        recording = open_recording(str(path))
        found = find_electrodes(recording.ch_names, recording.sensor_types)
        sfreq = recording.sfreqs[found.picks[0]]
        x = recording.read(found.picks, stop=int(min(60.0, recording.duration_s) * sfreq)).astype(np.float64)
        x = bandpass(x - x.mean(axis=0), sfreq, l_freq=1.0, h_freq=40.0)
        names = [derivation.anode for derivation in found.derivations]
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
        kept = [name for name in sources if name != target]
        weights = spline_matrix(electrode_positions(kept), electrode_positions([target]))
        guess, truth = (weights @ x[[names.index(name) for name in kept]])[0], x[names.index(target)]
        rows.append((np.std(truth - guess) / np.std(truth), np.corrcoef(truth, guess)[0, 1]))
    return np.array(rows)
