"""Answers of a bundle of leads: array, file and command line agree; units that cannot be are refused."""

import json

import numpy as np
import pytest

from service.jobs.worker import run_job
from service.records import jobs
from service.web.answers import share_of_entropy
from serving.model import open_model
from serving.predict import main as predict
from serving.runtime import Answer
from signals.modality import ECG_12
from signals.readers.registry import open_recording
from signals.tasks import NO_CLASS, TASKS
from signals.windows.profiles import ECG_RHYTHM
from synthetic.heart.files import write_record
from synthetic.heart.leads import generate
from tests.service.awaiting import awaited
from tests.small_bundle import write_small_bundle

pytest.importorskip("wfdb")
TASK = TASKS["ecg-superclass"]
DECISIONS = [0.5, 0.2, 0.9, 0.35, 0.5, 0.6]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A bundle of leads, and 10 s of a heart as a record."""
    folder = tmp_path_factory.mktemp("leads")
    write_small_bundle(folder / "leads", profile=ECG_RHYTHM, task=TASK.name,
                       calibration={"temperature": 1.5, "decisions": DECISIONS})  # fmt: skip
    record = generate(np.random.default_rng(0), "infarction", sfreq=500.0)
    write_record(folder / "files" / "heart.hea", record.x_mv, sfreq=500.0)
    return folder


@pytest.fixture(scope="module")
def x_uv(folder):
    """The record's samples, µV."""
    recording = open_recording(str(folder / "files" / "heart.hea"))
    return 1000 * np.asarray(recording.read(range(12), segment=0))


@pytest.fixture
def post_leads(folder, serve):
    """A function that sends an array and returns the reply."""
    _, client = serve(bundles=[folder / "leads"])

    def post(x, **more):
        body = {"eeg_data": x.tolist(), "sfreq": 500, **more}
        return awaited(client.request("POST", "/predict", json=body))

    return post


def test_an_array_a_file_and_the_command_line_give_the_same_answers(folder, x_uv, serve, capsys):
    server, client = serve(f"dataset.recordings={folder / 'files'}", bundles=[folder / "leads"])
    send = lambda *args, **options: awaited(client.request(*args, **options))  # noqa: E731
    array = send("POST", "/predict", json={"eeg_data": x_uv.tolist(), "sfreq": 500}).json()
    accepted = send("POST", "/jobs/recording", json={"recording": "heart.hea"})
    assert accepted.status_code == 202
    job = jobs.claim(server.engine, "test")
    run_job(server.engine, folder / "files" / "heart.hea", job, open_model(folder / "leads"))
    file = send("GET", f"/jobs/{accepted.json()['id']}/answers").json()["predictions"]
    assert predict([str(folder / "leads"), str(folder / "files" / "heart.hea"), "--json"]) == 0
    printed = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [(one["start_s"], one["stop_s"]) for one in file] == [(0.0, 10.0)]
    for other in (file[0], printed[0]):
        # The array is float32 of µV, the file int16 of mV: rounding to 0.1 µV may fall to either side.
        assert other["class_probabilities"] == pytest.approx(array["class_probabilities"], abs=1e-4)
        assert other["predicted_class"] == array["predicted_class"]


def test_an_answer_of_several_classes_has_its_form(post_leads, x_uv):
    reply = post_leads(x_uv).json()
    prob = reply["class_probabilities"]
    assert tuple(prob) == TASK.classes
    assert abs(sum(prob.values()) - 1) > 0.01  # each class for itself
    over = [name for name, least in zip(TASK.classes, DECISIONS, strict=True) if prob[name] >= least]
    assert reply["predicted_class"] == (";".join(over) or NO_CLASS)
    assert reply["prediction_set"] is None
    assert not reply["abstained"]
    # The mean entropy of six yes-or-nos, over ln 2, which it cannot exceed.
    p = np.array(list(prob.values()))
    entropy = -(p * np.log(p) + (1 - p) * np.log(1 - p)).mean()
    assert reply["uncertainty"] == pytest.approx(entropy / np.log(2), abs=1e-4)
    assert reply["uncertainty_parts"]["total"] == pytest.approx(entropy, abs=1e-4)


@pytest.mark.parametrize(("prob", "total", "share"), [
    ([0.5] * 6, np.log(2), 1.0), ([1 / 6] * 6, np.log(6), 1.0), ([0.0, 1.0], 0.0, 0.0), ([0.5, 0.5], np.log(2), 1.0),
])  # fmt: skip
def test_uncertainty_is_a_share_of_the_largest_there_can_be(prob, total, share):
    answer = Answer(
        start_s=0.0, stop_s=10.0, predicted_class="a", class_probabilities=dict(zip("abcdef", prob, strict=False)),
        confidence=0.5, uncertainty={"total": total}, prediction_set=None, clinical_recommendation="",
    )  # fmt: skip
    assert share_of_entropy(answer) == pytest.approx(share)


@pytest.mark.parametrize(("factor", "advice"), [(1e-3, "1000 times too small"), (1e-6, "too small"),
                                                (1e3, "1000 times too large")])  # fmt: skip
def test_an_array_in_another_unit_than_microvolts_is_refused_with_the_factor(post_leads, x_uv, factor, advice):
    reply = post_leads(factor * x_uv)
    assert (reply.status_code, reply.json()["code"]) == (422, "implausible_amplitude")
    assert advice in reply.json()["error"]


def test_leads_by_name_in_any_order_are_the_same_leads_and_others_are_refused(post_leads, x_uv):
    wanted = post_leads(x_uv).json()["class_probabilities"]
    names, order = list(ECG_12.ch_names), [6, 1, 0, 11, 10, 9, 8, 7, 5, 4, 3, 2]
    assert post_leads(x_uv[order], ch_names=[names[i] for i in order]).json()["class_probabilities"] == pytest.approx(
        wanted
    )
    eight = [0, 1, 6, 7, 8, 9, 10, 11]  # the other four limb leads follow from I and II
    assert post_leads(x_uv[eight], ch_names=[names[i] for i in eight]).json()["class_probabilities"] == pytest.approx(
        wanted, abs=1e-3
    )
    reply = post_leads(x_uv[:11])
    assert (reply.status_code, reply.json()["code"]) == (422, "does_not_fit")
    reply = post_leads(x_uv, ch_names=[f"lead {k}" for k in range(12)])
    assert (reply.status_code, reply.json()["code"]) == (422, "no_ecg_leads")
    reply = post_leads(0 * x_uv)
    assert (reply.status_code, reply.json()["code"]) == (422, "does_not_fit")
