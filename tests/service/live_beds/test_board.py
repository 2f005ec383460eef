"""The state of all beds: burden by the hour, electrodes, what is away, and how often the records are read."""

import time
from dataclasses import replace

import pytest
from starlette.testclient import TestClient

from service.live import board as boards
from service.live.alarms import Hop
from service.live.bed import RULES
from service.live.board import Board, hour_of
from service.live.ward import Ward
from service.records import streams
from service.records.alarms import write_alarm
from service.records.tables import LiveHop
from service.web.app import new_app
from serving.model import open_model
from tests.service.live_beds.test_bed import NAMES, STREAM, connected, row
from tests.service.live_beds.test_pauses import alarm
from tests.signals.streams.test_stream import noise


def test_the_burden_of_an_hour_is_of_what_was_answered():
    # 400 hops of 10 s: the last 360 are an hour. Of these, 90 are ictal, 60 have no answer.
    values = [0.9] * 40 + [None] * 60 + [0.9] * 90 + [0.1] * 210
    hops = [Hop(10.0 * n, value) for n, value in enumerate(values)]
    share, answered = hour_of(hops, RULES)
    assert share == pytest.approx(90 / 300)
    assert answered == pytest.approx(300 / 360)
    assert hour_of([Hop(0.0, None)], RULES) == (None, 0.0)
    assert hour_of([Hop(0.0, 0.5)], replace(RULES, ictal_from=0.5)) == (1.0, 1.0)


def hop(start_s, ictal, stream=STREAM):
    answer = None if ictal is None else {
        "class_probabilities": {"Seizure": ictal, "Other": 1 - ictal}, "confidence": max(ictal, 1 - ictal),
        "predicted_class": "Seizure" if ictal > 0.5 else "Other", "uncertainty": {"total": 0.3},
    }  # fmt: skip
    return LiveHop(stream_id=stream, start_s=start_s, stop_s=start_s + 50, answer=answer, reason="", abstained=False,
                   plan_version=1, model_digest="d", answered_at=time.time())  # fmt: skip


def test_beds_come_from_the_records_and_what_is_connected_from_the_ward(engine, things, monkeypatch):
    monkeypatch.setattr(boards, "_FRESH_S", -1.0)
    ward = Ward(engine)
    board = Board(engine, ward)
    assert board.snapshot()["beds"] == []
    bed = connected(engine, open_model(things.bundle))
    ward.connect(bed)
    x = noise(3)
    x[:2] = 0.0
    bed.feed(x, 0)
    for n in range(4):
        streams.add_hop(engine, hop(10.0 * n, 0.9 if n else None), [])
    bed.version += 1  # as a commit of the bed's own
    (found,) = board.snapshot()["beds"]
    assert (found["bed"], found["is_connected"], found["newest"]["start_s"]) == ("1", True, 30.0)
    assert (found["burden_hour"], found["answered_hour"]) == (1.0, 0.75)
    assert found["burden_5min"] == [3 / 30, 1.0]
    quality = found["quality"]
    assert (quality["n_good"], quality["n_chans"], quality["bad"]) == (17, 19, list(NAMES[:2]))
    ward.disconnect(bed)
    (found,) = board.snapshot()["beds"]
    assert (found["is_connected"], found["quality"], found["ended_at"]) == (False, None, None)
    bed.finish()
    assert board.snapshot()["beds"][0]["ended_at"] is not None
    monkeypatch.setattr(boards, "_SHOWN_AFTER_END_S", -1.0)
    assert board.snapshot()["beds"] == []
    ward.close()


def test_many_viewers_read_the_records_once(engine, monkeypatch):
    ward, n_read = Ward(engine), []
    real = streams.newest_streams
    monkeypatch.setattr(streams, "newest_streams", lambda *a, **k: n_read.append(1) or real(*a, **k))
    board = Board(engine, ward)
    for _ in range(50):
        board.snapshot()
    assert len(n_read) <= 3
    ward.close()


def test_the_newest_stream_of_a_bed_is_shown_and_older_hops_are_behind_a_number(engine):
    streams.begin_stream(engine, row())
    for n in range(5):
        streams.add_hop(engine, hop(10.0 * n, 0.1), [])
    ids = [one.id for one in streams.last_hops(engine, STREAM, limit=9)]
    assert streams.hop_before(engine, "1", last=2) == ids[2]
    assert [one.id for one in streams.hops_of_bed(engine, "1", after=ids[2])] == ids[3:]
    assert streams.hop_before(engine, "1", last=5) == 0
    streams.begin_stream(engine, row(stream="e" * 32, begun_at=time.time() + 1))
    (newest,) = streams.newest_streams(engine, ended_since=0.0)
    assert newest.id == "e" * 32


def test_the_wall_socket_sends_what_changes(serve):
    server, _ = serve()
    with TestClient(new_app(server)) as client:
        ticket = client.post("/tickets").json()["ticket"]
        with client.websocket_connect(f"/wall?ticket={ticket}") as socket:
            assert socket.receive_json()["alarms"] == []
            write_alarm(server.engine, alarm())
            (shown,) = socket.receive_json()["alarms"]
            assert shown["sounds"]
            client.post(f"/alarms/{shown['id']}/acknowledge", json={})
            (shown,) = socket.receive_json()["alarms"]
            assert (shown["acknowledged_by"], shown["sounds"]) == ("local", False)
