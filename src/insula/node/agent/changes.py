"""Reports handed to everybody who watches the node."""

from __future__ import annotations

import asyncio
import weakref
from collections.abc import AsyncIterator

from insula.protocol.node import InstanceReport


class Changes:
    """Sends each changed report to every watcher."""

    def __init__(self) -> None:
        self._last: dict[str, InstanceReport] = {}
        self._watchers: weakref.WeakSet[_Watcher] = weakref.WeakSet()

    def publish(self, report: InstanceReport) -> None:
        """Tell the watchers, unless they know it already."""
        if self._last.get(report.id) == report:
            return
        self._last[report.id] = report
        for watcher in list(self._watchers):
            watcher.put(report)

    def forget(self, instance_id: str) -> None:
        """The instance is gone; the same id may come again."""
        self._last.pop(instance_id, None)

    def watch(self) -> AsyncIterator[InstanceReport]:
        """Every change from this call on. A slow watcher gets the latest report of each instance, not all of them."""
        watcher = _Watcher()
        self._watchers.add(watcher)
        return watcher


class _Watcher(AsyncIterator[InstanceReport]):
    def __init__(self) -> None:
        self._waiting: dict[str, InstanceReport] = {}
        self._news = asyncio.Event()

    def put(self, report: InstanceReport) -> None:
        # Taken out first, so that the latest news stands last.
        self._waiting.pop(report.id, None)
        self._waiting[report.id] = report
        self._news.set()

    async def __anext__(self) -> InstanceReport:
        while not self._waiting:
            self._news.clear()
            await self._news.wait()
        return self._waiting.pop(next(iter(self._waiting)))
