"""make bench-features: what each group of features costs, and what the sharp-wave count finds and what it imagines.

    python -m benchmarks features [--subjects N]

Discharges are planted, one in each 10-s window, at several heights over the deviation of the electrode where they are
largest; a planted one is found if that electrode's count is at least one. False alarms are counts on signals that hold
none: background and alpha alone, with blinks and saccades, and with muscle, each averaged over electrodes.
"""

import argparse
import time
from collections.abc import Callable
from dataclasses import replace

import numpy as np

from benchmarks.harness import figure, machine
from signals.conditioning.filters import bandpass
from signals.description import features
from signals.modality import EEG_1020
from signals.spectrograms import regional
from synthetic.patterns.waves import discharge
from synthetic.subject.artifacts import physiological
from synthetic.subject.background import alpha, ongoing
from synthetic.subject.sources import SOURCES, field, near
from synthetic.subject.subjects import draw_subject

NAMES, SFREQ, WINDOW_S = EEG_1020.ch_names, 256.0, 10
POSITIONS = np.asarray(EEG_1020.positions)
HEIGHTS = (4, 6, 8, 12)
FORMS = ("spike-wave", "polyspike", "sharp", "blunt", "triphasic")
QUIET = {"blink_hz": 0.0, "eye_movement_hz": 0.0, "muscle_hz": 0.0, "heart_uv": 0.0, "drift_uv": 0.0}
BODIES = {
    "clean": {},
    "blinks": {"blink_hz": 0.25, "eye_movement_hz": 0.1},
    "muscle": {"muscle_hz": 0.1, "muscle_uv": 30.0},
}


def in_windows(x: np.ndarray) -> np.ndarray:
    """Return the signal as the pipeline would store it, cut up: shape (n_windows, n_chans, n_times)."""
    band = bandpass(x - x.mean(axis=0), SFREQ, l_freq=0.5, h_freq=50.0).astype(np.float32)
    return np.ascontiguousarray(band.reshape(len(x), -1, int(WINDOW_S * SFREQ)).swapaxes(0, 1))


def brain_and_body(seed: int, body: str, seconds: int = 60) -> np.ndarray:
    """Return EEG without a discharge, µV, shape (n_chans, n_times)."""
    rng = np.random.default_rng(seed)
    subject = replace(draw_subject(rng), alpha_uv=30.0, **(QUIET | BODIES[body]))
    grid = {"positions": POSITIONS, "n_times": int(seconds * SFREQ), "sfreq": SFREQ}
    brain = ongoing(rng, subject=subject, **grid) + alpha(rng, subject=subject, **grid)[0]
    return np.asarray(brain + physiological(rng, ch_names=NAMES, subject=subject, **grid)[0])


def false_alarms(n_subjects: int) -> None:
    """Print counts a minute and electrode where there is nothing to find."""
    for body in BODIES:
        rates = [
            features.sharp_waves(in_windows(brain_and_body(seed, body)), SFREQ).sum() / len(NAMES)
            for seed in range(n_subjects)
        ]
        print(f"  {body:<8}{np.mean(rates):7.2f} a minute and electrode, worst subject {np.max(rates):.2f}")
        figure(f"sharp_waves_false_{body}", float(np.mean(rates)), "per_minute_and_electrode")


def sensitivity(n_subjects: int) -> None:
    """Print the share of planted discharges that are found, by form and height."""
    print(f"  {'found':<12}" + "".join(f"{f'{height} sd':>9}" for height in HEIGHTS))
    shares = {(form, height): found(form, height, n_subjects) for form in FORMS for height in HEIGHTS}
    for form in FORMS:
        print(f"  {form:<12}" + "".join(f"{shares[form, height]:9.2f}" for height in HEIGHTS))
    pointed = [shares[form, 8] for form in ("spike-wave", "polyspike", "sharp")]
    figure("sharp_waves_found_at_8_sd", float(np.mean(pointed)), "share")


def found(form: str, height: float, n_subjects: int) -> float:
    """Return the share of discharges of one form and height that are counted."""
    hits = []
    for seed in range(n_subjects):
        x = brain_and_body(seed, "clean")
        rng = np.random.default_rng([seed, FORMS.index(form)])
        focus = SOURCES[rng.integers(len(SOURCES) // 2)]
        scalp = field(POSITIONS, near(SOURCES, focus, 0.35))
        scalp, best = scalp / np.abs(scalp).max(), int(np.abs(scalp).argmax())
        wave = -discharge(form, SFREQ) * height * x[best].std()
        for start in range(0, x.shape[1], int(WINDOW_S * SFREQ)):
            at = start + int(rng.uniform(1, WINDOW_S - 2) * SFREQ)
            x[:, at : at + wave.size] += np.outer(scalp, wave)
        hits += list(features.sharp_waves(in_windows(x), SFREQ)[:, best] > 0)
    return float(np.mean(hits))


def cost(repeats: int) -> None:
    """Print milliseconds a window by group, interleaved, median and spread."""
    for seconds in (10, 50):
        x = bandpass(brain_and_body(0, "clean", seconds), SFREQ, l_freq=0.5, h_freq=50.0).astype(np.float32)
        centred = x - x.mean(axis=-1, keepdims=True)
        groups: dict[str, Callable[[], object]] = {
            "all": lambda x=x: features.features(x, SFREQ),
            "time": lambda x=centred: features._shape(x, SFREQ),
            "spectrum": lambda x=centred: features._spectral(x, SFREQ),
            "wavelets": lambda x=centred: features._wavelet_powers(x),
            "sharp waves": lambda x=centred: features.sharp_waves(x, SFREQ),
            "regional": lambda x=x: regional(x, NAMES, SFREQ),
        }
        taken: dict[str, list[float]] = {name: [] for name in groups}
        for _ in range(repeats):
            for name, run in groups.items():
                started = time.perf_counter()
                run()
                taken[name].append(1000 * (time.perf_counter() - started))
        for name, values in taken.items():
            low, middle, high = np.quantile(values, [0.1, 0.5, 0.9])
            print(f"  {seconds} s  {name:<12}{middle:7.2f} ms a window [{low:.2f}, {high:.2f}]")
        figure(f"features_ms_per_{seconds}_s", float(np.median(taken["all"])), "ms")


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--subjects", type=int, default=10)
    parser.add_argument("--repeats", type=int, default=40)
    args = parser.parse_args()
    print(machine())
    false_alarms(args.subjects)
    sensitivity(args.subjects)
    cost(args.repeats)


if __name__ == "__main__":
    main()
