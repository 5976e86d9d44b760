"""A target in memory, which can fail, be cut off and be damaged."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Sequence

from insula.base.errors import NotFound
from insula.node.backups.target import Stored


class Killed(BaseException):
    """The process died here."""


class MemoryTarget:
    """Implements Target. Dies before the write number `dies_at` (puts and deletes count)."""

    def __init__(self) -> None:
        self.objects: dict[str, bytes] = {}
        self.times_s: dict[str, float] = {}
        self.writes = 0
        self.dies_at: int | None = None
        self.read_bytes = 0
        self.requests = 0

    def _count(self) -> None:
        if self.dies_at is not None and self.writes >= self.dies_at:
            raise Killed
        self.writes += 1

    async def put(self, name: str, data: bytes) -> None:
        self._count()
        self.objects[name] = data
        self.times_s[name] = time.time()

    async def get(self, name: str, offset: int = 0, length: int | None = None) -> bytes:
        if name not in self.objects:
            raise NotFound(f"no {name}")
        data = self.objects[name][offset : None if length is None else offset + length]
        self.read_bytes += len(data)
        self.requests += 1
        return data

    async def list(self, prefix: str) -> AsyncIterator[Stored]:
        for name, data in list(self.objects.items()):
            if name.startswith(prefix):
                yield Stored(name, len(data), self.times_s[name])

    async def delete(self, name: str) -> None:
        self._count()
        self.objects.pop(name, None)

    async def remove_drafts(self, before_s: float) -> None:
        """There are none."""

    async def close(self) -> None:
        """Nothing is open."""

    def stored(self, prefix: str) -> Sequence[str]:
        return sorted(name for name in self.objects if name.startswith(prefix))
