"""Bars: silent for programs and for what is soon over, with unit and time left for a person who waits."""

import os
import pty
import subprocess
import sys
import termios

from signals.progress import progress

CODE = """
import sys, time
import signals.progress as p
p.take_line(int(sys.argv[2]))
p.SHOWN_AFTER_S = float(sys.argv[1])
for _ in p.progress(iter(range(20)), "embed", unit="windows", total=20):
    time.sleep(0.02)
"""


def on_a_terminal(after_s, line="0"):
    """What a terminal shows of standard error."""
    own, theirs = pty.openpty()
    termios.tcsetwinsize(own, (24, 100))  # a new one has no columns
    with subprocess.Popen([sys.executable, "-c", CODE, after_s, line], stderr=theirs) as running:
        os.close(theirs)
        shown = b""
        try:
            while part := os.read(own, 4096):
                shown += part
        except OSError:  # the other end is closed
            pass
        assert running.wait(60) == 0
    os.close(own)
    return shown.decode()


def test_items_come_through_whole_and_nothing_is_printed_for_a_program(capsys):
    assert list(progress([3, 1, 2], "x", unit="windows")) == [3, 1, 2]
    assert list(progress((n for n in range(4)), "x", unit="windows", total=4)) == [0, 1, 2, 3]
    assert list(progress(iter(()), "x", unit="windows")) == []
    assert capsys.readouterr() == ("", "")


def test_a_terminal_shows_unit_share_and_time_left():
    shown = on_a_terminal("0.1")
    assert "embed" in shown
    assert "/20" in shown
    assert "windows" in shown
    assert "<00:00" in shown  # elapsed<left


def test_another_process_draws_on_a_line_of_its_own():
    first, third = on_a_terminal("0.1"), on_a_terminal("0.1", "2")
    assert "\n" not in first
    assert third.replace("\r\n", "\n").startswith("\n\n\r")  # down ...
    assert third.replace("\r", "").count("\n\n") == third.count("\x1b[A\x1b[A")  # ... and up again each time


def test_what_is_soon_over_shows_nothing():
    assert on_a_terminal("30").strip() == ""
