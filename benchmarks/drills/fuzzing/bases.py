"""The sound recordings that mutations start from: of integers, and of floats."""

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np

from benchmarks.drills.fuzzing.damages import HEADER_CHANNELS, PARTS
from signals.modality import EEG_1020
from synthetic.recordings.files import write_edf, write_fif
from synthetic.recordings.float_files import write_array, write_brainvision, write_table
from synthetic.recordings.laboratory_files import write_eeglab

_LABELS = ("EEG Fp1-REF", "EEG Fp2-REF", "F3", "F4", "C3", "C4", "P3", "P4", "O1", "O2", "ECG", "SpO2")
assert len(_LABELS) == HEADER_CHANNELS
_NAMES, _SFREQ, _SECONDS = EEG_1020.ch_names, 200, 45
SOUND_TIMES = 4
"""How often each sound recording stands among the bases: most of the odd ones are too short to come far."""


def integer_bases(folder: Path) -> list[Path]:
    """Write EDF, EDF+D with gaps and events, BDF, EDF at an odd rate and BrainVision of 16 bits; return the paths."""
    rng = np.random.default_rng(0)
    bases = []
    for name, kind, sfreq, n_seconds in (
        ("a.edf", "edf", 200, 44), ("b.edf", "edf+d", 128, 46), ("c.bdf", "bdf", 256, 32), ("d.edf", "edf", 173, 33),
    ):  # fmt: skip
        x = 30 * rng.standard_normal((len(_LABELS), n_seconds * sfreq))
        onsets = [float(second + (3 if kind == "edf+d" and second >= 25 else 0)) for second in range(n_seconds)]
        write_edf(
            folder / name, [x], file_format=kind, ch_names=_LABELS, sfreq=sfreq, patient="X", record_onsets_s=onsets
        )
        bases.append(folder / name)
    path = _in_parts(folder, "e.vhdr")
    write_brainvision(path, _noise(1), ch_names=_NAMES, sfreq=_SFREQ, binary="INT_16")
    return [*bases, path]


def float_bases(folder: Path) -> list[Path]:
    """Write BrainVision, EEGLAB (one file, two files), FIF, MATLAB, HDF5 and parquet files; return their paths.

    Arrays and tables are of layouts that the readers know, the HMS files' and the IIIC segments'.
    """
    heart = np.vstack([_noise(7), 100 * _noise(7)[:1]])
    group = 15 * _SFREQ
    named = {"ch_names": _NAMES, "sfreq": _SFREQ}
    writers: dict[str, Callable[[Path], None]] = {
        "f.vhdr": lambda path: write_brainvision(path, _noise(2), **named),
        "g.set": lambda path: write_eeglab(path, _noise(3).astype(np.float32), **named),
        "h.set": lambda path: write_eeglab(path, _noise(4).astype(np.float32), in_fdt=True, **named),
        "i_raw.fif": lambda path: write_fif(path, _noise(5), patient="X", **named),
        "j.mat": lambda path: write_array(path, heart, variable="data"),
        "k.h5": lambda path: write_array(path, heart, variable="data"),
        "l.parquet": lambda path: write_table(path, _noise(8), ch_names=_NAMES, group_rows=group),
        "m.parquet": lambda path: write_table(path, _noise(9), ch_names=_NAMES, group_rows=group, compression="none"),
    }
    bases = []
    for name, write in writers.items():
        path = _in_parts(folder, name) if name[0] in "fh" else folder / name
        write(path)
        bases.append(path)
    return bases


def odd_files() -> list[Path]:
    """Return the smaller odd EDF and BDF files of CEREBEAM_REAL_DATA, if there are any."""
    folder = Path(os.environ.get("CEREBEAM_REAL_DATA", "/nonexistent")) / "awkward"
    paths = [path for suffix in ("edf", "bdf") for path in folder.glob(f"*/*.{suffix}")]
    return sorted(path for path in paths if 1000 < path.stat().st_size < 600_000)


def _in_parts(folder: Path, name: str) -> Path:
    place = folder / f"{Path(name).stem}{PARTS}"
    place.mkdir()
    return place / name


def _noise(seed: int) -> np.ndarray:
    """Return 45 s of slow noise, 30 µV, shape (19, 9000)."""
    steps = np.random.default_rng(seed).standard_normal((len(_NAMES), _SECONDS * _SFREQ))
    slow = steps.cumsum(axis=1)
    slow -= np.linspace(slow[:, 0], slow[:, -1], slow.shape[1], axis=1)
    return np.asarray(30 * slow / slow.std(axis=1, keepdims=True) + 3 * steps)
