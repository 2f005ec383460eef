"""Six-class probabilities from features that a report would name: models over `model.patterns.features`.

Needs numpy and scipy only. A folder holds reader.json and one .npz of arrays per member; nothing in it is executed.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from model.patterns.features import pattern_features
from model.patterns.forest import Forest
from model.patterns.logistic import LogisticModel
from signals.bundles.calibration import tempered
from signals.files import atomic_file

READER = "reader.json"
KINDS: dict[str, type[Forest] | type[LogisticModel]] = {"forest": Forest, "straight": LogisticModel}
"""Members by kind, as reader.json names them."""
FLOOR = 1e-3
"""Least probability of a class before the temperature: what no training window showed cannot be ruled out."""


@dataclass(frozen=True, kw_only=True)
class PatternReader:
    """Members whose probabilities are averaged, and a temperature."""

    members: Mapping[str, Forest | LogisticModel] = field(repr=False)
    """By name; all of the same inputs and classes."""
    temperature: float = 1.0
    """Probabilities are raised to its inverse: above 1 less certain, below 1 more."""
    about: Mapping[str, Any] = field(default_factory=dict)
    """What it was fitted on, and how it was chosen."""

    def __post_init__(self) -> None:
        kinds = {(member.names, member.classes) for member in self.members.values()}
        if len(kinds) != 1 or not self.temperature > 0:
            raise ValueError(f"{len(kinds)} kinds of members and temperature={self.temperature}: one kind, above 0")

    @property
    def classes(self) -> tuple[str, ...]:
        """Classes in probability order."""
        return next(iter(self.members.values())).classes

    @property
    def names(self) -> tuple[str, ...]:
        """Features in order."""
        return next(iter(self.members.values())).names

    def of_features(self, rows: np.ndarray) -> np.ndarray:
        """Return probabilities, float64, shape (n, n_classes), of rows of features (n, n_features)."""
        mean = np.mean([member.predict(rows) for member in self.members.values()], axis=0)
        return tempered(np.maximum(mean, FLOOR), self.temperature)

    def read(self, x: np.ndarray, sfreq: float) -> np.ndarray:
        """Return probabilities, float64, shape (n_classes,), of a window (n_chans, n_times) of EEG_1020, µV.

        Prepared as the six-class profile does. Raises ValueError where this code's features are not the reader's.
        """
        values = pattern_features(x, sfreq)
        if tuple(values) != self.names:
            raise ValueError("the reader was made with other features than this code has: fit it again")
        return np.asarray(self.of_features(np.array([list(values.values())], dtype=np.float32))[0])

    def save(self, folder: Path) -> None:
        """Write the reader into a folder, reader.json last."""
        for name, member in self.members.items():
            member.to_npz(folder / f"{name}.npz")
        kinds = {name: next(k for k, kind in KINDS.items() if isinstance(m, kind)) for name, m in self.members.items()}
        fields = {"members": kinds, "temperature": self.temperature, "about": dict(self.about)}
        with atomic_file(folder / READER) as file:
            file.write((json.dumps(fields, indent=1) + "\n").encode())

    @classmethod
    def load(cls, folder: Path) -> "PatternReader":
        """Read a reader; raises FileNotFoundError, for a folder without one."""
        path = folder / READER
        if not path.is_file():
            raise FileNotFoundError(f"{folder} is no pattern reader: it has no {READER}")
        fields = json.loads(path.read_text())
        members = {name: KINDS[kind].from_npz(folder / f"{name}.npz") for name, kind in fields["members"].items()}
        return cls(members=members, temperature=float(fields["temperature"]), about=fields["about"])
