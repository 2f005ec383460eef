"""A recording as it lies in a file: what is known before any sample is read, and samples by range.

Readers (signals/readers/) make these. Subjects are hashed in `Recording.subject_id` by whoever opens the file
(`signals.recording.identity`), so names never travel further than the reader.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from signals.recording.details import Details

SENSOR_TYPES = ("eeg", "eog", "emg", "ecg", "resp", "stim", "misc")


class UnreadableError(ValueError):
    """A file that cannot be used, with a reason code for the quarantine."""

    def __init__(self, reason: str, detail: str) -> None:
        if reason not in READ_REASONS:
            raise ValueError(f"unknown reason code {reason!r}; list it in READ_REASONS")
        super().__init__(f"{reason}: {detail}")
        self.reason = reason
        self.detail = detail

    def __reduce__(self) -> tuple[type, tuple[str, str]]:
        return (UnreadableError, (self.reason, self.detail))


READ_REASONS = {
    "missing_file": "The file does not exist or a part of it (a side file) is missing.",
    "unsupported_format": "No reader for this kind of file.",
    "not_what_it_says": "The name promises a format that the content is not (a git-lfs pointer, a text file).",
    "corrupt_header": "The header contradicts itself or the file's size.",
    "no_samples": "The header is readable, but no whole data record follows.",
    "reader_crashed": "The reading library died or raised; the detail names the error.",
    "missing_library": "The format's optional library is not installed; the detail names it.",
    "reader_timeout": "The reading library did not finish in time.",
    "no_eeg_channels": "No channel could be mapped to a 10-20 electrode.",
    "no_ecg_leads": "No channel is named as one of the twelve leads of the electrocardiogram.",
    "bipolar_montage": "Channels are bipolar or source derivations that cannot be turned into potentials.",
    "undefined_reference": "The profile's reference was not recorded, or its electrode is flat or bad.",
    "implausible_amplitude": "After unit conversion the signal is not of the size of EEG, or of an ECG.",
    "too_short": "Shorter than one window.",
    "too_few_channels": "Fewer measured channels than the profile asks for.",
    "label_out_of_range": "Every label lies outside of the recording or across a gap.",
    "contradicting_labels": "Every window's labels contradict each other.",
    "unusable_rate": "The sampling rate is none of EEG or ECG, or has no manageable ratio to the target rate.",
    "internal_error": "The pipeline itself failed on this file; the detail names the error.",
}


@dataclass(frozen=True)
class Annotation:
    """An event in a recording. Past `open_recording`, the description is a word of `signals.recording.events`."""

    onset_s: float
    duration_s: float
    description: str


@dataclass(frozen=True)
class Segment:
    """A stretch without gaps: onset in seconds since the recording's start, length in seconds."""

    onset_s: float
    duration_s: float


LARGEST = 1e9
"""Largest size of a sample, in its channel's unit: a kilovolt on the scalp. Fourth powers of it still fit a float32."""

ReadSamples = Callable[[Sequence[int], int, int, int], np.ndarray]


@dataclass(frozen=True, kw_only=True)
class RecordingHeader:
    """What a file need not be searched for again: travels in a plan, so that reopening costs next to nothing."""

    n_bytes: int
    """Size of the file that was opened; a file of another size is not reopened."""
    segments: tuple[Segment, ...]


@dataclass(frozen=True, kw_only=True)
class Recording:
    """Header of a recording, and a way to read its samples by range.

    All per-channel tuples have n_chans entries, in file order. Channels may differ in sampling rate.
    """

    uri: str
    reader: str
    """Name of the reader that opened it."""
    ch_names: tuple[str, ...]
    """Labels as in the file, whitespace trimmed."""
    sensor_types: tuple[str, ...]
    """One of SENSOR_TYPES per channel."""
    sfreqs: tuple[float, ...]
    """Hz, one per channel."""
    segments: tuple[Segment, ...]
    """Gap-free stretches in order of time; one for a continuous file."""
    read_samples: ReadSamples = field(repr=False, compare=False)
    """(picks, segment, start, stop) -> float32 of shape (n_picks, stop - start); use `read`."""
    annotations: tuple[Annotation, ...] = ()
    label: str = ""
    """Diagnostic statements that the file itself holds, codes of `signals.statements` between semicolons."""
    patient: str = field(default="", repr=False)
    """Raw identity found in the header, only for hashing; never written anywhere."""
    details: Details = field(default_factory=Details)
    """Device, hour and age group; past `open_recording` only what its `keep` names."""
    reference: str = ""
    """Recording reference, if the file gives one."""
    mains_hz: float | None = None
    """Mains frequency, if the file or a sidecar gives one."""
    units: tuple[str, ...] = ()
    """Unit as the file spells it, one per channel, empty where it gives none; () where the format fixes it."""
    n_bytes: int = field(default=0, compare=False)
    """Size of the file that was opened; 0 for a recording in memory."""
    notes: tuple[str, ...] = ()
    """Machine-readable remarks: "truncated_last_record", "gaps", "duplicate_labels", "unit_guessed", ..."""

    def __post_init__(self) -> None:
        n_chans = len(self.ch_names)
        if not (len(self.sensor_types) == len(self.sfreqs) == n_chans):
            raise ValueError(f"sensor_types and sfreqs must have one entry for each of {n_chans} channels")

    @property
    def header(self) -> RecordingHeader:
        """What `signals.readers.registry.reopen_recording` needs."""
        return RecordingHeader(n_bytes=self.n_bytes, segments=self.segments)

    @property
    def duration_s(self) -> float:
        """Seconds of signal, gaps not counted."""
        return sum(segment.duration_s for segment in self.segments)

    def n_times(self, pick: int, segment: int = 0) -> int:
        """Return the number of samples of one channel in one segment."""
        return round(self.segments[segment].duration_s * self.sfreqs[pick])

    def read(self, picks: Sequence[int], *, segment: int = 0, start: int = 0, stop: int | None = None) -> np.ndarray:
        """Return samples of channels of one rate, float32, shape (n_picks, stop - start), µV (ECG: mV).

        `start` and `stop` count samples of the picked channels from the segment's first. Missing samples are NaN, and
        so is whatever a float file holds that is no measurement: infinities, and sizes above `LARGEST`.
        Raises ValueError for a range outside of the segment or for picks of several rates.
        """
        rates = {self.sfreqs[pick] for pick in picks}
        if len(rates) != 1:
            raise ValueError(f"picks must share one sampling rate, got {sorted(rates)} Hz")
        n_times = self.n_times(picks[0], segment)
        stop = n_times if stop is None else stop
        if not 0 <= start <= stop <= n_times:
            raise ValueError(f"range [{start}, {stop}) lies outside of the segment's {n_times} samples")
        return _measurements(self.read_samples(list(picks), segment, start, stop))


def _measurements(x: np.ndarray) -> np.ndarray:
    if x.size == 0 or (x.min() >= -LARGEST and x.max() <= LARGEST):
        return x
    with np.errstate(invalid="ignore"):
        return np.where(np.abs(x) <= LARGEST, x, np.float32(np.nan))
