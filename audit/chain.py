"""Rows of the log and the chain of codes that joins them: a line is `NUMBER CODE JSON`."""

import hmac
import json
from dataclasses import asdict, dataclass

GENESIS = bytes(32)
"""What stands for the code before the first row."""
MAX_LINE = 16 * 1024
"""Bytes of a line; nothing that a client sends belongs in the log."""


class AuditError(ValueError):
    """A log that cannot be written or read; the message is one line."""


@dataclass(frozen=True, kw_only=True)
class Event:
    """One access: who did what to what, and what came of it. Pseudonyms and templates of routes, never contents."""

    actor: str
    action: str
    resource: str = ""
    outcome: str = "ok"
    role: str = ""
    request: str = ""


@dataclass(frozen=True)
class Head:
    """The end of a chain."""

    n_rows: int = 0
    code: bytes = GENESIS
    n_bytes: int = 0


def code_of(key: bytes, previous: bytes, number: int, body: bytes) -> bytes:
    """Return the code of a row, 32 bytes: HMAC-SHA256 over the previous row's code, the row's number and its JSON."""
    return hmac.digest(key, previous + b"%d " % number + body, "sha256")


def encode_event(event: Event, *, log_id: str, at: float) -> bytes:
    """Return an event's JSON: ASCII without line breaks, whatever the strings hold.

    Raises AuditError for more than `MAX_LINE` bytes.
    """
    body = json.dumps({"log": log_id, "at": round(at, 6), **asdict(event)}, separators=(",", ":")).encode("ascii")
    if len(body) > MAX_LINE - 100:
        raise AuditError(f"an event of {len(body)} bytes; at most {MAX_LINE - 100}")
    return body


def encode_row(key: bytes, head: Head, body: bytes) -> tuple[bytes, Head]:
    """Return the line of the row after `head`, and the new head."""
    number = head.n_rows
    code = code_of(key, head.code, number, body)
    line = b"%d %s %s\n" % (number, code.hex().encode("ascii"), body)
    return line, Head(number + 1, code, head.n_bytes + len(line))


def parse_row(line: bytes) -> tuple[int, bytes, bytes] | None:
    """Return a line's number, code and JSON; None where it does not have that form."""
    digits, _, rest = line.partition(b" ")
    code_hex, _, body = rest.partition(b" ")
    if not digits.isdigit() or len(digits) > 15 or not body.endswith(b"\n"):
        return None
    try:
        number, code = int(digits), bytes.fromhex(code_hex.decode("ascii"))
    except ValueError:
        return None
    # One way to write a row: neither capital letters nor leading zeros nor blanks, which no code would cover.
    if len(code) != 32 or digits != b"%d" % number or code_hex != code.hex().encode("ascii"):
        return None
    return number, code, body[:-1]
