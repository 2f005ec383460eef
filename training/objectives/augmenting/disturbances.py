"""Changes of samples that only some labels survive (warped time, polarity, order of channels), and generated noise.

Arrays are (n_chans, n_times), normalised, time last; each function returns a new array, float32.
"""

from collections.abc import Sequence

import numpy as np

from signals.modality import LIMB_LEADS

N_WARP = 6
"""Sines of a warp."""
NOISE_HZ = {"wander": (0.05, 0.5), "mains": (49.0, 61.0), "muscle": (20.0, 100.0)}


def warped(x: np.ndarray, phases: np.ndarray, *, sd: float) -> np.ndarray:
    """Return x on a bent axis of time that begins and ends where it did, `phases` of shape (N_WARP,).

    sd: spread of the local rate; time never runs backwards.
    """
    n = x.shape[-1]
    place = np.linspace(0.0, 1.0, n)
    orders = np.arange(1, N_WARP + 1)
    # Derivatives of sin(pi k t) c / (pi k) are c cos(pi k t): a local rate of 1 plus a sum of cosines of spread sd.
    size = sd * np.sqrt(2 / N_WARP) * np.sin(phases)
    bent = place + (size / (np.pi * orders) * np.sin(np.pi * place[:, None] * orders)).sum(axis=1)
    bent = np.clip(np.maximum.accumulate(bent), 0.0, 1.0) * (n - 1)
    return np.stack([np.interp(bent, np.arange(n), row) for row in x]).astype(np.float32)


def noise(rng: np.random.Generator, ch_names: Sequence[str], n_times: int, sfreq: float, *, sd: float) -> np.ndarray:
    """Return noise of a recording: wander, mains and muscle, spread `sd`, float32, shape (n_chans, n_times).

    Limb leads stay sums of two of them exactly, as noise of electrodes makes them. Mains above half the rate is left
    out.
    """
    n_rows = len(ch_names) + 2
    freqs = np.fft.rfftfreq(n_times, 1 / sfreq)
    total = np.zeros((n_rows, n_times))
    for kind, (low, high) in NOISE_HZ.items():
        inside = (freqs >= low) & (freqs <= min(high, sfreq / 2))
        if kind == "mains":
            line = rng.uniform(49.5, 60.5)
            inside &= np.abs(freqs - line) <= max(0.5, freqs[1] if n_times > 2 else 0.5)
        if not inside.any():
            continue
        spectrum = (rng.normal(size=(n_rows, len(freqs))) + 1j * rng.normal(size=(n_rows, len(freqs)))) * inside
        part = np.fft.irfft(spectrum, n=n_times, axis=-1)
        total += part / max(float(part.std()), 1e-12) * rng.dirichlet(np.ones(len(NOISE_HZ)))[0]
    total /= max(float(total.std()), 1e-12)
    one, two = total[-2:]
    rows = [
        LIMB_LEADS[name][0] * one + LIMB_LEADS[name][1] * two if name in LIMB_LEADS else total[row]
        for row, name in enumerate(ch_names)
    ]
    return (sd * np.stack(rows)).astype(np.float32)
