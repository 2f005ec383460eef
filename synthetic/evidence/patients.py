"""Patients with seizures, for the report on one patient that was wrong: long recordings, a few seizures each."""

from dataclasses import dataclass, field

import numpy as np

from signals.electrodes import POSITIONS
from signals.modality import EEG_1020
from synthetic.subject.background import ongoing
from synthetic.subject.sources import SOURCES, near
from synthetic.subject.sources import field as scalp_field
from synthetic.subject.subjects import draw_subject

SFREQ, SEIZURE_S, GAP_S = 64.0, 30.0, 60.0
_FOCI = ("F7", "T3", "T4", "F8", "C3", "C4", "P3", "P4")
_GRID = np.asarray(EEG_1020.positions)


@dataclass(frozen=True, kw_only=True)
class SeizureRecording:
    """One patient's recording with seizures of known times."""

    subject: str
    data: np.ndarray = field(repr=False)
    """float32, shape (n_chans, n_times), RMS 1."""
    seizures_s: tuple[tuple[float, float], ...]

    @property
    def length_s(self) -> float:
        """Length in seconds."""
        return float(self.data.shape[1] / SFREQ)


def seizure_recording(seed: int, *, n_seizures: int = 4) -> SeizureRecording:
    """Return a patient's recording: rhythmic seizures that slow down, of the patient's own focus, rate and size."""
    rng = np.random.default_rng([seed, 30])
    n_times = round((n_seizures * (SEIZURE_S + GAP_S) + GAP_S) * SFREQ)
    x = ongoing(rng, positions=_GRID, subject=draw_subject(rng), n_times=n_times, sfreq=SFREQ)
    x = x - x.mean(axis=0)
    x = x / np.median(x.std(axis=1))
    focus = np.array(POSITIONS[_FOCI[rng.integers(len(_FOCI))]])
    scalp = scalp_field(_GRID, near(SOURCES, focus, 0.35))
    rate, size = float(rng.uniform(3.0, 9.0)), float(rng.uniform(2.0, 3.2))
    t, spans = np.arange(n_times) / SFREQ, []
    for k in range(n_seizures):
        start = GAP_S + k * (SEIZURE_S + GAP_S) + float(rng.uniform(-15, 15))
        inside = np.clip((t - start) / SEIZURE_S, 0, 1)
        envelope = np.clip(np.minimum(t - start, start + SEIZURE_S - t) / 3, 0, 1)
        phase = 2 * np.pi * np.cumsum(rate * rng.uniform(0.9, 1.1) * (1 - 0.4 * inside)) / SFREQ
        x = x + np.outer(scalp, size * envelope * np.sin(phase))
        spans.append((start, start + SEIZURE_S))
    return SeizureRecording(subject=f"patient-{seed}", data=x.astype(np.float32), seizures_s=tuple(spans))
