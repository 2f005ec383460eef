import io
import json
import logging
import sys
import threading

import pytest

from service.logs import set_up_logs


def test_a_line_goes_to_the_standard_error_of_its_time_not_to_one_that_was_closed(kept_logging, monkeypatch):
    first, second = io.StringIO(), io.StringIO()
    monkeypatch.setattr(sys, "stderr", first)
    set_up_logs("INFO")
    logging.getLogger("service").info("one")
    monkeypatch.setattr(sys, "stderr", second)
    first_lines = first.getvalue().splitlines()
    first.close()
    thread = threading.Thread(target=logging.getLogger("uvicorn.error").warning, args=("%s", "two\nlines"))
    thread.start()
    thread.join()
    assert [json.loads(line)["message"] for line in first_lines] == ["one"]
    [line] = second.getvalue().splitlines()
    assert json.loads(line)["message"] == "two\nlines"


@pytest.mark.parametrize("name", ["uvicorn.access", "signals", "mne"])
def test_what_names_files_or_addresses_is_not_written(kept_logging, monkeypatch, name):
    stream = io.StringIO()
    monkeypatch.setattr(sys, "stderr", stream)
    set_up_logs("DEBUG")
    logging.getLogger(name).error("ward/Miller.edf")
    assert stream.getvalue() == ""
