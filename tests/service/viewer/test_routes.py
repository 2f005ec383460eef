"""What the viewer's routes give, over HTTP, byte by byte."""

import json
import struct
import time

import httpx
import numpy as np
import pytest

from service.formats.findings import Findings
from service.records import jobs
from service.viewer.packing import MISSING, pack, quantised
from service.viewer.pages import KINDS, STATIC
from service.viewer.tracks import answer_rows, finding_rows, trend_columns, unanswered
from serving.runtime import Answer
from signals.readers.registry import open_recording
from signals.viewing.envelope import BIN
from signals.viewing.filters import ViewFilter
from signals.viewing.montages import view_montage
from signals.viewing.traces import Traces
from signals.viewing.trends import Trends


def unpack(content):
    assert content[:4] == b"CBV1"
    (length,) = struct.unpack("<I", content[4:8])
    fields = json.loads(content[8 : 8 + length])
    arrays = {}
    for name, place in fields.pop("arrays").items():
        start, n = 8 + length + place["offset"], int(np.prod(place["shape"]))
        assert start % 8 == 0
        arrays[name] = np.frombuffer(content, place["type"], n, start).reshape(place["shape"])
    return fields, arrays


def get(shown, path, **values):
    return httpx.get(f"{shown.url}/api/viewer/{path}", params=values, timeout=30)


def made(shown, path, **values):
    until = time.monotonic() + 30
    while (reply := get(shown, path, **values)).status_code == 202 and time.monotonic() < until:
        time.sleep(0.1)
    assert reply.status_code == 200, reply.text
    return reply


def µv(arrays):
    x = arrays["x"].astype(np.float64)
    x[arrays["x"] == MISSING] = np.nan
    return x * arrays["scale"].reshape(-1, *[1] * (x.ndim - 1))


def reference(shown, name="day.edf"):
    recording = open_recording(str(shown.folder / name))
    sfreq = recording.sfreqs[0]
    return Traces(
        recording=recording, montage=view_montage(recording, "longitudinal", sfreq=sfreq),
        filter=ViewFilter(sfreq=sfreq, l_freq=0.5, h_freq=70.0),
    )  # fmt: skip


def test_samples_are_those_of_the_file_within_a_step(shown):
    fields, arrays = unpack(get(shown, "traces", recording="day.edf", step=1, first=100_000, count=2560).content)
    wanted = reference(shown).read(100_000, 102_560)
    assert (fields["step"], fields["first"], arrays["x"].shape) == (1, 100_000, (18, 2560))
    assert np.abs(µv(arrays) - wanted).max() <= arrays["scale"].max() / 2 + 1e-3
    assert arrays["scale"].max() < 0.2


def test_a_page_and_an_overview_are_small(shown):
    page = get(shown, "traces", recording="day.edf", step=1, first=0, count=2560, montage="recorded")
    assert len(page.content) <= 100_000  # 19 x 2560 x 2 bytes are 97,280
    overview = made(shown, "traces", recording="day.edf", step=5 * BIN, first=0, count=1440, montage="recorded")
    assert len(overview.content) <= 130_000


@pytest.mark.parametrize("step", [3, 200, 4 * BIN, 9 * BIN])
def test_columns_hold_the_extremes_of_their_samples(shown, step):
    _, arrays = unpack(made(shown, "traces", recording="day.edf", step=step, first=20, count=30).content)
    x = reference(shown).read(20 * step, 50 * step).reshape(18, 30, step)
    np.testing.assert_allclose(µv(arrays)[..., 0], x.min(axis=-1), atol=arrays["scale"].max())
    np.testing.assert_allclose(µv(arrays)[..., 1], x.max(axis=-1), atol=arrays["scale"].max())


def test_beyond_the_end_there_is_nothing(shown):
    fields, arrays = unpack(get(shown, "traces", recording="short.edf", step=1, first=10**9, count=100).content)
    assert (fields["count"], arrays["x"].shape[1]) == (0, 0)


@pytest.mark.parametrize(
    ("values", "status", "code"),
    [
        ({"montage": "banana"}, 422, "unknown_montage"),
        ({"l_freq": 0.2}, 422, "unknown_filter"),
        ({"l_freq": "nan"}, 422, "unknown_filter"),
        ({"notch_hz": "inf"}, 422, "unknown_filter"),
        ({"step": 0}, 422, "invalid_request"),
        ({"first": -1}, 422, "invalid_request"),
        ({"step": 4 * BIN + 1}, 422, "odd_step"),
        ({"count": 10**9}, 200, ""),
        ({"recording": "../conftest.py"}, 404, "no_such_recording"),
        ({"recording": "\0"}, 404, "no_such_recording"),
        ({"recording": "cut.edf"}, 422, "corrupt_header"),  # 3,000 of the 5,120 bytes of a header of 19 channels
        ({"recording": "four.edf", "montage": "laplacian"}, 422, "no_such_montage"),
    ],
)
def test_bad_requests_are_refused_in_the_one_form(shown, values, status, code):
    reply = get(shown, "traces", **{"recording": "short.edf", "step": 1, "first": 0, "count": 10} | values)
    assert reply.status_code == status, reply.text
    if code:
        assert reply.json()["code"] == code
        assert set(reply.json()) == {"error", "code", "hint"}


def test_awkward_recordings_open_with_what_can_be_shown(shown):
    four = get(shown, "recording", recording="four.edf").json()
    rows = {one["name"]: one for one in four["montages"]}
    assert len(rows["recorded"]["rows"]) == 4
    assert [row["label"] for row in rows["transverse"]["rows"]] == ["O1-O2"]
    assert rows["laplacian"]["reason"]
    assert len(get(shown, "recording", recording="many.edf").json()["montages"][0]["rows"]) == 256
    gaps = get(shown, "recording", recording="gaps.edf").json()
    assert len(gaps["segments"]) == 5
    assert gaps["duration_s"] == 180.0
    assert [one["text"] for one in gaps["annotations"]] == ["movement"]
    short = get(shown, "recording", recording="short.edf").json()
    assert (short["duration_s"], short["no_answer"]) == (20.0, None)  # the 10 s that a label speaks of fit into it
    names = [one["name"] for one in get(shown, "recordings").json()["recordings"]]
    assert {"day.edf", "cut.edf"} <= set(names)


def test_the_loose_electrode_is_found_and_its_artifacts_shown(shown):
    start_s, stop_s = shown.day.loose_s
    reply = made(shown, "artifacts", recording="day.edf", start_s=start_s, stop_s=stop_s)
    found = reply.json()["artifacts"]
    seconds = sum(one["stop_s"] - one["start_s"] for one in found if one["electrode"] == shown.day.loose)
    assert seconds > 0.8 * (stop_s - start_s)
    assert made(shown, "artifacts", recording="day.edf", start_s=10, stop_s=20).json()["artifacts"] == []


def test_trends_by_column(shown):
    _, arrays = unpack(made(shown, "trends", recording="day.edf", start_s=0, stop_s=1800, columns=90).content)
    assert arrays["density"].shape == (4, 40, 90)
    assert (arrays["density"] > 0).all()
    assert arrays["edges_s"][[0, -1]].tolist() == [0.0, 1800.0]
    _, near = unpack(made(shown, "trends", recording="day.edf", start_s=100, stop_s=140, columns=720).content)
    assert near["edges_s"].tolist() == list(range(100, 141, 4))
    assert get(shown, "trends", recording="day.edf", start_s=5, stop_s=5).status_code == 422


def test_trend_columns_are_means_of_what_is_there():
    n = 6
    trends = Trends(
        density_db=np.tile(np.arange(n, dtype=np.float32), (4, 40, 1)), aeeg_uv=np.ones((2, 2, n), np.float32),
        asymmetry=np.array([0, 1, np.nan, 3, np.nan, np.nan], np.float32), rhythmicity=np.ones((4, n), np.float32),
        flags=np.zeros((1, 4 * n), np.uint16),
    )  # fmt: skip
    columns = trend_columns(trends, start_s=0, stop_s=24, most=3)
    np.testing.assert_array_equal(columns["asymmetry"], [0.5, 3.0, np.nan])
    assert columns["density"][0, 0].tolist() == [1 + round(4 * 30.5), 1 + 4 * 32 + 2, 1 + 4 * 34 + 2]


def test_quantising_clips_nothing_and_keeps_gaps():
    x = np.array([[0.0, 1e6, -1e6, np.nan], [1.0, -1.0, 0.02, 0.0]], dtype=np.float32)
    digits, step = quantised(x)
    back = np.where(digits == MISSING, np.nan, digits * step[:, None])
    np.testing.assert_allclose(back, x, atol=step.max() / 2 * 1.01)
    np.testing.assert_allclose(back[1], x[1], atol=0.025)
    fields, arrays = unpack(pack({"a": "µ"}, {"x": digits, "y": np.arange(3, dtype=np.uint8)}))
    assert fields == {"a": "µ"}
    np.testing.assert_array_equal(arrays["x"], digits)
    np.testing.assert_array_equal(arrays["y"], [0, 1, 2])


CLASSES = ("Seizure", "LPD", "GPD", "LRDA", "GRDA", "Other")


def answer(start_s, name, p):
    rest = dict.fromkeys(CLASSES, (1 - p) / 5)
    return Answer(
        start_s=start_s, stop_s=start_s + 50, predicted_class=name, class_probabilities=rest | {name: p}, confidence=p,
        uncertainty={"total": 1.0, "aleatoric": None, "epistemic": None}, prediction_set=(name,),
        clinical_recommendation="flag for expert review",
    )  # fmt: skip


def findings(*answers):
    return Findings(
        answers=answers, source_sha256="", model="m", model_digest="d", classes=CLASSES, created_at=0.0,
        label_span_s=(20.0, 30.0),
    )  # fmt: skip


def test_answers_speak_of_their_span_and_other_is_no_finding():
    one = findings(answer(0, "Other", 0.9), answer(10, "LPD", 0.8), answer(20, "LPD", 0.6), answer(30, "Other", 0.3))
    rows = answer_rows(one, abstain_below=0.5)
    assert [(row["start_s"], row["stop_s"]) for row in rows] == [(20, 30), (30, 40), (40, 50), (50, 60)]
    assert [row["abstained"] for row in rows] == [False, False, False, True]
    assert [sum(row["p"]) for row in rows] == pytest.approx([1.0] * 4, abs=1e-3)
    assert finding_rows(one) == [{"start_s": 30, "stop_s": 50, "class": "LPD", "confidence": 0.7}]


def test_where_there_is_no_answer_the_reason_stands():
    """100 s, a gap, 200 s; answers from 20 s before either end on; one window rejected at 180 s."""
    segments = [(0.0, 100.0), (120.0, 200.0)]
    spans = [(20.0, 80.0), (140.0, 180.0), (190.0, 300.0)]
    found = unanswered(spans, duration_s=320.0, segments=segments, margin_s=20.0)
    assert [(one["start_s"], one["stop_s"], one["reason"]) for one in found] == [
        (0.0, 20.0, "edge"), (80.0, 140.0, "gap"), (180.0, 190.0, "rejected"), (300.0, 320.0, "edge"),
    ]  # fmt: skip


def test_answers_of_a_finished_job(shown):
    engine = shown.server.engine
    assert get(shown, "answers", recording="gaps.edf").json()["answers"] == []
    study = get(shown, "recording", recording="gaps.edf").json()["study_id"]
    job = jobs.new_job(owner="local", file="gaps.edf", is_upload=False, model="small", hop_s=10.0, study_id=study)
    jobs.accept(engine, job, most_waiting=100)
    claimed = jobs.claim(engine, "w")
    assert get(shown, "answers", recording="gaps.edf").json()["job"]["state"] == "running"
    jobs.finish(engine, claimed, findings(answer(0, "GPD", 0.9)))
    found = get(shown, "answers", recording="gaps.edf").json()
    assert found["findings"] == [{"start_s": 20.0, "stop_s": 30.0, "class": "GPD", "confidence": 0.9}]
    assert found["unanswered"][0]["reason"] == "edge"
    other = jobs.new_job(owner="local", file="short.edf", is_upload=False, model="small", hop_s=10.0, study_id=study)
    jobs.accept(engine, other, most_waiting=100)
    jobs.finish(engine, jobs.claim(engine, "w"), findings(answer(0, "GPD", 0.9)))
    assert get(shown, "answers", recording="short.edf").json()["answers"] == []  # of another study: the file as it was


def test_pages_are_the_packages_own_and_small(shown):
    index = httpx.get(f"{shown.url}/app")
    assert "script-src 'self'" in index.headers["content-security-policy"]
    assert "unsafe" not in index.headers["content-security-policy"]
    assert "<script>" not in index.text
    assert "style=" not in index.text
    assert "Research use only" in index.text
    for path in STATIC.iterdir():
        reply = httpx.get(f"{shown.url}/app/{path.name}")
        assert reply.status_code == 200
        assert reply.headers["content-type"] == KINDS[path.suffix]
        assert (
            httpx.get(f"{shown.url}/app/{path.name}", headers={"if-none-match": reply.headers["etag"]}).status_code
            == 304
        )
        assert "innerHTML" not in reply.text
    assert sum(path.stat().st_size for path in STATIC.glob("*.js")) <= 120_000
    for name in ("..%2fpages.py", "%00", "nothing.js", "pages.py", "..%2f..%2fsettings.py"):
        assert httpx.get(f"{shown.url}/app/{name}").status_code == 404


def test_a_file_that_changes_is_made_anew(shown):
    path = shown.folder / "changing.edf"
    path.write_bytes((shown.folder / "short.edf").read_bytes())
    before = get(shown, "recording", recording="changing.edf").json()
    path.write_bytes((shown.folder / "four.edf").read_bytes())
    after = get(shown, "recording", recording="changing.edf").json()
    path.unlink()
    assert before["digest"] != after["digest"]
    assert before["study_id"] != after["study_id"]
    assert len(after["montages"][0]["rows"]) == 4
