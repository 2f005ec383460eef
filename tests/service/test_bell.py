"""Workers learn of jobs through a real Redis, and lose nothing when it is killed, emptied or never there."""

import shutil
import socket
import subprocess
import threading
import time

import httpx
import pytest
from redis import Redis

from service.jobs.bell import KEY, RedisBell, bell_of
from service.settings import SettingsError, load_settings
from tests.service.live import start

pytestmark = pytest.mark.skipif(shutil.which("redis-server") is None, reason="Redis is not installed")


class Server:
    """A private Redis that can be killed and started again."""

    def __init__(self, folder):
        with socket.socket() as one:
            one.bind(("127.0.0.1", 0))
            self.port = one.getsockname()[1]
        self.folder, self.process = folder, None
        self.start()

    @property
    def url(self):
        return f"redis://127.0.0.1:{self.port}/0"

    def start(self):
        command = ["redis-server", "--port", str(self.port), "--bind", "127.0.0.1", "--save", "", "--dir",
                   str(self.folder)]  # fmt: skip
        self.process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        until = time.monotonic() + 20
        while time.monotonic() < until:
            try:
                return Redis.from_url(self.url).ping()
            except OSError:
                time.sleep(0.02)
            except Exception:  # its own ConnectionError, while it starts
                time.sleep(0.02)
        raise AssertionError("Redis did not start")

    def kill(self):
        self.process.kill()
        self.process.wait()


@pytest.fixture
def redis(tmp_path):
    one = Server(tmp_path)
    yield one
    one.kill()


def test_a_ring_wakes_one_who_waits_and_one_alone(redis, monkeypatch):
    monkeypatch.setattr("service.jobs.bell.FALLBACK_S", 30.0)
    bells, woken = [RedisBell(redis.url) for _ in range(2)], []
    for bell in bells:
        threading.Thread(target=lambda one=bell: (one.wait(), woken.append(1)), daemon=True).start()
    for n_rings in (1, 2):
        time.sleep(0.3)
        assert len(woken) == n_rings - 1
        RedisBell(redis.url).ring("x")
        until = time.monotonic() + 10
        while len(woken) < n_rings and time.monotonic() < until:
            time.sleep(0.01)
        assert len(woken) == n_rings
    RedisBell(redis.url).ring("early")  # before anybody waits: it is not lost
    bells[0].wait()
    assert Redis.from_url(redis.url).llen(KEY) == 0


def test_a_redis_that_dies_and_comes_back_disturbs_nobody(redis, monkeypatch, caplog):
    monkeypatch.setattr("service.jobs.bell.FALLBACK_S", 0.2)
    bell = RedisBell(redis.url)
    bell.wait()
    redis.kill()
    started = time.monotonic()
    for _ in range(3):
        bell.ring("x")
        bell.wait()
    assert time.monotonic() - started < 10
    redis.start()
    bell.ring("x")
    bell.wait()
    assert [record.message.split(":")[0] for record in caplog.records] == ["Redis is away", "Redis is there again"]
    assert redis.url not in caplog.text


def test_what_is_not_taken_does_not_grow_without_end(redis, monkeypatch):
    monkeypatch.setattr("service.jobs.bell._MOST_RINGS", 10)
    bell = bell_of(redis.url)
    for number in range(50):
        bell.ring(str(number))
    assert Redis.from_url(redis.url).llen(KEY) == 10


def test_a_url_of_something_else_is_one_line():
    with pytest.raises(SettingsError, match=r"system\.queue|system: "):
        load_settings(None, ["system.queue=http://x"], {})


def test_jobs_are_done_once_while_redis_is_killed_and_emptied(redis, things, tmp_path):
    live = start(tmp_path, [things.bundle], f"system.queue={redis.url}")

    def upload():
        return httpx.post(f"{live.url}/jobs?name=a.edf", content=things.edf.read_bytes(), timeout=30).json()["id"]

    ids = [upload()]
    Redis.from_url(redis.url).flushall()
    ids.append(upload())
    redis.kill()
    ids.append(upload())
    redis.start()
    ids.append(upload())
    for job_id in ids:
        job = {}
        until = time.monotonic() + 60
        while job.get("state") != "done" and time.monotonic() < until:
            job = httpx.get(f"{live.url}/jobs/{job_id}?wait_s=10", timeout=20).json()
        assert (job["state"], job["n_done"]) == ("done", 1)
    assert live.end() == 0
