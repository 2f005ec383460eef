"""A row for every request, written in groups by a thread of its own, so that no answer waits for the disk."""

import logging
import queue
import threading
from collections.abc import Sequence

from sqlalchemy import Engine, insert, select

from service.records.database import transaction
from service.records.tables import Access
from service.refusals import Refusal

logger = logging.getLogger(__name__)
_MOST_WAITING = 10_000
_MOST_AT_ONCE = 500


class Accesses:
    """The log of accesses. What waits when a process is killed, less than a second of it, is lost."""

    def __init__(self, engine: Engine) -> None:
        """Start the thread."""
        self._engine = engine
        self._queue: queue.Queue[Access | None] = queue.Queue(_MOST_WAITING)
        self.n_lost = 0
        """Rows that could not be written."""
        self._thread = threading.Thread(target=self._run, name="accesses", daemon=True)
        self._thread.start()

    def add(self, access: Access) -> None:
        """Write a row soon."""
        try:
            self._queue.put_nowait(access)
        except queue.Full:
            self.n_lost += 1

    def close(self) -> None:
        """Write what waits, then end."""
        self._queue.put(None)
        self._thread.join()

    def _run(self) -> None:
        while (first := self._queue.get()) is not None:
            rows, ended = [first], False
            while len(rows) < _MOST_AT_ONCE and not self._queue.empty():
                row = self._queue.get()
                if row is None:
                    ended = True
                    break
                rows.append(row)
            self._write(rows)
            if ended:
                return

    def _write(self, rows: Sequence[Access]) -> None:
        columns = [column.key for column in Access.__table__.columns if column.key != "id"]
        try:
            with transaction(self._engine) as session:
                session.execute(insert(Access), [{name: getattr(row, name) for name in columns} for row in rows])
        except Refusal:
            self.n_lost += len(rows)
            logger.error("rows of the access log could not be written", extra={"n_rows": len(rows)})


def recent(engine: Engine, *, limit: int = 100) -> list[Access]:
    """Return the last accesses, newest first."""
    with transaction(engine) as session:
        rows = list(session.scalars(select(Access).order_by(Access.id.desc()).limit(limit)))
        session.expunge_all()
        return rows
