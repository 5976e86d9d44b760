"""Events of running operations, for those who listen in this process."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Sequence

from insula.base.errors import NotFound
from insula.control.store import Store
from insula.domain.operation import OperationEvent, OperationState

_KEPT = 1000
_LOOK_EVERY_S = 2.0


class Channel:
    """The newest events of one operation, and a bell for its listeners."""

    def __init__(self) -> None:
        self.recent: deque[OperationEvent] = deque(maxlen=_KEPT)
        self.bell = asyncio.Event()
        self.listeners = 0

    def covers(self, sequence: int) -> bool:
        """Whether all events above `sequence` up to now are here."""
        return bool(self.recent) and self.recent[0].sequence <= sequence + 1

    def after(self, sequence: int) -> Sequence[OperationEvent]:
        """Events above `sequence` that are here."""
        return [event for event in self.recent if event.sequence > sequence]


class Hub:
    """Channels by operation; one exists while the operation runs here or somebody listens."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._channels: dict[str, Channel] = {}
        self._running: set[str] = set()
        self.version = 0

    def begin(self, operation_id: str) -> None:
        """The operation runs in this process."""
        self._running.add(operation_id)
        self.version += 1
        self._channels.setdefault(operation_id, Channel())

    def publish(self, event: OperationEvent) -> None:
        """Tell the listeners. Never waits."""
        self.version += 1
        channel = self._channels.get(event.operation_id)
        if channel is not None:
            channel.recent.append(event)
            channel.bell.set()

    def end(self, operation_id: str) -> None:
        """It runs here no more: listeners read the rest from the store."""
        self._running.discard(operation_id)
        self.version += 1
        channel = self._channels.get(operation_id)
        if channel is not None:
            channel.bell.set()
            self._drop_unused(operation_id, channel)

    async def follow(self, operation_id: str, after: int) -> AsyncIterator[OperationEvent]:
        """Stored events above `after`, then live ones; ends after the final state. Raises :class:`NotFound`."""
        channel = self._channels.setdefault(operation_id, Channel())
        channel.listeners += 1
        try:
            last = after
            while True:
                channel.bell.clear()
                events, is_over = await self._next(operation_id, channel, last)
                for event in events:
                    last = event.sequence
                    yield event
                    if is_final(event):
                        return
                if is_over and not events:
                    return
                if not events:
                    await _ring(channel.bell)
        finally:
            channel.listeners -= 1
            self._drop_unused(operation_id, channel)

    async def _next(self, operation_id: str, channel: Channel, last: int) -> tuple[Sequence[OperationEvent], bool]:
        if channel.covers(last) and (operation_id in self._running or channel.after(last)):
            return channel.after(last), False
        # A past operation, or one that runs in another process. The state is read before the events, so that a final
        # state means that all events are among those read after it.
        operation = await self._store.operations.find(operation_id)
        if operation is None:
            raise NotFound(f"There is no operation {operation_id[:80]}", code="unknown-operation")
        return await self._store.operations.events(operation_id, last), operation.state.is_final

    def _drop_unused(self, operation_id: str, channel: Channel) -> None:
        if channel.listeners == 0 and operation_id not in self._running:
            self._channels.pop(operation_id, None)


def is_final(event: OperationEvent) -> bool:
    """Whether nothing follows this event."""
    return event.kind == "state" and OperationState((event.data or {})["state"]).is_final


async def _ring(bell: asyncio.Event) -> None:
    try:
        async with asyncio.timeout(_LOOK_EVERY_S):
            await bell.wait()
    except TimeoutError:
        return  # another process may run it: look into the store again
