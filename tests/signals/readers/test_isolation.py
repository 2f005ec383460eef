import os
import time

import pytest

from signals.readers.edf.edf_header import read_header
from signals.readers.isolation import run_isolated
from signals.recording.recording import UnreadableError


def test_the_value_comes_back():
    assert run_isolated(divmod, 7, 2, timeout_s=30) == (3, 1)


@pytest.mark.parametrize(
    ("function", "args", "code"),
    [(os._exit, (1,), "with 1"), (os._exit, (0,), "with 0"), (os.abort, (), "with -6")],  # -6: killed by SIGABRT
)
def test_a_dying_reader_is_a_reason(function, args, code):
    with pytest.raises(UnreadableError, match=code) as caught:
        run_isolated(function, *args, timeout_s=30)
    assert caught.value.reason == "reader_crashed"


def test_a_hanging_reader_is_killed():
    began = time.perf_counter()
    with pytest.raises(UnreadableError) as caught:
        run_isolated(time.sleep, 60, timeout_s=0.5)
    assert caught.value.reason == "reader_timeout"
    assert time.perf_counter() - began < 10


def test_exceptions_come_back_as_reasons(tmp_path):
    with pytest.raises(UnreadableError, match="ValueError: invalid literal") as caught:
        run_isolated(int, "x", timeout_s=30)
    assert caught.value.reason == "reader_crashed"
    path = tmp_path / "x.edf"
    path.write_bytes(b"0       ")
    with pytest.raises(UnreadableError) as caught:
        run_isolated(read_header, path, timeout_s=30)
    assert caught.value.reason == "corrupt_header"


def test_what_a_library_prints_does_not_disturb():
    assert run_isolated(print, "hello", timeout_s=30) is None
