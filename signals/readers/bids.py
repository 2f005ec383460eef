"""BIDS sidecars: what `*_channels.tsv`, `*_events.tsv`, `*_eeg.json` and the data set's own files say of a recording.

Follows the Brain Imaging Data Structure 1.10, EEG (Pernet et al. 2019, doi:10.1038/s41597-019-0104-8). A sidecar speaks
of a file if all entities of its name ("sub-01", "task-rest") are the file's; of tables the nearest one counts, of JSON
the nearest value of each key (the inheritance principle). A sidecar that cannot be read is a note, not a failure: the
recording itself is sound.
"""

import csv
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from signals.readers.channels.units import is_unstated, scaling_of
from signals.recording.details import Details, known_device, person_details
from signals.recording.recording import Annotation, ReadSamples, Recording

_SENSOR_TYPES = {
    "eeg": "eeg", "eog": "eog", "veog": "eog", "heog": "eog", "ecg": "ecg", "emg": "emg", "resp": "resp",
    "trig": "stim",
}  # fmt: skip
"""Of the types of channels.tsv; all others (MISC, REF, GSR, PPG, TEMP, ACCEL, ...) are "misc"."""
BIDS_TABLES = ("participants.tsv", "dataset_description.json")
"""What the root of a tree says of its recordings."""
_SIDECARS = ("channels.tsv", "events.tsv", "eeg.json")
Row = dict[str, str]


@dataclass(frozen=True)
class Place:
    """Where a file stands in a BIDS tree."""

    dataset: str
    """Name of the site: participants.tsv's `site`, else the data set's name, else its folder's."""
    subject: str
    """"sub-01"."""


def bids_root(path: Path) -> Path | None:
    """Return the root of the BIDS tree that a recording lies in, None for other files.

    The file is named "sub-<label>_..._eeg.<suffix>" and lies below a folder of the same "sub-<label>".
    """
    subject, _, rest = path.name.partition("_")
    if not subject.startswith("sub-") or not path.name.split(".")[0].endswith("_eeg") or not rest:
        return None
    return next((folder.parent for folder in path.parents if folder.name == subject), None)


def place_of(path: Path) -> Place | None:
    """Return data set and subject of a recording in a BIDS tree, None for other files."""
    root = bids_root(path)
    if root is None:
        return None
    subject = path.name.partition("_")[0]
    participant = _participant(path, root)
    about = _json(root / "dataset_description.json")
    named = next((participant[key] for key in ("site", "site_id") if _is_stated(participant.get(key))), "")
    return Place(named or str(about.get("Name") or root.name), subject)


def with_sidecars(recording: Recording, path: Path) -> Recording:
    """Return the recording with types, bad channels, events, reference and mains as its BIDS sidecars give them.

    Channels of status "bad" become "misc", so they are left out and interpolated. Units are taken where the recording
    itself says none. The notes say what was taken and what contradicts.
    """
    root = bids_root(path)
    if root is None:
        return recording
    notes: list[str] = []
    recording = _with_channels(recording, _nearest(path, root, "channels.tsv"), notes)
    recording = _with_events(recording, _nearest(path, root, "events.tsv"), notes)
    about: dict[str, Any] = {}
    for sidecar in reversed(_sidecars(path, root, "eeg.json")):
        about |= _json(sidecar, notes)
    sfreq = about.get("SamplingFrequency")
    if isinstance(sfreq, int | float) and not any(np.isclose(sfreq, rate, rtol=1e-3) for rate in recording.sfreqs):
        notes.append("bids_sfreq_disagrees")
    mains_hz = about.get("PowerLineFrequency")
    return replace(
        recording,
        reference=recording.reference or str(about.get("EEGReference") or ""),
        mains_hz=float(mains_hz) if mains_hz in (50, 60) else recording.mains_hz,
        details=_details(path, root, about).filled(recording.details),
        notes=(*recording.notes, *dict.fromkeys(notes)),
    )


def _details(path: Path, root: Path, about: dict[str, Any]) -> Details:
    """Return the device as the sidecar, and what is known of the person as participants.tsv gives it."""
    device = f"{about.get('Manufacturer') or ''} {about.get('ManufacturersModelName') or ''}"
    row = _participant(path, root)
    person = person_details(
        age=_number(row.get("age", "").removesuffix("+")), sex=row.get("sex", ""), height_cm=_number(row.get("height")),
        weight_kg=_number(row.get("weight")),
    )  # fmt: skip
    return replace(person, device=known_device(device))


def _participant(path: Path, root: Path) -> Row:
    subject = path.name.partition("_")[0]
    return next((row for row in _rows(root / "participants.tsv") if row.get("participant_id") == subject), {})


def _with_channels(recording: Recording, sidecar: Path | None, notes: list[str]) -> Recording:
    rows = {row.get("name", "").strip(): row for row in _rows(sidecar, notes)}
    if not rows:
        return recording
    if not set(rows) & set(recording.ch_names):
        notes.append("bids_channels_unmatched")
        return recording
    units = recording.units or ("µV",) * len(recording.ch_names)
    types, factors = [], []
    for name, old_type, unit in zip(recording.ch_names, recording.sensor_types, units, strict=True):
        row = rows.get(name, {})
        type_name = row.get("type", "").strip().lower()
        named = _SENSOR_TYPES.get(type_name, "misc") if _is_stated(type_name) else old_type
        better = row.get("units", "").strip()
        if _is_stated(better) and is_unstated(unit):
            notes.append("bids_units")
        elif _is_stated(better) and scaling_of("eeg", better).factor != scaling_of("eeg", unit).factor:
            notes.append("bids_unit_disagrees")  # the header is what the samples were written with
        old = scaling_of(name, unit, sensor_type=old_type)
        new = scaling_of(name, better if _is_stated(better) and is_unstated(unit) else unit, sensor_type=named)
        is_bad = row.get("status", "").strip().lower() == "bad"
        if is_bad:
            notes.append("bids_bad_channels")
        types.append("misc" if is_bad else new.sensor_type)
        factors.append(new.factor / old.factor)
    if "bids_units" in notes:
        kept = tuple(note for note in recording.notes if note != "unit_guessed")
        recording = replace(recording, notes=kept)
    recording = replace(recording, sensor_types=tuple(types))
    if all(factor == 1.0 for factor in factors):
        return recording
    return replace(recording, read_samples=partial(_read_scaled, recording.read_samples, tuple(factors)))


def _read_scaled(
    body: ReadSamples, factors: Sequence[float], picks: Sequence[int], segment: int, start: int, stop: int
) -> np.ndarray:
    scale = np.array([factors[pick] for pick in picks])[:, None]
    return (body(picks, segment, start, stop) * scale).astype(np.float32)


def _with_events(recording: Recording, sidecar: Path | None, notes: list[str]) -> Recording:
    """Return the recording with the table's events in place of its own, which they were made from."""
    if sidecar is None:
        return recording
    events = []
    for row in _rows(sidecar, notes):
        onset_s, duration_s = _number(row.get("onset")), _number(row.get("duration"))
        text = next((row[key] for key in ("trial_type", "value") if _is_stated(row.get(key))), "")
        if onset_s is not None:
            events.append(Annotation(onset_s, max(duration_s or 0.0, 0.0), text))
    return replace(recording, annotations=tuple(sorted(events, key=lambda event: event.onset_s)))


def _sidecars(path: Path, root: Path, suffix: str) -> list[Path]:
    """Return the sidecars that speak of a file, the nearest first."""
    found = []
    for folder in path.parents:
        candidates = sorted(folder.glob(f"*{suffix}"), key=lambda p: (-len(p.name), p.name))
        found += [candidate for candidate in candidates if _speaks_of(path, candidate.name, suffix)]
        if folder == root:
            break
    return found


def is_sidecar_of(path: Path, name: str) -> bool:
    """Return whether a file of that name, in a folder above a recording, is a sidecar that speaks of it."""
    return any(_speaks_of(path, name, suffix) for suffix in _SIDECARS)


def _speaks_of(path: Path, name: str, suffix: str) -> bool:
    entities = set(path.name.split(".")[0].split("_")[:-1])
    return name == suffix or (name.endswith(f"_{suffix}") and set(name[: -len(suffix) - 1].split("_")) <= entities)


def _nearest(path: Path, root: Path, suffix: str) -> Path | None:
    return next(iter(_sidecars(path, root, suffix)), None)


def _rows(path: Path | None, notes: list[str] | None = None) -> list[Row]:
    """Return the rows of a table of tab-separated values; none where it is missing or cannot be read."""
    if path is None or not path.is_file():
        return []
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            rows = list(csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE))
    except (UnicodeDecodeError, csv.Error):
        if notes is not None:
            notes.append("bids_sidecar_unreadable")
        return []
    return [{key: value or "" for key, value in row.items() if isinstance(key, str)} for row in rows]


def _json(path: Path, notes: list[str] | None = None) -> dict[str, Any]:
    if not path.is_file():
        return {}
    try:
        content = json.loads(path.read_text(encoding="utf-8-sig"))
    except ValueError:
        content = None
    if not isinstance(content, dict):
        if notes is not None:
            notes.append("bids_sidecar_unreadable")
        return {}
    return content


def _is_stated(value: str | None) -> bool:
    return bool(value) and str(value).strip().lower() not in {"", "n/a"}


def _number(text: str | None) -> float | None:
    try:
        value = float(text or "")
    except ValueError:
        return None
    return value if np.isfinite(value) else None
