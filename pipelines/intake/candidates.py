"""Which files of a folder could be recordings: by name where that decides, else by their first bytes.

A download folder holds lists, checksums, event files and notes beside its recordings; they are counted apart and never
in the quarantine. A file that could be a recording and is none of a readable form is quarantined: it may be a loss.
"""

import math
import os
import re
import zlib
from collections.abc import Iterable
from fnmatch import fnmatch
from pathlib import PurePosixPath

from pipelines.runs import storage
from signals.electrodes import canonical_electrode
from signals.readers.formats.wfdb_records import wfdb_names
from signals.readers.registry import LFS_POINTER, READERS, UNSUPPORTED

SIDE_FILES = (
    "*.eeg", "*.vmrk", "*.fdt", "*.tsv", "*.json", "*.jsonl", "*.md", "*.html", "labels*.csv", "manifest.csv",
    "readme*", "license*", "metadata*.csv", "subject-info*.csv", "participants*.csv", "*.partial", ".*", "_completed",
)  # fmt: skip
"""Names (in lower case) that belong to a recording or describe a folder, and are no recordings themselves."""
_BY_CONTENT = (".csv", ".txt", ".csv.gz", ".rec")
"""Endings that recordings share with tables and notes."""
_HEAD_BYTES = 65_536
_MISSING = {"", "na", "nan", "null", "n/a"}
_FEWEST_ROWS = 3
_TIME = re.compile(r"[\d/T-]*\s?\d{1,2}:\d{2}(:\d{2}([.,]\d+)?)?Z?")


def could_be_recording(uri: str) -> bool:
    """Return whether a file may be a recording; a link to nothing may, if its name is one's."""
    path = PurePosixPath(uri)
    name = path.name.lower()
    if any(fnmatch(name, pattern) for pattern in SIDE_FILES):
        return False
    if name == "signal1.bin" and path.parent.suffix == ".mff" and storage.is_remote(uri):
        return True  # of a folder that would be a recording here; it is refused, and not passed over
    if not name.endswith(_BY_CONTENT) and name.endswith(_promising()):
        return True
    head = _head(uri)
    if head.startswith(LFS_POINTER):
        return name.endswith(_promising())
    if any(reader.by_content and reader.has_signature(head[:256]) for reader in READERS.values()):
        return True
    if not name.endswith((".csv", ".txt", ".csv.gz")):
        return False
    text = _text(head)
    return READERS["openbci"].has_signature(head[:256]) or names_electrodes(text) or holds_samples(text)


def is_folder_recording(path: str) -> bool:
    """Return whether a local folder is one recording (EGI's .mff) rather than a folder of recordings."""
    return path.lower().endswith(".mff") and os.path.isdir(path)


def parts_of_records(paths: Iterable[str]) -> frozenset[str]:
    """Return the files that a WFDB header among them names: samples in MATLAB's form, and the headers of segments."""
    parts: set[str] = set()
    for path in paths:
        if path.lower().endswith(".hea"):
            folder = path.rpartition("/")[0]
            parts |= {f"{folder}/{name}" for name in wfdb_names(_head(path))}
    return frozenset(parts)


def _promising() -> tuple[str, ...]:
    """Return the endings that recordings have, those of formats without a reader too."""
    return (*UNSUPPORTED, *(suffix for reader in READERS.values() for suffix in reader.suffixes))


def names_electrodes(text: str) -> bool:
    """Return whether the first line of a text names several electrodes: the columns of a recording, whatever else."""
    first = next((line for line in text.splitlines() if line.strip() and not line.startswith(("%", "#"))), "")
    return sum(canonical_electrode(cell) is not None for cell in _cells(first)) > 1


def holds_samples(text: str) -> bool:
    """Return whether the beginning of a text is a table of samples: numbers below at most one line of names.

    A column of times may stand among them, and cells may be quoted. A single column of whole numbers is a list (of
    stages, of onsets) rather than a channel.
    """
    lines = [line for line in text.splitlines()[:-1] if line.strip() and not line.startswith(("%", "#"))]
    rows = [_cells(line) for line in lines[1:]]
    if len(rows) < _FEWEST_ROWS or len({len(row) for row in rows}) > 1:
        return False
    numbers = [[_number(cell) for cell in row if not _TIME.fullmatch(cell)] for row in rows]
    if not all(row and None not in row for row in numbers):
        return False
    values = [value for row in numbers for value in row if value is not None and math.isfinite(value)]
    return len(numbers[0]) > 1 or any(value != int(value) for value in values)


def _cells(line: str) -> list[str]:
    cells = re.split(r"[,;\t]", line.strip()) if re.search(r"[,;\t]", line) else line.split()
    return [cell.strip().strip('"').strip() for cell in cells]


def _number(cell: str) -> float | None:
    """Return a cell's number, NaN for a missing one, None for a text."""
    try:
        return math.nan if cell.lower() in _MISSING else float(cell)
    except ValueError:
        return None


def _head(uri: str) -> bytes:
    try:
        with storage.open_file(uri) as file:
            return file.read(_HEAD_BYTES)
    except OSError:  # a link to nothing, a file that may not be read: its name must do
        return b""


def _text(head: bytes) -> str:
    if head.startswith(b"\x1f\x8b"):
        try:
            head = zlib.decompressobj(31).decompress(head, _HEAD_BYTES)
        except zlib.error:
            return ""
    return head.decode("latin-1")
