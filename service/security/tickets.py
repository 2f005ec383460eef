"""One-time tickets for sockets: a browser's WebSocket sends no headers, and a token in a URL would land in logs."""

import hashlib
import secrets
import threading
import time
from collections import Counter, OrderedDict
from collections.abc import Callable

from service.refusals import Refusal
from service.security.tokens import Caller

LIFETIME_S = 30.0
_MOST_OF_A_CALLER = 32
_LONGEST = 100


class Tickets:
    """Tickets that were given out and not used yet, in memory: a socket goes to the server that gave its ticket."""

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        """clock: seconds, for tests."""
        self._clock, self._lock = clock, threading.Lock()
        self._waiting: OrderedDict[bytes, tuple[Caller, float]] = OrderedDict()
        """By digest, in order of their end."""

    def new(self, caller: Caller) -> str:
        """Return a ticket of a caller; raises Refusal 429 where it has many unused ones."""
        ticket = secrets.token_urlsafe(24)
        with self._lock:
            self._forget_old()
            of_caller = Counter(one.subject for one, _ in self._waiting.values())
            if of_caller[caller.subject] >= _MOST_OF_A_CALLER:
                raise Refusal(429, "rate_limited", "too many unused tickets", "use them, or wait", LIFETIME_S)
            self._waiting[_digest(ticket)] = (caller, self._clock() + LIFETIME_S)
        return ticket

    def take(self, ticket: str) -> Caller:
        """Return whose ticket it is, once; raises Refusal 401 for one that is unknown, used or too old."""
        with self._lock:
            self._forget_old()
            found = self._waiting.pop(_digest(ticket), None) if len(ticket) <= _LONGEST else None
        if found is None:
            raise Refusal(401, "unauthorised", "no ticket that can be used", "POST /tickets gives one, for 30 s")
        return found[0]

    def _forget_old(self) -> None:
        now = self._clock()
        while self._waiting and next(iter(self._waiting.values()))[1] <= now:
            self._waiting.popitem(last=False)


def _digest(ticket: str) -> bytes:
    return hashlib.sha256(ticket.encode("utf-8", "surrogatepass")).digest()
