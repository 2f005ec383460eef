"""Which code made a record: the release, and a digest of the source that decides what a window holds."""

import hashlib
from functools import cache
from pathlib import Path

__version__ = "0.1.0"


@cache
def code_version() -> str:
    """Return the release and the first 12 hex digits of the sha256 over every source file of signals/."""
    return f"{__version__}+{source_digest(Path(__file__).parent)[:12]}"


def source_digest(root: Path) -> str:
    """Return the sha256 over names and contents of every source file below a folder."""
    digest = hashlib.sha256()
    for path in sorted(root.rglob("*.py")):
        digest.update(path.relative_to(root).as_posix().encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()
