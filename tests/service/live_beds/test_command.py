"""cerebeam live against a real server: a replay over kill -9, and a stream over real LSL on loopback."""

import json
import sqlite3
import threading
import time
from types import SimpleNamespace

import numpy as np
import pytest

from service.live.command import line_of, main
from service.live.frames import read_samples, write_samples
from service.live.inlets import Outlet, Replay
from service.live.source import Sender, SourceError
from service.records.alarms import list_alarms
from service.records.database import open_database
from serving.model import open_model
from signals.modality import EEG_1020
from synthetic.recordings.files import write_edf
from tests.service.live import start
from tests.service.live_beds.test_bed import connected
from tests.signals.streams.test_stream import noise

NAMES, SFREQ = EEG_1020.ch_names, 200.0


@pytest.fixture(scope="module")
def edf(tmp_path_factory):
    path = tmp_path_factory.mktemp("live") / "bed.edf"
    write_edf(path, [noise(150)], file_format="edf", ch_names=NAMES, sfreq=200, patient="X",
              record_onsets_s=range(150))  # fmt: skip
    return path


def starts(folder):
    with sqlite3.connect(folder / "var" / "records.db") as db:
        return [row[0] for row in db.execute("select start_s from hops order by id")]


def test_a_replay_over_kill_9_has_every_hop_once(things, edf, tmp_path):
    live, killed = start(tmp_path, [things.bundle]), threading.Event()
    shown = []

    def show(outcome):
        shown.append(outcome)
        if len(shown) == 3 and not killed.is_set():
            live.kill()
            killed.set()

    replay = Replay(str(edf), speed=0)
    sender = Sender(url=live.url, bed="A", samples=replay, chunk_s=2.0, patience_s=600)
    thread = threading.Thread(target=lambda: sender.run(show=show))
    thread.start()
    assert killed.wait(300)
    again = start(tmp_path, [things.bundle], port=live.port)
    thread.join(timeout=400)
    assert not thread.is_alive()
    assert starts(tmp_path) == [10.0 * n for n in range(11)]
    assert {one["start_s"] for one in shown} <= set(starts(tmp_path))
    assert again.end() == 0


def test_a_stream_over_real_lsl_raises_a_planted_alarm(things, tmp_path):
    import pylsl

    name, x = f"cerebeam-{time.monotonic_ns()}", noise(100)
    x[:, round(60 * SFREQ) : round(90 * SFREQ)] = 0.0  # the leads are off
    info = pylsl.StreamInfo(name, "EEG", 19, SFREQ, "float32", name)
    channels = info.desc().append_child("channels")
    for label in NAMES:
        channel = channels.append_child("channel")
        channel.append_child_value("label", label)
        channel.append_child_value("unit", "microvolts")
    outlet = pylsl.StreamOutlet(info, chunk_size=200, max_buffered=360)
    found = Outlet(name, quiet_s=5.0)
    assert found.ch_names == NAMES

    def push():
        outlet.wait_for_consumers(20)
        for at in range(0, x.shape[1], 200):
            outlet.push_chunk(x[:, at : at + 200].T.tolist())
            time.sleep(0.005)

    thread = threading.Thread(target=push)
    thread.start()
    engine, at, starts_s = open_database(f"sqlite:///{tmp_path / 'r.db'}"), 0, []
    bed = connected(engine, open_model(things.bundle), bed="B")
    while (samples := found.read(at, 200)).shape[1]:
        first, back = read_samples(write_samples(at, samples), n_chans=19, sfreq=SFREQ, next_sample=bed.next_sample)
        starts_s += [hop.start_s for hop in bed.feed(back, first)]
        at += samples.shape[1]
    thread.join()
    starts_s += [hop.start_s for hop in bed.finish()]
    assert starts_s == [10.0 * n for n in range(6)]
    assert at == x.shape[1]
    assert [one.condition for one in list_alarms(engine, bed="B")] == ["no answer: electrodes"]
    engine.dispose()


def test_what_cannot_be_sent_is_one_line(edf, tmp_path, capsys, monkeypatch):
    (tmp_path / "x.edf").write_bytes(b"no recording")
    assert main(["--replay", str(tmp_path / "x.edf")]) == 2
    monkeypatch.setattr("service.live.source.Sender.patience_s", 0.0)
    monkeypatch.setattr("service.live.source._AGAIN_S", 0.0)
    sender = Sender(url="http://127.0.0.1:9", bed="1", samples=Replay(str(edf), speed=0), patience_s=0.0)
    with pytest.raises(SourceError, match="does not answer"):
        sender.run(show=print)
    assert capsys.readouterr().err.count("\n") == 1


def test_the_address_of_the_beds_page_is_printed(edf, capsys, monkeypatch):
    monkeypatch.setattr(Sender, "run", lambda self, *, show: None)
    assert main(["--replay", str(edf), "--bed", "Bed 2", "--url", "http://h:1/"]) == 0
    assert capsys.readouterr().out == "bed Bed 2: http://h:1/app/bed#bed=Bed%202\n"


def test_a_server_that_is_killed_after_the_end_was_committed_is_no_failure(monkeypatch):
    """What the source hears when it comes back is that its stream has ended: all of it was taken."""
    monkeypatch.setattr("service.live.source._AGAIN_S", 0.0)

    def running(ends):
        sender = Sender(url="http://h", bed="1", samples=None)
        replies = [OSError("gone"), SourceError("this id has ended", "stream_in_use")]

        def connected():
            sender.has_ended = ends
            raise replies.pop(0)
            yield

        monkeypatch.setattr(sender, "_connected", connected)
        sender.run(show=print)

    running(ends=True)
    with pytest.raises(SourceError, match="has ended"):
        running(ends=False)  # somebody else's id


def test_a_replay_keeps_its_time(edf, monkeypatch):
    slept, now = [], [100.0]
    clock = SimpleNamespace(monotonic=lambda: now[0], sleep=slept.append)
    monkeypatch.setattr("service.live.inlets.time", clock)
    replay = Replay(str(edf), speed=20)
    x = replay.read(0, 2000)
    assert (x.shape, slept) == ((19, 2000), [10 / 20])
    assert replay.read(30_000, 10).shape == (19, 0)
    np.testing.assert_allclose(x, noise(150)[:, :2000], atol=0.2)  # 16 bits


def test_a_line_of_the_terminal():
    answer = {"predicted_class": "LPD", "confidence": 0.5}
    outcome = {"stop_s": 3725.0, "answer": answer, "reason": "", "abstained": False}
    assert line_of(outcome) == "01:02:05  LPD        0.50 ##########"
    assert line_of(outcome | {"answer": None, "reason": "flat"}) == "01:02:05  no answer: flat"
    json.dumps(outcome)
