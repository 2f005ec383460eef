"""MNE's FIF files, through MNE, by range.

The first look at a file happens in a process of its own (`signals.readers.isolation`); what opens there and gives its
first and last samples is then read in-process.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import numpy as np

from signals.readers.isolation import run_isolated
from signals.readers.sensor_types import sensor_type_of
from signals.readers.units import Scaling, channel_notes
from signals.recording.recording import SENSOR_TYPES, Annotation, Recording, Segment, UnreadableError

PROBE_TIMEOUT_S = 60.0
FIF_MAGIC = b"\x00\x00\x00\x64\x00\x00\x00\x1f"
"""Tag FIFF_FILE_ID (100) of type FIFFT_ID_STRUCT (31), big-endian."""

_VOLTS_TO_UNIT = {"eeg": 1e6, "eog": 1e6, "emg": 1e6, "ecg": 1e3}
_SKIP = "BAD_ACQ_SKIP"
"""How MNE marks stretches without data, which it fills with zeros."""


@dataclass(frozen=True, kw_only=True)
class _Probe:
    """What the child process found."""

    ch_names: tuple[str, ...]
    ch_types: tuple[str, ...]
    sfreq: float
    n_times: int
    events: tuple[tuple[float, float, str], ...]
    """Onset from the first sample, duration, description."""
    patient: str


def open_fif(path: Path) -> Recording:
    """Return the recording in a raw FIF file; V becomes µV (ECG: mV), channels of other kinds stay as they are.

    MNE looks at it in a process of its own. Raises UnreadableError: "unsupported_format" for FIF files without
    continuous data, "reader_crashed" or "reader_timeout" where MNE fails.
    """
    return _recording(path, run_isolated(probe_fif, str(path), timeout_s=PROBE_TIMEOUT_S))


def reopen_fif(path: Path) -> Recording:
    """Return the same as `open_fif` for a file that it has accepted before, without a process of its own."""
    return _recording(path, probe_fif(str(path)))


def _recording(path: Path, probe: _Probe) -> Recording:
    scalings = [_scaling(name, kind) for name, kind in zip(probe.ch_names, probe.ch_types, strict=True)]
    stretches = _stretches(probe)
    factors = np.array([scaling.factor for scaling in scalings])
    starts = tuple(start for start, _ in stretches)
    notes = [*channel_notes(probe.ch_names, scalings), *(["gaps"] * (len(stretches) > 1))]
    return Recording(
        uri=str(path),
        reader="fif",
        ch_names=probe.ch_names,
        sensor_types=tuple(scaling.sensor_type for scaling in scalings),
        sfreqs=(probe.sfreq,) * len(probe.ch_names),
        segments=tuple(Segment(start / probe.sfreq, (stop - start) / probe.sfreq) for start, stop in stretches),
        read_samples=partial(_read_samples, str(path), path.stat().st_mtime_ns, factors, starts),
        annotations=tuple(Annotation(*event) for event in probe.events if event[2] != _SKIP),
        patient=probe.patient,
        notes=tuple(notes),
    )


def probe_fif(path: str) -> _Probe:
    """Return the header of a raw FIF file after reading its first and last samples."""
    raw = _open_raw(path, Path(path).stat().st_mtime_ns)
    for sample in (0, raw.n_times - 1):
        raw.get_data(start=sample, stop=sample + 1)
    # MNE's onsets count from the start of the acquisition system, first_time before the first sample.
    events = zip(
        raw.annotations.onset - raw.first_time, raw.annotations.duration, raw.annotations.description, strict=True
    )
    subject = raw.info.get("subject_info") or {}
    return _Probe(
        ch_names=tuple(name.strip() for name in raw.ch_names),
        ch_types=tuple(raw.get_channel_types()),
        sfreq=float(raw.info["sfreq"]),
        n_times=int(raw.n_times),
        events=tuple((float(onset), float(duration), str(text)) for onset, duration, text in events),
        patient=" ".join(str(subject[key]) for key in ("his_id", "last_name", "first_name") if subject.get(key)),
    )


@lru_cache(maxsize=4)
def _open_raw(path: str, mtime_ns: int) -> Any:
    """Return MNE's lazy object, which opens the file for each read only; `mtime_ns` keeps the cache honest."""
    import mne

    try:
        return mne.io.read_raw_fif(path, preload=False, verbose="ERROR")
    except ValueError as error:
        if "No raw data" in str(error):
            raise UnreadableError("unsupported_format", "a FIF file without continuous data") from error
        raise


def _scaling(label: str, kind: str) -> Scaling:
    """Return the scaling of a channel; labels refine what the file calls EEG, for many files call everything so."""
    sensor_type = sensor_type_of(label) if kind == "eeg" else kind
    if sensor_type not in SENSOR_TYPES:
        return Scaling("misc", 1.0)
    is_voltage = kind in _VOLTS_TO_UNIT
    return Scaling(sensor_type, _VOLTS_TO_UNIT.get(sensor_type, 1e6) if is_voltage else 1.0)


def _stretches(probe: _Probe) -> list[tuple[int, int]]:
    """Return [start, stop) of the samples between MNE's acquisition skips, which may be listed twice or overlap."""
    skips = sorted((onset, onset + duration) for onset, duration, text in probe.events if text == _SKIP)
    stretches, start = [], 0
    for skip_start_s, skip_stop_s in (*skips, (probe.n_times / probe.sfreq, 0.0)):
        stop = min(round(skip_start_s * probe.sfreq), probe.n_times)
        if stop > start:
            stretches.append((start, stop))
        start = max(start, round(skip_stop_s * probe.sfreq))
    if not stretches:
        raise UnreadableError("no_samples", "nothing but acquisition skips")
    return stretches


def _read_samples(
    path: str, mtime_ns: int, factors: np.ndarray, starts: Sequence[int],
    picks: Sequence[int], segment: int, start: int, stop: int,
) -> np.ndarray:  # fmt: skip
    first = starts[segment]
    volts = _open_raw(path, mtime_ns).get_data(picks=list(picks), start=first + start, stop=first + stop)
    return (volts * factors[list(picks), None]).astype(np.float32)


def fif_files(path: Path) -> tuple[Path, ...]:
    """Return the file and the parts that MNE split off it ("x_raw-1.fif", "x_raw-2.fif", ...)."""
    files, number = [path], 1
    while (part := path.with_name(f"{path.stem}-{number}{path.suffix}")).is_file():
        files.append(part)
        number += 1
    return tuple(files)
