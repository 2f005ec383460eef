"""What a written summary may use: numbers and words under dotted names, and nothing besides."""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from signals.files import atomic_file

Value = str | int | float
FACTS = "facts.json"


@dataclass(frozen=True)
class Facts:
    """Facts by dotted name ("data.n_windows"); names that are absent are not known."""

    values: Mapping[str, Value] = field(default_factory=dict)

    def __contains__(self, name: str) -> bool:
        return name in self.values

    def text(self, name: str) -> str:
        """Return a fact as it is written; raises KeyError for one that is not known."""
        return written(self.values[name])

    def save(self, path: Path) -> None:
        """Write the facts as JSON, whole or not at all."""
        with atomic_file(path) as file:
            file.write((json.dumps(dict(self.values), indent=1, sort_keys=True) + "\n").encode("utf-8"))

    @classmethod
    def load(cls, path: Path) -> "Facts":
        """Read facts; raises ValueError, in one line, for a file that holds none."""
        try:
            return cls(flattened(json.loads(path.read_text(encoding="utf-8"))))
        except (OSError, ValueError, AttributeError) as error:
            raise ValueError(f"{path} holds no facts: {error}") from None


def written(value: Value) -> str:
    """Return a value as text: whole numbers with commas, others with two significant decimals, at least."""
    if isinstance(value, str):
        return value
    if isinstance(value, float) and not math.isfinite(value):
        return "undefined"
    if isinstance(value, int) or float(value).is_integer():
        return f"{int(value):,}"
    return f"{value:.2f}" if abs(value) >= 0.1 else f"{value:.2g}"


def flattened(values: Mapping[str, Any], prefix: str = "") -> dict[str, Value]:
    """Return nested entries under dotted names; lists as their entries' numbers."""
    flat: dict[str, Value] = {}
    for key, value in values.items():
        name = f"{prefix}{key}"
        if isinstance(value, Mapping):
            flat |= flattened(value, f"{name}.")
        elif isinstance(value, (list, tuple)):
            flat |= flattened({str(i): each for i, each in enumerate(value)}, f"{name}.")
        elif value is not None:
            flat[name] = value if isinstance(value, (str, int, float)) else str(value)
    return flat
