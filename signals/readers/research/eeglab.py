"""EEGLAB .set files, with samples inside or in a .fdt file beside them. EEGLAB's unit is µV."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import numpy as np

from signals.readers.channels.units import channel_notes, scaling_of
from signals.readers.isolated import TIMEOUT_S, open_isolated
from signals.readers.isolation import run_isolated
from signals.readers.layouts.hdf5 import entries, is_hdf5, open_hdf5, value
from signals.readers.matlab import check_matlab, load_matlab
from signals.readers.matrix import Matrix, Sliceable, cut_segments, matrix_reader, onset_of_sample
from signals.recording.recording import Annotation, Recording, UnreadableError

_SCALARS = ("nbchan", "pnts", "trials", "srate", "subject", "ref")


def open_eeglab(path: Path, *, is_known: bool = False) -> Recording:
    """Return the recording in a .set file; "boundary" events cut it into segments, and so do epochs.

    MATLAB 7.3 files are opened and read by h5py in a process of its own; others are decoded there once, by SciPy,
    before they are in this one, unless the file `is_known` to be sound. Raises UnreadableError: "missing_file" for
    a missing .fdt, "missing_library", "corrupt_header", "reader_crashed".
    """
    if is_hdf5(path):
        return open_isolated(_open_hdf5, path)
    if not is_known:
        check_matlab(path)
    eeg = _load_struct(str(path), path.stat().st_mtime_ns)
    shape = None if isinstance(eeg["data"], str) else np.shape(np.atleast_2d(eeg["data"]))
    return _recording(path, eeg, shape, partial(_inline, str(path), path.stat().st_mtime_ns))


def _recording(
    path: Path, eeg: dict[str, Any], shape: tuple[int, ...] | None, inline: Callable[[], Sliceable]
) -> Recording:
    """Return the recording of a struct whose samples are `inline`, or in an .fdt file where `shape` is None."""
    sizes = _sizes(eeg)
    ch_names, kinds = _channels(eeg, sizes.n_chans)
    load = _samples(path, eeg, sizes, shape, inline)
    scalings = [scaling_of(name, "µV", sensor_type=kind) for name, kind in zip(ch_names, kinds, strict=True)]
    events = _events(eeg)
    cuts = _boundaries(events, sizes.sfreq) + [(k * sizes.n_times, 0.0) for k in range(1, sizes.n_trials)]
    starts, segments = cut_segments(sizes.n_times * sizes.n_trials, sizes.sfreq, cuts)
    factors = tuple(scaling.factor for scaling in scalings)
    return Recording(
        uri=str(path),
        reader="eeglab",
        ch_names=ch_names,
        sensor_types=tuple(scaling.sensor_type for scaling in scalings),
        sfreqs=(sizes.sfreq,) * sizes.n_chans,
        segments=tuple(segments),
        read_samples=matrix_reader(Matrix(load, factors, tuple(starts))),
        annotations=tuple(
            Annotation(onset_of_sample(latency, sizes.sfreq, starts, segments), duration / sizes.sfreq, kind)
            for kind, latency, duration in events
            if kind != "boundary"
        ),
        patient=_text(eeg.get("subject")),
        reference=_text(eeg.get("ref")),
        notes=(
            *channel_notes(ch_names, scalings),
            *(["epochs"] * (sizes.n_trials > 1)),
            *(["gaps"] * (len(segments) > 1)),
        ),
    )


def eeglab_files(path: Path) -> tuple[Path, ...]:
    """Return the .set file and its .fdt, if it has one."""
    if is_hdf5(path):
        data: Any = run_isolated(_hdf5_data_name, str(path), timeout_s=TIMEOUT_S)
    else:
        data = _load_struct(str(path), path.stat().st_mtime_ns).get("data")
    side = _side_file(path, data) if isinstance(data, str) else None
    return (path,) if side is None else (path, side)


@lru_cache(maxsize=2)
def _load_struct(path: str, mtime_ns: int) -> dict[str, Any]:
    """Return the EEG struct as a dict; `mtime_ns` keeps the cache honest."""
    content = load_matlab(path)
    eeg = content.get("EEG", content)  # newer files hold the struct's fields as variables
    if not isinstance(eeg, dict) or not {"nbchan", "pnts", "srate", "data"} <= set(eeg):
        raise UnreadableError("not_what_it_says", "a MATLAB file without EEGLAB's fields")
    return eeg


def _open_hdf5(path: Path) -> Recording:
    """Return the recording in a MATLAB 7.3 file; samples inside of it are read by range."""
    with open_hdf5(path) as file:
        root = file.get("EEG", file)
        if not {"nbchan", "pnts", "srate", "data"} <= set(root):
            raise UnreadableError("not_what_it_says", "a MATLAB file without EEGLAB's fields")
        eeg = {key: value(file, root[key]) for key in _SCALARS if key in root}
        eeg |= {key: entries(file, root[key]) for key in ("chanlocs", "event") if key in root}
        node, name = root["data"], str(root["data"].name)
        is_name = node.attrs.get("MATLAB_class", b"") == b"char"
        eeg["data"] = value(file, node) if is_name else None
        shape = None if is_name else tuple(int(n) for n in node.shape[::-1])
    return _recording(path, eeg, shape, partial(_Hdf5Samples, str(path), name))


def _hdf5_data_name(path: str) -> str | None:
    """Return the name of the .fdt file that a MATLAB 7.3 file gives, None where samples are inside."""
    with open_hdf5(Path(path)) as file:
        node = (file.get("EEG", file)).get("data")
        is_name = node is not None and node.attrs.get("MATLAB_class", b"") == b"char"
        return str(value(file, node)) if is_name else None


@dataclass(frozen=True)
class _Sizes:
    n_chans: int
    n_times: int
    """Per epoch."""
    n_trials: int
    sfreq: float


def _sizes(eeg: dict[str, Any]) -> _Sizes:
    try:
        n_chans, n_times, n_trials, sfreq = (float(eeg.get(key, 1)) for key in ("nbchan", "pnts", "trials", "srate"))
    except (TypeError, ValueError) as error:
        raise UnreadableError("corrupt_header", "nbchan, pnts, trials and srate are not numbers") from error
    counts = (n_chans, n_times, n_trials)
    if not (0 < n_chans < 1e5 and all(n.is_integer() and abs(n) < 1e12 for n in counts) and 0 < sfreq < 1e7):
        raise UnreadableError("corrupt_header", f"nbchan={n_chans:g} pnts={n_times:g} srate={sfreq:g}")
    if n_times < 1:
        raise UnreadableError("no_samples", f"pnts={n_times:g}")
    return _Sizes(int(n_chans), int(n_times), max(int(n_trials), 1), sfreq)


def _channels(eeg: dict[str, Any], n_chans: int) -> tuple[tuple[str, ...], list[str | None]]:
    """Return labels, and the sensor types that the file itself gives (None where it leaves that to the label)."""
    places = _entries(eeg.get("chanlocs"))
    if len(places) != n_chans:
        raise UnreadableError("corrupt_header", f"{len(places)} channel labels for {n_chans} channels")
    types = [_text(place.get("type")).lower() for place in places]
    known = {"eog": "eog", "emg": "emg", "ecg": "ecg", "ekg": "ecg"}
    return tuple(_text(place.get("labels")) for place in places), [known.get(kind) for kind in types]


def _entries(struct_array: Any) -> list[dict[str, Any]]:
    """Return the entries of a struct array, however few they are."""
    if isinstance(struct_array, dict):
        return [struct_array]
    return [entry for entry in np.atleast_1d(np.asarray(struct_array, dtype=object)) if isinstance(entry, dict)]


def _text(value: Any) -> str:
    return str(value).strip() if isinstance(value, str | int | float) else ""


def _samples(
    path: Path, eeg: dict[str, Any], sizes: _Sizes, shape: tuple[int, ...] | None, inline: Callable[[], Sliceable]
) -> Callable[[], Sliceable]:
    """Return what loads the samples, shape (n_chans, n_times x n_trials), after comparing sizes."""
    n_times = sizes.n_times * sizes.n_trials
    if shape is not None:
        if shape not in ((sizes.n_chans, n_times), (sizes.n_chans, sizes.n_times, sizes.n_trials)):
            raise UnreadableError(
                "corrupt_header", f"data of shape {shape} for {sizes.n_chans} channels, {n_times} times"
            )
        return inline
    side = _side_file(path, eeg["data"])
    if side is None:
        raise UnreadableError("missing_file", "the .fdt that the .set file names is not beside it")
    if side.stat().st_size != 4 * sizes.n_chans * n_times:
        raise UnreadableError("corrupt_header", f"{side.stat().st_size} bytes for {sizes.n_chans} x {n_times} float32")
    return partial(_map, str(side), sizes.n_chans, n_times)


def _side_file(path: Path, name: str) -> Path | None:
    """Return the data file as named, or, after a renaming, the one named as the .set file."""
    named = path.with_name(name.strip().replace("\\", "/").split("/")[-1] or path.name)
    return next((side for side in (named, path.with_suffix(".fdt")) if side.is_file() and side != path), None)


def _map(path: str, n_chans: int, n_times: int) -> np.ndarray:
    return np.memmap(path, dtype="<f4", mode="r", shape=(n_times, n_chans)).T


def _inline(path: str, mtime_ns: int) -> np.ndarray:
    data = np.atleast_2d(_load_struct(path, mtime_ns)["data"])
    return data.reshape(len(data), -1, order="F")


class _Hdf5Samples:
    """Samples in a MATLAB 7.3 file, as an array of channels by times of which a range of times can be taken."""

    def __init__(self, path: str, name: str) -> None:
        self._path, self._name = path, name

    def __getitem__(self, key: tuple[slice, slice]) -> np.ndarray:
        _, times = key
        with open_hdf5(Path(self._path)) as file:
            dataset = file[self._name]  # shape (n_times, n_chans) or (n_trials, n_times, n_chans)
            if dataset.ndim == 2:
                return dataset[times].T
            trial, start = divmod(times.start, dataset.shape[1])
            return dataset[trial, start : start + times.stop - times.start].T


def _events(eeg: dict[str, Any]) -> list[tuple[str, float, float]]:
    """Return type, sample (from 0) and duration in samples of each event; events without a latency are skipped."""
    events = []
    for event in _entries(eeg.get("event")):
        latency, duration = _float(event.get("latency")), _float(event.get("duration"))
        if latency is not None:
            events.append((_text(event.get("type")), latency - 1.0, max(duration or 0.0, 0.0)))
    return events


def _float(value: Any) -> float | None:
    return float(value) if isinstance(value, int | float) and math.isfinite(value) else None


def _boundaries(events: list[tuple[str, float, float]], sfreq: float) -> list[tuple[int, float]]:
    """Return (first sample after it, seconds removed) of each boundary; EEGLAB puts it half a sample before."""
    return [(math.ceil(sample), removed / sfreq) for kind, sample, removed in events if kind == "boundary"]
