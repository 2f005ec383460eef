"""The file formats that are benched: what writes each of them, and which other program reads it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from synthetic.recordings import clinical_files as clinical
from synthetic.recordings import laboratory_files as laboratory
from synthetic.recordings.files import write_edf, write_fif
from synthetic.recordings.float_files import write_array, write_brainvision, write_table

SFREQ = 200
NAMES = ("Fp1", "Fp2", "F3", "F4", "C3", "C4", "P3", "P4", "O1", "O2", "F7", "F8", "T3", "T4", "T5", "T6", "Fz", "Cz",
         "Pz", "Oz", "FC1", "FC2", "CP1", "CP2", "FC5", "FC6", "CP5", "CP6", "AF3", "AF4", "PO3", "PO4")  # fmt: skip
"""Thirty-two, for EGI's nets come in that number."""
Write = Callable[[Path, np.ndarray, Sequence[str], int], None]
Reference = Callable[[Path], np.ndarray]


@dataclass(frozen=True, kw_only=True)
class Format:
    """A format as it is tried here."""

    name: str
    file: str
    """Name of the file that is opened."""
    write: Write | None
    """Writes samples in µV, channel labels, Hz; None where nothing can."""
    reference: Reference
    """What another program reads, µV, the first channels as they were written."""
    by: str
    """That other program."""
    tolerance_uv: float = 1e-3
    library: bool = False
    """Whether our reader stands on a library that may fail on a damaged file."""
    is_new: bool = True
    """Whether damaged files are tried here; of EDF, BDF and what was there before `make bench-fuzz` does."""
    real: str = ""
    """Glob of a real file below CEREBEAM_REAL_DATA, where there is no writer."""


def _mne(reader: str, suffix: str = "", **options: Any) -> Reference:
    def read(path: Path) -> np.ndarray:
        import mne

        source = path.with_suffix(suffix) if suffix else path
        return getattr(mne.io, reader)(source, verbose="ERROR", **options).get_data() * 1e6

    return read


def _pyxdf(path: Path) -> np.ndarray:
    import pyxdf

    (stream,) = (s for s in pyxdf.load_xdf(str(path), verbose=False)[0] if s["info"]["type"] == ["EEG"])
    return stream["time_series"].T


def _wfdb(path: Path) -> np.ndarray:
    import wfdb

    return wfdb.rdrecord(str(path.with_suffix(""))).p_signal.T


def _neo(path: Path) -> np.ndarray:
    from neo.io import MicromedIO

    return np.asarray(MicromedIO(str(path)).read_segment().analogsignals[0].rescale("uV")).T


def _pyedflib(path: Path) -> np.ndarray:
    import pyedflib

    with pyedflib.EdfReader(str(path)) as file:
        return np.array([file.readSignal(channel) for channel in range(len(NAMES))])


def _scipy(path: Path) -> np.ndarray:
    from scipy.io import loadmat

    return loadmat(path)["eeg"]


def _pymatreader(path: Path) -> np.ndarray:
    from pymatreader import read_mat

    return read_mat(str(path))["eeg"]


def _numpy(path: Path) -> np.ndarray:
    loaded = np.load(path)
    return loaded["eeg"] if path.suffix == ".npz" else loaded


def _h5py(path: Path) -> np.ndarray:
    import h5py

    with h5py.File(path) as file:
        return file["eeg"][()]


def _pandas(path: Path) -> np.ndarray:
    import pandas as pd

    frame = pd.read_parquet(path) if path.suffix == ".parquet" else pd.read_csv(path)
    return frame[list(NAMES)].to_numpy().T


def _write_edf(path: Path, x: np.ndarray, names: Sequence[str], sfreq: int) -> None:
    seconds = [float(k) for k in range(x.shape[1] // sfreq)]
    write_edf(path, [x], file_format=path.suffix[1:], ch_names=names, sfreq=sfreq, patient="X", record_onsets_s=seconds)


def _write_fif(path: Path, x: np.ndarray, names: Sequence[str], sfreq: int) -> None:
    write_fif(path, x, ch_names=names, sfreq=sfreq, patient="X")


def _write_eeglab(**options: Any) -> Write:
    def write(path: Path, x: np.ndarray, names: Sequence[str], sfreq: int) -> None:
        content = x.reshape(len(x), -1, 2, order="F") if options.get("epochs") else x
        kept = {key: value for key, value in options.items() if key != "epochs"}
        laboratory.write_eeglab(path, content.astype(np.float32), ch_names=names, sfreq=sfreq, **kept)

    return write


def _read_eeglab_epochs(path: Path) -> np.ndarray:
    import mne

    n_times = slow_noise().shape[1] // 2
    events = np.array([[0, 0, 1], [n_times, 0, 1]])
    epochs = mne.io.read_epochs_eeglab(path, events=events, event_id={"x": 1}, verbose="ERROR").get_data() * 1e6
    return np.concatenate(list(epochs), axis=1)


def _write_array(path: Path, x: np.ndarray, names: Sequence[str], sfreq: int) -> None:
    write_array(path, x, matlab_7_3=path.stem == "new")


def _write_table(path: Path, x: np.ndarray, names: Sequence[str], sfreq: int) -> None:
    write_table(path, x, ch_names=names)


def _write_mff(path: Path, x: np.ndarray, names: Sequence[str], sfreq: int) -> None:
    # 32 and 64 electrodes and the vertex
    clinical.write_egi_mff(path, [np.vstack([x, np.zeros(x.shape[1])])], sfreq=sfreq)


def _plain(write: Callable[..., None]) -> Write:
    def call(path: Path, x: np.ndarray, names: Sequence[str], sfreq: int) -> None:
        write(path, x, ch_names=names, sfreq=sfreq)

    return call


def _write_nihon(path: Path, x: np.ndarray, names: Sequence[str], sfreq: int) -> None:
    clinical.write_nihon_kohden(path, [x], ch_names=names, sfreq=sfreq, events=[(2, "eyes closed")])


def _write_micromed(path: Path, x: np.ndarray, names: Sequence[str], sfreq: int) -> None:
    clinical.write_micromed(path, [x], ch_names=names, sfreq=sfreq)


def _write_egi_raw(path: Path, x: np.ndarray, names: Sequence[str], sfreq: int) -> None:
    clinical.write_egi_raw(path, x, sfreq=sfreq, version=4, events=[("DIN1", 200, 20)])


FORMATS: tuple[Format, ...] = (
    Format(name="edf", file="x.edf", write=_write_edf, reference=_pyedflib, by="pyedflib", is_new=False),
    Format(name="bdf", file="x.bdf", write=_write_edf, reference=_pyedflib, by="pyedflib", is_new=False),
    Format(name="brainvision", file="x.vhdr", write=_plain(write_brainvision), reference=_mne("read_raw_brainvision"),
           by="mne", is_new=False),
    Format(name="fif", file="x_raw.fif", write=_write_fif, reference=_mne("read_raw_fif"), by="mne", library=True,
           is_new=False),
    Format(name="eeglab", file="x.set", write=_write_eeglab(), reference=_mne("read_raw_eeglab"), by="mne",
           library=True, is_new=False),
    Format(name="eeglab_epochs", file="x.set", write=_write_eeglab(epochs=True), reference=_read_eeglab_epochs,
           by="mne", library=True),
    Format(name="eeglab_7_3", file="x.set", write=_write_eeglab(hdf5=True), reference=_mne("read_raw_eeglab"),
           by="mne, pymatreader", library=True),
    Format(name="mat", file="old.mat", write=_write_array, reference=_scipy, by="scipy", library=True, is_new=False),
    Format(name="mat_7_3", file="new.mat", write=_write_array, reference=_pymatreader, by="pymatreader", library=True),
    Format(name="npz", file="x.npz", write=_write_array, reference=_numpy, by="numpy", library=True),
    Format(name="npy", file="x.npy", write=_write_array, reference=_numpy, by="numpy", library=True),
    Format(name="h5", file="x.h5", write=_write_array, reference=_h5py, by="h5py", library=True),
    Format(name="csv", file="x.csv", write=_write_table, reference=_pandas, by="pandas", is_new=False),
    Format(name="parquet", file="x.parquet", write=_write_table, reference=_pandas, by="pandas", is_new=False),
    Format(name="nihon_kohden", file="x.EEG", write=_write_nihon, reference=_mne("read_raw_nihon"), by="mne",
           library=True),
    Format(name="persyst", file="x.lay", write=_plain(clinical.write_persyst), reference=_mne("read_raw_persyst"),
           by="mne"),
    Format(name="nicolet", file="x.head", write=_plain(clinical.write_nicolet),
           reference=_mne("read_raw_nicolet", ".data", ch_type="eeg"), by="mne"),
    Format(name="neuroscan", file="x.cnt", write=_plain(clinical.write_neuroscan), reference=_mne("read_raw_cnt"),
           by="mne", library=True),
    Format(name="ant", file="x.cnt", write=None, reference=_mne("read_raw_ant"), by="mne, antio", library=True,
           real="formats/ant-andy101/*.cnt"),
    Format(name="gdf", file="x.gdf", write=_plain(clinical.write_gdf), reference=_mne("read_raw_gdf"), by="mne",
           library=True),
    Format(name="curry", file="x.cdt", write=_plain(clinical.write_curry), reference=_mne("read_raw_curry"), by="mne",
           library=True),
    Format(name="egi_raw", file="x.raw", write=_write_egi_raw, reference=_mne("read_raw_egi"), by="mne"),
    Format(name="egi_mff", file="x.mff", write=_write_mff, reference=_mne("read_raw_egi"), by="mne, mffpy",
           library=True),
    Format(name="micromed", file="x.TRC", write=_write_micromed, reference=_neo, by="neo", library=True),
    Format(name="xdf", file="x.xdf", write=_plain(laboratory.write_xdf), reference=_pyxdf, by="pyxdf", library=True),
    Format(name="wfdb", file="x.hea", write=_plain(laboratory.write_wfdb), reference=_wfdb, by="wfdb", library=True),
    Format(name="openvibe", file="x.ov", write=_plain(laboratory.write_openvibe),
           reference=lambda path: slow_noise(), by="the samples written"),
)  # fmt: skip


def slow_noise() -> np.ndarray:
    """Return 16 s of slow noise in tenths of µV, shape (32, 3200)."""
    steps = np.random.default_rng(0).normal(0, 3, (len(NAMES), 16 * SFREQ)).cumsum(axis=1)
    ramp = np.linspace(0, 1, steps.shape[1])
    return np.round(steps - steps[:, -1:] * ramp, 1)
