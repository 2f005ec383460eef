"""What must not occur in a shard set: names and numbers that are given, or read anew from the recordings themselves."""

import re
import unicodedata
from collections.abc import Collection
from pathlib import Path

from pipelines.intake.candidates import could_be_recording
from pipelines.intake.hms import HMS
from signals.readers.registry import open_recording
from signals.recording.details import DEVICES
from signals.recording.identity import FILLERS
from signals.recording.recording import UnreadableError

_FILLERS = FILLERS | {"male", "female", "startdate"}
"""Words that stand where an identity would, in files that have none."""
_FOLDER_WORDS = frozenset(
    {
        "data",
        "dataset",
        "eegs",
        "recordings",
        "recording",
        "subjects",
        "patients",
        "session",
        "sessions",
        "files",
        "raw",
    }
    | {"rawdata", "derivatives", "windows", "shards", "sites", "train", "export", "clinic", "hospital", "public"}
)
"""Names of folders that name nobody, and stand in shard sets in other meanings."""
_SHORTEST_WORD, _SHORTEST_NUMBER, _SHORTEST_STEM = 3, 5, 4
_MOST_WORDS = 6


def collapsed(text: str) -> str:
    """Return letters and digits alone, without case or accents: "Müller, Eva_M." -> "mullerevam"."""
    plain = unicodedata.normalize("NFKD", text).casefold()
    return "".join(char for char in plain if char.isalnum())


def listed_identifiers(path: Path) -> frozenset[str]:
    """Return the identifiers of a text file, one per line; raises ValueError for a file without any."""
    lines = [line.strip() for line in path.read_text(encoding="utf-8").splitlines()]
    identifiers = frozenset(collapsed(line) for line in lines) - {""}
    if not identifiers:
        raise ValueError(f"{path} holds no identifier, one per line is expected")
    return identifiers


def source_identifiers(
    folder: Path, sites: Collection[str] = (), *, named_sites: Collection[str] = (), kept_device: bool = False
) -> frozenset[str]:
    """Return what the recordings below a folder hold of persons: header fields, names of files and of folders.

    EDF and BDF headers are read as they lie in the file, so that a fault of the reader is no fault of the check. A word
    of the recording field (hospital, equipment) that is the name of one of `sites` is no identifier; one of the patient
    field always is. With `kept_device` the same holds for makers (`signals.recording.details.DEVICES`). A folder's name
    is one unless it is one of `named_sites`, which somebody declared in a site card or by a rule of the run. Raises
    ValueError for a folder without recordings.
    """
    paths = sorted(path for path in folder.rglob("*") if path.is_file() and could_be_recording(str(path)))
    if not paths:
        raise ValueError(f"{folder} holds no recording")
    identifiers: set[str] = set()
    hospitals = {collapsed(site) for site in sites}
    makers = {word for name in DEVICES for word in (collapsed(name), *_parts(name))} if kept_device else set()
    declared = {collapsed(site) for site in (*named_sites, *(card.site_id for card in HMS))}
    for path in paths:
        stem = collapsed(path.name.split(".")[0])
        patient, recording = _header_fields(path)
        identifiers |= {stem} if len(stem) >= _SHORTEST_STEM else set()
        identifiers |= _parts(patient) | (_parts(recording) - hospitals - makers)
    for name in {folder.name, *(part for path in paths for part in path.relative_to(folder).parts[:-1])}:
        if collapsed(name) not in declared:
            identifiers |= {word for word in {collapsed(name), *_parts(name)} if _names_folder(word)}
    return frozenset(identifiers)


def _names_folder(word: str) -> bool:
    return len(word) >= _SHORTEST_STEM and word not in _FOLDER_WORDS and _identifies(word)


def contained(text: str, identifiers: frozenset[str]) -> str | None:
    """Return the first identifier that a text holds as a word, or as words one character apart, or None."""
    if not identifiers:
        return None
    words = list(re.finditer(r"[^\W_]+", text))
    for first, word in enumerate(words):
        joined, stop = collapsed(word.group()), word.end()
        if joined in identifiers:
            return joined
        for follower in words[first + 1 : first + _MOST_WORDS]:
            # "Mustermann_Erika" is a name in two words, "north: 0.03 h" is no record number north0.
            if follower.start() - stop != 1:
                break
            joined, stop = joined + collapsed(follower.group()), follower.end()
            if joined in identifiers:
                return joined
    return None


def _header_fields(path: Path) -> tuple[str, str]:
    with path.open("rb") as file:
        head = file.read(256)
    if len(head) == 256 and (head[:8] == b"0       " or head[:8] == b"\xffBIOSEMI"):
        # Patient: code, sex, birth date, name. Recording: start date, number, technician, equipment.
        return head[8:88].decode("latin-1"), head[88:168].decode("latin-1")
    try:
        return open_recording(str(path)).patient, ""
    except UnreadableError:
        return "", ""


def _parts(header: str) -> set[str]:
    fields = header.split()
    # EDF+ writes the spaces of a name as underscores. A code is whole with its hyphens: the first part of "ward7-0815"
    # names nobody; a long number does, wherever it stands.
    names = [part for field in fields for part in re.split(r"[_^,;]", field)]
    numbers = [part for field in fields for part in re.findall(r"\d+", field)]
    return {word for word in map(collapsed, [*fields, *names, *numbers]) if _identifies(word)}


def _identifies(word: str) -> bool:
    if word.isdigit():
        return len(word) >= _SHORTEST_NUMBER
    return len(word) >= _SHORTEST_WORD and word not in _FILLERS
