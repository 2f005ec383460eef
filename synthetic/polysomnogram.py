"""A synthetic polysomnogram: EEG, both eyes, chin and heart through stages of sleep, and the truth about them.

    python -m synthetic.polysomnogram --output night.edf --stages W,N1,N2,N3,REM

One EDF+ file with one annotation per epoch, "Sleep stage N2". Stages differ roughly as in the AASM's rules:
alpha and blinks awake, theta in N1, spindles in N2, delta in N3, rapid eye movements over a slack chin in REM.
"""

import json
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

import numpy as np
from scipy import fft

from signals.command_line import Parser
from signals.electrodes import electrode_positions
from signals.modality import EEG_PSG
from signals.noise import shaped_noise
from synthetic.command import OnProgress, run_command
from synthetic.recordings.files import write_edf
from synthetic.recordings.recordings import ekg, join
from synthetic.subject.artifacts import physiological
from synthetic.subject.background import alpha, ongoing, spindles
from synthetic.subject.sources import bump
from synthetic.subject.subjects import Subject, draw_subject
from synthetic.subject.truth import Event

EPOCH_S = 30.0
SFREQ = 256
ELECTRODES = ("F3", "F4", "C3", "C4", "O1", "O2", "Fp1", "Fp2", "Cz")
SENSORS = ("EOG E1-M2", "EOG E2-M2", "EMG chin", "ECG")
"""Labels of the sensors' channels in the file."""
CHIN_UV = {"W": 20.0, "N1": 12.0, "N2": 8.0, "N3": 6.0, "REM": 1.5}
"""Tone of the chin by stage: standard deviation of its EMG, µV."""
_FADE_S = 1.0
_MAINS_HZ, _MAINS_UV = 50.0, 3.0


@dataclass(frozen=True, kw_only=True)
class Polysomnogram:
    """A night before it is written, and the truth about it."""

    data: np.ndarray = field(repr=False)
    """µV (the ECG too), float32, shape (n_chans, n_times), channels `ELECTRODES` and `SENSORS`."""
    stages: tuple[str, ...]
    """One per epoch."""
    events: tuple[Event, ...]
    """Onsets in seconds from the first sample; those of eyes and heart are seen on the sensors' channels."""


def polysomnogram(rng: np.random.Generator, *, stages: Sequence[str]) -> Polysomnogram:
    """Return a night of one person; raises ValueError for a stage that is none of `CHIN_UV`."""
    if unknown := set(stages) - set(CHIN_UV):
        raise ValueError(f"stages {sorted(unknown)} are none of {', '.join(CHIN_UV)}")
    person = replace(
        draw_subject(rng), background_uv=14.0, slowing=0.1, asymmetry=0.0, alpha_uv=0.0, muscle_hz=0.0, drift_uv=4.0,
        heart_uv=4.0, heart_hz=1.1,
    )  # fmt: skip
    epochs = [_epoch(rng, stage, person) for stage in stages]
    data = join([x for x, _ in epochs], int(_FADE_S * SFREQ))
    turns = 2 * np.pi * _MAINS_HZ * np.arange(data.shape[1]) / SFREQ
    data = data + np.float32(_MAINS_UV) * np.sin(turns).astype(np.float32)
    events = [
        replace(event, onset_s=event.onset_s + i * EPOCH_S)
        for i, (_, events_of_epoch) in enumerate(epochs)
        for event in events_of_epoch
        if event.onset_s < EPOCH_S
    ]
    return Polysomnogram(data=data.astype(np.float32), stages=tuple(stages), events=tuple(events))


def _asleep(stage: str, person: Subject) -> Subject:
    """Return the person in a stage."""
    states = {
        "W": replace(person, alpha_uv=30.0, blink_hz=0.25, eye_movement_hz=0.1),
        "N1": replace(person, slowing=0.5, delta_hz=2.5, blink_hz=0.0, eye_movement_hz=0.02),
        "N2": replace(person, slowing=0.6, delta_hz=1.5, blink_hz=0.0, eye_movement_hz=0.0),
        "N3": replace(person, background_uv=30.0, slowing=3.0, delta_hz=1.0, blink_hz=0.0, eye_movement_hz=0.0),
        "REM": replace(person, slowing=0.3, delta_hz=2.5, blink_hz=0.0, eye_movement_hz=0.4),
    }
    return states[stage]


def _epoch(rng: np.random.Generator, stage: str, person: Subject) -> tuple[np.ndarray, list[Event]]:
    """Return an epoch and a fade, µV, and its events, counted from its start."""
    state, n_times = _asleep(stage, person), int((EPOCH_S + _FADE_S) * SFREQ)
    eyes = [EEG_PSG.positions[EEG_PSG.ch_names.index(name)] for name in ("EOG1", "EOG2")]
    positions = np.concatenate([electrode_positions(ELECTRODES), np.array(eyes)])
    waves, _ = alpha(rng, positions=positions, subject=state, n_times=n_times, sfreq=SFREQ)
    brain = waves + ongoing(rng, positions=positions, subject=state, n_times=n_times, sfreq=SFREQ)
    events: list[Event] = []
    if stage == "N2":
        extra, events = spindles(rng, positions=positions, n_times=n_times, sfreq=SFREQ)
        brain = brain + extra
    # The field of a blink is that of the poles: the other sign below the eye is left out.
    names = (*ELECTRODES, *SENSORS[:2])
    body, of_body = physiological(
        rng, ch_names=names, positions=positions, subject=state, n_times=n_times, sfreq=float(SFREQ)
    )
    power = bump(fft.rfftfreq(n_times, 1 / SFREQ), 45.0, 25.0)
    chin = np.float32(CHIN_UV[stage]) * shaped_noise(rng, power[None], n_times)
    heart = ekg(rng, [event for event in of_body if event.kind == "heartbeat"], n_times, SFREQ)
    return np.concatenate([brain + body, chin, heart[None]]).astype(np.float32), [*events, *of_body]


def write_polysomnogram(path: Path, night: Polysomnogram, *, patient: str = "night") -> None:
    """Write the night as EDF+ with its stages as annotations."""
    n_seconds = night.data.shape[1] // SFREQ
    write_edf(
        path, [night.data], file_format="edf+d", ch_names=[*(f"EEG {name}-M2" for name in ELECTRODES), *SENSORS],
        sfreq=SFREQ, patient=patient, record_onsets_s=[float(second) for second in range(n_seconds)],
        notes={int(i * EPOCH_S): (EPOCH_S, f"Sleep stage {stage}") for i, stage in enumerate(night.stages)},
    )  # fmt: skip


def main(argv: Sequence[str] | None = None) -> int:
    """Write one night and its truth from the command line; return 0, or 2 with one line on stderr for bad input."""
    parser = Parser(prog="synthetic.polysomnogram", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--output", type=Path, required=True, help="EDF+ file to write; its events go to FILE.json")
    parser.add_argument("--stages", default="W,W,N1,N2,N2,N3,N3,REM", help="one per epoch of 30 s, separated by commas")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args(argv)

    def make(_: OnProgress) -> Path:
        night = polysomnogram(np.random.default_rng(args.seed), stages=args.stages.split(","))
        write_polysomnogram(args.output, night)
        truth = {"stages": night.stages, "events": [asdict(event) for event in night.events]}
        args.output.with_name(args.output.name + ".json").write_text(json.dumps(truth, indent=1) + "\n")
        return Path(args.output)

    return run_command(parser.prog, make, unit="epoch")


if __name__ == "__main__":
    sys.exit(main())
