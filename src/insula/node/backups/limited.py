"""A target that is sent no more than so much a second."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator

from insula.node.backups.target import Stored, Target


class Pace:
    """When the next one may send. `bytes_a_second` is the limit of all that keep to it, together."""

    def __init__(self, bytes_a_second: float) -> None:
        self.bytes_a_second = bytes_a_second
        self._free_at_s = 0.0

    async def turn(self, size_bytes: int) -> None:
        """Wait until those before have had their time."""
        begins_s = max(self._free_at_s, time.monotonic())
        self._free_at_s = begins_s + size_bytes / self.bytes_a_second
        await asyncio.sleep(max(0.0, begins_s - time.monotonic()))


class LimitedTarget:
    """Implements Target by another one. What is put there keeps to the pace, which others may share."""

    def __init__(self, target: Target, pace: Pace) -> None:
        self._target = target
        self._pace = pace

    async def put(self, name: str, data: bytes) -> None:
        """Waits for its turn; only then is this sent."""
        await self._pace.turn(len(data))
        await self._target.put(name, data)

    async def get(self, name: str, offset: int = 0, length: int | None = None) -> bytes:
        return await self._target.get(name, offset, length)

    def list(self, prefix: str) -> AsyncIterator[Stored]:
        return self._target.list(prefix)

    async def delete(self, name: str) -> None:
        await self._target.delete(name)

    async def remove_drafts(self, before_s: float) -> None:
        await self._target.remove_drafts(before_s)

    async def close(self) -> None:
        await self._target.close()
