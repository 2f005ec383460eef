"""Recordings in files of named arrays: .mat of any version, .npz, .npy, .h5. A layout says which array is what.

MATLAB 7.3 and other HDF5 are opened and read by range in a process of their own; .npy is mapped; .mat of older versions
and .npz are decoded once, and the two last ones stay in memory.
"""

import re
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import numpy as np

from signals.readers.channels.units import channel_notes, scaling_of
from signals.readers.isolated import open_isolated
from signals.readers.layouts.hdf5 import Array, arrays, is_hdf5, open_hdf5, read_range, value
from signals.readers.layouts.layout import Layout, layouts_of
from signals.readers.matlab import check_matlab
from signals.readers.matrix import Matrix, matrix_reader
from signals.readers.numbers import finite
from signals.recording.recording import Recording, Segment, UnreadableError

_NUMERIC = {"double", "single", "int8", "uint8", "int16", "uint16", "int32", "uint32", "int64",
            "uint64"}  # fmt: skip
"""Classes of MATLAB that can hold samples."""


@dataclass(frozen=True)
class Contents:
    """What a file of arrays holds, and how a part of it is read."""

    form: str
    """Of `signals.readers.layouts.layout.ARRAYS`."""
    found: tuple[Array, ...]
    read_value: Callable[[str], Any]
    """Returns a small array, a number or a list of text by its name."""
    load: Callable[[str, int], Callable[[], Any]]
    """(name, time axis) -> what loads the array, shape (n_chans, n_times)."""
    texts: tuple[str, ...] = ()
    """Names of what holds text, where the format lists it."""


def open_arrays(path: Path, declared: Sequence[Layout] = (), *, is_known: bool = False) -> Recording:
    """Return the recording in a file of arrays of a declared or known layout.

    A .mat file of an older version is decoded in a process of its own before it is in this one, unless it `is_known` to
    be sound. Raises UnreadableError: "unsupported_format" for content that no layout describes, "missing_library" for
    HDF5 without h5py, "no_samples", "reader_crashed".
    """
    if is_hdf5(path):
        return open_isolated(_Hdf5Opener("mat" if path.suffix.lower() == ".mat" else "h5", tuple(declared)), path)
    if path.suffix.lower() not in (".npz", ".npy") and not is_known:
        check_matlab(path)
    return _recording(path, contents_of(path), declared)


def contents_of(path: Path) -> Contents:
    """Return what an .npz, .npy or .mat of MATLAB 5 holds. Raises UnreadableError "corrupt_header"."""
    return {".npz": _npz_contents, ".npy": _npy_contents}.get(path.suffix.lower(), _mat_contents)(path)


def _recording(path: Path, contents: Contents, declared: Sequence[Layout]) -> Recording:
    layout, array = _recognise(path, contents, layouts_of(contents.form, declared))
    sfreq = _sfreq(layout, contents)
    labels = _labels(layout, contents, array.shape[1 - layout.time_axis])
    picks = [row for row, label in enumerate(labels) if label]
    ch_names = tuple(labels[row] for row in picks)
    n_times = array.shape[layout.time_axis]
    if n_times == 0:
        raise UnreadableError("no_samples", f"an array of shape {array.shape}")
    scalings = [scaling_of(name, layout.unit) for name in ch_names]
    factors = tuple(scaling.factor for scaling in scalings)
    load = contents.load(array.name, layout.time_axis)
    return Recording(
        uri=str(path),
        reader=f"{contents.form}/{layout.name}",
        ch_names=ch_names,
        sensor_types=tuple(scaling.sensor_type for scaling in scalings),
        sfreqs=(sfreq,) * len(ch_names),
        segments=(Segment(0.0, n_times / sfreq),),
        read_samples=matrix_reader(Matrix(load, factors, (0,), offset=layout.offset, rows=tuple(picks))),
        reference=layout.reference,
        notes=(*layout.notes, *channel_notes(ch_names, scalings)),
    )


def _recognise(path: Path, contents: Contents, layouts: Any) -> tuple[Layout, Array]:
    """Return the first layout that the file is of, and its array."""
    for layout in layouts:
        fitting = [array for array in contents.found if _fits(layout, array, path, contents)]
        if layout.variable and fitting:
            return layout, fitting[0]
        if len(fitting) == 1:
            return layout, fitting[0]
    if path.suffix.lower() == ".mat" and path.with_suffix(".hea").is_file():
        raise UnreadableError("unsupported_format", "a side file; open its .hea")
    # Shapes only: variables may be named as the person.
    listed = ", ".join(str(array.shape) for array in contents.found[:5])
    raise UnreadableError("unsupported_format", f"no declared layout fits arrays of shapes {listed or '(none)'}")


def _fits(layout: Layout, array: Array, path: Path, contents: Contents) -> bool:
    if len(array.shape) != 2:
        return False
    n_chans, n_times = array.shape[1 - layout.time_axis], array.shape[layout.time_axis]
    if layout.variable:
        pattern = layout.variable.replace("{stem}", re.escape(path.stem.rpartition("_")[2]))
        plausible = re.fullmatch(pattern, array.name) is not None
    else:
        plausible = n_times > n_chans
    return plausible and (bool(layout.ch_names_from) or n_chans == len(layout.ch_names))


def _sfreq(layout: Layout, contents: Contents) -> float:
    """Return the rate of the layout, of the file, or of both where they agree."""
    names = [array.name for array in contents.found if re.fullmatch(layout.sfreq_from or r"(?!)", array.name)]
    if not names:
        if layout.sfreq is None:
            raise UnreadableError(
                "unsupported_format", f"no variable of the name that layout {layout.name} gives the rate"
            )
        return layout.sfreq
    rates = np.ravel(np.asarray(contents.read_value(names[0]), dtype=np.float64))
    if rates.size != 1 or layout.sfreq not in (None, float(rates[0])):
        raise UnreadableError(
            "unsupported_format", f"{names[0]}={rates[:3]}, but the layout {layout.name} has {layout.sfreq} Hz"
        )
    return finite(rates[0], "the sampling rate", above=0)


def _labels(layout: Layout, contents: Contents, n_chans: int) -> tuple[str, ...]:
    """Return the label of each channel of the array, empty for one that is left out."""
    if not layout.ch_names_from:
        return layout.ch_names
    try:
        labels = contents.read_value(layout.ch_names_from)
    except KeyError:
        labels = None
    if not isinstance(labels, list) or len(labels) != n_chans or not all(isinstance(label, str) for label in labels):
        raise UnreadableError("unsupported_format", f"{layout.ch_names_from} does not name {n_chans} channels")
    return tuple(label.strip() for label in labels)


@dataclass(frozen=True)
class _Hdf5Opener:
    """Opens a file in the child process, to which the declared layouts travel along."""

    form: str
    declared: tuple[Layout, ...]

    def __call__(self, path: Path) -> Recording:
        with open_hdf5(path) as file:
            contents = Contents(
                self.form, tuple(arrays(file)), lambda name: value(file, file[name]), partial(_hdf5_load, str(path))
            )
            return _recording(path, contents, self.declared)


def _hdf5_load(path: str, name: str, time_axis: int) -> Callable[[], Any]:
    return partial(_Hdf5Range, path, name, time_axis)


@dataclass(frozen=True)
class _Hdf5Range:
    """An array of channels by times in an HDF5 file, of which a range of times can be taken."""

    path: str
    name: str
    time_axis: int

    def __getitem__(self, key: tuple[slice, slice]) -> np.ndarray:
        with open_hdf5(Path(self.path)) as file:
            return read_range(file, self.name, self.time_axis, key[1].start, key[1].stop)


def _mat_contents(path: Path) -> Contents:
    from scipy.io import whosmat

    listed = whosmat(str(path))
    found = [Array(name, shape, False, kind) for name, shape, kind in listed if kind in _NUMERIC]
    return Contents(
        "mat",
        tuple(found),
        partial(_mat_value, str(path)),
        partial(_decoded, _mat_array, str(path), path.stat().st_mtime_ns),
        texts=tuple(name for name, _, kind in listed if kind in ("cell", "char")),
    )


def _mat_value(path: str, name: str) -> Any:
    """Return a number, an array, or the texts of a cell array."""
    content = _mat_array(path, name)
    if content.dtype.kind == "O":
        return ["".join(map(str, np.ravel(cell))) for cell in np.ravel(content)]
    return list(map(str, content)) if content.dtype.kind == "U" else content


def _mat_array(path: str, name: str) -> np.ndarray:
    from scipy.io import loadmat

    array: np.ndarray = loadmat(path, variable_names=[name])[name]
    return array


def _npz_contents(path: Path) -> Contents:
    found, texts = [], []
    try:
        with zipfile.ZipFile(path) as archive:
            for member in archive.namelist():
                with archive.open(member) as file:
                    shape, dtype = _npy_header(file)
                if dtype.kind in "iuf":
                    found.append(Array(member.removesuffix(".npy"), shape, False, dtype.str))
                elif dtype.kind == "U":
                    texts.append(member.removesuffix(".npy"))
    except zipfile.BadZipFile as error:
        raise UnreadableError("corrupt_header", "a damaged .npz archive") from error
    stamp = path.stat().st_mtime_ns
    load = partial(_decoded, _npz_array, str(path), stamp)
    return Contents("npz", tuple(found), partial(_npz_value, str(path)), load, texts=tuple(texts))


def _npy_header(file: Any) -> tuple[tuple[int, ...], np.dtype]:
    version = np.lib.format.read_magic(file)
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, _, dtype = read(file)
    return shape, dtype


def _npz_value(path: str, name: str) -> Any:
    content = _npz_array(path, name)
    return list(map(str, np.ravel(content))) if content.dtype.kind == "U" else content


def _npz_array(path: str, name: str) -> np.ndarray:
    with np.load(path, allow_pickle=False) as archive:
        array: np.ndarray = archive[name]
        return array


def _decoded(
    read: Callable[[str, str], np.ndarray], path: str, mtime_ns: int, name: str, time_axis: int
) -> Callable[[], Any]:
    return partial(_decode, read, path, mtime_ns, name, time_axis)


@lru_cache(maxsize=2)
def _decode(read: Callable[[str, str], np.ndarray], path: str, mtime_ns: int, name: str, time_axis: int) -> np.ndarray:
    """Return the array, shape (n_chans, n_times); `mtime_ns` keeps the cache honest."""
    try:
        array = read(path, name)
    except Exception as error:  # whatever zlib, zipfile and SciPy make of damaged bytes
        raise UnreadableError("corrupt_header", f"a damaged array: {type(error).__name__}") from error
    return array if time_axis == 1 else array.T


def _npy_contents(path: Path) -> Contents:
    with path.open("rb") as file:
        shape, dtype = _npy_header(file)
    found = (Array("array", shape, False, dtype.str),) if dtype.kind in "iuf" else ()
    if found:
        try:
            _npy_map(str(path), 1)
        except ValueError as error:
            raise UnreadableError("corrupt_header", "fewer bytes than the header promises") from error
    return Contents("npy", found, _no_value, partial(_npy_load, str(path)))


def _no_value(name: str) -> Any:
    raise KeyError(name)


def _npy_load(path: str, name: str, time_axis: int) -> Callable[[], Any]:
    return partial(_npy_map, path, time_axis)


def _npy_map(path: str, time_axis: int) -> np.ndarray:
    array: np.ndarray = np.load(path, mmap_mode="r", allow_pickle=False)
    return array if time_axis == 1 else array.T
