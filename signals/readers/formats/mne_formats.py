"""Formats that MNE reads by range, each opened and read in a process of its own (`signals.readers.isolated`).

ANT Neuro (through antio, a compiled library), Compumedics Curry (curryreader), EGI .mff (mffpy), GDF. What MNE does not
take from a file, or would take wrongly, is added here.
"""

from dataclasses import replace
from pathlib import Path

import numpy as np

from signals.readers.isolated import require
from signals.readers.mne_raw import recording_of_raw
from signals.recording.recording import Recording, UnreadableError

GDF_MAGIC = b"GDF "
_GDF_FIXED = 256
_GDF_SAMPLES = 216
"""Bytes per channel before the numbers of samples per record: 16 + 80 + 8 + 4 x 8 + 80."""


def open_ant(path: Path) -> Recording:
    """Return the recording in an ANT Neuro .cnt file; amplifier disconnections become gaps."""
    require("antio", "antio", "ANT Neuro .cnt")
    import mne

    return recording_of_raw(mne.io.read_raw_ant(path, verbose="ERROR"), uri=str(path), reader="ant")


def is_ant(head: bytes) -> bool:
    """Return whether a file's first bytes are of ANT's RIFF form."""
    return (head.startswith(b"RIFF") and head[8:11] == b"CNT") or (head.startswith(b"RF64") and head[12:15] == b"CNT")


def open_gdf(path: Path) -> Recording:
    """Return the recording in a GDF file; channels below the highest rate are left out, for MNE would resample them.

    Raises UnreadableError "unsupported_format" where those are the most.
    """
    import mne

    sizes = _gdf_sizes(path)
    kept = [channel for channel, size in enumerate(sizes) if size == max(sizes)]
    if 2 * len(kept) < len(sizes):
        raise UnreadableError("unsupported_format", "most channels are below the highest rate; convert it to EDF")
    raw = mne.io.read_raw_gdf(path, verbose="ERROR")
    if len(kept) < len(sizes):  # leaving them out when it opens makes MNE 1.13 read other channels in their place
        raw.pick(kept)
    with path.open("rb") as file:
        patient = file.read(74)[8:].decode("latin-1").strip("\0 ")
    notes = ("mixed_rates",) if len(kept) < len(sizes) else ()
    return replace(recording_of_raw(raw, uri=str(path), reader="gdf", notes=notes), patient=patient)


def _gdf_sizes(path: Path) -> list[int]:
    """Return the number of samples per data record of each channel."""
    with path.open("rb") as file:
        fixed = file.read(_GDF_FIXED)
        # GDF 1.x counts channels in 32 bits, GDF 2.x in 16.
        n_chans = int.from_bytes(fixed[252:256] if fixed[4:5] == b"1" else fixed[252:254], "little")
        table = file.read(256 * n_chans) if 0 < n_chans < 65536 else b""
    if len(table) < 256 * n_chans or not table:
        raise UnreadableError("corrupt_header", f"a header of {n_chans} channels in {path.stat().st_size} bytes")
    sizes: list[int] = np.frombuffer(table, "<u4", n_chans, _GDF_SAMPLES * n_chans).tolist()
    return sizes


def open_curry(path: Path) -> Recording:
    """Return the recording of Curry 7 (.dap with .dat, .rs3) or 8 (.cdt with .cdt.dpa).

    curryreader decodes the whole file when it opens; ranges are read from it afterwards.
    """
    require("curryreader", "curryreader", "Curry")
    import mne

    files = curry_files(path)
    parameters = next((file for file in files if file.suffix in (".dap", ".dpa", ".dpo")), None)
    data = next((file for file in files if file.suffix in (".dat", ".cdt")), None)
    if parameters is None or data is None:
        raise UnreadableError("missing_file", "the samples (.dat) or the parameters (.cdt.dpa) are not beside it")
    text = parameters.read_text(encoding="latin-1")
    trials = [line.partition("=")[2].strip() for line in text.splitlines() if line.strip().startswith("NumTrials")]
    if trials and trials[0] not in ("0", "1"):
        raise UnreadableError("unsupported_format", f"epoched data ({trials[0]} trials); a continuous file is needed")
    return recording_of_raw(mne.io.read_raw_curry(data, verbose="ERROR"), uri=str(path), reader="curry")


def curry_files(path: Path) -> tuple[Path, ...]:
    """Return the .cdt or .dap file and those of the files beside it that belong to it and exist."""
    if path.suffix.lower() == ".dap":
        sides = [path.with_suffix(ending) for ending in (".dat", ".rs3", ".cef", ".ceo")]
    else:
        sides = [path.with_name(path.name + ending) for ending in (".dpa", ".dpo", ".cef", ".ceo")]
    return (path, *(side for side in sides if side.is_file()))


def open_mff(path: Path) -> Recording:
    """Return the recording in an EGI .mff folder, by channels E1, E2, ...; pauses between its epochs become gaps."""
    require("mffpy", "mffpy", "EGI .mff")
    import mne

    return recording_of_raw(mne.io.read_raw_egi(path, verbose="ERROR"), uri=str(path), reader="egi-mff")


def mff_files(path: Path) -> tuple[Path, ...]:
    """Return the files inside an .mff folder, in order of their names."""
    return tuple(sorted(file for file in path.iterdir() if file.is_file()))
