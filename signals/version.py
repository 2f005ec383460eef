"""Which code made a window: the release, and a digest of the source files that decide what a shard holds."""

import hashlib
from collections.abc import Iterable
from functools import cache
from pathlib import Path

__version__ = "0.1.0"

DECIDING = (
    "recording", "readers", "montage", "conditioning", "description", "windows", "shards",
    "sites",
    "bundles/anomaly.py", "electrodes.py", "files.py", "modality.py", "spectrograms.py", "statements.py", "tasks.py",
    "threads.py", "version.py", "window.py",
)  # fmt: skip
"""Folders and files of signals/ that decide the bytes of a shard. tests/signals/test_version.py compares the list with
what the stages that plan and write shards import."""
NOT_DECIDING = (
    "readers/layouts/hms_folder.py", "readers/memory.py", "sites/draft.py", "sites/inspection.py",
    "sites/opening.py",
)  # fmt: skip
"""Files in those folders that no shard depends on."""


@cache
def code_version() -> str:
    """Return the release and the first 12 hex digits of the sha256 over the files of `DECIDING`.

    A change of any of them may change windows, so shard sets of different versions are not merged, and a run that was
    begun with one is not resumed with another. Pages, bundles and command lines are not among them.
    """
    root = Path(__file__).parent
    return f"{__version__}+{files_digest(root, deciding_files(root))[:12]}"


def deciding_files(root: Path) -> list[Path]:
    """Return the source files of `DECIDING` below a copy of signals/, sorted; raises FileNotFoundError for a gap."""
    files = []
    for name in DECIDING:
        if not (root / name).exists():
            raise FileNotFoundError(f"{root / name} is missing, but signals.version.DECIDING names it")
        files += [root / name] if name.endswith(".py") else _sources(root / name)
    return sorted(set(files) - {root / name for name in NOT_DECIDING})


def source_digest(root: Path) -> str:
    """Return the sha256 over names and contents of every source file below a folder."""
    return files_digest(root, _sources(root))


def files_digest(root: Path, files: Iterable[Path]) -> str:
    """Return the sha256 over names, relative to `root`, and contents of files, in the order given."""
    digest = hashlib.sha256()
    for path in files:
        digest.update(path.relative_to(root).as_posix().encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()


def _sources(folder: Path) -> list[Path]:
    return sorted(folder.rglob("*.py"))
