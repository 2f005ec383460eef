"""Events as BIDS writes them (events.tsv with a sidecar, HED-SCORE tags), and as SzCORE compares seizures.

HED 8.4.0 with its library SCORE 2.1.0 has, for patterns in critically ill patients, one tag for periodic discharges
and one for rhythmic delta activity: LPD, GPD, LRDA and GRDA are these two with a location. Its tags for lateralized
and generalized periodic discharges belong to interictal activity and are not used.
"""

import io
import json
import zipfile

from service.formats.findings import Findings, events

SCHEMA = "score_2.1.0"
HED = {
    "Seizure": "Electroencephalographic-seizure",
    "LPD": "(Critically-ill-patient-periodic-discharges, Lateral)",
    "GPD": "(Critically-ill-patient-periodic-discharges, (Left, Right))",
    "LRDA": "(Rhythmic-delta-activity, Lateral)",
    "GRDA": "(Rhythmic-delta-activity, (Left, Right))",
    "Other": "Label/Other",
}
"""Tags of the six classes; Other is no finding, only a label."""
_SEIZURE = ("seizure",)
_ANY_DATE = "1985-01-01 00:00:00"
"""EDF+'s date of recordings whose date is nobody's business."""


def events_tsv(findings: Findings) -> str:
    """Return events.tsv: onset, duration, trial_type, confidence; findings and what is none."""
    lines = ["onset\tduration\ttrial_type\tconfidence\tn_windows"]
    lines += [
        f"{e.onset_s:g}\t{e.duration_s:g}\t{e.predicted_class}\t{e.confidence:.6f}\t{e.n_windows}"
        for e in events(findings)
    ]
    return "\n".join(lines) + "\n"


def sidecar(findings: Findings) -> dict[str, object]:
    """Return events.json: what the columns are, and the HED tags of each class."""
    return {
        "trial_type": {
            "LongName": "Predicted class",
            "Description": "Class of neighbouring answers. Research use only.",
            "Levels": {name: f"predicted {name}" for name in findings.classes},
            "HED": {name: HED[name] for name in findings.classes if name in HED},
        },
        "confidence": {"Description": "Mean probability of the class over the event's windows"},
        "n_windows": {"Description": "Answers that make the event"},
    }


def as_zip(findings: Findings) -> bytes:
    """Return events.tsv, events.json and dataset_description.json in one archive."""
    described = {
        "Name": "Predicted events",
        "BIDSVersion": "1.10.0",
        "HEDVersion": SCHEMA,
        "DatasetType": "derivative",
        "GeneratedBy": [{"Name": f"cerebeam {findings.model}", "Version": findings.model_digest}],
    }
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, text in (
            ("dataset_description.json", json.dumps(described, indent=1)),
            ("events.tsv", events_tsv(findings)),
            ("events.json", json.dumps(sidecar(findings), indent=1)),
        ):
            archive.writestr(zipfile.ZipInfo(name, (1985, 1, 1, 0, 0, 0)), text)
    return content.getvalue()


def as_szcore(findings: Findings) -> bytes:
    """Return seizures alone in SzCORE's columns (Dan et al. 2024, doi:10.1111/epi.18113); without any, background."""
    head = "onset\tduration\teventType\tconfidence\tchannels\tdateTime\trecordingDuration"
    found = [event for event in events(findings) if event.predicted_class.lower() in _SEIZURE]
    rows = [(e.onset_s, e.duration_s, "sz", f"{e.confidence:.6f}") for e in found]
    rows = rows or [(0.0, findings.stop_s, "bckg", "n/a")]
    tail = f"n/a\t{_ANY_DATE}\t{findings.stop_s:.2f}"
    lines = [f"{onset:.2f}\t{duration:.2f}\t{kind}\t{confidence}\t{tail}" for onset, duration, kind, confidence in rows]
    return "\n".join([head, *lines, ""]).encode()
