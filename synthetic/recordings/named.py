"""Recordings, sidecars and a label file that name somebody wherever there is room: what a run must leave behind."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from synthetic.recordings.files import write_edf

PLANTED: dict[str, str] = {
    "Ruprecht": "name of the folder that a run is given",
    "Quandt": "name of a patient's folder",
    "Ottilie": "name of a patient's folder",
    "Zebulon": "name of a folder and of a file that cannot be read",
    "Mustermann": "patient field of a header, an annotation",
    "Erika": "patient field of a header, an annotation",
    "MRN4711": "patient code of a header",
    "Walburga": "technician in the recording field of a header",
    "SN998877": "equipment in the recording field of a header",
    "Philomena": "transducer field of a header",
    "Quincy": "annotation",
    "Penthesilea": "BIDS folder and file, participants.tsv",
    "Tannhauser": "events.tsv, channels.tsv",
    "Hollerbach": "participants.tsv, dataset_description.json, site of the label file",
    "Kunigunde": "eeg.json",
    "Xaverine": "subject and a file name of the label file",
}
"""Names, and where each is planted."""
_NAMES, _SFREQ, _SECONDS = ("Fp1", "Fp2", "O1", "O2"), 100, 25
_PATIENT = "MRN4711 F 12-MAR-1961 Erika_Mustermann"
_RECORDING = "Startdate 14-OCT-2008 0049-30 Walburga SN998877"
_TRANSDUCER = "Philomena's electrode"
_NOTES: Mapping[int, tuple[float, str]] = {
    1: (0.0, "Sz"),
    2: (0.0, "seizure end"),
    3: (0.0, "Dr. Quincy called Erika Mustermann"),
}


@dataclass(frozen=True)
class NamedTree:
    """A folder whose files name somebody."""

    root: Path
    labels: Path
    """The label file; it lies within `root`."""
    sound: Sequence[Path]
    """Recordings that can be used."""
    broken: Path
    """A recording that is quarantined."""


def write_named(folder: Path) -> NamedTree:
    """Write a tree of two sound recordings, one of them in a BIDS tree, and a cut one; see `PLANTED`."""
    root = folder / "Dr_Ruprecht"
    first = root / "Quandt_Ottilie" / "eeg.edf"
    _write_recording(first, seed=0)
    bids = root / "study" / "sub-Penthesilea" / "eeg" / "sub-Penthesilea_task-rest_eeg.edf"
    _write_recording(bids, seed=1)
    _write_sidecars(bids)
    broken = root / "Zebulon" / "Zebulon_broken.edf"
    broken.parent.mkdir()
    broken.write_bytes(first.read_bytes()[:700])
    rows = ["site,file,subject,onset_s,label", "Station Hollerbach,eeg.edf,Xaverine,,rest",
            "Station Hollerbach,Xaverine_2.edf,Xaverine,,rest"]  # fmt: skip
    (root / "labels.csv").write_text("\n".join(rows) + "\n")
    return NamedTree(root, root / "labels.csv", (first, bids), broken)


def _write_recording(path: Path, *, seed: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    x = 20 * np.random.default_rng(seed).standard_normal((len(_NAMES), _SECONDS * _SFREQ))
    write_edf(
        path, [x], file_format="edf+d", ch_names=_NAMES, sfreq=_SFREQ, patient=_PATIENT,
        record_onsets_s=list(range(_SECONDS)), notes=_NOTES,
    )  # fmt: skip
    octets = bytearray(path.read_bytes())
    n_signals = int(octets[252:256])
    octets[88:168] = _RECORDING.encode().ljust(80)
    octets[256 + 16 * n_signals : 256 + 96 * n_signals] = _TRANSDUCER.encode().ljust(80) * n_signals
    path.write_bytes(octets)


def _write_sidecars(recording: Path) -> None:
    stem, study = recording.name.removesuffix("_eeg.edf"), recording.parents[2]
    texts = {
        recording.with_name(f"{stem}_events.tsv"): "onset\tduration\ttrial_type\n1\t0\tTannhauser entered\n",
        recording.with_name(f"{stem}_channels.tsv"): "name\ttype\tunits\tdescription\nFp1\tEEG\tuV\tby Tannhauser\n",
        recording.with_name(f"{stem}_eeg.json"): '{"InstitutionName": "Praxis Kunigunde", "PowerLineFrequency": 50}',
        study / "participants.tsv": "participant_id\tsite\nsub-Penthesilea\tKlinik Hollerbach\n",
        study / "dataset_description.json": '{"Name": "Study of Hollerbach"}',
    }
    for path, text in texts.items():
        path.write_text(text)
