"""Artifacts of a chosen kind and size at a chosen place, planted in clean recordings: the truth
that detectors are measured against.

They are planted where they happen, in the native samples against the recording's own reference, and go through the
whole chain with everything else.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy import fft

from signals.electrodes import POSITIONS, canonical_electrode
from signals.noise import shaped_noise
from signals.recording.recording import Recording, Segment
from synthetic.recordings.recordings import SyntheticRecording, record
from synthetic.recordings.sites import Site, electrode_of
from synthetic.subject.sources import angle_to, bump
from synthetic.subject.subjects import Subject

SIZES: dict[str, tuple[float, ...]] = {
    "flat": (0.0, 0.1, 0.3),
    "clipped": (0.1, 0.3, 0.6),
    "drift": (60.0, 120.0, 250.0, 500.0),
    "muscle": (8.0, 15.0, 30.0, 60.0),
    "line": (3.0, 6.0, 12.0, 40.0),
    "pop": (60.0, 100.0, 200.0, 400.0),
    "blink": (50.0, 80.0, 120.0, 200.0),
    "gap": (0.05, 0.3, 1.0),
    "amplitude": (300.0, 600.0, 1200.0),
}
"""Sizes of each kind, small to large.

flat: remaining noise, µV; clipped: share of time at a rail; drift: peak over 3 s, µV; muscle: RMS in 20-100 Hz, µV;
line: RMS on one electrode for 2 s, µV (plan such a recording without known mains: a notch would take it away); pop:
step, µV; blink: peak at Fp1, µV; gap: seconds missing; amplitude: peak of one transient, µV.
"""

_EYES = np.array([0.0, 0.95, -0.3])


@dataclass(frozen=True)
class Planted:
    """One artifact: where it is."""

    kind: str
    size: float
    ch_names: tuple[str, ...]
    """Electrodes that hold it, canonical names."""
    onset_s: float
    duration_s: float


def without_artifacts(subject: Subject) -> Subject:
    """Return the subject without blinks, eye movements, muscle, heart and drift."""
    return replace(
        subject, blink_hz=0.0, eye_movement_hz=0.0, muscle_hz=0.0, muscle_uv=0.0, heart_uv=0.0, drift_uv=0.0
    )  # fmt: skip


def clean_recording(
    rng: np.random.Generator, *, site: Site, subject: Subject, labels: Sequence[str], max_draws: int = 50
) -> SyntheticRecording:
    """Return a recording of the labelled patterns in which the generator put no artifact.

    Recordings with a pop, a bad electrode, a blink or muscle are drawn again. Raises RuntimeError after `max_draws`.
    """
    subject = without_artifacts(subject)
    dirty = ("pop", "flat", "noisy", "blink", "eye_movement", "muscle", "drift")
    for _ in range(max_draws):
        recording = record(rng, site=site, subject=subject, labels=labels)
        if not any(truth.of(kind) for truth in recording.truths for kind in dirty):
            return recording
    raise RuntimeError(f"no clean recording in {max_draws} draws")


def in_memory(data: np.ndarray, *, site: Site, uri: str = "planted") -> Recording:
    """Return samples (n_chans, n_times), µV, of a site's montage as a recording of one segment."""
    x = np.asarray(data, dtype=np.float32)
    n_chans = len(site.ch_names)

    def read(picks: Sequence[int], segment: int, start: int, stop: int) -> np.ndarray:
        return x[list(picks), start:stop].copy()

    return Recording(
        uri=uri,
        reader="planted",
        ch_names=site.ch_names,
        sensor_types=tuple("ecg" if name == "EKG" else "eeg" for name in site.ch_names),
        sfreqs=(site.sfreq,) * n_chans,
        segments=(Segment(0.0, x.shape[1] / site.sfreq),),
        read_samples=read,
    )


def plant(
    rng: np.random.Generator,
    data: np.ndarray,
    kind: str,
    size: float,
    *,
    site: Site,
    onset_s: float,
    targets: Sequence[str],
) -> tuple[np.ndarray, Planted]:
    """Return the samples (n_chans, n_times), µV, with one artifact, and where it is.

    It lies on one electrode of `targets` (canonical names; a blink on all that see the eyes) and begins within the
    second that begins at `onset_s`. Raises ValueError for an unknown kind.
    """
    if kind not in SIZES:
        raise ValueError(f"kind={kind!r} is none of {list(SIZES)}")
    out = data.copy()
    electrodes = [canonical_electrode(electrode_of(name)) for name in site.ch_names]
    name = "Fp1" if kind == "blink" else str(rng.choice([t for t in targets if t in electrodes]))
    pick = electrodes.index(name)
    start = int(onset_s * site.sfreq)
    wave, duration_s = _wave(rng, out[pick, start:], kind, size, site)
    part = slice(start, start + wave.size)
    if kind == "flat":
        out[pick, part] = out[pick, start] + wave
    elif kind == "clipped":
        out[pick, part] = wave
    elif kind == "gap":
        out[pick, part] = np.nan
    elif kind == "blink":
        for row, electrode in enumerate(electrodes):
            if electrode is not None:
                out[row, part] += _eye_share(electrode) * wave
    else:
        out[pick, part] += wave
    names = ("Fp1", "Fp2") if kind == "blink" else (name,)
    return out.astype(np.float32), Planted(kind, size, names, onset_s, duration_s)


def _eye_share(electrode: str) -> float:
    """Return how much of a blink an electrode sees; 1 at Fp1."""
    angle = angle_to(np.array([POSITIONS[electrode], POSITIONS["Fp1"]]), _EYES)
    share = np.exp(-0.5 * (angle / 0.42) ** 2)
    return float(share[0] / share[1])


def _wave(rng: np.random.Generator, ahead: np.ndarray, kind: str, size: float, site: Site) -> tuple[np.ndarray, float]:
    """Return the artifact's samples, and for how many seconds it is there."""
    sfreq = site.sfreq
    sign = float(rng.choice([-1.0, 1.0]))
    late = float(rng.uniform(0.1, 0.5))  # of transients, after the second's beginning
    if kind == "flat":
        return size * rng.standard_normal(int(2 * sfreq)) / 6, 2.0
    if kind == "clipped":
        t = np.arange(int(2 * sfreq)) / sfreq
        swing = ahead[: t.size] + 600 * np.sin(2 * np.pi * 2 * t)
        # A rail that the sine passes for `size` of each second: it is above cos(pi size / 2) of its height that long.
        rail = 600 * np.cos(np.pi * size / 2)
        return np.clip(swing, -rail, rail), 2.0
    if kind == "drift":
        t = np.arange(int(3 * sfreq)) / sfreq
        return sign * size * np.sin(np.pi * t / 3) ** 2, 3.0
    if kind == "muscle":
        n = int(2 * sfreq)
        freqs = fft.rfftfreq(n, 1 / sfreq)
        power = bump(freqs, 50.0, 25.0) * ((freqs >= 20) & (freqs <= 100))
        noise = shaped_noise(rng, power[None], n)[0]
        return size * noise / noise.std() * np.hanning(n) ** 0.1, 2.0
    if kind == "line":
        t = np.arange(int(2 * sfreq)) / sfreq
        return size * np.sqrt(2) * np.sin(2 * np.pi * site.mains_hz * t), 2.0
    if kind == "pop":
        t = np.arange(int(3 * sfreq)) / sfreq - late
        return np.where(t >= 0, sign * size * np.exp(-np.maximum(t, 0) / 0.5), 0.0), 1.0
    if kind == "blink":
        t = (np.arange(int(sfreq)) / sfreq - late) / 0.35
        return size * np.sin(np.pi * np.clip(t, 0, 1)) ** 2, 1.0
    if kind == "gap":
        return np.full(max(1, int(size * sfreq)), np.nan), size
    t = np.arange(int(sfreq)) / sfreq - late - 0.1
    return sign * size * np.exp(-0.5 * (t / 0.05) ** 2), 1.0
