"""MNE's FIF files, through MNE, by range.

The first look at a file happens in a process of its own (`signals.readers.isolated`); what opens there and gives its
first and last samples is then read in-process.
"""

from pathlib import Path
from typing import Any

from signals.readers.isolated import open_probed, reopen_probed
from signals.readers.mne_raw import recording_of_raw
from signals.recording.recording import Recording, UnreadableError

FIF_MAGIC = b"\x00\x00\x00\x64\x00\x00\x00\x1f"
"""Tag FIFF_FILE_ID (100) of type FIFFT_ID_STRUCT (31), big-endian."""


def open_fif(path: Path) -> Recording:
    """Return the recording in a raw FIF file; V becomes µV (ECG: mV), channels of other kinds stay as they are.

    MNE looks at it in a process of its own. Raises UnreadableError: "unsupported_format" for FIF files without
    continuous data, "reader_crashed" or "reader_timeout" where MNE fails.
    """
    return open_probed(_open, path)


def reopen_fif(path: Path) -> Recording:
    """Return the same as `open_fif` for a file that it has accepted before, without a process of its own."""
    return reopen_probed(_open, path)


def _open(path: Path) -> Recording:
    return recording_of_raw(_open_raw(path), uri=str(path), reader="fif")


def _open_raw(path: Path) -> Any:
    """Return MNE's lazy object, which opens the file for each read only."""
    import mne

    try:
        return mne.io.read_raw_fif(path, preload=False, verbose="ERROR")
    except ValueError as error:
        if "No raw data" in str(error):
            raise UnreadableError("unsupported_format", "a FIF file without continuous data") from error
        raise


def fif_files(path: Path) -> tuple[Path, ...]:
    """Return the file and the parts that MNE split off it ("x_raw-1.fif", "x_raw-2.fif", ...)."""
    files, number = [path], 1
    while (part := path.with_name(f"{path.stem}-{number}{path.suffix}")).is_file():
        files.append(part)
        number += 1
    return tuple(files)
