"""The unit of everything downstream: a stretch of harmonised signal with what is known about it."""

import hashlib
from dataclasses import dataclass, field

import numpy as np

from signals.modality import MODALITIES

ABSENT, INTERPOLATED, MEASURED = 0, 1, 2
"""States of a channel in a window."""


@dataclass(frozen=True, kw_only=True)
class Provenance:
    """Where a window's samples come from, and by what code."""

    source_sha256: str
    segment: int
    start_sample: int
    """First sample in the segment, at the native rate (rounded down); below 0 where the window begins before it."""
    stop_sample: int
    reader: str
    config_hash: str
    code_version: str


@dataclass(frozen=True, kw_only=True)
class Window:
    """A window of one recording at the modality's rate and montage."""

    data: np.ndarray = field(repr=False, compare=False)
    """float32, shape (n_chans, n_times), µV (ECG: mV; see `Modality.units`)."""
    ch_state: np.ndarray = field(compare=False)
    """uint8, shape (n_chans,): ABSENT, INTERPOLATED or MEASURED."""
    artifact_mask: np.ndarray = field(repr=False, compare=False)
    """uint16 bit set of `signals.description.artifacts.KINDS`, shape (n_chans, n_seconds): one entry per channel and
    second."""
    quality: np.ndarray = field(repr=False, compare=False)
    """float32 in [0, 1], shape (n_chans,): 1 is clean."""
    snr_db: np.ndarray | None = field(default=None, repr=False, compare=False)
    """Signal-to-noise ratio per channel, dB, float32, shape (n_chans,), NaN where it cannot be measured
    (`signals.description.quality.channel_snr_db`); None in records written before it was stored."""
    artifact_ratio: np.ndarray | None = field(default=None, repr=False, compare=False)
    """Share of seconds with an artifact per channel, float32, shape (n_chans,), NaN for absent ones; None likewise."""
    quality_verdict: str = ""
    """"good", or the reasons against the window's primary channels, joined by "+"
    (`signals.description.quality.REASONS`); empty in records written before it was stored."""
    features: np.ndarray = field(repr=False, compare=False)
    """float32, shape (n_chans, n_features), columns as in `signals.description.features.FEATURES`."""
    anomaly: np.ndarray | None = field(default=None, repr=False, compare=False)
    """The autoencoder's score, float32, shape (n_chans, n_seconds), NaN where a channel was not measured; None where it
    was not requested (`signals.bundles.anomaly`)."""
    spectrogram: np.ndarray | None = field(default=None, repr=False, compare=False)
    """log10 of power in µV²/Hz of the ten minutes around the window's middle, float32, shape (4, 100, 300): chains LL,
    RL, LP, RP, `signals.spectrograms.REGIONAL_FREQS`, steps of 2 s, NaN where the recording does not reach; None where
    it was not requested (`signals.windows.surroundings`)."""
    modality: str
    sfreq: float
    band: tuple[float, float]
    """Effective pass band, Hz."""
    site_id: str
    subject_id: str
    """Salted hash."""
    recording_id: str
    """First 16 hex digits of the source's sha256."""
    start_s: float
    """Onset in the recording, seconds since its start, gaps included."""
    label: str = ""
    """Label as given by the label file; empty without."""
    votes: tuple[float, ...] = ()
    """Expert vote counts in the task's order; empty without."""
    label_span_s: tuple[float, float] | None = None
    """The stretch that the label covers, seconds from the window's start."""
    device: str = ""
    """Maker of the amplifier; this and the next six only where they were requested
    (`signals.recording.details.Details`)."""
    start_hour: int | None = None
    """Hour of the day at which the recording starts, 0 to 23, local time."""
    age_group: str = ""
    """Age in years when recorded, as "40-64"."""
    age: int | None = None
    """The same in whole years, 90 for 90 and over."""
    sex: str = ""
    """"female" or "male"."""
    height_cm: int | None = None
    weight_kg: int | None = None
    provenance: Provenance

    @property
    def key(self) -> str:
        """Identifier of the window: recording, onset and length decide it, nothing else."""
        return window_key(self.recording_id, self.start_s, self.data.shape[1])

    @property
    def sensor_types(self) -> tuple[str, ...]:
        """Kind of each channel, by its modality."""
        return MODALITIES[self.modality].sensor_types

    @property
    def n_primary(self) -> int:
        """Number of primary channels, which are the first rows."""
        return MODALITIES[self.modality].n_primary

    @property
    def primary_state(self) -> np.ndarray:
        """States of the channels, shape (n_chans,), where only primary channels count: other sensors read ABSENT."""
        state = self.ch_state.copy()
        state[self.n_primary :] = ABSENT
        return state


def window_key(recording_id: str, start_s: float, n_times: int) -> str:
    """Return the identifier of a window, 16 hex digits."""
    return hashlib.sha256(f"{recording_id}/{start_s:.6f}/{n_times}".encode()).hexdigest()[:16]
