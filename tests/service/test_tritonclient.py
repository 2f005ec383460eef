"""The real tritonclient[http] against a real process."""

import numpy as np
import pytest
from tritonclient import http as triton
from tritonclient.utils import InferenceServerException

from serving.model import open_model
from tests.service.live import start


@pytest.fixture(scope="module")
def live(things, tmp_path_factory):
    one = start(tmp_path_factory.mktemp("live"), [things.bundle, things.spectral])
    yield one
    assert one.end() == 0


@pytest.fixture(scope="module")
def client(live):
    with triton.InferenceServerClient(f"127.0.0.1:{live.port}") as one:
        yield one


def eeg_input(x, binary):
    tensor = triton.InferInput("eeg", list(x.shape), "FP32")
    tensor.set_data_from_numpy(x, binary_data=binary)
    return tensor


def test_states_and_metadata(client, things):
    assert client.is_server_live()
    assert client.is_server_ready()
    assert client.is_model_ready("small")
    about = client.get_model_metadata("small")
    assert about["inputs"] == [{"name": "eeg", "datatype": "FP32", "shape": [-1, 19, 10000]}]
    assert client.is_model_ready("small", model_version=about["versions"][0])
    assert not client.is_model_ready("small", model_version="ffffffff")
    assert "spectrogram" in [one["name"] for one in client.get_model_metadata("spectral")["inputs"]]


@pytest.mark.parametrize("binary", [True, False])
def test_windows_are_answered_as_the_model_answers_them(client, things, binary):
    model = open_model(things.bundle)
    x = np.stack([things.array, things.array[::-1]])
    wanted = model.answers([model.window_of_array(one) for one in x])
    outputs = [triton.InferRequestedOutput(name, binary_data=binary) for name in ("probabilities", "predicted_class")]
    result = client.infer("small", [eeg_input(x, binary)], outputs=outputs, request_id="7")
    expected = np.array([list(answer.class_probabilities.values()) for answer in wanted])
    np.testing.assert_allclose(result.as_numpy("probabilities"), expected, atol=1e-6)
    names = [name.decode() if isinstance(name, bytes) else name for name in result.as_numpy("predicted_class").ravel()]
    assert names == [answer.predicted_class for answer in wanted]
    assert result.get_response()["id"] == "7"


def test_all_outputs_without_a_list_of_them(client, things):
    result = client.infer("small", [eeg_input(things.array[None], True)])
    assert result.as_numpy("uncertainty").shape == (1, 1)
    assert result.as_numpy("abstained").dtype == bool


def test_what_does_not_fit_is_refused_in_words(client, things):
    for x, message in (
        (things.array[None, :, :100], "one window has 50 s"),
        (things.array[None] * np.float32("nan"), "not finite"),
        (np.zeros((1, 300, 10000), np.float32), "shape"),
    ):
        with pytest.raises(InferenceServerException, match=message):
            client.infer("small", [eeg_input(x, True)])
    with pytest.raises(InferenceServerException, match="no model of this name"):
        client.infer("none", [eeg_input(things.array[None], True)])


def test_a_deadline_in_microseconds_is_honoured(client, things):
    with pytest.raises(InferenceServerException, match="deadline passed"):
        client.infer("small", [eeg_input(things.array[None], True)], timeout=1)
