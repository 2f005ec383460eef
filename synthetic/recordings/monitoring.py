"""A day of intensive care monitoring, made fast: background, planted patterns, a lost electrode, a gap, notes.

It is for looking at and for alarms, where the truth must be known: what was planted, where, and for how long.
"""

import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np

from signals.command_line import Parser
from signals.electrodes import electrode_positions
from signals.modality import EEG_1020
from synthetic.command import OnProgress, run_command
from synthetic.patterns.clinical import Clinical
from synthetic.recordings.files import write_edf
from synthetic.subject.background import ongoing
from synthetic.subject.grid import Grid
from synthetic.subject.subjects import Subject, draw_subject

SFREQ = 256
EPISODES_PER_HOUR = 1.5
CLASSES = ("Seizure", "LPD", "GPD", "LRDA", "GRDA")
_LOOPS_S = (31, 37, 41)
_PIECE_S = 60
_DRAWN_S = 15
_PROMINENCE = {"Seizure": 3.0, "LPD": 4.0, "GPD": 4.0, "LRDA": 2.5, "GRDA": 2.5}
"""Peak of a pattern over the background's size: plain to see."""
_BACKGROUND_UV = 12.0
_GAP_S = (600, 1500)
_LOOSE = "T4"
LEADS_OFF = 10
"""Electrodes that are disconnected at once: nine are left."""
_AROUND_STATUS_S = 300


@dataclass(frozen=True)
class Episode:
    """One planted pattern."""

    label: str
    onset_s: int
    duration_s: int


@dataclass(frozen=True, kw_only=True)
class Day:
    """What was planted."""

    episodes: tuple[Episode, ...]
    gap_s: tuple[int, int] | None
    """A stretch without any recording; None in recordings of less than two hours."""
    loose: str
    """An electrode that lies beside the head for a while."""
    loose_s: tuple[int, int]
    status: Episode | None = None
    """A seizure that does not end by itself, beside the short ones."""
    leads_off_s: tuple[int, int] | None = None
    """When `LEADS_OFF` electrodes are disconnected at once."""


def monitoring_day(
    path: Path, *, hours: float, seed: int = 0, status_s: tuple[int, int] | None = None,
    leads_off_s: tuple[int, int] | None = None,
) -> Day:  # fmt: skip
    """Write an EDF+D file of 19 electrodes at 256 Hz and return what was planted in it.

    Episodes last one to twelve minutes, seizures one or two; `status_s` (onset, stop) is one that does not end, without
    other episodes five minutes around it; `leads_off_s` (onset, stop) when electrodes are disconnected. Raises
    ValueError for less than half an hour.
    """
    n_seconds = int(hours * 3600)
    if n_seconds < 1800:
        raise ValueError(f"hours={hours} is less than half an hour")
    rng = np.random.default_rng(seed)
    subject = replace(draw_subject(rng), background_uv=_BACKGROUND_UV)
    gap = _gap(n_seconds)
    episodes, status = _episodes(rng, n_seconds, gap), None
    if status_s is not None:
        status = Episode("Seizure", status_s[0], status_s[1] - status_s[0])
        episodes = tuple(one for one in episodes if _is_apart(one, status_s))
    day = Day(
        episodes=episodes, gap_s=gap, loose=_LOOSE, status=status, leads_off_s=leads_off_s,
        loose_s=(int(0.6 * n_seconds), int(0.6 * n_seconds) + min(1800, n_seconds // 12)),
    )  # fmt: skip
    onsets = [second for second in range(n_seconds) if gap is None or not gap[0] <= second < gap[1]]
    notes = {onsets.index(second): (0.0, text) for second, text in _notes(n_seconds, onsets)}
    write_edf(
        path, _blocks(rng, subject, day, onsets), file_format="edf+d", ch_names=EEG_1020.ch_names, sfreq=SFREQ,
        patient="monitored", record_onsets_s=onsets, reference="average", notes=notes,
    )  # fmt: skip
    return day


def main(argv: Sequence[str] | None = None) -> int:
    """Write a day from the command line, and what was planted beside it as JSON."""
    parser = Parser(prog="synthetic.recordings.monitoring", description=__doc__)
    parser.add_argument("--output", type=Path, required=True, help="EDF+ file to write")
    parser.add_argument("--hours", type=float, default=24.0)
    parser.add_argument("--seed", type=int, default=3)
    args = parser.parse_args(argv)

    def make(progress: OnProgress) -> Path:
        args.output.parent.mkdir(parents=True, exist_ok=True)
        partial = args.output.with_name(f".{args.output.name}")
        day = monitoring_day(partial, hours=args.hours, seed=args.seed)
        args.output.with_suffix(".planted.json").write_text(json.dumps(asdict(day), indent=1))
        partial.replace(args.output)
        return args.output

    return run_command("synthetic.recordings.monitoring", make, unit="recording")


def _gap(n_seconds: int) -> tuple[int, int] | None:
    if n_seconds < 7200:
        return None
    start = int(0.4 * n_seconds)
    return start, start + _GAP_S[0 if n_seconds < 6 * 3600 else 1]


def _episodes(rng: np.random.Generator, n_seconds: int, gap: tuple[int, int] | None) -> tuple[Episode, ...]:
    """Return episodes of all classes in turn, apart from each other, from the gap and from both ends."""
    n_episodes = max(len(CLASSES), round(EPISODES_PER_HOUR * n_seconds / 3600))
    slot = n_seconds / n_episodes
    found = []
    for number in range(n_episodes):
        label = CLASSES[number % len(CLASSES)]
        longest = min(720, int(0.6 * slot)) if label != "Seizure" else min(120, int(0.6 * slot))
        duration_s = int(rng.integers(60, max(61, longest + 1)))
        onset_s = int(number * slot + rng.uniform(0.2, 0.35) * slot)
        if gap is None or onset_s + duration_s < gap[0] or onset_s >= gap[1]:
            found.append(Episode(label, onset_s, duration_s))
    return tuple(found)


def _is_apart(episode: Episode, status_s: tuple[int, int]) -> bool:
    stop_s = episode.onset_s + episode.duration_s
    return stop_s + _AROUND_STATUS_S < status_s[0] or episode.onset_s > status_s[1] + _AROUND_STATUS_S


def _notes(n_seconds: int, onsets: Sequence[int]) -> list[tuple[int, str]]:
    there = set(onsets)
    texts = ("Eyes closed", "Eyes open", "Movement", "Arousal")
    return [
        (second, texts[number % len(texts)])
        for number, second in enumerate(range(300, n_seconds - 60, max(900, n_seconds // 40)))
        if second in there
    ]


def _blocks(rng: np.random.Generator, subject: Subject, day: Day, onsets: Sequence[int]) -> Iterator[np.ndarray]:
    """Yield digital blocks of up to a minute, int16, shape (19, n_times)."""
    positions = electrode_positions(EEG_1020.ch_names)
    loops = []
    for length_s in _LOOPS_S:
        uv = ongoing(rng, positions=positions, subject=subject, n_times=length_s * SFREQ, sfreq=float(SFREQ))
        loops.append((uv / np.sqrt(len(_LOOPS_S))).astype(np.float32))
    for number in range(0, len(onsets), _PIECE_S):
        seconds = np.asarray(onsets[number : number + _PIECE_S])
        times = (seconds[:, None] * SFREQ + np.arange(SFREQ)).reshape(-1)
        x = np.sum([loop[:, times % loop.shape[1]] for loop in loops], axis=0)
        for episode in (*day.episodes, *([day.status] if day.status else [])):
            x += _pattern(rng, subject, positions, episode, seconds)
        loose = (times >= day.loose_s[0] * SFREQ) & (times < day.loose_s[1] * SFREQ)
        if loose.any():
            row = EEG_1020.ch_names.index(day.loose)
            x[row, loose] = 60 * np.sin(2 * np.pi * 50 / SFREQ * times[loose]) + rng.normal(0, 40, int(loose.sum()))
        if day.leads_off_s is not None:
            off = (times >= day.leads_off_s[0] * SFREQ) & (times < day.leads_off_s[1] * SFREQ)
            x[:LEADS_OFF, off] = 0.0
        yield np.clip(np.rint(x * 10), -32_000, 32_000).astype(np.int16)


def _pattern(
    rng: np.random.Generator, subject: Subject, positions: np.ndarray, episode: Episode, seconds: np.ndarray
) -> np.ndarray | float:
    """Return what an episode adds to these seconds, µV, shape (19, n_times), or 0 where it is elsewhere."""
    inside = (seconds >= episode.onset_s) & (seconds < episode.onset_s + episode.duration_s)
    if not inside.any():
        return 0.0
    # A pattern covers the middle 14 s of what it is drawn on, at least.
    lengths = [min(_DRAWN_S, len(seconds) - start) for start in range(0, len(seconds), _DRAWN_S)]
    grids = [Grid(positions, max(n, _DRAWN_S) * SFREQ, float(SFREQ)) for n in lengths]
    parts = [Clinical(subject).draw(rng, episode.label, grid).data for grid in grids]
    drawn = np.concatenate([part[:, : n * SFREQ] for part, n in zip(parts, lengths, strict=True)], axis=1)
    soft = np.convolve(np.repeat(inside.astype(np.float32), SFREQ), np.ones(SFREQ) / SFREQ, mode="same")
    return np.asarray(_PROMINENCE[episode.label] * subject.background_uv * drawn * soft, dtype=np.float32)


if __name__ == "__main__":
    sys.exit(main())
