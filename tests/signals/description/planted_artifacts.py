"""Samples with planted artifacts, and what the detectors flag in them."""

import numpy as np
from scipy.signal import butter, sosfiltfilt

from signals.description.artifacts import BIT, detect
from signals.modality import EEG_1020

SFREQ = 256
CH_NAMES = EEG_1020.ch_names
FRONTAL = {
    "Fp1": 1.0,
    "Fp2": 1.0,
    "F7": 0.4,
    "F8": 0.4,
    "F3": 0.45,
    "F4": 0.45,
    "Fz": 0.4,
    "C3": 0.12,
    "Cz": 0.12,
    "C4": 0.12,
}


def background(rng, *, n_seconds=10, std=15.0, sfreq=SFREQ):
    """1/f^1.5 noise from 0.5 Hz, a third of it common to all channels."""
    n_times = n_seconds * sfreq
    freqs = np.fft.rfftfreq(n_times, 1 / sfreq)
    gain = np.where(freqs >= 0.5, np.maximum(freqs, 0.5) ** -0.75, 0.0)
    parts = rng.normal(size=(2, len(CH_NAMES) + 1, len(freqs)))
    noise = np.fft.irfft(gain * (parts[0] + 1j * parts[1]), n=n_times)
    noise /= noise.std(axis=-1, keepdims=True)
    return (std * (np.sqrt(2 / 3) * noise[1:] + np.sqrt(1 / 3) * noise[0])).astype(np.float32)


def flags(x, kind, **options):
    options = {"ch_names": CH_NAMES, "mains_hz": 50.0} | options
    return (detect(x, SFREQ, **options) & BIT[kind]) != 0


def band_limited(rng, low, high, n_times):
    sos = butter(4, [low, high], "bandpass", fs=SFREQ, output="sos")
    noise = sosfiltfilt(sos, rng.normal(size=n_times))
    return noise / noise.std()


def spike_and_wave(n_seconds, *, rate_hz=3.0, spike_uv=250.0, wave_uv=200.0):
    """A spike of 50 ms, then a slow wave that fills the rest of each cycle, opposite in sign."""
    phase_s = np.arange(n_seconds * SFREQ) / SFREQ % (1 / rate_hz)
    wave_s = 1 / rate_hz - 0.08
    spike = spike_uv * np.exp(-0.5 * ((phase_s - 0.04) / 0.012) ** 2)
    return spike - wave_uv * np.sin(np.pi * np.clip((phase_s - 0.08) / wave_s, 0, 1)) ** 2


def plant(kind, x, rng):
    """Put one artifact into the fourth second; return the channels that must be flagged."""
    second, at = slice(4 * SFREQ, 5 * SFREQ), np.arange(SFREQ) / SFREQ
    channel = int(rng.integers(len(CH_NAMES)))
    if kind == "flat":
        x[channel, second] = 0.0
    elif kind == "clipped":
        x[channel, second] = np.clip(x[channel, second] + 400 * np.sin(2 * np.pi * 2 * at), -250, 250)
    elif kind == "drift":
        walk = 250 * np.sin(np.pi * np.arange(3 * SFREQ) / (3 * SFREQ))
        x[channel, 3 * SFREQ : 6 * SFREQ] += walk * rng.choice([-1, 1])
    elif kind == "muscle":
        x[channel, second] += 35 * band_limited(rng, 20, 100, SFREQ)
    elif kind == "line":
        x[channel, second] += 12 * np.sin(2 * np.pi * (50 * at + rng.random()))
    elif kind == "pop":
        start = 4 * SFREQ + int(rng.integers(40, SFREQ - 40))
        x[channel, start:] += rng.choice([-1, 1]) * 180 * np.exp(-np.arange(x.shape[-1] - start) / (0.5 * SFREQ))
    elif kind == "blink":
        bump = 150 * np.exp(-0.5 * ((at - 0.5) / 0.08) ** 2)
        for name, gain in FRONTAL.items():
            x[CH_NAMES.index(name), second] += gain * bump
        return [CH_NAMES.index("Fp1"), CH_NAMES.index("Fp2")]
    elif kind == "gap":
        x[channel, 4 * SFREQ + 10 : 4 * SFREQ + 30] = np.nan
    elif kind == "amplitude":
        x[channel, 4 * SFREQ + 100] = 900.0
    return [channel]
