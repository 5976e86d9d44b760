"""What operations on backups and their stores share."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

from insula.base.clock import monotonic_s
from insula.base.errors import Conflict
from insula.control.operations.engine.table import Work

T = TypeVar("T")

DEADLINE_S = 7 * 86400.0  # a first backup over a slow line
_BUSY = "backup-store-busy"
_LOOK_EVERY_S = 2.0
_PATIENCE_S = 4 * 3600.0  # longer than a prune takes, and than a killed one's lock lasts


def store_id(work: Work) -> str:
    """The store that the operation's backup is in."""
    return str(work.params["store_id"])


async def patiently(work: Work, ask: Callable[[], Awaitable[T]]) -> T:
    """Do it as soon as nobody else works in the store in a way that excludes it; other hosts may."""
    began_s = monotonic_s()
    while True:
        try:
            return await ask()
        except Conflict as error:
            if error.code != _BUSY or monotonic_s() - began_s > _PATIENCE_S:
                raise
            work.report.progress("Waiting for others that work in the store")
        await asyncio.sleep(_LOOK_EVERY_S)
