"""Recordings of noise in memory, and their plans."""

import numpy as np

from signals.modality import EEG_1020
from signals.recording.recording import Recording, Segment
from signals.windows.plan import plan_recording
from signals.windows.profiles import PRETRAIN

NAMES = EEG_1020.ch_names


def recording_of(x, sfreq, *, ch_names=NAMES, segments=None, sensor_types=None):
    """A recording in memory; segments follow each other in x."""
    segments = segments or (Segment(0.0, x.shape[1] / sfreq),)
    first = np.cumsum([0, *(round(s.duration_s * sfreq) for s in segments)])
    return Recording(
        uri="memory",
        reader="memory",
        ch_names=tuple(ch_names),
        sensor_types=tuple(sensor_types or ["eeg"] * len(ch_names)),
        sfreqs=(sfreq,) * len(ch_names),
        segments=tuple(segments),
        read_samples=lambda picks, s, a, b: x[picks, first[s] + a : first[s] + b].astype(np.float32),
    )


def eeg(seconds, sfreq, n_chans=19, seed=0):
    """Noise with a 1/f spectrum, 20 µV."""
    n_times = round(seconds * sfreq)
    rng = np.random.default_rng(seed)
    spectrum = np.fft.rfft(rng.standard_normal((n_chans, n_times)))
    spectrum /= np.maximum(np.fft.rfftfreq(n_times, 1 / sfreq), 0.5)
    x = np.fft.irfft(spectrum, n_times)
    return 20 * x / x.std()


def plan_of(recording, profile=PRETRAIN, **changes):
    fields = {"site_id": "site", "subject_id": "subject", "source_sha256": "ab" * 32} | changes
    return plan_recording(recording, profile, **fields)
