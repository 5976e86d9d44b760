"""Lanes bound how much heavy work goes on at once, across all operations."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager

IMAGE = "image"
BOOT = "boot"


class Lanes:
    """`widths` says how many may be in each lane; a lane that is not named has no bound."""

    def __init__(self, widths: Mapping[str, int]) -> None:
        self._gates = {name: asyncio.Semaphore(width) for name, width in widths.items()}

    @asynccontextmanager
    async def turn(self, lane: str, tell: Callable[[str], None]) -> AsyncIterator[None]:
        """Wait for a turn, first come first served; `tell` hears of it when there is a queue."""
        gate = self._gates.get(lane)
        if gate is None:
            yield
            return
        if gate.locked():
            tell(f"waiting: other work occupies all {lane} slots")
        async with gate:
            yield
