"""How a worker learns of a new job: by looking into the records now and then, or at once through a list in Redis.

The records alone decide which jobs there are and whose each is. What Redis loses, doubles or keeps to itself is found
by the next look, so that it can be killed, emptied or away at any time and no job is lost or done twice.
"""

import logging
import time
from typing import Protocol

from redis import Redis, RedisError
from redis.backoff import NoBackoff
from redis.retry import Retry

logger = logging.getLogger(__name__)
KEY = "cerebeam:jobs"
LOOK_S = 0.3
"""Between two looks into the records without Redis."""
FALLBACK_S = 5.0
"""Between two looks with it."""
_MOST_RINGS = 10_000
_CONNECT_S = 2.0


class Bell(Protocol):
    """What is rung for each accepted job."""

    def ring(self, job_id: str) -> None:
        """Wake a worker."""

    def wait(self) -> None:
        """Return when there may be a job."""


class NoBell:
    """Nobody rings: workers look."""

    def ring(self, job_id: str) -> None:
        """Do nothing."""

    def wait(self) -> None:
        """Return after a while."""
        time.sleep(LOOK_S)


class RedisBell:
    """A list in Redis, which workers of several servers share: each ring wakes one of them."""

    def __init__(self, url: str, *, key: str = KEY) -> None:
        """Raise ValueError for a URL that is none of Redis; nothing is connected yet."""
        self._key, self._was_there = key, True
        self._redis = Redis.from_url(
            url, socket_connect_timeout=_CONNECT_S, socket_timeout=FALLBACK_S + _CONNECT_S, retry=Retry(NoBackoff(), 0)
        )

    def ring(self, job_id: str) -> None:
        """Wake one worker; where Redis is away the next look finds the job."""
        try:
            with self._redis.pipeline() as both:
                both.rpush(self._key, job_id)
                both.ltrim(self._key, -_MOST_RINGS, -1)
                both.execute()
        except RedisError:
            self._note(there=False)

    def wait(self) -> None:
        """Return when somebody rang, or after `FALLBACK_S`; without Redis after `LOOK_S`."""
        try:
            self._redis.blpop([self._key], timeout=FALLBACK_S)
            self._note(there=True)
        except RedisError:
            self._note(there=False)
            time.sleep(LOOK_S)

    def _note(self, *, there: bool) -> None:
        if there != self._was_there:
            logger.warning("Redis is there again" if there else "Redis is away: workers look into the records")
        self._was_there = there


def bell_of(url: str) -> Bell:
    """Return the bell of a configuration: Redis by its URL, none for an empty one. Raises ValueError."""
    return RedisBell(url) if url else NoBell()
