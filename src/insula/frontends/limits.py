"""How many requests an identity may make: counted per minute, over TCP only."""

from __future__ import annotations

import hashlib
import time
from dataclasses import dataclass

from limits import RateLimitItemPerMinute
from limits.storage import MemoryStorage
from limits.strategies import FixedWindowRateLimiter

from insula.base.errors import RateLimited

_FAILURES_SHARE = 50  # refused credentials an address may send: the 50th part of what an identity may ask


@dataclass(frozen=True)
class Count:
    """What a caller may ask in a minute, what is left of it, and when the minute is over (a moment of `time.time`)."""

    limit: int
    remaining: int
    reset_at_s: float


class RateLimits:
    """Counts by credential, and failed authentications by address."""

    def __init__(self, per_minute: int) -> None:
        self._limiter = FixedWindowRateLimiter(MemoryStorage())
        self._requests = RateLimitItemPerMinute(per_minute)
        self._failures = RateLimitItemPerMinute(max(10, per_minute // _FAILURES_SHARE))

    def count(self, credential: str) -> Count:
        """Count a request. Raises RateLimited."""
        # The store of counters must not hold secrets.
        key = hashlib.sha256(credential.encode("utf-8", "surrogatepass")).hexdigest()
        within = self._limiter.hit(self._requests, key)
        window = self._limiter.get_window_stats(self._requests, key)
        if not within:
            raise _too_many(self._requests.amount, window.reset_time - time.time())
        return Count(self._requests.amount, window.remaining, window.reset_time)

    def count_failure(self, address: str) -> None:
        """Count a refused credential. Raises RateLimited when an address tries too many."""
        if not self._limiter.hit(self._failures, "failures", address):
            window = self._limiter.get_window_stats(self._failures, "failures", address)
            raise _too_many(self._failures.amount, window.reset_time - time.time())


def _too_many(amount: int, wait_s: float) -> RateLimited:
    return RateLimited(
        "Too many requests",
        why=f"At most {amount} a minute are answered",
        todo="Wait as long as Retry-After says; INSULA_RATE_LIMIT sets the limit",
        retry_after_s=max(1.0, wait_s),
    )
