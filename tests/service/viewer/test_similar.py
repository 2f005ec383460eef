"""Similar segments from file to screen: jobs keep embeddings, and a copy of a recording is found with its labels."""

import shutil

import httpx
import numpy as np
import pytest

from service.jobs.worker import run_job
from service.records import jobs
from service.records.embeddings import embeddings_of
from service.records.reviews import add_review, new_review
from serving.model import open_model
from serving.runtime import embed
from signals.electrodes import TEN_TWENTY
from tests.service.viewer.conftest import opened, settings_for, start, write_recording


@pytest.fixture(scope="module")
def answered(things, tmp_path_factory):
    """A server with a recording of 150 s and its copy, both answered by the worker's own code; a third was not."""
    root = tmp_path_factory.mktemp("similar")
    folder = root / "recordings"
    folder.mkdir()
    write_recording(folder / "one.edf", TEN_TWENTY, 150, 128)
    write_recording(folder / "other.edf", TEN_TWENTY, 20, 128)
    shutil.copy(folder / "one.edf", folder / "copy.edf")
    url, server, end = start(settings_for(things.bundle, folder, root / "var"))
    model, studies = open_model(things.bundle, name="small"), {}
    for name in ("one.edf", "copy.edf"):
        reply = httpx.get(f"{url}/api/viewer/recording", params={"recording": name}, timeout=30).json()
        studies[name] = reply["study_id"]
        job = jobs.new_job(owner="local", file=name, is_upload=False, model="small", hop_s=10.0,
                           study_id=reply["study_id"])  # fmt: skip
        jobs.accept(server.engine, job, most_waiting=9)
        run_job(server.engine, folder / name, jobs.claim(server.engine, "w"), model)
    yield url, server, studies, model, folder
    end()


def similar(url, **values):
    reply = httpx.get(f"{url}/api/viewer/similar", params=values, timeout=30)
    assert reply.status_code == 200, reply.text
    return reply.json()["similar"]


def test_a_job_keeps_what_the_first_member_made_of_each_window(answered):
    _, server, _, model, folder = answered
    (job, *_) = [one for one in jobs.list_jobs(server.engine, owner=None) if one.file == "one.edf"]
    kept = embeddings_of(server.engine, [job.id])[job.id]
    from signals.readers.registry import open_recording

    windows = list(model.windows(open_recording(str(folder / "one.edf")), source_sha256="0" * 64, hop_s=10.0))
    alone = np.array([one.representation for one in embed(model.bundle, windows)])
    np.testing.assert_allclose(kept, alone, rtol=1e-3, atol=1e-6)  # float16 has 11 bits
    assert len(kept) == len(jobs.answers_of(server.engine, job.id)) == 11  # (150 - 50) / 10 + 1 windows


def test_the_copy_is_found_with_its_labels(answered):
    url, server, studies, *_ = answered
    add_review(
        server.engine, new_review(study_id=studies["copy.edf"], reviewer="a", start_s=55, stop_s=75, label="LPD")
    )
    add_review(
        server.engine, new_review(study_id=studies["copy.edf"], reviewer="a", start_s=60, stop_s=70, label="GPD")
    )
    add_review(
        server.engine, new_review(study_id=studies["copy.edf"], reviewer="b", start_s=60, stop_s=70, label="GPD")
    )
    found = similar(url, recording="one.edf", second=65.0)
    assert (found[0]["recording"], found[0]["start_s"], found[0]["distance"]) == ("copy.edf", 60.0, 0.0)
    assert found[0]["labels"] == {"GPD": 2}  # one label per reviewer, the newest
    assert all(one["recording"] != "one.edf" or abs(one["start_s"] - 60) >= 60 for one in found)
    assert len(similar(url, recording="one.edf", second=65.0, n=1)) == 1


def test_no_answer_nothing_similar(answered):
    url, *_ = answered
    assert similar(url, recording="one.edf", second=1.0) == []  # the edge
    assert similar(url, recording="other.edf", second=5.0) == []  # never answered
    for bad in ({"second": "nan"}, {"second": 1e308}, {"second": -5}):
        assert similar(url, recording="one.edf", **bad) == []
    assert (
        httpx.get(f"{url}/api/viewer/similar", params={"recording": "one.edf", "second": 1, "n": 0}).status_code == 422
    )
    missing = httpx.get(f"{url}/api/viewer/similar", params={"recording": "../x", "second": 1})
    assert missing.status_code in (404, 422)


def test_the_tab_lists_them_and_goes_there(answered, browser):
    url, *_ = answered
    page = opened(browser, f"{url}/app#recording=one.edf&t=60")
    page.locator("#tab-evidence").click()
    page.locator("#evidence button", has_text="Similar segments").click()
    page.locator("#evidence tbody tr").first.wait_for()
    assert "copy.edf" in page.locator("#evidence tbody tr").first.inner_text()
    page.locator("#evidence tbody tr button").first.click()
    page.wait_for_function("() => cerebeam.state.name === 'copy.edf' && cerebeam.state.header")
    assert page.errors == []
    page.context.close()
