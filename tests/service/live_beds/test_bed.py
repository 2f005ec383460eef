"""A bed: every hop has one outcome, whatever is killed, sent twice, cut, torn or sent by somebody else."""

import json
import time
from concurrent.futures import Future

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from starlette.testclient import TestClient
from starlette.websockets import WebSocketDisconnect

from service.live import ward as wards
from service.live.alarms import Episode
from service.live.bed import Bed
from service.live.frames import read_begin, read_samples, write_samples
from service.live.ward import NO_SAMPLES, Ward
from service.records import streams
from service.records.alarms import list_alarms
from service.records.tables import LiveStream
from service.refusals import Refusal
from service.web.app import new_app
from serving.model import open_model
from signals.modality import EEG_1020
from tests.signals.streams.test_stream import noise

NAMES, SFREQ, HOP_S = EEG_1020.ch_names, 200.0, 10.0
STREAM = "0123456789abcdef" * 2


def row(bed="1", stream=STREAM, **changes):
    fields = {"id": stream, "bed": bed, "owner": "a", "ch_names": list(NAMES), "sfreq": SFREQ, "hop_s": HOP_S,
              "model": "small", "begun_at": time.time(), "ended_at": None} | changes  # fmt: skip
    return LiveStream(**fields)


@pytest.fixture(scope="module")
def model(things):
    return open_model(things.bundle)


def connected(engine, model, **changes):
    def submit(windows):
        future = Future()
        future.set_result(model.answers(windows))
        return future

    return Bed(streams.begin_stream(engine, row(**changes)), model, engine, submit)


def outcomes(engine):
    return [(hop.start_s, hop.answer and hop.answer["class_probabilities"]) for hop in
            streams.last_hops(engine, STREAM, limit=1000)]  # fmt: skip


def test_a_bed_answers_every_hop_once_over_kills(engine, model):
    """Whole in one go, and with a server that is killed after every chunk: the same hops, nearly the same answers."""
    x = noise(140)
    whole = connected(engine, model)
    for at in range(0, x.shape[1], 2000):
        whole.feed(x[:, at : at + 2000], at)
    whole.finish()
    wanted = outcomes(engine)
    assert [start for start, _ in wanted] == [10.0 * n for n in range(10)]
    with engine.begin() as connection:
        for table in ("hops", "alarms", "streams"):
            connection.exec_driver_sql(f"delete from {table}")
    rng, n_kills, bed = np.random.default_rng(0), 0, connected(engine, model)
    at = 0
    while at < x.shape[1]:
        if rng.uniform() < 0.1:
            bed, n_kills = connected(engine, model), n_kills + 1  # all that was in memory is gone
            at = bed.next_sample  # what the source is to send again
        bed.feed(x[:, at : at + 500], at)
        at += 500
    bed.finish()
    found = outcomes(engine)
    assert n_kills >= 3
    assert [start for start, _ in found] == [start for start, _ in wanted]
    for (_, one), (_, other) in zip(found, wanted, strict=True):
        np.testing.assert_allclose(list(one.values()), list(other.values()), atol=0.02)  # another plan's offsets


def feed_all(bed, x):
    for at in range(0, x.shape[1], 2000):
        bed.feed(x[:, at : at + 2000], at)


def test_an_outcome_and_its_alarm_are_there_or_neither_is(engine, model, monkeypatch):
    x, bed = noise(60), connected(engine, model)
    episode = Episode(id="f" * 32, kind="physiological", severity="medium", condition="Seizure", onset_s=0.0)
    monkeypatch.setattr("service.live.bed.after_hop", lambda *_, **__: episode)
    monkeypatch.setattr(streams, "write_in", lambda *_: (_ for _ in ()).throw(OSError("full")))
    with pytest.raises(OSError, match="full"):
        feed_all(bed, x)
    assert outcomes(engine) == []
    monkeypatch.undo()
    feed_all(connected(engine, model), x)
    assert [start for start, _ in outcomes(engine)] == [0.0]


def test_lost_leads_are_an_alarm_within_thirty_seconds_and_over_kills_it_is_one(engine, model):
    x = noise(150)
    x[:10, round(70 * SFREQ) : round(110 * SFREQ)] = 0.0  # nine are left
    bed, raised_s = connected(engine, model), None
    for second in range(150):
        if second in (80, 90, 100, 120):
            bed = connected(engine, model)
        at = min(bed.next_sample, second * 200)
        bed.feed(x[:, at : (second + 1) * 200], at)
        if raised_s is None and list_alarms(engine):
            raised_s = second
    assert raised_s is not None
    assert 70 <= raised_s <= 100
    (alarm,) = list_alarms(engine)
    assert (alarm.kind, alarm.condition) == ("technical", "no answer: electrodes")
    assert alarm.cleared_at is not None
    # An answer is about seconds 20 to 30 of its window: those of hops 50, 60, 70 and 80 lie in 70 to 110 s.
    hops = {hop.start_s: (hop.answer is None, hop.reason) for hop in streams.last_hops(engine, STREAM, limit=100)}
    assert hops == {10.0 * n: (n in (5, 6, 7, 8), "electrodes" if n in (5, 6, 7, 8) else "") for n in range(10)}


def test_a_source_that_falls_silent_is_an_alarm_that_ends_when_it_comes_back(engine, model, monkeypatch):
    monkeypatch.setattr(wards, "_LOOK_S", 1000.0)
    ward = Ward(engine)
    bed = connected(engine, model)
    ward.connect(bed)
    ward.look()
    assert list_alarms(engine) == []
    bed.seen -= wards.SILENT_S + 1
    for _ in range(3):
        ward.look()
    (alarm,) = list_alarms(engine)
    assert (alarm.condition, alarm.cleared_at) == (NO_SAMPLES, None)
    bed.feed(noise(3), 0)
    ward.look()
    assert list_alarms(engine)[0].cleared_at is not None
    bed.seen -= wards.SILENT_S + 1
    ward.disconnect(bed)
    time.sleep(0.01)
    ward.look()  # again, after it was here: another episode
    assert len(list_alarms(engine)) == 2
    bed.finish()
    assert all(one.cleared_at for one in list_alarms(engine))
    ward.close()


def test_a_bed_has_one_source(engine, model):
    ward = Ward(engine)
    first = connected(engine, model)
    ward.connect(first)
    with pytest.raises(Refusal) as refused:
        ward.check_free("1", "f" * 32)
    assert (refused.value.status, refused.value.code) == (409, "bed_taken")
    ward.connect(connected(engine, model))  # the same stream again
    ward.disconnect(first)  # the old connection ends late: the new one stays
    assert ward.bed("1") is not None
    ward.close()
    for changes in ({"bed": "2"}, {"owner": "b"}, {"sfreq": 100.0}, {"ch_names": ["Fp1"]}, {"hop_s": 5.0}):
        with pytest.raises(Refusal) as refused:
            streams.begin_stream(engine, row(**changes))
        assert refused.value.code == "stream_in_use"
    streams.begin_stream(engine, row(stream="f" * 32))
    with pytest.raises(Refusal):
        streams.begin_stream(engine, row())  # another stream of this bed has begun since


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 2**40), st.integers(1, 50), st.integers(1, 30))
def test_samples_survive_their_message(first, n_times, n_chans):
    x = np.random.default_rng(n_times).normal(size=(n_chans, n_times)).astype(np.float32)
    x[0, 0] = np.nan
    number, back = read_samples(write_samples(first, x), n_chans=n_chans, sfreq=200.0, next_sample=first)
    assert number == first
    np.testing.assert_array_equal(back, x)


@pytest.mark.parametrize(
    ("message", "code"),
    [
        (b"", "invalid_frame"), (bytes(8), "invalid_frame"), (bytes(8 + 75), "invalid_frame"),
        (bytes(8 + 76 * 2001), "invalid_frame"), (b"\xff" * 8 + bytes(76), "time_jump"),
        (bytes(8) + np.full(19, np.inf, "<f4").tobytes(), "not_finite"),
    ],
)  # fmt: skip
def test_messages_that_are_none_are_refused(message, code):
    with pytest.raises(Refusal) as refused:
        read_samples(message, n_chans=19, sfreq=200.0, next_sample=0)
    assert refused.value.code == code


GOOD = {"type": "begin", "stream": STREAM, "ch_names": list(NAMES), "sfreq": 200, "hop_s": 10}


@pytest.mark.parametrize(
    "changes",
    [{"type": "x"}, {"stream": "../x"}, {"stream": None}, {"ch_names": []}, {"ch_names": ["a", "a"]}, {"sfreq": "200"},
     {"sfreq": 1e9}, {"sfreq": True}, {"hop_s": 0}, {"hop_s": 1e5}, {"more": 1}, {"model": 1},
     {"ch_names": [str(n) for n in range(1000)]}],
)  # fmt: skip
def test_first_frames_that_are_none_are_refused(changes):
    assert read_begin(GOOD).hop_s == 10.0
    with pytest.raises(Refusal) as refused:
        read_begin(GOOD | changes)
    assert refused.value.code == "invalid_frame"


def until(socket, kind):
    while True:
        message = socket.receive()
        if "text" in message and message["text"] and json.loads(message["text"])["type"] == kind:
            return json.loads(message["text"])


def test_the_sockets_of_a_bed(serve):
    server, _ = serve()
    x = noise(80)
    with TestClient(new_app(server)) as client:

        def ticket():
            return client.post("/tickets").json()["ticket"]

        with client.websocket_connect(f"/live/Bed 1?ticket={ticket()}") as viewer:
            with client.websocket_connect(f"/live/Bed 1/in?ticket={ticket()}") as source:
                source.send_json(GOOD)
                assert source.receive_json() == {"type": "resume", "next_sample": 0}
                begun = until(viewer, "stream")
                # The label speaks of seconds 20 to 30 of 50, and the filters reach 5 s behind the window's end.
                assert begun["latency_floor_s"] == 25.0
                acks = []
                for at in range(0, x.shape[1], 2000):
                    source.send_bytes(write_samples(at, x[:, at : at + 2000]))
                    acks.append(source.receive_json())
                source.send_json({"type": "end"})
                last = source.receive_json()
            answers = [one for ack in [*acks, last] for one in ack["answers"]]
            assert [one["start_s"] for one in answers] == [0.0, 10.0, 20.0, 30.0]
            # The label speaks of seconds 20 to 30 of 50; read as being about now, of as many at the window's end.
            assert answers[1]["read_as"] == {"centred": [30.0, 40.0], "right_aligned": [50.0, 60.0]}
            assert last["type"] == "ended"
            assert until(viewer, "answer")["answer"]["class_probabilities"].keys() >= {"Seizure"}
        seqs = [one["seq"] for one in answers]
        with client.websocket_connect(f"/live/Bed 1?ticket={ticket()}&after={seqs[1]}") as viewer:
            shown = [until(viewer, "answer") for _ in range(2)]
            assert [one["seq"] for one in shown] == seqs[2:]
            assert shown[0]["read_as"] == answers[2]["read_as"]
        with client.websocket_connect(f"/live/Bed 1?ticket={ticket()}&last=1") as viewer:
            assert until(viewer, "answer")["seq"] == seqs[3]
        with client.websocket_connect(f"/live/Bed 1/in?ticket={ticket()}") as source:
            source.send_json(GOOD)  # it has ended
            assert source.receive_json()["code"] == "stream_in_use"
            with pytest.raises(WebSocketDisconnect):
                source.receive_json()
        with client.websocket_connect(f"/live/Bed 1/in?ticket={ticket()}") as source:
            source.send_json(GOOD | {"stream": "f" * 32, "model": "spectral"})
            assert source.receive_json()["code"] == "does_not_fit"
        with client.websocket_connect(f"/live/Bed 1/in?ticket={ticket()}") as source:
            source.send_json(GOOD | {"stream": "f" * 32})
            assert source.receive_json()["type"] == "resume"
            source.send_bytes(b"\xff" * 84)
            assert source.receive_json()["code"] == "time_jump"
        assert client.get("/alarms?bed=Bed 1").json() == {"alarms": []}
