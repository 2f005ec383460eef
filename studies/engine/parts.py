"""Finished parts of a long run, kept beside its output: an interrupted run goes on from them."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from signals.files import atomic_file

CONFIG = "_config.json"


class Parts:
    """JSON files of one run by name; a folder holds parts of one configuration only.

    Two processes may write different parts at a time. Numbers come back exactly as they were.
    """

    def __init__(self, folder: Path, config: Mapping[str, Any]) -> None:
        """Open or make the folder; raises ValueError, saying what differs, where its parts are of another config."""
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        wanted = json.loads(json.dumps(config))
        path = folder / CONFIG
        if not path.exists():
            _write(path, wanted)
        found = json.loads(path.read_text(encoding="utf-8"))
        differs = sorted(key for key in {*found, *wanted} if found.get(key) != wanted.get(key))
        if differs:
            raise ValueError(
                f"{folder} holds parts of a run with other settings ({', '.join(differs)}): "
                "start that run again, or delete the folder"
            )

    def read(self, name: str) -> dict[str, Any] | None:
        """Return a finished part, or None."""
        path = self._path(name)
        return json.loads(path.read_text(encoding="utf-8")) if path.exists() else None

    def write(self, name: str, values: Mapping[str, Any]) -> None:
        """Keep a part; it is whole or not there."""
        _write(self._path(name), values)

    def _path(self, name: str) -> Path:
        return self.folder / f"{name}.json"


def parts_folder(output: Path) -> Path:
    """Return where the parts of an output file are kept."""
    return output.with_name(f"{output.stem}.parts")


def _write(path: Path, values: Mapping[str, Any]) -> None:
    with atomic_file(path) as file:
        file.write((json.dumps(values) + "\n").encode())
