"""The two promised shapes, and what is refused."""

import json

import numpy as np
import orjson
import pytest

from service.web.answers import answer_fields
from serving.model import open_model
from tests.service.awaiting import awaited


def send(client, method, path, **options):
    return awaited(client.request(method, path, **options))


def sample(things, **more):
    return {"eeg_data": things.array.tolist(), **more}


def test_an_array_is_answered_as_the_file(things, serve):
    _server, client = serve()
    reply = send(client, "POST", "/predict", json=sample(things))
    assert reply.status_code == 200
    model = open_model(things.bundle)
    (wanted,) = model.answers([model.window_of_array(things.array)])
    fields, expected = reply.json(), json.loads(json.dumps(answer_fields(model, wanted)))
    # ONNX Runtime's sums depend, in the last bits of float32, on where an array begins in memory.
    for name in ("class_probabilities", "uncertainty_parts"):
        assert fields.pop(name) == pytest.approx(expected.pop(name), abs=1e-6)
    for name in ("confidence", "uncertainty"):
        assert fields.pop(name) == pytest.approx(expected.pop(name), abs=1e-6)
    assert fields == expected
    reply = send(client, "POST", "/predict", json=sample(things))
    assert sum(reply.json()["class_probabilities"].values()) == pytest.approx(1)
    assert 0 <= reply.json()["uncertainty"] <= 1
    assert reply.json()["model_digest"] == model.digest
    assert "Research use only" in reply.json()["notice"]


def test_a_batch_is_answered_in_order_and_names_a_bad_sample(things, serve):
    _, client = serve()
    other = {"eeg_data": things.array[::-1].tolist()}
    reply = send(client, "POST", "/predict_batch", json={"samples": [sample(things), other, sample(things)]})
    first, second, third = (one["class_probabilities"] for one in reply.json()["predictions"])
    assert first == pytest.approx(third, abs=1e-6)
    assert first != pytest.approx(second, abs=1e-3)
    bad = {"samples": [sample(things), {"eeg_data": [[1, 2], [3]]}]}
    reply = send(client, "POST", "/predict_batch", json=bad)
    assert (reply.status_code, reply.json()["code"]) == (422, "invalid_request")
    assert reply.json()["error"].startswith("sample 1: ")


def test_a_spectrogram_changes_the_answer_of_a_model_that_reads_it(things, serve):
    _, client = serve()
    shape = (4, 100, 300)
    quiet, loud = (sample(things, spectrogram_data=np.full(shape, level).tolist()) for level in (0.0, 2.0))
    a, b = (send(client, "POST", "/predict?model=spectral", json=body).json() for body in (quiet, loud))
    assert a["class_probabilities"] != b["class_probabilities"]
    reply = send(client, "POST", "/predict", json=quiet)
    assert (reply.status_code, reply.json()["code"]) == (422, "does_not_fit")
    assert "reads no spectrogram" in reply.json()["error"]
    wrong = sample(things, spectrogram_data=np.zeros((3, 224, 224)).tolist())
    reply = send(client, "POST", "/predict?model=spectral", json=wrong)
    assert "reads (4, 100, 300)" in reply.json()["error"]


def nested(depth):
    return b'{"eeg_data":' + b"[" * depth + b"]" * depth + b"}"


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        (b"", 400, "invalid_json"),
        (b"{", 400, "invalid_json"),
        (b"[1]", 422, "invalid_request"),
        (b"\xff\xfe", 400, "invalid_json"),
        (b"{}", 422, "invalid_request"),
        (b'{"eeg_data": [[NaN]]}', 400, "invalid_json"),
        (b'{"eeg_data": [[Infinity]]}', 400, "invalid_json"),
        (b'{"eeg_data": [[1e39]]}', 422, "not_finite"),
        (b'{"eeg_data": [[null]]}', 422, "invalid_request"),
        (b'{"eeg_data": [["1"]]}', 422, "invalid_request"),
        (b'{"eeg_data": []}', 422, "invalid_request"),
        (b'{"eeg_data": 7}', 422, "invalid_request"),
        (b'{"eeg_data": [[1, 2], [3]]}', 422, "invalid_request"),
        (b'{"eeg_data": [[1]], "patient": "Miller"}', 422, "invalid_request"),
        (b'{"eeg_data": [[1]], "sfreq": "200"}', 422, "unusable_rate"),
        (b'{"eeg_data": [[1]], "sfreq": 1e300}', 422, "unusable_rate"),
        (b'{"eeg_data": [[1]], "ch_names": ["A", "A"]}', 422, "invalid_request"),
        (b'{"eeg_data": [[1]], "ch_names": ["A", 5]}', 422, "invalid_request"),
        (b'{"eeg_data": [' + b"[1]," * 300 + b"[1]]}", 422, "too_many_channels"),
        (nested(500), 422, "invalid_request"),
        (nested(100_000), 400, "invalid_json"),
    ],
)
def test_a_hostile_body_gets_the_one_error_form(serve, body, status, code):
    _, client = serve()
    reply = send(client, "POST", "/predict", content=body)
    assert (reply.status_code, reply.json()["code"]) == (status, code)
    assert set(reply.json()) == {"error", "code", "hint"}
    assert "Miller" not in reply.text


@pytest.mark.parametrize(
    ("change", "code"),
    [
        (lambda x: x[:, :5000], "does_not_fit"),
        (lambda x: x[:18], "does_not_fit"),
        (lambda x: x * 0, "does_not_fit"),
        (lambda x: x * 1e6, "implausible_amplitude"),
    ],
)
def test_an_array_that_cannot_be_answered_is_refused_with_the_readers_code(things, serve, change, code):
    _, client = serve()
    reply = send(client, "POST", "/predict", json={"eeg_data": change(things.array).tolist()})
    assert (reply.status_code, reply.json()["code"]) == (422, code)


def test_a_deadline_is_honoured_before_the_model_runs(things, serve):
    server, client = serve()
    body = orjson.dumps(sample(things))
    reply = send(client, "POST", "/predict", content=body, headers={"x-request-timeout-ms": "0"})
    assert (reply.status_code, reply.json()["code"]) == (504, "deadline_exceeded")
    assert b'cerebeam_windows_total{model="small"}' not in server.metrics.text()
    reply = send(client, "POST", "/predict", content=body, headers={"x-request-timeout-ms": "soon"})
    assert reply.json()["code"] == "invalid_deadline"


def test_unknown_models_routes_and_methods_have_the_error_form(serve):
    _, client = serve()
    for method, path, status, code in (
        ("POST", "/predict?model=none", 404, "unknown_model"),
        ("GET", "/predict", 405, "method_not_allowed"),
        ("GET", "/<script>", 404, "no_such_route"),
        ("GET", "/jobs/x?wait_s=oft", 422, "invalid_request"),
        ("GET", "/jobs/x", 404, "no_such_job"),
    ):
        reply = send(client, method, path, content=b"{}")
        assert (reply.status_code, reply.json()["code"]) == (status, code)
        assert set(reply.json()) == {"error", "code", "hint"}
        assert "script" not in reply.text


def test_states_and_documentation_need_nothing(serve):
    server, client = serve()
    assert send(client, "GET", "/health").json() == {"status": "live"}
    assert send(client, "GET", "/ready").json() == {"status": "ready"}
    text = send(client, "GET", "/metrics").text
    assert f'cerebeam_model_info{{digest="{server.house.owner().model.digest[:12]}",model="small"}} 1.0' in text
    page = send(client, "GET", "/docs")
    assert "/predict_batch" in page.text
    assert "<script" not in page.text
    assert "http" not in page.text.replace("http-equiv", "")
    assert "default-src 'none'" in page.headers["content-security-policy"]


def test_reload_takes_the_new_bundle_and_keeps_the_old_one_where_it_is_damaged(things, serve, tmp_path):
    import shutil

    shutil.copytree(things.bundle, tmp_path / "m")
    server, client = serve(bundles=[tmp_path / "m"])
    before = server.house.owner().model.digest
    shutil.rmtree(tmp_path / "m")
    shutil.copytree(things.second, tmp_path / "m")
    assert send(client, "POST", "/models/m/reload").json()["digest"] != before
    after = server.house.owner().model.digest
    (tmp_path / "m" / "model.onnx").write_bytes(b"damaged")
    reply = send(client, "POST", "/models/m/reload")
    assert (reply.status_code, reply.json()["code"]) == (422, "does_not_fit")
    assert server.house.owner().model.digest == after
    assert send(client, "POST", "/predict", json=sample(things)).json()["model_digest"] == after
