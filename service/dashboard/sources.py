"""What the dashboard reads: metrics of runs, facts of reports, the machine, the server's own measures."""

import json
import os
import re
import urllib.error
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

METRICS, FACTS = "metrics.jsonl", "facts.json"
_MOST_FILES, _MOST_ROWS, _LARGEST = 200, 2000, 64_000_000


def files_below(folder: Path, kind: str) -> list[str]:
    """Return the files of a kind, `METRICS` or `FACTS`, below a folder, relative to it, the newest first."""
    if not folder.is_dir():
        return []
    root, pattern = folder.resolve(), f"*{Path(kind).suffix}"
    found = [path for path in folder.rglob(pattern) if _is(path, kind) and path.resolve().is_relative_to(root)]
    found.sort(key=lambda path: path.stat().st_mtime, reverse=True)
    return [str(path.relative_to(folder)) for path in found[:_MOST_FILES]]


def metrics_of(folder: Path, name: str) -> list[dict[str, Any]]:
    """Return the rows of a run that may be going on: a line that is half written is left for the next look.

    Of more than 2,000 rows, every n-th and the last are returned.
    """
    rows = []
    for line in _text(folder, name, METRICS).splitlines():
        try:
            row = json.loads(line)
        except ValueError:
            continue
        if isinstance(row, dict):
            rows.append({key: value for key, value in row.items() if isinstance(value, int | float)})
    n = -(-len(rows) // _MOST_ROWS) or 1
    return rows[::n] + ([rows[-1]] if rows and (len(rows) - 1) % n else [])


def facts_of(folder: Path, name: str) -> dict[str, Any]:
    """Return a report's facts, nothing for a file that is none."""
    try:
        facts = json.loads(_text(folder, name, FACTS) or "{}")
    except ValueError:
        return {}
    return facts if isinstance(facts, dict) else {}


def _is(path: Path, kind: str) -> bool:
    """Return whether a file is of a kind: a study's runs are named, and each has its page beside it."""
    named = path.name == kind or (kind == METRICS and path.suffix == ".jsonl" and path.with_suffix(".html").is_file())
    return named and path.is_file()


def _text(folder: Path, name: str, kind: str) -> str:
    """Return a file's text, "" for one that is not among those that the dashboard shows."""
    if "\0" in name:
        return ""
    path = (folder / (name or kind)).resolve()
    if not path.is_relative_to(folder.resolve()) or not _is(path, kind):
        return ""
    return path.read_text(encoding="utf-8", errors="replace") if path.stat().st_size <= _LARGEST else ""


@dataclass(frozen=True)
class Machine:
    """How busy this machine is."""

    n_cores: int
    load: float
    """Mean of processes that run or wait, over one minute."""
    memory_mb: float
    free_mb: float


def machine() -> Machine:
    """Return how busy this machine is (proc(5))."""
    lines = Path("/proc/meminfo").read_text().splitlines()
    sizes = {line.split(":")[0]: float(line.split()[1]) / 1024 for line in lines}
    return Machine(os.cpu_count() or 1, os.getloadavg()[0], sizes["MemTotal"], sizes["MemAvailable"])


_MEASURE = re.compile(r"^(\w+)(?:\{(.*)\})? ([\d.eE+-]+)$", re.MULTILINE)


def measures(url: str) -> Mapping[tuple[str, str], float]:
    """Return what a server's /metrics shows, by name and labels; nothing where it does not answer."""
    try:
        with urllib.request.urlopen(f"{url}/metrics", timeout=2) as reply:
            text = reply.read().decode()
    except (urllib.error.URLError, OSError):
        return {}
    return {(name, labels): float(value) for name, labels, value in _MEASURE.findall(text)}
