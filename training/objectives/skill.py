"""Skill of a pretraining on people that it was not trained on: what it knows beyond what needs no network.

Four numbers, each 0 where the network adds nothing and 1 at the best that is in reach, below 0 where it does harm:

    gaps       1 - error / error of the window's own filling (`gap_filling.window_fill`), gaps of 60-500 ms
    channels   whole channels hidden: 0 is a ridge from the visible channels that is fitted on training people, 1 the
               same ridge fitted on the very recording, which knows the hidden channels
    seconds    1 - error / error of the neighbouring seconds' mean: log spectra of seconds hidden in all channels
    stretches  1 - error / error of a line from the rest of the window: pattern features of a stretch hidden in all
               channels (`training.objectives.stretches.knowledge`)

Errors are sums of squares over held-out windows, in units of a window's scale (log amplitude for spectra);
`training.objectives.skill_meter` measures them. Intervals resample people.
"""

import json
from collections.abc import Mapping
from dataclasses import MISSING, asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

import numpy as np

from signals.files import atomic_file

SKILL_FILE = "skill.json"
PARTS = ("gaps", "channels", "seconds", "stretches")
UNKNOWN = (float("nan"), float("nan"))


@dataclass(frozen=True, kw_only=True)
class Skill:
    """See the module; nan where there was nothing to measure or the model predicts no such thing."""

    gaps: float
    channels: float
    seconds: float
    stretches: float = float("nan")
    n_windows: int
    n_subjects: int
    """Held-out windows and people that it was measured on."""
    intervals: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    """95% intervals over resampled people (percentiles), by part; parts measured on fewer than three people have none.
    """

    @property
    def measured(self) -> dict[str, float]:
        """The parts that could be measured."""
        named = {name: float(getattr(self, name)) for name in PARTS}
        return {name: value for name, value in named.items() if np.isfinite(value)}

    @property
    def lacking(self) -> dict[str, float]:
        """The parts in which the network adds nothing."""
        return {name: value for name, value in self.measured.items() if value <= 0}

    def interval(self, part: str) -> tuple[float, float]:
        """Return the interval of a part, nan without one."""
        return self.intervals.get(part, UNKNOWN)

    def shown(self, part: str) -> str:
        """Return a part with its interval, where it has one."""
        low, high = self.interval(part)
        return f"{getattr(self, part):+.3f}" + (f" [{low:+.3f}, {high:+.3f}]" if np.isfinite(low) else "")

    def __str__(self) -> str:
        """Return one line for a terminal."""
        parts = ", ".join(f"{name} {self.shown(name)}" for name in self.measured)
        return f"skill on {self.n_subjects} held-out people, {self.n_windows} windows: {parts or 'not measured'}"


def write_skill(folder: Path, skill: Skill) -> None:
    """Write skill.json into a folder, null for what was not measured."""
    values = {name: None if isinstance(v, float) and np.isnan(v) else v for name, v in asdict(skill).items()}
    with atomic_file(folder / SKILL_FILE) as file:
        file.write((json.dumps(values, indent=1) + "\n").encode())


def read_skill(folder: Path) -> Skill:
    """Read skill.json; raises FileNotFoundError without one, ValueError for one that is not whole."""
    path = folder / SKILL_FILE
    if not path.is_file():
        raise FileNotFoundError(f"{path} is not there: pretrain again, its skill was not measured")
    values: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    needed = {one.name for one in fields(Skill) if one.default is MISSING and one.default_factory is MISSING}
    if not needed <= set(values) <= {one.name for one in fields(Skill)}:
        raise ValueError(f"{path} is no skill file: it has the entries {sorted(values)}")
    known: dict[str, Any] = {name: float("nan") if value is None else value for name, value in values.items()}
    known["intervals"] = {name: (low, high) for name, (low, high) in values.get("intervals", {}).items()}
    return Skill(**known)
