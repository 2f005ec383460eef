import os
import time

import numpy as np
import pytest

from signals.readers import isolated
from signals.readers.isolated import open_isolated, require
from signals.readers.isolation import run_isolated
from signals.readers.matrix import measured
from signals.readers.memory import recording_of_array
from signals.recording.recording import UnreadableError

X = np.arange(200, dtype=np.float32).reshape(2, 100)


def sound(path):
    return recording_of_array(X, ch_names=("Fp1", "O2"), sfreq=100.0)


def dies(path):
    os.kill(os.getpid(), 11)


def hangs(path):
    time.sleep(60)


def quotes(path):
    raise ValueError("could not convert string to float: 'Erika Mustermann'")


def is_missing_a_part(path):
    raise FileNotFoundError(path / "Mustermann.dat")


def is_short(path):
    recording = sound(path)
    return recording_of_array(X[:, :50], ch_names=recording.ch_names, sfreq=100.0)


def wants_much_memory(path):
    return bytearray(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))


@pytest.fixture
def path(tmp_path):
    (tmp_path / "x").write_bytes(b"any")
    return tmp_path / "x"


def test_header_and_ranges_come_over(path):
    recording = open_isolated(sound, path)
    assert recording.ch_names == ("Fp1", "O2")
    assert np.array_equal(recording.read([1, 0], start=3, stop=9), X[[1, 0], 3:9])
    assert recording.read([1], start=100, stop=100).shape == (1, 0)


@pytest.mark.parametrize(
    ("opener", "message"),
    [
        (dies, "reader_crashed: _probe ended its process with -11"),
        (quotes, r"reader_crashed: ValueError: could not convert string to float: \(\.\.\.\)$"),
        (is_missing_a_part, "missing_file: a file that the header names is not beside it"),
        (wants_much_memory, "reader_crashed: MemoryError"),
    ],
)
def test_failures_have_their_reason_and_quote_nothing(path, opener, message):
    with pytest.raises(UnreadableError, match=message) as caught:
        open_isolated(opener, path)
    assert "Mustermann" not in str(caught.value)
    assert open_isolated(sound, path).read([0]).shape == (1, 100)  # the next file gets a new process


def test_a_library_that_hangs_is_ended(path, monkeypatch):
    monkeypatch.setattr(isolated, "TIMEOUT_S", 0.5)
    run_isolated(os.getpid, timeout_s=60)  # starts the child
    with pytest.raises(UnreadableError, match="reader_timeout"):
        open_isolated(hangs, path)


def test_a_large_file_has_more_time(path, monkeypatch):
    given = []
    monkeypatch.setattr(isolated, "run_isolated", lambda *_, timeout_s: given.append(timeout_s))
    with path.open("r+b") as file:
        file.truncate(300_000_000)  # of zeros, which take no room
    isolated.check_loadable(str, path)
    assert given == [60.0 + 300 / 2]  # a second per 2 MB beside the first minute


def test_a_library_that_dies_between_ranges_costs_one_file(path):
    recording = open_isolated(sound, path)
    with pytest.raises(UnreadableError, match="reader_crashed"):
        run_isolated(dies, path, timeout_s=60)
    assert np.array_equal(recording.read([0]), X[:1])


def test_fewer_samples_than_requested_are_no_samples(path):
    with pytest.raises(UnreadableError, match="corrupt_header: the file ends before"):
        isolated._checked(is_short(path), [0, 1], 0, 40, 60)


def test_a_missing_library_is_named():
    with pytest.raises(UnreadableError, match=r"missing_library: XDF needs pyxdf: pip install 'cerebeam\[formats\]'"):
        require("no_module_of_this_name", "pyxdf", "XDF")


def test_what_is_no_measurement_is_missing():
    x = measured(np.array([[1.0, -1e9, 1.1e9, np.inf, -np.inf, np.nan, 1e300]]))
    assert np.array_equal(x, np.array([[1, -1e9] + [np.nan] * 5], dtype=np.float32), equal_nan=True)
    assert x.shape == (1, 7)
