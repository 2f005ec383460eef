"""Records in SQLite and in a real PostgreSQL: the same laws."""

import threading
import time

import numpy as np
import pytest
from sqlalchemy import inspect, text

from service.records import jobs
from service.records.accesses import Accesses, recent
from service.records.database import RecordsError, migrate, open_database, transaction
from service.records.embeddings import embeddings_of
from service.records.tables import ACCEPTED, DONE, FAILED, RUNNING, Access, Base
from service.refusals import Refusal
from tests.service.test_formats import findings


def accepted(engine, *, key=None, most_waiting=100, owner="a"):
    job = jobs.new_job(owner=owner, file="f.edf", is_upload=True, model="m", hop_s=10.0, request_key=key)
    return jobs.accept(engine, job, most_waiting=most_waiting)


def test_migrations_make_the_tables_of_the_code(engine):
    inspector = inspect(engine)
    for table in Base.metadata.sorted_tables:
        columns = {column["name"]: column for column in inspector.get_columns(table.name)}
        assert set(columns) == {column.name for column in table.columns}
        for column in table.columns:
            assert columns[column.name]["nullable"] == column.nullable, (table.name, column.name)
    migrate(engine)  # again changes nothing


def test_a_job_goes_its_way_once(engine):
    job = accepted(engine)
    assert jobs.get_job(engine, job.id).state == ACCEPTED
    mine = jobs.claim(engine, "w1")
    assert (mine.id, mine.state, mine.attempts) == (job.id, RUNNING, 1)
    assert jobs.claim(engine, "w2") is None
    assert jobs.progress(engine, mine, n_done=1, n_windows=2)
    found = findings(("Seizure", "Seizure", "Other"))
    assert jobs.finish(engine, mine, found)
    assert not jobs.finish(engine, mine, found)
    assert not jobs.fail(engine, mine, Refusal(500, "x", "y"))
    assert jobs.answers_of(engine, job.id) == found.answers
    # Windows at 0, 10, 20 s speak of 20-30, 30-40, 40-50 s: one seizure of 20 s, then something else.
    stretches = [(event.onset_s, event.stop_s, event.predicted_class) for event in jobs.events_of(engine, job.id)]
    assert stretches == [(20.0, 40.0, "Seizure"), (40.0, 50.0, "Other")]
    assert (jobs.get_job(engine, job.id).state, jobs.get_job(engine, job.id).n_done) == (DONE, 3)
    assert jobs.give_back(engine, everyone=True) == 0


def test_embeddings_are_kept_with_the_answers_or_not_at_all(engine):
    found, x = findings(("LPD", "Other")), np.array([[0.5, -3.0, 1e9], [2.0, 1e-9, -1e9]], dtype=np.float32)
    kept = []
    for vectors in (x, None, x * np.nan):
        accepted(engine)
        kept.append(jobs.claim(engine, "w"))
        assert jobs.finish(engine, kept[-1], found, vectors=vectors)
    held = embeddings_of(engine, [job.id for job in kept])
    assert set(held) == {kept[0].id}  # none were given, or none that is finite
    # float16 ends at 65,504 and knows nothing below 6e-8.
    np.testing.assert_array_equal(held[kept[0].id], [[0.5, -3.0, 65504.0], [2.0, 0.0, -65504.0]])
    accepted(engine)
    lost = jobs.claim(engine, "w")
    jobs.give_back(engine, everyone=True)
    assert not jobs.finish(engine, lost, found, vectors=x)
    assert embeddings_of(engine, [lost.id]) == {}
    with engine.begin() as connection:
        connection.execute(text("delete from jobs"))
    assert embeddings_of(engine, [kept[0].id]) == {}  # they go with their job


def test_a_worker_that_lost_its_job_writes_nothing(engine):
    accepted(engine)
    slow = jobs.claim(engine, "slow")
    assert jobs.give_back(engine) == 0  # it was seen a moment ago
    assert jobs.give_back(engine, everyone=True) == 1
    fast = jobs.claim(engine, "fast")
    assert fast.attempts == 2
    assert not jobs.progress(engine, slow, n_done=5, n_windows=5)
    assert not jobs.finish(engine, slow, findings(("LPD",)))
    assert jobs.answers_of(engine, slow.id) == []
    assert jobs.finish(engine, fast, findings(("Other",)))
    assert [one.predicted_class for one in jobs.answers_of(engine, fast.id)] == ["Other"]


def test_a_worker_that_was_not_seen_for_a_while_is_gone(engine, monkeypatch):
    accepted(engine)
    job = jobs.claim(engine, "w")
    now = time.time()
    monkeypatch.setattr(jobs.time, "time", lambda: now + jobs.ALIVE_S - 1)
    assert jobs.give_back(engine) == 0
    assert jobs.alive(engine, job)
    monkeypatch.setattr(jobs.time, "time", lambda: now + jobs.ALIVE_S + 1)
    assert jobs.give_back(engine) == 0
    monkeypatch.setattr(jobs.time, "time", lambda: now + 3 * jobs.ALIVE_S)
    assert jobs.give_back(engine) == 1


def test_a_job_that_takes_its_workers_along_fails_in_the_end(engine):
    job = accepted(engine)
    for _ in range(jobs.MOST_ATTEMPTS):
        assert jobs.claim(engine, "w").id == job.id
        jobs.give_back(engine, everyone=True)
    ended = jobs.get_job(engine, job.id)
    assert (ended.state, ended.code) == (FAILED, "worker_crashed")
    assert jobs.claim(engine, "w") is None


def test_many_workers_never_share_a_job(engine):
    ids = {accepted(engine).id for _ in range(20)}
    taken = []

    def work(name):
        while (job := jobs.claim(engine, name)) is not None:
            taken.append(job.id)

    threads = [threading.Thread(target=work, args=(f"w{n}",)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(taken) == sorted(ids)


def test_the_same_key_is_the_same_job_also_at_the_same_moment(engine):
    found = []
    threads = [threading.Thread(target=lambda: found.append(accepted(engine, key="a/k").id)) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 6
    assert len(set(found)) == 1
    assert accepted(engine, key="b/k").id not in found


def test_a_full_queue_refuses_and_keeps_what_it_has(engine):
    for _ in range(3):
        accepted(engine, most_waiting=3)
    with pytest.raises(Refusal) as refused:
        accepted(engine, most_waiting=3)
    assert (refused.value.status, refused.value.code) == (503, "queue_full")
    assert len(jobs.list_jobs(engine, owner=None)) == 3
    assert jobs.list_jobs(engine, owner="b") == []


def test_accesses_are_written_before_the_end(engine):
    log = Accesses(engine)
    for number in range(1200):
        log.add(Access(at=float(number), request_id="r", subject="s", role="reader", method="GET", route="/x",
                       job_id="", status=200))  # fmt: skip
    log.close()
    assert log.n_lost == 0
    rows = recent(engine, limit=2000)
    assert [row.at for row in rows] == [float(n) for n in reversed(range(1200))]


def test_records_that_cannot_be_written_refuse_and_lose_nothing(tmp_path):
    engine = open_database(f"sqlite:///{tmp_path / 'records.db'}")
    job = accepted(engine)
    limit(engine)

    def fill():
        for _ in range(2000):
            accepted(engine, most_waiting=10_000)

    with pytest.raises(Refusal) as refused:
        fill()
    assert (refused.value.status, refused.value.code) == (503, "records_unavailable")
    assert jobs.get_job(engine, job.id).state == ACCEPTED


def limit(engine):
    """Let the file not grow any more, as on a full disk."""
    from sqlalchemy import event

    engine.dispose()
    event.listen(engine, "connect", lambda connection, _: connection.execute("pragma max_page_count = 40"))


def test_records_that_cannot_be_opened_are_one_line(tmp_path):
    (tmp_path / "file").write_text("no database " * 500)
    for url in (f"sqlite:///{tmp_path / 'file'}", f"sqlite:///{tmp_path / 'file' / 'x.db'}", "oracle:", "nonsense",
                "postgresql://nobody@127.0.0.1:1/none"):  # fmt: skip
        with pytest.raises(RecordsError) as error:
            open_database(url)
        assert "\n" not in str(error.value)


def test_a_failed_transaction_leaves_nothing(engine):

    def failing():
        with transaction(engine) as session:
            session.add(jobs.new_job(owner="a", file="f", is_upload=True, model="m", hop_s=1.0))
            session.flush()
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        failing()
    assert jobs.list_jobs(engine, owner=None) == []
