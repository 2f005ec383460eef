"""Python runs this file at its start where its folder is on PYTHONPATH: notes which functions each test enters.

One line per function and test goes to the file CEREBEAM_REACHED as soon as it is entered, so that processes which a
test starts, forks or kills are heard as well: test, file and first line of the function, with tabs between them.
"""

import os
import sys
import threading

TEST = "CEREBEAM_REACHED_TEST"
_root = os.environ.get("CEREBEAM_REACHED_ROOT", "") + os.sep
_room = tuple(os.environ.get("CEREBEAM_REACHED_ROOMS", "").split(os.pathsep))
_current = os.environ.get(TEST, "")
_entered: set[int] = set()
_elsewhere: set[int] = set()
_kept: list[object] = []
"""Code objects that were seen, so that no new one gets the number of an old one."""


def begin(test: str) -> str:
    """Note from here on for this test, in processes that it starts as well; returns the one before it."""
    global _current
    before, _current = _current, test
    os.environ[TEST] = test
    _entered.clear()
    return before


def _note(frame, event, arg):  # type: ignore[no-untyped-def]
    code = frame.f_code
    number = id(code)
    if number in _elsewhere or number in _entered:
        return
    _kept.append(code)
    if not code.co_filename.startswith(_root) or not code.co_filename[len(_root) :].startswith(_room):
        _elsewhere.add(number)
        return
    _entered.add(number)
    os.write(_file, f"{_current}\t{code.co_filename[len(_root) :]}\t{code.co_firstlineno}\n".encode())


if "CEREBEAM_REACHED" in os.environ:
    _file = os.open(os.environ["CEREBEAM_REACHED"], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    threading.settrace(_note)
    sys.settrace(_note)
