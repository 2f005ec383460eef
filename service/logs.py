"""Log lines: one JSON object each, of what we wrote ourselves and nothing that a client sent."""

import json
import logging
import sys
import time
from typing import Any, TextIO

_OWN = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}


class Lines(logging.Formatter):
    """Formats a record as one line of JSON; of an exception its type and places, never its text."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line."""
        fields: dict[str, Any] = {
            "at": time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created)) + f".{int(record.msecs):03d}Z",
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
        }
        fields |= {name: value for name, value in record.__dict__.items() if name not in _OWN}
        if record.exc_info and record.exc_info[0] is not None:
            fields["exception"] = record.exc_info[0].__name__
            fields["places"] = _places(record.exc_info[2])
        return json.dumps(fields, default=str)  # escapes every control character


def _places(traceback: Any) -> list[str]:
    places = []
    while traceback is not None:
        places.append(f"{traceback.tb_frame.f_code.co_filename.rsplit('/', 1)[-1]}:{traceback.tb_lineno}")
        traceback = traceback.tb_next
    return places[-8:]


class StandardError(logging.StreamHandler[TextIO]):
    """Writes to standard error as it is at that time: what was there at first may have been closed since."""

    def emit(self, record: logging.LogRecord) -> None:
        """Write a line."""
        self.stream = sys.stderr
        super().emit(record)


def set_up_logs(level: str) -> None:
    """Write all logs of this process to standard error, as `Lines`."""
    handler = StandardError()
    handler.setFormatter(Lines())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    # Readers and libraries name files and channels in their warnings.
    for name in ("signals", "mne", "alembic", "sqlalchemy", "uvicorn.access", "mlflow"):
        logging.getLogger(name).setLevel("CRITICAL")
    logging.getLogger("uvicorn.error").setLevel("WARNING")  # it writes the whole address of a socket, ticket and all
