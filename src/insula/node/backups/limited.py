"""A target that is sent no more than so much a second."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator

from insula.node.backups.target import Stored, Target


class LimitedTarget:
    """Implements Target by another one. `bytes_a_second` is the limit of what is put there, all calls together."""

    def __init__(self, target: Target, bytes_a_second: float) -> None:
        self._target = target
        self._bytes_a_second = bytes_a_second
        self._free_at_s = 0.0

    async def put(self, name: str, data: bytes) -> None:
        """Waits until those before have had their time; only then is this sent."""
        begins_s = max(self._free_at_s, time.monotonic())
        self._free_at_s = begins_s + len(data) / self._bytes_a_second
        await asyncio.sleep(max(0.0, begins_s - time.monotonic()))
        await self._target.put(name, data)

    async def get(self, name: str, offset: int = 0, length: int | None = None) -> bytes:
        return await self._target.get(name, offset, length)

    def list(self, prefix: str) -> AsyncIterator[Stored]:
        return self._target.list(prefix)

    async def delete(self, name: str) -> None:
        await self._target.delete(name)

    async def close(self) -> None:
        await self._target.close()
