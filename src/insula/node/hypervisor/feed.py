"""A machine's events, handed to everybody who listens from now on."""

from __future__ import annotations

import asyncio
import weakref
from collections.abc import AsyncIterator

from insula.node.hypervisor.driver import MachineEvent

# A listener that does not read for so many events has gone away in all but name; it loses the oldest ones.
_BACKLOG_EVENTS = 256


class EventFeed:
    """Sends each event to every listener; ends them after `ended` or :meth:`close`."""

    def __init__(self) -> None:
        self._listeners: weakref.WeakSet[_Listener] = weakref.WeakSet()
        self._closed = False

    def send(self, event: MachineEvent) -> None:
        """Hand `event` on. Nothing is sent after an `ended` event."""
        if self._closed:
            return
        for listener in list(self._listeners):
            listener.put(event)
        if event.kind == "ended":
            self.close()

    def close(self) -> None:
        """End all listeners once they have read what was sent. May be repeated."""
        self._closed = True
        for listener in list(self._listeners):
            listener.put(None)

    def listen(self) -> AsyncIterator[MachineEvent]:
        """An iterator over all events from this call on."""
        listener = _Listener()
        if self._closed:
            listener.put(None)
        self._listeners.add(listener)
        return listener


class _Listener(AsyncIterator[MachineEvent]):
    def __init__(self) -> None:
        self._queue: asyncio.Queue[MachineEvent | None] = asyncio.Queue()
        self._ended = False

    def put(self, event: MachineEvent | None) -> None:
        if self._queue.qsize() >= _BACKLOG_EVENTS:
            self._queue.get_nowait()
        self._queue.put_nowait(event)

    async def __anext__(self) -> MachineEvent:
        if self._ended:
            raise StopAsyncIteration
        event = await self._queue.get()
        if event is None:
            self._ended = True
            raise StopAsyncIteration
        return event
