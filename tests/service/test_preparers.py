"""Processes that prepare: refusals cross them whole, a dead one is replaced, none outlives its server."""

import os
import signal
import subprocess
import sys
import time

import orjson
import pytest

from service.answering.preparers import Preparers
from service.refusals import Refusal
from service.web import windows
from serving.model import open_model
from tests.service.live import ROOT


def as_body(x):
    return orjson.dumps({"eeg_data": x.tolist()})


def test_windows_are_those_of_the_model_to_the_bit(preparers, things):
    model = open_model(things.bundle)
    future = preparers.submit(windows.of_predict, as_body(things.array), model.intake, deadline=None)
    (window,), clock = future.result(timeout=60)
    wanted = model.window_of_array(things.array)
    assert window.data.tobytes() == wanted.data.tobytes()
    assert window.ch_state.tobytes() == wanted.ch_state.tobytes()
    assert set(clock.seconds) == {"parse", "prepare"}


def test_refusals_cross_whole_and_the_deadline_holds_there(preparers, things):
    intake = open_model(things.bundle).intake
    for body, deadline, code in (
        (b"{", None, "invalid_json"),
        (as_body(things.array[:, :100]), None, "does_not_fit"),
        (as_body(things.array), time.monotonic() - 1, "deadline_exceeded"),
    ):
        with pytest.raises(Refusal) as refused:
            preparers.submit(windows.of_predict, body, intake, deadline=deadline).result(timeout=60)
        assert refused.value.code == code
        assert refused.value.body["hint"]


def test_an_error_brings_its_type_and_nothing_of_the_request(preparers, capfd):
    with pytest.raises(RuntimeError) as error:
        preparers.submit(int, "Miller", deadline=None).result(timeout=60)
    assert str(error.value) == "TypeError"  # int(clock, "Miller")
    assert "Miller" not in repr(error.value.__cause__)


def test_a_process_that_dies_takes_its_requests_and_no_others(things):
    pool = Preparers(1)
    try:
        assert pool.submit(_pid, deadline=None).result(timeout=60)[0] != os.getpid()
        with pytest.raises(Refusal) as refused:
            pool.submit(_die, deadline=None).result(timeout=60)
        assert refused.value.code == "busy"
        until, pid = time.monotonic() + 30, None
        while pid is None and time.monotonic() < until:
            try:
                pid, _ = pool.submit(_pid, deadline=None).result(timeout=60)
            except Refusal:
                time.sleep(0.05)
        assert pid
    finally:
        pool.close()


def _pid(clock):
    return os.getpid()


def _die(clock):
    os.kill(os.getpid(), signal.SIGKILL)


def test_none_outlives_a_server_that_was_killed(tmp_path):
    code = (
        "import sys, time\nfrom service.answering.preparers import Preparers\n"
        "def pid(clock):\n    import os\n    return os.getpid()\n"
        "if __name__ == '__main__':\n    pool = Preparers(2)\n"
        "    print(pool.submit(pid, deadline=None).result()[0], flush=True)\n    time.sleep(60)\n"
    )
    (tmp_path / "server.py").write_text(code)
    server = subprocess.Popen([sys.executable, "server.py"], stdout=subprocess.PIPE, text=True, cwd=tmp_path,
                              env=os.environ | {"PYTHONPATH": str(ROOT)})  # fmt: skip
    child = int(server.stdout.readline())
    server.kill()
    server.wait()
    until = time.monotonic() + 20
    while os.path.exists(f"/proc/{child}") and time.monotonic() < until:
        time.sleep(0.05)
    assert not os.path.exists(f"/proc/{child}")
