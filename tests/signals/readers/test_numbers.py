import math

import pytest

from signals.readers.numbers import finite, whole
from signals.recording.recording import UnreadableError


@pytest.mark.parametrize(("text", "value"), [("1.5", 1.5), (" 2 ", 2.0), (b"3", None), (-4, -4.0), ("1e12", 1e12)])
def test_numbers(text, value):
    if value is None:
        with pytest.raises(UnreadableError):
            finite(text, "rate")
    else:
        assert finite(text, "rate") == value


@pytest.mark.parametrize("text", ["", "x", "nan", "inf", "-inf", "1.1e12", None])
def test_what_is_no_number(text):
    with pytest.raises(UnreadableError, match="corrupt_header: the rate is missing or no number above -inf"):
        finite(text, "the rate")


def test_limits():
    assert finite("5", "x", above=4.9, at_most=5) == 5.0
    for text in ("5", "4"):
        with pytest.raises(UnreadableError, match="no number above 5"):
            finite(text, "x", above=5)
    with pytest.raises(UnreadableError):
        finite("5.1", "x", at_most=5)
    assert math.isclose(finite("1e-9", "x", above=0), 1e-9)


def test_whole_numbers():
    assert whole("7.0", "n") == 7
    assert isinstance(whole("7.0", "n"), int)
    assert whole("-3", "n", above=-4) == -3
    with pytest.raises(UnreadableError, match="the count is no whole number"):
        whole("7.5", "the count")
    for text in ("0", "-1", "", "1e13"):
        with pytest.raises(UnreadableError):
            whole(text, "n")
    with pytest.raises(UnreadableError):
        whole("9", "n", at_most=8)
