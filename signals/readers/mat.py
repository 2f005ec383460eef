"""MATLAB files of known laboratories: each form is declared in MAT_FORMS; one more laboratory is one more entry."""

import re
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path

import numpy as np

from signals.modality import EEG_1020
from signals.readers.matrix import Matrix, matrix_reader
from signals.readers.units import channel_notes, scaling_of
from signals.recording.recording import Recording, Segment, UnreadableError

_HDF5_MAGIC = b"\x89HDF\r\n\x1a\n"


@dataclass(frozen=True, kw_only=True)
class MatForm:
    """How one laboratory lays a recording into a .mat file."""

    name: str
    variable: str
    """Regular expression that the variable's whole name matches; {stem} is the last part of the file's stem."""
    ch_names: tuple[str, ...]
    sfreq: float
    """Hz; such files do not say it, and one that says another rate is refused."""
    unit: str
    """As in `signals.readers.units`; empty where nobody says it."""
    time_axis: int
    """0 for samples x channels, 1 for channels x samples."""


_TEHRAN = ("Fp1", "Fp2", "F3", "F4", "C3", "C4", "P3", "P4", "O1", "O2", "F7", "F8", "T7", "T8", "P7", "P8", "Fz", "Cz",
           "Pz")  # fmt: skip

MAT_FORMS: tuple[MatForm, ...] = (
    # Segments of IIIC/SPaRCNet (Jing et al., Neurology 2023): rows in the order of the HMS competition, EKG last.
    MatForm(
        name="iiic-sparcnet", variable="seg|data", ch_names=(*EEG_1020.ch_names, "EKG"), sfreq=200.0, unit="µV",
        time_axis=1,
    ),
    # "EEG data for ADHD / control children" (Nasrabadi et al., IEEE DataPort 2020); the variable is named as the file.
    MatForm(
        name="tehran-adhd", variable=r"{stem}|v\d+p?",
        ch_names=_TEHRAN, sfreq=128.0, unit="",
        time_axis=0,
    ),
)  # fmt: skip


def open_mat(path: Path) -> Recording:
    """Return the recording in a .mat file of a declared form.

    Raises UnreadableError: "unsupported_format" for MATLAB 7.3 files and for content that no form describes,
    "no_samples".
    """
    refuse_hdf5(path)
    form, variable, n_times = _recognise(path)
    scalings = [scaling_of(name, form.unit) for name in form.ch_names]
    load = partial(_load, str(path), path.stat().st_mtime_ns, variable, form.time_axis)
    return Recording(
        uri=str(path),
        reader=f"mat/{form.name}",
        ch_names=form.ch_names,
        sensor_types=tuple(scaling.sensor_type for scaling in scalings),
        sfreqs=(form.sfreq,) * len(form.ch_names),
        segments=(Segment(0.0, n_times / form.sfreq),),
        read_samples=matrix_reader(Matrix(load, tuple(scaling.factor for scaling in scalings), (0,))),
        notes=channel_notes(form.ch_names, scalings),
    )


def refuse_hdf5(path: Path) -> None:
    """Raise UnreadableError "unsupported_format" for a MATLAB 7.3 (HDF5) file."""
    with path.open("rb") as file:
        head = file.read(520)
    if head.startswith((b"MATLAB 7.3", _HDF5_MAGIC)) or head[512:520] == _HDF5_MAGIC:
        raise UnreadableError("unsupported_format", "a MATLAB 7.3 (HDF5) file; save it again with '-v7' or '-v6'")


def _recognise(path: Path) -> tuple[MatForm, str, int]:
    """Return the form, the name of its variable and the number of samples, from the table of contents."""
    from scipy.io import whosmat

    contents = whosmat(str(path))
    stem = re.escape(path.stem.rpartition("_")[2])
    for form in MAT_FORMS:
        pattern = form.variable.replace("{stem}", stem)
        for variable, shape, kind in contents:
            numeric = kind in ("double", "single", "int16", "int32")
            fits = len(shape) == 2 and shape[1 - form.time_axis] == len(form.ch_names)
            if numeric and fits and re.fullmatch(pattern, variable):
                _refuse_other_rate(path, form, [name for name, _, _ in contents])
                if shape[form.time_axis] == 0:
                    raise UnreadableError("no_samples", f"{variable} has shape {shape}")
                return form, variable, shape[form.time_axis]
    # Shapes only: variables may be named as the person.
    listed = ", ".join(str(shape) for _, shape, _ in contents[:5])
    raise UnreadableError("unsupported_format", f"no declared form fits variables of shapes {listed or '(none)'}")


def _refuse_other_rate(path: Path, form: MatForm, variables: list[str]) -> None:
    from scipy.io import loadmat

    for name in {"Fs", "fs", "srate", "sfreq"} & set(variables):
        said = np.ravel(loadmat(str(path), variable_names=[name])[name])
        if said.size != 1 or float(said[0]) != form.sfreq:
            raise UnreadableError(
                "unsupported_format", f"{name}={said[:3]}, but the form {form.name} has {form.sfreq} Hz"
            )


@lru_cache(maxsize=2)
def _load(path: str, mtime_ns: int, variable: str, time_axis: int) -> np.ndarray:
    """Return the matrix, shape (n_chans, n_times); `mtime_ns` keeps the cache honest."""
    from scipy.io import loadmat

    array = loadmat(path, variable_names=[variable])[variable]
    return array if time_axis == 1 else array.T
