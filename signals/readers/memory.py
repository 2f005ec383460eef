"""Recordings of a program's own memory: from an array or an `mne.io.Raw`, and back to a Raw.

recording = recording_of_array(x_uv, ch_names=["Fp1", "Fp2"], sfreq=256.0)
recording = recording_of_mne(raw)
raw = to_raw(recording)
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from signals.readers.channels.units import channel_notes, scaling_of
from signals.readers.disclosure import disclose
from signals.readers.matrix import Matrix, matrix_reader
from signals.readers.mne_raw import VOLTS_TO_UNIT, recording_of_raw
from signals.recording.recording import Annotation, Recording, Segment

_SKIP = "BAD_ACQ_SKIP"


def recording_of_array(
    x: np.ndarray, *, ch_names: Sequence[str], sfreq: float, unit: str = "µV", annotations: Sequence[Annotation] = (),
    reference: str = "",
) -> Recording:  # fmt: skip
    """Return an array of shape (n_chans, n_times) as a recording; labels tell the sensors, ECG becomes mV.

    The array is not copied. Descriptions become event words. Raises ValueError where the array does not fit.
    """
    if x.ndim != 2 or x.shape[0] != len(ch_names) or x.shape[1] == 0:
        raise ValueError(f"an array of shape {x.shape} is not (n_chans, n_times) of {len(ch_names)} channels")
    if not 0 < sfreq < 1e9:
        raise ValueError(f"sfreq={sfreq} is no sampling rate")
    scalings = [scaling_of(name, unit) for name in ch_names]
    return disclose(
        Recording(
            uri="",
            reader="array",
            ch_names=tuple(ch_names),
            sensor_types=tuple(scaling.sensor_type for scaling in scalings),
            sfreqs=(float(sfreq),) * len(ch_names),
            segments=(Segment(0.0, x.shape[1] / sfreq),),
            read_samples=matrix_reader(Matrix(_Held(x), tuple(scaling.factor for scaling in scalings), (0,))),
            annotations=tuple(annotations),
            reference=reference,
            notes=channel_notes(tuple(ch_names), scalings),
        )
    )


@dataclass(frozen=True, eq=False)
class _Held:
    """Gives an array that the caller holds."""

    x: np.ndarray

    def __call__(self) -> np.ndarray:
        return self.x


def recording_of_mne(raw: Any) -> Recording:
    """Return an `mne.io.Raw` as a recording, by range; descriptions become event words, skips and seams gaps."""
    return disclose(recording_of_raw(raw))


def to_raw(recording: Recording) -> Any:
    """Return a recording as an `mne.io.Raw` in memory, in volts, with its annotations.

    Gaps are zeros under a "BAD_ACQ_SKIP" annotation, as in MNE's own files; samples that are missing within a segment
    stay NaN. Raises ValueError for channels of several rates: MNE knows one.
    """
    import mne

    if len(set(recording.sfreqs)) != 1:
        raise ValueError(f"channels have several rates, {sorted(set(recording.sfreqs))} Hz; MNE knows one")
    sfreq, picks = recording.sfreqs[0], range(len(recording.ch_names))
    starts = [round(segment.onset_s * sfreq) for segment in recording.segments]
    lengths = [recording.n_times(0, k) for k in range(len(starts))]
    volts = np.zeros((len(picks), starts[-1] + lengths[-1] - starts[0]))
    per_unit = np.array([[VOLTS_TO_UNIT.get(kind, 1.0)] for kind in recording.sensor_types])
    for k, (start, length) in enumerate(zip(starts, lengths, strict=True)):
        volts[:, start - starts[0] : start - starts[0] + length] = recording.read(picks, segment=k) / per_unit
    info = mne.create_info(list(recording.ch_names), sfreq, list(recording.sensor_types), verbose="ERROR")
    raw = mne.io.RawArray(volts, info, verbose="ERROR")
    ends = [start + length for start, length in zip(starts, lengths, strict=True)]
    gaps = [
        (end / sfreq, (start - end) / sfreq, _SKIP) for end, start in zip(ends, starts[1:], strict=False) if start > end
    ]
    marks = [(mark.onset_s, mark.duration_s, mark.description) for mark in recording.annotations]
    first_s = recording.segments[0].onset_s
    events = [(onset - first_s, duration, text) for onset, duration, text in (*gaps, *marks)]
    onsets, durations, texts = zip(*events, strict=True) if events else ((), (), ())
    return raw.set_annotations(mne.Annotations(onsets, durations, texts))
