"""Stored explanations of a recording, as `cerebeam explain --output` writes them, for the viewer's overlay.

They are found below `dataset.explanations` by the sha256 of the recording that they explain; nothing is computed here
but shares of what is stored.
"""

import threading
from collections import OrderedDict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from explain.asking.parts import REGIONS
from explain.explanation import STEP_S, Explanation
from explain.figures.drawings import scalp
from explain.gates.card import NOT_VALIDATED
from explain.store import Explained, read_explanations
from service.viewer.library import Opened
from signals.electrodes import electrode_positions
from signals.pages.svg import standalone
from signals.readers.digests import source_sha256

FILE = "explanations.npz"
_MOST_KEPT = 64
_STEPS = 100


class Explanations:
    """The explanations below a folder; a file is read again when it changed."""

    def __init__(self, folder: Path | None) -> None:
        """Read nothing yet."""
        self._folder, self._lock = folder, threading.Lock()
        self._read: dict[Path, tuple[int, tuple[str, ...], list[Explained]]] = {}
        self._sources: OrderedDict[str, str] = OrderedDict()

    def of(self, opened: Opened, path: Path) -> list[dict[str, Any]]:
        """Return the explanations of a recording, by onset; none where none is stored."""
        with self._lock:
            stored = [(names, row) for names, rows in self._stored() for row in rows]
            if not stored:
                return []
            source = self._source(opened, path)
        found = [fields_of(names, row) for names, row in stored if row.facts.get("source_sha256") == source]
        return sorted(found, key=lambda one: (one["start_s"], one["method"]))

    def _stored(self) -> list[tuple[tuple[str, ...], list[Explained]]]:
        files = sorted(self._folder.glob(f"*/{FILE}")) if self._folder is not None else []
        for path in files:
            try:
                changed_ns = path.stat().st_mtime_ns
                if path not in self._read or self._read[path][0] != changed_ns:
                    self._read[path] = changed_ns, *read_explanations(path)
            except (OSError, ValueError):  # being written, or no file of explanations
                self._read.pop(path, None)
        self._read = {path: self._read[path] for path in files if path in self._read}
        return [(names, rows) for _, names, rows in self._read.values()]

    def _source(self, opened: Opened, path: Path) -> str:
        """Return the sha256 of a recording, computed once for a file as it is."""
        if opened.digest not in self._sources:
            self._sources[opened.digest] = source_sha256(path)
            while len(self._sources) > _MOST_KEPT:
                self._sources.popitem(last=False)
        return self._sources[opened.digest]


def fields_of(ch_names: Sequence[str], row: Explained) -> dict[str, Any]:
    """Return an explanation as the screen draws it: what speaks for the class, as shares of the strongest cell."""
    one = row.explanation
    cells, channels = np.maximum(one.channels_steps, 0), np.maximum(one.per_channel, 0)
    strongest = float(cells.max()) or 1.0
    by_region = [
        (name, float(sum(channels[i] for i, label in enumerate(ch_names) if label in members)))
        for name, members in REGIONS.items()
    ]
    per_band = np.maximum(one.per_band, 0).tolist() if one.bands else []
    bands = [(f"{low:g}–{high:g} Hz", value) for (low, high), value in zip(one.bands, per_band, strict=True)]
    return {
        "start_s": float(row.facts.get("start_s", 0.0)), "step_s": STEP_S, "n_steps": cells.shape[1],
        "class": str(row.facts.get("explained_class", "")), "probability": row.facts.get("explained_probability"),
        "method": one.method, "status": str(row.facts.get("status", NOT_VALIDATED)),
        "missed": str(row.facts.get("missed", "")), "ch_names": list(ch_names), "has_channels": one.has_channels,
        "values": np.rint(_STEPS * cells / strongest).astype(int).tolist(),
        "channels": _shares(list(zip(ch_names, channels.tolist(), strict=True))) if one.has_channels else [],
        "regions": _shares(by_region) if one.has_channels else [], "bands": _shares(bands),
        "scalp": _scalp(one, ch_names),
    }  # fmt: skip


def _scalp(one: Explanation, ch_names: Sequence[str]) -> str:
    """Return a map of the scalp of the whole window as SVG; empty where channels have no place or share."""
    if not one.has_channels:
        return ""
    try:
        positions = electrode_positions(ch_names)
    except KeyError:
        return ""
    values = one.per_channel
    limit = float(np.abs(values).max())
    title = "red speaks for it, blue against"
    return standalone(scalp(values, positions, ch_names=ch_names, title=title, limit=limit, unit="logit"))


def _shares(pairs: Sequence[tuple[str, float]]) -> list[tuple[str, float]]:
    """Return names with their share of the sum, the largest first; none where all is 0."""
    total = sum(value for _, value in pairs)
    ordered = sorted(pairs, key=lambda pair: -pair[1])
    return [(name, round(value / total, 4)) for name, value in ordered] if total else []
