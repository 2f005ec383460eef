"""Recordings as jobs: accepted once, finished once, whatever is killed in between; real processes."""

import hashlib
import json
import os
import shutil
import signal
import sqlite3
import time

import httpx
import numpy as np
import pytest
from sqlalchemy import text

from service.jobs import worker
from service.jobs.worker import run_job
from service.records import jobs
from service.records.tables import DONE
from service.refusals import Refusal
from serving.model import open_model
from signals.modality import EEG_1020
from synthetic.recordings.files import write_edf
from tests.service.live import start


@pytest.fixture(scope="module")
def long_edf(things):
    """Five minutes: 26 windows at a hop of 10 s."""
    x = np.concatenate([things.array, things.array[:, ::-1]] * 3, axis=1)
    path = things.root / "long.edf"
    write_edf(path, [x], file_format="edf", ch_names=EEG_1020.ch_names, sfreq=200, patient="X",
              record_onsets_s=range(300))  # fmt: skip
    return path


@pytest.fixture
def live(things, tmp_path):
    running = []

    def starting(*overrides, **options):
        running.append(start(tmp_path, [things.bundle], *overrides, **options))
        return running[-1]

    yield starting
    for one in running:
        if one.process.poll() is None:
            one.kill()


def upload(live, path, *, key=None, name="Miller_Ann.edf", **query):
    headers = {"idempotency-key": key} if key else {}
    return httpx.post(f"{live.url}/jobs", params={"name": name, **query}, content=path.read_bytes(), headers=headers,
                      timeout=30)  # fmt: skip


def ended(live, job_id, seconds=60):
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        job = httpx.get(f"{live.url}/jobs/{job_id}?wait_s=5", timeout=20).json()
        if job["state"] in ("done", "failed"):
            return job
    raise AssertionError(live.log.read_text())


def rows(folder, sql):
    with sqlite3.connect(folder / "var" / "records.db") as db:
        return db.execute(sql).fetchall()


def test_an_upload_is_answered_at_its_hop_and_survives_restarts(live, things, long_edf, tmp_path):
    first = live()
    reply = upload(first, long_edf)
    assert reply.status_code == 202
    job = ended(first, reply.json()["id"])
    assert (job["state"], job["n_done"], job["n_windows"], job["hop_s"]) == ("done", 26, 26, 10.0)
    answers = httpx.get(f"{first.url}/jobs/{job['id']}/answers").json()
    assert [one["start_s"] for one in answers["predictions"]] == [10.0 * n for n in range(26)]
    # Labels speak of the middle 10 s: at this hop they tile the time.
    assert first.end() == 0
    second = live()
    assert httpx.get(f"{second.url}/jobs/{job['id']}/answers").json() == answers
    # The file is gone, its name never came.
    assert list((tmp_path / "var" / "uploads").iterdir()) == []
    stored = first.log.read_text() + json.dumps(rows(tmp_path, "select * from jobs"))
    assert "Miller" not in stored
    digest = hashlib.sha256(long_edf.read_bytes()).hexdigest()
    assert rows(tmp_path, "select source_sha256 from jobs") == [(digest,)]


@pytest.mark.parametrize("when", ["accepted", "running", "half"])
def test_an_accepted_job_is_finished_once_after_kill_9(live, long_edf, tmp_path, when):
    first = live()
    ids = [upload(first, long_edf, hop_s=5).json()["id"] for _ in range(2)]
    until = time.monotonic() + 30
    while when != "accepted" and time.monotonic() < until:
        state, n_done = rows(tmp_path, f"select state, n_done from jobs where id = '{ids[0]}'")[0]
        if state == "running" and (when == "running" or n_done > 0):
            break
        time.sleep(0.005)
    first.kill()
    time.sleep(0.3)  # the worker follows its server
    second = live()
    for job_id in ids:
        job = ended(second, job_id)
        assert (job["state"], job["n_windows"]) == ("done", 51)
    assert rows(tmp_path, "select job_id, count(*), count(distinct start_s) from answers group by job_id") == [
        (job_id, 51, 51) for job_id in sorted(ids)
    ]


def test_a_worker_that_dies_is_replaced_and_a_file_that_kills_three_is_refused(live, long_edf, tmp_path):
    one = live()
    job_id = upload(one, long_edf, hop_s=1).json()["id"]
    for attempt in (1, 2, 3):
        until = time.monotonic() + 40
        sql = f"select 1 from jobs where state = 'running' and attempts = {attempt}"
        while time.monotonic() < until and not rows(tmp_path, sql):
            time.sleep(0.01)
        (worker,) = (pid for pid in children(one.process.pid) if "service.jobs.worker" in command_of(pid))
        os.kill(worker, signal.SIGKILL)
    job = ended(one, job_id)
    assert (job["state"], job["code"]) == ("failed", "worker_crashed")
    # Requests were not harmed, and the next recording is answered.
    assert httpx.get(f"{one.url}/health").status_code == 200
    assert ended(one, upload(one, long_edf).json()["id"])["state"] == "done"


def children(pid):
    found = []
    for task in os.listdir(f"/proc/{pid}/task"):
        with open(f"/proc/{pid}/task/{task}/children") as file:
            found += [int(child) for child in file.read().split()]
    return found


def command_of(pid):
    with open(f"/proc/{pid}/cmdline") as file:
        return file.read()


def test_a_bad_file_ends_with_the_readers_code_and_the_same_key_is_the_same_job(live, things, tmp_path):
    one = live()
    truncated = tmp_path / "cut.edf"
    truncated.write_bytes(things.edf.read_bytes()[:3000])
    job = ended(one, upload(one, truncated, key="k").json()["id"])
    assert (job["state"], job["code"]) == ("failed", "corrupt_header")
    assert str(tmp_path) not in job["error"]
    again = upload(one, truncated, key="k").json()
    assert again["id"] == job["id"]
    reply = httpx.get(f"{one.url}/jobs/{job['id']}/answers")
    assert (reply.status_code, reply.json()["code"]) == (409, "corrupt_header")
    for name in ("x.exe", "../../etc/passwd", ""):
        reply = upload(one, truncated, name=name)
        assert (reply.status_code, reply.json()["code"]) == (422, "unsupported_format")
    reply = upload(one, truncated, hop_s=0.3)
    assert (reply.status_code, reply.json()["code"]) == (422, "invalid_hop")
    empty = tmp_path / "empty.edf"
    empty.write_bytes(b"")
    assert upload(one, empty).json()["code"] == "empty_body"


def test_a_recording_is_answered_by_the_model_of_its_time(things, tmp_path):
    shutil.copytree(things.bundle, tmp_path / "m")
    one, digests = start(tmp_path, [tmp_path / "m"]), []
    for bundle in (things.bundle, things.second):
        shutil.rmtree(tmp_path / "m")
        shutil.copytree(bundle, tmp_path / "m")
        digests.append(httpx.post(f"{one.url}/models/m/reload", timeout=20).json()["digest"])
        ended(one, upload(one, things.edf).json()["id"])
    assert rows(tmp_path, "select model_digest from jobs order by created_at") == [(digest,) for digest in digests]
    assert digests[0] != digests[1]
    assert one.end() == 0


def test_named_recordings_stay_in_their_folder(live, things, tmp_path):
    folder = tmp_path / "recordings"
    folder.mkdir()
    (folder / "a.edf").write_bytes(things.edf.read_bytes())
    (tmp_path / "secret.edf").write_bytes(things.edf.read_bytes())
    (folder / "link.edf").symlink_to(tmp_path / "secret.edf")
    one = live(f"dataset.recordings={folder}")
    assert httpx.get(f"{one.url}/recordings").json() == {"recordings": ["a.edf"]}
    for name in ("../secret.edf", "link.edf", str(tmp_path / "secret.edf"), "a.edf\0", "", "x" * 5000, "."):
        reply = httpx.post(f"{one.url}/jobs/recording", json={"recording": name})
        assert (reply.status_code, reply.json()["code"]) == (404, "no_such_recording"), name
    job = httpx.post(f"{one.url}/jobs/recording", json={"recording": "a.edf"}).json()
    assert ended(one, job["id"])["state"] == "done"
    assert (folder / "a.edf").is_file()


@pytest.mark.parametrize("part", ["progress", "finish"])
def test_a_database_that_cuts_its_sessions_costs_no_job_and_no_answer(engine, things, monkeypatch, part):
    one = jobs.new_job(owner="o", file="a.edf", is_upload=False, model="m", hop_s=10.0)
    jobs.accept(engine, one, most_waiting=1)
    job, real, calls = jobs.claim(engine, "w"), jobs._update_own, []

    def cut_once(session, of, **values):
        calls.append(part)
        if len(calls) == (1 if part == "progress" else 2):  # the write is lost with its session
            is_sqlite = session.bind.dialect.name == "sqlite"
            session.execute(text("nonsense" if is_sqlite else "select pg_terminate_backend(pg_backend_pid())"))
        return real(session, of, **values)

    monkeypatch.setattr(jobs, "_update_own", cut_once)
    run_job(engine, things.edf, job, open_model(things.bundle))
    assert len(calls) == 3  # progress, the end, and one of them again
    assert jobs.get_job(engine, job.id).state == DONE
    assert len(jobs.answers_of(engine, job.id)) == 1


def test_a_refusal_that_is_not_the_databases_is_not_tried_again(monkeypatch):
    def refused(calls=[]):  # noqa: B006
        calls.append(1)
        raise Refusal(422, "no_windows", "none") if len(calls) == 1 else AssertionError

    with pytest.raises(Refusal, match="no_windows"):
        worker._patiently(refused)
