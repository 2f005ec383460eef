import os
import signal
import threading

import pytest

from training.trainer.stopping import RESUME_EXIT, Stopped, StopRequest


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_is_remembered_and_handlers_come_back(number):
    before = {s: signal.getsignal(s) for s in (signal.SIGTERM, signal.SIGINT)}
    request = StopRequest()
    request.check()

    def interrupted():
        with request.listening() as given:
            assert given is request
            os.kill(os.getpid(), number)
            assert request.requested
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        interrupted()
    assert {s: signal.getsignal(s) for s in before} == before
    with pytest.raises(Stopped):
        request.check()


def test_other_threads_only_look():
    request, seen = StopRequest(), []

    def work():
        with request.listening():
            seen.append(signal.getsignal(signal.SIGTERM))

    before = signal.getsignal(signal.SIGTERM)
    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [before]
    assert not request.requested


def test_the_exit_code_requests_another_start():
    assert RESUME_EXIT == os.EX_TEMPFAIL == 75
