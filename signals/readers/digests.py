"""Digests of recordings, whatever number of files they consist of."""

import hashlib
from pathlib import Path

from signals.files import file_sha256
from signals.readers.registry import source_files
from signals.readers.remote import local_copy, remote_sha256

IN_MEMORY = "0" * 64
"""Stands for the sha256 of a recording that comes from no file."""


def source_sha256(path: Path | str) -> str:
    """Return the sha256 of a recording's file, 64 hex digits, read in blocks.

    A recording of several files (BrainVision, EEGLAB with .fdt, split FIF) has the sha256 of its files' digests, in the
    order of `signals.readers.registry.source_files`; file names do not enter.
    Raises UnreadableError where the file cannot be recognised.
    """
    with local_copy(str(path)):
        if (digest := remote_sha256(str(path))) is not None:
            return digest
        digests = [file_sha256(file) for file in source_files(path)]
    if len(digests) == 1:
        return digests[0]
    return hashlib.sha256("".join(digests).encode()).hexdigest()
