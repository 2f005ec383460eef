"""Every format: is it read, does it equal its library, what becomes of damaged files, what memory does an hour take?

`python -m benchmarks formats`. Files are written here, by the format's library where it can write; where
CEREBEAM_REAL_DATA is set, ANT's .cnt, which nothing writes, is taken from there, and the odd files are counted.
"""

import argparse
import os
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.drills.fuzzing.children import Series, fuzz
from benchmarks.drills.fuzzing.damages import PARTS
from benchmarks.harness import figure, machine, run
from signals.readers.channels.channel_maps import ChannelMap
from signals.readers.declaration import Declaration
from signals.readers.layouts.layout import layout_of
from signals.readers.registry import open_recording
from signals.recording.recording import Recording, UnreadableError
from synthetic.recordings import clinical_files as clinical
from synthetic.recordings import laboratory_files as laboratory
from synthetic.recordings.files import write_edf, write_fif
from synthetic.recordings.float_files import write_array, write_brainvision, write_table

SFREQ = 200
NAMES = ("Fp1", "Fp2", "F3", "F4", "C3", "C4", "P3", "P4", "O1", "O2", "F7", "F8", "T3", "T4", "T5", "T6", "Fz", "Cz",
         "Pz", "Oz", "FC1", "FC2", "CP1", "CP2", "FC5", "FC6", "CP5", "CP6", "AF3", "AF4", "PO3", "PO4")  # fmt: skip
"""Thirty-two, for EGI's nets come in that number."""
HOUR_CHANNELS, HOUR_HZ = 64, 256
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

    n_times = _signal().shape[1] // 2
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
           reference=lambda path: _signal(), by="the samples written"),
)  # fmt: skip


def _signal() -> np.ndarray:
    """Return 16 s of slow noise in tenths of µV, shape (32, 3200)."""
    steps = np.random.default_rng(0).normal(0, 3, (len(NAMES), 16 * SFREQ)).cumsum(axis=1)
    ramp = np.linspace(0, 1, steps.shape[1])
    return np.round(steps - steps[:, -1:] * ramp, 1)


def declared(path: Path) -> Declaration:
    """Return how this bench's own arrays and tables are laid out, and its nets; children of the fuzz need it too."""
    if path.suffix in (".raw", ".mff"):
        net = tuple((f"E{number + 1}", label) for number, label in enumerate(NAMES))
        return Declaration(channel_map=ChannelMap(name="net", labels=net))
    layouts = []
    for n_chans, sfreq in ((len(NAMES), SFREQ), (HOUR_CHANNELS, HOUR_HZ)):
        labels = [*NAMES, *(f"X{k}" for k in range(n_chans - len(NAMES)))]
        common = {"channels": labels, "rate": sfreq, "unit": "µV"}
        arrays = {"formats": ["mat", "npz", "npy", "h5"], "variable": "eeg|array"}
        layouts.append(layout_of(common | arrays, name=f"bench-arrays-{n_chans}"))
        layouts.append(layout_of(common | {"formats": ["csv", "parquet"]}, name=f"bench-tables-{n_chans}"))
    return Declaration(layouts=tuple(reversed(layouts)))


def base_of(form: Format, folder: Path) -> Path | None:
    """Write the sound recording of a format into a folder of its own; None where there is neither writer nor file."""
    place = folder / f"{form.name}{PARTS}"
    place.mkdir()
    path = place / form.file
    if form.write is not None:
        form.write(path, _signal(), NAMES, SFREQ)
        return path
    root = os.environ.get("CEREBEAM_REAL_DATA")
    found = sorted(Path(root).glob(form.real)) if root else []
    if not found:
        return None
    path.write_bytes(found[0].read_bytes())
    return path


def samples(recording: Recording) -> np.ndarray:
    """Return all samples of all segments one after the other, shape (n_chans, n_times)."""
    picks = range(len(recording.ch_names))
    return np.concatenate([recording.read(picks, segment=k) for k in range(len(recording.segments))], axis=1)


def equals_reference(form: Format, path: Path) -> bool:
    """Return whether what we read is what another program reads, within the rounding of float32."""
    recording = open_recording(str(path), declared=declared(path))
    ours, theirs = samples(recording), np.asarray(form.reference(path))
    kinds = recording.sensor_types[: min(len(ours), len(theirs))]
    electric = [k for k, kind in enumerate(kinds) if kind in ("eeg", "eog", "emg")]
    if ours.shape[1] != theirs.shape[1] or not electric:
        return False
    return bool(np.abs(ours[electric] - theirs[electric]).max() <= form.tolerance_uv)


def try_formats(chosen: Sequence[Format], bases: dict[str, Path]) -> tuple[int, int]:
    """Print what is read and what equals its reference; returns both counts."""
    n_read = n_equal = 0
    for form in chosen:
        if form.name not in bases:
            print(f"{form.name:14s} no file: nothing writes it, and CEREBEAM_REAL_DATA is not set")
            continue
        began = time.perf_counter()
        try:
            recording = open_recording(str(bases[form.name]), declared=declared(bases[form.name]))
            equal = equals_reference(form, bases[form.name])
        except UnreadableError as error:
            print(f"{form.name:14s} refused: {error}")
            continue
        n_read, n_equal = n_read + 1, n_equal + equal
        source = "real file" if form.write is None else "written here"
        print(
            f"{form.name:14s} {len(recording.ch_names):3d} channels, {source}, "
            f"{'equals' if equal else 'DIFFERS FROM'} {form.by}, {time.perf_counter() - began:.1f} s"
        )
    return n_read, n_equal


def fuzz_formats(chosen: Sequence[Format], bases: dict[str, Path], n: int) -> int:
    """Damage each new format `n` times and print what became of it; returns how many files were lost."""
    n_lost = 0
    for form in chosen:
        if not form.is_new or form.name not in bases:
            continue
        began = time.perf_counter()
        base, declares = bases[form.name], "benchmarks.benches.recordings.formats:declared"
        series = Series(bases=(base,), seed=0, libraries=(base.suffix,) if form.library else (), declares=declares)
        outcomes = list(fuzz(series, range(n)))
        lost = [outcome for outcome in outcomes if outcome.is_lost]
        counts = Counter(outcome.result for outcome in outcomes if not outcome.is_lost)
        print(f"{form.name:14s} {dict(counts.most_common())}, {len(lost)} lost, {time.perf_counter() - began:.0f} s")
        for outcome in lost:
            print(f"    lost {outcome.number} ({outcome.seconds:.1f} s): {outcome.result}")
        n_lost += len(lost)
    return n_lost


def awkward_share() -> float | None:
    """Return the share of the odd files that open, None without CEREBEAM_REAL_DATA."""
    root = Path(os.environ.get("CEREBEAM_REAL_DATA", "/nonexistent"), "awkward")
    files = [path for path in sorted(root.glob("*/*")) if path.suffix not in (".eeg", ".vmrk")]
    if not files:
        return None
    refused = []
    for path in files:
        try:
            open_recording(str(path))
        except UnreadableError as error:
            refused.append(f"{path.name} ({error.reason})")
    print(f"odd files: {len(files) - len(refused)} of {len(files)} open; refused: {', '.join(refused)}")
    return 1 - len(refused) / len(files)


def memory_of_an_hour(chosen: Sequence[Format], folder: Path) -> None:
    """Print the peak memory of reading an hour of 64 channels in blocks of 10 s, our process and the library's."""
    labels = [*NAMES, *(f"X{k}" for k in range(HOUR_CHANNELS - len(NAMES)))]
    rng = np.random.default_rng(0)
    x = np.round(rng.normal(0, 3, (HOUR_CHANNELS, 3600 * HOUR_HZ)).cumsum(axis=1) % 400 - 200, 1)
    for form in chosen:
        if form.write is None or form.name == "csv":  # a text of 300 MB tells nothing new
            continue
        place = folder / f"hour-{form.name}"
        place.mkdir()
        path = place / form.file
        form.write(path, x, labels, HOUR_HZ)
        run(sys.executable, "-m", "benchmarks.benches.recordings.formats", "--read", path, "--name", form.name)
        for file in sorted(place.rglob("*"), reverse=True):
            file.unlink() if file.is_file() else file.rmdir()


def _peak_mb(pid: int) -> float:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next((int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM")), 0.0)


def _children() -> list[int]:
    """Return the processes that this one has started and that still run."""
    found = []
    for status in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = status.read_text().rpartition(")")[2].split()
        except OSError:  # it has just ended
            continue
        if int(fields[1]) == os.getpid():
            found.append(int(status.parent.name))
    return found


def read_in_blocks(path: Path, name: str) -> None:
    """Read a recording in blocks of 10 s and print the peak memory of this process and of the library's."""
    recording = open_recording(str(path), declared=declared(path))
    began = time.perf_counter()
    for segment in range(len(recording.segments)):
        n_times, step = recording.n_times(0, segment), round(10 * recording.sfreqs[0])
        for start in range(0, n_times, step):
            recording.read(
                range(len(recording.ch_names)), segment=segment, start=start, stop=min(start + step, n_times)
            )
    seconds = time.perf_counter() - began
    own, library = _peak_mb(os.getpid()), sum(_peak_mb(pid) for pid in _children())
    print(f"{name:14s} {own:.0f} MB here, {library:.0f} MB in the library's process, {seconds:.1f} s", flush=True)
    figure(f"formats_hour_{name}", own + library, "MB")


def main(argv: Sequence[str] | None = None) -> int:
    """Print the table and the figures; returns 1 where a damaged file was lost or a format differs."""
    parser = argparse.ArgumentParser(
        prog="benchmarks.benches.recordings.formats", description=(__doc__ or "").splitlines()[0]
    )
    parser.add_argument("--n", type=int, default=200, help="damages per new format; 0 for none")
    parser.add_argument("--formats", nargs="+", choices=[form.name for form in FORMATS], help="only these")
    parser.add_argument("--no_memory", action="store_true", help="leave the hour of 64 channels out")
    parser.add_argument("--read", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--name", default="", help=argparse.SUPPRESS)
    args = parser.parse_args(argv)
    if args.read:
        read_in_blocks(args.read, args.name)
        return 0
    print(machine())
    with tempfile.TemporaryDirectory() as folder:
        chosen = [form for form in FORMATS if args.formats is None or form.name in args.formats]
        written = {form.name: base_of(form, Path(folder)) for form in chosen}
        bases = {name: path for name, path in written.items() if path is not None}
        n_read, n_equal = try_formats(chosen, bases)
        share = awkward_share()
        n_lost = fuzz_formats(chosen, bases, args.n) if args.n else 0
        if not args.no_memory:
            memory_of_an_hour(chosen, Path(folder))
    figure("formats_read", n_read, "formats")
    figure("formats_checked_against_reference", n_equal, "formats")
    if args.n:
        figure("formats_fuzz_lost", n_lost, "files")
    if share is not None:
        figure("awkward_accepted_share", share, "of files")
    return int(n_lost > 0 or n_equal < n_read)


if __name__ == "__main__":
    sys.exit(main())
