"""Each format is read by its own library."""

import csv
import io
import json
import zipfile
from dataclasses import replace

import numpy as np
import pyarrow.parquet as pq
import pytest

from service.formats.bids import HED, as_szcore, as_zip, sidecar
from service.formats.edf import as_edf
from service.formats.fhir import as_fhir
from service.formats.findings import Findings, events
from service.formats.formats import FORMATS, write
from service.formats.tables import as_csv, as_parquet
from serving.runtime import Answer

CLASSES = ("Seizure", "LPD", "GPD", "LRDA", "GRDA", "Other")
PREDICTED = ("Other", "Seizure", "Seizure", "LPD", "GPD", "LRDA", "GRDA", "Other")


def answer(start_s, predicted, confidence=0.9):
    rest = (1 - confidence) / 5
    return Answer(
        start_s=start_s, stop_s=start_s + 50.0, predicted_class=predicted,
        class_probabilities={name: confidence if name == predicted else rest for name in CLASSES},
        confidence=confidence, uncertainty={"total": 0.5, "aleatoric": None, "epistemic": None},
        prediction_set=(predicted,), clinical_recommendation="flag for expert review: =cmd|' /C calc'!A0, \"x\"\n",
    )  # fmt: skip


def findings(predicted=PREDICTED, starts=None, span=(20.0, 30.0)):
    starts = starts or [10.0 * n for n in range(len(predicted))]
    answers = [answer(start, name) for start, name in zip(starts, predicted, strict=True)]
    return Findings(
        answers=answers, source_sha256="ab" * 32, model="small", model_digest="cd" * 32, classes=CLASSES,
        created_at=1_795_000_000.0, label_span_s=span,
    )  # fmt: skip


def test_neighbours_of_one_class_are_one_event_and_gaps_end_it():
    found = events(findings())
    assert [(e.onset_s, e.stop_s, e.predicted_class) for e in found[:3]] == [
        (20.0, 30.0, "Other"), (30.0, 50.0, "Seizure"), (50.0, 60.0, "LPD"),
    ]  # fmt: skip
    apart = events(findings(("Seizure", "Seizure"), [0.0, 100.0]))
    assert [(e.onset_s, e.stop_s) for e in apart] == [(20.0, 30.0), (120.0, 130.0)]
    # A hop of 5 s: spans of 10 s overlap, and no second is counted twice.
    dense = events(findings(("Seizure", "LPD", "LPD"), [0.0, 5.0, 10.0]))
    assert [(e.onset_s, e.stop_s) for e in dense] == [(20.0, 25.0), (25.0, 40.0)]
    whole = events(findings(("Seizure",), [0.0], span=None))
    assert (whole[0].onset_s, whole[0].duration_s) == (0.0, 50.0)


def test_the_confidence_of_an_event_is_the_mean_of_its_windows():
    three = replace(findings(), answers=[answer(10.0 * n, "LPD", p) for n, p in enumerate((0.5, 0.6, 1.0))])
    (event,) = events(three)
    assert (event.n_windows, event.confidence) == (3, pytest.approx(0.7))


def test_csv_and_parquet_hold_every_number():
    rows = list(csv.DictReader(io.StringIO(as_csv(findings()).decode())))
    table = pq.read_table(io.BytesIO(as_parquet(findings()))).to_pylist()
    assert [row["predicted_class"] for row in rows] == [row["predicted_class"] for row in table] == list(PREDICTED)
    for name in CLASSES:
        np.testing.assert_array_equal(
            [float(row[f"prob_{name}"]) for row in rows], [row[f"prob_{name}"] for row in table]
        )
    assert len({row["window_key"] for row in table}) == len(table)
    assert as_csv(replace(findings(), answers=[])).strip() == b""


def bids_parts():
    with zipfile.ZipFile(io.BytesIO(as_zip(findings()))) as archive:
        return {name: archive.read(name).decode() for name in archive.namelist()}


def test_bids_events_and_their_hed_tags_are_valid_by_hedtools():
    from hed import Sidecar, TabularInput, load_schema_version

    parts = bids_parts()
    schema = load_schema_version(json.loads(parts["dataset_description.json"])["HEDVersion"])
    side = Sidecar(io.StringIO(parts["events.json"]), name="events.json")
    assert side.validate(schema) == []
    table = TabularInput(io.StringIO(parts["events.tsv"]), sidecar=side, name="events.tsv")
    assert table.validate(schema) == []
    # The check does notice a tag that does not exist.
    spoilt = json.loads(parts["events.json"])
    spoilt["trial_type"]["HED"]["Seizure"] = "Lateralised-periodic-discharge"
    assert Sidecar(io.StringIO(json.dumps(spoilt)), name="x").validate(schema) != []


def test_every_finding_has_a_tag_of_its_own():
    assert set(HED) == set(CLASSES)
    assert len(set(HED.values())) == len(HED)
    assert set(sidecar(findings())["trial_type"]["Levels"]) == set(CLASSES)


def test_edf_annotations_are_read_back_by_two_libraries(tmp_path):
    import edfio
    import pyedflib

    (tmp_path / "x.edf").write_bytes(as_edf(findings()))
    wanted = [(e.onset_s, e.duration_s, e.predicted_class) for e in events(findings())]
    ours = edfio.read_edf(tmp_path / "x.edf").annotations
    assert [(a.onset, a.duration, a.text.split(" ")[0]) for a in ours] == wanted
    with pyedflib.EdfReader(str(tmp_path / "x.edf")) as reader:
        onsets, durations, texts = reader.readAnnotations()
    assert [(o, d, t.split(" ")[0]) for o, d, t in zip(onsets, durations, texts, strict=True)] == wanted


def test_fhir_resources_are_valid_and_marked_as_a_machines():
    from fhir.resources.R4B.bundle import Bundle

    content = json.loads(as_fhir(findings()))
    bundle = Bundle.model_validate(content)
    kinds = [entry.resource.get_resource_type() for entry in bundle.entry]
    n_findings = sum(e.predicted_class != "Other" for e in events(findings()))
    assert kinds == ["DiagnosticReport", "Device", *["Observation"] * n_findings, "Provenance"]
    for entry in content["entry"]:
        assert entry["resource"]["meta"]["security"][0]["code"] == "AIAST"
    report = bundle.entry[0].resource
    assert report.status == "preliminary"
    urls = {entry.fullUrl for entry in bundle.entry}
    assert {result.reference for result in report.result} <= urls
    assert as_fhir(findings()) == as_fhir(findings())
    nothing = json.loads(as_fhir(findings(("Other",))))
    Bundle.model_validate(nothing)
    assert "result" not in nothing["entry"][0]["resource"]
    broken = json.loads(as_fhir(findings()))
    broken["entry"][0]["resource"]["status"] = []
    with pytest.raises(ValueError):
        Bundle.model_validate(broken)


def seconds(text):
    rows = list(csv.DictReader(io.StringIO(text.decode()), delimiter="\t"))
    assert list(rows[0]) == [
        "onset",
        "duration",
        "eventType",
        "confidence",
        "channels",
        "dateTime",
        "recordingDuration",
    ]
    return [(float(r["onset"]), float(r["onset"]) + float(r["duration"])) for r in rows if r["eventType"] == "sz"]


def test_szcore_scores_the_seizures_as_they_are():
    from timescoring.annotations import Annotation
    from timescoring.scoring import EventScoring

    found = seconds(as_szcore(findings()))
    assert found == [(30.0, 50.0)]
    truth = Annotation([(32.0, 49.0)], 10, 1200)
    score = EventScoring(truth, Annotation(found, 10, 1200))
    assert (score.sensitivity, score.precision) == (1.0, 1.0)
    assert seconds(as_szcore(findings(("Other",)))) == []


def test_every_format_is_written():
    for name in set(FORMATS) - {"json"}:
        content, kind, suffix = write(findings(), name)
        assert content
        assert "/" in kind
        assert suffix.startswith((".", "_"))
