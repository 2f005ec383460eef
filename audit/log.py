"""The writer of a log: one thread of one process; many rows share one fsync, and none is acknowledged before it."""

import errno
import fcntl
import json
import os
import queue
import threading
import time
from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from audit.chain import MAX_LINE, AuditError, Event, Head, code_of, encode_event, encode_row, parse_row
from audit.checkpoints import Checkpoint, last_number, newest_checkpoint, write_checkpoint


@dataclass(frozen=True, kw_only=True)
class Sink:
    """Where checkpoints go, and how often."""

    folder: Path
    """On storage of its own that the service may add to and not change: an object-locked bucket."""
    key: Ed25519PrivateKey
    every_rows: int = 1000
    every_s: float = 10.0
    """Rows newer than the newest checkpoint can be cut off unnoticed: at most this many, or this old."""


@dataclass(frozen=True)
class _Waiting:
    body: bytes
    done: "Future[int]"


class AuditLog:
    """A log that is open for writing. It stops for good at the first failed write: the service must then refuse."""

    def __init__(self, path: Path, key: bytes, *, sink: Sink | None = None, max_waiting: int = 10_000) -> None:
        """Open or begin a log.

        Raises AuditError where another process writes it, where its last row is not of this key, where it is shorter
        than its newest checkpoint.
        """
        self._key, self._sink = key, sink
        self._queue: queue.Queue[_Waiting | None] = queue.Queue(max_waiting)
        self._guard = threading.Lock()
        self._ended = ""
        self._path, self._fd = path, _open_alone(path)
        try:
            self._head, self._log_id, n_torn = _recover(self._fd, path, key)
            self._n_checkpoints = 0 if sink is None else _next_checkpoint(sink, self._head, self._log_id, path)
        except BaseException:
            os.close(self._fd)
            raise
        self._checkpointed = (self._head.n_rows, time.monotonic())
        self._thread = threading.Thread(target=self._run, name="audit", daemon=True)
        self._thread.start()
        # Never a silent repair: what was cut off is a row, and so is every start.
        outcome = f"torn row of {n_torn} bytes, never acknowledged, removed" if n_torn else "ok"
        self.append(Event(actor="audit", action="log.opened", outcome=outcome))

    @property
    def ended(self) -> str:
        """Why no row is taken any more; empty while rows are."""
        return self._ended

    def submit(self, event: Event) -> "Future[int]":
        """Return a future of the row's number; it is done once the row is on the disk.

        Raises AuditError where the log has ended, the queue is full or the event is too long; the future raises it
        where the row could not be written.
        """
        waiting = _Waiting(encode_event(event, log_id=self._log_id, at=time.time()), Future())
        waiting.done.set_running_or_notify_cancel()  # a client that goes away does not take its row with it
        with self._guard:  # so that nothing is put behind the end
            if self._ended:
                raise AuditError(self._ended)
            try:
                self._queue.put_nowait(waiting)
            except queue.Full:
                raise AuditError("the audit log cannot keep up: too many rows wait") from None
        return waiting.done

    def append(self, event: Event) -> int:
        """Write a row and return its number once it is on the disk. Raises AuditError as `submit` does."""
        return self.submit(event).result()

    def close(self) -> None:
        """Write what waits and a last checkpoint, then end."""
        with self._guard:
            if not self._ended:
                self._ended = "the audit log is closed"
                self._queue.put(None)
        self._thread.join()

    def _run(self) -> None:
        is_open = True
        while is_open:
            group, is_open = self._next_group()
            try:
                self._write([waiting.body for waiting in group])
                first = self._head.n_rows - len(group)
                for number, waiting in enumerate(group, start=first):
                    waiting.done.set_result(number)
                self._checkpoint(at_end=not is_open)
            except Exception as error:  # whatever it was: nobody may wait for a thread that is gone
                reason = error.strerror if isinstance(error, OSError) and error.strerror else type(error).__name__
                self._fail(f"the audit log cannot be written: {reason}", group)
                break
        os.close(self._fd)

    def _next_group(self) -> tuple[Sequence[_Waiting], bool]:
        """Return what waits, at least one row unless a checkpoint is due, and whether more may come."""
        group: list[_Waiting] = []
        try:
            item = self._queue.get(timeout=self._sink.every_s if self._sink else None)
            while item is not None:
                group.append(item)
                item = self._queue.get_nowait()
        except queue.Empty:
            return group, True
        return group, False

    def _write(self, bodies: Sequence[bytes]) -> None:
        if not bodies:
            return
        head, lines = self._head, []
        for body in bodies:
            line, head = encode_row(self._key, head, body)
            lines.append(line)
        data = memoryview(b"".join(lines))
        try:
            while data:
                data = data[os.write(self._fd, data) :]
            os.fdatasync(self._fd)
            self._check_in_place(head.n_bytes)
        except OSError:
            if os.fstat(self._fd).st_size > self._head.n_bytes:
                os.ftruncate(self._fd, self._head.n_bytes)  # none of these was acknowledged
            raise
        self._head = head

    def _check_in_place(self, n_bytes: int) -> None:
        """Raise OSError where others moved, deleted, cut or wrote the file: rows would go where nobody looks."""
        own = os.fstat(self._fd)
        try:
            named = os.stat(self._path)
        except FileNotFoundError:
            raise OSError(errno.ENOENT, "its file was moved or deleted") from None
        if (named.st_ino, named.st_dev) != (own.st_ino, own.st_dev):
            raise OSError(errno.ESTALE, "another file is in its place")
        if own.st_size != n_bytes:
            raise OSError(errno.EBUSY, "somebody else has written or cut its file")

    def _checkpoint(self, *, at_end: bool) -> None:
        if self._sink is None:
            return
        n_rows, at = self._checkpointed
        n_new = self._head.n_rows - n_rows
        is_due = n_new >= self._sink.every_rows or time.monotonic() - at >= self._sink.every_s
        if not n_new or not (is_due or at_end):
            return
        checkpoint = Checkpoint(number=self._n_checkpoints, log_id=self._log_id, at=time.time(), head=self._head)
        write_checkpoint(self._sink.folder, checkpoint, self._sink.key)
        self._n_checkpoints += 1
        self._checkpointed = (self._head.n_rows, time.monotonic())

    def _fail(self, reason: str, group: Sequence[_Waiting]) -> None:
        with self._guard:
            self._ended = reason
            left = list(group)
            while not self._queue.empty():
                item = self._queue.get_nowait()
                left += [] if item is None else [item]
        for waiting in left:
            if not waiting.done.done():
                waiting.done.set_exception(AuditError(reason))


def _open_alone(path: Path) -> int:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
    except OSError as error:
        raise AuditError(f"{path}: {error.strerror}") from None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(descriptor)
        raise AuditError(f"{path} is being written by another process") from None
    return descriptor


def _recover(descriptor: int, path: Path, key: bytes) -> tuple[Head, str, int]:
    """Return the end of the chain, the log's name, and the bytes of a last row that a crash had cut, now removed."""
    n_bytes = os.fstat(descriptor).st_size
    tail = os.pread(descriptor, 3 * MAX_LINE, max(n_bytes - 3 * MAX_LINE, 0))
    n_torn = len(tail) - (tail.rfind(b"\n") + 1)
    lines = tail[: len(tail) - n_torn].splitlines(keepends=True)[-2:]
    rows = [parse_row(line) for line in lines]
    if not rows and n_torn < MAX_LINE and b"0 ".startswith(tail[:2]):
        os.ftruncate(descriptor, 0)
        return Head(), uuid4().hex, n_torn
    last = rows[-1] if rows else None
    before = rows[-2] if len(rows) > 1 else None
    if last is None or (len(rows) > 1 and before is None):
        raise AuditError(f"{path} ends in what is no row of an audit log")
    number, code, body = last
    previous = before[1] if before else Head().code
    if code_of(key, previous, number, body) != code:
        raise AuditError(f"{path}: the last row is not of this key, or was changed; run cerebeam audit verify")
    os.ftruncate(descriptor, n_bytes - n_torn)
    return Head(number + 1, code, n_bytes - n_torn), str(json.loads(body)["log"]), n_torn


def _next_checkpoint(sink: Sink, head: Head, log_id: str, path: Path) -> int:
    sink.folder.mkdir(parents=True, exist_ok=True)
    newest = newest_checkpoint(sink.folder, sink.key.public_key())
    if newest is not None and (newest.log_id, newest.head.n_rows > head.n_rows) != (log_id, False):
        raise AuditError(
            f"{path} is not the log, or is shorter than the log, of the checkpoints in {sink.folder}; "
            "run cerebeam audit verify"
        )
    return last_number(sink.folder) + 1
