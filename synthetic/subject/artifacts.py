"""Artifacts of a recording: eyes, muscles, heart, and electrodes that drift, pop, fall flat or get noisy."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy import fft

from signals.electrodes import POSITIONS
from signals.noise import shaped_noise
from synthetic.subject.sources import angle_to, bump, slow_noise
from synthetic.subject.subjects import Subject, draw_subject
from synthetic.subject.truth import Event

_EYES = np.array([[-0.30, 0.92, -0.30], [0.30, 0.92, -0.30]])
_MUSCLE_SITES = ("T3", "T4", "F7", "F8", "FT9", "FT10", "Fp1", "Fp2")
BAD_ELECTRODE_SHARE = 0.12
"""Share of segments with one flat or noisy electrode."""


@dataclass(frozen=True, kw_only=True)
class _Traces:
    """What artifacts are added to."""

    total: np.ndarray
    """What there is so far, µV, float32, shape (n_chans, n_times); written in place."""
    ch_names: tuple[str, ...]
    sfreq: float

    @property
    def length_s(self) -> float:
        return float(self.total.shape[1] / self.sfreq)

    def times(self, rng: np.random.Generator, rate_hz: float, margin_s: float = 0.5) -> np.ndarray:
        """Return moments of a Poisson process, sorted, seconds."""
        return np.sort(rng.uniform(margin_s, self.length_s - margin_s, rng.poisson(rate_hz * self.length_s)))

    def add(self, scalp: np.ndarray, wave: np.ndarray, at_s: float) -> None:
        """Add map times wave from a moment on, cut at the segment's end."""
        start = int(at_s * self.sfreq)
        stop = min(start + wave.size, self.total.shape[1])
        self.total[:, start:stop] += np.outer(scalp, wave[: stop - start]).astype(np.float32)


@dataclass(frozen=True, kw_only=True)
class _Scene(_Traces):
    """The same with the body that they come from."""

    positions: np.ndarray
    subject: Subject


def physiological(
    rng: np.random.Generator,
    *,
    ch_names: Sequence[str],
    positions: np.ndarray,
    subject: Subject,
    n_times: int,
    sfreq: float,
) -> tuple[np.ndarray, list[Event]]:
    """Return eyes, muscles, heart and drift, µV, float32, shape (n_chans, n_times), and when they were."""
    total = np.zeros((len(ch_names), n_times), np.float32)
    scene = _Scene(total=total, ch_names=tuple(ch_names), sfreq=sfreq, positions=positions, subject=subject)
    events = [event for make in _BODY.values() for event in make(rng, scene)]
    return total, events


def _eye_falloff(positions: np.ndarray) -> np.ndarray:
    """Return how strongly each eye reaches each electrode, shape (2, n_chans); about 1 at Fp1 and Fp2."""
    return np.stack([np.exp(-0.5 * (angle_to(positions, eye) / 0.42) ** 2) for eye in _EYES]) * 1.2


def _blinks(rng: np.random.Generator, scene: _Scene) -> list[Event]:
    scalp, events = _eye_falloff(scene.positions).sum(axis=0), []
    habit = float(rng.uniform(60, 180))
    for at in scene.times(rng, scene.subject.blink_hz):
        length = float(rng.uniform(0.22, 0.4))
        t = np.arange(int(1.6 * length * scene.sfreq)) / (length * scene.sfreq)
        wave = np.sin(np.pi * np.clip(t / 1.0, 0, 1)) ** 2 - 0.12 * np.sin(np.pi * np.clip((t - 0.9) / 0.7, 0, 1))
        scene.add(scalp, habit * rng.uniform(0.7, 1.2) * wave, at)
        events.append(Event("blink", float(at), length, ("Fp1", "Fp2")))
    return events


def _eye_movements(rng: np.random.Generator, scene: _Scene) -> list[Event]:
    """Horizontal saccades: the cornea is positive, so F7 and F8 step apart; a high-pass lets them decay."""
    reach = np.exp(-0.5 * (angle_to(scene.positions, np.array([0.0, 0.98, -0.2])) / 0.6) ** 2)
    scalp = reach * scene.positions[:, 0] * 1.6
    events = []
    for at in scene.times(rng, scene.subject.eye_movement_hz):
        t = np.arange(int(3 * scene.sfreq)) / scene.sfreq
        wave = np.clip(t / 0.04, 0, 1) * np.exp(-t / 0.7) * rng.choice([-1, 1]) * rng.uniform(25, 90)
        scene.add(scalp, wave, at)
        events.append(Event("eye_movement", float(at), 1.0, ("F7", "F8")))
    return events


def _muscle(rng: np.random.Generator, scene: _Scene) -> list[Event]:
    """Bursts of 20 to 100 Hz over the temporal and frontal muscles, each electrode with fibres of its own."""
    events, sfreq = [], scene.sfreq
    for at in scene.times(rng, scene.subject.muscle_hz):
        name = _MUSCLE_SITES[rng.integers(len(_MUSCLE_SITES))]
        reach = np.exp(-0.5 * (angle_to(scene.positions, np.array(POSITIONS[name])) / rng.uniform(0.25, 0.7)) ** 2)
        hit = np.flatnonzero(reach > 0.05)
        start, n = int(at * sfreq), int(min(rng.uniform(0.4, 6.0), scene.length_s - at) * sfreq)
        if not hit.size or n < 16:
            continue
        power = bump(fft.rfftfreq(n, 1 / sfreq), float(rng.uniform(35, 70)), 25.0)
        power[: int(20 * n / sfreq)] = 0.0
        noise = shaped_noise(rng, np.broadcast_to(power, (hit.size + 1, power.size)), n)
        noise = (0.7 * noise[1:] + 0.7 * noise[0]) * np.hanning(n) ** 0.3 * reach[hit, None]
        burst = (scene.subject.muscle_uv * rng.uniform(0.5, 1.5) * noise).astype(np.float32)
        scene.total[hit, start : start + n] += burst
        strongest = tuple(scene.ch_names[i] for i in hit[reach[hit] > 0.5])
        events.append(Event("muscle", float(at), n / sfreq, strongest))
    return events


def _heart(rng: np.random.Generator, scene: _Scene) -> list[Event]:
    """The heart's field on the head: a gradient from the left and low to the right."""
    length, rate = scene.length_s, scene.subject.heart_hz
    gaps = np.clip(1 + 0.04 * rng.standard_normal(int(length * rate * 1.5) + 4), 0.7, 1.3) / rate
    beats = np.cumsum(gaps) - float(rng.uniform(0, 1 / rate))
    beats = beats[(beats > 0.1) & (beats < length - 0.4)]
    scalp = scene.positions @ np.array([-0.6, 0.2, -0.5])
    wave = scene.subject.heart_uv * heart_wave(scene.sfreq)
    for at in beats:
        scene.add(scalp, wave, at - 0.1)
    return [Event("heartbeat", float(at), 0.1) for at in beats]


def heart_wave(sfreq: float) -> np.ndarray:
    """Return one heartbeat (QRS complex and T wave), height 1, shape (n,); the R peak lies 0.1 s after its start."""
    t = np.arange(int(0.5 * sfreq)) / sfreq - 0.1
    lobes = ((-0.028, 0.009, -0.15), (0.0, 0.010, 1.0), (0.028, 0.010, -0.25), (0.25, 0.045, 0.25))
    return np.asarray(sum(height * np.exp(-0.5 * ((t - centre) / width) ** 2) for centre, width, height in lobes))


def _drift(rng: np.random.Generator, scene: _Scene) -> list[Event]:
    """Slow drift of sweat and cables, below 0.4 Hz, in part shared by all electrodes."""
    n_chans, n_times = scene.total.shape
    size = scene.subject.drift_uv
    drift = slow_noise(rng, n_chans + 1, n_times, scene.sfreq, cutoff_hz=float(rng.uniform(0.05, 0.2)))
    uneven = rng.exponential(0.7, (n_chans, 1)).astype(np.float32)
    scene.total[:] += np.float32(size) * uneven * (0.8 * drift[1:] + 0.4 * drift[0])
    loud = tuple(name for name, share in zip(scene.ch_names, uneven[:, 0], strict=True) if share * size > 30)
    return [Event("drift", 0.0, scene.length_s, loud)] if loud else []


def electrode_faults(
    rng: np.random.Generator, data: np.ndarray, ch_names: Sequence[str], sfreq: float
) -> tuple[np.ndarray, list[Event]]:
    """Return the data with electrode pops and now and then one flat or noisy electrode, and when they were.

    `data`: µV, shape (n_chans, n_times). A flat electrode reads exactly 0.
    """
    out = data.copy()
    n_chans, n_times = out.shape
    events = _pops(rng, _Traces(total=out, ch_names=tuple(ch_names), sfreq=sfreq), rate_hz=0.012)
    if rng.random() < BAD_ELECTRODE_SHARE:
        pick, flat = int(rng.integers(n_chans)), rng.random() < 0.5
        start = 0 if rng.random() < 0.5 else int(rng.uniform(0, 0.6) * n_times)
        noise = rng.normal(0, rng.uniform(15, 80), n_times - start)
        out[pick, start:] = 0.0 if flat else out[pick, start:] + noise
        kind = "flat" if flat else "noisy"
        events.append(Event(kind, start / sfreq, (n_times - start) / sfreq, (ch_names[pick],)))
    return out, events


def _pops(rng: np.random.Generator, traces: _Traces, *, rate_hz: float) -> list[Event]:
    """Steps of one electrode that decay."""
    events, n_chans = [], len(traces.total)
    for at in traces.times(rng, rate_hz):
        pick = int(rng.integers(n_chans))
        t = np.arange(int(3 * traces.sfreq)) / traces.sfreq
        wave = np.exp(-t / rng.uniform(0.15, 0.6)) * rng.choice([-1, 1]) * rng.uniform(60, 400)
        traces.add(np.eye(n_chans)[pick], wave, at)
        events.append(Event("pop", float(at), 0.5, (traces.ch_names[pick],)))
    return events


_BODY: dict[str, Callable[[np.random.Generator, _Scene], list[Event]]] = {
    "blink": _blinks,
    "eye_movement": _eye_movements,
    "muscle": _muscle,
    "heartbeat": _heart,
    "drift": _drift,
}
ARTIFACT_KINDS = (*_BODY, "pop")
_TYPICAL_UV = {"blink": 120.0, "eye_movement": 57.0, "pop": 230.0}
"""Middle of the amplitudes that are drawn; the others take theirs from the subject."""


def artifact(
    rng: np.random.Generator,
    kind: str,
    *,
    amplitude_uv: float,
    ch_names: Sequence[str],
    positions: np.ndarray,
    n_times: int,
    sfreq: float,
) -> np.ndarray:
    """Return artifacts of one kind of `ARTIFACT_KINDS` alone, µV, float32, shape (n_chans, n_times).

    They come often: 18 blinks, 12 eye movements, 9 bursts of muscle, 6 pops a minute. `amplitude_uv` is the typical
    height of a blink at Fp1, an eye movement at F7, a pop or heartbeat, and the size of muscle or drift. Equal
    generators give the same shapes at every amplitude. Raises ValueError for an unknown kind.
    """
    if kind not in ARTIFACT_KINDS:
        raise ValueError(f"kind={kind!r} is none of {', '.join(ARTIFACT_KINDS)}")
    subject = replace(
        draw_subject(rng), blink_hz=0.3, eye_movement_hz=0.2, muscle_hz=0.15, muscle_uv=1.0, heart_uv=1.0, drift_uv=1.0
    )
    total = np.zeros((len(ch_names), n_times), np.float32)
    scene = _Scene(total=total, ch_names=tuple(ch_names), sfreq=sfreq, positions=positions, subject=subject)
    if kind == "pop":
        _pops(rng, scene, rate_hz=0.1)
    else:
        _BODY[kind](rng, scene)
    return total * np.float32(amplitude_uv / _TYPICAL_UV.get(kind, 1.0))
