"""Nihon Kohden .EEG with its side files (.21E electrode names, .LOG events, .PNT patient), through MNE.

MNE finds side files in capitals only, and takes the standard electrode table where there is none; and it joins data
blocks as if nothing lay between them. Here side files are found in any case, and the clocks of the blocks, which count
whole seconds, tell how long a pause was.
"""

import struct
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import replace
from datetime import datetime
from itertools import pairwise
from pathlib import Path

from signals.readers.mne_raw import recording_of_raw
from signals.recording.recording import Recording

_DEVICES = (b"EEG-1100A V01.00", b"EEG-1100B V01.00", b"EEG-1100C V01.00", b"QI-403A   V01.00", b"QI-403A   V02.00",
            b"EEG-2100  V01.00", b"EEG-2100  V02.00", b"DAE-2100D V01.30", b"DAE-2100D V02.00",
            b"EEG-1200A V01.00")  # fmt: skip
_SIDES = (".21E", ".LOG", ".PNT")
_ID, _NAME = (0x604, 10), (0x62E, 20)
"""Place and length of the patient's number and name in the .PNT file, as in Teunis van Beelen's nk2edf."""


def is_nihon_kohden(head: bytes) -> bool:
    """Return whether a file begins with the name of a Nihon Kohden device."""
    return head.startswith(_DEVICES)


def open_nihon_kohden(path: Path) -> Recording:
    """Return the recording in an .EEG file; pauses between its data blocks are gaps.

    Without a .21E file the maker's standard table of electrodes is taken, with the note "standard_electrode_table".
    """
    import mne

    with ExitStack() as stack:
        sides = _sides(path)
        named = path
        if any(side.name != path.with_suffix(ending).name for ending, side in sides.items()):
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="nihon-kohden-")))
            named = folder / path.name
            for ending, side in sides.items():
                named.with_suffix(ending).symlink_to(side.resolve())
            named.symlink_to(path.resolve())
        raw = mne.io.read_raw_nihon(named, encoding="latin1", verbose="ERROR")
        raw.filenames = [path]
    notes = () if ".21E" in sides else ("standard_electrode_table",)
    recording = recording_of_raw(raw, uri=str(path), reader="nihon-kohden", pauses=_pauses(path), notes=notes)
    return replace(recording, patient=_patient(sides[".PNT"])) if ".PNT" in sides else recording


def nihon_kohden_files(path: Path) -> tuple[Path, ...]:
    """Return the .EEG file and those of its side files that exist."""
    return (path, *_sides(path).values())


def _sides(path: Path) -> dict[str, Path]:
    """Return the side files that exist by ending in capitals."""
    spellings = {ending: (ending, ending.lower()) for ending in _SIDES}
    return {
        ending: next(path.with_suffix(spelling) for spelling in both if path.with_suffix(spelling).is_file())
        for ending, both in spellings.items()
        if any(path.with_suffix(spelling).is_file() for spelling in both)
    }


def _pauses(path: Path) -> list[tuple[int, float]]:
    """Return (first sample after it, seconds lost) of each pause between data blocks; 0 s without a clock."""
    blocks = _blocks(path)
    pauses, at = [], 0
    for (before, n_times, seconds), (after, _, _) in pairwise(blocks):
        at += n_times
        lost_s = (after - before).total_seconds() - seconds if before and after else 0.0
        pauses.append((at, max(lost_s, 0.0)))
    return pauses


def _blocks(path: Path) -> list[tuple[datetime | None, int, float]]:
    """Return the clock at the start, the number of samples and the seconds of each data block."""
    with path.open("rb") as file:

        def fields(offset: int, form: str) -> tuple[int, ...]:
            file.seek(offset)
            return struct.unpack(form, file.read(struct.calcsize(form)))

        (control,) = fields(0x92, "<I")
        (n_blocks,) = fields(control + 17, "<B")
        blocks = []
        for number in range(n_blocks):
            (address,) = fields(control + 18 + 20 * number, "<I")
            *clock, rate, tenths = fields(address + 0x14, "<6BHI")
            blocks.append((_clock(clock), tenths * (rate & 0x3FFF) // 10, tenths / 10))
    return blocks


def _clock(bcd: Sequence[int]) -> datetime | None:
    """Return a block's clock: year, month, day, hour, minute, second, two decimal digits in each byte."""
    year, month, day, hour, minute, second = (10 * (byte >> 4) + (byte & 15) for byte in bcd)
    try:
        return datetime(2000 + year if year < 70 else 1900 + year, month, day, hour, minute, second)
    except ValueError:
        return None


def _patient(path: Path) -> str:
    octets = path.read_bytes()
    parts = (octets[start : start + length].split(b"\0")[0].decode("latin-1").strip() for start, length in (_ID, _NAME))
    return " ".join(part for part in parts if part)
