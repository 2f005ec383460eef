"""The audit log of a server: one row for every access, on the disk before the answer leaves.

A server writes a log of its own, named by its host: a chain has one writer. Keys that lie beside the log prove that
nothing was damaged, not that nobody with access to the folder changed it (docs/audit.md).
"""

import socket

from audit.chain import Event
from audit.keys import CHAIN, SIGNING, load_chain_key, load_signing_key, make_keys
from audit.log import AuditLog, Sink
from service.refusals import Refusal
from service.security.tokens import Caller
from service.settings import System

_NOBODY = "-"


def open_trail(system: System) -> AuditLog:
    """Return the open log of this host; its keys are made at the first start where none are configured.

    Raises AuditError for keys or a log that cannot be used, and for a log that another process writes.
    """
    folder, host = system.data / "audit", socket.gethostname()
    keys = system.audit_keys or folder / "keys"
    if system.audit_keys is None and not (keys / CHAIN).exists():
        make_keys(keys)
    sink = None
    if system.audit_sink is not None:
        sink = Sink(folder=system.audit_sink / host, key=load_signing_key(keys / SIGNING))
    return AuditLog(folder / f"{host}.log", load_chain_key(keys / CHAIN), sink=sink)


def row(caller: Caller, *, action: str, resource: str, outcome: str, request: str) -> Event:
    """Return the row of one access: subject, role, method, route's template with our own ids, status and code."""
    return Event(
        actor=caller.subject or _NOBODY, role=caller.role, action=action, resource=resource, outcome=outcome,
        request=request,
    )  # fmt: skip


def check_open(trail: AuditLog) -> None:
    """Raise Refusal 503 "audit_unavailable" where no row can be written any more."""
    if trail.ended:
        raise unrecorded()


def unrecorded() -> Refusal:
    """Return the refusal of what could not be written into the audit log."""
    return Refusal(
        503, "audit_unavailable", "the audit log cannot be written, and nothing is answered without it",
        "whoever runs the server must look at its disk and start it again", 60.0,
    )  # fmt: skip
