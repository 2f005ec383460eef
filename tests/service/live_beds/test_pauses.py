"""Pauses: what they hold back, that they end, and that no alarm is lost, doubled or changed by one."""

import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import update
from starlette.testclient import TestClient

from service.live.pauses import ALARM_PAUSED, AUDIO_OFF, AUDIO_PAUSED, KINDS, LONGEST_S, Condition, Held, signals_of
from service.records import pauses
from service.records.alarms import list_alarms, write_alarm
from service.records.database import transaction
from service.records.tables import Access, Alarm, Pause
from service.web.app import new_app

TIMES = st.integers(0, 100).map(float)
ALARMS = st.builds(
    lambda raised, lasts, seen: Condition(
        raised_at=raised, cleared_at=None if lasts is None else raised + lasts,
        acknowledged_at=None if seen is None else raised + seen,
    ),
    TIMES, st.none() | TIMES, st.none() | TIMES,
)  # fmt: skip
HELD = st.builds(
    lambda kind, begun, lasts, ended: Held(
        kind=kind, begun_at=begun, until_at=begun + lasts, ended_at=None if ended is None else begun + ended
    ),
    st.sampled_from(KINDS), TIMES, TIMES, st.none() | TIMES,
)  # fmt: skip


@settings(max_examples=300, deadline=None)
@given(ALARMS, st.lists(HELD, max_size=4), TIMES)
def test_a_pause_holds_back_light_and_sound_and_never_an_alarm(alarm, held, at):
    found, free = signals_of(alarm, held, at), signals_of(alarm, [], at)
    assert found.is_listed == free.is_listed
    assert found.sounds <= found.flashes <= free.flashes <= free.is_listed  # audible is visible is there
    # When the last of them is over, everything is signalled as if there had been none.
    over = max([pause.until_at for pause in held], default=at)
    assert signals_of(alarm, held, over) == signals_of(alarm, [], over)
    # A condition that is there and unseen is silent for the sake of a pause that is on, and of nothing else.
    on = {pause.kind for pause in held if pause.begun_at <= at < pause.until_at
          and (pause.ended_at is None or at < pause.ended_at)}  # fmt: skip
    assert found.sounds == (free.sounds and not on)
    assert found.flashes == (free.flashes and ALARM_PAUSED not in on)


def test_what_each_kind_holds_back():
    alarm = Condition(raised_at=10.0)

    def at(kind, seconds):
        found = signals_of(alarm, [Held(kind=kind, begun_at=0.0, until_at=60.0)], seconds)
        return found.is_listed, found.flashes, found.sounds

    assert at(AUDIO_PAUSED, 20.0) == at(AUDIO_OFF, 20.0) == (True, True, False)
    assert at(ALARM_PAUSED, 20.0) == (True, False, False)
    assert at(ALARM_PAUSED, 5.0) == (False, False, False)  # not raised yet
    assert at(ALARM_PAUSED, 60.0) == (True, True, True)  # it has ended by itself
    cleared = Condition(raised_at=10.0, cleared_at=20.0)
    assert signals_of(cleared, [], 30.0).is_listed  # it latches until it is acknowledged
    assert not signals_of(cleared, [], 30.0).sounds
    assert not signals_of(Condition(raised_at=10.0, cleared_at=20.0, acknowledged_at=15.0), [], 30.0).is_listed


def alarm(bed="1", name="a", **changes):
    fields = {"id": name * 32, "bed": bed, "stream": "s", "kind": "physiological", "severity": "high",
              "condition": "Seizure", "onset_s": 0.0, "raised_at": time.time(), "cleared_at": None,
              "acknowledged_at": None, "acknowledged_by": "", "model": "", "model_digest": ""} | changes  # fmt: skip
    return Alarm(**fields)


def test_a_bed_has_one_pause_and_keeps_who_began_and_ended_each(engine):
    for kind, by in ((AUDIO_PAUSED, "Ada"), (AUDIO_OFF, "Bob")):
        pauses.begin_pause(engine, bed="1", kind=kind, seconds=60.0, by=by, request_id="r")
    pauses.begin_pause(engine, bed="2", kind=ALARM_PAUSED, seconds=60.0, by="Cy", request_id="r")
    now = time.time()
    assert {(one.bed, one.kind) for one in pauses.pauses_on(engine, at=now)} == {("1", AUDIO_OFF), ("2", ALARM_PAUSED)}
    pauses.end_pause(engine, bed="1", by="Eve")
    assert [one.bed for one in pauses.pauses_on(engine, at=time.time())] == ["2"]
    assert pauses.pauses_on(engine, at=now + 60.1) == []  # by itself
    kept = {one.kind: (one.begun_by, one.ended_by) for one in pauses.list_pauses(engine, bed="1")}
    assert kept == {AUDIO_PAUSED: ("Ada", "Bob"), AUDIO_OFF: ("Bob", "Eve")}


def test_pauses_over_http_are_bounded_audited_and_end(serve):
    server, _ = serve()
    client = TestClient(new_app(server))
    write_alarm(server.engine, alarm())
    for body in ({"kind": "off"}, {}, {"kind": AUDIO_PAUSED, "seconds": 601}, {"kind": AUDIO_OFF, "seconds": 43201},
                 {"kind": AUDIO_PAUSED, "seconds": 0}, {"kind": AUDIO_PAUSED, "seconds": True},
                 {"kind": [], "seconds": 5}, {"kind": AUDIO_PAUSED, "more": 1}):  # fmt: skip
        reply = client.post("/beds/1/pauses", json=body)
        assert (reply.status_code, reply.json()["code"]) == (422, "invalid_pause"), body
    assert (client.post("/beds/%2F..%2F/pauses", json={"kind": AUDIO_OFF})).status_code in (404, 422)
    reply = client.post("/beds/1/pauses", json={"kind": ALARM_PAUSED})
    assert reply.status_code == 201
    begun = reply.json()
    assert begun["until_at"] - begun["begun_at"] == pytest.approx(120.0)
    assert begun["until_at"] - begun["begun_at"] <= LONGEST_S[ALARM_PAUSED]
    (shown,) = (client.get("/beds")).json()["alarms"]
    assert (shown["is_listed"], shown["flashes"], shown["sounds"]) == (True, False, False)
    with transaction(server.engine) as session:  # two minutes later
        session.execute(update(Pause).values(until_at=time.time() - 1))
    time.sleep(0.5)
    (shown,) = (client.get("/beds")).json()["alarms"]
    assert (shown["flashes"], shown["sounds"]) == (True, True)
    assert len(list_alarms(server.engine)) == 1
    (row,) = (client.get("/beds/1/pauses")).json()["pauses"]
    assert row["begun_by"] == "local"
    server.accesses.close()
    with transaction(server.engine) as session:
        kept = session.query(Pause).one().request_id
        requests = {one.request_id for one in session.query(Access).filter(Access.route == "/beds/{bed}/pauses")}
    assert kept in requests  # the row of the access log, and the audit log's, has the same id
