"""Python runs this file at its start where its folder is on PYTHONPATH: notes which functions each test enters.

One line per function and test goes to the file CEREBEAM_REACHED as soon as it is entered, so that processes which a
test starts, forks or kills are heard as well: test, file and first line of the function, with tabs between them. Which
test runs stands in a page that all processes share: a worker process may outlive the test that started it.
"""

import mmap
import os
import sys
import threading

_STAMP_BYTES, _PAGE_BYTES = 8, 4096
_root = os.environ.get("CEREBEAM_REACHED_ROOT", "") + os.sep
_room = tuple(os.environ.get("CEREBEAM_REACHED_ROOMS", "").split(os.pathsep))
_stamp = bytes(_STAMP_BYTES)
_current = ""
_entered: set[int] = set()
_elsewhere: set[int] = set()
_kept: list[object] = []
"""Code objects that were seen, so that no new one gets the number of an old one."""


def begin(test: str) -> str:
    """Note for this test from here on, in every process; returns the one before it."""
    before = _page[_STAMP_BYTES:].rstrip(b"\0").decode()
    stamp = int.from_bytes(_page[:_STAMP_BYTES], "big") + 1
    _page[_STAMP_BYTES:] = test.encode()[: _PAGE_BYTES - _STAMP_BYTES].ljust(_PAGE_BYTES - _STAMP_BYTES, b"\0")
    _page[:_STAMP_BYTES] = stamp.to_bytes(_STAMP_BYTES, "big")
    return before


def _note(frame, event, arg):  # type: ignore[no-untyped-def]
    global _stamp, _current
    code = frame.f_code
    number = id(code)
    if number in _elsewhere:
        return
    if _stamp != _page[:_STAMP_BYTES]:
        _stamp = _page[:_STAMP_BYTES]
        _current = _page[_STAMP_BYTES:].rstrip(b"\0").decode()
        _entered.clear()
    if number in _entered:
        return
    _kept.append(code)
    if not code.co_filename.startswith(_root) or not code.co_filename[len(_root) :].startswith(_room):
        _elsewhere.add(number)
        return
    _entered.add(number)
    os.write(_file, f"{_current}\t{code.co_filename[len(_root) :]}\t{code.co_firstlineno}\n".encode())


if "CEREBEAM_REACHED" in os.environ:
    _file = os.open(os.environ["CEREBEAM_REACHED"], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    _shared = os.open(os.environ["CEREBEAM_REACHED"] + ".now", os.O_RDWR | os.O_CREAT, 0o600)
    os.ftruncate(_shared, _PAGE_BYTES)
    _page = mmap.mmap(_shared, _PAGE_BYTES)
    os.close(_shared)
    threading.settrace(_note)
    sys.settrace(_note)
