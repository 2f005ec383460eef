import json
import os
import resource
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from audit.chain import MAX_LINE, AuditError, Event, encode_event
from audit.log import AuditLog
from audit.verification import verify

ROOT = Path(__file__).parents[2]


def test_rows_of_many_threads_are_all_there_in_one_chain(bench):
    log = bench.open()
    numbers = []

    def write(actor):
        numbers.extend(log.append(Event(actor=actor, action="GET")) for _ in range(25))

    threads = [threading.Thread(target=write, args=(f"r-{i}",)) for i in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    log.close()
    assert sorted(numbers) == list(range(1, 201))  # row 0 is the start
    assert bench.verify() == ()


def test_a_row_is_on_the_disk_before_it_is_acknowledged(bench, monkeypatch):
    events = []
    fdatasync = os.fdatasync

    def slow(descriptor):
        time.sleep(0.05)
        fdatasync(descriptor)
        events.append("synced")

    log = bench.open()
    monkeypatch.setattr("audit.log.os.fdatasync", slow)
    future = log.submit(Event(actor="a", action="GET"))
    future.add_done_callback(lambda _: events.append("acknowledged"))
    future.result()
    log.close()
    assert events == ["synced", "acknowledged"]


def test_killed_at_once_after_the_acknowledgement(bench):
    # A process of its own writes, prints each acknowledged number and is killed; every printed number must be there.
    program = (
        "import sys; from pathlib import Path; from audit.chain import Event; from audit.log import AuditLog\n"
        "log = AuditLog(Path(sys.argv[1]), bytes.fromhex(sys.argv[2]))\n"
        "while True: print(log.append(Event(actor='a', action='GET')), flush=True)\n"
    )
    command = [sys.executable, "-c", program, str(bench.path), bench.key.hex()]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        numbers = [int(process.stdout.readline()) for _ in range(50)]
        process.send_signal(signal.SIGKILL)
        numbers += [int(line) for line in process.stdout.read().splitlines()]
    found = verify(bench.path, bench.key)
    assert found.problems == ()
    assert found.n_rows >= numbers[-1] + 1
    log = AuditLog(bench.path, bench.key)
    log.close()
    assert verify(bench.path, bench.key).problems == ()


@pytest.mark.parametrize("torn", [b"61", b"61 3f2a", b"0 garbage"])
def test_a_torn_last_row_is_removed_and_that_is_a_row(written, torn):
    with written.path.open("ab") as file:
        file.write(torn)
    log = written.open()
    log.close()
    assert written.verify() == ()
    last = json.loads(written.path.read_bytes().splitlines()[-1].split(b" ", 2)[2])
    assert last["action"] == "log.opened"
    assert last["outcome"] == f"torn row of {len(torn)} bytes, never acknowledged, removed"


def test_a_first_row_that_was_torn(bench):
    bench.path.write_bytes(b"0 ab")
    log = bench.open()
    log.close()
    assert bench.verify() == ()


@pytest.mark.parametrize("content", [b"patients\nAnna\n", b"patients", b"0 x\n", bytes(100), b"a" * 5 * MAX_LINE])
def test_another_file_is_refused_and_left_alone(bench, content):
    bench.path.write_bytes(content)
    with pytest.raises(AuditError, match="no row of an audit log"):
        bench.open()
    assert bench.path.read_bytes() == content


def test_a_log_whose_end_was_cut_is_not_gone_on_with(written):
    lines = written.path.read_bytes().splitlines(keepends=True)
    written.path.write_bytes(b"".join(lines[:30]))
    with pytest.raises(AuditError, match="shorter than the log"):
        written.open()
    written.path.unlink()
    with pytest.raises(AuditError, match="is not the log"):
        written.open()


def test_a_changed_last_row_or_another_key_is_refused(written):
    with pytest.raises(AuditError, match="not of this key, or was changed"):
        AuditLog(written.path, bytes(32))
    written.path.write_bytes(written.path.read_bytes().replace(b'"q59"', b'"q58"'))
    with pytest.raises(AuditError, match="not of this key, or was changed"):
        written.open()


def test_one_writer(bench):
    log = bench.open()
    with pytest.raises(AuditError, match="another process"):
        bench.open()
    log.close()
    bench.open().close()
    assert bench.verify() == ()


def test_a_full_disk_ends_the_log_and_loses_nothing_acknowledged(bench):
    log = bench.open()
    log.append(Event(actor="a", action="GET"))
    size = bench.path.stat().st_size
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size + 100, before[1]))
    try:
        with pytest.raises(AuditError, match="cannot be written: File too large"):
            log.append(Event(actor="b", action="GET"))
        with pytest.raises(AuditError, match="cannot be written"):
            log.append(Event(actor="c", action="GET"))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)
    log.close()
    assert bench.path.stat().st_size == size  # the half row is gone
    again = bench.open()
    again.append(Event(actor="d", action="GET"))
    again.close()
    assert bench.verify() == ()


def test_a_queue_that_is_full_refuses(bench, monkeypatch):
    hold = threading.Event()
    log = bench.open(max_waiting=3)
    fdatasync = os.fdatasync
    monkeypatch.setattr("audit.log.os.fdatasync", lambda fd: (hold.wait(), fdatasync(fd)))
    first = log.submit(Event(actor="a", action="GET"))
    while not log._queue.empty():
        time.sleep(0.001)
    waiting = [log.submit(Event(actor="a", action="GET")) for _ in range(3)]
    with pytest.raises(AuditError, match="cannot keep up"):
        log.submit(Event(actor="a", action="GET"))
    hold.set()
    assert [future.result() for future in [first, *waiting]] == [1, 2, 3, 4]
    log.close()
    with pytest.raises(AuditError, match="is closed"):
        log.submit(Event(actor="a", action="GET"))


def test_a_client_that_goes_away_keeps_its_row(bench):
    log = bench.open()
    future = log.submit(Event(actor="a", action="GET"))
    assert not future.cancel()
    assert future.result() == 1
    log.close()


def test_checkpoints_by_rows_by_time_and_at_the_end(bench):
    log = bench.open(every_rows=5)
    for _ in range(9):
        log.append(Event(actor="a", action="GET"))
    log.close()
    # Rows 0-4, 5-9; nothing new at the end.
    contents = [json.loads(path.read_bytes().splitlines()[0]) for path in sorted(bench.folder.iterdir())]
    assert [content["n_rows"] for content in contents] == [5, 10]
    log = bench.open(every_rows=1000)
    log.close()
    assert len(list(bench.folder.iterdir())) == 3


@settings(max_examples=25, deadline=None)
@given(st.text(), st.text())
def test_any_text_is_one_line_of_ascii_that_reads_back(actor, resource):
    body = encode_event(Event(actor=actor, action="GET", resource=resource), log_id="x", at=1.0)
    assert b"\n" not in body
    assert b"\r" not in body
    assert body.isascii()
    row = json.loads(body)
    assert (row["actor"], row["resource"]) == (actor, resource)


def test_a_row_of_a_megabyte_is_refused(bench):
    log = bench.open()
    with pytest.raises(AuditError, match=f"at most {MAX_LINE - 100}"):
        log.append(Event(actor="a" * 1_000_000, action="GET"))
    log.append(Event(actor="a", action="GET"))
    log.close()
    assert bench.verify() == ()


def test_an_error_of_any_kind_ends_the_log_and_nobody_waits_for_it(bench, monkeypatch):
    log = bench.open()

    def broken(descriptor):
        raise RuntimeError("no such thing as a disk")

    monkeypatch.setattr("audit.log.os.fdatasync", broken)
    with pytest.raises(AuditError, match="cannot be written: RuntimeError"):
        log.submit(Event(actor="a", action="GET")).result(timeout=10)
    with pytest.raises(AuditError, match="RuntimeError"):
        log.submit(Event(actor="a", action="GET"))
    log.close()


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (lambda path: path.unlink(), "moved or deleted"),
        (lambda path: path.rename(path.with_suffix(".1")), "moved or deleted"),
        (lambda path: (path.rename(path.with_suffix(".1")), path.write_bytes(b"")), "another file is in its place"),
        (lambda path: os.truncate(path, 10), "written or cut"),
        (lambda path: path.open("ab").write(b"x"), "written or cut"),
    ],
)
def test_no_row_is_acknowledged_into_a_file_that_nobody_reads(bench, change, problem):
    # A rotated, deleted, cut or foreign file: rows went on into it and were acknowledged.
    log = bench.open()
    log.append(Event(actor="a", action="GET"))
    change(bench.path)
    with pytest.raises(AuditError, match=problem):
        log.append(Event(actor="b", action="GET"))
    with pytest.raises(AuditError, match=problem):
        log.append(Event(actor="c", action="GET"))
    log.close()


def test_a_log_that_was_cut_is_not_filled_up_with_zeros(bench):
    log = bench.open()
    log.append(Event(actor="a", action="GET"))
    os.truncate(bench.path, 10)
    with pytest.raises(AuditError):
        log.append(Event(actor="b", action="GET"))
    log.close()
    assert b"\0" not in bench.path.read_bytes()


def test_a_clock_that_goes_backwards_changes_no_order(bench, monkeypatch):
    log = bench.open(every_rows=2)
    times = iter([1e9, 5e8, -1.0, 0.0, 2e9])
    monkeypatch.setattr("audit.log.time.time", lambda: next(times, 3e9))
    for number in range(1, 6):
        assert log.append(Event(actor="a", action="GET")) == number
    log.close()
    assert bench.verify() == ()
    bench.open().close()
    assert bench.verify() == ()


def test_killed_in_the_middle_of_a_group_and_of_a_checkpoint(bench):
    # Many threads, checkpoints all the time, kill -9 at ten moments: what was acknowledged is there and whole.
    program = (
        "import os, sys, threading; from pathlib import Path; from audit.chain import Event\n"
        "from audit.log import AuditLog, Sink; from audit.keys import load_chain_key, load_signing_key\n"
        "keys = Path(sys.argv[2])\n"
        "sink = Sink(folder=Path(sys.argv[3]), key=load_signing_key(keys / 'signing.pem'), every_rows=3, every_s=60)\n"
        "log = AuditLog(Path(sys.argv[1]), load_chain_key(keys / 'chain.key'), sink=sink)\n"
        "def write():\n"
        "    while True: os.write(1, b'%d\\n' % log.append(Event(actor='a' * 3000, action='GET')))\n"
        "for _ in range(8): threading.Thread(target=write).start()\n"
    )
    command = [sys.executable, "-c", program, str(bench.path), str(bench.keys), str(bench.folder)]
    acknowledged = 0
    for attempt in range(4):
        with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
            numbers = [int(process.stdout.readline()) for _ in range(20 + 7 * attempt)]
            process.send_signal(signal.SIGKILL)
            numbers += [int(line) for line in process.stdout.read().splitlines() if line]
        acknowledged = max(acknowledged, *numbers)
        lines = bench.path.read_bytes().splitlines(keepends=True)
        assert sum(line.endswith(b"\n") for line in lines) >= acknowledged + 1
        problems = [one for one in bench.verify() if "a row that was cut" not in one]
        assert problems == []
    bench.open().close()
    assert bench.verify() == ()
