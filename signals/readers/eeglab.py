"""EEGLAB .set files, with samples inside or in a .fdt file beside them. EEGLAB's unit is µV."""

import math
from collections.abc import Callable
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import numpy as np

from signals.readers.mat import refuse_hdf5
from signals.readers.matrix import Matrix, cut_segments, matrix_reader, onset_of_sample
from signals.readers.units import channel_notes, scaling_of
from signals.recording.recording import Annotation, Recording, UnreadableError


def open_eeglab(path: Path) -> Recording:
    """Return the continuous recording in a .set file; "boundary" events cut it into segments.

    Raises UnreadableError: "unsupported_format" for MATLAB 7.3 files and epoched data, "missing_file" for a missing
    .fdt, "corrupt_header".
    """
    refuse_hdf5(path)
    eeg = _load_struct(str(path), path.stat().st_mtime_ns)
    n_chans, n_times, sfreq = _sizes(eeg)
    ch_names, kinds = _channels(eeg, n_chans)
    load = _samples(path, eeg, n_chans, n_times)
    scalings = [scaling_of(name, "µV", sensor_type=kind) for name, kind in zip(ch_names, kinds, strict=True)]
    events = _events(eeg)
    starts, segments = cut_segments(n_times, sfreq, _boundaries(events, sfreq))
    factors = tuple(scaling.factor for scaling in scalings)
    return Recording(
        uri=str(path),
        reader="eeglab",
        ch_names=ch_names,
        sensor_types=tuple(scaling.sensor_type for scaling in scalings),
        sfreqs=(sfreq,) * n_chans,
        segments=tuple(segments),
        read_samples=matrix_reader(Matrix(load, factors, tuple(starts))),
        annotations=tuple(
            Annotation(onset_of_sample(latency, sfreq, starts, segments), duration / sfreq, kind)
            for kind, latency, duration in events
            if kind != "boundary"
        ),
        patient=_text(eeg.get("subject")),
        reference=_text(eeg.get("ref")),
        notes=(*channel_notes(ch_names, scalings), *(["gaps"] * (len(segments) > 1))),
    )


def eeglab_files(path: Path) -> tuple[Path, ...]:
    """Return the .set file and its .fdt, if it has one."""
    refuse_hdf5(path)
    data = _load_struct(str(path), path.stat().st_mtime_ns).get("data")
    side = _side_file(path, data) if isinstance(data, str) else None
    return (path,) if side is None else (path, side)


@lru_cache(maxsize=2)
def _load_struct(path: str, mtime_ns: int) -> dict[str, Any]:
    """Return the EEG struct as a dict; `mtime_ns` keeps the cache honest."""
    from scipy.io import loadmat

    content = loadmat(path, simplify_cells=True)
    eeg = content.get("EEG", content)  # newer files hold the struct's fields as variables
    if not isinstance(eeg, dict) or not {"nbchan", "pnts", "srate", "data"} <= set(eeg):
        raise UnreadableError("not_what_it_says", "a MATLAB file without EEGLAB's fields")
    return eeg


def _sizes(eeg: dict[str, Any]) -> tuple[int, int, float]:
    try:
        n_chans, n_times, n_trials, sfreq = (float(eeg.get(key, 1)) for key in ("nbchan", "pnts", "trials", "srate"))
    except (TypeError, ValueError) as error:
        raise UnreadableError("corrupt_header", "nbchan, pnts, trials and srate are not numbers") from error
    if n_trials > 1:
        raise UnreadableError("unsupported_format", f"epoched data ({n_trials:g} trials); a continuous file is needed")
    if not (0 < n_chans < 1e5 and n_chans.is_integer() and n_times.is_integer() and 0 < sfreq < 1e7):
        raise UnreadableError("corrupt_header", f"nbchan={n_chans:g} pnts={n_times:g} srate={sfreq:g}")
    if n_times < 1:
        raise UnreadableError("no_samples", f"pnts={n_times:g}")
    return int(n_chans), int(n_times), sfreq


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


def _samples(path: Path, eeg: dict[str, Any], n_chans: int, n_times: int) -> Callable[[], np.ndarray]:
    data = eeg["data"]
    if not isinstance(data, str):
        shape = np.shape(np.atleast_2d(data))
        if shape != (n_chans, n_times):
            raise UnreadableError("corrupt_header", f"data of shape {shape} for {n_chans} channels, {n_times} times")
        return partial(_inline, str(path), path.stat().st_mtime_ns)
    side = _side_file(path, data)
    if side is None:
        raise UnreadableError("missing_file", "the .fdt that the .set file names is not beside it")
    if side.stat().st_size != 4 * n_chans * n_times:
        raise UnreadableError("corrupt_header", f"{side.stat().st_size} bytes for {n_chans} x {n_times} float32")
    return partial(_map, str(side), n_chans, n_times)


def _side_file(path: Path, name: str) -> Path | None:
    """Return the data file as named, or, after a renaming, the one named as the .set file."""
    named = path.with_name(name.strip().replace("\\", "/").split("/")[-1] or path.name)
    return next((side for side in (named, path.with_suffix(".fdt")) if side.is_file() and side != path), None)


def _map(path: str, n_chans: int, n_times: int) -> np.ndarray:
    return np.memmap(path, dtype="<f4", mode="r", shape=(n_times, n_chans)).T


def _inline(path: str, mtime_ns: int) -> np.ndarray:
    return np.atleast_2d(_load_struct(path, mtime_ns)["data"])


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
