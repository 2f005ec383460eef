"""make bench-cleaning: what each cleaning step gains against planted artifacts, and what it costs the brain.

    python -m benchmarks cleaning [--subjects N]

Synthetic subjects whose brain is known: background, alpha and a pattern of each class, with one kind of artifact added
at a time. Both go through the six-class profile; the error is what remains of the artifact, over what there was of it,
and "kept" is the share of the planted pattern that is still there: the same plan is applied to the same signal without
the pattern, and the difference is projected onto the pattern.
"""

import argparse
import time
from collections import Counter, defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field, replace

import numpy as np

from benchmarks.harness import figure, machine
from signals.conditioning.cleaning import Cleaning
from signals.modality import EEG_1020
from signals.recording.recording import Recording, Segment
from signals.windows.plan import RecordingPlan, plan_recording
from signals.windows.prepare import prepare_recording
from signals.windows.profiles import SIX_CLASS, Profile
from synthetic.patterns.clinical import Clinical
from synthetic.subject.artifacts import physiological
from synthetic.subject.background import alpha, ongoing
from synthetic.subject.grid import Grid
from synthetic.subject.subjects import Subject, draw_subject

NAMES, SFREQ, SECONDS = EEG_1020.ch_names, 256.0, 100
POSITIONS = np.asarray(EEG_1020.positions)
PATTERNS = ("LPD", "GPD", "Seizure", "LRDA", "GRDA", "alpha")
QUIET = {"blink_hz": 0.0, "eye_movement_hz": 0.0, "muscle_hz": 0.0, "heart_uv": 0.0, "drift_uv": 0.0}
BODIES = {
    "none": {},
    "blinks": {"blink_hz": 0.25},
    "saccades": {"eye_movement_hz": 0.15},
    "muscle": {"muscle_hz": 0.1, "muscle_uv": 30.0},
    "drift": {"drift_uv": 80.0},
}
PLANTED: dict[str, Callable[[np.random.Generator], np.ndarray]] = {
    "jumps": lambda rng: jumps(rng),
    "noise": lambda rng: rng.normal(0, 5.0, (len(NAMES), int(SECONDS * SFREQ))),
}
STEPS = {
    "ica": Cleaning(ica=True),
    "transients": Cleaning(transients=True),
    "baseline": Cleaning(baseline=True),
    "wavelets": Cleaning(wavelets=True),
    "all": Cleaning(ica=True, transients=True, baseline=True, wavelets=True),
}


@dataclass(frozen=True)
class Case:
    """One subject with one kind of artifact."""

    pattern_name: str
    artifact_name: str
    brain: np.ndarray
    pattern: np.ndarray
    artifact: np.ndarray
    blinking: np.ndarray
    """Where a blink is, bool, at SFREQ."""


def jumps(rng: np.random.Generator) -> np.ndarray:
    """Return electrode pops, ten a minute, each on one electrode: a step of 100 to 400 µV that decays."""
    x = np.zeros((len(NAMES), int(SECONDS * SFREQ)))
    t = np.arange(int(3 * SFREQ)) / SFREQ
    for at in rng.uniform(1, SECONDS - 4, SECONDS // 6):
        start = int(at * SFREQ)
        wave = np.exp(-t / rng.uniform(0.15, 0.6)) * rng.choice([-1, 1]) * rng.uniform(100, 400)
        x[rng.integers(len(NAMES)), start : start + t.size] += wave
    return x


def awake(subject: Subject) -> Subject:
    """Return the subject well and awake: a small background, no slowing."""
    return replace(subject, background_uv=12.0, slowing=0.1, asymmetry=0.0, alpha_uv=30.0)


def make_case(seed: int, pattern_name: str, artifact_name: str) -> Case:
    """Return a case; odd seeds are well and awake, even ones intensive care."""
    rng = np.random.default_rng([seed, PATTERNS.index(pattern_name)])
    subject = draw_subject(rng)
    subject = replace(awake(subject) if seed % 2 else subject, **(QUIET | BODIES.get(artifact_name, {})))
    grid = {"positions": POSITIONS, "n_times": int(SECONDS * SFREQ), "sfreq": SFREQ}
    brain = ongoing(rng, subject=subject, **grid)
    waves, _ = alpha(rng, subject=replace(subject, alpha_uv=30.0), **grid)
    if pattern_name == "alpha":
        pattern = waves
    else:
        alone = Clinical(subject).draw(rng, pattern_name, Grid(POSITIONS, int(SECONDS * SFREQ), SFREQ))
        pattern = alone.data * min(subject.prominence * subject.background_uv, 400.0)
    noise = np.random.default_rng([seed, 99])
    events = []
    if artifact_name in PLANTED:
        artifact = PLANTED[artifact_name](noise)
    else:
        artifact, events = physiological(noise, ch_names=NAMES, subject=subject, **grid)
    blinking = np.zeros(grid["n_times"], dtype=bool)
    for event in events:
        if event.kind == "blink":
            blinking[int(event.onset_s * SFREQ) : int((event.onset_s + event.duration_s) * SFREQ)] = True
    return Case(pattern_name, artifact_name, brain + pattern, pattern, artifact, blinking)


def recording_of(x: np.ndarray) -> Recording:
    """Return samples in memory as a recording."""
    return Recording(
        uri="memory", reader="memory", ch_names=NAMES, sensor_types=("eeg",) * len(NAMES), sfreqs=(SFREQ,) * len(NAMES),
        segments=(Segment(0.0, x.shape[1] / SFREQ),),
        read_samples=lambda picks, _, start, stop: x[picks, start:stop].astype(np.float32),
    )  # fmt: skip


def planned(x: np.ndarray, profile: Profile) -> tuple[Recording, RecordingPlan]:
    """Return a recording in memory and its plan."""
    recording = recording_of(x)
    return recording, plan_recording(recording, profile, site_id="s", subject_id="s", source_sha256="0" * 64)


def prepared(recording: Recording, plan: RecordingPlan) -> np.ndarray:
    """Return all windows of a recording, joined."""
    return np.concatenate([window.data for window in prepare_recording(recording, plan)], axis=1)


def as_is(x: np.ndarray) -> np.ndarray:
    """Return the windows of a signal under the six-class profile without cleaning."""
    return prepared(*planned(x, SIX_CLASS))


def db(after: np.ndarray, before: np.ndarray) -> float:
    """Return the power of one error over another, dB."""
    return float(10 * np.log10(np.square(after).sum() / np.square(before).sum()))


@dataclass(frozen=True, kw_only=True)
class Measured:
    """What the steps of cleaning did to planted artifacts and patterns."""

    errors: dict[tuple[str, str], list[float]] = field(default_factory=lambda: defaultdict(list))
    """By (step, artifact): error after the step over that before, dB."""
    blink_errors: list[float] = field(default_factory=list)
    """The same at the frontal poles while the eyes blink, of the decomposition."""
    shares: dict[tuple[str, str], list[float]] = field(default_factory=lambda: defaultdict(list))
    """By (step, pattern): share of the pattern that is kept."""
    decisions: Counter[tuple[str, str]] = field(default_factory=Counter)
    """By (artifact, kind): components of the decomposition."""


def measure(n_subjects: int) -> None:
    """Print error and kept patterns for each step against each artifact."""
    measured = Measured()
    for seed in range(n_subjects):
        for number, artifact_name in enumerate([*BODIES, *PLANTED]):
            # Each artifact meets another pattern in every subject: all pairs are seen over six subjects.
            case = make_case(seed, PATTERNS[(seed + number) % len(PATTERNS)], artifact_name)
            add_case(measured, case, artifact_name)
    print_tables(measured)
    errors, shares = measured.errors, measured.shares
    figure("cleaning_blink_error_db", float(np.median(measured.blink_errors)), "dB")
    figure("cleaning_muscle_error_db", float(np.median(errors["ica", "muscle"])), "dB")
    figure("cleaning_drift_error_db", float(np.median(errors["baseline", "drift"])), "dB")
    figure("cleaning_jump_error_db", float(np.median(errors["transients", "jumps"])), "dB")
    figure("cleaning_noise_error_db", float(np.median(errors["wavelets", "noise"])), "dB")
    everything = [value for name in PATTERNS if name != "alpha" for value in shares["all", name]]
    figure("cleaning_spike_kept", float(np.min(everything)), "least_share")
    figure("cleaning_alpha_kept", float(np.min(shares["all", "alpha"])), "least_share")


def add_case(measured: Measured, case: Case, artifact_name: str) -> None:
    """Clean a case by every step and add what that did."""
    truth, dirty, wave = (as_is(x) for x in (case.brain, case.brain + case.artifact, case.pattern))
    recording, plan = planned(case.brain + case.artifact, replace(SIX_CLASS, cleaning=STEPS["ica"]))
    for kind in plan.removal.kinds if plan.removal else ():
        measured.decisions[artifact_name, kind] += 1
    for name, cleaning in STEPS.items():
        step = replace(plan, profile=replace(SIX_CLASS, cleaning=cleaning))
        step = step if cleaning.ica else replace(step, removal=None)
        clean = prepared(recording, step)
        if artifact_name != "none":
            measured.errors[name, artifact_name].append(db(clean - truth, dirty - truth))
        # What the same plan makes of the same signal without the pattern: the difference is the pattern.
        without = prepared(recording_of(case.brain - case.pattern + case.artifact), step)
        share = ((clean - without) * wave).sum() / np.square(wave).sum()
        measured.shares[name, case.pattern_name].append(float(share))
        if name == "ica" and case.blinking.any():
            poles = [NAMES.index("Fp1"), NAMES.index("Fp2")]
            at = np.ix_(poles, np.flatnonzero(case.blinking[: clean.shape[1]]))
            measured.blink_errors.append(db((clean - truth)[at], (dirty - truth)[at]))


def print_tables(measured: Measured) -> None:
    """Print errors per artifact, kept shares per pattern and components per decision."""
    artifacts = [name for name in [*BODIES, *PLANTED] if name != "none"]
    print("error to the truth after the step over before, dB: median [worst]")
    print(f"  {'step':<11}" + "".join(f"{name:>16}" for name in artifacts))
    for step in STEPS:
        cells = [measured.errors[step, name] for name in artifacts]
        print(f"  {step:<11}" + "".join(f"{np.median(c):>8.1f} [{np.max(c):5.1f}]" for c in cells))
    print("share of the planted pattern kept, over all artifacts: median [least]")
    print(f"  {'step':<11}" + "".join(f"{name:>16}" for name in PATTERNS))
    for step in STEPS:
        cells = [measured.shares[step, name] for name in PATTERNS]
        print(f"  {step:<11}" + "".join(f"{np.median(c):>8.3f} [{np.min(c):.3f}]" for c in cells))
    kinds = ("blink", "eye_movement", "muscle", "spikes", "brain")
    print("components by decision, over all subjects")
    print(f"  {'artifact':<11}" + "".join(f"{kind:>14}" for kind in kinds))
    for name in [*BODIES, *PLANTED]:
        print(f"  {name:<11}" + "".join(f"{measured.decisions[name, kind]:>14}" for kind in kinds))


def cost(repeats: int = 5) -> None:
    """Print milliseconds a 50-s window of each step, and seconds a recording of the decomposition."""
    case = make_case(1, "LPD", "blinks")
    x = case.brain + case.artifact
    plans = {}
    for name, cleaning in ({"none": Cleaning()} | STEPS).items():
        started = time.perf_counter()
        plans[name] = planned(x, replace(SIX_CLASS, cleaning=cleaning))
        if name == "ica":
            figure("cleaning_ica_plan_seconds", time.perf_counter() - started, "s/recording")
    seconds: dict[str, list[float]] = {name: [] for name in plans}
    for _ in range(repeats):
        for name, (recording, plan) in plans.items():
            started = time.perf_counter()
            n_windows = len(list(prepare_recording(recording, plan)))
            seconds[name].append((time.perf_counter() - started) / n_windows)
    base = np.array(seconds["none"])
    for name, values in seconds.items():
        extra = 1000 * (np.array(values) - base)
        spread = f"[{extra.min():.2f}, {extra.max():.2f}]"
        print(f"  {name:<11}{np.median(extra):7.2f} ms a 50-s window more than none {spread}")
    figure("cleaning_ms_per_window", 1000 * float(np.median(np.array(seconds["all"]) - base)), "ms")


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--subjects", type=int, default=12)
    args = parser.parse_args()
    print(machine())
    measure(args.subjects)
    cost()


if __name__ == "__main__":
    main()
