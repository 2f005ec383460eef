"""Studies, reviews and alarms: in SQLite and PostgreSQL, and through the API with its roles."""

import threading

import pytest
from alembic import command
from alembic.config import Config
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import create_engine, insert, inspect, text

from service.jobs.worker import run_job
from service.records import alarms, jobs, reviews
from service.records.database import MIGRATIONS, migrate, open_database
from service.records.studies import add_study, find_study, list_studies
from service.records.tables import DONE, Alarm, Job
from service.refusals import Refusal
from serving.model import open_model
from signals.modality import EEG_1020
from signals.readers.registry import open_recording
from synthetic.recordings.one_window import write_segment
from tests.service.test_gate import call, keys  # noqa: F401


def opened(engine, things, file="a.edf", stamp="1-1"):
    return add_study(engine, open_recording(str(things.edf)), file=file, stamp=stamp)


def test_a_study_is_its_file_as_it_was(engine, things):
    study = opened(engine, things)
    assert opened(engine, things).id == study.id == find_study(engine, "a.edf", "1-1").id
    assert opened(engine, things, stamp="1-2").id != study.id
    assert find_study(engine, "b.edf", "1-1") is None
    assert (study.duration_s, len(study.channels), study.segments) == (50.0, 19, [[0.0, 50.0]])
    assert study.channels[0] == {"name": "Fp1", "kind": "eeg", "sfreq": 200.0}
    assert len(list_studies(engine)) == 2


def test_a_file_opened_by_many_at_once_is_one_study(engine, things):
    found = []
    threads = [threading.Thread(target=lambda: found.append(opened(engine, things).id)) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (len(found), len(set(found))) == (6, 1)


def test_reviewers_label_apart_and_nothing_is_deleted(engine, things):
    study = opened(engine, things)

    def review(who, label, key=None, confidence=None):
        return reviews.add_review(engine, reviews.new_review(
            study_id=study.id, reviewer=who, start_s=10.0, stop_s=20.0, label=label, confidence=confidence,
            request_key=key))  # fmt: skip

    first, second = review("a", "LPD", confidence=0.5), review("b", "GPD")
    assert [one.label for one in reviews.reviews_of(engine, study.id, reviewer="a")] == ["LPD"]
    assert {one.label for one in reviews.reviews_of(engine, study.id, reviewer=None)} == {"LPD", "GPD"}
    with pytest.raises(Refusal) as refused:
        reviews.withdraw(engine, second.id, reviewer="a")
    assert refused.value.code == "no_such_review"
    at = reviews.withdraw(engine, first.id, reviewer="a").withdrawn_at
    assert reviews.withdraw(engine, first.id, reviewer="a").withdrawn_at == at
    assert reviews.reviews_of(engine, study.id, reviewer="a") == []
    assert len(reviews.reviews_of(engine, study.id, reviewer="a", withdrawn=True)) == 1
    assert review("a", "LRDA", key="a/1").id == review("a", "LRDA", key="a/1").id
    with pytest.raises(Refusal) as refused:
        review("a", "GRDA", key="a/1")
    assert (refused.value.status, refused.value.code) == (409, "key_in_use")


def alarm(number, severity, cleared_at):
    return Alarm(
        id=f"{number:032x}", bed="1", stream="s", kind="physiological", severity=severity, condition="Seizure",
        onset_s=1.0, raised_at=float(number), cleared_at=cleared_at, acknowledged_at=None, acknowledged_by="",
        model="m", model_digest="d",
    )  # fmt: skip


STATES = st.lists(
    st.tuples(st.integers(0, 2), st.sampled_from(alarms.SEVERITIES), st.none() | st.floats(1, 9)), max_size=12
)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(STATES)
def test_an_alarm_is_one_row_at_its_worst_however_often_it_is_written(tmp_path, states):
    engine = _engine_at(tmp_path)
    with engine.begin() as connection:
        connection.execute(text("delete from alarms"))
    for state in states:
        alarms.write_alarm(engine, alarm(*state))
        alarms.write_alarm(engine, alarm(*state))
    found = {int(one.id, 16): one for one in alarms.list_alarms(engine)}
    assert set(found) == {number for number, _, _ in states}
    for number, one in found.items():
        mine = [state for state in states if state[0] == number]
        assert one.severity == max((severity for _, severity, _ in mine), key=alarms.SEVERITIES.index)
        assert one.cleared_at == next((at for _, _, at in mine if at is not None), None)


_ENGINES = {}


def _engine_at(folder):
    if folder not in _ENGINES:
        _ENGINES[folder] = open_database(f"sqlite:///{folder / 'a.db'}")
    return _ENGINES[folder]


def test_who_saw_an_alarm_first_is_kept(engine):
    alarms.write_alarm(engine, alarm(1, "medium", None))
    assert alarms.acknowledge(engine, f"{1:032x}", by="a").acknowledged_by == "a"
    seen = alarms.acknowledge(engine, f"{1:032x}", by="b")
    assert (seen.acknowledged_by, seen.acknowledged_at is not None) == ("a", True)
    assert len(alarms.list_alarms(engine, open_only=True)) == 1  # seen, but not over
    alarms.write_alarm(engine, alarm(1, "low", 9.0))
    assert alarms.list_alarms(engine, open_only=True) == []
    assert alarms.list_alarms(engine, bed="1")[0].severity == "medium"
    assert alarms.list_alarms(engine, bed="2") == []
    for bad in ("nope", "a\0"):
        with pytest.raises(Refusal):
            alarms.acknowledge(engine, bad, by="a")


def test_a_migration_keeps_every_row(tmp_path):
    engine = create_engine(f"sqlite:///{tmp_path / 'old.db'}")
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    with engine.begin() as connection:
        connection.execute(text("pragma foreign_keys = on"))
        config.attributes["connection"] = connection
        command.upgrade(config, "0001")
    job = jobs.new_job(owner="a", file="f", is_upload=True, model="m", hop_s=1.0)
    names = {column["name"] for column in inspect(engine).get_columns("jobs")}
    with engine.begin() as connection:
        fields = {column.key: getattr(job, column.key) for column in Job.__table__.columns if column.key in names}
        connection.execute(insert(Job.__table__).values(fields))
        connection.execute(
            text(f"insert into answers (job_id, start_s, stop_s, answer) values ('{job.id}', 0, 1, '1')")
        )
    engine = open_database(f"sqlite:///{tmp_path / 'old.db'}")
    assert jobs.get_job(engine, job.id).study_id is None
    with engine.begin() as connection:
        assert connection.execute(text("select count(*) from answers")).scalar() == 1
        config.attributes["connection"] = connection
        command.downgrade(config, "0001")
        assert connection.execute(text("select count(*) from answers")).scalar() == 1
    migrate(engine)
    assert jobs.get_job(engine, job.id).owner == "a"


@pytest.fixture
def folder(things, tmp_path):
    path = tmp_path / "recordings"
    path.mkdir()
    (path / "a.edf").write_bytes(things.edf.read_bytes())
    (path / "cut.edf").write_bytes(things.edf.read_bytes()[:3000])
    return path


@pytest.fixture
def production(keys, serve, folder):  # noqa: F811
    return serve("deployment.profile=production", f"deployment.jwks={keys[1]}", f"dataset.recordings={folder}")


def test_opening_and_reviewing_over_http_by_role(production, keys):  # noqa: F811
    _, client = production
    study = call(client, "POST", "/studies", "reader", keys, json={"recording": "a.edf"}).json()
    assert call(client, "POST", "/studies", "reader", keys, json={"recording": "a.edf"}).json() == study
    assert (study["recording"], study["duration_s"], study["source_sha256"]) == ("a.edf", 50.0, "")
    path = f"/studies/{study['id']}"
    assert call(client, "GET", path, "reader", keys).json() == study
    assert call(client, "GET", "/studies", "reader", keys).json() == {"studies": [study]}
    good = {"start_s": 20, "stop_s": 30.0, "label": "LPD", "confidence": 0.8}
    assert call(client, "POST", f"{path}/reviews", "reader", keys, json=good).status_code == 403
    mine = call(client, "POST", f"{path}/reviews", "reviewer", keys, json=good)
    assert (mine.status_code, mine.json()["reviewer"]) == (201, "Miller")
    assert call(client, "GET", f"{path}/reviews", "reviewer", keys).json() == {"reviews": [mine.json()]}
    other = {"authorization": f"Bearer {_token(keys, sub='Other', role='reviewer')}"}
    assert call(client, "GET", f"{path}/reviews", headers=other).json() == {"reviews": []}
    assert call(client, "POST", f"/reviews/{mine.json()['id']}/withdraw", headers=other).status_code == 404
    boss = {"authorization": f"Bearer {_token(keys, sub='Boss', role='operator')}"}
    assert len(call(client, "GET", f"{path}/reviews", headers=boss).json()["reviews"]) == 1
    gone = call(client, "POST", f"/reviews/{mine.json()['id']}/withdraw", "reviewer", keys).json()
    assert gone["withdrawn_at"] > gone["created_at"]
    assert call(client, "GET", f"{path}/reviews", "reviewer", keys).json() == {"reviews": []}
    assert call(client, "GET", "/alarms", "reader", keys).json() == {"alarms": []}
    assert call(client, "POST", "/alarms/0/acknowledge", "reader", keys).status_code == 403
    assert call(client, "POST", "/alarms/0/acknowledge", "reviewer", keys).status_code == 404


def _token(keys, **claims):  # noqa: F811
    from tests.service.test_gate import token

    return token(keys, **claims)


@pytest.mark.parametrize(
    ("given", "code"),
    [
        ({"start_s": 20, "stop_s": 30}, "invalid_request"),
        ({"start_s": 20, "stop_s": 30, "label": "Urgent"}, "unknown_label"),
        ({"start_s": 30, "stop_s": 20, "label": "LPD"}, "outside_of_study"),
        ({"start_s": -1, "stop_s": 20, "label": "LPD"}, "outside_of_study"),
        ({"start_s": 40, "stop_s": 50.5, "label": "LPD"}, "outside_of_study"),
        ({"start_s": "20", "stop_s": 30, "label": "LPD"}, "invalid_request"),
        ({"start_s": True, "stop_s": 30, "label": "LPD"}, "invalid_request"),
        ({"start_s": 1e308, "stop_s": 30, "label": "LPD"}, "outside_of_study"),
        ({"start_s": 20, "stop_s": 30, "label": "LPD", "confidence": 1.1}, "invalid_request"),
        ({"start_s": 20, "stop_s": 30, "label": "LPD", "note": "Ann Miller, born 1950"}, "invalid_request"),
    ],
)
def test_reviews_that_are_none_are_refused(serve, folder, given, code):
    _, client = serve(f"dataset.recordings={folder}")
    study = call(client, "POST", "/studies", json={"recording": "a.edf"}).json()
    reply = call(client, "POST", f"/studies/{study['id']}/reviews", json=given)
    assert (reply.status_code, reply.json()["code"]) == (422, code)
    assert "Miller" not in reply.text
    assert call(client, "GET", f"/studies/{study['id']}/reviews").json() == {"reviews": []}


def test_files_that_cannot_be_opened_give_the_readers_reason(serve, folder, tmp_path):
    _, client = serve(f"dataset.recordings={folder}")
    for name, code in (("cut.edf", "corrupt_header"), ("../a.edf", "no_such_recording"), ("", "no_such_recording")):
        reply = call(client, "POST", "/studies", json={"recording": name})
        assert reply.json()["code"] == code
        assert str(tmp_path) not in reply.text
    assert call(client, "POST", "/studies", json={"recording": "a.edf", "more": 1}).status_code == 422
    assert call(client, "GET", "/studies/nope").json()["code"] == "no_such_study"
    assert call(client, "GET", "/studies").json() == {"studies": []}


def test_a_study_gets_its_jobs_events_and_digest_and_a_changed_file_gets_none(serve, folder, things):
    server, client = serve(f"dataset.recordings={folder}")
    model = open_model(things.bundle)
    study = call(client, "POST", "/studies", json={"recording": "a.edf"}).json()
    sent = [call(client, "POST", "/jobs/recording", json={"recording": "a.edf"}).json() for _ in range(2)]
    assert {job["study_id"] for job in sent} == {study["id"]}
    assert call(client, "GET", f"/jobs/{sent[0]['id']}/events").json()["code"] == "not_finished"
    job = jobs.claim(server.engine, "w")
    run_job(server.engine, folder / "a.edf", job, model)
    assert jobs.get_job(server.engine, job.id).state == DONE
    (event,) = call(client, "GET", f"/jobs/{job.id}/events").json()["events"]
    # One window of 50 s: its label speaks of the middle ten.
    assert (event["onset_s"], event["stop_s"], event["n_windows"]) == (20.0, 30.0, 1)
    assert len(call(client, "GET", f"/studies/{study['id']}").json()["source_sha256"]) == 64
    assert len(call(client, "GET", f"/jobs?study={study['id']}").json()["jobs"]) == 2
    assert call(client, "GET", f"/jobs?study={'0' * 32}").json() == {"jobs": []}
    write_segment(folder / "a.edf", EEG_1020, window_s=60.0)
    second = jobs.claim(server.engine, "w")
    with pytest.raises(Refusal) as refused:
        run_job(server.engine, folder / "a.edf", second, model)
    assert refused.value.code == "recording_changed"
    assert call(client, "POST", "/studies", json={"recording": "a.edf"}).json()["id"] != study["id"]
