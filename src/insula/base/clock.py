"""Time, in one place so that tests can turn it and a jumping wall clock cannot break a timeout.

`now_utc` is for records that people read; `monotonic_s` is for everything that waits or measures.
"""

from __future__ import annotations

import time
from datetime import UTC, datetime


def now_utc() -> datetime:
    """The wall clock, with its zone; microseconds kept."""
    return datetime.now(UTC)


def monotonic_s() -> float:
    """Seconds since some point in the past; never goes backwards."""
    return time.monotonic()


def iso(moment: datetime) -> str:
    """RFC 3339 in UTC with milliseconds, e.g. `2026-01-31T08:15:00.123Z`."""
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def parse_iso(text: str) -> datetime:
    """The inverse of :func:`iso`. Raises ValueError."""
    return datetime.fromisoformat(text).astimezone(UTC)
