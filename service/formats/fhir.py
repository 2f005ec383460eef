"""Findings as FHIR R4B: a preliminary report, an observation per event, the model as a device, where it all comes from.

Everything carries the security label AIAST: asserted by an artificial intelligence (HL7's v3 ObservationValue).
"""

import json
from datetime import UTC, datetime
from typing import Any
from uuid import NAMESPACE_URL, uuid5

from service.formats.findings import Event, Findings, events
from service.notice import RESEARCH

_AI = {
    "security": [
        {
            "system": "http://terminology.hl7.org/CodeSystem/v3-ObservationValue",
            "code": "AIAST",
            "display": "Artificial Intelligence asserted",
        }
    ]
}
_NO_FINDING = "Other"


def as_fhir(findings: Findings) -> bytes:
    """Return a Bundle (collection) as JSON; the same findings give the same bytes."""
    found = [event for event in events(findings) if event.predicted_class != _NO_FINDING]
    device, report = _device(findings), _url(findings, "report")
    observations = [_observation(findings, number, event) for number, event in enumerate(found)]
    entries = [
        (report, _report(findings, len(observations))),
        (_url(findings, "device"), device),
        *((_url(findings, f"observation/{number}"), one) for number, one in enumerate(observations)),
        (_url(findings, "provenance"), _provenance(findings, report)),
    ]
    bundle = {
        "resourceType": "Bundle",
        "meta": _AI,
        "type": "collection",
        "timestamp": _time(findings),
        "entry": [{"fullUrl": url, "resource": resource} for url, resource in entries],
    }
    return json.dumps(bundle, indent=1).encode()


def _report(findings: Findings, n_observations: int) -> dict[str, Any]:
    result = [{"reference": _url(findings, f"observation/{number}")} for number in range(n_observations)]
    return {
        "resourceType": "DiagnosticReport",
        "meta": _AI,
        "status": "preliminary",
        "identifier": [{"system": "urn:cerebeam:recording", "value": findings.source_sha256}],
        "code": {"text": "EEG windows classified by a model"},
        "issued": _time(findings),
        "conclusion": f"{n_observations} stretches flagged for expert review. {RESEARCH}",
    } | ({"result": result} if result else {})  # FHIR knows no empty lists


def _observation(findings: Findings, number: int, event: Event) -> dict[str, Any]:
    seconds = {"system": "http://unitsofmeasure.org", "code": "s", "unit": "s"}
    return {
        "resourceType": "Observation",
        "meta": _AI,
        "status": "preliminary",
        "code": {"text": "Predicted pattern"},
        "valueCodeableConcept": {"text": event.predicted_class},
        "device": {"reference": _url(findings, "device")},
        "component": [
            {"code": {"text": "onset in the recording"}, "valueQuantity": {"value": event.onset_s, **seconds}},
            {"code": {"text": "duration"}, "valueQuantity": {"value": event.duration_s, **seconds}},
            {
                "code": {"text": "mean probability of the class"},
                "valueQuantity": {
                    "value": round(event.confidence, 6), "system": "http://unitsofmeasure.org", "code": "1",
                },
            },
        ],
        "note": [{"text": RESEARCH}],
    }  # fmt: skip


def _device(findings: Findings) -> dict[str, Any]:
    return {
        "resourceType": "Device",
        "meta": _AI,
        "identifier": [{"system": "urn:cerebeam:model", "value": findings.model_digest}],
        "deviceName": [{"name": findings.model, "type": "model-name"}],
        "type": {"text": "software: EEG window classifier"},
    }


def _provenance(findings: Findings, report: str) -> dict[str, Any]:
    return {
        "resourceType": "Provenance",
        "meta": _AI,
        "target": [{"reference": report}],
        "recorded": _time(findings),
        "agent": [{"who": {"reference": _url(findings, "device")}}],
        "entity": [
            {
                "role": "source",
                "what": {"identifier": {"system": "urn:cerebeam:recording", "value": findings.source_sha256}},
            }
        ],
    }


def _url(findings: Findings, name: str) -> str:
    return f"urn:uuid:{uuid5(NAMESPACE_URL, f'{findings.source_sha256}/{findings.model_digest}/{name}')}"


def _time(findings: Findings) -> str:
    return datetime.fromtimestamp(findings.created_at, UTC).isoformat(timespec="seconds")
