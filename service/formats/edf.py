"""Events as annotations of a new EDF+ file without signals; the source is never touched."""

import tempfile
from pathlib import Path

from service.formats.findings import Findings, events


def as_edf(findings: Findings) -> bytes:
    """Return an EDF+C file that holds one annotation per event: class, mean confidence, model.

    Names and dates are EDF+'s anonymous ones. Raises ImportError without edfio.
    """
    from edfio import Edf, EdfAnnotation, Recording

    notes = [
        EdfAnnotation(event.onset_s, event.duration_s, f"{event.predicted_class} p={event.confidence:.2f} (predicted)")
        for event in events(findings)
    ]
    edf = Edf([], annotations=notes, recording=Recording(equipment_code=f"cerebeam_{findings.model_digest[:12]}"))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "events.edf"
        edf.write(path)
        return path.read_bytes()
